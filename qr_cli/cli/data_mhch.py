"""`qr data mhch VERB`: dialogues for handoff models."""

from __future__ import annotations

from typing import Annotated

import typer

from qr_cli.cli.output import out
from qr_cli.cli.verb import Overwrite, group, verb

app = group("Dialogues for handoff models.")


@verb(
    app,
    "convert",
    shown=[
        "qr data mhch convert makeup.pkl -o makeup.jsonl",
        "qr data mhch convert dbdc3/ -o dbdc3.jsonl --from dbdc3",
    ],
)
def convert(
    source: Annotated[str, typer.Argument(metavar="SRC", help="File or folder.")],
    target: Annotated[
        str, typer.Option("--out", "-o", help="File to write; a vocabulary: folder.", metavar="OUT")
    ],
    kind: Annotated[
        str,
        typer.Option(
            "--from", help="auto, mhch, dami, ssa, cmhch, dbdc3 or vocab.", metavar="NAME"
        ),
    ] = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Convert a published corpus to JSON lines; pickles are read without running them."""
    from qr_cli.handoff.convert import convert as run
    from qr_cli.handoff.convert import rows

    record = run(source, target, kind=kind, overwrite=overwrite)
    out.record(record)
    out.table("converted", ["", "value>"], rows(record))
    out.value(record["file"])


@verb(
    app,
    "stats",
    shown=["qr data mhch stats my.jsonl", "qr data mhch stats train.jsonl --against dev.jsonl"],
)
def stats(
    source: Annotated[str, typer.Argument(metavar="FILE", help="Dialogues, JSON lines.")],
    against: Annotated[
        str | None, typer.Option(help="Also list what stands in this file too.", metavar="FILE")
    ] = None,
    label_base: Annotated[
        str, typer.Option(help="What labels start at: auto, 0 or 1.", metavar="NAME")
    ] = "auto",
) -> None:
    """Count dialogues, turns, labels and duplicates of a file."""
    from qr_cli.handoff.convert import rows
    from qr_cli.handoff.convert import stats as count

    record = count(source, against=against, label_base=label_base)
    out.record(record)
    out.table(source, ["", "value>"], rows(record))
    out.value(str(record["dialogues"]))
