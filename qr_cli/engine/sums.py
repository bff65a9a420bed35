"""Running sums of an epoch's metrics, and the watch over its losses.

Everything stays on the device until it is looked at: no step waits for a copy. Losses wait there
until `check`; `Progress.losses` holds those that were checked since the last look.
"""

from __future__ import annotations

import math

import torch
from accelerate import Accelerator
from torch import Tensor

from qr_cli.engine.checkpoint import Progress
from qr_cli.engine.task import Update
from qr_cli.errors import RunFailed


class EpochSums:
    """Sums over the samples of one epoch.

    Args:
        accelerator: device and ranks.
        progress: holds what an interrupted epoch had summed, and takes the losses that are checked.
        phase: the phase before the main one that this is; empty for the main one.
    """

    def __init__(self, accelerator: Accelerator, progress: Progress, phase: str = "") -> None:
        self.accelerator, self.progress, self.phase = accelerator, progress, phase
        self.dtype = torch.float32 if accelerator.device.type == "mps" else torch.float64
        start = progress.sums if accelerator.is_main_process else {}
        self.sums = {k: self._scalar(v) for k, v in start.items()}
        self.losses: list[Tensor] = []
        self.steps: list[int] = []
        self.seen = 0

    def add(self, update: Update, count: int) -> None:
        """Add an update's loss and metrics, means over `count` samples."""
        loss = update.loss.detach()
        self.losses.append(loss)
        self.steps.append(self.progress.step + 1)
        for name, value in {"loss": loss, **update.metrics}.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach().to(self.dtype) * count
            self.sums[f"n {name}"] = self.sums.get(f"n {name}", self._scalar(0.0)) + count

    def look(self) -> float:
        """Return the mean loss since the last look; raise if one of them is not finite."""
        self.check()
        losses, self.progress.losses = self.progress.losses, []
        return math.fsum(losses) / len(losses) if losses else math.nan

    def check(self) -> None:
        """Raise if a loss since the last look is not finite."""
        if not self.losses:
            return
        losses = self.accelerator.reduce(torch.stack(self.losses).to(self.dtype), "mean")
        bad = (~losses.isfinite()).nonzero()
        if len(bad):
            raise RunFailed(
                f"the loss is not finite at step {self.steps[int(bad[0])]}"
                + (f" of the phase {self.phase}" if self.phase else ""),
                hint="try a lower --lr or --clip-norm 1; the last good checkpoint is kept",
            )
        self.progress.losses += losses.tolist()
        self.losses, self.steps = [], []

    def total(self) -> dict[str, float]:
        """Return the sums over all ranks."""
        names = sorted(self.sums)
        stacked = torch.stack([self.sums[name] for name in names])
        total = self.accelerator.reduce(stacked, "sum").tolist()
        by_name = dict(zip(names, total, strict=True))
        return {name: by_name[name] for name in self.sums}

    def means(self) -> dict[str, float]:
        """Return the means over all samples of the epoch, in the order they were added."""
        total = self.total()
        return {k: v / total[f"n {k}"] for k, v in total.items() if f"n {k}" in total}

    def _scalar(self, value: float) -> Tensor:
        return torch.tensor(value, dtype=self.dtype, device=self.accelerator.device)
