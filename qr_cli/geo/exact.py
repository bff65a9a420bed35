"""Closed forms: a program's steps in sympy, and how they read (`2√15`, `25π/4`).

A number of the text becomes the rational its decimal text stands for; angles are degrees. A term of
more than `LIMIT` operations is not simplified further and has no closed form worth showing; the
bound is a count, not a time, so that the result does not depend on the machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from qr_cli.errors import MissingExtra
from qr_cli.geo.program import Dialect, Number, constants, parse

LIMIT = 60


def load_sympy() -> Any:
    """Import sympy.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import sympy
    except ModuleNotFoundError as error:
        raise MissingExtra("sympy", "geo") from error
    return sympy


def rational(value: Any) -> Any:
    """Return a number as sympy holds it; what is a sympy term already stays as it is."""
    sympy = load_sympy()
    return value if isinstance(value, sympy.Basic) else sympy.Rational(str(value))


def evaluate(
    program: str | Sequence[str], numbers: Sequence[Any], *, dialect: Dialect = "unigeo"
) -> list[Any] | None:
    """Return every step's value as a sympy term, or None when a step has none.

    Args:
        program: a program of the strict language.
        numbers: floats, whose decimal text counts, or sympy terms.
        dialect: `unigeo` or `geoqa+`.
    """
    sympy = load_sympy()
    fixed = [
        sympy.pi if value == constants()[5] else rational(value) for value in constants(dialect)
    ]
    values: dict[str, list[Any]] = {"N": [rational(n) for n in numbers], "V": [], "C": fixed}
    for step in parse(program, len(numbers), dialect=dialect):
        operands = [values[name[0]][int(name[2:])] for name in step.operands]
        value = _simple(_terms(sympy)[step.op](*operands))
        if value.has(sympy.zoo, sympy.nan, sympy.oo) or value.is_real is False:
            return None
        values["V"].append(value)
    return values["V"]


def _terms(sympy: Any) -> dict[str, Callable[..., Any]]:
    degrees = sympy.pi / 180
    return {
        "g_equal": lambda a: a,
        "g_double": lambda a: 2 * a,
        "g_half": lambda a: a / 2,
        "g_add": lambda a, b: a + b,
        "g_minus": lambda a, b: _absolute(a - b),
        "g_mul": lambda a, b: a * b,
        "g_divide": lambda a, b: a / b,
        "g_bili": lambda a, b, c: a / b * c,
        "g_sin": lambda a: sympy.sin(a * degrees),
        "g_cos": lambda a: sympy.cos(a * degrees),
        "g_tan": lambda a: sympy.tan(a * degrees),
        "g_asin": lambda a: sympy.asin(a) / degrees,
        "g_acos": lambda a: sympy.acos(a) / degrees,
        "g_sqrt": lambda a: sympy.sqrt(a),
        "gougu_add": lambda a, b: sympy.sqrt(_simple(a * a + b * b)),
        "gougu_minus": lambda a, b: sympy.sqrt(_absolute(_simple(a * a - b * b))),
        "cal_circle_area": lambda a: a * a * sympy.pi,
        "cal_circle_perimeter": lambda a: 2 * sympy.pi * a,
        "cal_cone": lambda a, b: a * b * sympy.pi,
    }


def _absolute(term: Any) -> Any:
    return -term if float(term) < 0 else term


def _simple(term: Any) -> Any:
    """Return a term with rational denominators and no nested roots."""
    if term.is_Rational or term.count_ops() > LIMIT:
        return term
    sympy = load_sympy()
    return sympy.sqrtdenest(sympy.radsimp(sympy.expand(term)))


def text(term: Any) -> str | None:
    """Return a term as sympy writes it, or None when it is too long to be of use."""
    return None if term is None or term.count_ops() > LIMIT else str(term)


def pretty(form: str | None) -> str | None:
    """Return sympy's text as a textbook writes it: ``2*sqrt(15)`` is ``2√15``."""
    if form is None:
        return None
    form = re.sub(r"sqrt\((\w+)\)", r"√\1", form).replace("sqrt(", "√(").replace("pi", "π")
    form = form.replace("**2", "²").replace("**3", "³")
    form = re.sub(r"(?<=[\d)π])\*(?=[√π(])", "", form)
    return form.replace("*", "·").replace(" - ", " − ")


def agrees(term: Any, value: Number) -> bool:
    """Tell whether a closed form and a float are the same number (1e-9 relative)."""
    return abs(float(term) - value) <= 1e-9 * max(1.0, abs(value))
