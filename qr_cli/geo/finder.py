"""Programs that give a measured value.

All programs of up to three steps are tried, as arrays: the values of every two-step program stand
in one vector, and a third step is one array operation. A program found for one value may hit it by
chance (legs 30 and 40: the hypotenuse 50 is also 90 - 40), so it is confirmed on figures built anew
from numbers changed by some per cent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import combinations, permutations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qr_cli.geo.program import CONSTANTS, Abort, Step, execute, unparse

Array = NDArray[np.float64]
CLOSE = 1e-7  # relative; measured values carry the error of the construction


class _Op(NamedTuple):
    name: str
    arity: int
    symmetric: bool  # in its first two operands; g_bili in its first and last
    value: Callable[..., Array]


def _defined(value: Array, where: Array) -> Array:
    return np.where(where, value, np.nan)


_ANGLES = (
    _Op("g_half", 1, False, lambda a: a / 2),
    _Op("g_double", 1, False, lambda a: 2 * a),
    _Op("g_add", 2, True, lambda a, b: a + b),
    _Op("g_minus", 2, True, lambda a, b: abs(a - b)),
)
_SIZES = (
    _Op("g_sin", 1, False, lambda a: _defined(np.sin(np.radians(a)), (a > 0) & (a < 180))),
    _Op("g_cos", 1, False, lambda a: _defined(np.cos(np.radians(a)), (a > 0) & (a < 180))),
    _Op("g_tan", 1, False, lambda a: _defined(np.tan(np.radians(a)), (a > 0) & (a < 90))),
    _Op("gougu_add", 2, True, lambda a, b: np.sqrt(a * a + b * b)),
    _Op("gougu_minus", 2, True, lambda a, b: np.sqrt(abs(a * a - b * b))),
    _Op("g_mul", 2, True, lambda a, b: a * b),
    _Op("g_divide", 2, False, lambda a, b: _defined(a / np.where(b == 0, 1, b), b != 0)),
    _Op("g_bili", 3, True, lambda a, b, c: _defined(a / np.where(b == 0, 1, b) * c, b != 0)),
)
_AREAS = (_Op("cal_circle_area", 1, False, lambda a: np.pi * a * a),)


class _Level(NamedTuple):
    """Programs of one length: their values by step, and each one's steps."""

    values: list[Array]
    steps: Callable[[int], tuple[Step, ...]]
    unused: tuple[int, ...]  # steps no later step has used, the same for all


def find(
    value: float,
    numbers: Sequence[float],
    *,
    angles: bool,
    area: bool = False,
    degrees: Collection[int] = (),
    lengths: Collection[int] = (),
) -> Iterator[str]:
    """Yield programs of up to three steps that give a value, the plainest first.

    Args:
        value: the value to reach.
        numbers: N_0, N_1, ...
        angles: whether the value is an angle: then only sums, halves and doubles are tried.
        area: whether pi may occur.
        degrees: the slots known to hold angles; they meet lengths only through a sine.
        lengths: the slots known to hold lengths; the value of an angle does not use them.
    """
    slots = [i for i in range(len(numbers)) if not (angles and i in lengths)]
    fixed = (2, 3, 4) if angles else (0, 1, 2)
    bases = [*(numbers[i] for i in slots), *(float(CONSTANTS[i]) for i in fixed)]
    names = [*(f"N_{i}" for i in slots), *(f"C_{i}" for i in fixed)]
    apart = {f"N_{i}" for i in degrees} if not angles else set()
    ops = _ANGLES if angles else (*_ANGLES, *_SIZES, *(_AREAS if area else ()))
    needed = {f"N_{i}" for i in slots if numbers[i] != 90}
    levels = [_Level([], lambda i: (), ())]
    for depth in range(1, 4):
        found = {f"g_equal N_{i}": (len(needed) - 1, 1, 0) for i in _hits(numbers, value)}
        found = found if depth == 1 else {}
        grown: list[_Level] = []
        for level in levels:
            for step, values, unused in _steps(level, bases, names, ops, apart, last=depth == 3):
                if len(unused) == 1:
                    for i in np.flatnonzero(abs(values - value) <= CLOSE * max(1.0, abs(value))):
                        program = _ordered((*level.steps(int(i)), step), numbers)
                        found[unparse(program)] = _rank(program, needed)
                if depth < 3:
                    grown.append(_grow(level, step, values, unused))
        yield from sorted(found, key=lambda program: (found[program], program))
        levels = _merged(grown) if grown else []


def _ordered(program: tuple[Step, ...], numbers: Sequence[float]) -> tuple[Step, ...]:
    """Return a program with the larger operand of each difference first."""
    values = execute(unparse(program), numbers).results or []
    held = {f"N_{i}": n for i, n in enumerate(numbers)}
    held |= {f"C_{i}": c for i, c in enumerate(CONSTANTS)} | {
        f"V_{i}": v for i, v in enumerate(values)
    }
    return tuple(
        step._replace(operands=step.operands[::-1])
        if step.op in ("g_minus", "gougu_minus") and held[step.operands[0]] < held[step.operands[1]]
        else step
        for step in program
    )


def _hits(numbers: Sequence[float], value: float) -> list[int]:
    return [i for i, n in enumerate(numbers) if abs(n - value) <= CLOSE * max(1.0, abs(value))]


def _steps(
    level: _Level,
    bases: Sequence[float],
    names: Sequence[str],
    ops: Sequence[_Op],
    apart: Collection[str],
    *,
    last: bool,
) -> Iterator[tuple[Step, Array, tuple[int, ...]]]:
    """Yield each step that may follow, its values, and the steps then unused."""
    depth = len(level.values)
    size = len(level.values[0]) if depth else 1
    pool = [(n, np.full(size, b)) for n, b in zip(names, bases, strict=True)]
    pool += [(f"V_{i}", v) for i, v in enumerate(level.values)]
    for op in ops:
        for chosen in _operands(op, pool):
            if op.arity > 1 and any(n in apart for n, _ in chosen):
                continue
            used = {int(n[2:]) for n, _ in chosen if n.startswith("V")}
            unused = tuple(i for i in level.unused if i not in used)
            if (last and unused) or len(unused) > 1:
                continue
            with np.errstate(all="ignore"):
                values = op.value(*(v for _, v in chosen))
            yield Step(op.name, tuple(n for n, _ in chosen)), values, (*unused, depth)


def _operands(op: _Op, pool: list[tuple[str, Array]]) -> Iterator[tuple[tuple[str, Array], ...]]:
    if op.arity == 1:
        yield from ((x,) for x in pool)
    elif op.arity == 2 and op.symmetric:
        yield from combinations(pool, 2)
        yield from ((x, x) for x in pool if op.name in ("gougu_add", "g_mul"))
    elif op.arity == 2:
        yield from permutations(pool, 2)
    else:
        sizes = [x for x in pool if not x[0].startswith("C")]
        for one, three in combinations(sizes, 2):
            yield from ((one, two, three) for two in sizes if two[0] not in (one[0], three[0]))


def _grow(level: _Level, step: Step, values: Array, unused: tuple[int, ...]) -> _Level:
    steps = level.steps
    return _Level([*level.values, values], lambda i: (*steps(i), step), unused)


def _merged(levels: list[_Level]) -> list[_Level]:
    """Return levels with the same unused steps as one, so that arrays are long."""
    merged: list[_Level] = []
    for unused in dict.fromkeys(level.unused for level in levels):
        same = [level for level in levels if level.unused == unused]
        sizes = [len(level.values[0]) for level in same]
        starts = np.cumsum([0, *sizes])
        values = [np.concatenate(parts) for parts in zip(*(s.values for s in same), strict=True)]
        _, kept = np.unique(np.round(np.stack(values), 9), axis=1, return_index=True)
        kept.sort()

        def steps(
            i: int,
            same: list[_Level] = same,
            starts: NDArray[np.int64] = starts,
            kept: NDArray[np.int64] = kept,
        ) -> tuple[Step, ...]:
            row = int(kept[i])
            part = int(np.searchsorted(starts, row, side="right")) - 1
            return same[part].steps(row - int(starts[part]))

        merged.append(_Level([v[kept] for v in values], steps, unused))
    return merged


def _rank(program: Sequence[Step], needed: set[str]) -> tuple[int, int, int]:
    """Return how plain a program is: numbers unused, steps, constants (180 before 90)."""
    names = [name for step in program for name in step.operands]
    constants = sum(name.startswith("C") for name in names)
    return len(needed - set(names)), len(program), 4 * constants + names.count("C_2")


def gives(program: str, numbers: Sequence[float], value: float) -> bool:
    """Tell whether a program gives a value for numbers."""
    run = execute(program, numbers)
    if isinstance(run.error, Abort) or run.value is None:
        return False
    return abs(run.value - value) <= 1e-5 * max(1.0, abs(value))
