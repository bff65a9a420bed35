"""`qr handoff`: one decision per message, at once."""

from __future__ import annotations

import sys
from typing import Any

from qr_cli.cli.handoff_tables import show_dialogue
from qr_cli.cli.options import Call, recipe_app
from qr_cli.cli.output import out
from qr_cli.errors import UsageError
from qr_cli.handoff.ask_recipe import Ask


def command(call: Call[Ask]) -> None:
    """Export, draw, or answer line by line."""
    recipe = call.recipe
    if recipe.look.export:
        from qr_cli.handoff.export import export

        _tell(export(recipe))
        return
    if not recipe.input.input and sys.stdin.isatty():
        raise UsageError("no INPUT is given", hint="qr handoff dialogues.jsonl, or - for stdin")
    if recipe.look.trace:
        from qr_cli.handoff.trace import trace

        for record in trace(recipe):
            _tell(record)
        return
    from qr_cli.handoff.ask import ask

    for line, record in ask(recipe):
        if not out.streams and "utterances" in record:
            show_dialogue(line, record)
            continue
        out.streams = out.streams or not out.quiet  # a stream of events is no table
        out.record(record)
        out.value(str(record.get("decision", record.get("raised", ""))))


def _tell(record: dict[str, Any]) -> None:
    out.record(record)
    out.value(str(record["file"]))
    if not out.streams:
        out.hint(f"open {record['file']}")


app = recipe_app(
    Ask,
    command,
    task="handoff",
    command="qr handoff",
    help="Decide per message whether a human should take over, and say why.\n\n"
    "INPUT holds JSON lines: events of interleaved sessions, or whole dialogues.",
    examples=[
        "qr handoff dialogues.jsonl",
        "tail -f events.jsonl | qr handoff - --checkpoint runs/handoff/mine",
        "qr handoff dialogues.jsonl --trace traces --trace-format png,html",
        "qr handoff --checkpoint runs/handoff/mine --export step.onnx",
    ],
    writes_runs=False,
)
