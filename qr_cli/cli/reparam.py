"""`qr reparam`."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from qr_cli.cli.options import Call, recipe_app
from qr_cli.cli.output import out
from qr_cli.cli.reparam_tables import show, show_summary
from qr_cli.cli.status import Status
from qr_cli.reparam.recipe import Reparam


def command(call: Call[Reparam]) -> None:
    """Stream records; on a terminal show the plan, then what was proven."""
    found: dict[str, list[dict[str, Any]]] = {}
    with ExitStack() as stack:
        stack.callback(show, found)  # also when the fold is not equal
        status = stack.enter_context(Status(out))
        from qr_cli.reparam.task import reparam  # imports torch

        for record in reparam(call.recipe, status.doing):
            out.record(record)
            found.setdefault(record["event"], []).append(record)
    show_summary(found, call.recipe)


app = recipe_app(
    Reparam,
    command,
    task="reparam",
    command="qr reparam",
    help="Fold attention, blocks and batch norms of a trained network into its convolutions, and "
    "prove that nothing changed.\n\nA folded ASR network is the plain backbone: ASR adds nothing "
    "at inference.",
    examples=[
        "qr reparam runs/attention/asr-r20 --dry-run",
        "qr reparam runs/attention/asr-r20 --out deployed --verify --export onnx",
        "qr reparam RepVGG-A0-train.pth --arch repvgg-a0 --out a0",
    ],
    writes_runs=False,
)
