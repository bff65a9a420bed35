"""The report of an evaluation: records, tables and plots in one folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qr_cli.engine.report import Table, write_report
from qr_cli.engine.run import RunFolder, to_json, write_text
from qr_cli.errors import UsageError
from qr_cli.handoff.eval_recipe import HandoffEval
from qr_cli.handoff.plots import threshold_plots

Record = dict[str, Any]
COLUMNS = ("system", "operating_point", "threshold", "f1", "macro_f1", "auc", "ap", "auc_customer",
           "auc_agent", "gt1", "gt2", "gt3", "false_transfers", "missed_transfers",
           "cost_per_dialogue", "ece", "seeds")  # fmt: skip
COMPARED = ("system", "baseline", "operating_point", "f1", "f1_low", "f1_high", "macro_f1",
            "macro_f1_low", "macro_f1_high", "gt1", "gt1_low", "gt1_high")  # fmt: skip


def write(
    recipe: HandoffEval,
    records: list[Record],
    systems: dict[str, Any],
    made: dict[Any, Any],
    labels: Sequence[np.ndarray],
) -> Record:
    """Write recipe.yaml, metrics.jsonl, plots and report.html; return the "report" record.

    Raises:
        UsageError: the folder holds something already.
    """
    folder = Path(str(recipe.report.out))
    if folder.exists() and any(folder.iterdir()):
        own = (folder / "metrics.jsonl").is_file() and not (folder / "checkpoints").exists()
        if not (own and recipe.report.overwrite):
            raise UsageError(
                f"--out: {folder} is not empty",
                hint="--overwrite replaces an earlier report" if own else "--out another folder",
            )
    run = RunFolder(folder)
    run.open(recipe, resume=False)
    write_text(folder / "metrics.jsonl", "".join(to_json(r) + "\n" for r in records))
    run.facts(task="handoff", runs=len(recipe.target.runs))
    name, seeds = next(iter(systems.items()))
    tables = [
        _table("Systems and trivial policies", "eval", COLUMNS, records),
        _table("Paired differences", "compare", COMPARED, records),
    ]
    page = write_report(
        folder,
        title="handoff: evaluation",
        lead=f"{', '.join(systems)} on {len(labels)} dialogues of {recipe.data.data}.",
        figures=threshold_plots(seeds[0].odds, labels, f"{name}, {len(labels)} dialogues"),
        tables=[table for table in tables if table.rows],
    )
    return {"event": "report", "report": str(page)}


def _table(title: str, event: str, columns: Sequence[str], records: Sequence[Record]) -> Table:
    rows = [[_plain(r.get(c)) for c in columns] for r in records if r["event"] == event]
    caption = (
        "Shares in [0, 1], means over seeds; costs per dialogue; intervals 95 % over dialogues."
    )
    return Table(title, caption, [c.replace("_", " ") for c in columns], rows)


def _plain(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value
