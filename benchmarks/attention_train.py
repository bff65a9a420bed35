"""What the engine costs: `fit` against a bare PyTorch loop, and what precision and layout bring.

    OMP_NUM_THREADS=1 python benchmarks/attention_train.py [--module none] [--rounds 6]

ResNet-20, batch 128, `shapes` in memory, one thread, one process. Segments of 40 steps alternate
between the contestants, so that a drift of the machine's speed meets all of them alike; the median
of their CPU times is compared. The bare loop has the same network, batches, optimiser, schedule and
loss, and keeps the same running sums of loss and accuracy. Engine times are taken between two ticks
of its listener, that is without start-up, evaluation and saving.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F

from qr_cli.attention.recipe import Attention
from qr_cli.attention.task import AttentionTask
from qr_cli.engine.accelerator import computes_bf16, make_accelerator
from qr_cli.engine.loop import Limits, fit
from qr_cli.engine.resolve import by_name, resolve
from qr_cli.engine.run import RunFolder

STEPS, BATCH = 40, 128


class Clock:
    """A listener that notes the CPU time of every tick."""

    def __init__(self) -> None:
        self.ticks: list[float] = []

    def record(self, record: object) -> None: ...

    def tick(self, **_: int) -> None:
        self.ticks.append(time.process_time())

    def per_step(self) -> float:
        return (self.ticks[-1] - self.ticks[0]) / (len(self.ticks) - 1)


def recipe(module: str, **settings: object) -> Attention:
    data = f"shapes(train={STEPS * BATCH},test=64)"
    given = {"module": module, "data": data, "batch_size": BATCH, "epochs": 1, "lr": 0.1}
    return resolve(Attention, given=by_name(Attention, given | settings))


def engine(task: AttentionTask, folder: Path) -> float:
    """Return CPU seconds per step of `fit`, as `qr train attention` calls it."""
    run = RunFolder(folder)
    run.path.mkdir(parents=True, exist_ok=True)
    clock = Clock()
    settings = task.recipe
    accelerator = make_accelerator(settings.run, folder)
    parts = task.parts(rank=0, world=1)
    if settings.run.channels_last:
        parts.models["main"].to(memory_format=torch.channels_last)
    fit(task, parts, accelerator, run, clock, Limits(epochs=1))
    return clock.per_step()


def bare(task: AttentionTask) -> float:
    """Return CPU seconds per step of a loop written out by hand."""
    parts = task.parts(rank=0, world=1)
    model, optimizer, schedule = (
        parts.models["main"],
        parts.optimizers["main"],
        parts.schedulers["main"],
    )
    if task.recipe.run.channels_last:
        model.to(memory_format=torch.channels_last)
    model.train()
    ticks, loss_sum, right = [], 0.0, 0.0
    for chunk in parts.train.epoch(0):
        images, labels = chunk.batch
        logits = model(images)
        loss = F.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        loss_sum += loss.detach() * len(labels)
        right += (logits.detach().argmax(1) == labels).sum()
        ticks.append(time.process_time())
    return (ticks[-1] - ticks[0]) / (len(ticks) - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--module", default="none")
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args()
    torch.set_num_threads(1)
    plain = AttentionTask(recipe(options.module, channels_last=False))
    last = AttentionTask(recipe(options.module, channels_last=True))
    both = AttentionTask(recipe(options.module, channels_last=True, precision="bf16"))
    with tempfile.TemporaryDirectory() as folder:
        contestants = {
            "bare loop, fp32": lambda: bare(plain),
            "fit, fp32": lambda: engine(plain, Path(folder, "a")),
            "fit, fp32 channels-last": lambda: engine(last, Path(folder, "b")),
        }
        if computes_bf16():  # emulated it takes minutes and says nothing
            contestants["fit, bf16 channels-last"] = lambda: engine(both, Path(folder, "c"))
        times: dict[str, list[float]] = {name: [] for name in contestants}
        for number in range(options.rounds + 1):
            for name, run in contestants.items():
                seconds = run()
                if number:  # the first round warms up
                    times[name].append(seconds)
    show(times, options.module)


def show(times: dict[str, list[float]], module: str) -> None:
    base = times["bare loop, fp32"]
    bars = {"fit, fp32": 0.97, "fit, bf16 channels-last": 1.6}
    table = Table(title=f"ResNet-20, {module}, batch {BATCH}, one thread, {platform.machine()}")
    for column in ("contestant", "images per CPU-s", "speed / bare loop", "bar"):
        table.add_column(column, justify="left" if column == "contestant" else "right")
    for name, values in times.items():
        ratio = statistics.median(a / b for a, b in zip(base, values, strict=True))
        speed = BATCH / statistics.median(values)
        table.add_row(name, f"{speed:.0f}", f"{ratio:.3f}", str(bars.get(name, "")))
    Console().print(table)


if __name__ == "__main__":
    main()
