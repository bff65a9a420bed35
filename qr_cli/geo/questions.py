# ruff: noqa: E501 -- a pattern stands on one line
"""The question of a calculation text."""

from __future__ import annotations

import re

from qr_cli.geo.lexicon import names, segments
from qr_cli.geo.patterns import template
from qr_cli.geo.patterns_value import SIDE, draw_terms, parse_side
from qr_cli.geo.reading import Asked, Quantity, Reading, Term

_SHAPE = r"(?:the )?(?:(?:right|isosceles|equilateral|quadrilateral|parallelogram|rectangle|rhombus|square|trapezoid|triangle|shape|figure) )*"
_QUANTITY = (
    r"(?:(?P<f>sin|cos|tan) {a:A}"
    r"|{x:S} (?P<over>[:/]) {y:S}"
    r"|(?:the )?(?P<w>perimeter|area) of " + _SHAPE + r"{t:POLY}"
    r"|(?:the )?(?P<ca>area|circumference) of {o1:O}"
    r"|(?:the |its )?(?P<r>radius|diameter)(?: (?:of|length of))?(?: {o2:O})?(?: {S})?"
    r"|(?:the )?(?:distance|shortest distance) (?:from|between) (?:the )?(?:center )?{p:P} (?:to|and)"
    r" (?:the )?(?:chord |line |side )?{ps:S}"
    r"|(?:the )?distance (?:from|between) (?:the )?(?:center )?{p2:P} (?:to|and) {q2:P}"
    r"|(?:the )?(?:height|altitude) from {h:P}(?: to {S})?"
    r"|(?:the )?(?P<edge>edge|side)(?: length)? of (?:the |this )?(?:rhombus|square)(?: {e:Q})?"
    r"|(?:the )?(?P<diag>sum) of (?:the )?(?:two )?diagonals of (?:the )?(?:parallelogram |rectangle |rhombus )?{dq:Q}"
    r"|(?P<arc>arc {S})"
    r"|(?P<sum>SIDE))"
)
_ANY = template(_QUANTITY).pattern.replace("SIDE", SIDE)
_FORMS = tuple(
    re.compile(form.replace("QUANTITY", _ANY))
    for form in (
        r"(?:(?:then|so|and|,|what\s+is|how\s+(?:long|big|large|wide|far|high|tall|many\s+degrees)\s+is)\s+)*QUANTITY\s+(?:is|=|are|will\s+be|be|equals?)?\s*(?:about\s*)?\?[\s?.°]*",
        r"(?:find|calculate|determine|compute|work\s+out|evaluate|give|state|ask\s+for|seek)\s+(?:the\s+)?(?:lengths?\s+of\s+|value\s+of\s+|size\s+of\s+|measure\s+of\s+)?QUANTITY(?=\s*(?:[.?!;]|$|in\b))",
        r"(?:what|how\s+(?:long|big|large|wide|far|many\s+degrees|high|tall|much))\s+(?:is|are|will\s+be|does|do)\s+(?:the\s+)?(?:lengths?\s+of\s+|value\s+of\s+|size\s+of\s+|measure\s+of\s+)?QUANTITY(?:\s+(?:measure|have))?(?=\s*(?:[.?!;]|$|in\b))",
        r"QUANTITY\s+(?:is|=|are)\s*(?:[.?]|$)",
    )
)


def ask(reading: Reading, text: str, numbers: list[float]) -> str:
    """Take the question out of a text and return the rest; the last one counts."""
    for form in _FORMS:
        found = list(form.finditer(text))
        if found:
            last = found[-1]
            asked = _asked(reading, last, numbers)
            if asked:
                reading.asked = asked
                return text[: last.start()] + " ¦ " + text[last.end() :]
    return text


def _asked(reading: Reading, found: re.Match[str], numbers: list[float]) -> Asked | None:
    get = found.groupdict().get
    if get("f"):
        terms = [Term(1, Quantity(get("f"), tuple(names(get("a") or ""))))]  # type: ignore[arg-type]
        draw_terms(reading, terms)
        return Asked(tuple(terms))
    if get("over"):
        one, two = segments(get("x") or "")[0], segments(get("y") or "")[0]
        reading.draw(*one)
        reading.draw(*two)
        return Asked((Term(1, Quantity("length", one)),), (Term(1, Quantity("length", two)),))
    if get("w"):
        corners = tuple(names(get("t") or ""))
        reading.polygon(corners)
        return Asked((Term(1, Quantity(get("w"), corners)),))  # type: ignore[arg-type]
    if get("ca"):
        named = names(get("o1") or "")
        o = reading.circle(named[0] if named else None)
        return Asked(
            (Term(1, Quantity("circle area" if get("ca") == "area" else "circumference", (o,))),)
        )
    if get("r"):
        named = names(get("o2") or "")
        return Asked((Term(1, Quantity(get("r"), (named[0] if named else "⊙",))),))  # type: ignore[arg-type]
    if get("p"):
        p, line = names(get("p") or "")[0], segments(get("ps") or "")[0]
        reading.draw(*line)
        return Asked((Term(1, Quantity("distance", (p, *line))),))
    if get("p2"):
        pair = (names(get("p2") or "")[0], names(get("q2") or "")[0])
        return Asked((Term(1, Quantity("length", pair)),))
    if get("h"):
        return Asked((Term(1, Quantity("distance", (names(get("h") or "")[0],))),))
    if get("diag"):
        a, b, c, d = names(get("dq") or "")
        return Asked((Term(1, Quantity("length", (a, c))), Term(1, Quantity("length", (b, d)))))
    if get("edge"):
        found_shape = re.search(r"(?:rhombus|square)\s+([A-Z]{4})", found.string)
        corners = tuple(names(found_shape[1])) if found_shape else ()
        return Asked((Term(1, Quantity("length", corners[:2])),)) if corners else None
    if get("arc"):
        return Asked((Term(1, Quantity("arc", tuple(names(get("arc") or "")))),))
    terms = parse_side(get("sum") or "", numbers)
    if not any(t.quantity for t in terms):
        return None
    draw_terms(reading, terms)
    return Asked(tuple(terms))
