"""From a problem to an answer that says how far to trust it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from qr_cli.errors import DataError
from qr_cli.geo.both import Said
from qr_cli.geo.opinion import Select
from qr_cli.geo.picture import Picture
from qr_cli.geo.program import Mode
from qr_cli.geo.records import Problem
from qr_cli.geo.slotting import SlotMode
from qr_cli.geo.solve_calculation import solve_calculation
from qr_cli.geo.solve_proof import solve_proof

Solver = Literal["rules", "network", "both"]


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
        solver: rules, network, or both; only the last two import torch.
        checkpoint: of the network: a shipped name, a run folder or a checkpoint.
        select: how the network's beams choose an option.
        beams: of the network.
        max_length: words of the network's programs and proofs.
        allow_truncation: let the network read the first 200 words of a longer text.
    """

    mode: Mode = "strict"
    slots: SlotMode = "compound"
    exact: bool = True
    guess: bool = False
    numeric: bool = False
    seed: int = 0
    solver: Solver = "rules"
    checkpoint: str = "geoformer-tiny"
    select: Select = "vote"
    beams: int = 10
    max_length: int = 72
    allow_truncation: bool = False


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
    said: Said | None = None,
) -> Answer:
    """Solve a problem.

    Args:
        problem: its text, or a record read by `read`.
        choices: options, if the problem is given as text.
        task: what is asked; `auto`: proving where the text says "prove".
        options: how to solve.
        said: what the network wrote, where many problems were read at once.

    Raises:
        DataError: the problem cannot be used; it is empty, or a goal cannot be read.
        WeightsError: the network's weights cannot be used.
    """
    options = options or Options()
    if isinstance(problem, str):
        if not problem.strip():
            raise DataError("the text is empty")
        proving = re.search(r"\b(?:prove|proof|show that|demonstrate)\b", problem, re.IGNORECASE)
        kind: Any = task if task != "auto" else "proving" if proving else "calculation"
        given = tuple(choices) if choices is not None else None
        problem = Problem(id="1", task=kind, text=problem, choices=given)
    if said is None and options.solver != "rules":
        said = ask([problem], options)[0]
    alone = options.solver == "network"
    if alone and said is not None and said.fault:
        raise DataError(said.fault, hint="--solver rules reads it")
    if problem.task == "proving":
        record, picture = solve_proof(problem, numeric=options.numeric, said=said, alone=alone)
    else:
        record, picture = solve_calculation(
            problem,
            mode=options.mode,
            slots=options.slots,
            exact=options.exact,
            guess=options.guess,
            seed=options.seed,
            said=said,
            alone=alone,
        )
    if problem.warnings:
        record["warnings"] = list(problem.warnings)
    return Answer(record, picture)


def ask(problems: Sequence[Problem], options: Options) -> list[Said]:
    """Return what the network writes for problems, read together.

    Raises:
        DataError: a diagram cannot be read.
        WeightsError: the weights cannot be used.
    """
    from qr_cli.geo.network import load_network  # torch

    network = load_network(options.checkpoint)
    return network.say(
        problems, beams=options.beams, longest=options.max_length, slots=options.slots,
        select=options.select, truncate=options.allow_truncation,
    )  # fmt: skip
