"""`qr eval attention`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from qr_cli.attention.recipe import AttentionEval
from qr_cli.cli.options import Call, recipe_app
from qr_cli.cli.output import out
from qr_cli.cli.progress import shown

Record = dict[str, Any]
# event -> title, and the key and header of each column; a header ending in ">" stands at the right
TABLES: dict[str, tuple[str, Sequence[tuple[str, str]]]] = {
    "eval": (
        "test split",
        [("run", "run"), ("module", "module"), ("parameters", "parameters>"), ("top1", "top-1>"),
         ("top5", "top-5>"), ("loss", "loss>")],
    ),
    "bias": (
        "attention bias: shares of images (definitions ours)",
        [("run", "run"), ("control", "untrained"), ("subset", "subset"), ("images", "images>"),
         ("position", "beside>"), ("range", "range>"), ("unbiased", "unbiased>"),
         ("energy", "energy>"), ("chance_energy", "chance>")],
    ),
    "stiffness": (
        "stiffness: relative step size NSI, mean over images",
        [("run", "run"), ("block", "block"), ("nsi_mean", "NSI>"), ("nsi_std", "deviation>"),
         ("control_mean", "untrained>"), ("rho_gate_nsi", "rho gate>")],
    ),
    "stripes": (
        "stripes: S = 0 means the gate does not depend on the image",
        [("run", "run"), ("block", "block"), ("sigma_mean", "sigma>"), ("S", "S>"),
         ("S_input", "S input>"), ("drop_if_frozen", "drop held>")],
    ),
    "switch": (
        "switches of sem: mean omega over images",
        [("run", "run"), ("block", "block"), ("operator", "operator"), ("omega_mean", "omega>"),
         ("omega_std", "deviation>")],
    ),
    "ticket": (
        "blocks kept (post-hoc; the others hold their mean gate)",
        [("run", "run"), ("order", "order"), ("keep", "kept>"), ("mask", "mask"),
         ("top1", "top-1>"), ("drop", "drop>")],
    ),
}  # fmt: skip
_BRIEF = {"bias": ("all", "right", "wrong")}  # subsets a terminal shows; records have them all


def command(call: Call[AttentionEval]) -> None:
    """Stream records; on a terminal show one table per kind."""
    from qr_cli.attention.evaluate import evaluate

    found: dict[str, list[Record]] = {}
    with ExitStack() as stack:
        stack.callback(show, found)  # also when a later run fails
        for record in evaluate(call.recipe):
            out.record(record)
            if record["event"] == "eval":
                out.value(str(record["top1"]))
            found.setdefault(record["event"], []).append(record)


def show(found: Mapping[str, list[Record]]) -> None:
    """Print the tables and what to open."""
    for event, (title, columns) in TABLES.items():
        wanted = _BRIEF.get(event)
        rows = [r for r in found.get(event, []) if not wanted or r["subset"] in wanted]
        if rows:
            cells = [[_cell(key, r.get(key)) for key, _ in columns] for r in rows]
            out.table(title, [header for _, header in columns], cells)
    groups = found.get("compare", [])
    if groups and not out.streams:
        from qr_cli.attention.compare_plots import comparison_table, conventions

        columns_, cells_ = comparison_table(groups)
        out.table("comparison", columns_, cells_)
        out.hint(conventions(groups))
    for note in {r["data_note"] for r in found.get("eval", []) if r["data_note"]}:
        out.hint(note)
    for record in found.get("report", []):
        out.hint(f"open {record['report']}")


def _cell(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if key == "parameters":
        return f"{value:,}"
    return f"{value:.3f}" if isinstance(value, float) and key != "top1" else shown(key, value)


app = recipe_app(
    AttentionEval,
    command,
    task="attention",
    command="qr eval attention",
    help="Evaluate trained image classifiers: accuracy, comparison, and what they look at.\n\n"
    "Several runs are compared; seeds of one recipe make one row.",
    examples=[
        "qr eval attention runs/attention/lsas-se-s0",
        "qr eval attention runs/attention/*-s? --baseline none",
        "qr eval attention runs/attention/se-s0 --bias boxes --stiffness --ticket sweep",
    ],
    writes_runs=False,
)
