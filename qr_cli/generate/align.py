"""The align phase, where it comes before that of diffusion: it trains the same student."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qr_cli.engine.task import Parts, Record

if TYPE_CHECKING:
    from qr_cli.engine.report import Plot
    from qr_cli.generate.task import SurTask


class AlignPhase:
    """One phase of a task.

    Args:
        task: whose student, rows and losses it uses.
    """

    name, unit = "align", "samples"

    def __init__(self, task: SurTask) -> None:
        self.task, self.best = task, task.best
        schedule = task.recipe.schedule
        self.epochs = -(-schedule.steps // schedule.validate_every)
        self.max_steps: int | None = schedule.steps
        self.clip_norm = task.recipe.optim.clip_norm
        self.step, self.evaluate, self.describe = task.step, task.evaluate, task.describe

    def parts(self, *, rank: int, world: int) -> Parts:
        """Return what it trains."""
        return self.task.aligning(rank=rank, world=world)

    def result(self, epochs: Sequence[Record]) -> Record:
        """Return nothing: the main phase has the result."""
        return {}

    def lead(self) -> str:
        """Return what it is."""
        return "The align phase."

    def plots(self, records: Sequence[Record]) -> list[Plot]:
        """Return nothing: the main phase shows both."""
        return []
