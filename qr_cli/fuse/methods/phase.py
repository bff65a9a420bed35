"""A phase of training as one `fit` call of the engine, with its own checkpoints and records.

A phase has no data set: every update is one step on the scene. An epoch is a number of steps after
which the phase is measured. The run folder of a phase stands in that of the fusion.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from qr_cli.engine.accelerator import make_accelerator
from qr_cli.engine.checkpoint import read_weights, resolve
from qr_cli.engine.launch import is_child
from qr_cli.engine.loader import Loader
from qr_cli.engine.loop import Limits, fit
from qr_cli.engine.recipe import Run
from qr_cli.engine.report import Plot
from qr_cli.engine.run import RunFolder
from qr_cli.engine.task import Best, Models, Parts, Record, Update
from qr_cli.errors import UsageError

Step = Callable[[int], Iterator[Update]]


class Phase:
    """Some networks, what a step is, and how the phase is measured; the engine's task.

    Args:
        model: all networks of the phase.
        optimizers: by name; "main" first.
        step: yields the updates of step number i.
        measure: returns the figure by which the best state is kept; smaller is better.
        steps: in all.
        every: steps between measurements.
        schedules: by the name of their optimiser.
        seed: of everything drawn.
    """

    name = "fuse"
    unit = "steps"
    best = Best("held_out", "min")

    def __init__(
        self,
        model: nn.Module,
        optimizers: Mapping[str, Optimizer],
        step: Step,
        measure: Callable[[], float],
        *,
        steps: int,
        every: int,
        schedules: Mapping[str, LRScheduler] | None = None,
        seed: int = 0,
    ) -> None:
        self.model = model
        self.optimizers, self.schedules = dict(optimizers), dict(schedules or {})
        self.make, self.measure = step, measure
        self.every = min(every, steps)
        self.steps, self.seed = steps, seed
        self.start = float("inf")

    def parts(self, *, rank: int, world: int) -> Parts:
        """Return the networks and the numbers of the steps of an epoch."""
        loader = Loader(
            lambda indices, epoch: torch.tensor([epoch * self.every]) + indices[:1],
            self.every, batch_size=1, seed=self.seed,
        )  # fmt: skip
        return Parts({"main": self.model}, self.optimizers, loader, self.schedules)

    def step(self, models: Models, batch: Tensor) -> Iterator[Update]:
        """Yield the updates of a step."""
        yield from self.make(int(batch[0]))

    def evaluate(self, models: Models, accelerator: Accelerator) -> Iterator[Record]:
        """Yield the figure of the state as it is."""
        yield {"held_out": self.measure()}

    def describe(self) -> Record:
        """Return model.json."""
        return {"task": self.name, "phase": type(self.model).__name__}

    def result(self, epochs: Sequence[Record]) -> Record:
        """Return nothing: the fusion has its own result."""
        return {}

    def lead(self) -> str:
        """Return nothing: the fusion has its own report."""
        return ""

    def plots(self, records: Sequence[Record]) -> list[Plot]:
        """Return nothing: the fusion has its own report."""
        return []


class Silent:
    """A listener that does not listen."""

    def record(self, record: Record) -> None:
        """Take nothing."""

    def tick(self, *, epoch: int, epochs: int, step: int, steps: int) -> None:
        """Take nothing."""


def train(
    phase: Phase,
    name: str,
    context: Mapping[str, Any],
    *,
    device: str,
    patience: int = 0,
    keep_best: bool,
) -> list[Record]:
    """Run a phase and leave its best or last state in its model; returns its records.

    Args:
        phase: what is trained.
        name: of its folder inside the run folder.
        context: "run": the fusion's run folder or None, "resume", "listener".
        device: "auto", "cpu", "cuda" or "mps".
        patience: measurements without a gain after which to stop; 0: never.
        keep_best: the state with the smallest figure, the one at the start included, instead of the
            last.

    Raises:
        RunFailed: a loss is not finite; the last good state is kept.
        Interrupted: Ctrl-C; --resume goes on.
    """
    if is_child():
        raise UsageError(
            "--num-processes: networks train in one process", hint="--method auto, or leave it out"
        )
    given: RunFolder | None = context.get("run")
    with tempfile.TemporaryDirectory() as spare:
        folder = (given.path if given else Path(spare)) / name
        folder.mkdir(parents=True, exist_ok=True)
        run = RunFolder(folder)
        accelerator = make_accelerator(Run(device=device, seed=phase.seed), folder)  # type: ignore[arg-type]
        phase.model.to(accelerator.device)
        began = {k: v.detach().cpu().clone() for k, v in phase.model.state_dict().items()}
        with torch.no_grad():
            start = phase.measure()
        resume = bool(context.get("resume")) and (folder / "latest.json").exists()
        progress = fit(
            phase, phase.parts(rank=0, world=1), accelerator, run,
            context.get("listener") or Silent(),
            Limits(epochs=-(-phase.steps // phase.every), max_steps=phase.steps,
                   patience=patience, log_steps=max(phase.every, 50), keep=1),
            resume=resume,
        )  # fmt: skip
        better = progress.best is not None and progress.best < start
        if keep_best and not better:
            phase.model.load_state_dict(began)
        else:
            place = resolve(folder, "best" if keep_best else "last")
            phase.model.load_state_dict(read_weights(place), strict=False)
        phase.model.cpu()
        records = list(run.records())
    phase.start = start
    return [{"event": "epoch", "epoch": 0, "step": 0, "held_out": start}, *records]


def adam(groups: Any, lr: float, *, official: bool = False) -> Adam:
    """Return Adam; `official`: eps and weight decay of 1e-16."""
    if official:
        return Adam(groups, lr=lr, eps=1e-16, weight_decay=1e-16)
    return Adam(groups, lr=lr)


def linear_to_zero(optimizer: Optimizer, steps: int, start: int = 0) -> LambdaLR:
    """Return a schedule: constant until `start`, then linear to zero at `steps`."""
    return LambdaLR(optimizer, lambda i: 1 - max(0, i - start) / max(steps - start, 1))


def official_decay(
    optimizer: Optimizer, steps: int, start: int, *, skips_hundreds: bool = False
) -> LambdaLR:
    """Return ADASR's schedule: after each iteration i > start, lr -= lr0/(steps - start + 1).

    `skips_hundreds`: the augmentor's rate does not fall on iterations divisible by 100.
    """

    def factor(done: int) -> float:
        falls = max(0, done - start)
        if skips_hundreds:
            falls -= max(0, done // 100 - start // 100)
        return 1 - falls / (steps - start + 1)

    return LambdaLR(optimizer, factor)
