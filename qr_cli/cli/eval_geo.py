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
            head = [
                "file",
                "solver",
                "category",
                "k>",
                "n>",
                *(f"{k.replace('_', ' ')} %>" for k in keys),
            ]
            out.table(task, head, [_row(r, keys) for r in rows])
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


def _row(record: dict[str, Any], keys: tuple[str, ...]) -> list[str]:
    look = record.get("diagrams")
    solver = f"{record['solver']}, {look}" if look and look != "on" else record["solver"]
    head = [Path(record["data"]).stem, solver, record["category"]]
    return [*head, str(record["k"]), str(record["n"]), *(f"{100 * record[k]:.1f}" for k in keys)]


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
