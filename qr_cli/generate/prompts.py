"""Prompts from arguments, files and pipes, each with what it wants for itself.

A text file holds one prompt a line; blank lines are left out. A JSON line is
``{"id"?, "prompt", "negative"?, "seed"?, "steps"?, "guidance"?}``. A bad line is an answer of its
own: the others go on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from qr_cli.engine.damage import damaged
from qr_cli.errors import DataError, near

KEYS = ("id", "prompt", "negative", "seed", "steps", "guidance")


@dataclass(frozen=True)
class Prompt:
    """One prompt; `fault` says why it cannot be drawn."""

    number: int
    id: str
    text: str = ""
    negative: str | None = None
    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    fault: DataError | None = None


def from_arguments(texts: tuple[str, ...]) -> Iterator[Prompt]:
    """Yield the prompts of a command line."""
    for number, text in enumerate(texts):
        yield _checked(Prompt(number, str(number), text))


def from_file(source: str, flag: str = "--prompts") -> Iterator[Prompt]:
    """Yield the prompts of a file that `flag` names, or of stdin for "-", as its lines arrive.

    Raises:
        DataError: there is no such file.
    """
    if source == "-":
        yield from _from_lines(sys.stdin.buffer, as_json=None, name="stdin")
        return
    path = Path(source)
    with damaged(f"{flag}: {path}", hint=f"{flag} FILE"):
        file = path.open("rb")
    with file:
        yield from _from_lines(file, as_json=path.suffix in (".jsonl", ".json"), name=str(path))


def _from_lines(file: BinaryIO, *, as_json: bool | None, name: str) -> Iterator[Prompt]:
    number = 0
    for line, raw in enumerate(file, start=1):
        if not raw.strip():
            continue
        yield _from_line(raw, number, f"{name}, line {line}", as_json)
        number += 1


def _from_line(raw: bytes, number: int, where: str, as_json: bool | None) -> Prompt:
    name = str(number)
    try:
        text = raw.decode("utf-8").strip().removeprefix("\ufeff")
        if as_json or (as_json is None and text.startswith("{")):
            values = _object(text)
            name = str(values.pop("id", name))
            return _checked(Prompt(number, name, values.pop("prompt"), **values), where)
        return _checked(Prompt(number, name, text), where)
    except UnicodeDecodeError:
        fault = DataError(f"{where}: not UTF-8")
    except DataError as error:
        fault = DataError(f"{where}: {error.message}", hint=error.hint)
    return Prompt(number, name, fault=fault)


def _object(text: str) -> dict[str, Any]:
    """Return the keys of a JSON line, each of its kind.

    Raises:
        DataError: no object, a key that is unknown or missing, a value of another kind.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        raise DataError(f"not JSON: {error}") from error
    if not isinstance(values, dict):
        raise DataError("not an object", hint='{"prompt": "a number for the legs of a spider"}')
    for key in values:
        if key not in KEYS:
            raise DataError(
                f"unknown key {key!r}{near(key, KEYS)}", hint=f"keys: {', '.join(KEYS)}"
            )
    values = {key: value for key, value in values.items() if value is not None}
    if "prompt" not in values:
        raise DataError("no prompt", hint='{"prompt": "a number for the legs of a spider"}')
    for key, kind, words, good in (
        ("prompt", str, "text", lambda value: True),
        ("negative", str, "text", lambda value: True),
        ("seed", int, "a whole number from 0", lambda value: 0 <= value < 2**63),
        ("steps", int, "a whole number from 1 to 1000", lambda value: 1 <= value <= 1000),
        ("guidance", int | float, "a number from 0", lambda value: value >= 0),
    ):
        value = values.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, kind) or not good(value):
            raise DataError(f"{key} should be {words}, got {json.dumps(value)[:80]}")
    return values


def _checked(prompt: Prompt, where: str = "") -> Prompt:
    if prompt.text.strip():
        return prompt
    fault = DataError(f"{where}: prompt is empty" if where else "prompt is empty")
    return Prompt(prompt.number, prompt.id, fault=fault)
