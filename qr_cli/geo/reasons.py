"""The 37 reasons of UniGeo's proofs, as names and rules.

The data holds numbers only; names and meanings are ours, deduced from the published proofs. R_7,
R_8, R_12 and R_36 rest on one to four examples each. A rule yields the ways in which a statement is
supported by the facts on the board.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from qr_cli.geo.board import Board
from qr_cli.geo.proof import Statement
from qr_cli.geo.rules_lines import (
    adjacent_sum,
    alternate_angles,
    alternate_parallel,
    bisector,
    corresponding_angles,
    corresponding_parallel,
    exterior_angles,
    exterior_sum,
    linear_pair,
    parallelogram_sides,
    perpendicular,
    right_angles,
    same_side_parallel,
    same_side_sum,
    segment_sum,
    supplementary,
    vertical_angles,
)
from qr_cli.geo.rules_sums import (
    algebra,
    definition_of_equal,
    quadrilateral_sum,
    right_triangle_sum,
    transitive_equation,
    transitivity,
    triangle_sum,
)
from qr_cli.geo.rules_triangles import (
    aas,
    angle_angle,
    asa,
    congruent_parts,
    equilateral,
    isosceles,
    midpoint,
    reflexivity,
    sas,
    sas_similar,
    similar_parts,
    sss,
)
from qr_cli.geo.support import Support, strongest

Rule = Callable[[Board, Statement], Iterator[Support]]


class Reason(NamedTuple):
    """A reason: its short name, what it says, the rule, and what it needs in words."""

    name: str
    says: str
    rule: Rule
    needs: str


REASONS: tuple[Reason, ...] = (
    Reason("AAS", "two angles and a side opposite one of them are equal", aas,
           "two pairs of equal angles and an equal side opposite one of them"),
    Reason("same-side-interior-parallel", "same-side interior angles sum to 180°: parallel lines",
           same_side_parallel, "a fact that same-side interior angles at these lines sum to 180°"),
    Reason("isosceles", "isosceles triangle: equal sides lie opposite equal angles", isosceles,
           "equal sides, or equal angles, of one triangle"),
    Reason("right-angles", "right angles are equal", right_angles,
           "that both are right angles"),
    Reason("vertical-angles", "vertical angles are equal", vertical_angles,
           "two angles of three letters at one vertex whose arms form two lines"),
    Reason("substitution", "substitution", algebra, "equations it follows from"),
    Reason("congruent-parts", "parts of congruent triangles", congruent_parts,
           "congruent triangles of which these are corresponding parts"),
    Reason("equal-congruent", "equal means congruent", definition_of_equal,
           "a fact that the two are equal"),
    Reason("segment-addition", "segment addition", segment_sum,
           "a segment and its two parts"),
    Reason("quadrilateral-sum", "the angles of a quadrilateral sum to 360°", quadrilateral_sum,
           "the four angles of one quadrilateral"),
    Reason("linear-pair", "a linear pair sums to 180°", linear_pair,
           "two angles that share one arm and whose others form a line"),
    Reason("transitivity", "transitivity of equality", transitivity,
           "two different equalities with a common member"),
    Reason("alternate-exterior", "parallel lines: alternate exterior angles are equal",
           exterior_angles, "parallel lines at which these are alternate exterior angles"),
    Reason("SAS", "two sides and the angle between them are equal", sas,
           "two pairs of equal sides and the equal angle between them"),
    Reason("reflexivity", "everything is equal to itself", reflexivity,
           "the same element on both sides"),
    Reason("SAS-similar", "proportional sides about an equal angle", sas_similar,
           "a proportion of two pairs of sides and the equal angle between them"),
    Reason("equilateral", "sides of an equilateral triangle are equal", equilateral,
           "an equilateral triangle with both sides"),
    Reason("supplementary", "supplementary angles sum to 180°", supplementary,
           "a given that the two are supplementary"),
    Reason("triangle-sum", "the angles of a triangle sum to 180°", triangle_sum,
           "the three angles of one triangle"),
    Reason("midpoint", "a midpoint halves its segment", midpoint,
           "a given midpoint with both halves"),
    Reason("acute-angles", "the acute angles of a right triangle sum to 90°", right_triangle_sum,
           "perpendicular lines that make these the acute angles of a triangle"),
    Reason("AA-similar", "two pairs of equal angles: similar triangles", angle_angle,
           "two pairs of equal angles"),
    Reason("alternate-interior", "parallel lines: alternate interior angles are equal",
           alternate_angles, "parallel lines at which these are alternate interior angles"),
    Reason("alternate-interior-parallel", "equal alternate interior angles: parallel lines",
           alternate_parallel, "a fact of equal alternate interior angles at these lines"),
    Reason("perpendicular", "perpendicular lines form right angles", perpendicular,
           "perpendicular lines that form the angle, or the reverse"),
    Reason("transitive-equation", "both sides equal a third", transitive_equation,
           "two equations whose other sides are the same"),
    Reason("algebra", "algebra", algebra, "equations it follows from"),
    Reason("angle-addition", "angle addition", adjacent_sum,
           "an angle and its two adjacent parts"),
    Reason("similar-parts", "parts of similar triangles", similar_parts,
           "similar triangles of which these are corresponding parts"),
    Reason("ASA", "two angles and the side between them are equal", asa,
           "two pairs of equal angles and the equal side between them"),
    Reason("SSS", "three sides are equal", sss, "three pairs of equal sides"),
    Reason("parallelogram-sides", "opposite sides of a parallelogram are equal",
           parallelogram_sides, "two pairs of parallel lines with these on opposite sides"),
    Reason("corresponding-parallel", "equal corresponding angles: parallel lines",
           corresponding_parallel, "a fact of equal corresponding angles at these lines"),
    Reason("corresponding-angles", "parallel lines: corresponding angles are equal",
           corresponding_angles, "parallel lines at which these are corresponding angles"),
    Reason("same-side-interior", "parallel lines: same-side interior angles sum to 180°",
           same_side_sum, "parallel lines at which these are same-side interior angles"),
    Reason("angle-bisector", "a bisector halves its angle", bisector,
           "a given bisector with both halves"),
    Reason("same-side-exterior", "parallel lines: same-side exterior angles sum to 180°",
           exterior_sum, "parallel lines at which these are same-side exterior angles"),
)  # fmt: skip


def support(board: Board, reason: int, statement: Statement) -> Support:
    """Return the strongest way in which a reason supports a statement on a board."""
    return strongest(REASONS[reason].rule(board, statement))
