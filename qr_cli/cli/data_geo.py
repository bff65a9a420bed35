"""`qr data geo make|exec|check|convert`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from qr_cli.cli.lazy import SETTINGS, Command, LazyGroup
from qr_cli.cli.output import out

if TYPE_CHECKING:
    from qr_cli.geo.tools import Result

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON lines.", metavar=" ")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print only the one value.", metavar=" ")]
NoColor = Annotated[bool, typer.Option("--no-color", help="Print without colour.", metavar=" ")]
app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    help="Geometry data: make problems, run programs, check proofs, convert the published files.",
    **SETTINGS,
)


def _examples(*lines: str) -> str:
    return "\n\n".join(["[bold]Examples[/bold]", *(f"  {line}" for line in lines)])


@app.command(
    "make",
    cls=Command,
    help="Make problems with options, diagrams, programs and proofs, each of them checked.",
    epilog=_examples(
        "qr data geo make --n 5000 --seed 1 --split train --out synth",
        "qr data geo make --n 20 --families proof-14-30-6,hypotenuse | qr solve-geo -",
        "qr data geo make --list",
    ),
)
def make_problems(
    n: Annotated[int, typer.Option("--n", min=1, help="How many.", metavar="N")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same problems.", metavar="N")] = 1,
    split: Annotated[
        Literal["train", "seen", "unseen", "diagram"],
        typer.Option(help="unseen: other phrasings and letters."),
    ] = "train",
    families: Annotated[
        str, typer.Option(help="Names by commas; see --list.", metavar="all|NAME,..")
    ] = "all",
    diagrams: Annotated[
        Literal["png", "svg", "none"], typer.Option(help="Pictures beside the problems.")
    ] = "png",
    elements: Annotated[
        Literal["extra", "gold", "none"],
        typer.Option(help="What proofs may speak of: with surplus, exact, unlisted."),
    ] = "extra",
    out_: Annotated[
        Path | None, typer.Option("--out", help="Folder to make; without, print.", metavar="DIR")
    ] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="Print families, phrasings, readings.", metavar=" ")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the folder.", metavar=" ")
    ] = False,
    json: AsJson = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """Print problems, or write a folder of them."""
    from qr_cli.geo.synth.files import record, samples, write

    out.configure(as_json=json, quiet=quiet, no_color=no_color)
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


@app.command(
    "exec",
    cls=Command,
    help="Run a program; of several on stdin one JSON line each.",
    epilog=_examples(
        'qr data geo exec "g_minus C_3 N_0 g_half V_0" --numbers 50 --choices 50,60,65,90',
        "cat programs.jsonl | qr data geo exec - --mode official",
    ),
)
def run_program(
    program: Annotated[str, typer.Argument(help="A program; - reads JSON lines.")],
    numbers: Annotated[
        str | None, typer.Option(help="N_0, N_1, ... by commas.", metavar="A,B")
    ] = None,
    choices: Annotated[str | None, typer.Option(help="Options, by commas.", metavar="A,B")] = None,
    mode: Annotated[
        Literal["strict", "official"],
        typer.Option(help="Executor; official keeps the authors' quirks."),
    ] = "strict",
    dialect: Annotated[
        Literal["unigeo", "geoqa+"], typer.Option(help="Operators and constants.")
    ] = "unigeo",
    json: AsJson = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """Run one program, or those of stdin."""
    from qr_cli.geo.tools import run_programs

    out.configure(as_json=json, quiet=quiet, no_color=no_color)
    _tell(run_programs(program, numbers, choices, mode=mode, dialect=dialect), _ran)


@app.command(
    "check",
    cls=Command,
    help="Check proofs step by step; exit 6 on a refuted one, 3 where one cannot be read.",
    epilog=_examples(
        "qr data geo check proofs.jsonl",
        "cat proofs.jsonl | qr data geo check - --json --no-fail",
    ),
)
def check_proof(
    file: Annotated[
        str | None, typer.Argument(help="Problems with proofs; - reads JSON lines.")
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="Givens, goal and elements.", metavar="TEXT")
    ] = None,
    proof: Annotated[str | None, typer.Option(help="The proof of --text.", metavar="TEXT")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Also fail on needs-diagram.", metavar=" ")
    ] = False,
    numeric: Annotated[
        bool, typer.Option("--numeric", help="Test statements on coordinates.", metavar=" ")
    ] = False,
    no_fail: Annotated[
        bool, typer.Option("--no-fail", help="Exit 0 whatever the verdicts.", metavar=" ")
    ] = False,
    json: AsJson = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """Check the proofs of a file, of stdin, or one given by flags."""
    from qr_cli.geo.tools import check_proofs

    out.configure(as_json=json, quiet=quiet, no_color=no_color)
    found = check_proofs(file, text, proof, strict=strict, numeric=numeric)
    _tell(found, _checked, fail=not no_fail)


@app.command(
    "convert",
    cls=Command,
    help="Convert UniGeo pickles and relatives to JSON lines; nothing in them is executed.",
    epilog=_examples("qr data geo convert UniGeo/*.pk --out unigeo"),
)
def convert_files(
    files: Annotated[list[Path], typer.Argument(help="Pickles, JSON, Inter-GPS folders.")],
    out_: Annotated[Path, typer.Option("--out", help="Folder to make.", metavar="DIR")],
    dialect: Annotated[
        Literal["unigeo", "geoqa+", "intergps"], typer.Option(help="What the files are.")
    ] = "unigeo",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the folder.", metavar=" ")
    ] = False,
    json: AsJson = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """Write JSON lines, diagrams and a manifest."""
    from qr_cli.geo.unigeo import convert

    out.configure(as_json=json, quiet=quiet, no_color=no_color)
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
