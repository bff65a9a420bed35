"""Problems as records: our fields, the names other data sets give them, and what is wrong."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from qr_cli.engine.damage import reason
from qr_cli.errors import DataError, near
from qr_cli.geo.slotting import Slotted, slots

Task = Literal["calculation", "proving"]
MOST_OPTIONS = 26
_ALIASES: dict[str, tuple[str, ...]] = {  # field -> its names, the first one that is there counts
    "text": ("text", "raw_text"),
    "slot_text": ("slot_text", "English_problem", "problem", "input_text", "question"),
    "numbers": ("numbers",),
    "choices": ("choices", "choice_nums", "choice_numbers", "choice_text"),
    "label": ("label",),
    "program": ("program", "manual_program"),
    "proof": ("proof", "proving_sequence"),
    "category": ("category", "problem_type", "p_type"),
    "diagram": ("diagram", "image", "img"),
    "elements": ("elements",),
    "points": ("points",),
    "collinear": ("collinear",),
    "solution": ("solution", "answer"),
    "id": ("id",),
    "task": ("task",),
    "y_down": ("y_down",),
}
_KNOWN = {name for names in _ALIASES.values() for name in names}
_IGNORED = {"subject", "token_list", "formal_point", "statement", "reason", "problem_form",
            "reasoning_skill", "family", "phrase", "reading", "relation", "split"}  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """One problem. `text` has its numbers in it; `slot_text` has N_i in their place."""

    id: str
    task: Task
    text: str
    slot_text: str | None = None
    numbers: tuple[float, ...] | None = None
    choices: tuple[Any, ...] | None = None
    label: int | None = None
    program: str | None = None
    proof: str | None = None
    category: str | None = None
    elements: tuple[str, ...] | None = None
    diagram: Path | None = None
    points: Mapping[str, tuple[float, float]] | None = None
    collinear: tuple[tuple[str, ...], ...] = ()
    solution: str | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse more options than there are letters."""
        if len(self.choices or ()) > MOST_OPTIONS:
            raise DataError(
                f"choices: at most {MOST_OPTIONS} options, A to Z, got {len(self.choices or ())}"
            )


def read(path: str | Path) -> Iterator[Problem | tuple[str, DataError]]:
    """Yield the problems of a file, JSON lines or the JSON of the re-release (id -> record).

    A record that cannot be used comes as its id and the fault.

    Raises:
        DataError: the file is not there, or is neither.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file", hint="qr solve-geo problems.jsonl")
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        first = file.readline()
        file.seek(0)
        if first.strip() and (path.suffix == ".json" or not _one_record(first)):
            yield from _whole(file.read(), path)
        else:
            yield from read_lines(file, path.parent)


def read_lines(
    lines: Iterable[str], folder: Path | None = None
) -> Iterator[Problem | tuple[str, DataError]]:
    """Yield the problems of JSON lines, one answer per line that is not empty."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name = str(number)
        try:
            record = load_line(line, number)
        except DataError as error:
            yield name, error
            continue
        yield _made(record, name, folder)


def load_line(line: str, number: int) -> Any:
    """Return the value of a JSON line.

    Raises:
        DataError: it is none, or not UTF-8 (bytes that are none stand in it as half characters).
    """
    try:
        line.encode()
        return json.loads(line)
    except UnicodeEncodeError:
        fault = f"line {number} is not UTF-8"
    except json.JSONDecodeError as error:
        fault = f"line {number} is not JSON: {error.msg} at column {error.colno}"
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits; nested too deep
        fault = f"line {number} cannot be read: {reason(error)}"
    raise DataError(fault, hint='{"id": "1", "text": "..."}')


def _one_record(line: str) -> bool:
    """Tell whether a line holds a whole record, as JSON lines do."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return not re.match(r"\s*[\[{]\s*$", line)
    return not (
        isinstance(record, dict) and record and all(isinstance(v, dict) for v in record.values())
    )


def _whole(text: str, path: Path) -> Iterator[Problem | tuple[str, DataError]]:
    hint = "one record per line, or one JSON object of id: record"
    try:
        text.encode()
        content = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"at line {error.lineno}, column {error.colno}"
        raise DataError(f"{path} is not JSON: {error.msg} {where}", hint=hint) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read: {reason(error)}", hint=hint) from error
    if isinstance(content, dict) and content and all(isinstance(v, dict) for v in content.values()):
        for name, record in content.items():
            yield _made({"id": name, **record}, name, path.parent)
        return
    for number, record in enumerate(content if isinstance(content, list) else [content], 1):
        yield _made(record, str(number), path.parent)


def _made(record: Any, name: str, folder: Path | None) -> Problem | tuple[str, DataError]:
    try:
        return problem(record, name=name, folder=folder)
    except DataError as error:
        known = record.get("id") if isinstance(record, dict) else None
        return str(name if known is None else known), error


def problem(record: Any, *, name: str = "1", folder: Path | None = None) -> Problem:
    """Return a record as a problem.

    Args:
        record: a JSON object with our field names or those of the published data.
        name: its id, if it has none.
        folder: where relative paths of diagrams start.

    Raises:
        DataError: a field is missing or cannot be meant.
    """
    if not isinstance(record, dict):
        raise DataError(f"a problem is a JSON object, got {type(record).__name__}")
    get = {field: _first(record, names) for field, names in _ALIASES.items()}
    text, slot_text = get["text"], get["slot_text"]
    if text is None and slot_text is not None and not re.search(r"\bN_\d", str(slot_text)):
        text, slot_text = slot_text, None
    proof = _joined(get["proof"])
    program = _joined(get["program"])
    task = get["task"] or _task(str(text or slot_text or ""), program, proof)
    if task not in ("calculation", "proving"):
        raise DataError(f"unknown task {task!r}{near(str(task), ('calculation', 'proving'))}")
    if task == "proving" and proof is None and program and program.startswith("R_"):
        program, proof = None, program
    if not str(text or slot_text or "").strip():
        raise DataError("the problem has no text", hint='{"id": "1", "text": "..."}')
    numbers = _numbers(get["numbers"])
    if text is None:
        text = _filled(str(slot_text), numbers)
    elif numbers is not None and "text" in record and slot_text is None:
        _check_slots(str(text), numbers)
    choices = _choices(get["choices"])
    points = _points(get["points"], down=bool(get["y_down"]))
    return Problem(
        id=str(record.get("id", name)),
        task=task,
        text=re.sub(r"^(?:Calculation|Proving):\s*", "", str(text)),
        slot_text=slot_text,
        numbers=numbers,
        choices=choices,
        label=_label(get["label"], choices),
        program=program,
        proof=proof,
        category=get["category"],
        elements=tuple(map(str, get["elements"])) if get["elements"] else None,
        diagram=(folder or Path()) / get["diagram"] if isinstance(get["diagram"], str) else None,
        points=points,
        collinear=tuple(tuple(map(str, triple)) for triple in get["collinear"] or ()),
        solution=get["solution"] if isinstance(get["solution"], str) else None,
        warnings=tuple(_strangers(record)),
    )


def slotted(problem: Problem, mode: Literal["compound", "official"] = "compound") -> Slotted:
    """Return a problem's text with its numbers taken out."""
    return slots(problem.text, mode=mode)


def _first(record: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((record[name] for name in names if record.get(name) is not None), None)


def _joined(value: Any) -> str | None:
    if value is None:
        return None
    return value if isinstance(value, str) else " ".join(map(str, value))


def _task(text: str, program: str | None, proof: str | None) -> Task:
    if proof or text.startswith("Proving:") or (program or "").startswith("R_"):
        return "proving"
    if text.startswith("Calculation:"):
        return "calculation"
    proving = re.search(r"\b(?:prove|proof|show that|demonstrate)\b", text, re.IGNORECASE)
    return "proving" if proving else "calculation"


def _numbers(value: Any) -> tuple[float, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or any(
        isinstance(n, bool) or not isinstance(n, int | float) for n in value
    ):
        raise DataError(f"numbers: should be a list of numbers, got {value!r}")
    return tuple(float(n) for n in value)


def _filled(slot_text: str, numbers: tuple[float, ...] | None) -> str:
    """Return a slot text with its numbers, and its letters joined to names again."""
    values = numbers or ()

    def number(found: re.Match[str]) -> str:
        index = int(found[1])
        return f"{values[index]:g}" if index < len(values) else found[0]

    text = re.sub(r"N_(\d+)", number, slot_text)
    return re.sub(r"(?<=\b[A-Z]) (?=[A-Z]\b)", "", text)


def _check_slots(text: str, numbers: tuple[float, ...]) -> None:
    counts = [len(slots(text, mode=mode).slots) for mode in ("compound", "official")]
    if len(numbers) not in counts:
        raise DataError(
            f"numbers has {len(numbers)} values, the text has {counts[0]} slots",
            hint='remove "numbers" to read them from the text',
        )


def _choices(value: Any) -> tuple[Any, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise DataError(f"choices: should be a list, got {value!r}")
    if len(value) < 2:
        raise DataError(f"choices: needs at least 2 options, got {len(value)}")
    return tuple(value)


def _label(value: Any, choices: tuple[Any, ...] | None) -> int | None:
    if value is None:
        return None
    if (
        isinstance(value, bool)
        or not isinstance(value, int)
        or value < 0
        or (choices is not None and value >= len(choices))
    ):
        options = f"{len(choices)} options (0-{len(choices) - 1})" if choices else "no options"
        raise DataError(f"label {value} but {options}")
    return value


def _points(value: Any, *, down: bool) -> dict[str, tuple[float, float]] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise DataError('points: should be {"A": [x, y]}')
    found: dict[str, tuple[float, float]] = {}
    for name, place in value.items():
        if not (isinstance(place, list | tuple) and len(place) == 2):
            raise DataError(f"points: {name} should be [x, y], got {place!r}")
        x, y = (float(c) if isinstance(c, int | float) else math.nan for c in place)
        if not (math.isfinite(x) and math.isfinite(y)):
            raise DataError(f"points: {name} is NaN")
        found[str(name)] = (x, -y if down else y)
    places: dict[tuple[float, float], str] = {}
    for name, place in found.items():
        if place in places:
            raise DataError(f"points: {places[place]} and {name} are the same place")
        places[place] = name
    return found


def _strangers(record: Mapping[str, Any]) -> Iterator[str]:
    for key in record:
        if key not in _KNOWN | _IGNORED:
            guess = near(key, _KNOWN)
            if guess:
                yield f"unknown field {key}, did you mean {guess.split(chr(39))[1]}?"
