# ruff: noqa: E501 -- one case a line
"""Each way of saying something means the same; conventions are noted; what is unclear is said."""

import pytest

from qr_cli.geo.facts import read
from qr_cli.geo.slotting import slots


def reading(text):
    found = slots(text)
    return read(found.text, found.numbers)


def kinds(text):
    return {(c.kind, c.points) for c in reading(text).conditions if c.kind != "proper"}


SAME = [  # wordings of one condition
    (("parallel", tuple("ABCD")), "AB ∥ CD", "AB is parallel to CD", "the line AB parallel CD"),
    (("perpendicular", tuple("ABCD")), "AB ⟂ CD", "AB is perpendicular to CD", "AB ⊥ the chord CD"),
    (("between", tuple("DAB")), "D is on AB", "point D lies on the segment AB",
     "D is a point on the side AB"),
    (("beyond", tuple("DAB")), "D is on the extension of AB", "point D is on the extended line of AB",
     "D lies on the extension of AB"),
    (("between", tuple("OAC")), "AC and BD intersect at O", "AC meets BD at point O",
     "the diagonals AC and BD intersect at point O"),
    (("midpoint", tuple("MAB")), "M is the midpoint of AB", "the midpoint M of AB",
     "point M is the mid-point of the side AB"),
    (("bisects", tuple("BDAC")), "BD bisects angle ABC", "BD is the bisector of ∠ABC",
     "BD is the angle bisector of angle ABC"),
    (("on circle", tuple("AO")), "A is on circle O", "point A lies on ⊙O", "A and B are on circle O"),
    (("on circle", tuple("AO")), "AB is a chord of circle O", "in circle O, the chord AB = 3",
     "AB and CD are chords of circle O"),
    (("midpoint", tuple("OAB")), "AB is a diameter of circle O", "the diameter AB of circle O",
     "circle O with AB as the diameter"),
    (("tangent at", tuple("APO")), "PA is tangent to circle O at A",
     "PA is a tangent of circle O, and A is the tangent point",
     "PA and PB are tangents to circle O at A and B"),
    (("on circle", tuple("CO")), "triangle ABC is inscribed in circle O",
     "circle O is the circumscribed circle of triangle ABC",
     "△ABC is the inscribed triangle of circle O"),
    (("tangent", tuple("ABO")), "circle O is the inscribed circle of triangle ABC",
     "O is the incenter of triangle ABC", "triangle ABC is circumscribed about circle O"),
    (("convex", tuple("ABCD")), "ABCD is a parallelogram", "the parallelogram ABCD",
     "□ABCD"),
    (("perpendicular", tuple("BABC")), "ABCD is a rectangle", "the rectangle ABCD",
     "in rectangle ABCD, AB = 3"),
    (("similar", tuple("ABCDEF")), "triangle ABC is similar to triangle DEF", "△ABC ~ △DEF",
     "△ABC ∽ △DEF"),
    (("perpendicular", tuple("ADBC")), "in triangle ABC, AD is the height on BC",
     "in triangle ABC, AD is the altitude from A to BC",
     "AD is an altitude of triangle ABC"),
    (("midpoint", tuple("DBC")), "in triangle ABC, AD is the median",
     "AD is the median of triangle ABC", "in △ABC, AD is the median of BC"),
    (("arc midpoint", tuple("CABO")), "in circle O, C is the midpoint of arc AB",
     "circle O. Point C is the midpoint of the minor arc AB",
     "C is the mid-point of the arc AB of circle O"),
    (("between", tuple("BAC")), "B is between A and C", "B is on AC",
     "A, B and C lie on a line with B between A and C"),
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "wordings"), [(row[0], row[1:]) for row in SAME])
def test_three_wordings_say_the_same(wanted, wordings):
    assert len(wordings) == 3
    for text in wordings:
        assert wanted in kinds(text), text


VALUES = [
    ("AB = 5", "AB is 5", "AB measures 5 cm"),
    ("angle ABC = 40°", "∠ABC is 40 degrees", "angle ABC is equal to 40°"),
    ("∠A + ∠B = 90°", "∠A and ∠B are complementary", "∠A is complementary to ∠B"),
    ("AB = 2 CD", "AB is twice CD", "AB = CD + CD"),
    ("AB:CD = 2:3", "AB / CD = 2/3", r"\frac{AB}{CD} = \frac{2}{3}"),
    ("sin A = 3/5, AB ∥ CA", "sin∠A = 3/5, AB ∥ CA", "sin angle A = 3/5, AB ∥ CA"),
    ("the radius of circle O is 5", "circle O with a radius of 5", "circle O has radius 5"),
    ("the perimeter of triangle ABC is 12", "△ABC has perimeter 12", "the perimeter of △ABC = 12"),
]


@pytest.mark.parametrize("wordings", VALUES)
def test_three_wordings_give_one_size(wordings):
    for text in wordings:
        assert any(c.kind == "linear" for c in reading("In △ABC, " + text).conditions), text


QUESTIONS = [
    ("Find angle ABC.", "∠ABC"), ("What is the size of angle ABC?", "∠ABC"),
    ("How many degrees is ∠ABC?", "∠ABC"), ("then angle ABC is ()", "∠ABC"),
    ("AB = 3, so the length of BC is ()", "BC"), ("How long is BC?", "BC"),
    ("Work out BC.", "BC"), ("then AB + BC = ()", "AB + BC"),
    ("What is the area of triangle ABC?", "area of ABC"),
    ("find the perimeter of the quadrilateral ABCD", "perimeter of ABCD"),
    ("Circle O. Find the radius.", "radius of ⊙O"),
    ("then the distance from O to AB is ()", "distance of O and AB"),
    ("then AB:CD = ()", "AB / CD"), ("then sin ∠ABC = ()", "sin ∠ABC"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), QUESTIONS)
def test_the_question_is_understood(text, wanted):
    assert str(reading(text).asked) == wanted


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("In triangle ABC, DE ∥ BC. Find DE.", "D lies on AB"),
        ("In triangle ABC, BD bisects angle ABC. Find BD.", "D lies on AC"),
        ("In circle O, AB = 3, OC ⟂ AB. Find OC.", "C lies on ⊙O"),
        ("In parallelogram ABCD, angle AOB = 50. Find BD.", "AC and BD meet at O"),
        ("DE ∥ BC, AD = 3, DB = 4, AE = 2. Find EC.", "D lies on AB"),
        ("AB is the diameter of circle O, C is on circle O, angle A = 40. Find angle B.",
         "A and C are joined"),
    ],
)  # fmt: skip
def test_a_convention_is_noted(text, note):
    assert note in reading(text).assumed


def test_parallels_that_point_the_same_way_are_a_soft_convention():
    assert reading("AB ∥ CD, find angle BAC").soft
    assert not reading("In quadrilateral ABCD, AB ∥ CD, find angle BAC").soft


@pytest.mark.parametrize(
    "text",
    ["Angle 1 = 50°. Find angle 2.", "a ∥ b, find angle 3", "Find the shaded area.",
     "∠α = 30°, find ∠β", "a set square lies on AB", "l1 ∥ l2, AB = 3"],
)  # fmt: skip
def test_what_only_a_diagram_can_say_is_noticed(text):
    assert reading(text).needs_diagram


def test_words_that_no_pattern_takes_are_quoted():
    found = reading("In triangle ABC, AB = 3. The triangle is rotated by 30°. Find AC.")
    assert any("rotated" in words for words in found.not_understood)


def test_one_letter_angles_take_the_arms_of_their_polygon():
    condition = next(c for c in reading("In △ABC, ∠A = 40°").conditions if c.kind == "linear")
    assert condition.terms[0].quantity.points == ("C", "A", "B")
    assert any("arms" in w for w in reading("∠A = 40°. Find BC.").not_understood)
