"""Make the weights that ship, their figures and their model card, from a training run.

    OMP_NUM_THREADS=1 python benchmarks/geo_card.py RUN [--dev ../shared/data/geo] [--samples 1000]

Batch norms are folded, numbers halved to float16, the temperature of scores is fitted on 400 fresh
problems, every figure comes from `qr eval geo` on the packed file. What was measured stands in
`qr_cli/geo/weights/geoformer-tiny.json` under `figures`; the card is written from it.
"""

import argparse
import json
import subprocess
import sys
from collections import Counter
from math import sqrt
from pathlib import Path

from qr_cli.engine import checkpoint
from qr_cli.geo import metrics
from qr_cli.geo.examined import examined
from qr_cli.geo.network import Network
from qr_cli.geo.opinion import fit_tau
from qr_cli.geo.program import execute, matches
from qr_cli.geo.synth import FAMILIES
from qr_cli.geo.weights import DEFAULT, SHIPPED, build, load_model, open_checkpoint, pack

SEED = 2_000_000  # of the problems that are scored; no training or choice has seen it
TAU_SEED, TAU_SAMPLES = 3_000_000, 400


def temperature(network: Network) -> float:
    """Return the temperature fitted on fresh problems of seen phrasings."""
    items = [
        item
        for item in examined("synth:seen", count=TAU_SAMPLES, seed=TAU_SEED, by="all")
        if item.problem.task == "calculation"
    ]
    said = network.say([i.problem for i in items], strange=True)
    right = []
    for item, one in zip(items, said, strict=True):
        options = metrics.numbers_of(item.problem.choices) or []
        good = []
        for guess in one.guesses:
            value = execute(guess.text, one.numbers).value
            good.append(value is not None and matches(value, options) == [item.problem.label])
        right.append(good)
    return fit_tau([[g.score for g in s.guesses] for s in said], right)


def measured(*words: str) -> list[dict]:
    """Return the records of `qr eval geo`."""
    command = [sys.executable, "-m", "qr_cli", "eval", "geo", *words, "--json"]
    print("qr eval geo", *words, file=sys.stderr)
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [r for r in map(json.loads, done.stdout.splitlines()) if r["event"] == "eval"]


def interval(share: float, n: int) -> str:
    """Return a share in per cent with its 95 % interval (Wilson)."""
    z = 1.96
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return f"{100 * share:.1f} ({100 * (middle - half):.1f}-{100 * (middle + half):.1f})"


def figures(samples: int, dev: Path | None) -> dict[str, list[dict]]:
    """Return every record the card is written from."""
    fresh = ("--samples", str(samples), "--seed", str(SEED), "--beams", "1,10")
    found = {
        "synth": measured("synth:seen", "synth:unseen", "--solver", "network", *fresh,
                          "--diagram-input", "off"),
        "diagram": measured("synth:diagram", "--solver", "network", *fresh, "--by", "family",
                            "--diagram-input", "on,off,shuffled"),
        "both": measured("synth:unseen", "--solver", "rules,both", "--samples",
                         str(max(100, samples // 5)), "--seed", str(SEED), "--beams", "1"),
    }  # fmt: skip
    if dev is not None:
        files = [str(dev / f"unigeo_dev_{kind}.jsonl") for kind in ("calculation", "proving")]
        found["dev"] = measured(
            *files, "--solver", "network,rules,both,label,prior", "--beams", "1,10"
        )
        for record in found["dev"]:
            record["data"] = Path(record["data"]).stem
    return found


def card(told: dict, size: int) -> str:
    """Return the model card."""
    found, kinds = told["figures"], Counter(f.kind for f in FAMILIES.values())
    lines = [
        f"# {DEFAULT}", "",
        "A small Geoformer (after Chen et al. 2022, arXiv 2212.02746) that reads a plane geometry",
        "problem in English, with or without its diagram, and writes a program or a proof.",
        f"{told['parameters']:,} weights, {size:,} bytes as float16; {len(told['words'])} words.",
        "", "## Training", "",
        told["training"],
        "Only generated problems were used: **no problem of UniGeo or any other data set**.",
        f"Families: {kinds['calculation']} of calculations,",
        f"{kinds['diagram']} that only the diagram decides,",
        f"{kinds['proof']} of proofs (`qr data geo make --list` names them).",
        "The last fifth of each family's sentence forms, four question forms and a tenth of the",
        "letter sets were kept out of training (`unseen`).",
        f"Temperature of the vote, fitted on {TAU_SAMPLES} fresh problems: {told['tau']:.3f}.", "",
        "## Generated problems, network alone", "",
        f"Fresh samples, seed {SEED}, per cent with 95 % intervals; `qr eval geo synth:seen",
        "synth:unseen --solver network --diagram-input off`. acc: official option rule, first",
        "candidate that matches an option. valid: the checker accepts the proof.", "",
        "| set | task | k | n | acc or valid | exact | ECE of the vote |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for r in found["synth"]:
        share = r["acc"] if r["task"] == "calculation" else r["valid"]
        ece = f"{r['ece']:.3f}" if "ece" in r else "-"
        lines.append(
            f"| {r['data'].partition(':')[2]} | {r['task']} | {r['k']} | {r['n']} | "
            f"{interval(share, r['n'])} | {100 * r['exact']:.1f} | {ece} |"
        )
    lines += ["", "Diagram-only families, acc@1: the text is the same for every reading.", "",
              "| family | n | its diagram | no diagram | another problem's |",
              "| --- | --- | --- | --- | --- |"]  # fmt: skip
    first = [r for r in found["diagram"] if r["k"] == 1]
    for group in dict.fromkeys(r["category"] for r in first):
        looks = {r["diagrams"]: r for r in first if r["category"] == group}
        n = looks["on"]["n"]
        cells = [
            interval(looks[k]["acc"], n) if k in looks else "-" for k in ("on", False, "shuffled")
        ]
        lines.append(f"| {group} | {n} | " + " | ".join(cells) + " |")
    lines += ["", "Rules and both together on unseen phrasings, k = 1:", "",
              "| solver | task | n | acc or valid |", "| --- | --- | --- | --- |"]  # fmt: skip
    for r in found["both"]:
        share = r["acc"] if r["task"] == "calculation" else r["valid"]
        lines.append(f"| {r['solver']} | {r['task']} | {r['n']} | {interval(share, r['n'])} |")
    if "dev" in found:
        lines += [
            "", "## Real problems", "",
            "UniGeo dev (377 calculations, 724 proofs), text **without diagrams**, per cent. The",
            "rules were written with these problems at hand; the network has not seen them.", "",
            "| solver | calculation acc@1 | acc@10 | proving valid@1 | valid@10 | exact@10 |",
            "| --- | --- | --- | --- | --- | --- |",
        ]  # fmt: skip
        for solver in dict.fromkeys(r["solver"] for r in found["dev"]):
            own = {(r["task"], r["k"]): r for r in found["dev"] if r["solver"] == solver}
            cells = [
                f"{100 * own['calculation', 1]['acc']:.1f}",
                f"{100 * own['calculation', 10]['acc']:.1f}",
                *(f"{100 * own['proving', k]['valid']:.1f}" for k in (1, 10)),
                f"{100 * own['proving', 10]['exact']:.1f}",
            ]
            lines.append(f"| {solver} | " + " | ".join(cells) + " |")
        lines += ["", "label: always the most frequent option. prior: the generator's programs by",
                  "count of numbers, without reading the text."]  # fmt: skip
    lines += [
        "", "## What it cannot do", "",
        "- It does not reach the published accuracy on real problems; see the table.",
        "- Photographs, hand drawings and diagrams of real exams were not tested. Its diagrams are",
        "  drawn by the generator.",
        "- English only. Problems outside the families are guesses with a confidence that was",
        "  calibrated on generated problems.",
        "- At most 16 numbers, 24 Elements, 200 words.",
        "", "Licence of the weights: that of the package (MIT).", "",
    ]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """Pack, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--dev", type=Path)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--training", required=True, help="how it was trained, a sentence or two")
    asked = parser.parse_args()
    folder, told = open_checkpoint(asked.run)
    model = build(told, checkpoint.read_weights(folder), str(folder))
    path = SHIPPED / f"{DEFAULT}.safetensors"
    told |= {"training": asked.training, "tau": 1.0}
    size = pack(model, told, path)
    model, told = load_model(DEFAULT)
    told["parameters"] = sum(p.numel() for p in model.parameters())
    told["tau"] = round(temperature(Network(model, DEFAULT)), 4)
    text = path.with_suffix(".json")
    text.write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", "utf-8")
    told["figures"] = figures(asked.samples, asked.dev)
    text.write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", "utf-8")
    path.with_suffix(".md").write_text(card(told, size), "utf-8")
    print(path.with_suffix(".md"))


if __name__ == "__main__":
    main()
