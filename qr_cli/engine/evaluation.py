"""The report of an evaluation: a folder of records, facts, plots and one page.

    recipe.yaml  run.json  metrics.jsonl  plots/*.png  report.html

Every file appears whole under its name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qr_cli.engine.files import write_text
from qr_cli.engine.recipe import Recipe
from qr_cli.engine.report import Plot, Table, write_report
from qr_cli.engine.run import RunFolder, to_json

Record = dict[str, Any]


def write_evaluation(
    folder: Path, recipe: Recipe, records: Sequence[Record], *, lead: str,
    figures: Sequence[Plot], tables: Sequence[Table] = (), facts: Mapping[str, Any],
) -> Record:  # fmt: skip
    """Write the folder and return the "report" record.

    Args:
        folder: as `qr_cli.engine.folder.free_for_report` gives it.
        recipe: what was asked; values that differ from its defaults are marked on the page.
        records: what was found.
        lead: one sentence: what was evaluated, on what.
        figures: plots of the page.
        tables: tables of the page; empty ones are left out.
        facts: of `run.json`, beside the task and when it was.
    """
    task = str(getattr(recipe, "task", ""))
    run = RunFolder(folder)
    run.open(recipe, resume=False)
    write_text(folder / "metrics.jsonl", "".join(to_json(r) + "\n" for r in records))
    run.facts(task=task, **facts)
    page = write_report(
        folder,
        title=f"{task}: evaluation",
        lead=lead,
        figures=figures,
        tables=[table for table in tables if table.rows],
        defaults=json.loads(type(recipe)().model_dump_json()),
    )
    return {"event": "report", "report": str(page)}
