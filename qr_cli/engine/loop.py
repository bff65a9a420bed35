"""The one training loop. It owns time; what a step means is the task's (`engine.task`)."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, send_to_device
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from qr_cli.engine import checkpoint
from qr_cli.engine.checkpoint import Progress
from qr_cli.engine.interrupts import interrupts
from qr_cli.engine.run import RunFolder
from qr_cli.engine.sums import EpochSums
from qr_cli.engine.task import Parts, Record, Task, Update
from qr_cli.errors import Interrupted, RunFailed

log = logging.getLogger(__name__)


class Listener(Protocol):
    """Whoever watches a run: the terminal, a pipe, a test."""

    def record(self, record: Record) -> None:
        """Take a line of metrics.jsonl."""

    def tick(self, *, epoch: int, epochs: int, step: int, steps: int) -> None:
        """Take note that `step` of an epoch's `steps` updates are done."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When the loop stops, looks and saves.

    Attributes:
        epochs: passes over the training data.
        max_steps: updates after which to stop, whatever `epochs` says.
        followed: more comes after these epochs, so that an interruption is heard at their end too.
        clip_norm: gradient norm above which gradients are scaled down; 0: never.
        ema: decay of averaged weights, which are then evaluated and saved; 0: none.
        patience: epochs without a better figure after which to stop; 0: never.
        log_steps: updates between looks at the loss.
        save_steps: updates between checkpoints inside an epoch; 0: none.
        keep: checkpoints kept besides the best.
    """

    epochs: int
    max_steps: int | None = None
    followed: bool = False
    clip_norm: float = 0.0
    ema: float = 0.0
    patience: int = 0
    log_steps: int = 50
    save_steps: int = 0
    keep: int = 2

    def last_step(self, epoch_steps: int) -> int:
        """Return the number of updates of the whole run."""
        return min(self.epochs * epoch_steps, self.max_steps or self.epochs * epoch_steps)


def fit(
    task: Task,
    parts: Parts,
    accelerator: Accelerator,
    run: RunFolder,
    listener: Listener,
    limits: Limits,
    *,
    resume: bool = False,
) -> Progress:
    """Train until the epochs or updates are done, or the patience is at its end.

    Args:
        task: what a step means.
        parts: what `task.parts` returned; prepared for the device here.
        accelerator: device, precision, processes.
        run: where checkpoints and records go.
        listener: who watches.
        limits: when to stop, look and save.
        resume: go on from the latest checkpoint.

    Raises:
        RunFailed: a loss or weight is not finite; the last good checkpoint stays.
        Interrupted: Ctrl-C or SIGTERM; a checkpoint was saved.
    """
    loop = _Loop(task, parts, accelerator, run, listener, limits)
    if resume:
        loop.restore()
    with interrupts() as asked:
        if not parts.optimizers and not loop.progress.epoch:
            loop.close_epoch(asked)
        while loop.goes_on():
            loop.train_epoch(asked)
            loop.close_epoch(asked)
    return loop.progress


class _Loop:
    def __init__(
        self,
        task: Task,
        parts: Parts,
        accelerator: Accelerator,
        run: RunFolder,
        listener: Listener,
        limits: Limits,
    ) -> None:
        self.task, self.parts, self.accelerator = task, parts, accelerator
        self.run, self.listener, self.limits = run, listener, limits
        self.card = task.describe()
        self.averaged = _averaged(parts, limits.ema, accelerator.device)
        self.models = {name: accelerator.prepare(model) for name, model in parts.models.items()}
        self.optimizers = {
            name: accelerator.prepare(optimizer) for name, optimizer in parts.optimizers.items()
        }
        self.progress = Progress()
        self.epoch_steps = 0 if parts.train is None else len(parts.train)
        self.last_step = limits.last_step(self.epoch_steps)
        self.epoch_record: Record = {"event": "epoch", "epoch": 1, "step": 0}

    def restore(self) -> None:
        self.progress = checkpoint.load(
            self.accelerator, self.run, schedulers=self.parts.schedulers, averaged=self.averaged
        )
        self.run.rewind(self.progress.position)
        log.info("resumed after epoch %d, step %d", self.progress.epoch, self.progress.step)

    def goes_on(self) -> bool:
        patient = not self.limits.patience or self.progress.stale < self.limits.patience
        return patient and self.progress.step < self.last_step

    def train_epoch(self, asked: Callable[[], bool]) -> None:
        """Make the updates of one epoch that are not made yet."""
        assert self.parts.train is not None, "optimisers need batches"
        progress, accelerator = self.progress, self.accelerator
        sums = EpochSums(accelerator, progress, self.run.phase)
        for model in self.models.values():
            model.train()
        started = fetched = time.perf_counter()
        waited = 0.0
        for chunk in self.parts.train.epoch(progress.epoch, skip=progress.epoch_step):
            waited += time.perf_counter() - fetched
            batch = send_to_device(chunk.batch, accelerator.device)
            sums.seen += chunk.samples * accelerator.num_processes
            for update in self.task.step(self.models, batch):
                sums.add(update, chunk.samples)
                self._apply(update, weight=chunk.weight, last=chunk.last)
            if chunk.last:
                self._after_update(sums, asked)
                if progress.step == self.last_step:
                    break
            fetched = time.perf_counter()
        seconds = time.perf_counter() - started
        sums.check()
        self.epoch_record = {
            "event": "epoch",
            "epoch": progress.epoch + 1,
            "step": progress.step,
            "lr": self._lr(),
            **sums.means(),
            f"{self.task.unit}_per_s": round(sums.seen / seconds, 1),
            "data_seconds": round(waited, 2),
            "seconds": round(seconds, 2),
        }

    def close_epoch(self, asked: Callable[[], bool]) -> None:
        """Evaluate, record and save; stop where that was asked."""
        progress, best = self.progress, self.task.best
        first, *others = self._evaluate()
        for key, value in first.items():
            if key.endswith("loss") and not math.isfinite(value):
                raise RunFailed(
                    f"{key} is not finite after step {progress.step}", hint=self._last_good()
                )
        progress.epoch, progress.epoch_step = progress.epoch + 1, 0
        progress.sums, progress.losses = {}, []
        is_best = best.improves(first[best.metric], progress.best)
        progress.stale = 0 if is_best else progress.stale + 1
        if is_best:
            progress.best, progress.best_epoch = first[best.metric], progress.epoch
        self._emit(self.epoch_record | first)
        for record in others:
            self._emit({"event": record["event"], "epoch": progress.epoch} | record)
        self._save(is_best=is_best)
        if self._agreed(asked()) and (self.goes_on() or self.limits.followed):
            raise self._interrupted()

    def _apply(self, update: Update, *, weight: float, last: bool) -> None:
        accelerator = self.accelerator
        with ExitStack() as stack:
            stack.enter_context(_untouched(self._trained(but=update.optimizer)))
            if not last:
                for model in self.models.values():
                    stack.enter_context(accelerator.no_sync(model))
            accelerator.backward(update.loss * weight if weight != 1 else update.loss)
        if not last:
            return
        optimizer = self.optimizers[update.optimizer]
        if self.limits.clip_norm:
            accelerator.clip_grad_norm_(_parameters(optimizer), self.limits.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        # After the last update onecycle has no further rate: its course would turn upwards.
        ends = self.progress.step + 1 == self.last_step
        if update.optimizer in self.parts.schedulers and not ends:
            self.parts.schedulers[update.optimizer].step()

    def _after_update(self, sums: EpochSums, asked: Callable[[], bool]) -> None:
        """Count the update; look, save or stop where it is time to."""
        progress, limits = self.progress, self.limits
        progress.step += 1
        progress.epoch_step += 1
        if self.averaged:
            self.averaged.update_parameters(self._bare("main"))
        steps = self.epoch_steps
        self.listener.tick(
            epoch=progress.epoch + 1, epochs=limits.epochs, step=progress.epoch_step, steps=steps
        )
        looks = progress.step % limits.log_steps == 0
        if looks:
            loss = sums.look()
            self._emit({"event": "step", "step": progress.step, "loss": loss, "lr": self._lr()})
        alone = self.accelerator.num_processes == 1
        stops = self._agreed(asked()) if looks or alone else False
        due = limits.save_steps and progress.step % limits.save_steps == 0
        inside = progress.epoch_step < steps and progress.step < self.last_step
        if inside and (stops or due):
            sums.check()
            progress.sums = sums.total()
            self._save()
        if inside and stops:
            raise self._interrupted()

    def _interrupted(self) -> Interrupted:
        return Interrupted(
            f"interrupted at step {self.progress.step}; saved "
            f"{self.run.checkpoints / self.progress.label}",
            hint="add --resume to the same command to go on",
        )

    def _trained(self, *, but: str) -> list[nn.Parameter]:
        """Return the parameters of all optimisers that are not those of one of them."""
        own = {id(parameter) for parameter in _parameters(self.optimizers[but])}
        others = (o for name, o in self.optimizers.items() if name != but)
        return [p for other in others for p in _parameters(other) if id(p) not in own]

    def _evaluate(self) -> list[Record]:
        bare = {name: self._bare(name) for name in self.models}
        if self.averaged:
            bare["main"] = self.averaged.module
        if self.accelerator.num_processes > 1:
            for model in bare.values():
                broadcast(list(model.buffers()))
        for model in bare.values():
            model.eval()
        with torch.no_grad(), self.accelerator.autocast():
            return list(self.task.evaluate(bare, self.accelerator))

    def _bare(self, name: str) -> Any:
        """Return a model without its DDP wrapper, whose forward waits for the other ranks."""
        model = self.models[name]
        return model.module if isinstance(model, DistributedDataParallel) else model

    def _save(self, *, is_best: bool = False) -> None:
        path = checkpoint.save(
            self.accelerator,
            self.run,
            self.progress,
            self.card,
            models=self.models,
            schedulers=self.parts.schedulers,
            averaged=self.averaged,
            is_best=is_best,
            keep=self.limits.keep,
        )
        log.debug("saved %s", path)

    def _emit(self, record: Record) -> None:
        if self.run.phase:  # a tracker follows the main phase alone
            record = {"event": record["event"], "phase": self.run.phase} | record
        self.run.record(record)
        if self.run.writes:
            self.listener.record(record)
        if self.run.phase:
            return
        event = record["event"]  # the loss of a step and the mean of an epoch are two curves
        numbers = {f"{event}/{k}": v for k, v in record.items() if isinstance(v, int | float)}
        self.accelerator.log(numbers, step=self.progress.step)

    def _lr(self) -> float:
        return next(iter(self.optimizers.values())).param_groups[0]["lr"]

    def _agreed(self, asked: bool) -> bool:
        """Tell whether any rank was asked to stop."""
        if self.accelerator.num_processes == 1:
            return asked
        flag = torch.tensor(float(asked), device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag, "sum").item())

    def _last_good(self) -> str:
        latest = self.run.path / "latest.json"
        kept = f"the last good checkpoint is kept ({latest}); " if latest.exists() else ""
        return f"{kept}try a lower --lr or --clip-norm 1"


def _parameters(optimizer: Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


@contextmanager
def _untouched(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Keep the gradients of other optimisers as they are, whatever a loss flows through."""
    kept = [parameter.grad for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    yield
    for parameter, gradient in zip(parameters, kept, strict=True):
        parameter.grad = gradient


def _averaged(parts: Parts, decay: float, device: torch.device) -> AveragedModel | None:
    """Return a copy of the main model that follows it with exponential decay.

    After n updates the decay is min(decay, (1 + n) / (10 + n)): a run of fewer updates than the
    average is long would otherwise end near the weights it was drawn with.
    """
    if not decay:
        return None

    def follow(averaged: Any, current: Any, count: Any) -> None:
        n = int(count)
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(averaged, current, count)

    return AveragedModel(parts.models["main"], device, multi_avg_fn=follow, use_buffers=True)
