"""Diagram families: one text for every reading; which one holds shows in the picture only.

Letters, numbers, wording and options are drawn before the reading, so nothing but the picture can
depend on it. The results of all readings are among the options: who reads no picture is at chance.
Where the numbers allow one of two fine classes only (the longer of two sides is the hypotenuse),
readings stay uniform and the class follows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from qr_cli.geo.synth.calculation import (
    Calculation,
    bindings,
    calculation_problem,
    called,
    finished,
)
from qr_cli.geo.synth.dice import Dice
from qr_cli.geo.synth.family import (
    Family,
    Sample,
    Unsound,
    check_calculation,
    check_figure,
    measure,
    value,
    written,
)
from qr_cli.geo.synth.figures import Figure, by_angles, by_sides, cis
from qr_cli.geo.synth.phrases import (
    PHRASES,
    Wordings,
    angle,
    length,
    letters,
    parallel,
    quantities_in,
    relettered,
    sentence,
    the_angle,
    the_length,
)


@dataclass(frozen=True)
class Diagram:
    """A diagram family.

    Attributes:
        name: the family's name.
        category: angle or length.
        facts: what is said, each in several wordings.
        asked: what is asked for.
        place: where it all is; may be empty.
        roles: the letters of text and figure.
        readings: what the picture may say, each with its program of quantities.
        relations: the reading of every fine class.
        numbers: draws the quantities.
        figure: the figure of a fine class and the quantities.
        claims: what every figure must have; "1" and "2" are the angles with these digits.
        target: what is measured on it.
        possible: tells whether a class can be drawn with these quantities.
    """

    name: str
    category: str
    place: Wordings
    facts: tuple[Wordings, ...]
    asked: Wordings
    roles: str
    readings: dict[str, str]
    relations: tuple[str, ...]
    numbers: Callable[[Dice], dict[str, float]]
    figure: Callable[..., Figure]
    claims: tuple[str, ...]
    target: str
    wrong: tuple[str, ...]
    possible: Callable[[int, dict[str, float]], bool] = lambda relation, quantities: True

    def family(self) -> Family:
        """Return the row as a family."""
        return Family(
            self.name, "diagram", PHRASES, self.make, len(self.relations), tuple(self.readings)
        )

    def make(self, dice: Dice, split: str, reading: str | None = None) -> Sample:
        """Return a checked sample; the reading is drawn last unless it is given."""
        quantities = self.numbers(dice)
        facts = dice.shuffled([dice.pick(wordings) for wordings in self.facts])
        asked = dice.pick(self.asked)
        phrase, text = sentence(dice, self.name, split, self.place, facts, asked)
        names = letters(dice, self.roles, split)
        text = relettered(text, names)
        programs = {r: self._program(r, quantities) for r in self.readings}
        first, *others = programs.values()
        row = _row(self, first, (*others, *self.wrong))
        problem, values, numbers = calculation_problem(dice, row, text, quantities)
        drawn = dice.pick(tuple(self.readings))
        chosen = drawn if reading is None else reading
        relation = dice.pick([
            i for i, r in enumerate(self.relations)
            if r == chosen and self.possible(i, quantities)
        ])  # fmt: skip
        gold = value(programs[chosen], quantities)
        label = next(i for i, v in enumerate(values) if abs(v - gold) < 1e-9)
        order = tuple(quantities_in(text))
        problem = replace(problem, label=label, program=written(programs[chosen], order))
        figure = self.figure(dice, relation, **quantities)
        self._check(problem, values, numbers, figure, quantities, gold)
        return finished(
            dice, problem, figure, names, self.name, phrase, chosen, relation,
            bound=bindings(self.claims, order, names), target=called(self.target, names),
        )  # fmt: skip

    def _program(self, reading: str, quantities: dict[str, float]) -> str:
        """Return the program of a reading; of two lengths the longer one is the minuend."""
        program = self.readings[reading]
        if "minus a b" in program and quantities["a"] < quantities["b"]:
            return program.replace("minus a b", "minus b a")
        return program

    def _check(
        self, problem: object, values: list[float], numbers: list[float], figure: Figure,
        quantities: dict[str, float], gold: float,
    ) -> None:  # fmt: skip
        check_calculation(self.name, problem, values, numbers)  # type: ignore[arg-type]
        for reading in self.readings:
            other = value(self._program(reading, quantities), quantities)
            if not any(abs(v - other) < 1e-9 for v in values):
                raise Unsound(f"{self.name}: {reading} gives {other}, no option of {values}")
        digits = {text: corner for corner, text in figure.arcs.items()}
        claims = []
        for claim in self.claims:
            one, sign, two = claim.partition("=")
            claims.append(digits.get(one, one) + sign + two)
        check_figure(self.name, claims, figure.points, quantities)
        if abs(measure(digits.get(self.target, self.target), figure.points) - gold) > 1e-6 * gold:
            raise Unsound(f"{self.name}: {self.target} is not {gold} for {quantities}")


def _row(family: Diagram, program: str, wrong: tuple[str, ...]) -> Calculation:
    """Return the row whose options are those of the family."""
    return Calculation(
        family.name, family.category, (), (), (), program, family.numbers, family.figure, (), "",
        wrong,
    )  # fmt: skip


# figures ----------------------------------------------------------------------------------------

# (both inside, both outside, one of each) x (same side, opposite sides of the transversal)
_PLACES = ("supplementary", "equal", "supplementary", "equal", "equal", "supplementary")


def _parallels(d: Dice, relation: int, x: float) -> Figure:
    """Return AB ∥ CD cut by EF with the angles 1 and 2; class = 2 * place + opposite."""
    place, opposite = divmod(relation, 2)
    inside = (True, True) if place == 0 else (False, False) if place == 1 else (True, False)
    if d.chance(0.5):
        inside = inside[::-1]
    top = d.chance(0.5)  # angle 1 at the upper line?
    right = d.chance(0.5)
    # the sector of angle 1: up or down, right or left; up-right and down-left have the turn's size
    up = inside[0] != top
    turn = x if up == right else 180 - x
    gap = d.between(1.5, 1.9)
    way = cis(turn)
    p = way * (gap / way.imag)
    ends = 1.9
    mean = p.real / 2
    points = {
        "A": complex(mean - ends, gap), "B": complex(mean + ends, gap),
        "C": complex(mean - ends), "D": complex(mean + ends),
        "E": p + 1.3 * way, "F": -1.3 * way, "p": p, "q": 0j,
    }  # fmt: skip
    figure = Figure(points, "ApB CqD EpqF")
    sides = (right, right != bool(opposite))
    for digit, at_top, within, side in zip("12", (top, not top), inside, sides, strict=True):
        high = within != at_top
        line = ("B" if side else "A") if at_top else ("D" if side else "C")
        cut = ("E" if high else "q") if at_top else ("p" if high else "F")
        figure.arcs[line + ("p" if at_top else "q") + cut] = digit
    if d.chance(0.5):
        figure.arrows = {"pB": 1, "qD": 1}
    return figure


def _crossing(d: Dice, relation: int, x: float) -> Figure:
    """Return lines AB and CD through O with the angles 1 and 2."""
    a, c = 2.0 * cis(0), 2.0 * cis(x)
    figure = Figure({"A": a, "B": -a, "C": c, "D": -c, "O": 0j}, "AOB COD", arcs={"AOC": "1"})
    figure.arcs["BOD" if relation == 0 else d.pick(("COB", "DOA"))] = "2"
    return figure


def _square(d: Dice, relation: int, a: float, b: float) -> Figure:
    """Return triangle ABC with its right angle at A, B or C; AB = a, BC = b stand beside them."""
    leg = math.sqrt(abs(a * a - b * b))
    sides = {
        0: (b, leg, a), 1: (b, math.hypot(a, b), a), 2: (b, leg, a),
    }[relation]  # fmt: skip
    corner = ("BAC", "ABC", "ACB")[relation]
    return Figure(
        by_sides(*sides), "ABCA", right=(corner,), sizes={"AB": f"{a:g}", "BC": f"{b:g}"}
    )  # fmt: skip


def _row_of_three(d: Dice, relation: int, a: float, b: float) -> Figure:
    """Return A, B, C on a line; dimension lines show AB and BC."""
    at_c = a + b if relation == 1 else a - b
    side = d.pick((1, -1))
    points = {"A": 0j, "B": complex(a), "C": complex(at_c)}
    order = sorted("ABC", key=lambda p: points[p].real)
    low, high = points[order[0]].real, points[order[2]].real
    beyond = 0.12 * (high - low)
    points |= {"l": complex(low - beyond), "r": complex(high + beyond)}
    return Figure(points, "l" + "".join(order) + "r", spans={"AB": 18.0 * side, "BC": -18.0 * side})


def _arc_of_c(d: Dice, relation: int, x: float) -> Figure:
    """Return AOB = x and C on the major (0) or minor (1) arc."""
    at = d.between(0.25, 0.75)
    c = x + at * (360 - x) if relation == 0 else at * x
    points = {"A": 2 * cis(0), "B": 2 * cis(x), "C": 2 * cis(c), "O": 0j}
    return Figure(points, "AOB ACB", ((0j, 2.0),))


def _ticked(d: Dice, relation: int, x: float) -> Figure:
    """Return a triangle with the angle A = x; ticks on AB, AC or CA, CB or BA, BC."""
    beta = ((180 - x) / 2, x, 180 - 2 * x)[relation]
    ticks = (("AB", "AC"), ("CA", "CB"), ("BA", "BC"))[relation]
    return Figure(
        by_angles(3.0, x, beta), "ABCA", ticks=dict.fromkeys(ticks, 2),
        arcs={"BAC": "", "ABC": "?"},
    )  # fmt: skip


def _marked(d: Dice, relation: int, x: float) -> Figure:
    """Return the angles over the chord AB at the centre and on the circle, one of them marked."""
    central = x if relation == 0 else 2 * x
    c = central + d.between(0.35, 0.65) * (360 - central)
    points = {"A": 2 * cis(0), "B": 2 * cis(central), "C": 2 * cis(c), "O": 0j}
    given, asked = ("AOB", "ACB") if relation == 0 else ("ACB", "AOB")
    return Figure(points, "AOB ACB", ((0j, 2.0),), arcs={given: "1", asked: "2"})


def _extension(d: Dice, relation: int, a: float, b: float) -> Figure:
    """Return triangle ABC with D on BC (0) or beyond C (1): BC = a, CD = b."""
    top = complex(a * d.between(0.25, 0.75), a * d.between(0.6, 0.9))
    points = {"A": top, "B": 0j, "C": complex(a), "D": complex(a - b if relation == 0 else a + b)}
    return Figure(points, "ABDCA AD" if relation == 0 else "ABCA CD")


def _legs(d: Dice) -> dict[str, float]:
    while True:
        a, b = float(2 + d.below(14)), float(2 + d.below(14))
        if a != b and max(a, b) < 5 * min(a, b):
            return {"a": a, "b": b}


def _not(d: Dice, low: int, high: int, barred: float) -> dict[str, float]:
    while abs((x := d.angle(low, high)) - barred) < 3:
        pass
    return {"x": x}


def _inner(d: Dice) -> dict[str, float]:
    a = d.length(4, 18)
    return {"a": a, "b": d.length(max(1, math.ceil(a / 4)), int(a * 0.75))}


_longer = {0: lambda q: q["b"] > q["a"], 1: lambda q: True, 2: lambda q: q["a"] > q["b"]}

ROWS = (
    Diagram(
        "which-parallel-angles", "angle", (),
        (parallel("AB", "CD"), ("line EF cuts AB and CD", "EF is a line that cuts AB and CD"),
         angle("1", "x")), the_angle("2"), "ABCDEF",
        {"equal": "g_equal x", "supplementary": "g_minus C_3 x"}, _PLACES,
        lambda d: _not(d, 35, 145, 90), _parallels, ("AB∥CD", "1=x"), "2",
        ("g_minus C_2 x", "g_half x", "g_minus C_3 x g_half V_0"),
    ),
    Diagram(
        "which-crossing-angles", "angle", (),
        (("lines AB and CD meet at O", "AB and CD intersect at point O"), angle("1", "x")),
        the_angle("2"), "ABCDO", {"vertical": "g_equal x", "adjacent": "g_minus C_3 x"},
        ("vertical", "adjacent"), lambda d: _not(d, 30, 150, 90), _crossing, ("1=x",), "2",
        ("g_minus C_2 x", "g_half x", "g_minus C_3 x g_half V_0"),
    ),
    Diagram(
        "which-right-angle", "length", (),
        (("triangle ABC is a right triangle", "△ABC has one right angle"), length("AB", "a"),
         length("BC", "b")), the_length("AC"), "ABC",
        {"hypotenuse": "gougu_add a b", "leg": "gougu_minus a b"}, ("leg", "hypotenuse", "leg"),
        _legs, _square, ("AB=a", "BC=b"), "AC", ("g_add a b", "g_minus a b", "g_mul a b"),
        lambda relation, q: _longer[relation](q),
    ),
    Diagram(
        "which-point-between", "length", (),
        (("A, B and C lie on one line", "points A, B and C are on a line"), length("AB", "a"),
         length("BC", "b")), the_length("AC"), "ABC",
        {"between": "g_add a b", "beyond": "g_minus a b"}, ("beyond", "between", "beyond"),
        _legs, _row_of_three, ("AB=a", "BC=b"), "AC",
        ("g_add a b g_half V_0", "gougu_add a b", "g_mul a b"),
        lambda relation, q: _longer[relation](q),
    ),
    Diagram(
        "which-arc", "angle", ("in circle O", "in the circle with centre O", "in ⊙O"),
        (("A, B and C lie on circle O", "points A, B and C are on the circle"), angle("AOB", "x")),
        the_angle("ACB"), "ABCO",
        {"major": "g_half x", "minor": "g_half x g_minus C_3 V_0"}, ("major", "minor"),
        lambda d: {"x": d.angle(70, 150)}, _arc_of_c, ("AOB=x", "OA=OB", "OB=OC"), "ACB",
        ("g_equal x", "g_minus C_3 x", "g_minus C_3 x g_half V_0"),
    ),
    Diagram(
        "which-equal-sides", "angle", (),
        (("triangle ABC is isosceles", "△ABC is an isosceles triangle"), angle("A", "x")),
        the_angle("B"), "ABC",
        {"AB=AC": "g_minus C_3 x g_half V_0", "CA=CB": "g_equal x",
         "BA=BC": "g_double x g_minus C_3 V_0"}, ("AB=AC", "CA=CB", "BA=BC"),
        lambda d: _not(d, 25, 78, 60), _ticked, ("BAC=x",), "ABC",
        ("g_minus C_3 x", "g_half x", "g_minus C_2 x"),
    ),
    Diagram(
        "which-marked-angle", "angle", ("in circle O", "in the circle with centre O", "in ⊙O"),
        (("A, B and C lie on circle O", "points A, B and C are on the circle"),
         ("∠1 and ∠2 stand on arc AB", "angle 1 and angle 2 stand on arc AB"), angle("1", "x")),
        the_angle("2"), "ABCO", {"centre": "g_half x", "circle": "g_double x"},
        ("centre", "circle"), lambda d: {"x": d.angle(35, 80)}, _marked,
        ("1=x", "OA=OB", "OB=OC"), "2", ("g_equal x", "g_minus C_3 x", "g_minus C_2 x"),
    ),
    Diagram(
        "which-side-of-C", "length", ("in triangle ABC", "in △ABC"),
        (("D is a point on line BC", "point D is on line BC"), length("BC", "a"),
         length("CD", "b")), the_length("BD"), "ABCD",
        {"on": "g_minus a b", "beyond": "g_add a b"}, ("on", "beyond"), _inner, _extension,
        ("BC=a", "CD=b"), "BD", ("g_add a b g_half V_0", "g_double a", "g_double b"),
    ),
)  # fmt: skip
DIAGRAMS = tuple(row.family() for row in ROWS)
