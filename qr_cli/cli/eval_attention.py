"""`qr eval attention`."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from qr_cli.attention.eval_recipe import AttentionEval
from qr_cli.cli.eval_tables import show
from qr_cli.cli.options import Call, recipe_app
from qr_cli.cli.output import out
from qr_cli.cli.status import Status


def command(call: Call[AttentionEval]) -> None:
    """Stream records; on a terminal show one table per kind."""
    found: dict[str, list[dict[str, Any]]] = {}
    with ExitStack() as stack:
        stack.callback(show, found)  # also when a later run fails
        status = stack.enter_context(Status(out))
        from qr_cli.attention.evaluate import evaluate  # imports torch

        for record in evaluate(call.recipe, status.doing):
            out.record(record)
            if record["event"] == "eval":
                out.value(str(record["top1"]))
            found.setdefault(record["event"], []).append(record)


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
        "qr eval attention --arch timm:resnet18 --weights FILE --data folder:flowers",
    ],
    writes_runs=False,
)
