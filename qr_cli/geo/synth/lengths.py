"""Calculation families about lengths in triangles and quadrilaterals."""

from __future__ import annotations

import math

from qr_cli.geo.synth.calculation import Calculation
from qr_cli.geo.synth.circles import TRIPLES
from qr_cli.geo.synth.dice import Dice
from qr_cli.geo.synth.figures import Figure, by_angles, by_sides, cis, meet, on
from qr_cli.geo.synth.phrases import (
    angle,
    length,
    midpoint,
    parallel,
    right,
    the_length,
)

_IN_ABC = ("in triangle ABC", "in △ABC")
_RIGHT_ABC = ("in triangle ABC", "in right triangle ABC", "in △ABC")
_PARALLELOGRAM = ("in parallelogram ABCD", "in the parallelogram ABCD")
_RECTANGLE = ("in rectangle ABCD", "in the rectangle ABCD")
_RHOMBUS = ("in rhombus ABCD", "in the rhombus ABCD")


def legs(d: Dice) -> dict[str, float]:
    """Return two legs: of a triple, or numbers that leave a root."""
    if d.chance(0.6):
        p, q, _ = d.pick(TRIPLES)
        k = d.pick((1, 1, 2, 3)) if p + q < 20 else 1
        return {"a": float(p * k), "b": float(q * k)}
    return {"a": d.length(2, 12), "b": d.length(2, 12)}


def hypotenuse_leg(d: Dice) -> dict[str, float]:
    """Return hypotenuse a and leg b."""
    if d.chance(0.6):
        q = legs(d)
        if (root := math.hypot(q["a"], q["b"])) == int(root):
            return {"a": root, "b": q["a"]}
    b = d.length(2, 10)
    return {"a": b + d.length(1, 8), "b": b}


def _right(d: Dice, a: float, b: float) -> Figure:
    """Return triangle ABC with the right angle at C, AC = a, BC = b."""
    return Figure({"A": complex(a), "B": complex(0, b), "C": 0j}, "ABCA")


def _leg(d: Dice, a: float, b: float) -> Figure:
    return _right(d, b, math.sqrt(a * a - b * b))


def _trig(d: Dice) -> dict[str, float]:
    return {"x": d.pick((30.0, 45.0, 60.0)), "a": d.length(2, 16)}


def _sine(d: Dice, x: float, a: float) -> Figure:
    t = math.radians(x)
    return _right(d, a * math.cos(t), a * math.sin(t))


def _tangent(d: Dice, x: float, a: float) -> Figure:
    return _right(d, a, a * math.tan(math.radians(x)))


def _midline(d: Dice, a: float) -> Figure:
    alpha, beta = d.between(40, 80), d.between(40, 70)
    t = by_angles(a, alpha, beta)
    t = {"A": t["C"], "B": t["A"], "C": t["B"]}
    points = {**t, "D": on(t["A"], t["B"], 0.5), "E": on(t["A"], t["C"], 0.5)}
    return Figure(points, "ADBCEA DE")


def _median(d: Dice, a: float) -> Figure:
    f = _sine(d, d.between(25, 65), a)
    f.points["D"] = on(f.points["A"], f.points["B"], 0.5)
    f.lines = "ADBCA CD"
    return f


def _cut(d: Dice, share: float, base: float, side: float) -> Figure:
    """Return triangle ABC with AB = side, BC = base, DE ∥ BC at this share of AB."""
    t = {"B": 0j, "C": complex(base), "A": side * cis(d.between(50, 85))}
    at = {n: t[n] for n in "ABC"}
    at |= {"D": on(t["A"], t["B"], share), "E": on(t["A"], t["C"], share)}
    return Figure(at, "ADBCEA DE")


def _parts(d: Dice) -> dict[str, float]:
    return {"a": d.length(2, 9), "b": d.length(2, 9), "c": d.length(2, 10)}


def _bowtie(d: Dice, a: float, b: float, c: float) -> Figure:
    """Return AB ∥ CD with AD and BC meeting at O: OA = a, OD = b, AB = c."""
    at_a = complex(a)
    at_b = at_a + c * cis(180 - d.between(50, 100))
    points = {"A": at_a, "B": at_b, "C": -at_b * b / a, "D": -at_a * b / a, "O": 0j}
    return Figure(points, "AB CD AOD BOC")


def _shadow(d: Dice, a: float, b: float, c: float) -> Figure:
    """Return a pole AB with shadow BC and a tree DE with shadow EC: heights a, a / b * c."""
    height = a / b * c
    points = {"A": complex(-b, a), "B": complex(-b), "C": 0j, "D": complex(-c, height),
              "E": complex(-c)}  # fmt: skip
    return Figure(points, "DAC EBC AB DE", right=("ABC", "DEC"))


def _shadow_numbers(d: Dice) -> dict[str, float]:
    b = d.length(1, 6)
    c = b + d.length(1, 9)
    return {"a": d.length(1, 6), "b": b, "c": c}


def _mirror(d: Dice, a: float, b: float, c: float) -> Figure:
    """Return a person AB, a mirror at M, a tower CD: AB = a, BM = b, MD = c."""
    points = {
        "A": complex(-b, a), "B": complex(-b), "M": 0j, "C": complex(c, a / b * c), "D": complex(c),
    }  # fmt: skip
    return Figure(points, "AB BMD DC AM MC", right=("ABM", "CDM"))


def _rectangle(d: Dice, a: float, b: float) -> Figure:
    points = {"A": 0j, "B": complex(a), "C": complex(a, b), "D": complex(0, b)}
    return Figure(points, "ABCDA AC", right=("ABC",))


def _rhombus(d: Dice, a: float, b: float) -> Figure:
    """Return a rhombus with the diagonals AC = a and BD = b."""
    points = {
        "A": complex(-a / 2), "B": complex(0, -b / 2), "C": complex(a / 2), "D": complex(0, b / 2),
        "O": 0j,
    }  # fmt: skip
    return Figure(points, "ABCDA AOC BOD")


def _parallelogram(d: Dice, a: float, b: float) -> Figure:
    side = b * cis(d.between(50, 80))
    return Figure({"A": 0j, "B": complex(a), "C": a + side, "D": side}, "ABCDA")


def _bisected(d: Dice, a: float, b: float) -> Figure:
    """Return triangle ABC with the perpendicular bisector DE of BC, D on AC: AB = a, AC = b."""
    return _with_bisector(by_sides(b - a + d.between(0.8, 1.4) * a, b, a))


def _bisected_by(d: Dice, a: float, b: float) -> Figure:
    """Return the same with BE = a and AB + AC = b."""
    short = b / 2 - d.between(0.2, 0.7) * a
    return _with_bisector(by_sides(2 * a, b - short, short))


def _with_bisector(t: dict[str, complex]) -> Figure:
    e = on(t["B"], t["C"], 0.5)
    at = meet(e, e + 1j * (t["C"] - t["B"]), t["A"], t["C"])
    return Figure({**t, "D": at, "E": e}, "ABECDA DE BD")


def _bisector_numbers(d: Dice) -> dict[str, float]:
    a = d.length(4, 12)
    return {"a": a, "b": a + d.length(1, 5)}


def _two_sided(d: Dice, a: float, b: float, c: float) -> Figure:
    """Return triangle ABC with DE ∥ BC: AD = a, DB = b, AE = c."""
    turn, whole = cis(d.between(45, 85)), (a + b) / a
    points = {"A": 0j, "B": complex(a + b), "C": c * whole * turn, "D": complex(a), "E": c * turn}
    return Figure(points, "ADBCEA DE")


def _between(d: Dice, p: float, q: float) -> float:
    """Return a third side for two sides."""
    return d.length(int(abs(p - q)) + 1, int(p + q) - 1)


def _diagonals(a: float, b: float, c: float) -> Figure:
    """Return a parallelogram with AC = a, BD = b, AB = c."""
    t = by_sides(b / 2, a / 2, c)
    points = {n: t[n] - t["C"] for n in "AB"}
    points |= {"C": -points["A"], "D": -points["B"], "O": 0j}
    return Figure(points, "ABCDA AOC BOD")


LENGTHS = (
    Calculation(
        "hypotenuse", "length", _RIGHT_ABC, (right("C"), length("AC", "a"), length("BC", "b")),
        the_length("AB"), "gougu_add a b", legs, _right, ("CA⟂CB", "AC=a", "BC=b"), "AB",
        ("gougu_minus a b", "g_add a b", "g_mul a b", "g_minus a b"),
    ),
    Calculation(
        "leg", "length", _RIGHT_ABC, (right("C"), length("AB", "a"), length("AC", "b")),
        the_length("BC"), "gougu_minus a b", hypotenuse_leg, _leg,
        ("CA⟂CB", "AB=a", "AC=b"), "BC", ("gougu_add a b", "g_minus a b", "g_add a b"),
    ),
    Calculation(
        "sine-leg", "length", _RIGHT_ABC, (right("C"), angle("A", "x"), length("AB", "a")),
        the_length("BC"), "g_sin x g_mul a V_0", _trig, _sine,
        ("CA⟂CB", "BAC=x", "AB=a"), "BC",
        ("g_cos x g_mul a V_0", "g_tan x g_mul a V_0", "g_sin x g_divide a V_0"),
    ),
    Calculation(
        "cosine-leg", "length", _RIGHT_ABC, (right("C"), angle("A", "x"), length("AB", "a")),
        the_length("AC"), "g_cos x g_mul a V_0", _trig, _sine,
        ("CA⟂CB", "BAC=x", "AB=a"), "AC",
        ("g_sin x g_mul a V_0", "g_tan x g_mul a V_0", "g_cos x g_divide a V_0"),
    ),
    Calculation(
        "tangent-leg", "length", _RIGHT_ABC, (right("C"), angle("A", "x"), length("AC", "a")),
        the_length("BC"), "g_tan x g_mul a V_0", _trig, _tangent,
        ("CA⟂CB", "BAC=x", "AC=a"), "BC",
        ("g_sin x g_mul a V_0", "g_cos x g_mul a V_0", "g_tan x g_divide a V_0"),
    ),
    Calculation(
        "sine-ratio", "other", _RIGHT_ABC, (right("C"), length("AB", "a"), length("AC", "b")),
        ("sin A", "the value of sin A", "the sine of angle A"), "gougu_minus a b g_divide V_0 a",
        hypotenuse_leg, _leg, ("CA⟂CB", "AB=a", "AC=b"), "sin BAC",
        ("g_divide b a", "gougu_minus a b g_divide V_0 b", "gougu_minus a b g_divide b V_0"),
    ),
    Calculation(
        "cosine-ratio", "other", _RIGHT_ABC, (right("C"), length("AB", "a"), length("BC", "b")),
        ("cos A", "the value of cos A", "the cosine of angle A"), "gougu_minus a b g_divide V_0 a",
        hypotenuse_leg, lambda d, a, b: _right(d, math.sqrt(a * a - b * b), b),
        ("CA⟂CB", "AB=a", "BC=b"), "cos BAC",
        ("g_divide b a", "gougu_minus a b g_divide b V_0", "gougu_minus a b g_divide V_0 b"),
    ),
    Calculation(
        "tangent-ratio", "other", _RIGHT_ABC, (right("C"), length("AB", "a"), length("AC", "b")),
        ("tan A", "the value of tan A", "the tangent of angle A"),
        "gougu_minus a b g_divide V_0 b", hypotenuse_leg, _leg,
        ("CA⟂CB", "AB=a", "AC=b"), "tan BAC",
        ("g_divide b a", "gougu_minus a b g_divide V_0 a", "gougu_minus a b g_divide b V_0"),
    ),
    Calculation(
        "midline", "length", _IN_ABC,
        (("D and E are the midpoints of AB and AC", "DE is a midline with D on AB and E on AC"),
         length("BC", "a")), the_length("DE"), "g_half a", lambda d: {"a": d.length(3, 24)},
        _midline, ("AD=DB", "AE=EC", "BC=a"), "DE",
        ("g_double a", "g_equal a", "g_half a g_half V_0"),
    ),
    Calculation(
        "midline-back", "length", _IN_ABC,
        (("D and E are the midpoints of AB and AC", "DE is a midline with D on AB and E on AC"),
         length("DE", "a")), the_length("BC"), "g_double a", lambda d: {"a": d.length(2, 15)},
        lambda d, a: _midline(d, 2 * a), ("AD=DB", "AE=EC", "DE=a"), "BC",
        ("g_half a", "g_equal a", "g_double a g_double V_0"),
    ),
    Calculation(
        "median-to-hypotenuse", "length", _RIGHT_ABC,
        (right("ACB"), midpoint("D", "AB"), length("AB", "a")), the_length("CD"), "g_half a",
        lambda d: {"a": d.length(3, 24)}, _median, ("CA⟂CB", "AD=DB", "AB=a"), "CD",
        ("g_double a", "g_equal a", "g_half a g_half V_0"),
    ),
    Calculation(
        "parallel-whole", "length", _IN_ABC,
        (parallel("DE", "BC"), ("D is on AB and E is on AC", "D lies on AB and E lies on AC"),
         length("AD", "a"), length("DB", "b"), length("DE", "c")), the_length("BC"),
        "g_add a b g_bili V_0 a c", _parts,
        lambda d, a, b, c: _cut(d, a / (a + b), c * (a + b) / a, a + b),
        ("DE∥BC", "D:AB", "E:AC", "AD=a", "DB=b", "DE=c"), "BC",
        ("g_bili b a c", "g_bili a b c", "g_add a b g_bili a V_0 c", "g_add a b g_bili V_0 b c"),
    ),
    Calculation(
        "parallel-part", "length", _IN_ABC,
        (parallel("DE", "BC"), ("D is on AB and E is on AC", "D lies on AB and E lies on AC"),
         length("AD", "a"), length("DB", "b"), length("BC", "c")), the_length("DE"),
        "g_add a b g_bili a V_0 c", _parts,
        lambda d, a, b, c: _cut(d, a / (a + b), c, a + b),
        ("DE∥BC", "D:AB", "E:AC", "AD=a", "DB=b", "BC=c"), "DE",
        ("g_bili a b c", "g_bili b a c", "g_add a b g_bili b V_0 c", "g_add a b g_bili V_0 a c"),
    ),
    Calculation(
        "parallel-sides", "length", _IN_ABC,
        (parallel("DE", "BC"), ("D is on AB and E is on AC", "D lies on AB and E lies on AC"),
         length("AD", "a"), length("DB", "b"), length("AE", "c")), the_length("EC"),
        "g_bili b a c", _parts, _two_sided,
        ("DE∥BC", "D:AB", "E:AC", "AD=a", "DB=b", "AE=c"), "EC",
        ("g_bili a b c", "g_add a b g_bili V_0 a c", "g_add a b g_bili a V_0 c"),
    ),
    Calculation(
        "crossing-similar", "length", (),
        (parallel("AB", "CD"), ("AD and BC meet at O", "AD and BC intersect at point O"),
         length("OA", "a"), length("OD", "b"), length("AB", "c")), the_length("CD"),
        "g_bili b a c", _parts, _bowtie,
        ("AB∥CD", "O:AD", "O:BC", "OA=a", "OD=b", "AB=c"), "CD",
        ("g_bili a b c", "g_add a b g_bili V_0 a c", "g_add a b g_bili b V_0 c"),
    ),
    Calculation(
        "shadow", "length", (),
        (("a vertical pole AB is {a} high", "the vertical pole AB has height {a}"),
         ("its shadow BC is {b} long", "the pole casts a shadow BC of {b}"),
         ("at the same time a vertical tree DE casts a shadow EC of {c}",
          "the shadow EC of a vertical tree DE is {c} long")),
        ("the height of the tree", "the height of tree DE"), "g_bili a b c", _shadow_numbers,
        _shadow, ("AB=a", "BC=b", "EC=c", "AB∥DE", "AB⟂BC", "AC∥DC"), "DE",
        ("g_bili b a c", "g_mul a c", "g_divide c b", "g_bili c a b"), sure=True,
    ),
    Calculation(
        "mirror", "length", (),
        (("a person AB is {a} tall", "the height of a person AB is {a}"),
         ("a mirror lies at M on the ground and BM = {b}",
          "there is a mirror at M on the ground with BM = {b}"),
         ("the distance MD from the mirror to a tower CD is {c}",
          "a tower CD is seen in the mirror with MD = {c}")),
        ("the height of the tower", "the height of tower CD"), "g_bili a b c", _shadow_numbers,
        _mirror, ("AB=a", "BM=b", "MD=c", "AB∥CD", "AB⟂BM", "AMB=CMD"), "CD",
        ("g_bili b a c", "g_mul a c", "g_divide c b", "g_bili c a b"), sure=True,
    ),
    Calculation(
        "rectangle-diagonal", "length", _RECTANGLE, (length("AB", "a"), length("BC", "b")),
        ("AC", "the diagonal AC", "the length of diagonal AC"), "gougu_add a b", legs, _rectangle,
        ("AB⟂BC", "AB=DC", "AD=BC", "AB=a", "BC=b"), "AC",
        ("g_add a b", "gougu_minus a b", "g_mul a b", "g_add a b g_double V_0"),
    ),
    Calculation(
        "rhombus-side", "length", _RHOMBUS,
        (("the diagonal AC is {a}", "diagonal AC = {a}", "AC = {a}"),
         ("the diagonal BD is {b}", "diagonal BD = {b}", "BD = {b}")),
        ("AB", "the side AB", "the length of side AB"),
        "g_half a g_half b gougu_add V_0 V_1",
        lambda d: {k: 2 * v for k, v in legs(d).items()}, _rhombus,
        ("AC⟂BD", "AC=a", "BD=b", "AB=BC", "BC=CD"), "AB",
        ("gougu_add a b", "g_half a gougu_add b V_0", "g_half b gougu_add a V_0", "g_add a b"),
    ),
    Calculation(
        "parallelogram-perimeter", "length", _PARALLELOGRAM, (length("AB", "a"), length("BC", "b")),
        ("the perimeter of ABCD", "the perimeter of the parallelogram"),
        "g_add a b g_double V_0", lambda d: {"a": d.length(3, 15), "b": d.length(2, 12)},
        _parallelogram, ("AB∥DC", "AD∥BC", "AB=a", "BC=b"), "AB+BC+CD+DA",
        ("g_add a b", "g_mul a b", "g_double a", "g_double b"),
    ),
    Calculation(
        "parallelogram-side", "length", _PARALLELOGRAM,
        (("the perimeter is {a}", "the perimeter of ABCD is {a}"), length("AB", "b")),
        the_length("BC"), "g_half a g_minus V_0 b",
        lambda d: {"a": 2 * ((b := d.length(3, 12)) + d.length(2, 12)), "b": b},
        lambda d, a, b: _parallelogram(d, b, a / 2 - b),
        ("AB∥DC", "AD∥BC", "AB=b", "AB+BC+CD+DA=a"), "BC",
        ("g_minus a b", "g_half a", "g_double b g_minus a V_0", "g_half b g_minus a V_0"),
    ),
    Calculation(
        "diagonals-perimeter", "length", _PARALLELOGRAM,
        (("the diagonals meet at O", "the diagonals AC and BD intersect at point O"),
         length("AC", "a"), length("BD", "b"), length("AB", "c")),
        ("the perimeter of triangle AOB", "the perimeter of △AOB"),
        "g_add a b g_half V_0 g_add c V_1",
        lambda d: {"a": (a := 2 * d.length(4, 9)), "b": (b := 2 * d.length(4, 9)),
                   "c": _between(d, a / 2, b / 2)},
        lambda d, a, b, c: _diagonals(a, b, c), ("O:AC", "O:BD", "AC=a", "BD=b", "AB=c", "AB∥CD"),
        "AO+OB+AB",
        ("g_add a b g_add c V_0", "g_add a b g_half V_0", "g_half a g_add c V_0", "g_add a b"),
    ),
    Calculation(
        "bisector-perimeter", "length", _IN_ABC,
        (("the perpendicular bisector of BC meets AC at D and BC at E",
          "DE is the perpendicular bisector of BC with D on AC"),
         length("AB", "a"), length("AC", "b")),
        ("the perimeter of triangle ABD", "the perimeter of △ABD"), "g_add a b",
        _bisector_numbers, _bisected, ("EB=EC", "DE⟂BC", "D:AC", "AB=a", "AC=b"), "AB+BD+DA",
        ("g_double a g_add b V_0", "g_minus a b", "g_double b", "g_double a"),
    ),
    Calculation(
        "bisector-whole-perimeter", "length", _IN_ABC,
        (("the perpendicular bisector of BC meets AC at D and BC at E",
          "DE is the perpendicular bisector of BC with D on AC"),
         length("BE", "a"),
         ("the perimeter of triangle ABD is {b}", "the perimeter of △ABD is {b}")),
        ("the perimeter of triangle ABC", "the perimeter of △ABC"), "g_double a g_add b V_0",
        lambda d: {"a": d.length(2, 6), "b": d.length(14, 30)},
        _bisected_by,
        ("EB=EC", "DE⟂BC", "D:AC", "BE=a", "AB+BD+DA=b"), "AB+BC+CA",
        ("g_add a b", "g_double a g_minus b V_0", "g_double b g_add a V_0", "g_minus b a"),
    ),
)  # fmt: skip
