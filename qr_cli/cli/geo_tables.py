"""Answers of `qr solve-geo` as text of a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qr_cli.cli.output import out
from qr_cli.errors import DataError


def tell(name: str, fault: DataError) -> None:
    """Say which item cannot be used and why: in a stream as its record."""
    error = {"code": fault.exit_code, "message": fault.message, "hint": fault.hint}
    out.record({"id": name, "error": error})
    if not out.streams:
        out.say(f"qr: problem {name}: {fault.message}", style="red")


def show_answer(record: Mapping[str, Any]) -> None:
    """Print an answer: its line, the steps, what was assumed or not understood."""
    if out.streams or out.quiet:
        return
    title = f"{record['id']}: {_line(record)} ({record['status'].replace('-', ' ')})"
    if record["task"] == "proving":
        rows = [[str(s["n"]), s["statement"], s["reason"], _uses(s)] for s in record["steps"]]
        out.table(title, ["", "statement", "reason", "uses"], rows)
    else:
        rows = [[str(s["n"]), s["text"], ", ".join(s["args"])] for s in record["steps"]]
        out.table(title, ["", "step", "from"], rows)
    for words, key in (("assumed", "assumed"), ("not understood", "not_understood"),
                       ("note", "notes")):  # fmt: skip
        for row in record.get(key, ()):
            out.say(f"{words}: {row}", style="dim")
    if record.get("note"):
        out.say(f"note: {record['note']}", style="dim")


def _uses(step: Mapping[str, Any]) -> str:
    return "does not follow" if step["check"] == "refuted" else ", ".join(step["uses"])


def _line(record: Mapping[str, Any]) -> str:
    if record["task"] == "proving":
        refuted = record["status"] == "refuted"
        return f"{record['goal']}: no proof found" if refuted else str(record["goal"])
    if record["value"] is None:
        return "no answer"
    unit = {"deg": "°", None: ""}.get(record["unit"], f" {record['unit']}")
    text = f"{record['pretty'] or format(record['value'], '.6g')}{unit}"
    return f"{record['option']}, {text}" if record["option"] else text
