"""Figures of the proof schemata, in the letters of their tables."""

from __future__ import annotations

import math

from qr_cli.geo.synth.dice import Dice
from qr_cli.geo.synth.figures import Figure, by_angles, cis, foot, mirror, on


def parallelogram(d: Dice) -> Figure:
    """Return ABCD with the diagonal AC."""
    side = d.between(1.3, 2.2) * cis(d.between(50, 125))
    base = d.between(2.2, 3.0)
    return Figure({"A": 0j, "B": complex(base), "C": base + side, "D": side}, "ABCDA AC")


def outline(d: Dice) -> Figure:
    """Return a parallelogram ABCD without diagonals."""
    figure = parallelogram(d)
    figure.lines = "ABCDA"
    return figure


def rectangle(d: Dice, lines: str = "ABCDA AC") -> Figure:
    """Return ABCD with right angles."""
    a, b = d.between(2.2, 3.0), d.between(1.2, 2.0)
    points = {"A": 0j, "B": complex(a), "C": complex(a, b), "D": complex(0, b)}
    return Figure(points, lines)


def crossed_rectangle(d: Dice) -> Figure:
    """Return a rectangle with both diagonals."""
    return rectangle(d, "ABCDA AC BD")


def kite(d: Dice) -> Figure:
    """Return ABCD with AB = AD, CB = CD and the diagonal AC."""
    a, c = 0j, complex(3.0)
    b = by_angles(3.0, d.between(25, 60), d.between(30, 70))["C"]
    return Figure({"A": a, "B": b, "C": c, "D": mirror(b, a, c)}, "ABCDA AC")


def crossed_kite(d: Dice) -> Figure:
    """Return ABCD with BA = BC, DA = DC, its diagonals meeting at E."""
    f = kite(d).points
    points = {"B": f["A"], "A": f["B"], "D": f["C"], "C": f["D"]}
    points["E"] = foot(points["A"], points["B"], points["D"])
    return Figure(points, "ABCDA AEC BED")


def isosceles(d: Dice) -> Figure:
    """Return AB = AC with D in the middle of BC."""
    base, height = d.between(1.0, 1.7), d.between(1.6, 2.6)
    points = {"A": complex(0, height), "B": complex(-base), "C": complex(base), "D": 0j}
    return Figure(points, "ABDCA AD")


def crossing(d: Dice) -> Figure:
    """Return AC and BD halving each other at E; AB and CD are drawn."""
    a, b = d.between(1.3, 2.0) * cis(0), d.between(1.3, 2.0) * cis(d.between(55, 125))
    return Figure({"A": a, "B": b, "C": -a, "D": -b, "E": 0j}, "AEC BED AB CD")


def crossing_right(d: Dice) -> Figure:
    """Return the same with AB ⟂ AC and CD ⟂ AC."""
    turn, a = d.between(35, 60), d.between(1.2, 1.7)
    b = a / math.cos(math.radians(turn)) * cis(turn)
    return Figure({"A": complex(a), "B": b, "C": complex(-a), "D": -b, "E": 0j}, "AEC BED AB CD")


def crossing_mirror(d: Dice) -> Figure:
    """Return AC and BD meeting at E with EA = ED, right angles at A and D."""
    turn = d.between(35, 60)
    far = 1 / math.cos(math.radians(turn))
    a, at_d = cis(90 - turn), -1j
    points = {"A": a, "B": far * 1j, "C": -far * a, "D": at_d, "E": 0j}
    return Figure(points, "AEC BED AB CD")


def crossing_scaled(d: Dice) -> Figure:
    """Return AC and BD meeting at E in one ratio: AB ∥ CD."""
    a, b = d.between(1.0, 1.6) * cis(0), d.between(1.0, 1.6) * cis(d.between(55, 125))
    k = d.pick((0.6, 0.7, 1.4, 1.7))
    return Figure({"A": a, "B": b, "C": -k * a, "D": -k * b, "E": 0j}, "AEC BED AB CD")


def crossing_level(d: Dice) -> Figure:
    """Return AB ∥ CD with AC and BD meeting at E, angles A and B equal."""
    turn, k = d.between(60, 120), d.pick((0.6, 0.75, 1.4, 1.6))
    a, b = 1.3 * cis(90 + turn / 2), 1.3 * cis(90 - turn / 2)
    return Figure({"A": a, "B": b, "C": -k * a, "D": -k * b, "E": 0j}, "AEC BED AB CD")


def shifted(d: Dice) -> Figure:
    """Return triangles ABD and BCE, the second the first moved along the line ABC."""
    tip = d.between(1.3, 2.0) * cis(d.between(50, 110))
    points = {"A": 0j, "B": 1.5 + 0j, "C": 3 + 0j, "D": tip, "E": tip + 1.5}
    return Figure(points, "ABC AD DB BE EC")


def equilateral_crossing(d: Dice) -> Figure:
    """Return the equilateral triangle ABC with ABD and CBE straight, BD = BE."""
    a, c, k = 1.5 * cis(0), 1.5 * cis(60), d.between(0.6, 1.3)
    points = {"A": a, "B": 0j, "C": c, "D": -k * a, "E": -k * c}
    return Figure(points, "ABD CBE AC AE CD")


def equilateral_wings(d: Dice) -> Figure:
    """Return the equilateral triangle ABC with AD = BE, angles DAC and EBC equal."""
    c, out = complex(0, math.sqrt(3)), d.between(1.2, 2.0) * cis(d.between(140, 175))
    a = complex(-1)
    at_d = a + out
    points = {"A": a, "B": complex(1), "C": c, "D": at_d, "E": complex(-at_d.real, at_d.imag)}
    return Figure(points, "ABCA AD DC BE EC")


def overlapping(d: Dice) -> Figure:
    """Return AB = AC with D on AB, E on AC, AD = AE; BE and CD are drawn."""
    b, c = 2.4 * cis(-90 - (t := d.between(25, 40))), 2.4 * cis(-90 + t)
    k = d.between(0.4, 0.7)
    return Figure({"A": 0j, "B": b, "C": c, "D": k * b, "E": k * c}, "ADB AEC BE CD")


def two_similar(d: Dice) -> Figure:
    """Return similar triangles ABC and DEF."""
    t = by_angles(2.2, d.between(40, 80), d.between(35, 60))
    turn = cis(d.between(-40, 40)) * d.between(0.55, 0.8)
    other = {n: turn * p + 3.4 + 0.3j for n, p in zip("DEF", t.values(), strict=True)}
    return Figure({**t, **other}, "ABCA DEFD")


def cut(d: Dice) -> Figure:
    """Return triangle ABC with DE ∥ BC, D on AB, E on AC."""
    t = by_angles(3.0, d.between(45, 75), d.between(40, 70))
    a, b, c = t["C"], t["A"], t["B"]
    k = d.between(0.4, 0.65)
    return Figure({"A": a, "B": b, "C": c, "D": on(a, b, k), "E": on(a, c, k)}, "ADBCEA DE")


def level_cut(d: Dice) -> Figure:
    """Return the same with AB = AC."""
    height, k = d.between(1.8, 2.8), d.between(0.4, 0.65)
    a, b, c = complex(0, height), -1.3 + 0j, 1.3 + 0j
    return Figure({"A": a, "B": b, "C": c, "D": on(a, b, k), "E": on(a, c, k)}, "ADBCEA DE")


def altitude(d: Dice) -> Figure:
    """Return the right angle at C with CD ⟂ AB."""
    t = by_angles(3.0, x := d.between(28, 62), 90 - x)
    return Figure({**t, "D": foot(t["C"], t["A"], t["B"])}, "ADBCA CD")


def right_triangle(d: Dice) -> Figure:
    """Return the right angle at C."""
    return Figure(by_angles(3.0, x := d.between(28, 62), 90 - x), "ABCA")


def three_lines(d: Dice) -> Figure:
    """Return ABC ∥ DEF ∥ GHI cut by the line JBEHK, J on top."""
    way, gaps = cis(d.between(55, 125)), (d.between(0.9, 1.3), d.between(0.9, 1.3))
    b, e = (g * way / way.imag for g in (gaps[0] + gaps[1], gaps[1]))
    points: dict[str, complex] = {}
    for names, m in (("ABC", b), ("DEF", e), ("GHI", 0j)):
        points |= {names[0]: m - 1.5, names[1]: m, names[2]: m + 1.5}
    points |= {"J": b + 0.9 * way, "K": -0.9 * way}
    return Figure(points, "ABC DEF GHI JBEHK")


def two_lines(d: Dice) -> Figure:
    """Return ABC ∥ DEF cut by the line JBEK, J on top."""
    way = cis(d.between(55, 125))
    b = d.between(1.4, 1.8) * way / way.imag
    points = {"A": b - 1.6, "B": b, "C": b + 1.6, "D": -1.6 + 0j, "E": 0j, "F": 1.6 + 0j}
    return Figure({**points, "J": b + 1.1 * way, "K": -1.1 * way}, "ABC DEF JBEK")


def trapezoid(d: Dice) -> Figure:
    """Return AB ∥ CD with AD = BC and E beyond C on BC."""
    wide, narrow, height = 1.6, d.between(0.7, 1.1), d.between(1.1, 1.5)
    b, c = complex(wide), complex(narrow, height)
    points = {
        "A": complex(-wide),
        "B": b,
        "C": c,
        "D": complex(-narrow, height),
        "E": on(b, c, 1.5),
    }
    return Figure(points, "ABCDA CE")


def trapezoid_split(d: Dice) -> Figure:
    """Return AD ∥ BC with AB = CD, E on AD and BE ∥ CD."""
    wide, narrow, height = d.between(1.6, 2.0), d.between(0.6, 1.0), d.between(1.1, 1.7)
    a, b, c = complex(-wide), complex(-narrow, height), complex(narrow, height)
    at_d = complex(wide)
    return Figure({"A": a, "B": b, "C": c, "D": at_d, "E": at_d - c + b}, "AEDCBA BE")


def trapezoid_crossed(d: Dice) -> Figure:
    """Return AB ∥ CD with AC = BD; E on CD, AE ∥ BD; AD and BC are drawn."""
    f = trapezoid_split(d).points
    points = {"A": f["B"], "B": f["C"], "C": f["A"], "D": f["D"], "E": f["E"]}
    return Figure(points, "ACEDBA AE AD BC")


def angle_sum(d: Dice) -> Figure:
    """Return triangle ABC with D beyond B on AB and BE ∥ AC."""
    t = by_angles(2.2, d.between(45, 75), d.between(45, 75))
    points = {**t, "D": complex(3.6), "E": t["B"] + 0.8 * t["C"]}
    return Figure(points, "ABD AC CB BE")


def gate(d: Dice) -> Figure:
    """Return AB ⟂ BC and CD ⟂ BC, A and D on one side of BC."""
    width = d.between(1.4, 2.2)
    points = {
        "A": complex(0, d.between(1.0, 2.0)), "B": 0j, "C": complex(width),
        "D": complex(width, d.between(1.0, 2.0)),
    }  # fmt: skip
    return Figure(points, "ABCD")
