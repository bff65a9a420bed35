"""The report of an evaluation: where it goes, and what may be replaced there.

    recipe.yaml  run.json  metrics.jsonl  plots/*.png  report.html

The folder is made when the report is written, not before. Every file appears whole under its name.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from qr_cli.attention.compare_tables import report_table
from qr_cli.attention.recipe import AttentionEval
from qr_cli.attention.subject import short_name
from qr_cli.engine.run import RunFolder, dump_yaml, to_json, write_text
from qr_cli.errors import EnvironmentFault, UsageError

if TYPE_CHECKING:
    from qr_cli.engine.report import Plot, Table

Record = dict[str, Any]
# event -> title, caption and columns of a table on the page
TABLES = {
    "eval": (
        "Accuracy",
        "Shares of all test images, loss as a mean.",
        ("run", "which", "module", "top1", "top5", "loss", "images", "data", "precision"),
    ),
    "bias": (
        "Attention bias",
        "Shares of the images with boxes and a heat map. Definitions ours; control: untrained.",
        ("run", "control", "subset", "images", "position", "range", "unbiased", "precision",
         "coverage", "energy", "chance_energy", "pointing"),
    ),
    "stiffness_total": (
        "Stiffness",
        "TNS: mean over inner blocks of the mean relative step size; control: untrained.",
        ("run", "tns", "control_tns", "rho_gate_nsi", "reference_r"),
    ),
    "stripes_total": (
        "Gates held at their mean",
        "All at once; drop of top-1 with its paired 95 % interval.",
        ("run", "blocks", "top1", "top1_frozen", "drop", "drop_low", "drop_high"),
    ),
    "ticket": (
        "Blocks kept",
        "Post-hoc: the other blocks hold their mean gate. Drop of top-1, paired 95 % interval.",
        ("run", "order", "draw", "keep", "mask", "top1", "drop", "drop_low", "drop_high"),
    ),
    "robust": (
        "Disturbed pixels",
        "Strength in units of the range [0, 1]; float32, 95 % Wilson interval. Measured, no claim.",
        ("run", "attack", "eps", "clean", "top1", "top1_low", "top1_high", "images"),
    ),
}  # fmt: skip
SHELF = Path("runs/attention")  # of reports on weights without a run


def report_folder(recipe: AttentionEval) -> Path | None:
    """Return where the report goes, or None where none is called for.

    Without ``--out`` the name is made from the recipe: the same question is answered in the same
    place, and an earlier answer to it is replaced.

    Raises:
        UsageError: something is in the folder of ``--out``, and --overwrite was not asked.
        EnvironmentFault: it cannot be made or written.
    """
    if recipe.report.out is not None:
        folder = Path(recipe.report.out)
        _require_free(folder, overwrite=recipe.report.overwrite)
    elif len(recipe.places) > 1 or recipe.asks:
        folder = _own_place(recipe)
    else:
        return None
    shelf = next(path for path in [folder, *folder.absolute().parents] if path.exists())
    if not shelf.is_dir() or not os.access(shelf, os.W_OK | os.X_OK):
        raise EnvironmentFault(f"the report cannot be written to {folder}", hint="--out FOLDER")
    return folder


def write(folder: Path, recipe: AttentionEval, records: list[Record], plots: list[Plot]) -> Record:
    """Write recipe.yaml, metrics.jsonl, plots and report.html; return the "report" record."""
    from qr_cli.engine.report import write_report  # imports matplotlib

    run = RunFolder(folder)
    run.open(recipe, resume=False)
    write_text(folder / "metrics.jsonl", "".join(to_json(r) + "\n" for r in records))
    run.facts(task=recipe.task, runs=len(recipe.places))
    page = write_report(
        folder,
        title="attention: evaluation",
        lead="Last and best figures, and what was asked of "
        f"{', '.join(map(short_name, recipe.places))}.",
        figures=plots,
        tables=list(_tables(records)),
        defaults=json.loads(AttentionEval().model_dump_json()),
    )
    return {"event": "report", "report": str(page), "plots": len(plots)}


def _tables(records: list[Record]) -> Iterator[Table]:
    """Yield the comparison, then a table per question and for accuracy."""
    from qr_cli.engine.report import Table

    if groups := [record for record in records if record["event"] == "compare"]:
        yield report_table(groups)
    for event, (title, caption, columns) in TABLES.items():
        found = [record for record in records if record["event"] == event]
        rows = [[_plain(record.get(key)) for key in columns] for record in found]
        if rows:
            yield Table(title, caption, [name.replace("_", " ") for name in columns], rows)


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value


def _own_place(recipe: AttentionEval) -> Path:
    """Return the place that this question always has, wherever an answer was once asked to."""
    asked = recipe.changed("report", out=None, overwrite=False)
    mark = hashlib.sha256(dump_yaml(asked).encode()).hexdigest()[:8]
    if recipe.bare.weights is not None:
        return SHELF / f"eval-{mark}"
    first = Path(recipe.places[0])
    return first / f"eval-{mark}" if len(recipe.places) == 1 else first.parent / f"compare-{mark}"


def _require_free(folder: Path, *, overwrite: bool) -> None:
    """Refuse a file, a folder of something else, and an earlier report unless `overwrite`."""
    if folder.is_file():
        raise UsageError(f"--out: {folder} is a file", hint="--out FOLDER")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not _is_report(folder):
        raise UsageError(
            f"--out: {folder} holds something else than a report", hint="--out another folder"
        )
    if not overwrite:
        raise UsageError(
            f"--out: {folder} holds an earlier report",
            hint="--overwrite replaces it, --out FOLDER names another",
        )


def _is_report(folder: Path) -> bool:
    """Tell whether a folder holds a report of ours, and no run."""
    path = folder / "recipe.yaml"
    if not path.is_file() or (folder / "checkpoints").exists():
        return False
    try:
        recipe = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return False
    return isinstance(recipe, dict) and "target" in recipe
