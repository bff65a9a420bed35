# ruff: noqa: E501 -- a pattern stands on one line
"""Givens and goal of a proving problem, read from its text.

The first group of forms is the grammar of the published problems; the second is how people say the
same. A sentence no form fits is kept in `not_understood`; nothing is guessed from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from qr_cli.errors import DataError
from qr_cli.geo.proof import (
    POINT,
    Element,
    Statement,
    Term,
    angle,
    parse_element,
    segment,
    triangle,
)
from qr_cli.geo.text import tidy

GivenKind = Literal["fact", "midpoint", "bisects", "equilateral", "supplementary"]


class Given(NamedTuple):
    """One given: its words, a statement for a fact, and the elements of any other kind.

    midpoint: (point as ∠m, segment); bisects: (segment vd, angle); equilateral: (triangle,);
    supplementary: (angle, angle).
    """

    kind: GivenKind
    text: str
    statement: Statement | None = None
    elements: tuple[Element, ...] = ()


@dataclass(frozen=True)
class ProofProblem:
    """A proving problem.

    Attributes:
        givens: what is given.
        goal: what is to be proved.
        elements: E_0, E_1, ..., as listed; empty when the text lists none.
        not_understood: sentences no form fits.
        points: coordinates by point, when the record has them.
        collinear: triples of points the record says lie on a line.
    """

    givens: tuple[Given, ...]
    goal: Statement
    elements: tuple[Element, ...] = ()
    not_understood: tuple[str, ...] = ()
    points: dict[str, tuple[float, float]] | None = field(default=None, compare=False)
    collinear: tuple[tuple[str, str, str], ...] = ()


_S = rf"(?:{POINT}\s*{POINT}(?!\s*{POINT}))"
_A = rf"(?:∠\s*(?:{POINT}\s*{POINT}\s*{POINT}|{POINT})(?!\s*{POINT}))"
_T = rf"(?:△\s*{POINT}\s*{POINT}\s*{POINT})"
_TERM = rf"(?:{_A}|{_S}|\d+\s*°?)"
_SUM = rf"{_TERM}(?:\s*\+\s*{_TERM})*"
_QUAD = rf"(?P<q>{POINT}\s*{POINT}\s*{POINT}\s*{POINT})"
_END = r"(?=\s*(?:$|[.,;]|and\b))"
_GOAL = re.compile(
    r"\b(?:complete\s+the\s+proof\s+that|(?:prove|show|demonstrate)(?:\s+that)?|to\s+prove)\b\s*:?",
    re.IGNORECASE,
)


def read_problem(
    text: str,
    *,
    elements: Sequence[str] | None = None,
    points: dict[str, tuple[float, float]] | None = None,
    collinear: Sequence[Sequence[str]] = (),
) -> ProofProblem:
    """Return a proving problem.

    Args:
        text: givens and goal, and perhaps ``(Elements: e0 , e1 , )``.
        elements: the elements, where the text does not list them.
        points: coordinates, y up.
        collinear: triples of points on a line.

    Raises:
        DataError: there is no goal, or the goal or an element cannot be read.
    """
    body, _, listed = text.removeprefix("Proving:").partition("(Elements:")
    names = list(elements or [e for e in listed.strip(" )").split(",") if e.strip()])
    given_text, goal_text = _parts(tidy(body))
    givens, strange = _read_clauses(given_text)
    goals, _ = _read_clauses(re.sub(r"without using the.*", "", goal_text))
    goal = next((g.statement for g in goals if g.statement), None)
    if goal is None:
        raise DataError(
            f"the goal is not understood: {goal_text.strip() or 'there is none'!r}",
            hint='"Given AB ∥ CD. Prove that ∠A = ∠C."',
        )
    return ProofProblem(
        tuple(givens),
        _as_goal(goal),
        tuple(parse_element(name) for name in names),
        tuple(strange),
        points,
        tuple((a, b, c) for a, b, c in collinear),
    )


def _parts(text: str) -> tuple[str, str]:
    found = list(_GOAL.finditer(text))
    if not found:
        raise DataError("the text says nothing to prove", hint='"... Prove that AB = CD."')
    last = found[-1]
    return text[: last.start()], text[last.end() :]


def _as_goal(goal: Statement) -> Statement:
    """Return a goal x = y of single elements as the congruence it means."""
    single = len(goal.left) == len(goal.right) == 1
    elements = isinstance(goal.left[0], Element) and isinstance(goal.right[0], Element)
    return (
        goal._replace(relation="congruent")
        if goal.relation == "equal" and single and elements
        else goal
    )


def _read_clauses(text: str) -> tuple[list[Given], list[str]]:
    """Return what the clauses of a text say, and the parts that say nothing known."""
    givens: list[Given] = []
    strange: list[str] = []
    rest = text.strip()
    while rest := _FILLER.sub("", rest):
        for pattern, make in _FORMS:
            if found := pattern.match(rest):
                givens += make(found)
                rest = rest[found.end() :]
                break
        else:
            part = re.match(r"[^.,;]+", rest)
            words = part[0] if part else rest
            strange.append(words.strip())
            rest = rest[len(words) :]
    return givens, strange


def _fact(found: re.Match[str]) -> list[Given]:
    return [Given("fact", found[0].strip(), _statement(found["l"], found["sign"], found["r"]))]


def _statement(left: str, sign: str, right: str) -> Statement:
    if "/" in left:
        sides = [tuple(parse_element(e) for e in side.split("/")) for side in (left, right)]
        return Statement("ratio", *sides)
    relation = {"≅": "congruent", "~": "similar", "∥": "parallel", "⟂": "vertical"}.get(
        sign, "equal"
    )
    return Statement(relation, _sum(left), _sum(right))  # type: ignore[arg-type]


def _sum(text: str) -> tuple[Term, ...]:
    return tuple(
        int(re.sub(r"\D", "", t)) if t.strip()[:1].isdigit() else parse_element(t)
        for t in text.split("+")
    )


def _midpoint(found: re.Match[str]) -> list[Given]:
    point = Element("angle", (found["p"],))
    return [
        Given("midpoint", found[0].strip(), None, (point, parse_element(s)))
        for s in re.findall(_S, found["s"])
    ]


def _bisects(found: re.Match[str]) -> list[Given]:
    line = parse_element(found["s"])
    return [
        Given("bisects", found[0].strip(), None, (line, parse_element(a)))
        for a in re.findall(_A, found["a"])
    ]


def _equilateral(found: re.Match[str]) -> list[Given]:
    return [Given("equilateral", found[0].strip(), None, (parse_element("△" + found["t"]),))]


def _supplementary(found: re.Match[str]) -> list[Given]:
    pair = (parse_element(found["l"]), parse_element(found["r"]))
    return [Given("supplementary", found[0].strip(), None, pair)]


def _right(found: re.Match[str]) -> list[Given]:
    statement = Statement("equal", (parse_element("∠" + found["v"]),), (90,))
    return [Given("fact", found[0].strip(), statement)]


def _right_in(found: re.Match[str]) -> list[Given]:
    a, b, c = re.findall(POINT, found["t"])
    vertex = found["v"]
    if vertex not in (a, b, c):
        return []
    one, two = [p for p in (a, b, c) if p != vertex]
    statement = Statement("vertical", (segment(one, vertex),), (segment(vertex, two),))
    return [Given("fact", found[0].strip(), statement)]


def _quadrilateral(found: re.Match[str]) -> list[Given]:
    a, b, c, d = re.findall(POINT, found["q"])
    name, text = found["kind"].lower(), found[0].strip()
    sides = [segment(a, b), segment(b, c), segment(c, d), segment(d, a)]
    facts = [
        Statement("parallel", (sides[0],), (sides[2],)),
        Statement("parallel", (sides[1],), (sides[3],)),
    ]
    if name in ("rectangle", "square"):
        corners = [(a, b, c), (b, c, d), (c, d, a), (d, a, b)]
        facts += [Statement("equal", (angle(*corner),), (90,)) for corner in corners]
    if name in ("rhombus", "square"):
        facts += [Statement("congruent", (sides[i],), (sides[i + 1],)) for i in range(3)]
    return [Given("fact", text, fact) for fact in facts]


def _isosceles(found: re.Match[str]) -> list[Given]:
    return [Given("fact", found[0].strip(), _statement(found["l"], "≅", found["r"]))]


_FILLER = re.compile(  # IN and IF are segments
    r"^(?:[\s.,;:]|(?:(?i:and|given|that|let|then|where|suppose|assume)|[Ii]n|[Ii]f)\b)+"
)
_Form = tuple[re.Pattern[str], Callable[[re.Match[str]], list[Given]]]
_FORMS: tuple[_Form, ...] = tuple(
    (re.compile(pattern, re.IGNORECASE if words else 0), make)
    for pattern, make, words in (
        (rf"(?P<p>{POINT})\s+is\s+the\s+midpoint\s+of\s+(?P<s>{_S}(?:\s+and\s+{_S}{_END})*)", _midpoint, False),
        (rf"(?P<s>{_S})\s+bisects\s+(?P<a>{_A}(?:\s+and\s+{_A}{_END})*)", _bisects, False),
        (rf"△\s*(?P<t>{POINT}\s*{POINT}\s*{POINT})\s+is\s+(?:an\s+)?equilateral(?:\s+triangle)?", _equilateral, False),
        (rf"(?P<l>{_A})\s+and\s+(?P<r>{_A})\s+are\s+supplementary", _supplementary, False),
        (rf"(?P<l>{_T})\s*(?P<sign>≅|~)\s*(?P<r>{_T})", _fact, False),
        (rf"(?P<l>{_A})\s*(?P<sign>≅)\s*(?P<r>{_A})", _fact, False),
        (rf"(?P<l>{_S})\s*(?P<sign>≅|∥|⟂)\s*(?P<r>{_S})", _fact, False),
        (rf"(?P<l>{_S}\s*/\s*{_S})\s*(?P<sign>=)\s*(?P<r>{_S}\s*/\s*{_S})", _fact, False),
        (rf"(?P<l>{_SUM})\s*(?P<sign>=)\s*(?P<r>{_SUM}){_END}", _fact, False),
        # how people say it
        (rf"∠\s*(?P<v>{POINT}(?:\s*{POINT}\s*{POINT})?)\s+is\s+a\s+right\s+angle", _right, False),
        (rf"△\s*(?P<t>{POINT}\s*{POINT}\s*{POINT})\s+(?:has\s+a\s+right\s+angle|is\s+right(?:[- ]angled)?)\s+at\s+(?P<v>{POINT})", _right_in, False),
        (rf"(?:the\s+)?right\s+angle\s+(?:is\s+)?at\s+(?P<v>{POINT})", _right, False),
        (rf"(?:the\s+|a\s+)?(?:quadrilateral\s+)?{_QUAD}\s+is\s+an?\s+(?P<kind>parallelogram|rectangle|rhombus|square)", _quadrilateral, False),
        (rf"(?:the\s+|a\s+)?(?P<kind>parallelogram|rectangle|rhombus|square)\s+{_QUAD}", _quadrilateral, False),
        (rf"{_T}\s+is\s+(?:an\s+)?isosceles(?:\s+triangle)?\s+with\s+(?P<l>{_S})\s*[=≅]\s*(?P<r>{_S})", _isosceles, False),
    )
)  # fmt: skip


def element_letters(problem: ProofProblem) -> list[Element]:
    """Return every element that givens and goal name, in order, each once."""
    found: dict[Element, None] = {}
    for given in problem.givens:
        statement = given.statement
        terms = statement.left + statement.right if statement else given.elements
        kept = terms[1:] if given.kind == "midpoint" else terms
        found |= dict.fromkeys(t for t in kept if isinstance(t, Element))
    goal = problem.goal.left + problem.goal.right
    return list(found | dict.fromkeys(t for t in goal if isinstance(t, Element)))


__all__ = ["Given", "ProofProblem", "element_letters", "read_problem", "triangle"]
