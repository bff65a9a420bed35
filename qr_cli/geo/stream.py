"""Problems one after the other: from a text, from files, from stdin."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from qr_cli.engine.filenames import file_name
from qr_cli.engine.files import write_bytes
from qr_cli.engine.interrupts import interrupts
from qr_cli.errors import DataError, Interrupted, UsageError
from qr_cli.geo import page
from qr_cli.geo.both import Said
from qr_cli.geo.diagrams import read_diagram
from qr_cli.geo.recipe import GeoSolve
from qr_cli.geo.records import Problem, problem, read, read_lines
from qr_cli.geo.solver import Answer, Options, ask, solve


@dataclass(frozen=True)
class Item:
    """One problem and what came of it: an answer, or why it cannot be used."""

    id: str
    text: str = ""
    answer: Answer | None = None
    diagram: bytes | None = None
    fault: DataError | None = None


def answers(recipe: GeoSolve) -> Iterator[Item]:
    """Yield an item per problem, in order.

    Raises:
        DataError: with --fail-fast, the first fault.
        Interrupted: Ctrl-C; what was answered has been given.
    """
    how = recipe.how
    options = Options(
        mode=how.mode, slots=how.slots, exact=how.exact, guess=how.guess, numeric=how.numeric,
        seed=how.seed, solver=how.solver, checkpoint=how.checkpoint, select=how.select,
        beams=how.beams, max_length=how.max_length, allow_truncation=how.allow_truncation,
    )  # fmt: skip
    size = 1 if how.solver == "rules" else how.batch_size
    count = 0
    with interrupts() as stopped:
        for some in _batches(_problems(recipe), size):
            for item in _answered(some, options):
                if stopped():
                    raise Interrupted(f"stopped after {count}")
                if item.fault is not None and recipe.put.fail_fast:
                    raise item.fault
                count += 1
                yield item


Read = Problem | tuple[str, DataError]


def _batches(problems: Iterator[Read], size: int) -> Iterator[list[Read]]:
    while some := list(islice(problems, size)):
        yield some


def _answered(some: list[Read], options: Options) -> Iterator[Item]:
    """Yield the items of problems that the network reads together."""
    seen: dict[int, bytes | None] = {}
    faults: dict[int, DataError] = {}
    for place, problem_ in enumerate(some):
        if isinstance(problem_, tuple):
            faults[place] = problem_[1]
            continue
        try:
            seen[place] = read_diagram(problem_.diagram) if problem_.diagram else None
        except DataError as fault:
            faults[place] = fault
    good = [p for i, p in enumerate(some) if i not in faults and not isinstance(p, tuple)]
    said = iter(ask(good, options) if good and options.solver != "rules" else [None] * len(good))
    for place, problem_ in enumerate(some):
        if isinstance(problem_, tuple):
            yield Item(problem_[0], fault=problem_[1])
        elif place in faults:
            yield Item(problem_.id, problem_.text, fault=faults[place])
        else:
            yield _item(problem_, options, next(said), seen[place])


def _item(problem_: Problem, options: Options, said: Said | None, diagram: bytes | None) -> Item:
    try:
        answer = solve(problem_, options=options, said=said)
    except DataError as fault:
        return Item(problem_.id, problem_.text, fault=fault)
    return Item(problem_.id, problem_.text, answer, diagram)


def _problems(recipe: GeoSolve) -> Iterator[Problem | tuple[str, DataError]]:
    given = recipe.source
    if given.text is not None:
        record: dict[str, object] = {
            "id": "1",
            "text": given.text,
            "choices": options_of(given.choices),
        }
        if given.task != "auto":
            record["task"] = given.task
        if given.points:
            record["points"] = _coordinates(Path(given.points))
        if given.diagram:
            record["diagram"] = given.diagram
        yield problem(record)
        return
    for name in given.files:
        yield from read_lines(sys.stdin) if name == "-" else read(name)


def options_of(text: str | None) -> list[str] | None:
    """Return options as typed: at semicolons where there are any, else at commas."""
    if text is None:
        return None
    return [part.strip() for part in text.split(";" if ";" in text else ",")]


def _coordinates(path: Path) -> object:
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise DataError(f"--points: cannot read {path} ({error.strerror})") from error
    except json.JSONDecodeError as error:
        raise DataError(f"--points: {path} is not JSON: {error.msg}") from error


def write_page(recipe: GeoSolve, item: Item) -> Path | None:
    """Write the page or drawing that was asked for and return its path.

    Raises:
        UsageError: it is there already.
    """
    put = recipe.put
    if put.render == "text" or put.out is None or item.answer is None:
        return None
    folder = Path(put.out)
    path = folder / f"{file_name(item.id)}.{put.render}"
    if path.exists() and not put.overwrite:
        raise UsageError(f"{path} is there already", hint="--overwrite, or another --out")
    if put.render == "html":
        content = page.html(item.answer, item.text, item.diagram).encode()
    elif put.render == "png":
        from qr_cli.geo.render import png  # matplotlib

        content = png(item.answer, item.text)
    else:
        drawn = page.svg_page(item.answer)
        if drawn is None:
            return None
        content = drawn.encode()
    write_bytes(path, content)
    return path
