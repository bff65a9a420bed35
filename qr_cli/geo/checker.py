"""The checker: every step of a proof against the facts before it, with a verdict that says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from qr_cli.errors import DataError
from qr_cli.geo.board import Board, sides
from qr_cli.geo.givens import ProofProblem
from qr_cli.geo.measure import truth
from qr_cli.geo.proof import Element, Statement, Step, canonical, parse_proof
from qr_cli.geo.reasons import REASONS, support
from qr_cli.geo.rules_triangles import angle_fact, side_fact

Outcome = Literal["verified", "needs-diagram", "refuted", "wrong-goal", "syntax"]


@dataclass(frozen=True)
class StepVerdict:
    """One step: its level (2 verified, 1 needs the diagram, 0 refuted), what it uses and assumes.

    `uses` holds -1 - i for given i, else the index of an earlier step (from 0).
    """

    n: int
    reason: int
    statement: Statement
    level: int
    uses: tuple[int, ...]
    assumes: tuple[str, ...] = ()
    note: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the step as a record."""
        return {
            "n": self.n,
            "reason_id": f"R_{self.reason}",
            "reason": REASONS[self.reason].says,
            "statement": str(self.statement),
            "level": self.level,
            "uses": list(self.uses),
            "assumes": list(self.assumes),
            "note": self.note,
        }


@dataclass(frozen=True)
class Verdict:
    """What the checker says of a proof."""

    verdict: Outcome
    steps: tuple[StepVerdict, ...] = ()
    assumptions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: str | None = None
    unused: tuple[int, ...] = field(default=(), repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as a record."""
        return {
            "verdict": self.verdict,
            "steps": [step.to_dict() for step in self.steps],
            "assumptions": list(self.assumptions),
            "warnings": list(self.warnings),
            "error": self.error,
        }


def check(
    problem: ProofProblem, proof: str | Sequence[str] | Sequence[Step], *, numeric: bool = False
) -> Verdict:
    """Check a proof.

    Args:
        problem: givens, goal, elements, perhaps coordinates.
        proof: its text, its tokens or its steps.
        numeric: with coordinates, also flag statements they show to be false.
    """
    if isinstance(proof, str) or not proof or isinstance(proof[0], str):
        try:
            steps = parse_proof(proof, problem.elements)  # type: ignore[arg-type]
        except DataError as error:
            return Verdict("syntax", error=error.message)
    else:
        steps = list(proof)  # type: ignore[arg-type]
    board = Board(problem)
    verdicts: list[StepVerdict] = []
    repeated: list[str] = []
    for index, (reason, statement) in enumerate(steps):
        found = support(board, reason, statement)
        note = None
        if found.level == 0:
            note = f"{REASONS[reason].name} does not hold: {_missing(board, reason, statement)}"
        elif numeric and problem.points and truth(statement, problem.points) is False:
            note = "contradicts-diagram"
        verdicts.append(
            StepVerdict(index + 1, reason, statement, found.level, found.uses, found.assumes, note)
        )
        if canonical(statement) in board.known:
            repeated.append(f"step {index + 1} repeats a known fact")
        board.add(statement, index)
    return _conclude(problem, verdicts, repeated)


def _conclude(problem: ProofProblem, steps: list[StepVerdict], repeated: list[str]) -> Verdict:
    used = {use for step in steps for use in step.uses}
    unused = tuple(step.n for step in steps[:-1] if step.n - 1 not in used)
    warnings = [f"step {n} is not used" for n in unused] + repeated
    assumed = tuple(dict.fromkeys(note for step in steps for note in step.assumes))
    least = min(step.level for step in steps)
    outcome: Outcome = "verified" if least == 2 else "needs-diagram"
    if least == 0:
        outcome = "refuted"
    elif canonical(steps[-1].statement) != canonical(problem.goal):
        outcome = "wrong-goal"
    return Verdict(outcome, tuple(steps), assumed, tuple(warnings), unused=unused)


_TRIANGLES = {  # which parts a reason compares; the message names those no fact gives
    0: "angles", 13: "sides and angles", 21: "angles", 29: "sides and angles", 30: "sides",
}  # fmt: skip


def _missing(board: Board, reason: int, statement: Statement) -> str:
    """Return in words which fact a step lacks."""
    one, two = statement.left[0], statement.right[0]
    kinds = {t.kind for t in (one, two) if isinstance(t, Element)}
    if reason not in _TRIANGLES or kinds != {"triangle"}:
        return f"it needs {REASONS[reason].needs}"
    lacking: list[str] = []
    if "sides" in _TRIANGLES[reason]:
        lacking += [
            f"{s} ≅ {t}"
            for s, t in zip(sides(one), sides(two), strict=True)  # type: ignore[arg-type]
            if not side_fact(board, s, t).level
        ]
    if "angles" in _TRIANGLES[reason]:
        lacking += [
            f"∠{a} ≅ ∠{b}"
            for i, (a, b) in enumerate(zip(one.points, two.points, strict=True))  # type: ignore[union-attr]
            if not angle_fact(board, one, two, i).level  # type: ignore[arg-type]
        ]
    if not lacking:
        return f"it needs {REASONS[reason].needs}"
    return f"no fact gives {', '.join(lacking)}; it needs {REASONS[reason].needs}"
