"""The proof language of UniGeo: elements, statements, steps, and one canonical form of each.

    proof := step+      step := R_k statement
    statement := E congruent E | E similar E | E parallel E | E vertical E
               | E / E = E / E | sum = sum

`vertical` is perpendicular. An element is a segment ``A B``, an angle ``∠X`` or ``∠ A X B``, or a
triangle ``△ A B C`` whose order of vertices matters. The grammar was read off the published proofs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import permutations
from typing import Any, Literal, NamedTuple

from qr_cli.errors import DataError

Kind = Literal["segment", "angle", "triangle"]
Relation = Literal["congruent", "similar", "parallel", "vertical", "ratio", "equal"]
CONSTANTS = {"C_2": 90, "C_3": 180, "C_4": 360}
_TOKEN = {value: name for name, value in CONSTANTS.items()}
SIGNS = {"congruent": "≅", "similar": "~", "parallel": "∥", "vertical": "⟂"}
POINT = r"[A-Z](?:_?\d+)?[′']*"


class Element(NamedTuple):
    """A segment (2 points), an angle (its vertex, or arm, vertex, arm) or a triangle (3)."""

    kind: Kind
    points: tuple[str, ...]

    @property
    def vertex(self) -> str:
        """The vertex of an angle."""
        return self.points[len(self.points) // 2]

    @property
    def arms(self) -> tuple[str, str] | None:
        """The outer points of an angle of three letters."""
        return (self.points[0], self.points[2]) if len(self.points) == 3 else None

    def __str__(self) -> str:
        return {"segment": "", "angle": "∠", "triangle": "△"}[self.kind] + "".join(self.points)


Term = Element | int


class Statement(NamedTuple):
    """A relation of two sides; a ratio a/b = c/d has the sides (a, b) and (c, d)."""

    relation: Relation
    left: tuple[Term, ...]
    right: tuple[Term, ...]

    def __str__(self) -> str:
        if self.relation == "ratio":
            return "/".join(map(str, self.left)) + " = " + "/".join(map(str, self.right))
        sides = [
            " + ".join(f"{t}°" if isinstance(t, int) else str(t) for t in side)
            for side in (self.left, self.right)
        ]
        return f" {SIGNS.get(self.relation, '=')} ".join(sides)


class Step(NamedTuple):
    """A reason's number and what it concludes."""

    reason: int
    statement: Statement


def segment(a: str, b: str) -> Element:
    """Return the segment ab; the order of its ends does not count."""
    return Element("segment", (a, b) if a <= b else (b, a))


def angle(*points: str) -> Element:
    """Return an angle of one or three letters; the order of its arms does not count."""
    if len(points) == 3 and points[0] > points[2]:
        points = points[::-1]
    return Element("angle", points)


def triangle(a: str, b: str, c: str) -> Element:
    """Return a triangle; the order of its vertices counts."""
    return Element("triangle", (a, b, c))


def normal(element: Element) -> Element:
    """Return an element with the letters that do not count in order."""
    if element.kind == "triangle":
        return element
    return segment(*element.points) if element.kind == "segment" else angle(*element.points)


@lru_cache(maxsize=200_000)
def canonical(statement: Statement) -> Statement:
    """Return the one form that all writings of a statement share."""
    relation, left, right = statement
    if relation in ("congruent", "similar") and left[0].kind == "triangle":  # type: ignore[union-attr]
        return _canonical_triangles(relation, left[0], right[0])  # type: ignore[arg-type]
    sides = [tuple(t if isinstance(t, int) else normal(t) for t in side) for side in (left, right)]
    if relation == "ratio":
        (a, b), (c, d) = sides
        ways = [(a, b, c, d), (c, d, a, b), (b, a, d, c), (d, c, b, a)]
        ways += [(a, c, b, d), (b, d, a, c), (c, a, d, b), (d, b, c, a)]
        a, b, c, d = min(ways, key=repr)
        return Statement("ratio", (a, b), (c, d))
    first, second = sorted((tuple(sorted(side, key=repr)) for side in sides), key=repr)
    return Statement(relation, first, second)


def _canonical_triangles(relation: Relation, one: Element, two: Element) -> Statement:
    ways = [
        (tuple(a.points[i] for i in order), tuple(b.points[i] for i in order))
        for a, b in ((one, two), (two, one))
        for order in permutations(range(3))
    ]
    first, second = min(ways)
    return Statement(relation, (triangle(*first),), (triangle(*second),))


def parse_element(text: str) -> Element:
    """Return the element a text names: ``A B``, ``∠X``, ``∠ A X B``, ``△ A B C``.

    Raises:
        DataError: it names none.
    """
    points = re.findall(POINT, text)
    sign = "".join(text.split())[:1]
    kind: Kind = "angle" if sign == "∠" else "triangle" if sign == "△" else "segment"
    sizes = {"angle": (1, 3), "triangle": (3,), "segment": (2,)}[kind]
    rest = re.sub(rf"{POINT}|[∠△\s]", "", text)
    if len(points) not in sizes or len(set(points)) < len(points) or rest:
        raise DataError(f"{text.strip()!r} is no segment, angle or triangle", hint='"∠ A B C"')
    return Element(kind, tuple(points))


def parse_proof(text: str | Sequence[str], elements: Sequence[Element]) -> list[Step]:
    """Return the steps of a proof.

    Args:
        text: its tokens, or text with white space between them.
        elements: what E_0, E_1, ... stand for.

    Raises:
        DataError: it does not parse; the message names the step (from 1).
    """
    tokens = text.split() if isinstance(text, str) else list(text)
    steps: list[Step] = []
    at = 0
    while at < len(tokens):
        place = len(steps) + 1
        found = re.fullmatch(r"R_(\d+)", tokens[at])
        if not found or int(found[1]) > 36:
            raise DataError(
                f"step {place}: {tokens[at]!r} is no reason (R_0 to R_36)", hint="qr list geo"
            )
        end = at + 1
        while end < len(tokens) and not tokens[end].startswith("R_"):
            end += 1
        steps.append(Step(int(found[1]), _statement(tokens[at + 1 : end], elements, place)))
        at = end
    if not steps:
        raise DataError("the proof has no step")
    return steps


def _statement(tokens: list[str], elements: Sequence[Element], place: int) -> Statement:
    terms: list[Any] = [_term(t, elements, place) for t in tokens]
    shape = " ".join(t if isinstance(t, str) else "E" for t in terms)
    values = [t for t in terms if not isinstance(t, str)]
    statement: Statement | None = None
    if match := re.fullmatch(r"E (congruent|similar|parallel|vertical) E", shape):
        statement = Statement(match[1], (values[0],), (values[1],))  # type: ignore[arg-type]
    elif shape == "E / E = E / E":
        statement = Statement("ratio", tuple(values[:2]), tuple(values[2:]))
    elif re.fullmatch(r"E( \+ E)* = E( \+ E)*", shape):
        left = shape.split("=")[0].count("E")
        statement = Statement("equal", tuple(values[:left]), tuple(values[left:]))
    if statement is None:
        raise DataError(f"step {place}: {' '.join(tokens)!r} is no statement")
    if fault := type_fault(statement):
        raise DataError(f"step {place}: {fault}")
    return statement


def _term(token: str, elements: Sequence[Element], place: int) -> Term | str:
    if token in CONSTANTS:
        return CONSTANTS[token]
    if found := re.fullmatch(r"E_(\d+)", token):
        if int(found[1]) >= len(elements):
            raise DataError(f"step {place}: {token} does not exist ({len(elements)} elements)")
        return elements[int(found[1])]
    return token


def type_fault(statement: Statement) -> str:
    """Return what is wrong with the kinds of a statement, or nothing."""
    relation, left, right = statement
    terms = left + right
    kinds = {"number" if isinstance(t, int) else t.kind for t in terms}
    need: dict[str, set[str]] = {
        "similar": {"triangle"}, "parallel": {"segment"},
        "vertical": {"segment"}, "ratio": {"segment"},
    }  # fmt: skip
    if relation in need:
        wrong = next((t for t in terms if isinstance(t, int) or t.kind not in need[relation]), None)
        (kind,) = need[relation]
        return "" if wrong is None else f"{relation} needs {kind}s, got {wrong}"
    if relation == "congruent":
        same = len(kinds) == 1 and "number" not in kinds
        return "" if same else f"congruent needs two elements of one kind, got {statement}"
    if kinds <= {"angle", "number"} and "angle" in kinds or kinds == {"segment"}:
        return ""
    return f"a sum is of angles and constants, or of segments: got {statement}"


def write_proof(steps: Sequence[Step], elements: Sequence[Element]) -> str:
    """Return steps as the text that `parse_proof` reads.

    Raises:
        KeyError: a step speaks of something that is not among the elements.
    """
    place = {
        key: f"E_{i}" for i, e in reversed(list(enumerate(elements))) for key in (normal(e), e)
    }
    words: list[str] = []
    for reason, (relation, left, right) in steps:
        sides = [
            [_TOKEN[t] if isinstance(t, int) else place.get(t) or place[normal(t)] for t in side]
            for side in (left, right)
        ]
        glue = " / " if relation == "ratio" else " + "
        sign = "=" if relation in ("ratio", "equal") else relation
        words.append(f"R_{reason} {glue.join(sides[0])} {sign} {glue.join(sides[1])}")
    return " ".join(words)
