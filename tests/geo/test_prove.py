"""Proof search finds what a checker accepts, in the same order every time."""

import pytest

from qr_cli.geo import prover as search
from qr_cli.geo.checker import check
from qr_cli.geo.givens import read_problem
from qr_cli.geo.proof import write_proof
from qr_cli.geo.prover import prove
from qr_cli.geo.records import Problem
from qr_cli.geo.solver import solve

PROBLEMS = [
    "AB ≅ DE, BC ≅ EF, AC ≅ DF. Prove that △ABC ≅ △DEF.",
    "∠A ≅ ∠D, ∠B ≅ ∠E, AB ≅ DE. Prove that △ABC ≅ △DEF.",
    "∠A ≅ ∠D, ∠B ≅ ∠E, BC ≅ EF. Prove that AC ≅ DF.",
    "AB ≅ DE, AC ≅ DF, ∠A ≅ ∠D. Prove that ∠B ≅ ∠E.",
    "M is the midpoint of AC and BD. Prove that △AMB ≅ △CMD.",
    "M is the midpoint of AC and M is the midpoint of BD. Prove that AB ∥ CD.",
    "AB ∥ CD and AD ∥ BC. Prove that △ABC ≅ △CDA.",
    "AB ∥ CD and AB ≅ CD. Prove that AD ≅ BC.",
    "BD bisects ∠ABC and AB ≅ BC. Prove that AD ≅ CD.",
    "AB ≅ AC and D is the midpoint of BC. Prove that △ABD ≅ △ACD.",
    "AD ⟂ BC and D is the midpoint of BC. Prove that AB ≅ AC.",
    "AB ≅ AC. Prove that ∠ABC ≅ ∠ACB.",
    "∠ABC ≅ ∠ACB. Prove that AB ≅ AC.",
    "DE ∥ BC. Prove that △ADE ~ △ABC.",
    "∠A ≅ ∠D, ∠B ≅ ∠E. Prove that AB / DE = BC / EF.",
    "AB / DE = AC / DF, ∠A ≅ ∠D. Prove that △ABC ~ △DEF.",
    "△ABC is equilateral. Prove that AB ≅ BC.",
    "AB ≅ CD and CD ≅ EF. Prove that AB ≅ EF.",
    "∠A and ∠B are supplementary, ∠C and ∠B are supplementary. Prove that ∠A ≅ ∠C.",
    "AB ⟂ BC, DE ⟂ EF. Prove that ∠ABC ≅ ∠DEF.",
    "A B C D is a parallelogram. Prove that AB ≅ CD.",
]


@pytest.mark.parametrize("text", PROBLEMS)
def test_a_found_proof_passes_the_checker(text):
    problem = read_problem(text.replace("A B C D", "ABCD"))
    found = prove(problem)
    assert found
    for proof in found:
        given = read_problem(
            text.replace("A B C D", "ABCD"), elements=[str(e) for e in proof.elements]
        )
        verdict = check(given, write_proof(proof.steps, proof.elements))
        assert verdict.verdict in ("verified", "needs-diagram")
        assert len(proof.steps) <= search.STEPS


def test_the_search_is_deterministic():
    problem = read_problem(PROBLEMS[6])
    assert [p.steps for p in prove(problem)] == [p.steps for p in prove(problem)]


def test_limits_are_respected(monkeypatch):
    problem = read_problem(PROBLEMS[5])
    assert prove(problem, seconds=1e-9) == []
    monkeypatch.setattr(search, "FACTS", 2)
    assert prove(problem) == []
    assert len(prove(read_problem(PROBLEMS[0]), limit=1)) <= 1


def test_what_cannot_be_proved_is_not_proved():
    answer = solve("AB ≅ DE and AC ≅ DF. Prove that △ABC ≅ △DEF.")
    assert answer.status == "unsolved"
    assert "does not show that there is none" in answer.record["note"]


def test_coordinates_turn_assumptions_into_certainty():
    text = "M is the midpoint of AC and BD. Prove that AB ∥ CD."
    points = {"A": (0.0, 3.0), "B": (5.0, 4.0), "C": (6.0, 0.0), "D": (1.0, -1.0), "M": (3.0, 1.5)}
    open_ = solve(text).record
    sure = solve(Problem("1", "proving", text, points=points)).record
    assert (open_["status"], sure["status"]) == ("needs-diagram", "verified")
    assert open_["assumed"]
    assert not sure["assumed"]
    assert sure["steps"][-1]["uses"]
