"""Calculation families about angles and lengths at circles."""

from __future__ import annotations

import math

from qr_cli.geo.synth.calculation import Calculation
from qr_cli.geo.synth.dice import Dice
from qr_cli.geo.synth.figures import Figure, cis
from qr_cli.geo.synth.phrases import Wordings, angle, length, perpendicular, the_angle, the_length

_CIRCLE = ("in circle O", "in the circle with centre O", "in ⊙O")
_TANGENT: Wordings = ("AP is tangent to circle O at A", "line AP touches circle O at A")


def _on_circle(*names: str) -> Wordings:
    listed = f"{', '.join(names[:-1])} and {names[-1]}"
    return (
        f"{listed} lie on circle O", f"points {listed} are on the circle",
        f"{listed} are points on circle O",
    )  # fmt: skip


def _sharp(d: Dice) -> dict[str, float]:
    return {"x": d.angle(20, 75)}


def _inscribed(d: Dice, x: float, lines: str = "OA OB CA CB") -> Figure:
    """Return A, B, C on a circle with the central angle AOB = x, C on the major arc."""
    c = d.between(x + 35, 325)
    points = {"A": 2 * cis(0), "B": 2 * cis(x), "C": 2 * cis(c), "O": 0j}
    return Figure(points, lines, ((0j, 2.0),))


def _diameter(d: Dice, x: float, lines: str = "AOB AC CB") -> Figure:
    """Return the diameter AB and C on the circle with angle BAC = x."""
    points = {"A": -2 + 0j, "B": 2 + 0j, "C": 2 * cis(2 * x), "O": 0j}
    return Figure(points, lines, ((0j, 2.0),))


def _cyclic(d: Dice, x: float) -> Figure:
    """Return a cyclic quadrilateral with angle A = x; E lies beyond C on DC."""
    half = 180 - x  # the arc BCD seen from A has 2x, the arc BAD 2 (180 - x)
    share, other = d.between(0.35, 0.65), d.between(0.35, 0.65)
    b, turns = 2 * cis(0), 2 * x
    at = {
        "A": 2 * cis(turns + 2 * half * other), "B": b, "C": 2 * cis(turns * share),
        "D": 2 * cis(turns), "O": 0j,
    }  # fmt: skip
    return Figure(at, "ABCDA", ((0j, 2.0),))


def _cyclic_outside(d: Dice, x: float) -> Figure:
    f = _cyclic(d, x)
    c, at = f.points["C"], f.points["D"]
    f.points["E"] = c + (c - at) / abs(c - at) * 1.3
    f.lines = "ABCDA CE"
    return f


def _tangent(d: Dice, x: float) -> Figure:
    """Return the tangent PA at A with angle APO = x."""
    r = 1.6
    far = r / math.sin(math.radians(x))
    points = {"A": r * cis(90 - x), "O": 0j, "P": complex(far)}
    return Figure(points, "PA AO OP", ((0j, r),))


def _tangents(d: Dice, x: float, lines: str = "PA PB OA OB") -> Figure:
    """Return the tangents PA and PB with angle APB = x; C on the far arc."""
    r, half = 1.6, 90 - x / 2
    far = r / math.sin(math.radians(x / 2))
    points = {
        "A": r * cis(half), "B": r * cis(-half), "O": 0j, "P": complex(far),
        "C": r * cis(180 + d.between(-30, 30)),
    }  # fmt: skip
    if "C" not in lines:
        del points["C"]
    return Figure(points, lines, ((0j, r),))


def _extended(d: Dice, x: float) -> Figure:
    """Return the diameter AB, the tangent at C meeting its extension at P with angle P = x."""
    r = 1.6
    points = {
        "A": complex(-r), "B": complex(r), "C": r * cis(90 - x), "O": 0j,
        "P": complex(r / math.sin(math.radians(x))),
    }  # fmt: skip
    return Figure(points, "AOBP PC CA OC", ((0j, r),))


def _arc_middle(d: Dice, x: float) -> Figure:
    """Return AOB = x, C in the middle of the arc AB, D on the far arc."""
    r = 2.0
    points = {
        "A": r * cis(0), "B": r * cis(x), "C": r * cis(x / 2), "O": 0j,
        "D": r * cis(x + d.between(0.3, 0.7) * (360 - x)),
    }  # fmt: skip
    return Figure(points, "OA OB DA DC", ((0j, r),))


def _chord(d: Dice, radius: float, away: float) -> Figure:
    """Return the chord AB at a distance from O, M its middle."""
    half = math.sqrt(radius**2 - away**2)
    points = {
        "A": complex(-half, -away), "B": complex(half, -away), "M": complex(0, -away), "O": 0j,
    }  # fmt: skip
    return Figure(points, "AMB OM OA", ((0j, radius),))


def _bridge(d: Dice, radius: float, rise: float) -> Figure:
    """Return the chord AB with M below O and C on the circle; CM is its height."""
    f = _chord(d, radius, radius - rise)
    f.points["C"] = complex(0, -radius)
    f.lines = "AMB OMC OA"
    return f


def _tangential(d: Dice, parts: tuple[float, float, float, float]) -> Figure:
    """Return a quadrilateral about a circle whose tangents have these lengths at A, B, C, D."""
    low, high = 0.01, 1e4
    for _ in range(80):  # the radius for which the half angles at the centre sum to 180 degrees
        r = (low + high) / 2
        if sum(math.atan(t / r) for t in parts) > math.pi:
            low = r
        else:
            high = r
    at, turn = {}, 0.0
    for name, t in zip("ABCD", parts, strict=True):
        half = math.degrees(math.atan(t / r))
        at[name] = math.hypot(t, r) * cis(turn + half)
        turn += 2 * half
    return Figure({**at, "O": 0j}, "ABCDA", ((0j, r),))


def _triple(d: Dice) -> tuple[float, float, float]:
    p, q, r = d.pick(TRIPLES)
    k = d.pick((1, 1, 1, 2, 3)) if r < 18 else 1
    return float(p * k), float(q * k), float(r * k)


TRIPLES = ((3, 4, 5), (4, 3, 5), (5, 12, 13), (12, 5, 13), (8, 15, 17), (15, 8, 17), (7, 24, 25))


def _legs(d: Dice) -> dict[str, float]:
    """Return hypotenuse a and leg b: a triple, or numbers that leave a root."""
    if d.chance(0.6):
        p, _, r = _triple(d)
        return {"a": r, "b": p}
    b = d.length(2, 9)
    return {"a": b + d.length(1, 8), "b": b}


def _chord_numbers(d: Dice) -> dict[str, float]:
    q = _legs(d)
    return {"a": q["a"], "b": 2 * q["b"]}


def _sagitta(d: Dice) -> dict[str, float]:
    if d.chance(0.6):
        p, q, r = _triple(d)
        return {"a": r, "b": r - p}
    a = d.length(4, 15)
    return {"a": a, "b": d.length(1, int(a) - 2)}


def _ring(d: Dice, a: float) -> Figure:
    r = d.between(0.35, 0.7) * a
    big = math.hypot(r, a / 2)
    points = {"A": complex(-a / 2, -r), "B": complex(a / 2, -r), "O": 0j}
    return Figure(points, "AB", ((0j, r), (0j, big)))


def _sides_about(d: Dice) -> dict[str, float]:
    return {"a": d.length(3, 12), "b": d.length(3, 12)}


def _about(d: Dice, a: float, b: float) -> Figure:
    s, t = d.between(0.35, 0.65), d.between(0.35, 0.65)
    return _tangential(d, (a * s, a * (1 - s), b * t, b * (1 - t)))


CIRCLES = (
    Calculation(
        "central-to-inscribed", "angle", _CIRCLE,
        (_on_circle("A", "B", "C"), angle("AOB", "x")), the_angle("ACB"), "g_half x",
        lambda d: {"x": d.angle(40, 160)}, _inscribed, ("OA=OB", "OB=OC", "AOB=x"), "ACB",
        ("g_equal x", "g_minus C_3 x", "g_minus C_3 x g_half V_0", "g_minus C_2 x"),
    ),
    Calculation(
        "inscribed-to-central", "angle", _CIRCLE,
        (_on_circle("A", "B", "C"), angle("ACB", "x")), the_angle("AOB"), "g_double x", _sharp,
        lambda d, x: _inscribed(d, 2 * x), ("OA=OB", "OB=OC", "ACB=x"), "AOB",
        ("g_equal x", "g_minus C_3 x", "g_half x", "g_double x g_minus C_3 V_0"),
    ),
    Calculation(
        "inscribed-from-base", "angle", _CIRCLE,
        (_on_circle("A", "B", "C"), angle("OAB", "x")), the_angle("ACB"),
        "g_double x g_minus C_3 V_0 g_half V_1", lambda d: {"x": d.angle(15, 70)},
        lambda d, x: _inscribed(d, 180 - 2 * x, "OA OB AB CA CB"),
        ("OA=OB", "OB=OC", "OAB=x"), "ACB",
        ("g_double x", "g_double x g_minus C_3 V_0", "g_equal x", "g_half x"),
    ),
    Calculation(
        "base-from-inscribed", "angle", _CIRCLE,
        (_on_circle("A", "B", "C"), angle("ACB", "x")), the_angle("OAB"), "g_minus C_2 x", _sharp,
        lambda d, x: _inscribed(d, 2 * x, "OA OB AB CA CB"), ("OA=OB", "OB=OC", "ACB=x"), "OAB",
        ("g_double x", "g_equal x", "g_double x g_minus C_3 V_0", "g_half x"),
    ),
    Calculation(
        "angle-over-diameter", "angle", _CIRCLE,
        (("AB is a diameter", "AB is the diameter of the circle"),
         ("C lies on the circle", "C is a point on the circle"), angle("BAC", "x")),
        the_angle("ABC"), "g_minus C_2 x", lambda d: {"x": d.angle(15, 75)}, _diameter,
        ("OA=OB", "OB=OC", "O:AB", "BAC=x"), "ABC",
        ("g_double x", "g_equal x", "g_minus C_3 x", "g_half x"),
    ),
    Calculation(
        "diameter-to-central", "angle", _CIRCLE,
        (("AB is a diameter", "AB is the diameter of the circle"),
         ("C lies on the circle", "C is a point on the circle"), angle("CBA", "x")),
        the_angle("BOC"), "g_double x g_minus C_3 V_0", lambda d: {"x": d.angle(15, 75)},
        lambda d, x: _diameter(d, 90 - x, "AOB AC CB OC"),
        ("OA=OB", "OB=OC", "O:AB", "CBA=x"), "BOC",
        ("g_double x", "g_equal x", "g_minus C_2 x", "g_minus C_3 x"),
    ),
    Calculation(
        "cyclic-opposite", "angle", (),
        (("quadrilateral ABCD is inscribed in circle O", "ABCD is a quadrilateral inscribed in ⊙O"),
         angle("A", "x")), the_angle("C"), "g_minus C_3 x", lambda d: {"x": d.angle(50, 130)},
        _cyclic, ("OA=OB", "OB=OC", "OC=OD", "DAB=x"), "BCD",
        ("g_equal x", "g_double x", "g_half x", "g_minus C_4 x"),
    ),
    Calculation(
        "cyclic-exterior", "angle", (),
        (("quadrilateral ABCD is inscribed in circle O", "ABCD is a quadrilateral inscribed in ⊙O"),
         ("E lies on the extension of DC beyond C", "E is a point on the extension of DC"),
         angle("A", "x")), the_angle("BCE"), "g_equal x", lambda d: {"x": d.angle(50, 130)},
        _cyclic_outside, ("OA=OB", "OB=OC", "OC=OD", "DAB=x", "C:DE"), "BCE",
        ("g_minus C_3 x", "g_half x", "g_double x", "g_minus C_4 x"),
    ),
    Calculation(
        "tangent-radius", "angle", (), (_TANGENT, angle("APO", "x")), the_angle("AOP"),
        "g_minus C_2 x", lambda d: {"x": d.angle(20, 65)}, _tangent, ("AP⟂AO", "APO=x"), "AOP",
        ("g_minus C_3 x", "g_equal x", "g_double x", "g_half x"),
    ),
    Calculation(
        "two-tangents-central", "angle", (),
        (("PA and PB are tangent to circle O at A and B", "PA and PB touch circle O at A and B"),
         angle("APB", "x")), the_angle("AOB"), "g_minus C_3 x", lambda d: {"x": d.angle(35, 100)},
        _tangents, ("PA⟂AO", "PB⟂BO", "APB=x", "OA=OB"), "AOB",
        ("g_equal x", "g_double x", "g_minus C_3 x g_half V_0", "g_half x"),
    ),
    Calculation(
        "two-tangents-inscribed", "angle", (),
        (("PA and PB are tangent to circle O at A and B", "PA and PB touch circle O at A and B"),
         ("C is a point on the major arc AB", "C lies on the major arc AB"), angle("P", "x")),
        the_angle("ACB"), "g_minus C_3 x g_half V_0", lambda d: {"x": d.angle(35, 100)},
        lambda d, x: _tangents(d, x, "PA PB CA CB"),
        ("PA⟂AO", "PB⟂BO", "APB=x", "OA=OB", "OB=OC"), "ACB",
        ("g_minus C_3 x", "g_equal x", "g_half x", "g_minus C_2 x"),
    ),
    Calculation(
        "tangent-extended", "angle", (),
        (("AB is a diameter of circle O", "AB is the diameter of ⊙O"),
         ("PC is tangent to the circle at C", "line PC touches the circle at C"),
         ("P lies on the extension of AB", "P is a point on the extension of AB"),
         angle("P", "x")),
        the_angle("A"), "g_minus C_2 x g_half V_0", lambda d: {"x": d.angle(20, 60)}, _extended,
        ("PC⟂CO", "OA=OB", "OB=OC", "O:AB", "B:AP", "CPO=x"), "CAB",
        ("g_minus C_2 x", "g_equal x", "g_half x", "g_double x"),
    ),
    Calculation(
        "tangent-extended-back", "angle", (),
        (("AB is a diameter of circle O", "AB is the diameter of ⊙O"),
         ("PC is tangent to the circle at C", "line PC touches the circle at C"),
         ("P lies on the extension of AB", "P is a point on the extension of AB"),
         angle("A", "x")),
        the_angle("P"), "g_double x g_minus C_2 V_0", lambda d: {"x": d.angle(16, 35)},
        lambda d, x: _extended(d, 90 - 2 * x),
        ("PC⟂CO", "OA=OB", "OB=OC", "O:AB", "B:AP", "CAB=x"), "CPO",
        ("g_double x", "g_equal x", "g_minus C_2 x", "g_double x g_minus C_3 V_0"),
    ),
    Calculation(
        "arc-midpoint", "angle", _CIRCLE,
        (("C is the midpoint of arc AB", "point C is the midpoint of arc AB"),
         ("D is a point on the major arc AB", "D lies on the major arc AB"), angle("AOB", "x")),
        the_angle("ADC"), "g_half x g_half V_0", lambda d: {"x": d.angle(60, 160)}, _arc_middle,
        ("AOB=x", "AOC=COB", "OA=OC", "OC=OD", "OA=OB"), "ADC",
        ("g_half x", "g_equal x", "g_minus C_3 x", "g_minus C_3 x g_half V_0"),
    ),
    Calculation(
        "chord-from-distance", "length", _CIRCLE,
        (("AB is a chord", "AB is a chord of the circle"),
         ("the radius is {a}", "the radius of the circle is {a}", "the radius OA is {a}"),
         ("the distance from O to AB is {b}", "the distance of AB from the centre O is {b}")),
        the_length("AB"), "gougu_minus a b g_double V_0", _legs,
        lambda d, a, b: _chord(d, a, b), ("OA=a", "OM=b", "OM⟂AB", "OA=OB"), "AB",
        ("gougu_minus a b", "gougu_add a b", "gougu_add a b g_double V_0", "g_minus a b"),
    ),
    Calculation(
        "distance-from-chord", "length", _CIRCLE,
        (("the radius is {a}", "the radius of the circle is {a}", "the radius OA is {a}"),
         ("the chord AB is {b}", "the length of chord AB is {b}", "the chord AB = {b}")),
        ("the distance from O to AB", "the distance of AB from the centre O"),
        "g_half b gougu_minus a V_0", _chord_numbers,
        lambda d, a, b: _chord(d, a, (a * a - b * b / 4) ** 0.5),
        ("OA=a", "AB=b", "OM⟂AB", "OA=OB"), "OM",
        ("gougu_minus a b", "gougu_add a b", "g_half b gougu_add a V_0", "g_half b"),
    ),
    Calculation(
        "radius-from-chord", "length", _CIRCLE,
        (("the chord AB is {a}", "the length of chord AB is {a}", "the chord AB = {a}"),
         ("the distance from O to AB is {b}", "the distance of AB from the centre O is {b}")),
        ("the radius of the circle", "the radius OA"), "g_half a gougu_add b V_0",
        lambda d: {"a": 2 * (t := _triple(d))[0], "b": t[1]},
        lambda d, a, b: _chord(d, (a * a / 4 + b * b) ** 0.5, b),
        ("AB=a", "OM=b", "OM⟂AB", "OA=OB"), "OA",
        ("gougu_add a b", "gougu_minus a b", "g_half a gougu_minus b V_0", "g_half a"),
    ),
    Calculation(
        "sagitta", "length", _CIRCLE,
        (("AB is a chord", "AB is a chord of the circle"), perpendicular("OC", "AB"),
         ("OC meets AB at M", "OC cuts AB at M"),
         ("the radius OC is {a}", "the radius of the circle is {a}"), length("CM", "b")),
        the_length("AB"), "g_minus a b gougu_minus a V_0 g_double V_1", _sagitta,
        lambda d, a, b: _bridge(d, a, b), ("OA=a", "OC=a", "CM=b", "OC⟂AB", "OA=OB"), "AB",
        ("g_minus a b gougu_minus a V_0", "gougu_minus a b", "gougu_minus a b g_double V_0",
         "g_minus a b"),
    ),
    Calculation(
        "tangent-length", "length", (),
        (_TANGENT, ("the radius of the circle is {b}", "the radius OA is {b}"),
         ("OP = {a}", "the distance from O to P is {a}")), the_length("AP"), "gougu_minus a b",
        _legs,
        lambda d, a, b: Figure(
            {"A": b * cis(math.degrees(math.acos(b / a))), "O": 0j, "P": complex(a)},
            "PA AO OP", ((0j, b),),
        ),
        ("OP=a", "OA=b", "AP⟂AO"), "AP", ("gougu_add a b", "g_minus a b", "g_add a b"),
    ),
    Calculation(
        "tangential-perimeter", "length", (),
        (("circle O touches all sides of quadrilateral ABCD",
          "quadrilateral ABCD is circumscribed about circle O"),
         length("AB", "a"), length("CD", "b")),
        ("the perimeter of ABCD", "the perimeter of quadrilateral ABCD"),
        "g_add a b g_double V_0", _sides_about, _about, ("AB=a", "CD=b"), "AB+BC+CD+DA",
        ("g_add a b", "g_mul a b", "g_double a", "g_add a b g_half V_0"),
    ),
    Calculation(
        "ring-from-chord", "area", (),
        (("two circles have the same centre O", "the two circles share the centre O"),
         ("the chord AB of the large circle touches the small circle",
          "the chord AB of the large circle is tangent to the small one"),
         length("AB", "a")),
        ("the area of the ring", "the area of the ring between the circles"),
        "g_half a cal_circle_area V_0", lambda d: {"a": 2 * d.length(2, 15)}, _ring,
        ("AB=a", "OA=OB"), "",
        ("cal_circle_area a", "cal_circle_perimeter a", "g_half a cal_circle_perimeter V_0",
         "g_double a cal_circle_area V_0"),
    ),
)  # fmt: skip
