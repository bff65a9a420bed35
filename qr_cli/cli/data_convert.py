"""`qr data convert WHAT`: official files to folders of ours."""

from __future__ import annotations

from typing import Annotated

import typer

from qr_cli.cli.output import out
from qr_cli.cli.verb import Overwrite, group, verb
from qr_cli.generate.extra import prepare

app = group("Convert official checkpoints.")


@app.callback()
def nothing() -> None:
    """Keep `sur-adapter` a word of its own, though it is the only one."""


@verb(
    app,
    "sur-adapter",
    shown=["qr data convert sur-adapter FILE.pt --out sur --eta 0.1"],
)
def sur_adapter(
    source: Annotated[
        str, typer.Argument(metavar="FILE", help="Official .pt file, a run or a folder.")
    ],
    folder: Annotated[str, typer.Option("--out", help="Folder to write.", metavar="DIR")],
    eta: Annotated[
        float | None, typer.Option(help="Its eta; default: from the path.", metavar="X")
    ] = None,
    attention_axis: Annotated[
        str | None,
        typer.Option(help="batch, none or token; official: batch.", metavar="NAME"),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Store weights in float16.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Convert an official SUR-adapter to a folder that knows its eta."""
    prepare()
    from qr_cli.generate.folder import convert

    record = convert(
        source, folder, eta=eta, attention_axis=attention_axis, half=half, overwrite=overwrite
    )
    out.record(record)
    rows = [[k.replace("_", " "), str(v)] for k, v in record.items() if k != "event"]
    out.table("convert", ["", "value>"], rows)
    out.value(record["out"])
