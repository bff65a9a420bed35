"""What an estimate leaves of the HSI, shrunk to what is no noise, and put back (A5; ours).

Twice:  E = Y - P M,  whitened by sqrt(v_Y), second moment over n pixels, eigenvalues w_k,
    gain_k = sqrt((w_k - 1 - c)^2 - 4 c) / w_k  above (1 + sqrt c)^2, 0 below, c = L/n
(optimal shrinkage at the Marchenko-Pastur edge; 1 everywhere if the HSI is better than 45 dB),
M <- M + up(shrunk E). Both passes are linear in E, so they are summed on the LR grid and go up
once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qr_cli.fuse.block import Block
from qr_cli.fuse.grid import Array
from qr_cli.fuse.noise import Noise
from qr_cli.fuse.psf import Psf

CLEAN_DB = 45.0
Mask = NDArray[np.bool_]


def again(low: Array, block: Block, psf: Psf) -> Array:
    """Return P up(low) of LR images (h, w, L), from small matrices per axis."""
    out = np.zeros_like(low)
    for first, second in psf.after_up(block.rows, block.columns):
        half = np.tensordot(first.astype(low.dtype), low, (1, 0))
        out += np.tensordot(second.astype(low.dtype), half, (1, 1)).transpose(1, 0, 2)
    return out


def gains(values: Array, aspect: float) -> Array:
    """Return the factor of each eigenvalue of whitened residuals; `aspect` is L/n."""
    edge = (1 + np.sqrt(aspect)) ** 2
    inside = np.maximum((values - 1 - aspect) ** 2 - 4 * aspect, 0)
    return np.where(values > edge, np.sqrt(inside) / np.maximum(values, 1e-300), 0.0)


def shrinker(residuals: Array, noise: Noise) -> Array | None:
    """Return S (L, L), residuals @ S being shrunk; None where nothing is."""
    if noise.snr_hsi_db > CLEAN_DB:
        return None
    root = np.sqrt(noise.v_y)
    white = residuals / root
    count, bands = white.shape
    values, vectors = np.linalg.eigh(white.T @ white / count)
    kept = (vectors * gains(values, bands / count)) @ vectors.T
    return kept * root / root[:, None]


@dataclass(frozen=True, eq=False)
class BackProjection:
    """The passes, as fitted on a sample.

    Attributes:
        passes: S of each pass; None: the identity.
    """

    passes: Sequence[Array | None]

    def residual(self, e: Array, used: Mask, block: Block, psf: Psf) -> Array:
        """Return R with M = M0 + up(R), from E = Y - P M0 (h, w, L); 0 at unused pixels."""
        total = np.zeros_like(e)
        for matrix in self.passes:
            left = np.where(used[..., None], e - again(total, block, psf), 0).astype(e.dtype)
            total = total + (left if matrix is None else left @ matrix.astype(e.dtype))
        return total


def fit(
    residuals: Sequence[tuple[Array, Mask, Block]], noise: Noise, psf: Psf, *, passes: int = 2
) -> BackProjection:
    """Return the passes fitted on E = Y - P M0 of sample blocks."""
    found: list[Array | None] = []
    for _ in range(passes):
        done = BackProjection(found)
        left = [
            (e - again(done.residual(e, used, block, psf), block, psf))[used]
            for e, used, block in residuals
        ]
        found = [*found, shrinker(np.concatenate(left), noise)]
    return BackProjection(found)
