"""`qr data geo make|exec|check|convert`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from qr_cli.cli.output import out
from qr_cli.cli.verb import Overwrite, group, verb

if TYPE_CHECKING:
    from qr_cli.geo.tools import Result

app = group("Geometry: make problems, run programs, check proofs, convert the published files.")


@verb(
    app,
    "make",
    shown=[
        "qr data geo make --n 5000 --seed 1 --split train --out synth",
        "qr data geo make --n 20 --families proof-14-30-6,hypotenuse | qr solve-geo -",
        "qr data geo make --list",
    ],
)
def make_problems(
    n: Annotated[int, typer.Option("--n", min=1, help="How many.", metavar="N")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same problems.", metavar="N")] = 1,
    split: Annotated[
        Literal["train", "seen", "unseen", "diagram"],
        typer.Option(help="Phrasings and letters: train|seen|unseen|diagram.", metavar="NAME"),
    ] = "train",
    families: Annotated[
        str, typer.Option(help="Names by commas; see --list.", metavar="all|NAME,..")
    ] = "all",
    diagrams: Annotated[
        Literal["png", "svg", "none"],
        typer.Option(help="Pictures beside the problems: png|svg|none.", metavar="NAME"),
    ] = "png",
    elements: Annotated[
        Literal["extra", "gold", "none"],
        typer.Option(
            help="Elements proofs may speak of, with surplus: extra|gold|none.", metavar="NAME"
        ),
    ] = "extra",
    out_: Annotated[
        Path | None, typer.Option("--out", help="Folder to make; without, print.", metavar="DIR")
    ] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="Print families, phrasings, readings.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Make problems with options, diagrams, programs and proofs, each of them checked."""
    from qr_cli.geo.synth.files import record, samples, write

    names = () if families == "all" else tuple(families.split(","))
    if list_:
        _list_families()
    elif out_ is None:
        found = samples(n, seed=seed, split=split, families=names, elements=elements)
        for sample in found:
            row = record(sample, split)
            out.record(row)
            out.table(f"{row['id']}: {sample.family}", ["", ""], _shown(row))
    else:
        manifest = write(
            out_, n, seed=seed, split=split, families=names, diagrams=diagrams,
            elements=elements, overwrite=overwrite,
        )  # fmt: skip
        out.record({"event": "make", "out": str(out_), **manifest})
        rows = [[kind, str(count)] for kind, count in manifest["kinds"].items()]
        out.table(f"{out_}", ["kind", "problems>"], rows)
        out.value(str(out_))


def _list_families() -> None:
    """Print every family."""
    from qr_cli.geo.synth import FAMILIES

    rows = []
    for family in FAMILIES.values():
        readings = ", ".join(family.readings)
        out.record(
            {"family": family.name, "kind": family.kind, "phrasings": family.phrases,
             "relations": family.relations, "readings": list(family.readings)}
        )  # fmt: skip
        rows.append([family.name, family.kind, str(family.phrases), readings])
    out.table("splits: train, seen, unseen, diagram", ["family", "kind", "phrasings>", "readings"],
              rows)  # fmt: skip


def _shown(row: dict[str, Any]) -> list[list[str]]:
    wanted = ("text", "choices", "program", "elements", "proof")
    cells = {key: row[key] for key in wanted if row.get(key)}
    return [
        [key, "  ".join(map(str, value)) if isinstance(value, list) else str(value)]
        for key, value in cells.items()
    ]


@verb(
    app,
    "exec",
    shown=[
        'qr data geo exec "g_minus C_3 N_0 g_half V_0" --numbers 50 --choices 50,60,65,90',
        "cat programs.jsonl | qr data geo exec - --mode official",
    ],
)
def run_program(
    program: Annotated[
        str, typer.Argument(help="A program; - reads JSON lines.", metavar="PROGRAM")
    ],
    numbers: Annotated[
        str | None, typer.Option(help="N_0, N_1, ... by commas.", metavar="A,B")
    ] = None,
    choices: Annotated[str | None, typer.Option(help="Options, by commas.", metavar="A,B")] = None,
    mode: Annotated[
        Literal["strict", "official"],
        typer.Option(help="strict, or official with the authors' quirks.", metavar="NAME"),
    ] = "strict",
    dialect: Annotated[
        Literal["unigeo", "geoqa+"],
        typer.Option(help="Operators and constants: unigeo|geoqa+.", metavar="NAME"),
    ] = "unigeo",
) -> None:
    """Run a program; of several on stdin one JSON line each."""
    from qr_cli.geo.tools import run_programs

    _tell(run_programs(program, numbers, choices, mode=mode, dialect=dialect), _ran)


@verb(
    app,
    "check",
    shown=[
        "qr data geo check proofs.jsonl",
        "cat proofs.jsonl | qr data geo check - --json --no-fail",
    ],
)
def check_proof(
    file: Annotated[
        str | None, typer.Argument(help="Problems with proofs; - reads JSON lines.", metavar="FILE")
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="Givens, goal and elements.", metavar="TEXT")
    ] = None,
    proof: Annotated[str | None, typer.Option(help="The proof of --text.", metavar="TEXT")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Also fail on needs-diagram.")] = False,
    numeric: Annotated[
        bool, typer.Option("--numeric", help="Test statements on coordinates.")
    ] = False,
    no_fail: Annotated[
        bool, typer.Option("--no-fail", help="Exit 0 whatever the verdicts.")
    ] = False,
) -> None:
    """Check proofs step by step; exit 6 on a refuted one, 3 where one cannot be read."""
    from qr_cli.geo.tools import check_proofs

    found = check_proofs(file, text, proof, strict=strict, numeric=numeric)
    _tell(found, _checked, fail=not no_fail)


@verb(
    app,
    "convert",
    shown=["qr data geo convert UniGeo/*.pk --out unigeo"],
)
def convert_files(
    files: Annotated[
        list[Path], typer.Argument(help="Pickles, JSON, Inter-GPS folders.", metavar="FILE")
    ],
    out_: Annotated[Path, typer.Option("--out", help="Folder to make.", metavar="DIR")],
    dialect: Annotated[
        Literal["unigeo", "geoqa+", "intergps"],
        typer.Option(help="What the files are: unigeo|geoqa+|intergps.", metavar="NAME"),
    ] = "unigeo",
    overwrite: Overwrite = False,
) -> None:
    """Convert UniGeo pickles and relatives to JSON lines; nothing in them is executed."""
    from qr_cli.geo.unigeo import convert

    manifest = convert(files, out_, dialect=dialect, overwrite=overwrite)
    out.record({"event": "convert", "out": str(out_), **manifest})
    rows = [[name, str(count)] for name, count in manifest["counts"].items()]
    out.table(f"{out_}", ["split", "problems>"], rows)
    out.value(str(out_))


def _tell(results: Iterable[Result], rows: Any, *, fail: bool = True) -> None:
    """Print each record as it comes, then exit with the worst code."""
    worst = 0
    for record, code in results:
        worst = max(worst, code)
        out.record(record)
        title, columns, cells = rows(record)
        out.table(title, columns, cells)
        out.value(title)
    if worst and fail:
        raise typer.Exit(worst)


def _ran(record: dict[str, Any]) -> tuple[str, list[str], list[list[str]]]:
    error = record.get("error")
    if error:
        words = error if isinstance(error, str) else error.get("message") or error.get("reason")
        return f"{record.get('program', record.get('id'))}: {words}", [], []
    results, forms = record["results"] or [], record["exact"] or []
    cells = [
        [f"V_{i}", str(value), str(forms[i]) if i < len(forms) else ""]
        for i, value in enumerate(results)
    ]
    option = record["option_index"]
    title = str(results[-1]) if results else "no value"
    return title if option is None else f"{title} (option {option})", ["", "value>", "exact"], cells


def _checked(record: dict[str, Any]) -> tuple[str, list[str], list[list[str]]]:
    if "verdict" not in record:
        return f"{record['id']}: {record['error']['message']}", [], []
    levels = {2: "verified", 1: "needs diagram", 0: "refuted"}
    cells = [
        [str(s["n"]), s["statement"], s["reason"], levels[s["level"]]] for s in record["steps"]
    ]
    title = f"{record['id']}: {record['verdict']}"
    return title, ["", "statement", "reason", "check"], cells
