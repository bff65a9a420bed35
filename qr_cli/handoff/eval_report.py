"""The report of an evaluation: records, tables and plots in one folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qr_cli.engine.evaluation import write_evaluation
from qr_cli.engine.report import Table
from qr_cli.handoff.eval_recipe import HandoffEval
from qr_cli.handoff.plots import threshold_plots

Record = dict[str, Any]
COLUMNS = ("system", "operating_point", "threshold", "f1", "macro_f1", "auc", "ap", "auc_customer",
           "auc_agent", "gt1", "gt2", "gt3", "false_transfers", "missed_transfers",
           "cost_per_dialogue", "ece", "seeds")  # fmt: skip
COMPARED = ("system", "baseline", "operating_point", "f1", "f1_low", "f1_high", "macro_f1",
            "macro_f1_low", "macro_f1_high", "gt1", "gt1_low", "gt1_high")  # fmt: skip


def write(
    folder: Path,
    recipe: HandoffEval,
    records: list[Record],
    systems: dict[str, Any],
    labels: Sequence[np.ndarray],
) -> Record:
    """Write recipe.yaml, metrics.jsonl, plots and report.html; return the "report" record."""
    name, seeds = next(iter(systems.items()))
    return write_evaluation(
        folder,
        recipe,
        records,
        lead=f"{', '.join(systems)} on {len(labels)} dialogues of {recipe.data.data}.",
        figures=threshold_plots(seeds[0].odds, labels, f"{name}, {len(labels)} dialogues"),
        tables=[
            _table("Systems and trivial policies", "eval", COLUMNS, records),
            _table("Paired differences", "compare", COMPARED, records),
        ],
        facts={"runs": len(recipe.target.runs)},
    )


def _table(title: str, event: str, columns: Sequence[str], records: Sequence[Record]) -> Table:
    rows = [[_plain(r.get(c)) for c in columns] for r in records if r["event"] == event]
    caption = (
        "Shares in [0, 1], means over seeds; costs per dialogue; intervals 95 % over dialogues."
    )
    return Table(title, caption, [c.replace("_", " ") for c in columns], rows)


def _plain(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value
