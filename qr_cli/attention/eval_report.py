"""The report of an evaluation: where it goes, and its tables.

The folder is made when the report is written, not before.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qr_cli.attention.compare_tables import report_table
from qr_cli.attention.eval_recipe import AttentionEval
from qr_cli.attention.subject import short_name
from qr_cli.engine.folder import free_for_report
from qr_cli.engine.run import dump_yaml
from qr_cli.errors import EnvironmentFault

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
    folder = free_for_report(recipe.report)
    if folder is None:
        if len(recipe.places) < 2 and not recipe.asks:
            return None
        folder = _own_place(recipe)
    shelf = next(path for path in [folder, *folder.absolute().parents] if path.exists())
    if not shelf.is_dir() or not os.access(shelf, os.W_OK | os.X_OK):
        raise EnvironmentFault(f"the report cannot be written to {folder}", hint="--out FOLDER")
    return folder


def write(folder: Path, recipe: AttentionEval, records: list[Record], plots: list[Plot]) -> Record:
    """Write recipe.yaml, metrics.jsonl, plots and report.html; return the "report" record."""
    from qr_cli.engine.evaluation import write_evaluation  # imports matplotlib

    made = write_evaluation(
        folder,
        recipe,
        records,
        lead="Last and best figures, and what was asked of "
        f"{', '.join(map(short_name, recipe.places))}.",
        figures=plots,
        tables=list(_tables(records)),
        facts={"runs": len(recipe.places)},
    )
    return {**made, "plots": len(plots)}


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
