"""`qr eval geo`."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap
from typing import Any

from qr_cli.cli.options import Call, recipe_app
from qr_cli.cli.output import out
from qr_cli.cli.status import Status
from qr_cli.geo.recipe import GeoEval

_COLUMNS = {
    "calculation": ("acc", "oracle", "exact", "no_result", "over_limit"),
    "proving": ("exact", "set", "valid", "verified", "refuted", "bleu"),
}
_RARE = ("over_limit", "refuted")  # not worth a column where there is none


def command(call: Call[GeoEval]) -> None:
    """Stream records; on a terminal show one table per task and one of statuses."""
    found: list[dict[str, Any]] = []
    with Status(out) as status:
        from qr_cli.geo.evaluate import evaluate  # numpy

        for record in evaluate(call.recipe, status.doing):
            out.record(record)
            found.append(record)
            if record["event"] == "report":
                out.value(record["report"])
                out.hint(f"open {record['report']}")
            if record["event"] == "eval":
                out.value(str(record["acc" if record["task"] == "calculation" else "valid"]))
    for task, keys in _COLUMNS.items():
        rows = [r for r in found if r["event"] == "eval" and r["task"] == task]
        if rows:
            out.table(*_table(task, rows, keys))
    statuses = [r for r in found if r["event"] == "status"]
    if statuses:
        rows_ = [
            [r["solver"], r["status"], *(str(r[k]) for k in ("n", "answered", "right"))]
            for r in statuses
        ]
        out.table("statuses", ["solver", "status", "n>", "answered>", "right>"], rows_)
    if found and not out.streams:
        seen = any(r.get("diagrams") for r in found)
        note = "" if seen else "; text without diagrams"
        for line in wrap(f"acc: {found[0].get('convention')}{note}", 78):
            out.say(line, style="dim")


def _table(
    task: str, rows: list[dict[str, Any]], keys: tuple[str, ...]
) -> tuple[str, list[str], list[list[str]]]:
    """Return title, columns and cells; what is the same in every row stands in the title."""
    names = {key: [_name(key, row) for row in rows] for key in ("data", "solver", "category")}
    told = [key for key in ("data", "category") if len(set(names[key])) == 1]
    title = [names[key][0] for key in told if names[key][0] != "all"]
    figures = [key for key in keys if key not in _RARE or any(row[key] for row in rows)]
    columns = {"data": "file", "solver": "solver", "category": "category"}
    head = [word for key, word in columns.items() if key not in told]
    cells = [
        [
            *(names[key][place] for key in columns if key not in told),
            *(str(row["k"]), str(row["n"])),
            *(f"{100 * row[key]:.1f}" for key in figures),
        ]
        for place, row in enumerate(rows)
    ]
    shown = [f"{key.replace('_', ' ')}>" for key in figures]
    return f"{': '.join([task, *title])}, in per cent", [*head, "k>", "n>", *shown], cells


def _name(key: str, record: dict[str, Any]) -> str:
    if key == "data":
        return Path(record["data"]).stem
    look = record.get("diagrams")
    return f"{record[key]}, {look}" if key == "solver" and look and look != "on" else record[key]


app = recipe_app(
    GeoEval,
    command,
    task="geo",
    command="qr eval geo",
    help="Evaluate on geometry problems with answers: options hit, proofs that hold.",
    examples=[
        "qr eval geo dev.jsonl --solver rules,label --by category",
        "qr eval geo dev.jsonl --solver gold",
        "qr eval geo synth:diagram --solver network --diagram-input on,off,shuffled",
        "qr eval geo dev.jsonl --predictions mine.jsonl --beams 1,10",
        "qr eval geo dev.jsonl --solver both,label --by category --out report",
    ],
    writes_runs=False,
)
