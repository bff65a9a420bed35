"""Calculation problems: a table row says words, numbers, figure, program; this makes the sample.

Quantities are x, y, z (degrees), a, b, c (lengths), k (a bare number) or r (a right angle said as a
number, which no program uses). The program is written with them; the order in which a text names
them makes them N_0, N_1, ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from qr_cli.geo.records import Problem
from qr_cli.geo.synth import ink
from qr_cli.geo.synth.dice import Dice
from qr_cli.geo.synth.family import (
    Family,
    Sample,
    Unsound,
    check_calculation,
    check_figure,
    measure,
    options,
    spelled,
    value,
    written,
)
from qr_cli.geo.synth.figures import Figure, renamed
from qr_cli.geo.synth.phrases import (
    PHRASES,
    Wordings,
    filled,
    letters,
    quantities_in,
    relettered,
    sentence,
)
from qr_cli.geo.text import normalize

DEGREES = "xyzr"
_ANGLE_SIGNS = ("°", "°", "°", "")
_LENGTH_SIGNS = ("", "", "", " cm", " cm", "cm", " m")


@dataclass(frozen=True)
class Calculation:
    """A row of the table.

    Attributes:
        name: the family's name.
        category: angle, length or area.
        place: where it all is, "in triangle ABC"; may be empty.
        facts: what is said, each in several wordings.
        asked: what is asked for, in several wordings.
        program: with quantities for numbers.
        numbers: draws the quantities.
        figure: the figure of the quantities; it may draw what the text leaves open.
        claims: what the figure must have (`family.holds`).
        target: what is measured on it, or "" where it shows no such thing.
        wrong: what a hasty reader computes.
        sure: whether the facts stay in this order.
        alike: quantities that may change places; the program takes them as the text names them.
    """

    name: str
    category: str
    place: Wordings
    facts: tuple[Wordings, ...]
    asked: Wordings
    program: str
    numbers: Callable[[Dice], dict[str, float]]
    figure: Callable[..., Figure]
    claims: tuple[str, ...]
    target: str
    wrong: tuple[str, ...]
    sure: bool = False
    alike: str = ""

    def family(self) -> Family:
        """Return the row as a family."""
        return Family(self.name, "calculation", PHRASES, self.make)

    def make(self, dice: Dice, split: str, reading: str | None = None) -> Sample:
        """Return a checked sample; a calculation has one reading."""
        quantities = self.numbers(dice)
        figure = self.figure(dice, **quantities)
        facts = [dice.pick(wordings) for wordings in self.facts]
        phrase, text = sentence(
            dice, self.name, split, self.place,
            facts if self.sure else dice.shuffled(facts), dice.pick(self.asked),
        )  # fmt: skip
        names = letters(dice, [p for p in figure.points if p.isupper()], split)
        problem, values, numbers = calculation_problem(
            dice, self, relettered(text, names), quantities
        )
        check_calculation(self.name, problem, values, numbers)
        check_figure(self.name, self.claims, figure.points, quantities)
        gold = values[problem.label or 0]
        if self.target and abs(measure(self.target, figure.points) - gold) > 1e-6 * max(1, gold):
            raise Unsound(f"{self.name}: {self.target} is not {gold} for {quantities}")
        _mark(dice, figure, self.claims)
        bound = bindings(self.claims, quantities_in(text), names)
        return finished(
            dice, problem, figure, names, self.name, phrase,
            bound=bound, target=called(self.target, names),
        )  # fmt: skip


def calculation_problem(
    dice: Dice, row: Calculation, text: str, quantities: Mapping[str, float]
) -> tuple[Problem, list[float], list[float]]:
    """Return the record, the values of its options and its numbers."""
    degree, unit = dice.pick(_ANGLE_SIGNS), dice.pick(_LENGTH_SIGNS)
    signs = {**dict.fromkeys(DEGREES, degree), "k": ""}
    known = {**quantities, "r": 90.0}
    printed = {name: f"{v:g}{signs.get(name, unit)}" for name, v in known.items()}
    raw, slotted, order = filled(text, printed)
    numbers = [known[name] for name in order]
    gold = value(row.program, quantities)
    top = 180.0 if row.category == "angle" else float("inf")
    values, label = options(dice, gold, [value(w, quantities) for w in row.wrong], top=top)
    sign = degree if row.category == "angle" else unit if row.category == "length" else ""
    problem = Problem(
        id="", task="calculation", text=raw, slot_text=normalize(slotted),
        numbers=tuple(numbers), choices=tuple(f"{spelled(v)}{sign}" for v in values), label=label,
        program=written(row.program, _ordered(order, row.alike)), category=row.category,
    )  # fmt: skip
    return problem, values, numbers


def _ordered(order: Sequence[str], alike: str) -> tuple[str, ...]:
    names = iter(sorted(alike))
    return tuple(next(names) if name in alike else name for name in order)


def bindings(
    claims: Sequence[str], order: Sequence[str], names: Mapping[str, str]
) -> tuple[str, ...]:
    """Return what each number of a text is the size of, "" where the figure shows no such thing."""
    known = {two: one for one, sign, two in (c.partition("=") for c in claims) if len(two) == 1}
    return tuple(called(known.get(name, ""), names) for name in order)


def called(name: str, names: Mapping[str, str]) -> str:
    """Return a segment as "A B", an angle as "angle A B C" or "angle 1"; "" for anything else."""
    if name.isdigit():
        return f"angle {name}"
    if not name.isupper() or len(name) not in (2, 3):
        return ""
    return ("angle " if len(name) == 3 else "") + " ".join(names[p] for p in name)


def finished(
    dice: Dice, problem: Problem, figure: Figure, names: Mapping[str, str], family: str,
    phrase: int, reading: str | None = None, relation: int | None = None, *,
    bound: tuple[str, ...] = (), target: str = "",
) -> Sample:  # fmt: skip
    """Return the sample with its letters, coordinates and view; the picture is drawn later."""
    figure = renamed(figure, names)
    points = {k: (v.real, v.imag) for k, v in sorted(figure.points.items()) if k.isupper()}
    return Sample(
        replace(problem, points=points), family, phrase, reading, relation, None, figure,
        ink.view(figure, dice), bound, target,
    )  # fmt: skip


def _mark(dice: Dice, figure: Figure, claims: Sequence[str]) -> None:
    """Give a figure some of the marks its claims call for."""
    if figure.right or figure.ticks or figure.arrows or figure.arcs:
        return
    groups = 0
    for claim in claims:
        if "⟂" in claim:
            one, two = claim.split("⟂")
            common = set(one) & set(two)
            if len(common) == 1 and dice.chance(0.8):
                (v,) = common
                figure.right = (*figure.right, one.replace(v, "") + v + two.replace(v, ""))
        elif "∥" in claim and dice.chance(0.5):
            groups += 1
            figure.arrows |= dict.fromkeys(map(figure.clear, claim.split("∥")), min(groups, 2))
        elif "=" in claim:
            one, two = claim.split("=")
            if len(one) == len(two) == 2 and one[0] != "O" and dice.chance(0.5):
                groups += 1
                figure.ticks |= {one: min(groups, 3), two: min(groups, 3)}
            elif len(one) == 3 and len(two) == 1 and dice.chance(0.4):
                figure.arcs[one] = ""
