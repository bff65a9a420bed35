"""Calculation families about points on a line, circles measured, solids and areas."""

from __future__ import annotations

import math

from qr_cli.geo.synth.calculation import Calculation
from qr_cli.geo.synth.dice import Dice
from qr_cli.geo.synth.figures import Figure, cis, foot
from qr_cli.geo.synth.lengths import hypotenuse_leg, legs
from qr_cli.geo.synth.phrases import (
    length,
    lies,
    midpoint,
    perpendicular,
    right,
    the_length,
)

_RIGHT_ABC = ("in triangle ABC", "in right triangle ABC", "in △ABC")
_CIRCLE = ("in circle O", "in the circle with centre O", "in ⊙O")


def _altitude(d: Dice, a: float, b: float) -> Figure:
    """Return the right angle at C with AC = a, BC = b and the altitude CD."""
    f = _right(d, a, b)
    f.points["D"] = foot(0j, f.points["A"], f.points["B"])
    f.lines = "ADBCA CD"
    return f


def _ladder(d: Dice, a: float, b: float) -> Figure:
    return Figure(_right(d, b, math.sqrt(a * a - b * b)).points, "AB ACB")


def _slope(d: Dice, k: float, a: float) -> Figure:
    """Return a slope AB with BC ⟂ AC, BC / AC = k and AC = a."""
    return Figure({"A": 0j, "B": complex(a, a * k), "C": complex(a)}, "ABCA")


def _standing(d: Dice, a: float, b: float) -> Figure:
    """Return a parallelogram with AB = a and the height DE = b on AB."""
    lean = d.between(0.15, 0.7) * a
    points = {
        "A": 0j, "B": complex(a), "C": complex(a + lean, b), "D": complex(lean, b),
        "E": complex(lean),
    }  # fmt: skip
    return Figure(points, "AEBCDA DE", right=("DEB",))


def _cone(d: Dice, r: float, h: float) -> Figure:
    """Return the section of a cone: S above O, the base AB."""
    points = {"A": complex(-r), "B": complex(r), "S": complex(0, h), "O": 0j}
    return Figure(points, "SAOBS SO", right=("SOB",))


def _sector(d: Dice, r: float, x: float) -> Figure:
    return Figure({"A": r * cis(0), "B": r * cis(x), "O": 0j}, "OA OB", ((0j, r),))


def _disc(d: Dice, r: float) -> Figure:
    return Figure({"A": r * cis(0), "O": 0j}, "OA", ((0j, r),))


def _row(cuts: dict[str, float]) -> Figure:
    """Return points on a line by their distance from its start."""
    points = {name: complex(x) for name, x in cuts.items()}
    return Figure(points, "".join(sorted(points, key=cuts.__getitem__)))


def _rhombus(d: Dice, a: float, b: float) -> Figure:
    points = {"A": complex(-a / 2), "B": complex(0, -b / 2), "C": complex(a / 2),
              "D": complex(0, b / 2)}  # fmt: skip
    return Figure(points, "ABCDA AC BD")


def _right(d: Dice, a: float, b: float) -> Figure:
    return Figure({"A": complex(a), "B": complex(0, b), "C": 0j}, "ABCA")


def _cone_sector(d: Dice, a: float, x: float) -> Figure:
    """Return the section of the cone that a sector makes: slant a, radius x / 360 a."""
    r = a * x / 360
    return _cone(d, r, math.sqrt(a * a - r * r))


def _sector_numbers(d: Dice) -> dict[str, float]:
    return {"a": d.length(2, 12), "x": d.pick((30.0, 45.0, 60.0, 72.0, 90.0, 120.0, 135.0, 150.0))}


_RADIUS = ("the radius is {a}", "the radius of the circle is {a}", "the radius OA is {a}")
_BASE = ("the radius of its base is {a}", "the base radius is {a}", "its base has radius {a}")
_CONE = (
    "a cone has the vertex S and the base centre O",
    "there is a cone with vertex S and base centre O",
)
_SECTOR = ("OAB is a sector", "there is a sector OAB", "points A and B make the sector OAB")
_ON_AB = ("C lies on segment AB", "C is a point on segment AB")
_LATERAL = ("the lateral area of the cone", "the area of the lateral surface of the cone")

AREAS = (
    Calculation(
        "segment-sum", "length", (), (_ON_AB, length("AC", "a"), length("CB", "b")),
        the_length("AB"), "g_add a b", lambda d: {"a": d.length(2, 15), "b": d.length(2, 15)},
        lambda d, a, b: _row({"A": 0, "C": a, "B": a + b}), ("C:AB", "AC=a", "CB=b"), "AB",
        ("g_minus a b", "g_mul a b", "g_add a b g_half V_0", "g_double a"),
    ),
    Calculation(
        "segment-rest", "length", (), (_ON_AB, length("AB", "a"), length("AC", "b")),
        the_length("CB"), "g_minus a b",
        lambda d: {"a": (b := d.length(2, 12)) + d.length(1, 12), "b": b},
        lambda d, a, b: _row({"A": 0, "C": b, "B": a}), ("C:AB", "AB=a", "AC=b"), "CB",
        ("g_add a b", "g_half a", "g_minus a b g_half V_0", "g_double b"),
    ),
    Calculation(
        "segment-midpoint", "length", (), (midpoint("C", "AB"), length("AB", "a")),
        the_length("AC"), "g_half a", lambda d: {"a": d.length(3, 30)},
        lambda d, a: _row({"A": 0, "C": a / 2, "B": a}), ("C:AB", "AC=CB", "AB=a"), "AC",
        ("g_double a", "g_equal a", "g_half a g_half V_0"),
    ),
    Calculation(
        "half-of-rest", "length", (),
        (_ON_AB, midpoint("D", "CB"), length("AB", "a"), length("AC", "b")),
        the_length("CD"), "g_minus a b g_half V_0",
        lambda d: {"a": (b := d.length(2, 12)) + d.length(2, 14), "b": b},
        lambda d, a, b: _row({"A": 0, "C": b, "D": (a + b) / 2, "B": a}),
        ("C:AB", "CD=DB", "AB=a", "AC=b"), "CD",
        ("g_minus a b", "g_add a b g_half V_0", "g_half a", "g_half b"),
    ),
    Calculation(
        "altitude", "length", _RIGHT_ABC,
        (right("ACB"), perpendicular("CD", "AB"), lies("D", "AB"), length("AC", "a"),
         length("BC", "b")),
        the_length("CD"), "gougu_add a b g_mul a b g_divide V_1 V_0", legs, _altitude,
        ("CA⟂CB", "CD⟂AB", "D:AB", "AC=a", "BC=b"), "CD",
        ("gougu_add a b", "g_mul a b", "gougu_add a b g_half V_0", "g_mul a b g_half V_0"),
    ),
    Calculation(
        "ladder", "length", (),
        (("a ladder AB of {a} leans against a wall BC",
          "a ladder AB with length {a} leans on a wall BC"),
         ("its foot A is {b} from the wall", "the distance AC from its foot to the wall is {b}")),
        ("the height BC that the ladder reaches", "the height of B above the ground"),
        "gougu_minus a b", hypotenuse_leg, _ladder, ("AB=a", "AC=b", "BC⟂AC"), "BC",
        ("gougu_add a b", "g_minus a b", "g_add a b"), sure=True,
    ),
    Calculation(
        "slope", "length", (),
        (("AB is a slope with horizontal distance AC and height BC",
          "a slope AB has height BC and horizontal distance AC"),
         ("the gradient BC : AC is {k}", "the gradient of the slope is {k}"),
         ("the horizontal distance AC is {a}", "AC = {a}")),
        ("the length of slope AB", "the slope distance AB"), "g_mul k a gougu_add a V_0",
        lambda d: {"k": d.pick((0.5, 0.75, 0.8, 0.6, 0.4, 1.5)), "a": d.length(2, 16)}, _slope,
        ("BC⟂AC", "AC=a", "BC/AC=k"), "AB",
        ("g_mul k a", "gougu_add k a", "g_mul k a g_add a V_0", "g_mul k a gougu_minus a V_0"),
        sure=True,
    ),
    Calculation(
        "circle-area", "area", _CIRCLE, (_RADIUS,),
        ("the area of the circle", "the area of circle O"), "cal_circle_area a",
        lambda d: {"a": d.length(2, 20)}, lambda d, a: _disc(d, a), ("OA=a",), "",
        ("cal_circle_perimeter a", "g_half a cal_circle_area V_0",
         "g_double a cal_circle_area V_0"),
    ),
    Calculation(
        "circumference", "length", _CIRCLE, (_RADIUS,),
        ("the circumference of the circle", "the circumference of circle O"),
        "cal_circle_perimeter a", lambda d: {"a": d.length(2, 20)}, lambda d, a: _disc(d, a),
        ("OA=a",), "",
        ("cal_circle_area a", "g_half a cal_circle_perimeter V_0",
         "g_double a cal_circle_perimeter V_0"),
    ),
    Calculation(
        "cone-slant", "area", (),
        (_CONE, _BASE, ("the slant height SA is {b}", "its slant height is {b}")),
        _LATERAL, "cal_cone a b",
        lambda d: {"a": (a := d.length(2, 9)), "b": a + d.length(1, 9)},
        lambda d, a, b: _cone(d, a, math.sqrt(b * b - a * a)),
        ("OA=a", "SA=b", "SO⟂AB", "O:AB"), "",
        ("g_mul a b", "cal_circle_area a", "cal_circle_area b", "g_double a cal_cone b V_0"),
        sure=True,
    ),
    Calculation(
        "cone-height", "area", (), (_CONE, _BASE, ("its height is {b}", "the height SO is {b}")),
        _LATERAL, "gougu_add a b cal_cone a V_0", legs, lambda d, a, b: _cone(d, a, b),
        ("OA=a", "SO=b", "SO⟂AB", "O:AB"), "",
        ("cal_cone a b", "gougu_add a b cal_cone b V_0", "cal_circle_area a", "gougu_add a b"),
        sure=True,
    ),
    Calculation(
        "cone-from-sector", "length", (),
        (("a sector is rolled up to a cone with vertex S and base centre O",
          "a cone with vertex S and base centre O is made of a sector"),
         ("the radius of the sector is {a}", "the sector has radius {a}"),
         ("its central angle is {x}", "the central angle of the sector is {x}")),
        ("the radius of the base of the cone", "the base radius of the cone"), "g_bili x C_4 a",
        _sector_numbers, _cone_sector, ("SA=a", "SO⟂AB", "O:AB"), "OA",
        ("g_bili x C_3 a", "g_half a", "cal_circle_perimeter a g_bili x C_4 V_0", "g_equal a"),
        sure=True,
    ),
    Calculation(
        "arc-length", "length", (),
        (_SECTOR, ("its radius is {a}", "the radius OA is {a}", "OA = {a}"),
         ("its central angle is {x}", "∠AOB = {x}", "the central angle AOB is {x}")),
        ("the length of arc AB", "the arc length of AB"), "cal_circle_perimeter a g_bili x C_4 V_0",
        _sector_numbers, lambda d, a, x: _sector(d, a, x), ("OA=a", "OA=OB", "AOB=x"), "",
        ("cal_circle_area a g_bili x C_4 V_0", "cal_circle_perimeter a",
         "cal_circle_perimeter a g_bili x C_3 V_0", "g_bili x C_4 a"),
        sure=True,
    ),
    Calculation(
        "sector-area", "area", (),
        (_SECTOR, ("its radius is {a}", "the radius OA is {a}", "OA = {a}"),
         ("its central angle is {x}", "∠AOB = {x}", "the central angle AOB is {x}")),
        ("the area of the sector", "the area of sector OAB"), "cal_circle_area a g_bili x C_4 V_0",
        _sector_numbers, lambda d, a, x: _sector(d, a, x), ("OA=a", "OA=OB", "AOB=x"), "",
        ("cal_circle_perimeter a g_bili x C_4 V_0", "cal_circle_area a",
         "cal_circle_area a g_bili x C_3 V_0", "g_bili x C_4 a"),
        sure=True,
    ),
    Calculation(
        "right-triangle-area", "area", _RIGHT_ABC,
        (right("C"), length("AC", "a"), length("BC", "b")),
        ("the area of triangle ABC", "the area of △ABC"), "g_mul a b g_half V_0", legs, _right,
        ("CA⟂CB", "AC=a", "BC=b"), "#ABC",
        ("g_mul a b", "gougu_add a b", "g_add a b", "g_add a b g_half V_0"),
    ),
    Calculation(
        "rhombus-area", "area", ("in rhombus ABCD", "in the rhombus ABCD"),
        (("the diagonal AC is {a}", "diagonal AC = {a}", "AC = {a}"),
         ("the diagonal BD is {b}", "diagonal BD = {b}", "BD = {b}")),
        ("the area of ABCD", "the area of the rhombus"), "g_mul a b g_half V_0",
        lambda d: {"a": d.length(3, 16), "b": d.length(3, 16)}, _rhombus,
        ("AC⟂BD", "AB=BC", "CD=DA", "AC=a", "BD=b"), "#ABCD",
        ("g_mul a b", "g_half a g_half b gougu_add V_0 V_1", "g_add a b", "g_add a b g_half V_0"),
    ),
    Calculation(
        "parallelogram-area", "area", ("in parallelogram ABCD", "in the parallelogram ABCD"),
        (perpendicular("DE", "AB"), lies("E", "AB"), length("AB", "a"), length("DE", "b")),
        ("the area of ABCD", "the area of the parallelogram"), "g_mul a b",
        lambda d: {"a": d.length(4, 15), "b": d.length(2, 10)}, _standing,
        ("AB∥DC", "AD∥BC", "DE⟂AB", "E:AB", "AB=a", "DE=b"), "#ABCD",
        ("g_mul a b g_half V_0", "g_add a b", "g_add a b g_double V_0", "gougu_add a b"),
    ),
)  # fmt: skip
