"""Hand-made candidates; gold against gold is perfect; labels are read after the choice only."""

import pytest

from qr_cli.geo import metrics
from qr_cli.geo.givens import read_problem
from qr_cli.geo.metrics import Candidate
from qr_cli.geo.records import Problem


def calculation(label, choices=(65.0, 130.0, 50.0, 25.0)):
    return Problem("1", "calculation", "∠A = 50", numbers=(50.0,), choices=choices, label=label,
                   program="g_minus C_3 N_0 g_half V_0")  # fmt: skip


BEAMS = [
    Candidate("g_double N_0"),
    Candidate("g_half N_0"),
    Candidate("g_minus C_3 N_0 g_half V_0"),
]


def test_acc_takes_the_first_candidate_that_matches_any_option():
    problem = calculation(0)
    assert metrics.chosen(problem, BEAMS, 1) is None
    assert metrics.chosen(problem, BEAMS, 3) == 3
    found = metrics.calculation([problem], [BEAMS], 3)
    assert found == {"acc": 0.0, "oracle": 1.0, "exact": 1.0, "no_result": 0.0}
    assert metrics.calculation([problem], [BEAMS], 1)["no_result"] == 1.0


def test_the_choice_does_not_depend_on_the_label():
    assert {metrics.chosen(calculation(label), BEAMS, 3) for label in range(4)} == {3}


def test_a_value_counts_as_it_is():
    assert metrics.chosen(calculation(0), [Candidate(value=65.0)], 1) == 0


ELEMENTS = "(Elements: A B , C D , E F , )"
TEXT = f"Proving: Given A B ≅ C D and C D ≅ E F . Complete the proof that A B ≅ E F . {ELEMENTS}"
PROOF = "R_11 E_0 congruent E_2"


def proving(beams, k):
    problem = Problem("1", "proving", TEXT, proof=PROOF)
    parsed = read_problem(TEXT)
    return metrics.proving([problem], [parsed], [[Candidate(b) for b in beams]], k)


def test_gold_against_gold_is_perfect():
    found = proving([PROOF], 1)
    assert {found[key] for key in ("exact", "set", "valid", "verified", "bleu")} == {1.0}
    assert found["no_result"] == found["refuted"] == 0.0


def test_the_same_proof_in_other_words_is_set_equal_and_valid_but_not_exact():
    found = proving(["R_11 E_2 congruent E_0"], 1)
    assert (found["exact"], found["set"], found["valid"]) == (0.0, 1.0, 1.0)
    swapped = proving(["R_14 E_0 congruent E_0 R_11 E_0 congruent E_2"], 1)
    assert (swapped["exact"], swapped["set"], swapped["valid"]) == (0.0, 0.0, 1.0)


def test_a_refuted_first_candidate_is_counted_and_a_later_one_may_be_valid():
    beams = ["R_30 E_0 congruent E_2", PROOF]
    assert proving(beams, 1)["refuted"] == 1.0
    assert proving(beams, 2)["valid"] == 1.0


def test_bleu_of_half_a_sentence_by_hand():
    """Unigrams 4/4, bigrams 3/3, trigrams 2/2, 4-grams 1/1; brevity exp(1 - 8/4)."""
    pair = (list("abcdefgh"), list("abcd"))
    assert metrics.bleu([pair]) == pytest.approx(0.36787944117144233)


def test_over_limit_and_pooled_categories():
    assert metrics.over_limit(["a b c", "a", None], 2) == 0.5
    assert metrics.pooled("area", "calculation") == "other"
    assert metrics.pooled("proportions", "proving") == "triangle"


def test_calibration_error_by_hand():
    assert metrics.ece([1.0, 1.0, 0.5, 0.5], [True, True, True, False]) == 0.0
    assert metrics.ece([0.9, 0.9], [True, False]) == pytest.approx(0.4)
