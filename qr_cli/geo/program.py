"""The program language of UniGeo (Chen et al. 2022, arXiv 2212.02746) and its two executors.

A program is prefix tokens without nesting: operator, operands, operator, ... Step j yields V_j;
an operand is N_i (a number of the text), V_j (an earlier step) or C_k (a constant). Angles are in
degrees.

`official` keeps what the authors' executor does, quirks included: the kind of an operand is its
first character and its index the last one (N_10 is N_0), a refused step is False and counts as 0
later on, and of several options that match the last one wins. `strict`, ours, reads whole indices,
stops at the first refused step and says why, and accepts every operand for which the value exists.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from qr_cli.errors import DataError, near

Mode = Literal["strict", "official"]
Dialect = Literal["unigeo", "geoqa+"]
Number = float | int | bool

CONSTANTS: tuple[Number, ...] = (30, 60, 90, 180, 360, math.pi, 0.618)
MORE_CONSTANTS: tuple[Number, ...] = (72, 540)  # C_7, C_8 of the dialect geoqa+


class Operator(NamedTuple):
    """An operator: its operands' number, value, and when either executor refuses it.

    `official` tells whether the authors' code computes; `fault` is our reason not to, or "".
    """

    arity: int
    value: Callable[..., Number]
    official: Callable[..., bool]
    fault: Callable[..., str]
    summary: str


def _always(*operands: Number) -> bool:
    return True


def _no_fault(*operands: Number) -> str:
    return ""


def _radians(degrees: Number) -> float:
    return degrees / 180 * math.pi


def _positive(*operands: Number) -> bool:
    return all(operand > 0 for operand in operands)


def _by_zero(a: Number, b: Number, *rest: Number) -> str:
    return "division by 0" if b == 0 else ""


def _outside(name: str) -> Callable[[Number], str]:
    return lambda a: "" if -1 <= a <= 1 else f"{name} of {a:g} is undefined"


def _within(low: Number, high: Number) -> Callable[[Number], bool]:
    return lambda a: a % 15 == 0 and low <= a <= high


def _pole(a: Number) -> str:
    return f"tan of {a:g} is undefined" if a % 180 == 90 else ""


def _inside(a: Number) -> bool:
    return -1 < a < 1


OPERATORS: dict[str, Operator] = {
    "g_equal": Operator(1, lambda a: a, _always, _no_fault, "a"),
    "g_double": Operator(1, lambda a: 2 * a, _always, _no_fault, "2a"),
    "g_half": Operator(1, lambda a: a / 2, _always, _no_fault, "a / 2"),
    "g_add": Operator(2, lambda a, b: a + b, _always, _no_fault, "a + b"),
    "g_minus": Operator(2, lambda a, b: abs(a - b), _always, _no_fault, "|a - b|"),
    "g_mul": Operator(2, lambda a, b: a * b, _always, _no_fault, "ab"),
    "g_divide": Operator(2, lambda a, b: a / b, _positive, _by_zero, "a / b"),
    "g_bili": Operator(3, lambda a, b, c: a / b * c, _positive, _by_zero, "a / b * c"),
    "g_sin": Operator(
        1, lambda a: math.sin(_radians(a)), _within(0, 180), _no_fault, "sin a, a in degrees"
    ),
    "g_cos": Operator(
        1, lambda a: math.cos(_radians(a)), _within(0, 180), _no_fault, "cos a, a in degrees"
    ),
    "g_tan": Operator(
        1, lambda a: math.tan(_radians(a)), _within(5, 85), _pole, "tan a, a in degrees"
    ),
    "g_asin": Operator(
        1, lambda a: math.asin(a) / math.pi * 180, _inside, _outside("asin"), "angle of a sine"
    ),
    "g_acos": Operator(
        1, lambda a: math.acos(a) / math.pi * 180, _inside, _outside("acos"), "angle of a cosine"
    ),
    "gougu_add": Operator(
        2, lambda a, b: math.sqrt(a * a + b * b), _always, _no_fault, "hypotenuse of legs a, b"
    ),
    "gougu_minus": Operator(
        2,
        lambda a, b: math.sqrt(abs(a * a - b * b)),
        lambda a, b: a != b,
        _no_fault,
        "leg of hypotenuse and leg a, b",
    ),
    "cal_circle_area": Operator(1, lambda a: a * a * math.pi, _always, _no_fault, "area, radius a"),
    "cal_circle_perimeter": Operator(
        1, lambda a: 2 * math.pi * a, _always, _no_fault, "circumference, radius a"
    ),
    "cal_cone": Operator(
        2, lambda a, b: a * b * math.pi, _always, _no_fault, "lateral area, radius and slant a, b"
    ),
}
_ROOT = Operator(
    1,
    lambda a: math.sqrt(a),
    lambda a: a >= 0,
    lambda a: "" if a >= 0 else f"root of {a:g} is undefined",
    "square root of a",
)


def operators(dialect: Dialect = "unigeo") -> dict[str, Operator]:
    """Return the operators of a dialect by name."""
    return OPERATORS if dialect == "unigeo" else {**OPERATORS, "g_sqrt": _ROOT}


def constants(dialect: Dialect = "unigeo") -> tuple[Number, ...]:
    """Return C_0, C_1, ... of a dialect."""
    return CONSTANTS if dialect == "unigeo" else CONSTANTS + MORE_CONSTANTS


class Abort(NamedTuple):
    """Why a strict run stopped: the step (from 1), its operator, a reason in words."""

    step: int
    op: str
    reason: str

    def __str__(self) -> str:
        return f"step {self.step}: {self.reason}"


@dataclass(frozen=True)
class Run:
    """What a program gave.

    Attributes:
        results: the value of every step, or None when the program was rejected or stopped.
        error: None; the exception the authors' code would raise (official); an `Abort` (strict).
    """

    results: list[Number] | None
    error: str | Abort | None = None

    @property
    def value(self) -> Number | None:
        """The last step's value, if there is one."""
        return self.results[-1] if self.results else None


class Step(NamedTuple):
    """One step of a parsed program."""

    op: str
    operands: tuple[str, ...]


_OPERAND = re.compile(r"([NVC])_(\d+)")


def parse(
    program: str | Sequence[str], count: int | None = None, *, dialect: Dialect = "unigeo"
) -> list[Step]:
    """Return the steps of a program.

    Args:
        program: tokens, or text with white space between them.
        count: how many numbers the text has; None leaves N_i unchecked.
        dialect: `unigeo`, or `geoqa+` with two more constants and g_sqrt.

    Raises:
        DataError: the tokens are no program; the message names the token's position (from 1).
    """
    tokens = program.split() if isinstance(program, str) else list(program)
    known, limits = operators(dialect), {"N": count, "C": len(constants(dialect))}
    steps: list[Step] = []
    at = 0
    while at < len(tokens):
        op = tokens[at]
        if op not in known:
            raise DataError(f"token {at + 1}: {op!r} is no operator{near(op, known)}", hint=LISTING)
        operands = tuple(tokens[at + 1 : at + 1 + known[op].arity])
        for place, operand in enumerate(operands, at + 2):
            _check_operand(operand, place, limits | {"V": len(steps)})
        if len(operands) < known[op].arity:
            raise DataError(
                f"token {at + 1}: {op} needs {known[op].arity} operands, got {len(operands)}",
                hint=LISTING,
            )
        steps.append(Step(op, operands))
        at += 1 + len(operands)
    return steps


LISTING = "qr list geo"


def _check_operand(operand: str, place: int, limits: dict[str, int | None]) -> None:
    found = _OPERAND.fullmatch(operand)
    if not found:
        raise DataError(f"token {place}: {operand!r} is no operand", hint="N_0, V_0 or C_0")
    kind, index, limit = found[1], int(found[2]), limits[found[1]]
    if limit is None or index < limit:
        return
    if kind == "V":
        steps = f"{limit} step{'' if limit == 1 else 's'}"
        raise DataError(f"token {place}: {operand} does not exist yet ({steps} so far)")
    what = f"the text has {limit} numbers" if kind == "N" else f"the last constant is C_{limit - 1}"
    raise DataError(f"token {place}: {operand} does not exist, {what}")


def unparse(steps: Sequence[Step]) -> str:
    """Return steps as the text of a program."""
    return " ".join(token for step in steps for token in (step.op, *step.operands))


def execute(
    program: str | Sequence[str],
    numbers: Sequence[Number] | None,
    *,
    mode: Mode = "strict",
    dialect: Dialect = "unigeo",
) -> Run:
    """Run a program.

    Args:
        program: tokens, or text with white space between them.
        numbers: N_0, N_1, ...
        mode: `strict`, or `official` as the authors' code does it.
        dialect: `unigeo` or `geoqa+`.

    Raises:
        DataError: strict mode, and the tokens are no program.
    """
    tokens = program.split() if isinstance(program, str) else list(program)
    if mode == "official":
        return _official(tokens, numbers, dialect)
    values = list(numbers or ())
    return _strict(parse(tokens, len(values), dialect=dialect), values, dialect)


def _strict(steps: Sequence[Step], numbers: Sequence[Number], dialect: Dialect) -> Run:
    table, fixed = operators(dialect), constants(dialect)
    results: list[Number] = []
    for place, step in enumerate(steps, 1):
        operator = table[step.op]
        sources = {"N": numbers, "V": results, "C": fixed}
        operands = [_small(sources[name[0]][int(name[2:])]) for name in step.operands]
        if fault := operator.fault(*operands):
            return Run(None, Abort(place, step.op, fault))
        value = operator.value(*operands) if all(map(math.isfinite, operands)) else math.nan
        if not math.isfinite(value):
            return Run(None, Abort(place, step.op, "the value is not finite"))
        results.append(value)
    return Run(results)


def _official(tokens: list[str], numbers: Sequence[Number] | None, dialect: Dialect) -> Run:
    if numbers is None:
        return Run(None, "TypeError")
    table, results = operators(dialect), list[Number]()
    sources = {"N": numbers, "V": results, "C": constants(dialect)}
    at = 0
    while at < len(tokens):
        operator = table.get(tokens[at])
        if operator is None:
            return Run(None)
        operands = []
        for place in range(at + 1, at + 1 + operator.arity):
            if place >= len(tokens) or tokens[place][:1] not in sources:
                return Run(None)
            kind, index = tokens[place][0], tokens[place][-1]  # the last character alone
            if index not in "0123456789":
                return Run(None, "ValueError")
            if int(index) >= len(sources[kind]):
                return Run(None)
            operands.append(_small(sources[kind][int(index)]))
        computes = operator.official(*operands)
        results.append(operator.value(*operands) if computes else False)
        at += 1 + operator.arity
    return Run(results)


def _small(value: Number) -> Number:
    """Return a number whose products cannot leave what a float holds with an exception."""
    if isinstance(value, int) and abs(value) > 2**53:
        return float(value) if abs(value) < 10**300 else math.copysign(math.inf, value)
    return value


def matches(value: Number, choices: Sequence[Number | None]) -> list[int]:
    """Return the options a strict value fits: within ``max(0.001, 1e-6 |value|)``."""
    tolerance = max(0.001, 1e-6 * abs(value))
    return [i for i, c in enumerate(choices) if c is not None and abs(value - c) < tolerance]


def official_choice(
    value: Number, choices: Sequence[Number | None] | None
) -> tuple[int | None, str | None]:
    """Return the authors' option (the last of the first four within 0.001), or their exception."""
    if choices is None:
        return None, "TypeError"
    if len(choices) < 4:
        return None, "IndexError"
    found = [i for i, c in enumerate(choices[:4]) if c is not None and abs(value - c) < 0.001]
    return (found[-1] if found else None), None


def choose(
    value: Number | None, choices: Sequence[Number | None] | None, *, mode: Mode = "strict"
) -> int | None:
    """Return the option a value stands for: in strict mode the only one that fits, else None."""
    if value is None:
        return None
    if mode == "official":
        return official_choice(value, choices)[0]
    found = matches(value, choices or ()) if value is not False else []
    return found[0] if len(found) == 1 else None


def names_used(steps: Sequence[Step]) -> Iterator[str]:
    """Yield every operand of a program."""
    for step in steps:
        yield from step.operands


def jsonable(value: Number) -> Any:
    """Return a value as JSON can hold it: a refused step is false, non-finite is named."""
    if value is False or math.isfinite(value):
        return value
    return {"nonfinite": str(float(value))}
