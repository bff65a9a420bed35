"""The small tools of `qr data geo`: run programs, check proofs. One record per item."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from qr_cli.errors import DataError, UsageError
from qr_cli.geo import exact
from qr_cli.geo.checker import check
from qr_cli.geo.givens import read_problem
from qr_cli.geo.program import (
    Abort,
    Dialect,
    Mode,
    execute,
    jsonable,
    matches,
    official_choice,
)
from qr_cli.geo.records import Problem, load_line, read, read_lines
from qr_cli.geo.slotting import option

REFUTED, SYNTAX = 6, 3  # exit codes


class Result(NamedTuple):
    """A record and the exit code it alone would give."""

    record: dict[str, Any]
    code: int


def run_programs(
    program: str, numbers: str | None, choices: str | None, *, mode: Mode, dialect: Dialect
) -> Iterator[Result]:
    """Yield what a program gives, or what each JSON line of stdin gives for "-".

    Raises:
        UsageError: numbers or choices cannot be read.
    """
    if program != "-":
        given = _floats("--numbers", numbers) or []
        yield _run(None, program, given, _floats("--choices", choices), mode, dialect)
        return
    for number, line in enumerate(sys.stdin, 1):
        if line.strip():
            yield _run_line(line, number, mode, dialect)


def _run_line(line: str, number: int, mode: Mode, dialect: Dialect) -> Result:
    try:
        record = load_line(line, number)
        name, program = str(record.get("id", number)), record["program"]
    except DataError as error:
        return _fault(str(number), error.message)
    except (KeyError, AttributeError, TypeError):
        return _fault(str(number), f'line {number}: has no "program"')
    options = [option(c)[0] for c in record.get("choices") or record.get("choice_numbers") or ()]
    text = program if isinstance(program, str) else " ".join(map(str, program))
    return _run(name, text, record.get("numbers"), options or None, mode, dialect)


def _fault(name: str, message: str) -> Result:
    error = {"code": SYNTAX, "message": message, "hint": "qr data geo exec --help"}
    return Result({"id": name, "error": error}, SYNTAX)


def _run(
    name: str | None, program: str, numbers: Sequence[float] | None,
    choices: Sequence[float | None] | None, mode: Mode, dialect: Dialect,
) -> Result:  # fmt: skip
    record: dict[str, Any] = {"id": name} if name is not None else {}
    record |= {"program": program, "numbers": numbers, "results": None, "exact": None,
               "option_index": None, "error": None, "mode": mode}  # fmt: skip
    try:
        run = execute(program, numbers, mode=mode, dialect=dialect)
    except DataError as fault:
        record["error"] = {"code": SYNTAX, "message": fault.message, "hint": fault.hint}
        return Result(record, SYNTAX)
    if isinstance(run.error, Abort):
        record["error"] = run.error._asdict()
        return Result(record, REFUTED)
    record["error"] = run.error
    if run.results is not None:
        record["results"] = [jsonable(v) for v in run.results]
    if run.value is not None:
        record |= _option(run.value, choices, mode)
    if mode == "strict" and run.results:
        terms = exact.evaluate(program, numbers or (), dialect=dialect)
        record["exact"] = [exact.text(t) for t in terms] if terms else None
    return Result(record, 0)


def _option(value: float, choices: Sequence[float | None] | None, mode: Mode) -> dict[str, Any]:
    if mode == "official":
        index, fault = official_choice(value, choices)
        return {"option_index": index} | ({"choice_error": fault} if fault else {})
    found = matches(value, choices or ())
    if len(found) > 1:
        return {"option_index": None, "ambiguous": found}
    return {"option_index": found[0] if found else None}


def _floats(flag: str, text: str | None) -> list[float] | None:
    """Return numbers as typed, by commas (or semicolons, if there are any)."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(";" if ";" in text else ",")]
    values = [_float(part) for part in parts]
    if None in values:
        raise UsageError(
            f"{flag}: {parts[values.index(None)]!r} is no number", hint=f"{flag} 50,60"
        )
    return [v for v in values if v is not None]


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return option(text)[0]  # 2√3, 60°


def check_proofs(
    file: str | None, text: str | None, proof: str | None, *, strict: bool, numeric: bool
) -> Iterator[Result]:
    """Yield the verdict of each problem with a proof.

    Raises:
        UsageError: there is nothing to check.
    """
    if text is not None and proof is not None:
        yield _verdict(Problem("1", "proving", text, proof=proof), strict=strict, numeric=numeric)
        return
    if file is None:
        raise UsageError("nothing to check: give FILE, - or --text with --proof")
    for item in read_lines(sys.stdin) if file == "-" else read(Path(file)):
        if isinstance(item, tuple):
            error = {"code": SYNTAX, "message": item[1].message, "hint": item[1].hint}
            yield Result({"id": item[0], "error": error}, SYNTAX)
        else:
            yield _verdict(item, strict=strict, numeric=numeric)


def _verdict(problem: Problem, *, strict: bool, numeric: bool) -> Result:
    try:
        parsed = read_problem(
            problem.text,
            elements=problem.elements,
            points=dict(problem.points) if problem.points else None,
            collinear=problem.collinear,
        )
    except DataError as fault:
        error = {"code": SYNTAX, "message": fault.message, "hint": fault.hint}
        return Result({"id": problem.id, "error": error}, SYNTAX)
    verdict = check(parsed, problem.proof or "", numeric=numeric)
    code = {"syntax": SYNTAX, "refuted": REFUTED, "wrong-goal": REFUTED}.get(verdict.verdict, 0)
    if strict and verdict.verdict == "needs-diagram":
        code = REFUTED
    return Result({"id": problem.id, **verdict.to_dict()}, code)
