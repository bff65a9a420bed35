"""Answers to proving problems: search, check, rank, tell."""

from __future__ import annotations

from typing import Any

from qr_cli.geo.checker import StepVerdict, Verdict, check
from qr_cli.geo.givens import ProofProblem, read_problem
from qr_cli.geo.picture import Picture, of_proof
from qr_cli.geo.proof import write_proof
from qr_cli.geo.prover import Found, prove
from qr_cli.geo.reasons import REASONS
from qr_cli.geo.records import Problem

_ORDER = {"verified": 0, "needs-diagram": 1}
SHOWN = 3  # alternatives


def solve_proof(
    problem: Problem, *, numeric: bool = False
) -> tuple[dict[str, Any], Picture | None]:
    """Return the record of a proving problem and its figure, if it has coordinates.

    Raises:
        DataError: the goal or an element cannot be read.
    """
    read = read_problem(
        problem.text,
        elements=problem.elements,
        points=dict(problem.points) if problem.points else None,
        collinear=problem.collinear,
    )
    found = [(proof, _checked(read, proof, numeric=numeric)) for proof in prove(read)]
    found.sort(key=lambda pair: (_ORDER.get(pair[1].verdict, 2), pair[0].rank))
    record: dict[str, Any] = {
        "id": problem.id,
        "task": "proving",
        "status": found[0][1].verdict if found else "unsolved",
        "method": "rules",
        "goal": str(read.goal),
        "proof": None,
        "elements": [],
        "givens": [given.text for given in read.givens],
        "steps": [],
        "assumed": [],
        "unused_steps": [],
        "alternatives": [],
        "not_understood": list(read.not_understood),
    }
    if not found:
        record["note"] = (
            "part of the givens was not understood" if read.not_understood else
            "no proof was found within the limits; that does not show that there is none"
        )  # fmt: skip
        return record, of_proof(read, read.elements)
    best, verdict = found[0]
    record |= {
        "proof": write_proof(best.steps, best.elements),
        "elements": [str(e) for e in best.elements],
        "steps": [_step(step, read) for step in verdict.steps],
        "assumed": list(verdict.assumptions),
        "unused_steps": list(verdict.unused),
        "alternatives": [
            {"proof": write_proof(p.steps, p.elements), "elements": [str(e) for e in p.elements],
             "status": v.verdict}
            for p, v in found[1 : 1 + SHOWN]
        ],
    }  # fmt: skip
    return record, of_proof(read, best.elements)


def _checked(problem: ProofProblem, proof: Found, *, numeric: bool) -> Verdict:
    return check(problem, proof.steps, numeric=numeric)


def _step(step: StepVerdict, problem: ProofProblem) -> dict[str, Any]:
    levels = {2: "verified", 1: "needs-diagram", 0: "refuted"}
    return {
        "n": step.n,
        "reason_id": f"R_{step.reason}",
        "reason": REASONS[step.reason].says,
        "statement": str(step.statement),
        "uses": [f"given {-use}" if use < 0 else f"step {use + 1}" for use in step.uses],
        "check": levels[step.level],
        "assumes": "; ".join(step.assumes) or None,
    } | ({"note": step.note} if step.note else {})
