"""Calibration without validation data: scores of models that have not seen the dialogue.

Each fold is a phase before the training proper: a model like it learns the other folds and scores
this one. The labour cost is left out of these, because its scores know labels of all folds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from accelerate import Accelerator

from qr_cli.engine.task import Models, Parts, Record, Update
from qr_cli.handoff.build import predict
from qr_cli.handoff.cem import Scores
from qr_cli.handoff.corpus import Batch
from qr_cli.handoff.mhch import fold_of

if TYPE_CHECKING:
    from qr_cli.handoff.task import HandoffTask


class FoldPhase:
    """One fold.

    Args:
        task: the task it belongs to.
        number: of the fold, from 0.
        folds: how many there are.
    """

    unit = "dialogues"

    def __init__(self, task: HandoffTask, number: int, folds: int) -> None:
        self.task, self.name, self.best = task, f"fold-{number + 1}", task.best
        self.epochs = task.recipe.schedule.epochs
        self.clip_norm = task.recipe.optim.clip_norm
        self.max_steps: int | None = None
        fold = np.array(fold_of(len(task.corpus), folds))
        self.learnt, self.held = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        self.model: Any = None

    def parts(self, *, rank: int, world: int) -> Parts:
        """Return a model of the task's kind and batches of the other folds."""
        self.model = self.task.fresh_model()
        return self.task.trained(
            self.model,
            lambda indices, epoch: self.task.corpus.batch(self.learnt[indices.numpy()]),
            len(self.learnt),
            rank=rank,
            world=world,
        )

    def step(self, models: Models, batch: Batch) -> Iterator[Update]:
        """Yield the task's update."""
        return self.task.step(models, batch)

    def evaluate(self, models: Models, accelerator: Accelerator) -> Iterator[Record]:
        """Yield nothing that could choose an epoch: the training proper has no such choice."""
        yield {self.best.metric: float("nan")}

    def scores(self) -> list[Scores]:
        """Return the scores of the held-out dialogues."""
        return predict(self.model, self.task.corpus.part(self.held))

    def describe(self) -> Record:
        """Return model.json."""
        return self.task.card

    def result(self, epochs: Sequence[Record]) -> Record:
        """Return nothing: the main phase has the result."""
        return {}

    def lead(self) -> str:
        """Return what it is."""
        return "A fold, for calibration."

    def plots(self, records: Sequence[Record]) -> list[Any]:
        """Return none."""
        return []
