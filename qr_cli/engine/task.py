"""The contract between the loop and a task: the loop owns time, the task owns meaning."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from qr_cli.engine.loader import Loader

if TYPE_CHECKING:
    from qr_cli.engine.report import Plot
    from qr_cli.engine.run import RunFolder

Models = Mapping[str, nn.Module]
Record = dict[str, Any]


class Update(NamedTuple):
    """One update the loop should make.

    Attributes:
        loss: scalar, the mean over the samples of the batch.
        metrics: further scalars, means over the same samples; the loop averages them per epoch.
        optimizer: the name in `Parts.optimizers` that takes this step.
    """

    loss: Tensor
    metrics: dict[str, Tensor]
    optimizer: str = "main"


class Best(NamedTuple):
    """The figure by which a checkpoint is the best one."""

    metric: str
    direction: Literal["max", "min"]

    def improves(self, value: float, on: float | None) -> bool:
        """Tell whether `value` beats `on`."""
        if math.isnan(value):
            return False
        return on is None or (value > on if self.direction == "max" else value < on)


@dataclass
class Parts:
    """What the loop drives, not yet prepared for a device.

    Attributes:
        models: by name; one model is called "main".
        optimizers: by name, as `Update.optimizer` names them. Without any, the models are finished
            as they come (a closed-form fit): the loop evaluates and saves them as epoch 1.
        train: the training batches; None where there is no optimiser.
        schedulers: by the name of their optimiser; stepped after each of its updates.
    """

    models: dict[str, nn.Module]
    optimizers: dict[str, Optimizer]
    train: Loader | None
    schedulers: dict[str, LRScheduler] = field(default_factory=dict)


class Task(Protocol):
    """A job the loop can run; one that needs several `fit` calls is `Staged` too."""

    name: str
    unit: str  # what a sample is, in the plural: "images"
    best: Best

    def parts(self, *, rank: int, world: int) -> Parts:
        """Build models, optimisers, schedules and batches for this rank."""

    def step(self, models: Models, batch: Any) -> Iterator[Update]:
        """Yield the updates of one batch; each is applied before the next is asked for."""

    def evaluate(self, models: Models, accelerator: Accelerator) -> Iterator[Record]:
        """Yield records; the first one's fields join the epoch record."""

    def describe(self) -> Record:
        """Return model.json: everything that loading a checkpoint needs."""

    def result(self, epochs: Sequence[Record]) -> Record:
        """Return the fields of the final record from the epoch records."""

    def lead(self) -> str:
        """Return the sentence that opens the report."""

    def plots(self, records: Sequence[Record]) -> list[Plot]:
        """Return the figures of the report."""


class Phase(Task, Protocol):
    """A task that comes before the main one, in a folder of its own: ``phases/<name>``."""

    epochs: int
    max_steps: int | None
    clip_norm: float


@runtime_checkable
class Staged(Protocol):
    """A task with phases before its own training, or with files beside its checkpoints."""

    def phases(self, run: RunFolder) -> Iterator[Phase]:
        """Yield each phase before; when the next one is asked for, its models are trained.

        A phase that an earlier process finished is restored, not trained again.
        """

    def finish(self, run: RunFolder) -> None:
        """Write what belongs beside the checkpoints; training is over."""
