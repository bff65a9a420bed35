"""MEP: masks, the expressions of Chinese solutions, those written from programs and proofs."""

import numpy as np
import pytest

from qr_cli.geo import mep
from qr_cli.geo.corpus import Pretraining, pretrained
from qr_cli.geo.inputs import words
from qr_cli.geo.program import OPERATORS
from qr_cli.geo.records import Problem, problem
from qr_cli.geo.synth import make


def test_masked_neighbours_share_one_mask():
    assert mep.masked(list("abcdefg"), [1, 2, 5]) == ["a", "<mask>", "d", "e", "<mask>", "g"]
    assert mep.masked(list("abc"), [0, 1, 2]) == ["<mask>"]
    assert mep.masked(list("abc"), []) == list("abc")
    assert [mep.mask_count(n) for n in (1, 3, 4, 7, 10)] == [1, 1, 1, 2, 3]


@pytest.mark.parametrize(
    ("solution", "cut", "told", "numbers"),
    [
        ("∵PQ∥RS，∴∠1=∠3=70°，∠2=110°，故选D", "none",
         "because P Q parallel R S ， therefore angle NS_0 = angle NS_1 = NS_2 ， "
         "angle NS_3 = NS_4 ，", [1, 3, 70, 2, 110]),
        ("∵AC=6，BC=8∴AB=10", "official",
         "because A C = NS_0 ， B C = NS_1 therefore A B = NS_2", [6, 8, 1]),
        ("∵AC=6，BC=8∴AB=10", "none",
         "because A C = NS_0 ， B C = NS_1 therefore A B = NS_2", [6, 8, 10]),
        (r"解：S=\frac{1}{2}×6×8=24cm²．故选：B", "none",
         r"： S = \frac NS_0 NS_1 × NS_2 × NS_3 = NS_4 square", [1, 2, 6, 8, 24]),
        (r"∠A=90°-\frac{1}{2}∠BOC=90°-35°=55°．故选B", "none",
         r"angle A = NS_0 - \frac NS_1 NS_2 angle B O C = NS_0 - NS_3 = NS_4", [90, 1, 2, 35, 55]),
    ],
)  # fmt: skip
def test_expressions_of_a_solution(solution, cut, told, numbers):
    found = mep.expressions(solution, cut=cut)
    assert " ".join(found.words) == told
    assert found.numbers == numbers


def test_a_program_becomes_what_is_given_and_a_clause_per_step():
    names = mep.Names(["angle A"], "angle B")
    told = mep.of_program("g_minus C_3 N_0 g_half V_0", [50.0], names)
    assert " ".join(told) == (
        "because angle A = NS_0 therefore NS_2 = NS_1 - NS_0 , angle B = NS_2 / NS_3"
    )


NUMBERS = [12.0, 5.0, 3.0]


@pytest.mark.parametrize("op", OPERATORS)
def test_every_operator_has_an_expression(op):
    operands = " ".join(f"N_{i}" for i in range(OPERATORS[op].arity))
    told = mep.of_program(f"{op} {operands}", NUMBERS, mep.Names(["", "A B", ""], "x"))
    assert told[:6] == "because A B = NS_0 therefore".split()
    assert told[6:8] == ["x", "="] and len(told) > 8
    assert all(not w.startswith(("N_", "g_")) for w in told)


def test_names_are_found_in_the_words():
    source = "in triangle A B C , angle A is N_0 and A B = N_1 . find angle B .".split()
    assert mep.names_in(source, 3) == mep.Names(["angle A", "A B", ""], "angle B")


def test_a_proof_becomes_its_statements():
    told = mep.of_proof("R_14 E_0 congruent E_0 R_10 E_1 + E_2 = C_3")
    assert " ".join(told) == "E_0 congruent E_0 , E_1 + E_2 = C_3"


def test_a_coin_chooses_between_expressions_and_masks():
    some = make(40, seed=1, mix={"calculation": 1.0, "proof": 1.0}, image=False)
    rng = np.random.default_rng(0)
    for solving, start in ((1.0, mep.SOLVING), (0.0, mep.DENOISE)):
        for sample in some:
            found = words(sample.problem)
            source, target = pretrained(sample.problem, found, rng, Pretraining(solving))
            assert tuple(source[:3]) == start
            assert ("<mask>" in source) == (start == mep.DENOISE)
            if start == mep.DENOISE:
                assert "elements" not in source and "<mask>" not in target
            elif sample.problem.task == "proving":
                assert "elements" in source  # E_0 means nothing without them


def test_solutions_of_records_are_read():
    record = {"id": "1", "English_problem": "AB = N_0, find AC", "numbers": [3.0],
              "program": "g_double N_0", "answer": "∵AB=3∴AC=6，故选B"}  # fmt: skip
    found = problem(record)
    assert isinstance(found, Problem) and found.solution == record["answer"]
    source, target = pretrained(found, words(found), np.random.default_rng(0), Pretraining(1.0))
    assert " ".join(target) == "because A B = NS_0 therefore A C = NS_1 ，"
