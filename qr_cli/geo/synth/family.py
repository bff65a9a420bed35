"""What a family of generated problems is, and how a sample is put together and checked."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Literal

import numpy as np

from qr_cli.geo.program import (
    CONSTANTS,
    OPERATORS,
    Step,
    choose,
    execute,
    matches,
    parse,
    unparse,
)
from qr_cli.geo.records import Problem
from qr_cli.geo.synth import ink
from qr_cli.geo.synth.dice import Dice
from qr_cli.geo.synth.figures import Figure, Place, cross, degrees

Kind = Literal["calculation", "diagram", "proof"]


@dataclass(frozen=True)
class Sample:
    """A generated problem.

    Attributes:
        problem: the record, complete.
        family: the family's name.
        phrase: the index of its sentence form.
        reading: what the picture says, for diagram families.
        relation: fine class of the picture within the family.
        image: (112, 112) uint8, 0 ink to 255 white, or None when not asked for.
        figure: what is drawn.
        look: how it lies in its frame.
        bound: what each number of a calculation is the size of, "angle A B C", "A B" or "".
        target: what is asked for, in the same way.
    """

    problem: Problem
    family: str
    phrase: int
    reading: str | None
    relation: int | None
    image: np.ndarray | None
    figure: Figure = field(repr=False, compare=False)
    look: ink.View = field(repr=False, compare=False)
    bound: tuple[str, ...] = ()
    target: str = ""


@dataclass(frozen=True)
class Family:
    """A family: its kind, what its picture may say, and the maker of its samples.

    `make(dice, split, reading)`; a reading of None is drawn.
    """

    name: str
    kind: Kind
    phrases: int
    make: Callable[..., Sample] = field(repr=False, compare=False)
    relations: int = 0
    readings: tuple[str, ...] = ()


# programs ---------------------------------------------------------------------------------------

_RANK = {"N": 0, "C": 1, "V": 2}
_FREE_ORDER = ("g_add", "g_mul", "gougu_add")


def _key(operand: str) -> tuple[int, int]:
    return _RANK[operand[0]], int(operand[2:])


@lru_cache(maxsize=50_000)
def written(program: str, order: tuple[str, ...]) -> str:
    """Return a program of named quantities as one of N_i, canonically written.

    Operands of sums and products stand N before C before V, indices ascending; of two steps with
    the same operator that do not use each other, the one with the smaller operands comes first.
    """
    names = {name: f"N_{i}" for i, name in enumerate(order)}
    steps = [_sorted(s) for s in parse([names.get(t, t) for t in program.split()], len(order))]
    for _ in steps:
        for i in range(len(steps) - 1):
            one, two = steps[i], steps[i + 1]
            if one.op == two.op and f"V_{i}" not in two.operands:
                if [_key(o) for o in two.operands] < [_key(o) for o in one.operands]:
                    steps = _swapped(steps, i)
    return unparse(steps)


def _sorted(step: Step) -> Step:
    if step.op not in _FREE_ORDER:
        return step
    return Step(step.op, tuple(sorted(step.operands, key=_key)))


def _swapped(steps: list[Step], i: int) -> list[Step]:
    other = {f"V_{i}": f"V_{i + 1}", f"V_{i + 1}": f"V_{i}"}
    steps = [*steps[:i], steps[i + 1], steps[i], *steps[i + 2 :]]
    return [_sorted(Step(s.op, tuple(other.get(o, o) for o in s.operands))) for s in steps]


@lru_cache(maxsize=50_000)
def _parsed(program: str, order: tuple[str, ...]) -> list[Step]:
    names = {name: f"N_{i}" for i, name in enumerate(order)}
    return parse([names.get(t, t) for t in program.split()], len(order))


def value(program: str, quantities: Mapping[str, float]) -> float:
    """Return what a program of named quantities gives; nan where a step is refused."""
    numbers, results = list(quantities.values()), list[float]()
    sources = {"N": numbers, "V": results, "C": CONSTANTS}
    for op, operands in _parsed(program, tuple(quantities)):
        values = [sources[o[0]][int(o[2:])] for o in operands]
        if not OPERATORS[op].official(*values):
            return math.nan
        results.append(OPERATORS[op].value(*values))
    return results[-1]


# options ----------------------------------------------------------------------------------------


def spelled(number: float) -> str:
    """Return a number as a book prints it: 65, 12.5, 2√3, 9π; else to four decimals."""
    if _whole(2 * number):
        return f"{number:g}"
    if _whole(2 * number / math.pi):
        over = f"{number / math.pi:g}"
        return "π" if over == "1" else f"{over}π"
    square = 4 * number * number
    if square < 20_000 and _whole(square):
        factor, rest = _root(round(square))
        if factor % 2:
            return f"{factor if factor > 1 else ''}√{rest}/2"
        return f"{factor // 2 if factor > 2 else ''}√{rest}"
    return f"{number:.4f}".rstrip("0")


def _whole(number: float) -> bool:
    return abs(number - round(number)) < 1e-9


@cache
def _root(n: int) -> tuple[int, int]:
    """Return k and m with k² m = n, k as large as can be."""
    k = next(k for k in range(math.isqrt(n), 0, -1) if n % (k * k) == 0)
    return k, n // (k * k)


def options(
    dice: Dice, gold: float, tempting: Sequence[float], *, top: float = math.inf
) -> tuple[list[float], int]:
    """Return four values and the place of the right one.

    Args:
        dice: where the order comes from.
        gold: the right value.
        tempting: what wrong programs give, the likeliest first.
        top: values from here on are no answer (180 for angles).
    """
    found = [gold]
    for other in (*tempting, *_near(dice, gold)):
        if len(found) == 4:
            break
        if 0 < other < top and all(_apart(other, known) for known in found):
            found.append(other)
    order = dice.shuffled(range(4))
    return [found[i] for i in order], order.index(0)


def _near(dice: Dice, gold: float) -> list[float]:
    if gold < 1:  # a sine
        steps = [gold * k for k in (0.5, 0.75, 1.25, 1.5, 2.0, 0.25)]
    else:
        size = next(s for s in (0.5, 1, 2, 5, 10, 15) if s >= gold / 10 or s == 15)
        steps = [gold + k * size for k in (-3, -2, -1, 1, 2, 3, 4)]
    return dice.shuffled(steps) + [gold * k for k in (2, 0.5, 3, 1.5)]


def _apart(a: float, b: float) -> bool:
    return abs(a - b) > max(0.011, 0.0101 * max(abs(a), abs(b)))


# claims -----------------------------------------------------------------------------------------

Points = Mapping[str, Place]
_CLOSE = 1e-6


def measure(name: str, points: Points) -> float:
    """Return a quantity of a figure: AB, ABC (degrees), #ABCD (area), tan ABC, AB+BC, AB/CD."""
    if "+" in name:
        return sum(measure(part, points) for part in name.split("+"))
    if "/" in name:
        one, two = name.split("/")
        return measure(one, points) / measure(two, points)
    if name[0] == "#":
        at = [points[p] for p in name[1:]]
        return abs(sum(cross(a, b) for a, b in zip(at, at[1:] + at[:1], strict=True))) / 2
    if " " in name:
        ratio, corner = name.split()
        return {"sin": math.sin, "cos": math.cos, "tan": math.tan}[ratio](
            math.radians(measure(corner, points))
        )
    if len(name) == 2:
        return abs(points[name[0]] - points[name[1]])
    return degrees(*(points[p] for p in name))


def holds(claim: str, points: Points, quantities: Mapping[str, float]) -> bool:
    """Tell whether a figure has what a text says: AB=a, AB=CD, AB∥CD, AB⟂CD, D:AB (between)."""
    one, sign, two = _split(claim)
    if sign == "=":
        right = quantities[two] if two in quantities else measure(two, points)
        return _equal(measure(one, points), right)
    if sign == ":":
        return _equal(measure(one + two[0], points) + measure(one + two[1], points),
                      measure(two, points))  # fmt: skip
    u, v = points[one[1]] - points[one[0]], points[two[1]] - points[two[0]]
    part = cross(u, v) if sign == "∥" else (u * v.conjugate()).real
    return abs(part) <= _CLOSE * abs(u) * abs(v)


@lru_cache(maxsize=5_000)
def _split(claim: str) -> tuple[str, str, str]:
    found = re.fullmatch(r"(.+?)([=∥⟂:])(.+)", claim)
    if found is None:
        raise ValueError(f"{claim!r} is no claim")
    return found[1], found[2], found[3]


def _equal(a: float, b: float) -> bool:
    return abs(a - b) <= _CLOSE * max(1.0, abs(a), abs(b))


class Unsound(ValueError):
    """A sample that does not hold what it says: a fault of its family."""


def check_calculation(
    family: str, problem: Problem, values: Sequence[float], numbers: Sequence[float]
) -> None:
    """Check that the gold program reaches the label, and nothing else, in both modes.

    Raises:
        Unsound: it does not.
    """
    for mode in ("official", "strict"):
        run = execute(problem.program or "", numbers, mode=mode)
        if choose(run.value, values, mode=mode) != problem.label:
            raise Unsound(f"{family}: {problem.program} on {numbers} gives {run}, not the label")
    result = run.value
    if result is None or len(matches(result, values)) != 1:
        raise Unsound(f"{family}: {result} fits several of {values}")


def check_figure(
    family: str, claims: Sequence[str], points: Points, quantities: Mapping[str, float]
) -> None:
    """Check that a figure has what its text says.

    Raises:
        Unsound: it has not.
    """
    for claim in claims:
        if not holds(claim, points, quantities):
            raise Unsound(f"{family}: {claim} does not hold for {dict(quantities)} in {points}")
