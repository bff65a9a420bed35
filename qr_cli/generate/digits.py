"""Handwritten digits in six tints: what the tiny base was trained on and its judges were.

The pictures are the 1,797 digits of 8x8 pixels that scikit-learn ships ("Optical Recognition of
Handwritten Digits", Alpaydin and Kaynak 1998). Every third one belongs to the judges, the others
to the generator, so that a judge has seen no picture the generator has.
Shapes: N pictures, 8x8 pixels, 3 channels.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from qr_cli.generate.world import TINTS

ASSETS = Path(__file__).parent / "assets"


class Digits(NamedTuple):
    """Grey pictures (N, 8, 8) in [0, 1] and their labels (N,)."""

    grey: Tensor
    labels: Tensor


@cache
def load_digits(share: Literal["all", "judges", "generator"] = "all") -> Digits:
    """Return the digits of one share: 1,797, 599 or 1,198 of them."""
    with np.load(ASSETS / "digits.npz") as stored:
        grey = torch.from_numpy(stored["images"].astype(np.float32) / 16)
        labels = torch.from_numpy(stored["labels"].astype(np.int64))
    judges = torch.arange(len(labels)) % 3 == 0
    keep = {"all": torch.ones_like(judges), "judges": judges, "generator": ~judges}[share]
    return Digits(grey[keep], labels[keep])


def paint(grey: Tensor, tints: Tensor) -> Tensor:
    """Return grey pictures in colour: (N, 8, 8) and (N, 3) -> (N, 3, 8, 8), all in [0, 1]."""
    return grey[:, None] * tints[:, :, None, None]


def tint_table() -> Tensor:
    """Return the tints as rows (6, 3), in the order of the table."""
    return torch.tensor(list(TINTS.values()))


def picture(digit: int, tint: str, *, draw: torch.Generator) -> np.ndarray:
    """Return a random digit of the generator's in a tint, as uint8 (64, 64, 3)."""
    grey, labels = load_digits("generator")
    candidates = torch.nonzero(labels == digit)[:, 0]
    index = candidates[torch.randint(len(candidates), (), generator=draw)]
    painted = paint(grey[index][None], torch.tensor([TINTS[tint]]))[0]
    pixels = (255 * painted).round().to(torch.uint8).permute(1, 2, 0)
    return pixels.repeat_interleave(8, 0).repeat_interleave(8, 1).numpy()
