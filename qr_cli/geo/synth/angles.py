"""Calculation families about angles of triangles, parallels and quadrilaterals."""

from __future__ import annotations

from qr_cli.geo.synth.calculation import Calculation
from qr_cli.geo.synth.dice import Dice
from qr_cli.geo.synth.figures import Figure, by_angles, cis, foot, meet, on
from qr_cli.geo.synth.phrases import (
    angle,
    bisects,
    parallel,
    perpendicular,
    right,
    same,
    the_angle,
)

_IN_ABC = ("in triangle ABC", "in △ABC")
_ISOSCELES = (*_IN_ABC, "in isosceles triangle ABC")
_RIGHT_ABC = ("in triangle ABC", "in right triangle ABC", "in △ABC")
_ABCD = ("in quadrilateral ABCD", "in the quadrilateral ABCD")
_PARALLELOGRAM = ("in parallelogram ABCD", "in the parallelogram ABCD")


def _triangle(d: Dice, x: float, y: float) -> Figure:
    return Figure(by_angles(3.0, x, y), "ABCA")


def two_angles(d: Dice, *, most: int = 165) -> dict[str, float]:
    """Return two angles of a triangle."""
    x = d.angle(20, 110)
    y = d.angle(15, int(min(most - x, 110)))
    return {"x": x, "y": y}


def _isosceles(d: Dice, base: float) -> dict[str, complex]:
    """Return a triangle with AB = AC and these angles at B and C, A on top."""
    t = by_angles(3.0, base, base)
    return {"A": t["C"], "B": t["A"], "C": t["B"]}


def _tall(d: Dice, x: float) -> Figure:
    return Figure(_isosceles(d, (180 - x) / 2), "ABCA")


def _wide(d: Dice, x: float) -> Figure:
    return Figure(_isosceles(d, x), "ABCA")


def _exterior(d: Dice, x: float, y: float) -> Figure:
    t = by_angles(3.0, x, y)
    far = on(t["A"], t["B"], 1 + d.between(0.35, 0.6))
    return Figure({**t, "D": far}, "ABCA BD")


def _right_triangle(d: Dice, x: float) -> Figure:
    t = by_angles(3.0, x, 90 - x)
    return Figure(t, "ABCA")


def _cevian(d: Dice, base: float, share: float = 0.5) -> Figure:
    t = _isosceles(d, base)
    return Figure({**t, "D": on(t["B"], t["C"], share)}, "ABDCA AD")


def _bisected(d: Dice, x: float, y: float) -> Figure:
    """Return triangle ABC with AD bisecting angle A."""
    t = by_angles(3.0, x, y)
    d_at = meet(t["A"], cis(x / 2), t["B"], t["C"])
    return Figure({**t, "D": d_at}, "ABDCA AD")


def _parallels(d: Dice, x: float) -> Figure:
    """Return AB ∥ CD cut by EF, with E on AB and F on CD; angle BEF is x."""
    e, f = 0j, cis(-x) * 2.2
    half = 2.0
    points = {
        "A": e - half, "B": e + half, "C": f - half, "D": f + half, "E": e, "F": f,
    }  # fmt: skip
    return Figure({**points, "g": e - cis(-x) * 0.9, "h": f + cis(-x) * 0.9}, "AEB CFD gEFh")


def _zigzag(d: Dice, x: float) -> Figure:
    """Return AB ∥ CD with the transversal BC: alternate angles at B and C."""
    b = complex(2.0, 2.0)
    c = b + 2.4 * cis(180 + x)
    return Figure({"A": b - 2.2, "B": b, "C": c, "D": c + 2.2}, "AB BC CD")


def _bent(d: Dice, x: float, y: float) -> Figure:
    """Return AB ∥ CD and a point E between them; angle A is x, angle C is y."""
    a, e = 0j, 2.0 * cis(-x)
    c = e + d.between(1.4, 2.2) * cis(180 + y)
    return Figure({"A": a, "B": a + 2.6, "C": c, "D": c + 2.6, "E": e}, "AB AE EC CD")


def _bisector_parallels(d: Dice, x: float) -> Figure:
    """Return AB ∥ CD with E on AB, G on CD, angle EGD = x; EF bisects BEG, F on CD."""
    g = 2.4 * cis(180 + x)
    f = meet(0j, cis(180 + x + (180 - x) / 2), g, g + 1)
    points = {"A": -2.2 + 0j, "B": 1.6 + 0j, "C": g - 1.0, "D": f + 0.8, "E": 0j, "F": f, "G": g}
    return Figure(points, "AEB CGFD EG EF")


def _parallelogram(d: Dice, x: float) -> Figure:
    side = d.between(1.4, 2.4) * cis(x)
    return Figure({"A": 0j, "B": 3 + 0j, "C": 3 + side, "D": side}, "ABCDA")


def _rhombus(d: Dice, x: float) -> Figure:
    side = 3 * cis(x)
    return Figure({"A": 0j, "B": 3 + 0j, "C": 3 + side, "D": side}, "ABCDA AC BD")


def _quadrilateral(d: Dice, x: float, y: float, z: float) -> Figure:
    """Return a convex quadrilateral with these angles at A, B, C: lines about a circle, moved."""
    turns = [0.0]  # directions of the sides AB, BC, CD, DA
    for corner in (y, z, 360 - x - y - z):
        turns.append(turns[-1] + 180 - corner)
    for slack in (0.25, 0.1, 0.0):  # about the circle itself it always closes
        base = [(1 + slack * d.between(-1, 1)) * -1j * cis(t) for t in turns]
        lines = [(near, near + cis(t)) for near, t in zip(base, turns, strict=True)]
        a, b, c, at = (meet(*lines[i - 1], *lines[i]) for i in range(4))
        ahead = [
            ((q - p) * cis(-t)).real
            for p, q, t in zip((a, b, c, at), (b, c, at, a), turns, strict=True)
        ]
        if min(ahead) > 0.6:
            break
    return Figure({"A": a, "B": b, "C": c, "D": at}, "ABCDA")


def _three_angles(d: Dice) -> dict[str, float]:
    while True:
        x, y, z = d.angle(60, 125), d.angle(60, 125), d.angle(55, 125)
        if 50 <= 360 - x - y - z <= 130:
            return {"x": x, "y": y, "z": z}


def _pair(d: Dice, x: float, y: float) -> Figure:
    """Return two triangles of one size side by side."""
    return _beside(by_angles(2.2, x, y), cis(d.between(-40, 40)))


def _scaled_pair(d: Dice, x: float, y: float) -> Figure:
    return _beside(by_angles(2.2, x, y), cis(d.between(-40, 40)) * d.between(0.55, 0.8))


def _beside(t: dict[str, complex], turn: complex) -> Figure:
    other = {n: turn * p for n, p in zip("DEF", t.values(), strict=True)}
    gap = max(p.real for p in t.values()) - min(p.real for p in other.values()) + 0.7
    return Figure({**t, **{n: p + gap for n, p in other.items()}}, "ABCA DEFD")


def _perpendicular_bisector(d: Dice, x: float) -> Figure:
    """Return AB = AC; the perpendicular bisector of AB meets AC at D and AB at E."""
    t = _isosceles(d, (180 - x) / 2)
    e = (t["A"] + t["B"]) / 2
    at = meet(e, e + 1j * (t["B"] - t["A"]), t["A"], t["C"])
    return Figure({**t, "D": at, "E": e}, "AEBCDA DE BD")


def _altitude(d: Dice, x: float, y: float) -> Figure:
    t = by_angles(3.0, x, y)
    return Figure({**t, "D": foot(t["C"], t["A"], t["B"])}, "ADBCA CD")


def _crossing(d: Dice, x: float) -> Figure:
    a, c = 2.0 * cis(180.0), 1.8 * cis(180.0 - x)
    return Figure({"A": a, "B": -a, "C": c, "D": -c, "O": 0j}, "AOB COD")


def _ray_pair(d: Dice, x: float) -> Figure:
    """Return a straight AOB, OC with angle AOC = x, OD bisecting BOC."""
    return Figure(
        {
            "A": -2 + 0j,
            "B": 2 + 0j,
            "C": 1.9 * cis(180 - x),
            "D": 1.9 * cis((180 - x) / 2),
            "O": 0j,
        },
        "AOB OC OD",
    )


ANGLES = (
    Calculation(
        "triangle-sum", "angle", _IN_ABC, (angle("A", "x"), angle("B", "y")), the_angle("C"),
        "g_minus C_3 x g_minus V_0 y", two_angles, _triangle, ("BAC=x", "ABC=y"), "ACB",
        ("g_add x y", "g_minus C_3 x", "g_minus C_3 y", "g_minus x y"),
        alike="xy",
    ),
    Calculation(
        "exterior-angle", "angle", _IN_ABC,
        (angle("A", "x"), angle("C", "y"),
         ("D lies on the extension of AB beyond B", "D is a point on the extension of AB")),
        the_angle("CBD"), "g_add x y",
        lambda d: two_angles(d, most=160),
        lambda d, x, y: _exterior(d, x, 180 - x - y), ("BAC=x", "ACB=y", "B:AD"), "CBD",
        ("g_minus C_3 x g_minus V_0 y", "g_minus C_3 x", "g_minus C_3 y"),
    ),
    Calculation(
        "exterior-minus", "angle", _IN_ABC,
        (angle("CBD", "x"), angle("A", "y"),
         ("D lies on the extension of AB beyond B", "D is a point on the extension of AB")),
        the_angle("C"), "g_minus x y",
        lambda d: {"x": (x := d.angle(60, 150)), "y": d.angle(20, int(x) - 20)},
        lambda d, x, y: _exterior(d, y, 180 - x), ("CBD=x", "BAC=y", "B:AD"), "ACB",
        ("g_minus C_3 x", "g_add x y", "g_minus C_3 y", "g_minus C_3 x g_minus V_0 y"),
    ),
    Calculation(
        "base-from-apex", "angle", _ISOSCELES, (same("AB", "AC"), angle("A", "x")), the_angle("B"),
        "g_minus C_3 x g_half V_0", lambda d: {"x": d.angle(20, 140)}, _tall,
        ("AB=AC", "BAC=x"), "ABC", ("g_equal x", "g_minus C_3 x", "g_half x", "g_minus C_2 x"),
    ),
    Calculation(
        "apex-from-base", "angle", _ISOSCELES, (same("AB", "AC"), angle("B", "x")), the_angle("A"),
        "g_double x g_minus C_3 V_0", lambda d: {"x": d.angle(20, 80)}, _wide,
        ("AB=AC", "ABC=x"), "BAC", ("g_equal x", "g_minus C_3 x g_half V_0", "g_minus C_3 x"),
    ),
    Calculation(
        "other-base-angle", "angle", _ISOSCELES, (same("AB", "AC"), angle("B", "x")),
        the_angle("C"), "g_equal x", lambda d: {"x": d.angle(20, 80)}, _wide,
        ("AB=AC", "ABC=x"), "ACB",
        ("g_double x g_minus C_3 V_0", "g_minus C_3 x g_half V_0", "g_minus C_2 x"),
    ),
    Calculation(
        "acute-angles", "angle", _RIGHT_ABC, (right("C"), angle("A", "x")), the_angle("B"),
        "g_minus C_2 x", lambda d: {"x": d.angle(15, 75)}, _right_triangle,
        ("CA⟂CB", "BAC=x"), "ABC", ("g_minus C_3 x", "g_equal x", "g_double x", "g_half x"),
    ),
    Calculation(
        "isosceles-bisector", "angle", _IN_ABC,
        (same("AB", "AC"), bisects("AD", "BAC"), angle("B", "x")), the_angle("BAD"),
        "g_minus C_2 x", lambda d: {"x": d.angle(20, 80)}, lambda d, x: _cevian(d, x),
        ("AB=AC", "BAD=DAC", "ABC=x"), "BAD",
        ("g_double x g_minus C_3 V_0", "g_equal x", "g_half x", "g_minus C_3 x"),
    ),
    Calculation(
        "isosceles-height", "angle", _IN_ABC,
        (same("AB", "AC"), ("D is the midpoint of BC", "AD is the median to BC",
                            "AD is the height to BC"), angle("BAC", "x")), the_angle("BAD"),
        "g_half x", lambda d: {"x": d.angle(20, 150)},
        lambda d, x: _cevian(d, (180 - x) / 2), ("AB=AC", "BD=DC", "BAC=x"), "BAD",
        ("g_equal x", "g_minus C_3 x g_half V_0", "g_minus C_2 x", "g_minus C_3 x"),
    ),
    Calculation(
        "bisected-triangle", "angle", _IN_ABC,
        (angle("BAC", "x"), angle("B", "y"), bisects("AD", "BAC"),
         ("D lies on BC", "D is a point on BC")),
        the_angle("ADB"), "g_half x g_minus C_3 V_0 g_minus V_1 y", two_angles, _bisected,
        ("BAC=x", "ABC=y", "BAD=DAC", "D:BC"), "ADB",
        ("g_minus C_3 x g_minus V_0 y", "g_half x g_add V_0 y", "g_minus C_3 y", "g_half x"),
    ),
    Calculation(
        "height-angle", "angle", _IN_ABC,
        (perpendicular("CD", "AB"), angle("A", "x"), ("D lies on AB", "D is a point on AB")),
        the_angle("ACD"), "g_minus C_2 x", lambda d: {"x": d.angle(20, 75)},
        lambda d, x: _altitude(d, x, d.between(35, 75)), ("CD⟂AB", "BAC=x", "D:AB"), "ACD",
        ("g_equal x", "g_minus C_3 x", "g_half x", "g_double x"),
    ),
    Calculation(
        "perpendicular-bisector-angle", "angle", _IN_ABC,
        (same("AB", "AC"), angle("A", "x"),
         ("the perpendicular bisector of AB meets AC at D and AB at E",
          "DE is the perpendicular bisector of AB with D on AC")),
        the_angle("DBC"), "g_minus C_3 x g_half V_0 g_minus V_1 x",
        lambda d: {"x": d.angle(25, 57)}, _perpendicular_bisector,
        ("AB=AC", "BAC=x", "DA=DB", "EA=EB", "D:AC"), "DBC",
        ("g_minus C_3 x g_half V_0", "g_equal x", "g_half x", "g_minus C_2 x"),
    ),
    Calculation(
        "alternate-angles", "angle", (), (parallel("AB", "CD"), angle("ABC", "x")),
        the_angle("BCD"), "g_equal x", lambda d: {"x": d.angle(25, 85)}, _zigzag,
        ("AB∥CD", "ABC=x"), "BCD", ("g_minus C_3 x", "g_minus C_2 x", "g_half x"),
    ),
    Calculation(
        "same-side-angles", "angle", (),
        (parallel("AB", "CD"), ("line EF cuts AB at E and CD at F", "EF meets AB at E and CD at F"),
         angle("AEF", "x")), the_angle("CFE"), "g_minus C_3 x",
        lambda d: {"x": d.angle(35, 145)},
        lambda d, x: _parallels(d, 180 - x), ("AB∥CD", "AEF=x", "E:AB", "F:CD"),
        "CFE", ("g_equal x", "g_minus C_2 x", "g_half x", "g_minus C_4 x"),
    ),
    Calculation(
        "bent-parallels", "angle", (),
        (parallel("AB", "CD"), ("E is a point between the lines", "E lies between the two lines"),
         angle("BAE", "x"), angle("DCE", "y")), the_angle("AEC"), "g_add x y",
        lambda d: {"x": d.angle(20, 80), "y": d.angle(20, 80)}, _bent,
        ("AB∥CD", "BAE=x", "DCE=y"), "AEC",
        ("g_minus C_3 x g_minus V_0 y", "g_minus x y", "g_minus C_3 x", "g_minus C_3 y"),
    ),
    Calculation(
        "bisector-in-parallels", "angle", (),
        (parallel("AB", "CD"),
         ("line EG cuts AB at E and CD at G", "EG meets AB at E and CD at G"),
         ("EF bisects ∠BEG with F on CD", "the bisector of ∠BEG meets CD at F"),
         angle("EGD", "x")),
        the_angle("EFG"), "g_minus C_3 x g_half V_0", lambda d: {"x": d.angle(40, 140)},
        _bisector_parallels,
        ("AB∥CD", "EGD=x", "BEF=FEG", "E:AB", "G:CD", "F:CD"), "EFG",
        ("g_half x", "g_minus C_3 x", "g_equal x", "g_minus C_2 x"),
    ),
    Calculation(
        "parallelogram-opposite", "angle", _PARALLELOGRAM, (angle("A", "x"),), the_angle("C"),
        "g_equal x", lambda d: {"x": d.angle(40, 140)}, _parallelogram,
        ("AB∥DC", "AD∥BC", "BAD=x"), "BCD",
        ("g_minus C_3 x", "g_half x", "g_minus C_2 x", "g_minus C_4 x"),
    ),
    Calculation(
        "parallelogram-next", "angle", _PARALLELOGRAM, (angle("A", "x"),), the_angle("B"),
        "g_minus C_3 x", lambda d: {"x": d.angle(40, 140)}, _parallelogram,
        ("AB∥DC", "AD∥BC", "BAD=x"), "ABC",
        ("g_equal x", "g_half x", "g_minus C_2 x", "g_minus C_3 x g_half V_0"),
    ),
    Calculation(
        "rhombus-half", "angle", ("in rhombus ABCD", "in the rhombus ABCD"),
        (angle("ABC", "x"), ("AC is a diagonal", "the diagonal AC is drawn")), the_angle("BAC"),
        "g_minus C_3 x g_half V_0", lambda d: {"x": d.angle(40, 140)},
        lambda d, x: _rhombus(d, 180 - x), ("AB=BC", "AD=DC", "ABC=x"), "BAC",
        ("g_half x", "g_minus C_3 x", "g_equal x", "g_minus C_2 x"),
    ),
    Calculation(
        "quadrilateral-sum", "angle", _ABCD, (angle("A", "x"), angle("B", "y"), angle("C", "z")),
        the_angle("D"), "g_add x y g_add V_0 z g_minus C_4 V_1", _three_angles, _quadrilateral,
        ("DAB=x", "ABC=y", "BCD=z"), "CDA",
        ("g_add x y g_minus C_4 V_0", "g_minus C_3 z", "g_minus C_3 x", "g_minus C_3 y"),
        alike="xyz",
    ),
    Calculation(
        "congruent-third", "angle", (),
        (("△ABC ≅ △DEF", "triangle ABC is congruent to triangle DEF"), angle("A", "x"),
         angle("B", "y")), the_angle("F"), "g_minus C_3 x g_minus V_0 y", two_angles, _pair,
        ("BAC=x", "ABC=y", "AB=DE", "BC=EF", "CA=FD"), "DFE",
        ("g_equal x", "g_equal y", "g_add x y", "g_minus C_3 x"),
        alike="xy",
    ),
    Calculation(
        "congruent-part", "angle", (),
        (("△ABC ≅ △DEF", "triangle ABC is congruent to triangle DEF"), angle("A", "x"),
         angle("E", "y")), the_angle("C"), "g_minus C_3 x g_minus V_0 y", two_angles, _pair,
        ("BAC=x", "DEF=y", "AB=DE", "BC=EF", "CA=FD"), "ACB",
        ("g_equal x", "g_equal y", "g_add x y", "g_minus C_3 y"),
        alike="xy",
    ),
    Calculation(
        "similar-third", "angle", (),
        (("△ABC ~ △DEF", "triangle ABC is similar to triangle DEF"), angle("A", "x"),
         angle("E", "y")), the_angle("F"), "g_minus C_3 x g_minus V_0 y", two_angles,
        _scaled_pair, ("BAC=x", "DEF=y", "ABC=DEF", "BCA=EFD"), "DFE",
        ("g_equal x", "g_equal y", "g_add x y", "g_minus C_3 x"),
        alike="xy",
    ),
    Calculation(
        "vertical-angle", "angle", (),
        (("lines AB and CD meet at O", "AB and CD intersect at point O"), angle("AOC", "x")),
        the_angle("BOD"), "g_equal x", lambda d: {"x": d.angle(25, 155)}, _crossing,
        ("AOC=x", "O:AB", "O:CD"), "BOD", ("g_minus C_3 x", "g_half x", "g_minus C_2 x"),
    ),
    Calculation(
        "linear-pair", "angle", (),
        (("lines AB and CD meet at O", "AB and CD intersect at point O"), angle("AOC", "x")),
        the_angle("COB"), "g_minus C_3 x", lambda d: {"x": d.angle(25, 155)}, _crossing,
        ("AOC=x", "O:AB", "O:CD"), "COB", ("g_equal x", "g_half x", "g_minus C_2 x"),
    ),
    Calculation(
        "bisected-linear-pair", "angle", (),
        (("O is a point on line AB", "O lies on line AB"), angle("AOC", "x"),
         bisects("OD", "BOC")), the_angle("BOD"), "g_minus C_3 x g_half V_0",
        lambda d: {"x": d.angle(30, 150)}, _ray_pair, ("AOC=x", "O:AB", "BOD=DOC"), "BOD",
        ("g_half x", "g_minus C_3 x", "g_equal x", "g_minus C_2 x"),
    ),
)  # fmt: skip
