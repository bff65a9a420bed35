"""What the methods share that need the whole scene in memory: the subspace, the circular blur."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qr_cli.errors import UsageError
from qr_cli.fuse.block import Block
from qr_cli.fuse.grid import ALL, Array, Part
from qr_cli.fuse.noise import Noise
from qr_cli.fuse.psf import Psf

CLEAN_DB = 45.0


@dataclass(frozen=True, eq=False)
class Whole:
    """A method that is a function of the whole scene.

    Attributes:
        image: makes the fused image of the whole block.
        record: how it was set.
    """

    image: Callable[[Block], Array]
    record: list[dict[str, Any]] = field(default_factory=list)

    tiled = False
    margin = 0

    def predict(self, block: Block, *, phase: tuple[int, int] = (0, 0), part: Part = ALL) -> Array:
        """Return the fused scene (H, W, L)."""
        return self.image(block)[part]


def whole_block(blocks: Sequence[Block], method: str) -> Block:
    """Return the one block of a scene in memory."""
    if len(blocks) != 1:
        raise ValueError(f"{method} needs the whole scene as one block, got {len(blocks)}")
    return blocks[0]


def subspace(y: Array, size: int) -> Array:
    """Return the leading right singular vectors (L, p) of pixels (..., L), not centred."""
    flat = y.reshape(-1, y.shape[-1])
    _, vectors = np.linalg.eigh(flat.T @ flat)
    return vectors[:, ::-1][:, :size]


def subspace_size(asked: int | None, noise: Noise, clean: int, noisy: int, bands: int) -> int:
    """Return what was asked, or the size that suits the noise of the HSI."""
    return min(asked or (clean if noise.snr_hsi_db > CLEAN_DB else noisy), bands)


def circular(psf: Psf, shape: tuple[int, int], method: str) -> Array:
    """Return the DFT (H, W) of the blur, with LR pixel (i, j) read at HR pixel (s i, s j).

    Raises:
        UsageError: the ratio is not whole.
    """
    if psf.taps is None:
        raise UsageError(
            f"--method: {method} needs a whole ratio on aligned grids", hint="--method auto"
        )
    taps, ratio = psf.taps, round(psf.ratio[0])
    margin = (len(taps) - ratio) // 2
    kernel = np.zeros(shape)
    place = margin - np.arange(len(taps))  # correlation: h[a] stands at -(a - p)
    np.add.at(kernel, (place[:, None] % shape[0], place[None, :] % shape[1]), taps)
    return np.fft.fft2(kernel)


def filtered(transfer: Array, image: Array) -> Array:
    """Return the circular filter of every band of an image (H, W, B)."""
    spectrum = np.fft.fft2(image, axes=(0, 1)) * transfer[..., None]
    return np.fft.ifft2(spectrum, axes=(0, 1)).real
