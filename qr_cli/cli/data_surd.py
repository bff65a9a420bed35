"""`qr data surd VERB`: build, check, clean, encode."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated, Any

import typer

from qr_cli.cli.output import out
from qr_cli.cli.status import Status
from qr_cli.cli.verb import Overwrite, group, verb
from qr_cli.generate.extra import prepare

Source = Annotated[str, typer.Argument(metavar="SURD", help="Folder or metadata.jsonl.")]
Out = Annotated[str, typer.Option("--out", help="Folder to write.", metavar="DIR")]
app = group("Narrative and keyword prompts for pictures, for SUR-adapters.")


@verb(
    app,
    "build",
    shown=[
        "qr data surd build --world tiny --out surd-tiny",
        "qr data surd build meta-*.json --images img/ --captions texts.jsonl --out SURD",
    ],
)
def build(
    folder: Out,
    pages: Annotated[
        list[str] | None, typer.Argument(metavar="META", help="Pages of a model listing.")
    ] = None,
    world: Annotated[
        str | None, typer.Option(help="Instead of pages: tiny, painted digits.", metavar="NAME")
    ] = None,
    images: Annotated[
        str | None, typer.Option(help="Folder of pictures, by image name.", metavar="DIR")
    ] = None,
    captions: Annotated[
        str | None, typer.Option(help="JSON lines {image_name, text}.", metavar="FILE")
    ] = None,
    captioner: Annotated[
        str | None, typer.Option(help="Local folder of a BLIP captioner.", metavar="DIR")
    ] = None,
    clip: Annotated[str | None, typer.Option(help="Local folder of a CLIP.", metavar="DIR")] = None,
    min_clip: Annotated[
        float | None, typer.Option(help="Keep rows of this CLIPScore or more.", metavar="X")
    ] = None,
    levels: Annotated[
        str, typer.Option(help="Levels of the listing that are kept.", metavar="A,B")
    ] = "None",
    no_clean: Annotated[
        bool, typer.Option("--no-clean", help="Leave weights and tags in prompts.")
    ] = False,
    urls: Annotated[
        str | None, typer.Option(help="Write addresses of missing pictures.", metavar="FILE")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Make a SURD folder; nothing is fetched."""
    prepare()
    from qr_cli.generate import collect

    if world is not None:
        record = collect.build_world(world, folder, pages=pages or (), overwrite=overwrite)
    else:
        record = collect.build(
            pages or (),
            folder,
            images=images,
            captions=captions,
            captioner=captioner,
            clip=clip,
            min_clip=min_clip,
            levels=[level.strip() for level in levels.split(",")],
            cleaned=not no_clean,
            urls=urls,
            overwrite=overwrite,
        )
    _tell(record)


@verb(
    app,
    "check",
    shown=["qr data surd check SURD", "qr data surd check SURD --base sd15 --teacher 39.pt"],
)
def check(
    source: Source,
    base: Annotated[
        str | None, typer.Option(help="Base whose tokenizer cuts texts.", metavar="DIR")
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Vectors that should be there.", metavar="FILE")
    ] = None,
) -> None:
    """Count rows and faults; exit 3 if it cannot be trained on."""
    prepare()
    from qr_cli.generate.survey import require, survey

    record = survey(source, base=base, teacher=teacher)
    _tell(record, str(record["rows"]))
    require(record)


@verb(app, "clean", shown=["qr data surd clean SURD --out SURD-clean"])
def clean(
    source: Source,
    folder: Out,
    overwrite: Overwrite = False,
) -> None:
    """Copy a folder with prompts free of weights, tags and repeats."""
    prepare()
    from qr_cli.generate.collect import clean_folder

    _tell(clean_folder(source, folder, overwrite=overwrite))


@verb(
    app,
    "encode",
    shown=[
        "qr data surd encode SURD --teacher minilm --out vectors",
        "qr data surd encode SURD --teacher llama-13b/ --layer 39 --out 39.pt",
    ],
)
def encode(
    source: Source,
    folder: Annotated[
        str, typer.Option("--out", help="Folder, or FILE.pt as the authors do.", metavar="OUT")
    ],
    teacher: Annotated[
        str, typer.Option(help="minilm, smollm2 or a model folder.", metavar="NAME")
    ] = "minilm",
    layer: Annotated[
        str, typer.Option(help="Block from 0 or from the end, or embed.", metavar="N")
    ] = "-1",
    pool: Annotated[
        str, typer.Option(help="auto, mean, last or first token.", metavar="NAME")
    ] = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Write a language model's vector of every narrative."""
    prepare()
    with ExitStack() as stack:
        status = stack.enter_context(Status(out))
        status.doing("encode", f"by {teacher}")
        from qr_cli.generate.teacher import encode_rows

        record = encode_rows(
            source, folder, teacher=teacher, layer=layer, pool=pool, overwrite=overwrite
        )
    _tell(record)


def _tell(record: dict[str, Any], value: str | None = None) -> None:
    out.record(record)
    rows = [[k.replace("_", " "), _text(v)] for k, v in record.items() if k != "event"]
    out.table(str(record["event"]), ["", "value>"], rows)
    out.value(value or str(record["out"]))


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {v:,}" for k, v in value.items()) or "-"
    if isinstance(value, list):
        return "; ".join(map(str, value)) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
