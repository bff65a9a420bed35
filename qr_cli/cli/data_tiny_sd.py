"""`qr data tiny-sd build`."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from qr_cli.cli.lazy import Stub, lazy_app
from qr_cli.cli.options import Call, recipe_app
from qr_cli.cli.output import out
from qr_cli.cli.status import Status
from qr_cli.generate.extra import prepare
from qr_cli.generate.tiny_recipe import TinySd


def command(call: Call[TinySd]) -> None:
    """Train, and say how well the result draws."""
    prepare()
    with ExitStack() as stack:
        status = stack.enter_context(Status(out))
        from qr_cli.generate.tiny_check import build

        for record in build(call.recipe, status.doing):
            _tell(record)


def _tell(record: dict[str, Any]) -> None:
    out.record(record)
    rows = [[k.replace("_", " "), _text(v)] for k, v in record.items() if k != "event"]
    out.table(record["event"], ["", "value>"], rows)
    if record.get("out"):
        out.value(record["out"])


def _text(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


build = recipe_app(
    TinySd,
    command,
    task="generate",
    command="qr data tiny-sd build",
    help="Train the tiny base anew: a complete diffusers folder, minutes on one core.",
    examples=["qr data tiny-sd build --out tiny-sd", "qr data tiny-sd build --check --seed 1"],
    writes_runs=False,
)
app = lazy_app(
    {"build": Stub("qr_cli.cli.data_tiny_sd:build", "Train the tiny base anew.")},
    help="The tiny base that ships with qr.",
)
