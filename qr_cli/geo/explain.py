"""The steps of a program in words, one sentence each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qr_cli.geo import exact
from qr_cli.geo.program import CONSTANTS, Number, execute, parse

_SAYS = {
    "g_equal": "{a} = {v}",
    "g_double": "2 × {a} = {v}",
    "g_half": "{a} / 2 = {v}",
    "g_add": "{a} + {b} = {v}",
    "g_minus": "{a} − {b} = {v}",
    "g_mul": "{a} × {b} = {v}",
    "g_divide": "{a} / {b} = {v}",
    "g_bili": "{a} / {b} × {c} = {v}, by proportion",
    "g_sin": "sin {a}° = {v}",
    "g_cos": "cos {a}° = {v}",
    "g_tan": "tan {a}° = {v}",
    "g_asin": "the angle whose sine is {a} has {v}°",
    "g_acos": "the angle whose cosine is {a} has {v}°",
    "gougu_add": "√({a}² + {b}²) = {v}, by Pythagoras",
    "gougu_minus": "√({a}² − {b}²) = {v}, by Pythagoras",
    "cal_circle_area": "π × {a}² = {v}, the area of a circle",
    "cal_circle_perimeter": "2π × {a} = {v}, the circumference of a circle",
    "cal_cone": "π × {a} × {b} = {v}, the lateral area of a cone",
}


def shown(value: Number) -> str:
    """Return a number as people write it."""
    return f"{float(value):.6g}"


def steps(
    program: str,
    numbers: Sequence[Number],
    *,
    terms: Sequence[Any] | None = None,
    names: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Return the steps of a program as records.

    Args:
        program: a program that runs.
        numbers: N_0, N_1, ...
        terms: the steps' closed forms, if they are wanted.
        names: what a slot stands for in the text: ``{"N_0": "∠A"}``.
    """
    results = execute(program, numbers).results or []
    forms = [exact.text(t) for t in terms] if terms else [None] * len(results)
    held: dict[str, tuple[Number, str]] = {}
    for i, n in enumerate(numbers):
        held[f"N_{i}"] = (n, shown(n))
    for i, c in enumerate(CONSTANTS):
        held[f"C_{i}"] = (c, "π" if i == 5 else shown(c))
    records = []
    for i, step in enumerate(parse(program, len(numbers))):
        value, form = results[i], forms[i]
        written = exact.pretty(form) if form and len(form) <= 14 else shown(value)
        operands = [held[name] for name in step.operands]
        if step.op in ("g_minus", "gougu_minus") and operands[0][0] < operands[1][0]:
            operands.reverse()
        words = dict(zip("abc", (_factor(w) for _, w in operands), strict=False))
        records.append(
            {
                "n": i + 1,
                "op": step.op,
                "args": [_argument(name, held[name][1], names) for name in step.operands],
                "value": float(value),
                "exact": form,
                "text": _SAYS[step.op].format(v=written, **words),
            }
        )
        held[f"V_{i}"] = (value, str(written))
    return records


def _factor(text: str) -> str:
    return f"({text})" if any(sign in text.lstrip("-−") for sign in "+−-/") else text


def _argument(name: str, value: str, names: Mapping[str, str] | None) -> str:
    known = (names or {}).get(name)
    return f"{name}={value} ({known})" if known else f"{name}={value}"
