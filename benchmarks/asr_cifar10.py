"""ASR on CIFAR-10: plain, SE, ASR(SE), ASR(SE)+SE over seeds; accuracy, gates, stripes, folds.

    python benchmarks/asr_cifar10.py RUN...                       # measure runs that are trained
    python benchmarks/asr_cifar10.py --data DIR [--small]         # train the twelve runs first

The runs are trained by `qr train attention`, folded by `qr reparam --verify`, measured by `qr eval
attention`. Last epoch, never the best. Per model: values, mean, Student's t interval over seeds,
difference to plain paired by seed. A difference is named only if its interval excludes 0. For every
model with ASR the folded network must answer like its original on each test image whose margin
exceeds twice the error. Figures on a JPEG copy of CIFAR-10 are not comparable with published ones.
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml

import qr_cli as qr
from qr_cli.attention.cost import mean_start_gate
from qr_cli.attention.data import read
from qr_cli.attention.intervals import paired_t, t_interval
from qr_cli.attention.runs import read_run
from qr_cli.engine.resolve import resolve
from qr_cli.reparam.approx import batches
from qr_cli.reparam.recipe import Reparam
from qr_cli.reparam.task import reparam

MODULES = ("none", "se", "asr(se)", "asr(se)+se")
SEEDS = (0, 1, 2)


@dataclass
class Measured:
    """What one run says."""

    top1: float
    images: int
    start_gate: float | None = None
    dead_units: list[str] = field(default_factory=list)
    stripes: list[tuple[float | None, float | None]] = field(default_factory=list)
    float64: float | None = None
    float32: float | None = None
    unequal: int | None = None
    undecided: int = 0
    top1_folded: float | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*")
    parser.add_argument("--data", help="folder of the JPEG packs; trains first")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--out", default="runs")
    arguments = parser.parse_args()
    runs = arguments.runs or train(arguments, [(None, module) for module in MODULES])
    report(runs)


def train(arguments: argparse.Namespace, kinds: list[tuple[str | None, str]]) -> list[str]:
    """Train what is not there yet and return the run folders."""
    if arguments.data is None:
        sys.exit("name runs, or --data DIR to train them")
    packs = "small_train_jpeg.npz" if arguments.small else "train_jpeg.npz"
    recipe = "asr-cifar10-small" if arguments.small else "asr-cifar10"
    folders = []
    for srp, module in kinds:
        for seed in SEEDS:
            name = "-".join(filter(None, ("asrx", srp, module, f"s{seed}")))
            name = "".join(c if c.isalnum() else "-" for c in name)
            folder = Path(arguments.out) / "attention" / name
            command = [
                sys.executable, "-m", "qr_cli", "train", "attention", "--recipe", recipe,
                "--module", module, "--seed", str(seed), "--name", name, "--out", arguments.out,
                "--data", f"npz:{arguments.data}/{packs}",
                "--test-data", f"npz:{arguments.data}/test_dev5k_jpeg.npz",
                *(("--srp", srp) if srp else ()),
            ]  # fmt: skip
            if not (folder / "report.html").is_file():
                print(shlex.join(command), file=sys.stderr)
                subprocess.run([*command, "--overwrite"], check=True)
            folders.append(str(folder))
    return folders


def report(runs: list[str]) -> None:
    """Measure the runs and print what the text above says."""
    groups: dict[str, dict[int, Measured]] = defaultdict(dict)
    for run in runs:
        recipe = yaml.safe_load((Path(run) / "recipe.yaml").read_text())
        model = recipe["model"]
        label = " + ".join(filter(None, (model.get("srp"), model["module"])))
        print(f"measuring {run}", file=sys.stderr)
        groups[label][recipe["run"]["seed"]] = measure(run, model)
    first = read_run(Path(runs[0])).recipe
    images = next(iter(next(iter(groups.values())).values())).images
    print(f"{first['model']['arch']}, {first['schedule']['epochs']} epochs, batch "
          f"{first['loader']['batch_size']}, {first['data']['data']}; last epoch, top-1 in per "
          f"cent on {images:,} test images (JPEG copy: not comparable with published "
          "figures)")  # fmt: skip
    base = groups.get("none", {})
    for label, seeds in groups.items():
        print(f"\n{label}")
        values = [100 * seeds[seed].top1 for seed in sorted(seeds)]
        print(f"  top-1 {shown(values)}   values {' '.join(f'{v:.2f}' for v in values)}")
        both = sorted(set(seeds) & set(base))
        if label != "none" and len(both) > 1:
            ours, plain = ([100 * g[s].top1 for s in both] for g in (seeds, base))
            low, high = paired_t(ours, plain)
            word = "" if low > 0 or high < 0 else f": no difference shown with {len(both)} seeds"
            mean = statistics.fmean(ours) - statistics.fmean(plain)
            print(f"  over plain {mean:+.2f} [{low:+.2f}, {high:+.2f}], paired by seed{word}")
        one = seeds[min(seeds)]
        if one.start_gate is not None and label != "none":
            print(f"  mean gate before training {one.start_gate:.3f}")
        if one.dead_units:
            dead = sum(int(d.split("/")[0]) for m in seeds.values() for d in m.dead_units)
            every = sum(int(d.split("/")[1]) for m in seeds.values() for d in m.dead_units)
            print(f"  dead hidden units {dead} of {every} over {len(seeds)} seeds; blocks of seed "
                  f"{min(seeds)}: {' '.join(one.dead_units)}")  # fmt: skip
        for seed in sorted(seeds):
            if any(s is not None and s > 1e-9 for pair in seeds[seed].stripes for s in pair):
                before, after = (
                    " ".join("-" if v is None else f"{v:.3f}" for v in row)
                    for row in zip(*seeds[seed].stripes, strict=True)
                )
                print(f"  S of each gate, seed {seed}: before {before}; after {after}")
        if one.float64 is not None:
            worst64 = max(m.float64 for m in seeds.values())
            worst32 = max(m.float32 for m in seeds.values())
            wrong = sum(m.unequal for m in seeds.values())
            narrow = sum(m.undecided for m in seeds.values())
            folded = " ".join(f"{100 * seeds[s].top1_folded:.2f}" for s in sorted(seeds))
            print(f"  folded: float64 error {worst64:.0e}, float32 {worst32:.0e}, top-1 {folded}; "
                  f"answers that differ beyond the margin: {wrong}; images within it: "
                  f"{narrow}")  # fmt: skip


def measure(run: str, model: dict[str, Any]) -> Measured:
    """Return what one run says."""
    net: Any = qr.load(run)
    result = next(r for r in reversed(read_run(Path(run)).records) if r.get("event") == "result")
    card = net.card["evaluation"]
    images = read(card["data"], test_data=card["test_data"], splits=("test",)).test
    found = Measured(result["last_top1"], len(images))
    if model["module"] == "none" and not model.get("srp"):
        return found
    if model["module"] != "none":
        found.start_gate = mean_start_gate(net, model["module"])
        with tempfile.TemporaryDirectory() as folder:
            records = qr.run("eval", "attention", runs=(run,), stripes=True, out=f"{folder}/r")
        for record in records:
            if record["event"] == "stripes":
                before = (record["before"] or {}).get("S")
                found.stripes.append((before, record["S"]))
    if "asr" in model["module"] or model.get("srp"):
        fold(run, net, images, found)
    return found


@torch.no_grad()
def fold(run: str, net: Any, images: Any, found: Measured) -> None:
    """Fold a run and compare its answers image by image."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = resolve(
            Reparam,
            given={"source.source": (run,), "output.out": f"{folder}/out", "check.verify": True,
                   "check.repeats": 0},
        )  # fmt: skip
        records = list(reparam(recipe))
        summary = records[-1]
        found.float64, found.float32 = summary["float64"], summary["float32"]
        found.dead_units = [r["dead_units"] for r in records if r.get("dead_units")]
        folded = qr.load(f"{folder}/out")
        right = wrong = narrow = 0
        for x, labels in batches(net, images):
            a, b = net(x), folded(x)
            top = a.topk(2, dim=1).values
            sure = top[:, 0] - top[:, 1] > 2 * (a - b).abs().max()
            wrong += int((sure & (a.argmax(1) != b.argmax(1))).sum())
            narrow += int((~sure).sum())
            right += int((b.argmax(1) == labels).sum())
        found.unequal, found.undecided = wrong, narrow
        found.top1_folded = right / len(images)


def shown(values: list[float]) -> str:
    """Return the mean and Student's t interval."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:.2f} (one seed)"
    low, high = t_interval(values)
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]"


if __name__ == "__main__":
    main()
