"""Statements of generated proofs: read from a table row, given other letters, written one way.

Segments and outer letters of angles stand in alphabetical order, first triangles too, second ones
by correspondence; the alphabetically smaller operand comes first, constants and longer sums last.
"""

from __future__ import annotations

from collections.abc import Mapping

from qr_cli.geo.givens import Given, GivenKind
from qr_cli.geo.proof import (
    Element,
    Relation,
    Statement,
    Term,
    normal,
    parse_element,
    triangle,
)

Names = Mapping[str, str]
_SIGNS: dict[str, Relation] = {
    "≅": "congruent", "~": "similar", "∥": "parallel", "⟂": "vertical",
}  # fmt: skip
_WORDED: dict[str, GivenKind] = {"mid": "midpoint", "bis": "bisects", "sup": "supplementary"}


def read_statement(text: str) -> Statement:
    """Return the statement of a table: "∠A≅∠C", "AB/CD=EF/GH", "∠A+∠B=90"."""
    if "/" in text:
        left, right = (tuple(map(parse_element, side.split("/"))) for side in text.split("="))
        return Statement("ratio", left, right)
    for sign, relation in _SIGNS.items():
        if sign in text:
            one, two = text.split(sign)
            return Statement(relation, (parse_element(one),), (parse_element(two),))
    first, second = (tuple(map(_term, side.split("+"))) for side in text.split("="))
    return Statement("equal", first, second)


def _term(text: str) -> Term:
    return int(text) if text.isdigit() else parse_element(text)


def read_given(text: str) -> Given:
    """Return the given of a table: a statement, "M mid AB", "AC bis ∠A", "ABC equi", "x sup y"."""
    first, *rest = text.split()
    if rest == ["equi"]:
        return Given("equilateral", text, None, (parse_element("△" + first),))
    if rest:
        kind = _WORDED[rest[0]]
        one = Element("angle", (first,)) if kind == "midpoint" else parse_element(first)
        return Given(kind, text, None, (one, parse_element(rest[1])))
    return Given("fact", text, read_statement(text))


def renamed(found: Statement, names: Names) -> Statement:
    """Return a statement with other letters, canonically written."""
    relation, left, right = found
    one = tuple([_named(t, names) for t in left])
    two = tuple([_named(t, names) for t in right])
    if relation == "ratio":
        ways = [(one, two), (two, one), (one[::-1], two[::-1]), (two[::-1], one[::-1])]
        return Statement(relation, *min(ways, key=lambda way: [key(t) for t in way[0] + way[1]]))
    if isinstance(one[0], Element) and one[0].kind == "triangle":
        pairs = [_lined_up(one[0], two[0]), _lined_up(two[0], one[0])]
        first, second = min(pairs, key=lambda pair: pair[0].points)
        return Statement(relation, (first,), (second,))
    one, two = sorted((tuple(sorted(side, key=key)) for side in (one, two)), key=_rank)
    return Statement(relation, one, two)


def renamed_given(found: Given, names: Names) -> Given:
    """Return a given with other letters; its words are dropped."""
    if found.statement:
        return Given(found.kind, "", renamed(found.statement, names))
    return Given(found.kind, "", None, tuple([_named_element(e, names) for e in found.elements]))


def _named(term: Term, names: Names) -> Term:
    return term if isinstance(term, int) else _named_element(term, names)


def _named_element(element: Element, names: Names) -> Element:
    moved = Element(element.kind, tuple([names[p] for p in element.points]))
    return moved if element.kind == "triangle" else normal(moved)


def key(term: Term) -> tuple[str, ...]:
    """Return where a term stands among others: by its letters, constants last."""
    return ("~",) if isinstance(term, int) else term.points


def _rank(side: tuple[Term, ...]) -> tuple[bool, int, list[tuple[str, ...]]]:
    return isinstance(side[0], int), len(side), [key(t) for t in side]


def place(found: Statement) -> list[tuple[str, ...]]:
    """Return where a statement stands among others of its reason."""
    return [key(t) for t in found.left + found.right]


def _lined_up(one: Term, two: Term) -> tuple[Element, Element]:
    pairs = sorted(zip(one.points, two.points, strict=True))  # type: ignore[union-attr]
    return triangle(*(a for a, _ in pairs)), triangle(*(b for _, b in pairs))


def turned(goal: Statement) -> Statement:
    """Return a goal with its sides exchanged; a first triangle stays alphabetical."""
    one, two = goal.right[0], goal.left[0]
    if isinstance(one, Element) and one.kind == "triangle":
        first, second = _lined_up(one, two)
        return Statement(goal.relation, (first,), (second,))
    return Statement(goal.relation, (one,), (two,))


def spelled(element: Element) -> str:
    """Return an element as the published lists write it: "∠ A B C", "∠A", "A B"."""
    sign = {"segment": "", "angle": "∠", "triangle": "△"}[element.kind]
    if len(element.points) == 1:
        return sign + element.points[0]
    return f"{sign} {' '.join(element.points)}".strip()
