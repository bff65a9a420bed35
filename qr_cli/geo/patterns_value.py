# ruff: noqa: E501 -- a pattern stands on one line
"""Patterns that give sizes: lengths, angles, sums, ratios, sines, perimeters and areas."""

from __future__ import annotations

import re

from qr_cli.geo.lexicon import A as ANGLE
from qr_cli.geo.lexicon import N as SLOT
from qr_cli.geo.lexicon import S as SEGMENT
from qr_cli.geo.lexicon import names
from qr_cli.geo.patterns import Handler, group, number, template
from qr_cli.geo.reading import Quantity, Reading, Term

_FACTOR = rf"(?:\d+(?:\.\d+)?|{SLOT})"
TERM = rf"(?:(?:{_FACTOR}\s+)?(?:{ANGLE}|{SEGMENT}|arc {SEGMENT})|{SLOT})"
SIDE = rf"{TERM}(?:\s+[+\-−]\s+{TERM})*"
_CHAIN = rf"{SIDE}(?:\s+=\s+{SIDE})+"


def parse_side(text: str, numbers: list[float]) -> list[Term]:
    """Return the terms of a sum."""
    terms: list[Term] = []
    sign = 1.0
    for part in re.findall(rf"{TERM}|[+\-−]", text):
        if part in "+-−":
            sign = 1.0 if part == "+" else -1.0
            continue
        terms.append(_term(part, sign, numbers))
        sign = 1.0
    return terms


def _term(text: str, sign: float, numbers: list[float]) -> Term:
    front = re.match(rf"({_FACTOR})\s*(?=[∠A-Za-z]|$)", text)
    factor, rest = 1.0, text
    if front:
        word = front[1]
        factor = _slot(word, numbers) if word.startswith("N_") else float(word)
        rest = text[front.end() :]
    if not rest:
        return Term(sign * factor, None)
    points = tuple(names(rest))
    kind = "angle" if rest.startswith("∠") else "arc" if rest.startswith("arc") else "length"
    return Term(sign * factor, Quantity(kind, points))  # type: ignore[arg-type]


def _slot(name: str, numbers: list[float]) -> float:
    """Return a slot's number; a text may name one that it does not have."""
    index = int(name[2:])
    return numbers[index] if index < len(numbers) else float("nan")


def _chain(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    sides = [parse_side(side, numbers) for side in re.split(r"\s+=\s+", found[0])]
    for one, two in zip(sides, sides[1:], strict=False):
        negated = [Term(-t.factor, t.quantity) for t in two]
        reading.equal(*one, *negated, text=found[0])
    draw_terms(reading, [t for side in sides for t in side])


def draw_terms(reading: Reading, terms: list[Term]) -> None:
    """Take note of the segments that terms speak of."""
    for _, quantity in terms:
        if quantity is None:
            continue
        p = quantity.points
        if quantity.kind == "length":
            reading.draw(*p)
        elif quantity.kind in ("angle", "sin", "cos", "tan") and len(p) == 3:
            reading.draw(p[1], p[0])
            reading.draw(p[1], p[2])


def _is(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    value = number(found, "n", numbers)
    for part in re.findall(rf"{ANGLE}|{SEGMENT}", group(found, "q")):
        terms = [_term(part, 1.0, numbers), Term(-value, None)]
        reading.equal(*terms, text=found[0])
        draw_terms(reading, terms)


def _ratio(reading: Reading, found: re.Match[str], numbers: list[float]) -> bool | None:
    parts = [_term(p, 1.0, numbers) for p in re.findall(rf"{ANGLE}|{SEGMENT}", group(found, "q"))]
    values = [numbers[int(n[2:])] for n in re.findall(SLOT, group(found, "n"))]
    if len(values) == 1 and len(parts) == 2:
        values.append(1.0)
    if len(values) != len(parts):
        return False
    for (p, v), (q, w) in zip(
        zip(parts, values, strict=True), list(zip(parts, values, strict=True))[1:], strict=False
    ):
        reading.equal(Term(w, p.quantity), Term(-v, q.quantity), text=found[0])
    draw_terms(reading, parts)
    return None


def _trig(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    kind, points = group(found, "f"), tuple(names(group(found, "a")))
    terms = [Term(1, Quantity(kind, points)), Term(-number(found, "n", numbers), None)]  # type: ignore[arg-type]
    reading.equal(*terms, text=found[0])
    draw_terms(reading, terms)


def _whole(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    """The perimeter or area of a named polygon."""
    kind = "perimeter" if "perimeter" in found[0] else "area"
    corners = tuple(names(group(found, "t")))
    reading.polygon(corners)
    terms = Term(1, Quantity(kind, corners)), Term(-number(found, "n", numbers), None)  # type: ignore[arg-type]
    reading.equal(*terms, text=found[0])


def _side(reading: Reading, found: re.Match[str], numbers: list[float]) -> bool | None:
    """A square or an equilateral triangle with a side of ..."""
    if not reading.polygons:
        return False
    a, b = reading.polygons[-1][:2]
    terms = Term(1, Quantity("length", (a, b))), Term(-number(found, "n", numbers), None)
    reading.equal(*terms, text=found[0])
    return None


def _complementary(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    total = 90 if "complementary" in found[0] else 180
    one, two = (Quantity("angle", tuple(names(group(found, g)))) for g in ("a", "b"))
    reading.equal(Term(1, one), Term(1, two), Term(-total, None), text=found[0])
    draw_terms(reading, [Term(1, one), Term(1, two)])


def _more(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    """AB is 3 longer than CD."""
    one, two = (_term(group(found, g), 1.0, numbers) for g in ("a", "b"))
    sign = -1.0 if re.search("less|smaller|shorter", found[0]) else 1.0
    value = Term(-sign * number(found, "n", numbers), None)
    reading.equal(one, Term(-1, two.quantity), value, text=found[0])
    draw_terms(reading, [one, two])


_POLYGON = r"(?:the )?(?:(?:parallelogram|rectangle|rhombus|square|trapezoid|quadrilateral|right|isosceles|equilateral|triangle) )*"


def _options(*forms: tuple[str, Handler]) -> list[tuple[re.Pattern[str], Handler]]:
    return [
        (template(form) if "{" in form and "\\d" not in form else re.compile(form), handler)
        for form, handler in forms
    ]


WHOLES = _options(
    (r"(?:the )?(?:perimeter|area) of " + _POLYGON + r"{t:POLY} (?:is|=) {n:N}", _whole),
    (r"{t:POLY} has (?:a |an )?(?:perimeter|area) (?:of )?{n:N}", _whole),
)
VALUES = _options(
    (r"(?P<f>sin|cos|tan) {a:A} (?:=|is) {n:N}", _trig),
    (r"{a:A} and {b:A} are (?:complementary|supplementary)", _complementary),
    (r"{a:A} is (?:complementary|supplementary) (?:to|with) {b:A}", _complementary),
    (r"{a:S} is {n:N} (?:longer|more|greater|larger|less|shorter|smaller) than {b:S}", _more),
    (r"{a:A} is {n:N} (?:more|greater|larger|less|smaller) than {b:A}", _more),
    (r"(?P<q>{A}(?: [:] {A})+) = (?P<n>{N}(?: : {N})*)", _ratio),
    (r"(?P<q>{S}(?: [:/] {S})+) = (?P<n>{N}(?: [:/] {N})*)", _ratio),
    (_CHAIN, _chain),
    (r"(?P<q>{As}) (?:is|are|measures?|of|=)(?: (?:each|both))? {n:N}", _is),
    (r"(?P<q>{Ss}) (?:is|are|measures?|of|=|has length|have length)(?: (?:each|both))? {n:N}", _is),
    (r"(?:with |whose |of )?(?:(?:a|the|its) )?(?:side|edge)(?: length)?s?(?: (?:of|is|=|are))? {n:N}", _side),
)  # fmt: skip
