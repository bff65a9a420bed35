"""`qr data tiny-sd build`."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated, Any

import typer

from qr_cli.cli.lazy import SETTINGS, Command, LazyGroup
from qr_cli.cli.output import out
from qr_cli.cli.status import Status

app = typer.Typer(
    cls=LazyGroup, no_args_is_help=True, help="The tiny base that ships with qr.", **SETTINGS
)


@app.callback()
def group() -> None:
    """Keep `build` a word of its own, though it is the only one."""


@app.command(
    "build",
    cls=Command,
    epilog="[bold]Examples[/bold]\n\n  qr data tiny-sd build --out tiny-sd --seed 0"
    "\n\n  qr data tiny-sd build --check --json",
)
def build(
    folder: Annotated[str | None, typer.Option("--out", help="Folder to write.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights and batches.")] = 0,
    check: Annotated[
        bool, typer.Option("--check", help="Judge it beside the shipped one.", metavar=" ")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the folder.", metavar=" ")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON lines.", metavar=" ")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print only the path.", metavar=" ")
    ] = False,
) -> None:
    """Train the tiny base anew: a complete diffusers folder, minutes on one core."""
    out.configure(as_json=json, quiet=quiet)
    out.route_logs()
    with ExitStack() as stack:
        status = stack.enter_context(Status(out))
        from qr_cli.generate.tiny_check import build as make

        for record in make(folder, seed=seed, check=check, overwrite=overwrite, doing=status.doing):
            _tell(record)


def _tell(record: dict[str, Any]) -> None:
    out.record(record)
    rows = [[k.replace("_", " "), _text(v)] for k, v in record.items() if k != "event"]
    out.table(record["event"], ["", "value>"], rows)
    if record.get("out"):
        out.value(record["out"])


def _text(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
