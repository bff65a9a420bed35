# ruff: noqa: E501 -- a pattern stands on one line
"""Patterns about lines: parallel, perpendicular, points on them, crossings, midpoints, bisectors."""

from __future__ import annotations

import re

from qr_cli.geo.lexicon import S as SEGMENT
from qr_cli.geo.lexicon import names, segments
from qr_cli.geo.patterns import Handler, center, group, number, template
from qr_cli.geo.reading import Quantity, Reading, Term


def _parallel(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    lines = segments(found[0])
    for (a, b), (c, d) in zip(lines, lines[1:], strict=False):
        reading.add("parallel", a, b, c, d, text=found[0])
        reading.draw(a, b)
        reading.draw(c, d)


def _perpendicular(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    (a, b), (c, d) = segments(group(found, "a"))[0], segments(group(found, "b"))[0]
    at = names(group(found, "p"))
    reading.add("perpendicular", a, b, c, d, text=found[0])
    reading.draw(a, b)
    reading.draw(c, d)
    if at:
        _foot(reading, at[0], (a, b), (c, d), found[0])


def _foot(reading: Reading, p: str, one: tuple[str, str], two: tuple[str, str], text: str) -> None:
    """Put the foot of a perpendicular on both lines; inside those it is no end of."""
    for line in (one, two):
        if p not in line:
            out = "extension" in text
            reading.add("on line" if out else "between", p, *line, text=text)


def _late_foot(reading: Reading, found: re.Match[str], numbers: list[float]) -> bool | None:
    points = names(group(found, "p"))
    perpendiculars = [c for c in reading.conditions if c.kind == "perpendicular"][-len(points) :]
    if len(perpendiculars) < len(points):
        return False
    for p, c in zip(points, perpendiculars, strict=True):
        _foot(reading, p, c.points[:2], c.points[2:], found[0])  # type: ignore[arg-type]
    return None


def _crossing(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    """Lines meet at points: the last ones named are the points, in the order of the lines."""
    firsts, seconds = segments(group(found, "a")), segments(group(found, "b"))
    points = names(group(found, "p"))
    first_out = "extension" in group(found, "e")
    if not seconds:  # AB and CD meet at P
        for a, b in firsts:
            _lie(reading, points[0], a, b, found[0], out=first_out)
            reading.draw(a, b)
        return
    for p, (c, d) in zip(points, seconds, strict=False):
        _lie(reading, p, c, d, found[0], out="extension" in group(found, "f"))
        reading.draw(c, d)
        for a, b in firsts:
            _lie(reading, p, a, b, found[0], out=first_out)
            reading.draw(a, b)
    if len(points) == 2 and len(firsts) == 1 and not set(points) & set(firsts[0]):
        (a, b), (p, q) = firsts[0], points
        reading.add("between", p, a, q, text=f"{a}, {p}, {q}, {b} in this order")
        reading.add("between", q, p, b, text=f"{a}, {p}, {q}, {b} in this order")


def _two_crossings(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    """AB meets CD at P and EF at Q."""
    a, b = segments(group(found, "a"))[0]
    p, q = names(group(found, "p"))[0], names(group(found, "q"))[0]
    for point, line in ((p, "b"), (q, "c")):
        _lie(reading, point, *segments(group(found, line))[0], found[0], out=False)
        _lie(reading, point, a, b, found[0], out=False)
    if not {p, q} & {a, b}:
        reading.add("between", p, a, q, text=found[0])
        reading.add("between", q, p, b, text=found[0])


def _lie(reading: Reading, p: str, a: str, b: str, text: str, *, out: bool) -> None:
    """Put a crossing on a line: between its ends, or beyond the second one."""
    if p in (a, b):
        return
    reading.add("beyond" if out else "between", p, a, b, text=text)
    if out:
        reading.draw(a, p)


def _subject(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    """Put D on BC, from "and meets BC at D"; its own line names it already."""
    for p, (a, b) in zip(names(group(found, "p")), segments(group(found, "s")), strict=False):
        _lie(reading, p, a, b, found[0], out="extension" in found[0])


def _crossing_circle(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    o = center(reading, found)
    out = "extension" in group(found, "e")
    points = names(group(found, "p"))
    lines = segments(group(found, "s"))
    for i, p in enumerate(points):
        reading.add("on circle", p, o, text=found[0])
        if lines:
            a, b = lines[min(i, len(lines) - 1)]
            _lie(reading, p, a, b, found[0], out=out)
            reading.draw(a, b)


def _on(reading: Reading, found: re.Match[str], numbers: list[float]) -> bool | None:
    points, lines = names(group(found, "p")), segments(group(found, "s"))
    if len(lines) not in (1, len(points)):
        return False
    pairs = zip(points, lines * len(points) if len(lines) == 1 else lines, strict=False)
    for p, (a, b) in pairs:
        if p in (a, b):
            return False
        if "extension" in found[0]:
            reading.add("beyond", p, a, b, text=found[0])
            reading.draw(a, p)
        elif "straight" in found[0]:
            reading.add("on line", p, a, b, text=found[0])
        else:
            reading.add("between", p, a, b, text=found[0])
        reading.draw(a, b)
    return None


def _between(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    p, (a, b) = names(group(found, "p"))[0], names(group(found, "ab"))[:2]
    reading.add("between", p, a, b, text=found[0])


def _collinear(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    points = names(group(found, "p"))
    for p in points[2:]:
        reading.add("collinear", points[0], points[1], p, text=found[0])
    if "order" in found[0]:
        for a, b, c in zip(points, points[1:], points[2:], strict=False):
            reading.add("between", b, a, c, text=found[0])


def _midpoint(reading: Reading, found: re.Match[str], numbers: list[float]) -> bool | None:
    points, lines = names(group(found, "p")), segments(group(found, "s"))
    if len(points) != len(lines):
        return False
    for p, (a, b) in zip(points, lines, strict=True):
        reading.add("midpoint", p, a, b, text=found[0])
        reading.draw(a, b)
    return None


def _bisects(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    lines = segments(group(found, "s"))
    angles = re.findall(r"∠\S+", group(found, "a"))
    if len(lines) == 1:
        lines *= len(angles)
    for line, angle in zip(lines, angles, strict=False):
        bisect(reading, line, names(angle), found[0])


def _bisects_at(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    """AE bisects an angle and meets CD at E."""
    _bisects(reading, found, numbers)
    _lie(reading, names(group(found, "p"))[0], *segments(group(found, "x"))[0], found[0], out=False)


def bisect(reading: Reading, line: tuple[str, str], angle: list[str], text: str) -> None:
    """Take a line from a vertex as the bisector of an angle of one or three letters."""
    v = angle[len(angle) // 2]
    if v not in line:
        reading.not_understood.append(text)
        return
    d = line[0] if line[1] == v else line[1]
    reading.draw(*line)
    if len(angle) == 3:
        reading.add("bisects", v, d, angle[0], angle[2], text=text)
        reading.draw(v, angle[0])
        reading.draw(v, angle[2])
    else:
        reading.add("bisects", v, d, text=text)  # the arms are found when all is read


def _bisector_of_triangle(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    """BD is a bisector of triangle ABC: it starts at a vertex and ends on the opposite side."""
    corners = names(group(found, "t"))
    if group(found, "t"):
        reading.polygon(tuple(corners))
    for line in segments(group(found, "s")):
        v, d = _from_corner(line, corners)
        others = [p for p in corners if p != v]
        reading.add("bisects", v, d, *others, text=found[0])
        if d not in corners:
            reading.add("between", d, *others, text=found[0])
        reading.draw(*line)


def _from_corner(line: tuple[str, str], corners: list[str]) -> tuple[str, str]:
    return line if line[0] in corners else (line[1], line[0])


def _bisector_meets(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    """The bisector of an angle meets a line at a point."""
    angle, (a, b) = names(group(found, "a")), segments(group(found, "s"))[0]
    d = names(group(found, "p"))[0]
    v = angle[len(angle) // 2]
    bisect(reading, (v, d), angle, found[0])
    _lie(reading, d, a, b, found[0], out="extension" in found[0])


def _bisectors_meet(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    """Bisectors of several angles meet at a point."""
    d = names(group(found, "p"))[0]
    for angle in re.findall(r"∠\S+", group(found, "a")):
        letters = names(angle)
        bisect(reading, (letters[len(letters) // 2], d), letters, found[0])


def _perpbisector(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    for (p, q), (a, b) in zip(
        segments(group(found, "l")), segments(group(found, "s")), strict=False
    ):
        for x in (p, q):
            equal_lengths(reading, (x, a), (x, b), found[0])
        reading.draw(p, q)
        reading.draw(a, b)


def _perpbisector_meets(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    a, b = segments(group(found, "s"))[0]
    for p, (c, d) in zip(names(group(found, "p")), segments(group(found, "t")), strict=False):
        if {c, d} == {a, b}:
            reading.add("midpoint", p, a, b, text=found[0])
        else:
            equal_lengths(reading, (p, a), (p, b), found[0])
            _lie(reading, p, c, d, found[0], out="extension" in found[0])


def equal_lengths(reading: Reading, one: tuple[str, str], two: tuple[str, str], text: str) -> None:
    """Take two lengths as equal."""
    if set(one) == set(two):
        return
    reading.equal(Term(1, Quantity("length", one)), Term(-1, Quantity("length", two)), text=text)


def _height(reading: Reading, found: re.Match[str], numbers: list[float]) -> bool | None:
    """A height or a median: from a vertex to the opposite side of a triangle."""
    lines, sides = segments(group(found, "s")), segments(group(found, "b"))
    corners = tuple(names(group(found, "t")))
    if corners:
        reading.polygon(corners)
    known = [corners] if corners else [c for c in reading.polygons if len(c) == 3]
    for i, line in enumerate(lines):
        side = sides[i] if i < len(sides) else None
        placed = next((p for c in known if (p := _across(line, c, side))), None)
        if placed is None:
            return False
        top, foot, one, two = placed
        reading.draw(*line)
        if re.search("median|midline|center line", found[0]):
            reading.add("midpoint", foot, one, two, text=found[0])
            continue
        reading.add("perpendicular", top, foot, one, two, text=found[0])
        if foot not in (one, two):
            reading.add("on line", foot, one, two, text=found[0])
    return None


def _across(
    line: tuple[str, str], corners: tuple[str, ...], side: tuple[str, str] | None
) -> tuple[str, str, str, str] | None:
    """Return top, foot and the opposite side of a line through a triangle, if it is one."""
    for top, foot in (line, line[::-1]):
        if top in corners:
            rest = tuple(p for p in corners if p != top)
            if (
                len(rest) == 2
                and (foot not in corners or side)
                and side in (None, rest, rest[::-1])
            ):
                return top, foot, rest[0], rest[1]
    return None


def _midline(reading: Reading, found: re.Match[str], numbers: list[float]) -> bool | None:
    """The midline DE of a triangle ABC joins the midpoints of AB and AC."""
    (d, e), corners = segments(group(found, "s"))[0], names(group(found, "t"))
    if len(corners) != 3:
        return False
    a, b, c = corners
    reading.polygon((a, b, c))
    reading.add("midpoint", d, a, b, text=found[0])
    reading.add("midpoint", e, a, c, text=found[0])
    reading.assumed.append(f"the midline {d}{e} joins {a}{b} and {a}{c}")
    return None


def _distance(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    p, n = names(group(found, "p"))[0], number(found, "n", numbers)
    target = names(group(found, "s"))
    kind = (
        Quantity("distance", (p, *target))
        if len(target) == 2
        else Quantity("length", (p, target[0]))
    )
    reading.equal(Term(1, kind), Term(-n, None), text=found[0])


def _drawn(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    for a, b in segments(found[0]):
        reading.draw(a, b)


def _through(reading: Reading, found: re.Match[str], numbers: list[float]) -> bool | None:
    """A line passes through a point."""
    a, b = segments(group(found, "s"))[0]
    p = names(group(found, "p"))[0]
    if p not in (a, b):
        reading.add("between", p, a, b, text=found[0])
    return None


def _options(*forms: tuple[str, Handler]) -> list[tuple[re.Pattern[str], Handler]]:
    return [(template(form), handler) for form, handler in forms]


_IT = r"(?:(?: ,)?(?: and)?(?: (?:it|which|they))?(?: also)?)"
_AT = r"(?:at|with|to|in)(?: the)?(?: intersections?)?"
_EXT = r"(?:the )?(?:extensions? of )"

NOUNS = _options(
    (r"(?:the )?midpoint {p:P} of(?: the)? {s:S}", _midpoint),
    (r"(?:the )?bisector {s:S} of {a:A}", _bisects),
    (r"(?:the )?perpbisector {l:S} of {s:S}", _perpbisector),
)
LINES = _options(
    (r"{a:S} meets {b:S} " + _AT + r" {p:P}(?: ,)?(?: and)? (?:meets )?{c:S} " + _AT + r" {q:P}", _two_crossings),
    (r"{s:S} is (?:a |the )?midline of {t:T}", _midline),
    (r"{s:Ss} (?:is|are) (?:the |two |a )*(?:medians?|midlines?|center lines?)(?: lines?)?(?: (?:of|on|to)(?: the)? {b:So})?(?: (?:of|in) {t:T})?", _height),
    (r"{s:Ss} (?:is|are) (?:the |two |a |an )*(?:heights?|altitudes?|high lines?)(?: lines?)?(?: from {P})?(?: (?:of|on|to)(?: the)? {b:So})?(?: (?:of|in) {t:T})?", _height),
    (r"(?:the )?(?:height|altitude) {s:S}(?: (?:of|on|to)(?: the)? {b:S})?(?: of {t:T})?", _height),
    (r"(?:the )?(?:perpbisector) of {s:S}" + _IT + r" meets {t:So} " + _AT + r" {p:Po}", _perpbisector_meets),
    (r"(?:the )?(?:perpbisector) {l:S} of {s:S}", _perpbisector),
    (r"{l:Ss} (?:is|are) (?:the |a )*perpbisector(?: of)? (?:the )?{s:So}", _perpbisector),
    (r"{l:Ss} (?:perpendicularly )?bisects? {s:Ss}(?: perpendicularly| vertically)", _perpbisector),
    (r"(?:the )?bisector of {a:Ao} meets? " + _AT + r" {p:P}", _bisectors_meet),
    (r"(?:the )?bisector of {a:A}" + _IT + r" meets " + _EXT + r"?{s:S} " + _AT + r" {p:P}", _bisector_meets),
    (r"(?:the )?bisector {s:S} of {a:A}", _bisects),
    (r"{s:Ss} (?:is|are) (?:the |a |two )*bisector(?: of| in)? {t:T}", _bisector_of_triangle),
    (r"{s:Ss} (?:is|are) (?:the |a )*bisector(?: of)? {a:Ao}", _bisects),
    (r"{s:S} bisects {a:A}(?: ,)? and(?: it)?(?: meets)? {x:S} " + _AT + r" {p:P}", _bisects_at),
    (r"{s:S} bisects {a:Ao}", _bisects),
    (r"{s:Ss} bisect {a:Ao}", _bisects),
    (r"{p:Ps} (?:is|are)(?: (?:the|a))? midpoints?(?: of)?(?: the)? {s:So}", _midpoint),
    (r"(?:the )?midpoints? {p:Ps} of(?: the)? {s:So}", _midpoint),
    (r"(?:the )?midpoints? of(?: the)? {s:Ss} (?:is|are) {p:Ps}", _midpoint),
    (rf"(?<![+=:]\x20){SEGMENT}(?: ∥ {SEGMENT})+", _parallel),
    (r"{a:S} ⟂ (?:the )?(?:chord |radius |diameter |extension of )?{b:S}(?: (?:at|to|with|in)(?: the)?(?: foot)?(?: of)? {p:P})?", _perpendicular),
    (r"{p:Ps} (?:is|are) (?:the )?foot(?: of {S})?", _late_foot),
    (r"(?:and )?(?:the )?foot(?: (?:is|are|of|=))?(?: the)? {p:Po}", _late_foot),
    (r"(?P<e>" + _EXT + r")?{s:Ss}" + _IT + r" meets (?:the )?{o:O}(?: again)? " + _AT + r" {p:Po}", _crossing_circle),
    (r"{o:O} meets {s:So} " + _AT + r" {p:Po}", _crossing_circle),
    (r"(?P<e>" + _EXT + r"){a:Ss} meets " + _AT + r" {p:P}", _crossing),
    (r"(?P<e>" + _EXT + r")?{a:S}" + _IT + r" meets (?:the )?(?P<f>" + _EXT + r")?{b:So} " + _AT + r" {p:Po}", _crossing),
    (r"{a:Ss} meets? (?:each other )?" + _AT + r" {p:P}", _crossing),
    (r"{a:S} (?:and|to) (?P<f>" + _EXT + r"){b:S} meets? " + _AT + r" {p:P}", _crossing),
    (r"(?:and )?(?:(?:it|which|they) )?meets " + _EXT + r"?{s:So} " + _AT + r" {p:Po}", _subject),
    (r"{p:P} (?:is|lies) between {ab:Ps}", _between),
    (r"with {p:P} between {ab:Ps}", _between),
    (r"{p:Ps} (?:lie|are|is)(?: in this order)? (?:all )?on (?:the same|a|one)(?: straight)? line(?: in this order)?", _collinear),
    (r"{p:Ps} (?:are |is |lies |lie )?(?:collinear|in a line)(?: in this order)?", _collinear),
    (r"{p:Ps} (?:is|are|lies?|falls?(?: exactly)?)(?: (?:a|an|any|the|one|two|moving|trisection))*(?: points?)? (?:on|of|in)(?: the)?(?: (?:straight|line|segment|side|edge|chord|leg|base|hypotenuse|diagonal|diameter|radius|bottom edge))* (?:" + _EXT + r")?{s:So}", _on),
    (r"(?:the )?distance (?:from|between) {p:P} (?:to|and) (?:the )?(?:center |chord |line |straight line )?{s:S} (?:is|=) {n:N}", _distance),
    (r"{s:S} passes through (?:the )?(?:center )?{p:P}", _through),
    (r"(?:connect|join|draw|connecting) {s:Ss}", _drawn),
)  # fmt: skip
