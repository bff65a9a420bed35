"""Attention bias of runs that differ in module and seed: means over seeds with their intervals.

    python benchmarks/attention_bias.py runs/attention/none-s? runs/attention/lsas-s? ...

Each run is asked `--bias boxes` on its own test images; shares are per cent of the images with a
heat map, followed by half the width of Student's t interval over seeds. "untrained" is the control,
the same networks before training. Definitions are ours (see `qr_cli/attention/bias.py`).
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

import qr_cli as qr
from qr_cli.attention.intervals import t_interval

SUBSETS = ("all", "area:0-0.1", "area:0.1-0.25", "area:0.25-0.5", "area:0.5-1")
FIGURES = ("position", "range", "unbiased", "energy", "chance_energy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+")
    show(parser.parse_args().runs)


def show(runs: Sequence[str]) -> None:
    """Ask every run where it looks and print the table."""
    found = defaultdict(lambda: defaultdict(list))
    top1 = defaultdict(list)
    for run in runs:
        records = qr.run("eval", "attention", runs=(run,), bias="boxes")
        accuracy = next(r for r in records if r["event"] == "eval")
        top1[accuracy["module"]].append(accuracy["top1"])
        for record in records:
            if record["event"] == "bias" and record["subset"] in SUBSETS:
                name = "untrained" if record["control"] else accuracy["module"]
                for figure in FIGURES:
                    found[record["subset"], name][figure].append(record[figure])
    table = Table(title="attention bias, per cent (definitions ours)", title_justify="left")
    for column in ("boxes", "module", "n", "top-1", *FIGURES):
        table.add_column(column, justify="left" if column in ("boxes", "module") else "right")
    for (subset, name), figures in sorted(found.items()):
        cells = [shown(figures[figure]) for figure in FIGURES]
        table.add_row(subset, name, str(len(figures["range"])), shown(top1.get(name, [])), *cells)
    Console(width=120).print(table)


def shown(values: list[float | None]) -> str:
    """Return mean and half width of the interval, in per cent."""
    known = [100 * value for value in values if value is not None]
    if not known:
        return "-"
    mean = statistics.fmean(known)
    if len(known) < 2:
        return f"{mean:.1f}"
    low, high = t_interval(known)
    return f"{mean:.1f} ±{(high - low) / 2:.1f}"


if __name__ == "__main__":
    main()
