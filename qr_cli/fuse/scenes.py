"""Many pairs: JSON lines in, one record per line back in the order of the lines.

A line holds "hsi", "msi", "out", an "id", and any leaf of the recipe. A bad line becomes
{"id": ..., "error": {...}} and the others go on. Several processes take turns line by line.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from qr_cli.engine.damage import damaged, reason
from qr_cli.engine.resolve import by_name, resolve
from qr_cli.engine.sharing import in_turns
from qr_cli.errors import DataError, QrError
from qr_cli.fuse.recipe import Fuse

Record = dict[str, Any]
HEAD = ("id", "hsi", "msi", "out")


def lines_of(source: str) -> list[str]:
    """Return the lines of a file, or of stdin for "-".

    Raises:
        DataError: there is no such file.
    """
    if source == "-":
        return [line for line in sys.stdin.read().splitlines() if line.strip()]
    with damaged(source):
        text = Path(source).read_text("utf-8")
    return [line for line in text.splitlines() if line.strip()]


def recipe_of(line: str, base: Fuse) -> tuple[str, Fuse]:
    """Return the id and the recipe of a line.

    Raises:
        DataError: the line is no JSON object.
        RecipeError: a setting cannot be meant.
    """
    try:
        line.encode()
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON: {reason(error)}") from error
    if not isinstance(values, dict):
        raise DataError("a line must be an object with hsi, msi and out")
    name = str(values.pop("id", values.get("out") or values.get("hsi") or "?"))
    given = by_name(Fuse, values)
    file = base.model_dump(mode="json", exclude_defaults=True)
    file.get("pair", {}).pop("pairs", None)
    return name, resolve(Fuse, file=file, given=given)


def each(
    lines: list[str], base: Fuse, work: Callable[[Fuse], Record]
) -> Iterator[tuple[Record, int]]:
    """Yield (record, exit code) per line, in order.

    Args:
        lines: JSON.
        base: what every line starts from.
        work: fuses one pair and returns its record.
    """

    def one(number: int) -> tuple[Record, int]:
        name = str(number + 1)
        try:
            name, recipe = recipe_of(lines[number], base)
            return {"id": name, **work(recipe)}, 0
        except QrError as error:
            fault = {
                "message": error.message, "hint": error.hint, "exit_code": error.exit_code,
            }  # fmt: skip
            return {"id": _id(lines[number]) or name, "error": fault}, error.exit_code

    yield from in_turns(range(len(lines)), lambda number: [one(number)], "cpu")


def _id(line: str) -> str | None:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return str(values["id"]) if isinstance(values, dict) and "id" in values else None
