"""The HSI on the MSI grid by cubic splines: what every other method must beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qr_cli.fuse.block import Block
from qr_cli.fuse.degradation import Degradation
from qr_cli.fuse.grid import ALL, Array, Part
from qr_cli.fuse.methods.auto import SPLINE_REACH
from qr_cli.fuse.noise import Noise


@dataclass(frozen=True)
class Bicubic:
    """up(Y), kept within the range of the HSI: a spline overshoots.

    Attributes:
        low: least value of the sample.
        high: largest value of the sample.
        record: nothing.
    """

    low: float
    high: float
    record: list[dict[str, Any]] = field(default_factory=list)
    tiled = True
    margin = SPLINE_REACH + 1

    def predict(self, block: Block, *, phase: tuple[int, int] = (0, 0), part: Part = ALL) -> Array:
        """Return the block (H, W, L), or a part of it."""
        return np.clip(block.up(block.y, part), self.low, self.high)


def fit(blocks: Sequence[Block], degradation: Degradation, noise: Noise) -> Bicubic:
    """Return the method; only the range of the HSI is fitted."""
    values = [block.y[block.low] for block in blocks]
    return Bicubic(min(float(v.min()) for v in values), max(float(v.max()) for v in values))
