"""`qr solve-geo`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qr_cli.cli.geo_tables import show_answer, tell
from qr_cli.cli.options import Call, recipe_app
from qr_cli.cli.output import out
from qr_cli.errors import DataError
from qr_cli.geo.recipe import GeoSolve


def command(call: Call[GeoSolve]) -> None:
    """Answer one problem after the other; each answer is flushed before the next is read."""
    from qr_cli.geo.stream import answers, write_page  # numpy

    faults = 0
    for item in answers(call.recipe):
        if item.fault is not None:
            faults += 1
            tell(item.id, item.fault)
            continue
        assert item.answer is not None
        record: dict[str, Any] = item.answer.record
        for warning in record.pop("warnings", ()):
            out.say(f"qr: warning: problem {item.id}: {warning}", style="yellow")
        page = write_page(call.recipe, item)
        out.record(record | ({"page": str(page)} if page else {}))
        show_answer(record)
        out.value(_value(record))
        if page:
            out.hint(f"open {page}")
    if faults:
        raise DataError(f"{faults} of the problems could not be used", hint="see their lines")


def _value(record: dict[str, Any]) -> str:
    """Return what ``--quiet`` leaves: the option, value or proof, else the status."""
    shown: Iterator[Any] = (record.get(key) for key in ("option", "value", "proof", "status"))
    return str(next(value for value in shown if value is not None))


app = recipe_app(
    GeoSolve,
    command,
    task="geo",
    command="qr solve-geo",
    help="Solve plane geometry: a value with its steps, or a proof that is checked.\n\n"
    "Rules and a network answer side by side. The status says how far to trust it.",
    examples=[
        'qr solve-geo --text "In triangle ABC, AB = AC and angle A = 50°. Find angle B."',
        "qr solve-geo problems.jsonl --out answers --render html",
        "cat problems.jsonl | qr solve-geo - --json | jq -r '[.id, .status, .value] | @tsv'",
    ],
    writes_runs=False,
)
