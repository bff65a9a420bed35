"""Random choices for the generator, drawn from one NumPy generator in blocks.

A sample takes some sixty small choices; asking NumPy for each would cost more than the sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")
_BLOCK = 64


class Dice:
    """Uniform choices from a passed generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._left: list[float] = []

    def unit(self) -> float:
        """Return a number in [0, 1)."""
        if not self._left:
            self._left = self._rng.random(_BLOCK).tolist()
        return self._left.pop()

    def below(self, n: int) -> int:
        """Return an integer in [0, n)."""
        return int(self.unit() * n)

    def between(self, low: float, high: float) -> float:
        """Return a number in [low, high)."""
        return low + self.unit() * (high - low)

    def chance(self, p: float) -> bool:
        """Return True with probability p."""
        return self.unit() < p

    def pick(self, options: Sequence[T]) -> T:
        """Return one of the options."""
        return options[int(self.unit() * len(options))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """Return the items in a random order."""
        out = list(items)
        for i in range(len(out) - 1, 0, -1):
            j = int(self.unit() * (i + 1))
            out[i], out[j] = out[j], out[i]
        return out

    def angle(self, low: int, high: int) -> float:
        """Return degrees in [low, high]: round ones as in school books, seldom a half."""
        step = self.pick((1, 1, 2, 5, 5, 10))
        first = -(-low // step)
        value = float(step * (first + self.below(high // step - first + 1)))
        return value + 0.5 if self.chance(0.03) and value < high else value

    def length(self, low: int, high: int) -> float:
        """Return a length in [low, high]: an integer, or one with a half."""
        value = float(low + self.below(high - low + 1))
        return value + 0.5 if self.chance(0.1) and value < high else value
