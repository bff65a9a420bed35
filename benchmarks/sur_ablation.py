"""Does a part of the training matter? Adapters of the tiny base, paired by seed and prompt.

    python benchmarks/sur_ablation.py run --work DIR --arms none,minilm,shuffled --seeds 0,1,2
    python benchmarks/sur_ablation.py table --work DIR

`run` is resumable: a row (arm, seed, updates, rows) that stands in DIR/rows.jsonl is skipped, a
stopped training goes on. `--known full=RUN-s{seed}` takes trained adapters as an arm; the arm
`bare` is the base without one. `--keywords` also draws the keyword prompts through each adapter.
Arms of one seed start from the same adapter and see the same batches. Each is judged on the 480
`recombined` prompts from one noise seed; intervals are over prompts, seeds averaged first.
"""

import argparse
import json
import time
from pathlib import Path

import torch

import qr_cli
from qr_cli.generate import metrics
from qr_cli.generate.attach import attach
from qr_cli.generate.base import load_base, wishes
from qr_cli.generate.diagnose import diagnose, embed
from qr_cli.generate.draw import draw, noise, picture_size
from qr_cli.generate.folder import find_adapter
from qr_cli.generate.measure import Look, make_judges
from qr_cli.generate.suites import load_suite
from qr_cli.generate.teacher import Vectors, encode, write_vectors
from qr_cli.generate.world import narratives

ARMS = {  # what differs from the recipe sur-tiny-ablation
    "none": {},
    "minilm": {"teacher": "minilm"},
    "minilm kl": {"teacher": "minilm", "llm_loss": "kl"},
    "shuffled": {"teacher": "minilm", "_shuffled": True},
    "smollm2": {"teacher": "smollm2"},
    "mse only": {"nce_weight": 0.0},
    "nce only": {"mse_weight": 0.0},
    "no identity": {"identity_share": 0.0},
    "axis none": {"attention_axis": "none"},
}
MEASURES = ("digit-cnn", "tint", "both")


def shuffled(work: Path) -> str:
    """Write MiniLM's vectors, each under another narrative, and return the folder."""
    folder = work / "shuffled"
    if not (folder / "index.json").is_file():
        texts = sorted({row.text for row in narratives("train")})
        vectors = encode("minilm", texts)
        order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(0))
        write_vectors(Vectors(texts, vectors.rows[order], {"teacher": "minilm, shuffled"}), folder)
    return str(folder)


def train(arm: str, seed: int, args: argparse.Namespace) -> Path:
    settings = dict(ARMS[arm])
    if settings.pop("_shuffled", False):
        settings["teacher"] = shuffled(args.work)
    name = f"{arm.replace(' ', '-')}-{args.steps}-{args.rows or 'all'}-s{seed}"
    folder = args.work / "runs" / "generate" / name
    if (folder / "adapter" / "config.json").is_file():
        return folder
    run = qr_cli.run(
        "train", "sur-adapter", recipe="sur-tiny-ablation", seed=seed, name=name,
        out=str(args.work / "runs"), steps=args.steps,
        cache=str(args.work / "cache"), resume=folder.exists(), save_steps=500,
        **({"max_samples": args.rows} if args.rows else {}), **settings,
    )  # fmt: skip
    return run.folder


class Judge:
    """Pictures of a suite through an adapter, and what is right on them."""

    def __init__(self, suite: str) -> None:
        self.pipe = load_base("tiny")
        self.rows = load_suite(suite)
        self.look = Look(make_judges((), self.rows))
        self.texts = embed(self.pipe, self.rows)
        self.size = picture_size(self.pipe, None, None)

    def __call__(self, path: str | Path | None, *, eta: float | None, keywords: bool) -> dict:
        """Return shares of right pictures and which they are; without a path of the bare base."""
        if path is None:
            right = self.draw("text")
            found = diagnose(self.texts, None, 0)["base"]
        else:
            adapter = find_adapter(path)
            eta = adapter.config.eta if eta is None else eta
            with attach(self.pipe, adapter, eta=eta):
                right = self.draw("text")
                if keywords:
                    right |= {f"keyword {k}": v for k, v in self.draw("prompt").items()}
            found = diagnose(self.texts, adapter, eta)["adapter"]
        return {
            **{name: sum(values) / len(values) for name, values in right.items()},
            "retrieval": found["retrieval"],
            "right": {name: "".join(map(str, values)) for name, values in right.items()},
        }

    def draw(self, key: str) -> dict[str, list[int]]:
        """Draw every row's text or keyword prompt from the same noise; tell what is right."""
        wished = wishes(Path(self.pipe.config._name_or_path))
        height, width = self.size
        scores = []
        for start in range(0, len(self.rows), 60):
            some = self.rows[start : start + 60]
            numbers = list(range(start, start + len(some)))
            latents = noise(self.pipe, numbers, height=height, width=width)
            drawn = draw(
                self.pipe, [row[key] for row in some], [""] * len(some), latents,
                steps=wished.steps, guidance=wished.guidance,
            )  # fmt: skip
            scores.append(self.look(drawn.pictures, some))
        return {name: torch.cat([part[name] for part in scores]).int().tolist()
                for name in MEASURES}  # fmt: skip


def run(args: argparse.Namespace) -> None:
    args.work.mkdir(parents=True, exist_ok=True)
    file = args.work / "rows.jsonl"
    known = dict(pair.split("=", 1) for pair in args.known)
    judge = None
    for seed in args.seeds:
        for arm in args.arms:
            key = {"arm": arm, "seed": seed, "steps": args.steps, "rows": args.rows}
            key |= {"eta": args.eta} if args.eta is not None else {}
            done = read(file)
            if any(key.items() <= row.items() for row in done):
                continue
            started = time.process_time()
            path = None
            if arm != "bare":
                path = known[arm].format(seed=seed) if arm in known else train(arm, seed, args)
            seconds = time.process_time() - started
            same = [row for row in done if row["arm"] == "bare" == arm]  # no seed changes it
            judge = judge or Judge(args.suite)
            figures = same[0] if same else judge(path, eta=args.eta, keywords=args.keywords)
            row = {**figures, **key, "train_cpu_s": round(seconds, 1)}
            with file.open("a") as out:
                out.write(json.dumps(row) + "\n")
            print({k: v for k, v in row.items() if k != "right"}, flush=True)


def table(args: argparse.Namespace) -> None:
    rows = read(args.work / "rows.jsonl")
    kinds = sorted({(r["steps"], r["rows"], r.get("eta")) for r in rows}, key=str)
    for steps, count, eta in kinds:
        group = [r for r in rows if (r["steps"], r["rows"], r.get("eta")) == (steps, count, eta)]
        at = f", eta {eta}" if eta is not None else ""
        print(f"\n{steps} updates, {count or 'all'} rows{at}: mean (lowest .. highest seed)")
        print("| arm | seeds | digit | tint | both | retrieval | keyword digit | keyword tint "
              f"| both - {args.against}, 95 % |")  # fmt: skip
        print("| --- " * 9 + "|")
        for arm in dict.fromkeys(r["arm"] for r in group):
            own = {r["seed"]: r for r in group if r["arm"] == arm}
            base = {r["seed"]: r for r in group if r["arm"] == args.against}
            names = (*MEASURES, "retrieval", "keyword digit-cnn", "keyword tint")
            cells = [spread([r[name] for r in own.values() if name in r]) for name in names]
            seeds = sorted(own.keys() & base.keys())
            difference = "-"
            if arm != args.against and seeds:
                found = metrics.paired(per_prompt(own, seeds), per_prompt(base, seeds))
                difference = (
                    f"{100 * found.difference:+.1f} ({100 * found.low:+.1f} .. "
                    f"{100 * found.high:+.1f}), {len(seeds)} seeds"
                )
            print(f"| {arm} | {len(own)} | " + " | ".join([*cells, difference]) + " |")


def per_prompt(rows: dict[int, dict], seeds: list[int]) -> torch.Tensor:
    stacked = [[int(c) for c in rows[seed]["right"]["both"]] for seed in seeds]
    return torch.tensor(stacked, dtype=torch.float64).mean(0)


def spread(values: list[float]) -> str:
    percent = sorted(100 * value for value in values)
    if not percent:
        return "-"
    mean = sum(percent) / len(percent)
    return f"{mean:.1f} ({percent[0]:.1f} .. {percent[-1]:.1f})"


def read(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--arms", type=lambda t: t.split(","), default=["none", "minilm"])
    parser.add_argument("--seeds", type=lambda t: [int(s) for s in t.split(",")], default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--rows", type=int, help="training rows; default: all")
    parser.add_argument("--suite", default="tiny/recombined")
    parser.add_argument("--known", nargs="*", default=[], metavar="ARM=PATH")
    parser.add_argument("--eta", type=float, help="instead of the adapter's own")
    parser.add_argument("--keywords", action="store_true", help="judge keyword prompts too")
    parser.add_argument("--against", default="none")
    args = parser.parse_args()
    torch.set_num_threads(1)
    {"run": run, "table": table}[args.what](args)


if __name__ == "__main__":
    main()
