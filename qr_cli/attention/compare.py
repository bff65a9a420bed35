"""Runs side by side: one record per group of runs that differ in seed, name and folder only.

An interval over seeds (Student's t, two runs or more) speaks of other seeds on these test images;
one over images (Wilson, one run) of other images for this very run. The difference to the baseline
is paired where it can be: by seed when both groups have the same seeds, by image when both have one
run. A difference whose interval contains 0 is not shown. Nothing is evaluated here: the caller
measures each run once and hands over, image by image, whether it was right.
Shapes: N test images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from torch import Tensor, nn

from qr_cli.attention import cost, intervals
from qr_cli.attention.data import difference
from qr_cli.attention.insert import iter_attention
from qr_cli.attention.load import load
from qr_cli.attention.modules.identity import IdentityStart
from qr_cli.attention.runs import Group, grouped, named, seed_of
from qr_cli.errors import UsageError

Record = dict[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """A finished run and what its last checkpoint makes of the test images.

    Attributes:
        folder: the run folder.
        recipe: its recipe.yaml.
        right: bool (N,), whether each image is classified right; the order is that of the data.
        top5: share in [0, 1] of images whose label is among the five largest logits, if measured.
        best: the run's own figures of its best epoch (`best_top1`, `best_top5`,
            `best_selected_on`); empty when they are of other images.
        classes: names of the classes.
        input_size: (channels, height, width).
        data, data_sha256, data_note: the source of the images, their hash, what to know of them.
    """

    folder: Path
    recipe: Mapping[str, Any]
    right: Tensor
    top5: float | None
    best: Mapping[str, Any]
    classes: tuple[str, ...]
    input_size: tuple[int, ...]
    data: str
    data_sha256: str
    data_note: str | None = None

    @property
    def top1(self) -> float:
        """Return the share of images classified right."""
        return self.right.double().mean().item()


def compare(
    runs: Sequence[Measured],
    *,
    baseline: str | None = None,
    rounds: int | None = 20,
    latency_batch: int = 1,
    network: Callable[[Path], nn.Module] = load,
) -> Iterator[Record]:
    """Yield one `compare` record per group.

    Args:
        runs: each measured once, all on the same images.
        baseline: a group's label or module, or the name of one of its runs; default: the first.
        rounds: of the latency measurement; None leaves it out.
        latency_batch: images per pass.
        network: gives the network of a run folder; called once per group.

    Raises:
        UsageError: no run, other images, classes or sizes, a run given twice, or a baseline that
            names no group or several.
    """
    _require_comparable(runs)
    groups = grouped(runs)
    base = groups[0] if baseline is None else named(baseline, groups)
    nets = {group.label: network(group.runs[0].folder) for group in groups}
    size = runs[0].input_size
    timing = None
    if rounds is not None:
        ordered = {base.label: nets[base.label]} | nets
        timing = cost.latency(ordered, size, batch=latency_batch, rounds=rounds)
    for group in groups:
        first, net = group.runs[0], nets[group.label]
        every, attention = cost.parameters(net)
        stages = sorted({stage for _, stage, _, _ in iter_attention(net)})
        yield {
            "event": "compare",
            "group": group.label,
            "runs": len(group.runs),
            "arch": first.recipe["model"]["arch"],
            "module": first.recipe["model"]["module"],
            "stages": ",".join(map(str, stages)) or None,
            "parameters": every,
            "attention_parameters": attention,
            "flops": cost.flops(net, size),
            "flops_counted": cost.FLOPS,
            **_times(timing, group.label, latency_batch),
            "start_gate": _start_gate(net, first.recipe["model"]),
            **_accuracy(group),
            **_difference(group, base),
            "baseline": base.label,
            "seeds": [seed_of(run) for run in group.runs],
            "images": len(first.right),
            "data": first.data,
            "data_sha256": first.data_sha256,
            "data_note": first.data_note,
        }


def _times(timing: cost.Timing | None, label: str, batch: int) -> Record:
    if timing is None:
        keys = ("ms", "iqr_ms", "ratio", "noise", "batch", "clock")
        return {f"latency_{key}": None for key in keys} | {"threads": None}
    row = timing.models[label]
    return {
        "latency_ms": row.ms,
        "latency_iqr_ms": row.iqr_ms,
        "latency_ratio": row.ratio,
        "latency_noise": timing.noise,
        "latency_batch": batch,
        "latency_clock": timing.clock,
        "threads": timing.threads,
    }


def _start_gate(net: nn.Module, model: Mapping[str, Any]) -> float | None:
    """Return the mean gate before training; None where weights brought attention of their own."""
    if any(isinstance(module, IdentityStart) for _, _, _, module in iter_attention(net)):
        return 1.0
    if model.get("weights") or model.get("checkpoint"):
        return None
    return cost.mean_start_gate(net, model["module"])


def _accuracy(group: Group[Measured]) -> Record:
    """Return last and best figures, means over the runs, and the interval of the last top-1."""
    shares, first = [run.top1 for run in group.runs], group.runs[0]
    if len(shares) > 1:
        interval, name = intervals.t_interval(shares), f"t, {len(shares)} seeds"
    else:
        images = len(first.right)
        interval = intervals.wilson(int(first.right.sum()), images)
        name = f"Wilson, {images} images"
    last = fmean(shares)
    best = _mean(run.best.get("best_top1") for run in group.runs)
    return {
        "last_top1": last,
        "last_low": interval.low,
        "last_high": interval.high,
        "interval": name,
        "last_top5": _mean(run.top5 for run in group.runs),
        "best_top1": best,
        "best_top5": _mean(run.best.get("best_top5") for run in group.runs),
        "best_selected_on": first.best.get("best_selected_on"),
        "best_minus_last": None if best is None else best - last,
    }


def _difference(group: Group[Measured], base: Group[Measured]) -> Record:
    """Return top-1 minus that of the baseline, with its interval and how it was got."""
    ours, theirs = ({seed_of(run): run.top1 for run in g.runs} for g in (group, base))
    n, m = len(ours), len(theirs)
    interval, p, how = None, None, None
    if group is not base and n == m == 1:
        images = len(group.runs[0].right)
        counts = intervals.discordant(group.runs[0].right, base.runs[0].right)
        interval, p = intervals.paired_shares(*counts, images), intervals.mcnemar(*counts)
        how = f"paired by image, {images} images"
    elif group is not base and set(ours) == set(theirs):
        interval = intervals.paired_t(list(ours.values()), [theirs[seed] for seed in ours])
        how = f"paired t, {n} seeds"
    elif group is not base and min(n, m) > 1:
        interval, how = intervals.welch_t(list(ours.values()), list(theirs.values())), "Welch t"
        how += f", {n} and {m} seeds"
    elif group is not base:
        how = f"none, {n} and {m} runs"
    return {
        "delta": None if group is base else fmean(ours.values()) - fmean(theirs.values()),
        "delta_low": interval and interval.low,
        "delta_high": interval and interval.high,
        "delta_shown": interval is not None and not interval.holds(0.0),
        "delta_interval": how,
        "mcnemar_p": p,
    }


def _require_comparable(runs: Sequence[Measured]) -> None:
    if not runs:
        raise UsageError("no run is named", hint="qr eval attention runs/attention/*")
    first, apart = runs[0], "compare them separately, or test all on one source with --data"
    for run in runs[1:]:
        pair = f"{first.folder} and {run.folder}"
        if run.input_size != first.input_size:
            ours, theirs = ("x".join(map(str, r.input_size[1:])) for r in (first, run))
            raise UsageError(f"{pair} take images of {ours} and {theirs} pixels", hint=apart)
        if fault := difference(first.classes, run.classes):
            raise UsageError(f"{pair} have other classes: {fault}", hint=apart)
        if run.data_sha256 != first.data_sha256:
            raise UsageError(
                f"{pair} were tested on other images (sha256 {first.data_sha256[:12]} and "
                f"{run.data_sha256[:12]})",
                hint=apart,
            )


def _mean(values: Iterator[float | None]) -> float | None:
    known = list(values)
    return None if None in known else fmean(v for v in known if v is not None)
