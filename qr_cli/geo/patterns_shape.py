# ruff: noqa: E501 -- a pattern stands on one line
"""Patterns that name shapes: triangles and quadrilaterals of a kind, congruent and similar ones."""

from __future__ import annotations

import re

from qr_cli.geo.lexicon import names
from qr_cli.geo.patterns import Handler, group, template
from qr_cli.geo.patterns_line import equal_lengths
from qr_cli.geo.reading import Quantity, Reading, Term


def right_at(reading: Reading, v: str, a: str, b: str, text: str) -> None:
    """Take the angle a v b as a right one."""
    reading.add("perpendicular", v, a, v, b, text=text)


def _triangle(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    kind, corners = found[0], tuple(names(group(found, "t")))
    reading.polygon(corners)
    a, b, c = corners
    if "equilateral" in kind or "regular" in kind:
        equal_lengths(reading, (a, b), (b, c), kind)
        equal_lengths(reading, (a, b), (a, c), kind)
    if "isosceles" in kind:
        reading.pending.append(("isosceles", corners, kind))
    if re.search(r"\bright", kind):
        at = names(group(found, "v"))
        if at:
            one, two = (p for p in corners if p != at[0])
            right_at(reading, at[0], one, two, kind)
        else:
            reading.pending.append(("right", corners, kind))


def _right_angle(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    angle = names(group(found, "a") or group(found, "v"))
    if len(angle) == 3:
        right_at(reading, angle[1], angle[0], angle[2], found[0])
    else:
        reading.equal(Term(1, Quantity("angle", (angle[0],))), Term(-90, None), text=found[0])


def _polygon(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    kind, corners = found[0], tuple(names(group(found, "q")))
    reading.polygon(corners)
    reading.add("convex", *corners, text=found[0])
    a, b, c, d = corners
    if re.search("parallelogram|rectangle|rhombus|square", kind):
        reading.add("parallel", a, b, d, c, text=kind)
        reading.add("parallel", a, d, b, c, text=kind)
    if re.search("rectangle|square", kind):
        right_at(reading, b, a, c, kind)
    if re.search("rhombus|square", kind):
        equal_lengths(reading, (a, b), (b, c), kind)
    if "trapezoid" in kind:
        reading.pending.append(("trapezoid", corners, kind))
    if "isosceles trapezoid" in kind:
        reading.pending.append(("isosceles trapezoid", corners, kind))


def _alike(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    one, two = (tuple(names(group(found, g))) for g in ("l", "r"))
    for shape in (one, two):
        reading.polygon(shape)
        if len(shape) == 4:
            reading.add("convex", *shape, text=found[0])
    reading.add("similar", *one, *two, text=found[0])
    if "≅" in found[0]:
        equal_lengths(reading, one[:2], two[:2], found[0])  # type: ignore[arg-type]


def _named(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    reading.polygon(tuple(names(found[0])))


_QUADS = r"(?:parallelogram|rectangle|rhombus|square|(?:isosceles |right )?trapezoid|quadrilateral)"


def _options(*forms: tuple[str, Handler]) -> list[tuple[re.Pattern[str], Handler]]:
    return [(template(form), handler) for form, handler in forms]


def _exterior(reading: Reading, found: re.Match[str], numbers: list[float]) -> bool | None:
    """An exterior angle lies between a side and the extension of the next one."""
    one, v, two = names(group(found, "a"))
    shape = tuple(names(group(found, "t"))) or next((s for s in reading.polygons if v in s), ())
    if v not in shape:
        return False
    i = shape.index(v)
    around = {shape[i - 1], shape[(i + 1) % len(shape)]}
    inner, outer = (one, two) if one in around else (two, one)
    if inner not in around or outer in around:
        return False
    (behind,) = around - {inner}
    reading.add("beyond", outer, behind, v, text=found[0])
    reading.draw(v, inner)
    reading.draw(v, outer)
    return None


def _diagonals(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    a, b, c, d = names(group(found, "q"))
    (o,) = names(group(found, "o"))
    reading.polygon((a, b, c, d))
    reading.add("between", o, a, c, text=found[0])
    reading.add("between", o, b, d, text=found[0])


_KINDS = r"(?:right[- ]angled|right|isosceles|equilateral|regular)"
NOUNS = _options(
    (r"(?:an? |the )?(?:" + _KINDS + r" )+(?:triangles? )?{t:T}", _triangle),
    (r"(?:the |a )?(?:convex )?" + _QUADS + r" {q:Q}", _polygon),
)
SHAPES = _options(
    (r"(?:an |the )?exterior angle of (?:the )?{t:POLY}(?: is)? {a:A}", _exterior),
    (r"(?:one of its |an |the )?exterior angles? {a:A}", _exterior),
    (r"{a:A} is (?:an |the )?exterior angle of (?:the )?{t:POLY}", _exterior),
    (r"{l:T} (?:≅|~) {r:T}", _alike),
    (r"{l:Q} (?:≅|~) {r:Q}", _alike),
    (r"(?:the )?diagonals? of (?:the )?{q:Q} meets(?: each other)? at {o:P}", _diagonals),
    (r"{q:Q} is (?:an? )?(?:convex )?" + _QUADS + r"(?! inscribed)", _polygon),
    (r"{t:T} (?:is|are) (?:an? |the )?" + _KINDS + r"(?: " + _KINDS + r")*(?: triangles?)?(?: (?:at|with right angle at) {v:P})?", _triangle),
    (r"{t:T} (?:with (?:a |the )?right angle|right-angled|is right) at {v:P}", _triangle),
    (r"(?:the )?right angle(?: is)? at {v:P}", _right_angle),
    (r"(?:the )?angle at {v:P} is (?:a )?right(?: angle)?", _right_angle),
    (r"{a:A} is (?:a |the )?right(?: angle)?", _right_angle),
)  # fmt: skip
MENTIONS = _options((r"(?:(?:acute|obtuse|scalene)(?:[- ]angled)? )?(?:triangle )?{POLY}", _named))
