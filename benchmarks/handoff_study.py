"""The study of docs/handoff.md: train systems over seeds and folds, then print its tables.

    python benchmarks/handoff_study.py run --data FOLDER --work FOLDER --groups main --seeds 0,1
    python benchmarks/handoff_study.py table --data FOLDER --work FOLDER

`run` is resumable: a finished row (system, protocol, seed) is skipped. FOLDER of the data holds
ssa_makeup_train.jsonl, ssa_makeup_dev.jsonl, clothing_dev.jsonl and dbdc3_en_dev.jsonl.

Protocols: A trains on proxy labels of the training file, without dialogues of the dev file, and
scores its gold labels; B adds the gold dialogues of the four other folds; C has gold dialogues of
four folds alone; D is the clothing file in five folds (30 turns). Limit 50 turns (D: 30).
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from qr_cli.engine.resolve import by_name, resolve
from qr_cli.engine.train import train
from qr_cli.handoff.build import predict
from qr_cli.handoff.calibrate import cost_threshold, matched, sigmoid
from qr_cli.handoff.corpus import Corpus
from qr_cli.handoff.losses import main_loss
from qr_cli.handoff.metrics import calibration_error, evaluate
from qr_cli.handoff.mhch import fold_of, read_jsonl, write_jsonl
from qr_cli.handoff.operating import crossfit, known_of
from qr_cli.handoff.recipe import Handoff
from qr_cli.handoff.task import HandoffTask

FOLDS = 5
TURNS = {"A": 50, "B": 50, "C": 50, "D": 30}
DAMI = {"lr": 1e-3, "weight_decay": 1e-5, "batch_size": 4, "dropout": 0.25, "max_turns": 30,
        "max_tokens": 50}  # fmt: skip
# name -> settings of the recipe; keys with "_" in front are tweaks below
SYSTEMS = {
    "gru": {"cem": False},
    "gru+cem": {},
    "rssn": {"base": "rssn", "cem": False},
    "rssn+cem": {"base": "rssn"},
    "dami": {"base": "dami", "cem": False, **DAMI},
    "dami+cem": {"base": "dami", **DAMI},
    "lr": {"base": "lr", "cem": False},
    "lr+cem": {"base": "lr"},
    "gru+cem U only": {"cost_mode": "off"},
    "gru+cem cost only": {"gate": "off", "sentiment_weight": 0.0, "score_weight": 0.0},
    "gru+cem aux only": {"gate": "off"},  # the extra labels without the correction
    "gru linear": {"cem": False, "schedule": "linear"},
    "gru+cem linear": {"schedule": "linear"},
    "gru+cem senti .1": {"sentiment_weight": 0.1},
    "gru+cem cost 0.3": {"cost_weight": 0.3},
    "gru+cem cost 0": {"cost_weight": 0.0},
    "gru+cem customer proxy": {"_customer_only": True},
    "gru+cem centred": {"_center": True},
    "gru+cem beta 1": {"_beta": 1.0},
    "gru customer proxy": {"cem": False, "_customer_only": True},
    "gru ema": {"cem": False, "ema": 0.99},
    "gru+cem ema": {"ema": 0.99},
}
# on lr, which has no randomness, an exact look at those that concern it: its two fits are apart, so
# that weights of losses and the labels of the correction's own loss change nothing there
SYSTEMS |= {
    f"lr+cem {part}": {"base": "lr", **SYSTEMS[f"gru+cem {part}"]}
    for part in ("U only", "cost only", "aux only", "cost 0", "cost 0.3", "centred")
}
GROUPS = {
    "main": ["lr", "lr+cem", "gru", "gru+cem"],
    "bases": ["rssn", "rssn+cem", "dami", "dami+cem"],
    "ablation": ["gru+cem U only", "gru+cem cost only", "gru+cem aux only"],
    "tries": ["gru+cem customer proxy", "gru customer proxy", "gru+cem centred", "gru+cem senti .1",
              "gru+cem cost 0.3", "gru linear", "gru+cem linear", "gru+cem ema", "gru ema",
              "gru+cem beta 1"],
    "lr tries": [name for name in SYSTEMS if name.startswith("lr+cem ")],
}  # fmt: skip


class Tweaked(HandoffTask):
    """The task with one thing changed that is no option of the command."""

    def __init__(self, recipe, tweaks):
        super().__init__(recipe)
        self.tweaks = tweaks
        if "_beta" in tweaks:
            value = torch.tensor(float(np.log(np.expm1(tweaks["_beta"]))))
            del self.model.raw_beta
            self.model.register_buffer("raw_beta", value)
        if tweaks.get("_center"):  # logit of the mean share of the negative state on customer turns
            negative = self.corpus.sentiment[self.corpus.role == 1] == 0
            share = negative.mean()
            spread = np.clip((negative + share) / 2, 0.02, 0.98)
            self.model.center = float(np.log(spread / (1 - spread)).mean())

    def main(self, scores, batch):
        label = batch["handoff"]
        if self.tweaks.get("_customer_only"):
            from qr_cli.handoff.corpus import spread_roles

            label = label.masked_fill(spread_roles(batch) == 0, float("nan"))
        return main_loss(scores.odds, label)


class Quiet:
    def record(self, record):
        if record["event"] == "epoch":
            print(
                "   ",
                {k: v for k, v in record.items() if k in ("epoch", "loss", "beta")},
                flush=True,
            )

    def tick(self, **progress): ...


def prepare(data: Path, work: Path, protocol: str, fold: int) -> tuple[Path, list]:
    """Return the training file of a protocol and fold, and the dialogues it is scored on."""
    if protocol == "D":
        dev = read_jsonl(data / "clothing_dev.jsonl")
    else:
        dev = read_jsonl(data / "ssa_makeup_dev.jsonl")
    of = fold_of(len(dev), FOLDS)
    inside = [d for d, f in zip(dev, of, strict=True) if f == fold or protocol == "A"]
    gold = [d for d, f in zip(dev, of, strict=True) if f != fold]
    path = work / "files" / (f"{protocol}.jsonl" if protocol == "A" else f"{protocol}{fold}.jsonl")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        found = []
        if protocol in "AB":
            proxied = read_jsonl(data / "ssa_makeup_train.jsonl", proxy="negative-customer")
            seen = {d.token_key() for d in dev}
            found += [d for d in proxied if d.token_key() not in seen]
        if protocol != "A":
            found += gold
        write_jsonl(path, found)
    return path, inside


def one(system, protocol, seed, fold, args, epochs):
    settings = dict(SYSTEMS[system])
    tweaks = {k: settings.pop(k) for k in list(settings) if k.startswith("_")}
    path, dialogues = prepare(args.data, args.work, protocol, fold)
    if protocol == "D" and settings.get("base") == "lr":
        settings["lr_c"] = 3.0
    name = "".join(c if c.isalnum() else "-" for c in f"{system}-{protocol}{fold}-s{seed}")
    recipe = resolve(Handoff, given=by_name(Handoff, {
        "data": str(path), "val_split": 0.0, "label_base": "0", "epochs": epochs, "seed": seed,
        "out": str(args.work / "runs"), "name": name, "keep": 1, **settings,
    }))  # fmt: skip
    task = []
    begun = time.process_time()
    train(recipe, lambda r: task.append(Tweaked(r, tweaks)) or task[0], Quiet(),
          command="benchmarks/handoff_study.py", overwrite=True)  # fmt: skip
    seconds = time.process_time() - begun
    corpus = Corpus(dialogues, task[0].encoder, max_turns=TURNS[protocol])
    model = task[0].model
    if recipe.schedule.ema:
        from qr_cli.engine.checkpoint import read_weights
        from qr_cli.engine.checkpoint import resolve as folder

        model.load_state_dict(read_weights(folder(args.work / "runs" / "handoff" / name)))
    odds = [np.asarray(s.odds, dtype=np.float64) for s in predict(model, corpus)]
    beta = float(model.beta) if hasattr(model, "raw_beta") else None
    return odds, corpus, seconds, beta


def run(args):
    rows = args.work / "rows.jsonl"
    args.work.mkdir(parents=True, exist_ok=True)
    done = (
        {tuple(r["key"]) for r in map(json.loads, rows.read_text().splitlines())}
        if rows.exists()
        else set()
    )
    names = [n for g in args.groups.split(",") for n in GROUPS.get(g, [g])]
    for seed in map(int, args.seeds.split(",")):
        for system in names:
            for protocol in args.protocols.split(","):
                if SYSTEMS[system].get("base") == "lr" and seed:
                    continue  # no randomness
                key = (system, protocol, seed, args.epochs)
                if key in done:
                    continue
                print(*key, flush=True)
                folds = [0] if protocol == "A" else range(FOLDS)
                dev = None
                seconds, betas = 0.0, []
                for fold in folds:
                    odds, corpus, spent, beta = one(system, protocol, seed, fold, args, args.epochs)
                    of = fold_of(len(odds) if protocol == "A" else _size(args, protocol), FOLDS)
                    dev = dev or [None] * len(of)
                    where = (
                        range(len(odds))
                        if protocol == "A"
                        else [i for i, f in enumerate(of) if f == fold]
                    )
                    for place, d in zip(where, odds, strict=True):
                        dev[place] = d
                    seconds += spent
                    betas.append(beta)
                file = args.work / "odds" / ("_".join(map(str, key)).replace(" ", "-") + ".npz")
                file.parent.mkdir(exist_ok=True)
                np.savez(file, odds=np.concatenate(dev), turns=[len(d) for d in dev])
                record = {
                    "key": key,
                    "cpu_seconds": round(seconds, 1),
                    "beta": betas[0],
                    "file": file.name,
                }
                with rows.open("a") as out:
                    out.write(json.dumps(record) + "\n")


def _size(args, protocol):
    name = "clothing_dev.jsonl" if protocol == "D" else "ssa_makeup_dev.jsonl"
    return sum(1 for _ in (args.data / name).open())


POINTS = ("crossfit", "default", "matched", "cost", "platt 0.5")
SHOWN = {  # key: name, whether a share, digits
    "f1": ("F1", True, 1), "macro_f1": ("Macro", True, 1), "auc": ("AUC", True, 1),
    "gt1": ("GT-I", True, 1), "gt2": ("II", True, 1), "gt3": ("III", True, 1),
    "false_transfers": ("false", False, 0), "missed_transfers": ("missed", False, 0),
    "cost_per_dialogue": ("cost", False, 2),
}  # fmt: skip


def points(odds, labels):
    """Return predictions at each operating point, and the out-of-fold calibrated p."""
    thresholds, calibrated = crossfit(odds, labels, folds=FOLDS)
    p = [sigmoid(d) for d in odds]
    flat = np.concatenate(odds)
    label = np.concatenate(labels)
    ends = np.cumsum([len(d) for d in odds])[:-1]
    return (
        {
            "crossfit": [x >= t for x, t in zip(p, thresholds, strict=True)],
            "default": [x >= 0.5 for x in p],
            "matched": np.split(matched(flat, label), ends),
            "cost": [x >= cost_threshold(1, 3) for x in calibrated],
            "platt 0.5": [x >= 0.5 for x in calibrated],
        },
        p,
        calibrated,
    )


def counts(label, predicted):
    """Return per dialogue: true positives, false, missed, true negatives."""
    both = [(y >= 0.5, p) for y, p in zip(label, predicted, strict=True)]
    return np.array(
        [[(p & y).sum(), (p & ~y).sum(), (~p & y).sum(), (~p & ~y).sum()] for y, p in both],
        dtype=float,
    )


def from_counts(c):
    hit, false, missed, rest = c
    one = 2 * hit / max(1e-12, 2 * hit + false + missed)
    zero = 2 * rest / max(1e-12, 2 * rest + false + missed)
    return one, (one + zero) / 2


def figures(odds, labels):
    """Return the figures of one seed at each point, and what a bootstrap needs."""
    from qr_cli.handoff.metrics import gt_scores

    decisions, p, calibrated = points(odds, labels)
    found = {}
    for point, predicted in decisions.items():
        e = evaluate(labels, predicted, p)
        per = counts(labels, predicted)
        gt = gt_scores([y >= 0.5 for y in labels], predicted)[0]
        found[point] = {"e": e, "counts": per, "gt": gt}
    flat, label = known_of(odds, labels)
    cal = np.concatenate(calibrated)
    found["ece"] = (calibration_error(sigmoid(flat), label), calibration_error(cal, label))
    return found


def table(args):
    rows = [json.loads(line) for line in (args.work / "rows.jsonl").read_text().splitlines()]
    sets = {}
    for protocol in sorted({r["key"][1] for r in rows}):
        name = "clothing_dev.jsonl" if protocol == "D" else "ssa_makeup_dev.jsonl"
        dialogues = read_jsonl(args.data / name)
        sets[protocol] = dialogues
    found = {}
    for row in rows:
        system, protocol, seed, epochs = row["key"]
        with np.load(args.work / "odds" / row["file"]) as z:
            odds = np.split(z["odds"], np.cumsum(z["turns"])[:-1])
        labels = [
            np.array([u.handoff for u in d.utterances[: TURNS[protocol]]], dtype=float)
            for d in sets[protocol]
        ]
        roles = np.concatenate([
            [u.role == "customer" for u in d.utterances[: TURNS[protocol]]] for d in sets[protocol]
        ])  # fmt: skip
        f = figures(odds, labels)
        flat, label = np.concatenate(odds), np.concatenate(labels) >= 0.5
        from qr_cli.handoff.metrics import area_under_curve

        f["roles"] = (area_under_curve(flat[roles], label[roles]),
                      area_under_curve(flat[~roles], label[~roles]))  # fmt: skip
        f["seconds"], f["beta"] = row["cpu_seconds"], row["beta"]
        found[tuple(row["key"])] = f
    groups = {}
    for (system, protocol, seed, epochs), f in found.items():
        groups.setdefault((protocol, epochs, system), {})[seed] = f
    for (protocol, epochs, system), seeds in sorted(groups.items()):
        for point in POINTS:
            every = [f[point]["e"] for f in seeds.values()]
            figures_of = {k: np.mean([e[k] for e in every]) for k in SHOWN}
            cells = "  ".join(
                f"{name} {figures_of[k] * (100 if share else 1):.{digits}f}"
                for k, (name, share, digits) in SHOWN.items()
            )
            spread = 100 * np.ptp([e["f1"] for e in every])
            head = f"{protocol} ep{epochs} {system:24} {point:9} n={len(every)}"
            print(f"{head} range of F1 {spread:.1f}  {cells}")
        ece = np.mean([f["ece"] for f in seeds.values()], axis=0)
        roles = 100 * np.mean([f["roles"] for f in seeds.values()], axis=0)
        betas = [f["beta"] and round(f["beta"], 3) for f in seeds.values()]
        spent = np.mean([f["seconds"] for f in seeds.values()])
        print(
            f"    ECE {ece[0]:.3f} -> {ece[1]:.3f}  AUC customer {roles[0]:.1f} agent "
            f"{roles[1]:.1f}  CPU s {spent:.0f}  beta {betas}"
        )
    print("\npaired differences over dialogues, same seeds, 95 % (1,000 draws, seed 0)")
    for one_name, other in args.pairs:
        for protocol, epochs in sorted({k[:2] for k in groups}):
            a, b = groups.get((protocol, epochs, one_name)), groups.get((protocol, epochs, other))
            if not a or not b:
                continue
            both = sorted(set(a) & set(b))
            if both:
                difference(
                    f"{protocol} ep{epochs} {one_name} - {other}", [(a[s], b[s]) for s in both]
                )

    print("\ncost per dialogue (1 a false, 3 a missed transfer), out-of-fold cost point minus 0.5")
    for (protocol, epochs, system), seeds in sorted(groups.items()):
        n = len(next(iter(seeds.values()))["cost"]["counts"])
        deltas = np.array([
            np.mean([(f["cost"]["counts"] - f["default"]["counts"])[draw].sum(0) @ [0, 1, 3, 0] / n
                     for f in seeds.values()])
            for draw in draws_of(n)
        ])  # fmt: skip
        low, high = np.percentile(deltas[1:], [2.5, 97.5])
        head = f"{protocol} ep{epochs} {system:24} seeds={len(seeds)}"
        print(f"{head} {deltas[0]:+.2f} [{low:+.2f}, {high:+.2f}]")


def draws_of(n):
    """Return all dialogues once, then 1,000 draws of them with replacement."""
    rng = np.random.RandomState(0)
    return [np.arange(n), *(rng.randint(0, n, n) for _ in range(1000))]


def difference(title, pairs):
    n = len(pairs[0][0]["crossfit"]["gt"])
    draws = draws_of(n)
    for point in POINTS:
        deltas = []
        for draw in draws:
            row = []
            for a, b in pairs:
                fa, fb = (from_counts(x[point]["counts"][draw].sum(0)) for x in (a, b))
                ca, cb = (x[point]["counts"][draw].sum(0) @ [0, 1, 3, 0] / n for x in (a, b))
                gt = a[point]["gt"][draw].mean() - b[point]["gt"][draw].mean()
                row.append([100 * (fa[0] - fb[0]), 100 * (fa[1] - fb[1]), 100 * gt, ca - cb])
            deltas.append(np.mean(row, axis=0))
        deltas = np.array(deltas)
        low, high = np.percentile(deltas[1:], [2.5, 97.5], axis=0)
        parts = [f"{name} {deltas[0][i]:+.2f} [{low[i]:+.2f}, {high[i]:+.2f}]"
                 for i, name in enumerate(("F1", "Macro", "GT-I", "cost"))]  # fmt: skip
        print(f"{title} {point:9} seeds={len(pairs)} " + "  ".join(parts))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--groups", default="main")
    parser.add_argument("--protocols", default="A")
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--epochs", type=int, default=2)
    args = parser.parse_args()
    args.pairs = [
        (name, name.split("+cem")[0]) for name in SYSTEMS if name.endswith("+cem")
    ] + [
        (name, name.split("+")[0] + "+cem") for name in SYSTEMS if "+cem " in name
    ] + [(name, "lr") for name in SYSTEMS if name.startswith("lr+cem ")] + [
        ("gru+cem linear", "gru linear"), ("gru+cem ema", "gru ema"),
        ("gru+cem customer proxy", "gru customer proxy"), ("gru+cem customer proxy", "gru"),
        ("gru+cem aux only", "gru"), ("gru+cem cost only", "gru"), ("gru+cem U only", "gru"),
    ]  # fmt: skip
    torch.set_num_threads(1)
    run(args) if args.what == "run" else table(args)


if __name__ == "__main__":
    main()
