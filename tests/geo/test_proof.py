"""Elements, statements, canonical forms, and the grammar of givens."""

from itertools import permutations

import pytest

from qr_cli.errors import DataError
from qr_cli.geo.givens import read_problem
from qr_cli.geo.proof import (
    Statement,
    angle,
    canonical,
    parse_element,
    parse_proof,
    segment,
    triangle,
    write_proof,
)

AB, CD, EF, GH = (segment(*pair) for pair in ("AB", "CD", "EF", "GH"))


def test_all_eight_writings_of_a_proportion_are_one():
    ways = [
        (AB, CD, EF, GH), (EF, GH, AB, CD), (CD, AB, GH, EF), (GH, EF, CD, AB),
        (AB, EF, CD, GH), (CD, GH, AB, EF), (EF, AB, GH, CD), (GH, CD, EF, AB),
    ]  # fmt: skip
    assert len({canonical(Statement("ratio", w[:2], w[2:])) for w in ways}) == 1
    assert canonical(Statement("ratio", (AB, CD), (GH, EF))) not in {
        canonical(Statement("ratio", w[:2], w[2:])) for w in ways
    }


def test_triangles_are_one_under_a_common_permutation_only():
    forms = set()
    for order in permutations(range(3)):
        one, two = ("".join(name[i] for i in order) for name in ("ABC", "DEF"))
        forms.add(canonical(Statement("congruent", (triangle(*one),), (triangle(*two),))))
        forms.add(canonical(Statement("congruent", (triangle(*two),), (triangle(*one),))))
    assert len(forms) == 1
    other = canonical(Statement("congruent", (triangle(*"ABC"),), (triangle(*"DFE"),)))
    assert other not in forms


def test_letters_that_do_not_count_do_not_count():
    one = Statement("equal", (angle(*"ABC"), angle("D")), (180,))
    two = Statement("equal", (180,), (angle("D"), angle(*"CBA")))
    assert canonical(one) == canonical(two)


@pytest.mark.parametrize(
    ("text", "points"),
    [("A B", "AB"), ("∠ A X B", "AXB"), ("∠X", "X"), ("△ A B C", "ABC"), ("∠ A′ B C", "A′BC")],
)
def test_an_element_is_read_as_written(text, points):
    assert "".join(parse_element(text).points) == points


@pytest.mark.parametrize("text", ["A", "A B C D", "∠ A B", "△ A B", "A A", "A - B", ""])
def test_what_is_no_element_is_said(text):
    with pytest.raises(DataError, match="is no segment, angle or triangle"):
        parse_element(text)


ELEMENTS = [AB, CD, angle(*"ABC"), triangle(*"ABC")]


@pytest.mark.parametrize(
    ("proof", "words"),
    [
        ("R_37 E_0 congruent E_1", "step 1: 'R_37' is no reason"),
        ("R_14 E_9 congruent E_0", "step 1: E_9 does not exist"),
        ("R_14 E_0 congruent E_0 R_21 E_0 similar E_1", "step 2: similar needs triangles, got AB"),
        ("R_14 E_0 congruent E_2", "congruent needs two elements of one kind"),
        ("R_14 E_0 E_1", "is no statement"),
        ("R_5 E_0 + E_2 = C_3", "a sum is of angles and constants, or of segments"),
        ("R_1 E_2 parallel E_0", "parallel needs segments"),
        ("", "the proof has no step"),
    ],
)
def test_a_proof_that_does_not_parse_names_the_step(proof, words):
    with pytest.raises(DataError, match=words):
        parse_proof(proof, ELEMENTS)


def test_a_proof_is_written_as_it_was_read():
    proof = "R_14 E_0 congruent E_0 R_24 E_2 = C_2 R_28 E_0 / E_1 = E_1 / E_0"
    assert write_proof(parse_proof(proof, ELEMENTS), ELEMENTS) == proof


GIVENS = [
    ("A B ∥ C D and E F ≅ G H", ["fact", "fact"]),
    ("AB is parallel to CD, angle A is congruent to angle B", ["fact", "fact"]),
    ("M is the midpoint of A B and C D", ["midpoint", "midpoint"]),
    ("B D bisects ∠ A B C", ["bisects"]),
    ("△ A B C is equilateral", ["equilateral"]),
    ("∠A and ∠ B C D are supplementary", ["supplementary"]),
    ("∠A + ∠ B C D = 180°", ["fact"]),
    ("A B / C D = E F / G H", ["fact"]),
    ("triangle ABC is isosceles with AB = AC", ["fact"]),
    ("ABCD is a parallelogram", ["fact", "fact"]),
    ("the rectangle ABCD", ["fact"] * 6),
    ("right angle at B", ["fact"]),
    (r"$\angle A \cong \angle C$ and $AB \parallel CD$", ["fact", "fact"]),
]


@pytest.mark.parametrize(("text", "kinds"), GIVENS)
def test_givens_are_read_in_the_words_of_the_data_and_in_ours(text, kinds):
    problem = read_problem(f"Given {text}. Prove that AB = CD.")
    assert [given.kind for given in problem.givens] == kinds
    assert not problem.not_understood


def test_a_sentence_that_is_not_understood_is_quoted():
    problem = read_problem("Given AB = CD and the moon is round. Prove that AB ≅ CD.")
    assert problem.not_understood == ("the moon is round",)


@pytest.mark.parametrize("text", ["AB = CD.", "AB = CD. Prove that."])
def test_a_text_without_a_goal_is_refused(text):
    with pytest.raises(DataError, match="prove|goal"):
        read_problem(text)
