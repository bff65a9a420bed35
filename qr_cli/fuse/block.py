"""A piece of a scene in memory: both images, what is valid in them, and the maps between them.

Legend: y (h, w, L) LR-HSI, z (H, W, l) HR-MSI; `low` and `high` are the masks of valid pixels.
Values at invalid pixels are the band's mean over the scene, so that every map stays finite.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from qr_cli.fuse.grid import ALL, Array, Axis, Part, up
from qr_cli.fuse.psf import Psf

Mask = NDArray[np.bool_]
COVERED = 0.99  # share of a footprint that must lie on valid HR pixels


@dataclass
class Block:
    """Both images over the same ground.

    Attributes:
        y: LR-HSI (h, w, L).
        z: HR-MSI (H, W, l).
        rows: the grids along rows.
        columns: the grids along columns.
        low: valid LR pixels (h, w); outside them y is filled.
        high: valid HR pixels (H, W).
        inner: LR pixels whose footprint lies inside the block; fits use these only.
    """

    y: Array
    z: Array
    rows: Axis
    columns: Axis
    low: Mask
    high: Mask
    inner: Mask = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.inner is None:
            self.inner = np.ones(self.low.shape, bool)

    @cached_property
    def whole(self) -> bool:
        """Tell whether every HR pixel is valid."""
        return bool(self.high.all())

    def up(self, low: Array, part: Part = ALL) -> Array:
        """Return an LR image on the HR grid, or on a part of it."""
        return up(low, self.rows, self.columns, part)

    def blur(self, image: Array, psf: Psf) -> Array:
        """Return P image; weights of invalid HR pixels are 0, the rest is renormalised."""
        if self.whole:
            return psf.apply(image, self.rows, self.columns)
        cover = self.cover(psf)[..., None].astype(image.dtype)
        masked = np.where(self.high[..., None], image, 0).astype(image.dtype)
        return psf.apply(masked, self.rows, self.columns) / np.maximum(cover, 1e-6)

    @cached_property
    def z_fill(self) -> Array:
        """Return what stands at invalid pixels of the MSI."""
        if self.whole:
            return self.z.mean((0, 1))
        return self.z[~self.high][0]

    def low_cover(self, psf: Psf) -> Mask:
        """Return the LR pixels with a footprint on enough valid HR pixels."""
        if self.whole:
            return np.ones(self.low.shape, bool)
        return self.cover(psf) >= COVERED

    def cover(self, psf: Psf) -> Array:
        """Return the share of each LR pixel's footprint on valid HR pixels, (h, w)."""
        mask = self.high[..., None].astype(np.float64)
        return psf.apply(mask, self.rows, self.columns)[..., 0]

    def usable(self, psf: Psf) -> Mask:
        """Return the LR pixels that a fit may use."""
        mask = self.low & self.inner
        return mask if self.whole else mask & (self.cover(psf) >= COVERED)
