"""`qr eval handoff`."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from qr_cli.cli.handoff_tables import show_eval
from qr_cli.cli.options import Call, recipe_app
from qr_cli.cli.output import out
from qr_cli.cli.status import Status
from qr_cli.handoff.eval_recipe import HandoffEval


def command(call: Call[HandoffEval]) -> None:
    """Stream records; on a terminal show tables."""
    found: list[dict[str, Any]] = []
    with ExitStack() as stack:
        stack.callback(show_eval, found)
        status = stack.enter_context(Status(out))
        from qr_cli.handoff.evaluate import evaluate

        for record in evaluate(call.recipe, status.doing):
            out.record(record)
            found.append(record)
            if record["event"] == "calibrate":
                out.value(record["file"])
                out.hint(f"wrote {record['file']}")
            if record["event"] == "report":
                out.value(record["report"])
                out.hint(f"open {record['report']}")


app = recipe_app(
    HandoffEval,
    command,
    task="handoff",
    command="qr eval handoff",
    help="Evaluate handoff models at several operating points, beside trivial policies.\n\n"
    "Runs of one system are seeds of it: their mean is shown.",
    examples=[
        "qr eval handoff runs/handoff/gru-cem-s0 --data dev.jsonl",
        "qr eval handoff runs/handoff/* --data dev.jsonl --baseline gru",
        "qr eval handoff runs/handoff/gru-cem-s0 --data gold.jsonl --calibrate",
    ],
    writes_runs=False,
)
