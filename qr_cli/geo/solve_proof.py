"""Answers to proving problems: search, check, rank, tell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from qr_cli.errors import DataError
from qr_cli.geo.both import Said
from qr_cli.geo.checker import StepVerdict, Verdict, check
from qr_cli.geo.givens import ProofProblem, read_problem
from qr_cli.geo.picture import Picture, of_proof
from qr_cli.geo.proof import (
    Element,
    Step,
    canonical,
    normal,
    parse_element,
    parse_proof,
    write_proof,
)
from qr_cli.geo.prover import Found, prove
from qr_cli.geo.reasons import REASONS
from qr_cli.geo.records import Problem

_ORDER = {"verified": 0, "needs-diagram": 1}
SHOWN = 3  # alternatives


@dataclass(frozen=True)
class Candidate:
    """A proof, what the checker says of it, and who found it."""

    proof: Found
    verdict: Verdict
    method: str

    @property
    def order(self) -> tuple[Any, ...]:
        """Return its place: least first."""
        return _ORDER.get(self.verdict.verdict, 2), len(self.verdict.unused), self.proof.rank


def solve_proof(
    problem: Problem, *, numeric: bool = False, said: Said | None = None, alone: bool = False
) -> tuple[dict[str, Any], Picture | None]:
    """Return the record of a proving problem and its figure, if it has coordinates.

    Args:
        problem: the record.
        numeric: flag statements that its coordinates show to be false.
        said: what the network wrote, where it was asked.
        alone: the network's proofs only.

    Raises:
        DataError: the goal or an element cannot be read.
    """
    read = read_problem(
        problem.text,
        elements=problem.elements,
        points=dict(problem.points) if problem.points else None,
        collinear=problem.collinear,
    )
    found = [] if alone else [
        Candidate(proof, check(read, proof.steps, numeric=numeric), "rules")
        for proof in prove(read)
    ]  # fmt: skip
    found = merged(found, written(read, said, numeric=numeric) if said else [])
    best = found[0] if found else None
    record: dict[str, Any] = {
        "id": problem.id,
        "task": "proving",
        "status": best.verdict.verdict if best else "unsolved",
        "method": best.method if best else "network" if alone else "rules",
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
    if said:
        record["checkpoint"] = said.checkpoint
        if said.fault:
            record["notes"] = [f"not read by the network: {said.fault}"]
    if best is None:
        record["note"] = (
            "part of the givens was not understood" if read.not_understood else
            "no proof was found within the limits; that does not show that there is none"
        )  # fmt: skip
        return record, of_proof(read, read.elements)
    proof, verdict = best.proof, best.verdict
    record |= {
        "proof": write_proof(proof.steps, proof.elements),
        "elements": [str(e) for e in proof.elements],
        "steps": [_step(step, read) for step in verdict.steps],
        "assumed": list(verdict.assumptions),
        "unused_steps": list(verdict.unused),
        "alternatives": [
            {"proof": write_proof(c.proof.steps, c.proof.elements),
             "elements": [str(e) for e in c.proof.elements],
             "status": c.verdict.verdict, "method": c.method}
            for c in found[1 : 1 + SHOWN] if c.verdict.verdict != "refuted"
        ],
    }  # fmt: skip
    if best.verdict.verdict == "refuted":
        record["note"] = "no proof holds; this is the best of those the network wrote"
    return record, of_proof(read, proof.elements)


def written(problem: ProofProblem, said: Said, *, numeric: bool = False) -> list[Candidate]:
    """Return the network's proofs that parse and reach the goal, each with its verdict."""
    elements = tuple(parse_element(e) for e in said.elements)
    found = []
    for guess in said.guesses:
        try:
            steps = tuple(parse_proof(guess.text, elements))
        except DataError:  # without the grammar a beam need not parse
            continue
        verdict = check(problem, steps, numeric=numeric)
        if verdict.verdict in ("verified", "needs-diagram", "refuted"):
            found.append(Candidate(_ranked(problem, elements, steps, verdict), verdict, "network"))
    return found


def _ranked(
    problem: ProofProblem, elements: tuple[Element, ...], steps: tuple[Step, ...], verdict: Verdict
) -> Found:
    """Return a proof with the rank that the search would give it."""
    terms = [t for s in steps for t in s.statement.left + s.statement.right]
    used = {normal(t) for t in terms if isinstance(t, Element)}
    listed = bool(problem.elements)
    unused = sum(normal(e) not in used for e in elements) if listed else 0
    unsure = 0 if listed else sum(step.level < 2 for step in verdict.steps)
    level = sum(step.level for step in verdict.steps) / len(steps)
    return Found(elements, steps, (unused, unsure, len(steps), -level))


def merged(rules: list[Candidate], network: list[Candidate]) -> list[Candidate]:
    """Return the candidates of both, best first; one that both found is told once."""
    found: dict[frozenset[Any], Candidate] = {}
    for candidate in (*rules, *network):
        key = frozenset((s.reason, canonical(s.statement)) for s in candidate.proof.steps)
        old = found.get(key)
        if old is None:
            found[key] = candidate
        elif old.method != candidate.method:
            found[key] = replace(old, method="rules+network")
    return sorted(found.values(), key=lambda candidate: candidate.order)


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
