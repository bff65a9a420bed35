# ruff: noqa: E501 -- a pattern stands on one line
"""Patterns about circles: points on them, chords, diameters, tangents, arcs, incircles."""

from __future__ import annotations

import re

from qr_cli.geo.lexicon import names, segments
from qr_cli.geo.patterns import Handler, center, group, number, template
from qr_cli.geo.reading import Quantity, Reading, Term


def _radius_value(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    o = center(reading, found)
    size = Quantity("diameter" if "diameter" in found[0] else "radius", (o,))
    reading.equal(Term(1, size), Term(-number(found, "n", numbers), None), text=found[0])


def _on(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    o = center(reading, found)
    for p in names(group(found, "p")):
        if p != o:
            reading.add("on circle", p, o, text=found[0])


def _around(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    o = center(reading, found)
    corners = tuple(names(group(found, "t")))
    reading.polygon(corners)
    for p in corners:
        reading.add("on circle", p, o, text=found[0])
    if len(corners) == 4:
        reading.add("convex", *corners, text=found[0])


def _inside(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    """The incircle: tangent to every side, its centre inside."""
    o = center(reading, found)
    corners = tuple(names(group(found, "t")))
    reading.polygon(corners)
    for a, b in zip(corners, corners[1:] + corners[:1], strict=True):
        reading.add("tangent", a, b, o, text=found[0])
    reading.add("inside", o, *corners, text=found[0])
    if len(corners) == 4:
        reading.add("convex", *corners, text=found[0])


def _touches(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    """A circle tangent to sides at points."""
    o = center(reading, found)
    lines, points = segments(group(found, "s")), names(group(found, "p"))
    for i, (a, b) in enumerate(lines):
        if i < len(points):
            p = points[i]
            reading.add("tangent at", p, a if a != p else b, o, text=found[0])
            if p not in (a, b):
                reading.add("between", p, a, b, text=found[0])
        else:
            reading.add("tangent", a, b, o, text=found[0])


def diameter(reading: Reading, a: str, b: str, o: str, text: str) -> None:
    """Take ab as a diameter."""
    for p in (a, b):
        reading.add("on circle", p, o, text=text)
    reading.add("midpoint", o, a, b, text=text)
    reading.draw(a, b)


def _diameter(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    o = center(reading, found)
    for a, b in segments(group(found, "s")):
        diameter(reading, a, b, o, found[0])
    if n := group(found, "n"):
        terms = Term(1, Quantity("diameter", (o,))), Term(-numbers[int(n[2:])], None)
        reading.equal(*terms, text=found[0])


def _chord(reading: Reading, found: re.Match[str], numbers: list[float]) -> bool | None:
    if not reading.circles and not group(found, "o"):
        return False
    o = center(reading, found)
    for a, b in segments(group(found, "s")):
        for p in (a, b):
            if p != o:
                reading.add("on circle", p, o, text=found[0])
        reading.draw(a, b)
    return None


def _tangents(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    """Tangents with their points, or with those that must be: the ends that are not shared."""
    o = center(reading, found)
    lines = segments(group(found, "s"))
    points = [p for p in names(group(found, "p")) if p != o]
    shared = set(lines[0]).intersection(*lines[1:]) if len(lines) > 1 else set()
    known = reading.on_circle(o)
    for i, (a, b) in enumerate(lines):
        reading.draw(a, b)
        if i < len(points):
            p = points[i]
        else:
            free = [e for e in (a, b) if e not in shared]
            p = next((e for e in free if e in known), free[-1] if len(free) == 1 else "")
            if not p:
                reading.add("tangent", a, b, o, text=found[0])
                continue
        _tangent_at(reading, p, a, b, o, found[0])


def _tangent_at(reading: Reading, p: str, a: str, b: str, o: str, text: str) -> None:
    other = a if a != p else b
    reading.add("tangent at", p, other, o, text=text)
    if p not in (a, b):
        reading.add("between", p, a, b, text=text)


def _tangent_through(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    """The tangent at a point of the circle meets a line."""
    o = center(reading, found)
    p, d = names(group(found, "p"))[0], names(group(found, "d"))[0]
    a, b = segments(group(found, "s"))[0]
    reading.add("tangent at", p, d, o, text=found[0])
    reading.draw(p, d)
    if "extension" in found[0]:
        reading.add("beyond", d, a, b, text=found[0])
        reading.draw(a, d)
    else:
        reading.add("between" if d not in (a, b) else "on line", d, a, b, text=found[0])


def _tangent_from(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    """The tangent from an outer point, which lies where it lies, touches at a point."""
    o = center(reading, found)
    d, p = names(group(found, "d"))[0], names(group(found, "p"))[0]
    reading.add("tangent at", p, d, o, text=found[0])
    reading.draw(p, d)


def _arc_midpoint(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    o = center(reading, found)
    m, (a, b) = names(group(found, "p"))[0], names(group(found, "s"))[:2]
    for p in (m, a, b):
        reading.add("on circle", p, o, text=found[0])
    reading.add("arc midpoint", m, a, b, o, text=found[0])


def _arc_equal(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    o = center(reading, found)
    (a, b), (c, d) = (names(group(found, g))[:2] for g in ("s", "r"))
    for p in (a, b, c, d):
        reading.add("on circle", p, o, text=found[0])
    reading.equal(
        Term(1, Quantity("length", (a, b))), Term(-1, Quantity("length", (c, d))), text=found[0]
    )


def _arc_value(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    o = center(reading, found)
    a, b = names(group(found, "s"))[:2]
    for p in (a, b):
        reading.add("on circle", p, o, text=found[0])
    reading.equal(
        Term(1, Quantity("angle", (a, o, b))),
        Term(-number(found, "n", numbers), None),
        text=found[0],
    )


def _on_arc(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    o = center(reading, found)
    a, b = names(group(found, "s"))[0], names(group(found, "s"))[-1]
    for p in [*names(group(found, "p")), a, b]:
        reading.add("on circle", p, o, text=found[0])
    for p in names(group(found, "p")):
        if "major" in found[0]:
            reading.add("same side", p, o, a, b, text=found[0])
        elif re.search("minor|inferior|small", found[0]):
            reading.add("opposite side", p, o, a, b, text=found[0])


def _center(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    name = names(group(found, "p"))[0]
    if reading.circles == ["⊙"]:
        reading.circles[0] = name
        reading.conditions = [
            c._replace(points=tuple(name if p == "⊙" else p for p in c.points))
            for c in reading.conditions
        ]
    elif name not in reading.circles:
        reading.circles.append(name)


def _mention(reading: Reading, found: re.Match[str], numbers: list[float]) -> None:
    center(reading, found)


def _options(*forms: tuple[str, Handler]) -> list[tuple[re.Pattern[str], Handler]]:
    return [(template(form), handler) for form, handler in forms]


def _touch_forms(head: str) -> list[str]:
    """Return a tangent form once for each way to name its point, and without."""
    ways = [
        r"(?: ,)?(?: and)?(?: with)?(?: the)? touchpoints?(?: of)?(?: is| are)? {p:Po}",
        r"(?: ,)?(?: and)? {p:Ps}(?: is| are)(?: the| a)? touchpoints?",
        r"(?: at| to)(?: the)?(?: touchpoints?)? {p:Po}",
        "",
    ]
    return [head + way for way in ways]


NOUNS = _options(
    (r"(?:the |two |a )*diameters? {s:Ss}(?: of {o:O})?", _diameter),
    (r"(?:the |two |a )*(?:chords?|radius|radii) {s:Ss}(?: of {o:O}(?! =))?", _chord),
)  # fmt: skip
CIRCLES = _options(
    (r"{p:P} is (?:the )?center(?: of)?(?: (?:the|a) circle)?(?! of the (?:circum|in))", _center),
    (r"(?:the )?center of (?:the |a )?circle is {p:P}", _center),
    (r"with {s:S} as (?:the |a )?diameter", _diameter),
    (r"{o:O} is (?:the |a )?circumcircle of {t:POLY}", _around),
    (r"{t:POLY} is (?:an? |the )?(?:quadrilateral |triangle )?(?:inscribed(?: (?:triangle|quadrilateral))?)(?: of| in| to| by)? {o:O}", _around),
    (r"{t:POLY} inscribed in {o:O}", _around),
    (r"(?:the )?(?:vertices|vertexes)(?: of)? {t:POLY} (?:are |lie )?on {o:O}", _around),
    (r"{o:P} is (?:the )?(?:circumcenter of|center of(?: the)? circumcircle of) {t:POLY}", _around),
    (r"{o:P} is (?:the )?(?:incenter of|inner center of|center of(?: the)? incircle of) {t:POLY}", _inside),
    (r"{o:O} is (?:the |an )?incircle of {t:POLY}", _inside),
    (r"{t:POLY} is (?:a |the )?(?:circumscribed (?:quadrilateral|triangle))(?: of| to) {o:O}", _inside),
    (r"{t:POLY} is circumscribed (?:about|around|to) {o:O}", _inside),
    (r"{o:O} is tangent to {s:Ss} at(?: the)?(?: touchpoints?)? {p:Po}", _touches),
    (r"(?:the )?{o:O} (?:is )?tangent to {s:S}(?! and)", _touches),
    (r"{t:POLY} is (?:a )?cyclic(?: quadrilateral)?", _around),
    (r"{o:O} with (?:a |the )?radius(?: of)? {n:N}", _radius_value),
    (r"(?:the )?(?:radius|diameter) of {o:O} (?:is|=|of) {n:N}", _radius_value),
    (r"(?:the |its )?radius (?:is|=|of) {n:N}", _radius_value),
    (r"{o:O} has (?:a )?(?:radius|diameter) {n:N}", _radius_value),
    *((form, _tangents) for form in _touch_forms(r"{s:Ss} (?:is|are) (?:the |a |both |two )*tangents?(?: lines?)?(?: of| to)? {o:O}")),
    *((form, _tangents) for form in _touch_forms(r"{s:Ss} touch(?:es)? {o:O}")),
    (r"(?:the )?tangents? {s:Ss}(?: and (?:tangent )?{S})?(?: of {o:O})?(?: ,)? touchpoints? (?:is|are) {p:Ps}(?: respectively)?", _tangents),
    (r"(?:the )?touchpoints? (?:is|are) {p:P}", lambda r, f, n: _late_touch(r, f)),
    (r"(?:passing|crossing|through)(?: through)? {p:P} (?:to draw |to make |draw |makes? |is )*(?:the |a )?tangent(?: line)?(?: of {o:O})?(?: ,)?(?: and| which)?(?: it)? meets (?:the )?(?:extension of )?{s:S} at {d:P}", _tangent_through),
    (r"(?:the )?tangent(?: line)?(?: of {o:O})?(?: passing)?(?: through| at) {p:P}(?: ,)? (?:and )?(?:which )?meets (?:the )?(?:extension of )?{s:S} at {d:P}", _tangent_through),
    (r"(?:the )?tangent {S} (?:passing )?through {p:P} and (?:the )?extension of {s:S} meets at {d:P}", _tangent_through),
    (r"(?:passing|through|crossing)(?: through)? {d:P} (?:is|draw|to draw|to make|makes?) (?:the |a )?tangent(?: line)?(?: of {o:O})?(?: ,)?(?: and)?(?: the)? touchpoint is {p:P}", _tangent_from),
    (r"{s:Ss} (?:is|are) (?:the |a |two )*diameters?(?: of {o:O})?(?: (?:=|with length) {n:N})?", _diameter),
    (r"{p:P} is (?:the )?midpoint of (?:the )?(?:minor |inferior )?arc {s:S}", _arc_midpoint),
    (r"arc {s:S} = arc {r:S}", _arc_equal),
    (r"arc {s:S} (?:=|is|of) {n:N}", _arc_value),
    (r"{p:Ps} (?:is|are|lies?) (?:a |any |the )?(?:points? )?(?:on |of )(?:the )?(?:major |minor |inferior |superior )?arc {s:S}", _on_arc),
)  # fmt: skip
PLACES = _options(
    (r"{s:Ss} (?:is|are) (?:the |a |two )*(?:chords?|radius|radii)(?: of {o:O}| in {o:O})?", _chord),
    (r"{p:Ps} (?:is|are|lies?|all lie|both lie) (?:all |both )?(?:a |any |the |one )?(?:two |three |four )?(?:moving )?(?:points? )?on {o:O}", _on),
    (r"(?:there are )?(?:points? )?{p:Ps} on {o:O}", _on),
    (r"(?:in )?{o:O}", _mention),
)  # fmt: skip


def _late_touch(reading: Reading, found: re.Match[str]) -> bool | None:
    """Name the touching point of a tangent that was read before without one."""
    p = names(group(found, "p"))[0]
    for i, c in enumerate(reading.conditions):
        if c.kind == "tangent" and p not in c.points[:2]:
            reading.conditions[i] = c._replace(
                kind="tangent at", points=(p, c.points[0], c.points[2])
            )
            return None
        if c.kind in ("tangent", "tangent at") and p in c.points[:2]:
            other = next(x for x in c.points[:2] if x != p)
            reading.conditions[i] = c._replace(kind="tangent at", points=(p, other, c.points[2]))
            return None
    return False
