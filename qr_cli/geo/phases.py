"""What comes before a run's last phase; all of it trains the one model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from accelerate import Accelerator

from qr_cli.engine.task import Best, Models, Parts, Record, Update
from qr_cli.geo.samples import Pack

if TYPE_CHECKING:
    from qr_cli.geo.task import GeoTask


class Before:
    """A phase before the unified training: `look` (patches only) or `mep`."""

    epochs: int
    max_steps: int | None = None
    unit = "problems"
    best = Best("no_figure", "max")

    def __init__(self, task: GeoTask, name: str) -> None:
        self.task, self.name = task, name
        self.epochs = task.recipe.mep.epochs if name == "mep" and not task.generated else 1
        self.clip_norm = task.recipe.optim.clip_norm

    def parts(self, *, rank: int, world: int) -> Parts:
        """Return the task's model and the phase's batches."""
        return self.task.before(self.name, rank=rank, world=world)

    def step(self, models: Models, batch: Sequence[Pack]) -> Iterator[Update]:
        """Yield the task's update, or that of the patches alone."""
        return (self.task.look if self.name == "look" else self.task.step)(models, batch)

    def evaluate(self, models: Models, accelerator: Accelerator) -> Iterator[Record]:
        """Yield nothing that could choose an epoch: the last one is taken."""
        yield {self.best.metric: math.nan}

    def describe(self) -> Record:
        """Return model.json."""
        return self.task.card

    def result(self, epochs: Sequence[Record]) -> Record:
        """Return nothing: the main phase has the result."""
        return {}

    def lead(self) -> str:
        """Return what it is."""
        return (
            "What stands in each patch of a diagram."
            if self.name == "look"
            else "Mathematical expressions."
        )

    def plots(self, records: Sequence[Record]) -> list[Any]:
        """Return none."""
        return []
