"""From a problem to an answer that says how far to trust it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from qr_cli.errors import DataError
from qr_cli.geo.picture import Picture
from qr_cli.geo.program import Mode
from qr_cli.geo.records import Problem
from qr_cli.geo.slotting import SlotMode
from qr_cli.geo.solve_calculation import solve_calculation
from qr_cli.geo.solve_proof import solve_proof


@dataclass(frozen=True)
class Options:
    """How to solve.

    Attributes:
        mode: executor and option rule.
        slots: what counts as one number.
        exact: also give closed forms.
        guess: choose an option even where the answer is not known; marked as guessed.
        numeric: with coordinates, flag statements they show to be false.
        seed: of the random starts of constructions.
    """

    mode: Mode = "strict"
    slots: SlotMode = "compound"
    exact: bool = True
    guess: bool = False
    numeric: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Answer:
    """An answer: the record that `qr solve-geo` prints, and the figure it was found on."""

    record: dict[str, Any]
    picture: Picture | None = None

    @property
    def status(self) -> str:
        """Return how far to trust it."""
        return str(self.record["status"])

    @property
    def value(self) -> float | None:
        """Return the value of a calculation."""
        value = self.record.get("value")
        return None if value is None else float(value)

    @property
    def option(self) -> str | None:
        """Return the letter of the option."""
        option = self.record.get("option")
        return None if option is None else str(option)

    def to_dict(self) -> dict[str, Any]:
        """Return the record."""
        return dict(self.record)


def solve(
    problem: str | Problem,
    choices: Sequence[Any] | None = None,
    *,
    task: Literal["auto", "calculation", "proving"] = "auto",
    options: Options | None = None,
) -> Answer:
    """Solve a problem.

    Args:
        problem: its text, or a record read by `read`.
        choices: options, if the problem is given as text.
        task: what is asked; `auto`: proving where the text says "prove".
        options: how to solve.

    Raises:
        DataError: the problem cannot be used; it is empty, or a goal cannot be read.
    """
    options = options or Options()
    if isinstance(problem, str):
        if not problem.strip():
            raise DataError("the text is empty")
        proving = re.search(r"\b(?:prove|proof|show that|demonstrate)\b", problem, re.IGNORECASE)
        kind: Any = task if task != "auto" else "proving" if proving else "calculation"
        given = tuple(choices) if choices is not None else None
        problem = Problem(id="1", task=kind, text=problem, choices=given)
    if problem.task == "proving":
        record, picture = solve_proof(problem, numeric=options.numeric)
    else:
        record, picture = solve_calculation(
            problem,
            mode=options.mode,
            slots=options.slots,
            exact=options.exact,
            guess=options.guess,
            seed=options.seed,
        )
    if problem.warnings:
        record["warnings"] = list(problem.warnings)
    return Answer(record, picture)
