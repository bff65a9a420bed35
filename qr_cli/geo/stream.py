"""Problems one after the other: from a text, from files, from stdin."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qr_cli.engine.interrupts import interrupts
from qr_cli.errors import DataError, Interrupted, UsageError
from qr_cli.geo import page
from qr_cli.geo.diagrams import read_diagram
from qr_cli.geo.recipe import GeoSolve
from qr_cli.geo.records import Problem, problem, read, read_lines
from qr_cli.geo.solver import Answer, Options, solve


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
        mode=how.mode, slots=how.slots, exact=how.exact, guess=how.guess,
        numeric=how.numeric, seed=how.seed,
    )  # fmt: skip
    with interrupts() as stopped:
        for count, found in enumerate(_problems(recipe)):
            if stopped():
                raise Interrupted(f"stopped after {count}")
            item = _answered(found, options)
            if item.fault is not None and recipe.put.fail_fast:
                raise item.fault
            yield item


def _answered(found: Problem | tuple[str, DataError], options: Options) -> Item:
    if isinstance(found, tuple):
        return Item(found[0], fault=found[1])
    try:
        diagram = read_diagram(found.diagram) if found.diagram else None
        answer = solve(found, options=options)
    except DataError as fault:
        return Item(found.id, found.text, fault=fault)
    return Item(found.id, found.text, answer, diagram)


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
    path = folder / f"{re.sub(r'[^A-Za-z0-9._-]+', '_', item.id) or 'problem'}.{put.render}"
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
    folder.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.part")
    hidden.write_bytes(content)
    hidden.replace(path)
    return path
