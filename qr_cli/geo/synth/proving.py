"""Proofs: a schema says figure, givens and steps in letters of its own; this makes the sample.

Canonical writing: segments, outer letters and first triangles alphabetical, second triangles by
correspondence; the smaller operand first, except in the last step, which is worded as the goal;
neighbouring steps of one reason that do not use each other in alphabetical order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, permutations
from typing import NamedTuple

import numpy as np

from qr_cli.geo.checker import check
from qr_cli.geo.givens import Given, ProofProblem
from qr_cli.geo.proof import Element, Statement, Step, angle, segment, triangle, write_proof
from qr_cli.geo.records import Problem
from qr_cli.geo.synth.calculation import finished
from qr_cli.geo.synth.dice import Dice
from qr_cli.geo.synth.family import Family, Sample, Unsound
from qr_cli.geo.synth.figures import Figure, cross
from qr_cli.geo.synth.phrases import PROOF_PHRASES, letters, proof_text, spaced
from qr_cli.geo.synth.writing import (
    Names,
    place,
    read_given,
    read_statement,
    renamed,
    renamed_given,
    spelled,
    turned,
)

_VERIFIED: set[tuple[int, int, tuple[int, ...]]] = set()


@dataclass(frozen=True)
class Schema:
    """A kind of proof.

    Attributes:
        category: parallel, triangle, quadrilateral, congruent, similarity or proportions.
        figure: draws it, with the schema's letters.
        givens: "AB≅CD", "∠A≅∠C", "AB∥CD", "AB⟂CD", "AB/CD=EF/GH", "M mid AB", "AC bis ∠BAD",
            "ABC equi", "∠A sup ∠B".
        steps: "22 ∠BAC≅∠DCA"; the last may have several conclusions, "6 BC≅DA|∠B≅∠D".
        tail: what the goal ends with.
    """

    category: str
    figure: Callable[[Dice], Figure]
    givens: tuple[str, ...]
    steps: tuple[str, ...]
    tail: str = ""

    @property
    def reasons(self) -> str:
        """The numbers of its reasons, in order."""
        return "-".join(step.split()[0] for step in self.steps)

    @cached_property
    def parsed_givens(self) -> tuple[Given, ...]:
        """The givens, in the schema's letters."""
        return tuple(map(read_given, self.givens))

    @cached_property
    def parsed_steps(self) -> tuple[tuple[int, tuple[Statement, ...]], ...]:
        """Reason and possible conclusions of every step, in the schema's letters."""
        rows = (step.split(" ", 1) for step in self.steps)
        return tuple((int(r), tuple(map(read_statement, text.split("|")))) for r, text in rows)

    @cached_property
    def collinear(self) -> tuple[tuple[str, str, str], ...]:
        """The triples of points that lie on a line in every figure, the middle one second."""
        at = self.figure(Dice(np.random.default_rng(0))).points
        found = []
        for triple in combinations([p for p in at if p.isupper()], 3):
            a, m, b = sorted(triple, key=lambda p: at[p].real + 1e-3 * at[p].imag)
            u, v = at[m] - at[a], at[b] - at[a]
            if abs(cross(u, v)) <= 1e-7 * abs(u) * abs(v):
                found.append((a, m, b))
        return tuple(found)

    @cached_property
    def variants(self) -> tuple[tuple[Variant, ...], ...]:
        """For each conclusion, the ways to write its proof: itself and its mirror images.

        Where letters may change places without changing givens or conclusion, several proofs are as
        good; the one that comes first in the sample's letters is taken, or the answer would depend
        on letters nobody can see.
        """
        figure = self.figure(Dice(np.random.default_rng(0)))
        places = {p: (z.real, z.imag) for p, z in figure.points.items() if p.isupper()}
        reasons = [r for r, _ in self.parsed_steps]
        found = []
        for goal in self.parsed_steps[-1][1]:
            statements = [s[0] for _, s in self.parsed_steps[:-1]] + [goal]
            problem = ProofProblem(self.parsed_givens, goal, points=places)
            ways: dict[tuple[Statement, ...], Variant] = {}
            for names in _turns_of(self.parsed_givens, goal, sorted(places), figure):
                moved = tuple(renamed(s, names) for s in statements)
                steps = list(map(Step, reasons, moved))
                verdict = check(problem, steps)
                if moved not in ways and verdict.verdict == "verified":
                    uses = [set(step.uses) for step in verdict.steps]
                    ways[moved] = Variant(moved, _runs(reasons, uses))
            found.append(tuple(ways.values()))
        return tuple(found)


class Variant(NamedTuple):
    """A proof's statements, and its stretches of one reason that do not use each other."""

    statements: tuple[Statement, ...]
    runs: tuple[tuple[int, int], ...]


def _runs(reasons: Sequence[int], uses: Sequence[set[int]]) -> tuple[tuple[int, int], ...]:
    found, start = [], 0
    for i in range(1, len(reasons)):  # the last step is the goal and stays where it is
        if reasons[i] != reasons[start] or uses[i] & set(range(start, i)) or i == len(reasons) - 1:
            if i - start > 1:
                found.append((start, i))
            start = i
    return tuple(found)


_TURNS = (  # of the figures with lines: half a turn, both mirrors; two lines, three lines
    "AF BE CD JK", "AC DF", "AD BE CF JK", "AC DF GI", "AG BH CI JK", "AI BH CG DF JK",
    "DG EH FI", "AD BE CF",
)  # fmt: skip


def _turns_of(
    givens: Sequence[Given], goal: Statement, letters: Sequence[str], figure: Figure
) -> Iterator[dict[str, str]]:
    """Yield the exchanges of letters that change no given, goal or line, the identity first."""
    same = {p: p for p in letters}
    yield same
    lines = {frozenset(pair) for pair in figure.segments()}
    before = {_form(g, same) for g in givens}, renamed(goal, same)
    if len(letters) <= 6:
        ways = (dict(zip(letters, order, strict=True)) for order in permutations(letters))
    else:
        swaps = ({pair[0]: pair[1] for pair in turn.split()} for turn in _TURNS)
        ways = (
            same | swap | {b: a for a, b in swap.items()}
            for swap in swaps
            if set(swap) | set(swap.values()) <= set(letters)
        )
    for names in ways:
        if {frozenset(names[p] for p in pair) for pair in lines} != lines or names == same:
            continue
        if ({_form(g, names) for g in givens}, renamed(goal, names)) == before:
            yield names


def _form(given: Given, names: Names) -> tuple[str, object]:
    moved = renamed_given(given, names)
    return given.kind, moved.statement or moved.elements


@dataclass(frozen=True)
class Proof:
    """A family of proofs: the schemata that share their reasons."""

    name: str
    schemata: tuple[Schema, ...] = field(repr=False)

    def family(self) -> Family:
        """Return the family."""
        return Family(self.name, "proof", PROOF_PHRASES, self.make)

    def make(self, dice: Dice, split: str, reading: str | None = None) -> Sample:
        """Return a checked sample."""
        schema = dice.pick(self.schemata)
        figure = schema.figure(dice)
        roles = [p for p in figure.points if p.isupper()]
        names = letters(dice, roles, split, shuffle=0.7)
        chosen, steps = _written(dice, schema, names)
        goal = steps[-1].statement
        elements = _elements(steps)
        needed = len(elements)
        if dice.chance(0.3):
            elements = _with_surplus(dice, elements, figure, names)
        elements = dice.shuffled(elements)
        givens = [renamed_given(given, names) for given in schema.parsed_givens]
        phrase, text = proof_text(dice, self.name, split, givens, goal, schema.tail)
        points = {names[p]: (figure.points[p].real, figure.points[p].imag) for p in roles}
        collinear = tuple((names[a], names[m], names[b]) for a, m, b in schema.collinear)
        problem = Problem(
            id="", task="proving", text=text, slot_text=spaced(text), category=schema.category,
            elements=tuple(map(spelled, elements)), proof=write_proof(steps, elements),
            collinear=collinear,
        )  # fmt: skip
        seen = (id(schema), chosen, order_type(figure))
        if len(elements) > needed or seen not in _VERIFIED:
            posed = ProofProblem(
                tuple(givens), goal, tuple(elements), points=points, collinear=collinear
            )
            verdict = check(posed, steps)
            if verdict.verdict != "verified" or verdict.unused:
                raise Unsound(f"{self.name}: {text} {problem.proof} {problem.elements}: {verdict}")
            _VERIFIED.add(seen)
        mark(dice, figure, schema.parsed_givens)
        return finished(dice, problem, figure, names, self.name, phrase)


def order_type(figure: Figure) -> tuple[int, ...]:
    """Return on which side of every two points every third lies, and who lies between whom.

    The checker asks coordinates for nothing else (`board.py`), and letters mean nothing to it: what
    it says of one figure it says of every figure with the same order type.
    """
    at = [z for p, z in figure.points.items() if p.isupper()]
    found = []
    for a, b, c in combinations(at, 3):
        u, v = b - a, c - a
        turn = u.real * v.imag - u.imag * v.real
        if abs(turn) > 1e-3 * abs(u) * abs(v):
            found.append(1 if turn > 0 else -1)
        else:
            w = c - b
            inner = (u * v.conjugate()).real < 0, (u * w.conjugate()).real > 0
            found.append(2 if inner[0] else 3 if inner[1] else 4)
    return tuple(found)


# samples ---------------------------------------------------------------------------------------


def _written(dice: Dice, schema: Schema, names: Names) -> tuple[int, list[Step]]:
    """Return which conclusion was chosen, and the steps."""
    reasons = [r for r, _ in schema.parsed_steps]
    chosen = dice.below(len(schema.variants))
    best: list[Statement] | None = None
    for variant in schema.variants[chosen]:
        found = [renamed(s, names) for s in variant.statements]
        for start, end in variant.runs:
            found[start:end] = sorted(found[start:end], key=place)
        if best is None or list(map(place, found)) < list(map(place, best)):
            best = found
    if best is None:  # never: a schema has its own proof
        raise Unsound(f"{schema.reasons}: not verified on its own figure")
    *before, goal = best
    if goal.relation not in ("equal", "ratio") and dice.chance(0.4):
        goal = turned(goal)
    return chosen, list(map(Step, reasons, [*before, goal]))


def _elements(steps: Sequence[Step]) -> list[Element]:
    found = [
        t for s in steps for t in s.statement.left + s.statement.right if isinstance(t, Element)
    ]
    return list(dict.fromkeys(found))


def _with_surplus(
    dice: Dice, elements: list[Element], figure: Figure, names: Names
) -> list[Element]:
    """Return the elements and one to three more that the proof does not need."""
    known, more = {(e.kind, frozenset(e.points), e.vertex) for e in elements}, list(elements)
    at = {names[p]: z for p, z in figure.points.items() if p.isupper()}
    lines = [(names[a], names[b]) for a, b in figure.segments() if a in names and b in names]
    for _ in range(1 + dice.below(3)):
        kind = dice.pick(("segment", "angle", "triangle"))
        one: Element | None = None
        if kind == "segment":
            one = segment(*dice.pick(lines))
        else:
            a, v, b = dice.shuffled(list(at))[:3]
            u, w = at[a] - at[v], at[b] - at[v]
            if abs(cross(u, w)) > 0.05 * abs(u) * abs(w):
                one = angle(a, v, b) if kind == "angle" else triangle(*sorted((a, v, b)))
        key = one and (one.kind, frozenset(one.points), one.vertex)
        if one and key not in known and len(more) < 24:
            if one.kind != "triangle" or all(
                set(e.points) != set(one.points) for e in more if e.kind == "triangle"
            ):
                known.add(key)  # type: ignore[arg-type]
                more.append(one)
    return more


# marks ------------------------------------------------------------------------------------------


def mark(dice: Dice, figure: Figure, givens: Sequence[Given]) -> None:
    """Give a figure the marks of its givens, most of the time."""
    if dice.chance(0.3):
        return
    arcs: dict[str, int] = {}
    for found in givens:
        if found.kind == "midpoint":
            (m,), (a, b) = (e.points for e in found.elements)
            _alike(figure.ticks, [a + m, m + b])
        if found.statement is None or found.statement.relation == "ratio":
            continue
        one, two = found.statement.left[0], found.statement.right[0]
        if isinstance(one, int) or isinstance(two, int):
            continue
        pair = ["".join(one.points), "".join(two.points)]
        if found.statement.relation == "parallel":
            _alike(figure.arrows, [figure.clear(line) for line in pair])
        elif found.statement.relation == "vertical":
            common = set(one.points) & set(two.points)
            if len(common) == 1:
                (v,) = common
                figure.right += (pair[0].replace(v, "") + v + pair[1].replace(v, ""),)
        elif one.kind == "segment":
            _alike(figure.ticks, pair)
        elif one.kind == "angle" and len(pair[0]) == len(pair[1]) == 3:
            _alike(arcs, pair)
    figure.arcs |= {corner: "" if n == 1 else str(n) for corner, n in arcs.items()}


def _alike(marks: dict[str, int], names: Sequence[str]) -> None:
    """Give names the mark that one of them has already, or the next that is free."""
    known = [marks[name] for name in names if name in marks]
    count = known[0] if known else max(marks.values(), default=0) + 1
    marks |= dict.fromkeys(names, min(count, 3))


_TRIANGLES = re.compile(r"\d+ △")


def families(schemata: Sequence[Schema]) -> list[Family]:
    """Return the families of a table: its schemata by reasons, and those that stop a step before.

    A schema that ends with a part of congruent triangles also proves the congruence itself.
    """
    groups: dict[str, list[Schema]] = {}
    for schema in schemata:
        groups.setdefault(schema.reasons, []).append(schema)
    for schema in schemata:
        if schema.steps[-1].startswith("6 ") and _TRIANGLES.match(schema.steps[-2]):
            short = Schema(schema.category, schema.figure, schema.givens, schema.steps[:-1])
            if short.reasons not in {s.reasons for s in schemata}:
                groups.setdefault(short.reasons, []).append(short)
    return [Proof(f"proof-{name}", tuple(rows)).family() for name, rows in groups.items()]
