"""The detail of the MSI, Wiener-shrunk across its bands (A1 of `auto`; ours).

    Lo = up(P Z),  D = Z - Lo,  q = D / sqrt(v_Z),  C(x) = Gaussian window of q q',  C = V diag(w)
    V' Zd = Lo + (K q) sqrt(v_Z),  K = V diag(max(w - 1, 0) / w) V'
White noise has w = 1 in every direction; what a window holds beyond it is kept in proportion. K is
computed on every 4th HR pixel and interpolated bilinearly.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from qr_cli.fuse.block import Block
from qr_cli.fuse.cells import Cells
from qr_cli.fuse.grid import Array, Axis, along, rows
from qr_cli.fuse.psf import Psf

SIGMA, CUT, STEP = 4.0, 3.0, 4  # HR pixels, in sigmas, HR pixels
REACH = int(SIGMA * CUT) + 2 * STEP  # HR pixels on which Zd at one place depends, beyond P and up


def detail(block: Block, psf: Psf, v_z: Array, *, phase: tuple[int, int] = (0, 0)) -> Array:
    """Return Zd (H, W, l).

    Args:
        block: both images.
        psf: P.
        v_z: noise variance of each MSI band.
        phase: HR coordinates of the block's first pixel in the scene: K is computed on the scene's
            lattice, so that tiles agree.
    """
    low = block.blur(block.z, psf)
    low[~block.low_cover(psf)] = block.z_fill
    coarse = block.up(low)
    q = ((block.z - coarse) / np.sqrt(v_z)).astype(block.z.dtype)
    if not block.whole:
        q[~block.high] = 0
    bands = q.shape[2]
    upper = np.triu_indices(bands)
    lattice = [_lattice(side, start) for side, start in zip(q.shape[:2], phase, strict=True)]
    windows = [_window_matrix(at, side) for at, side in zip(lattice, q.shape[:2], strict=True)]
    moments = np.concatenate(  # a product at a time: together they would be large
        [
            along(windows[0], q[..., a, None] * q[..., b, None], windows[1])
            for a, b in zip(*upper, strict=True)
        ],
        -1,
    )
    if not block.whole:
        share = along(windows[0], block.high[..., None].astype(q.dtype), windows[1])
        moments /= np.maximum(share, 1e-6)
    c = np.empty((*moments.shape[:2], bands, bands))
    c[..., upper[0], upper[1]] = moments
    c[..., upper[1], upper[0]] = moments
    w, v = np.linalg.eigh(c)
    gain = np.maximum(w - 1, 0) / np.maximum(w, 1e-300)
    k = (v * gain[..., None, :]) @ v.swapaxes(-1, -2)
    axes = [
        Axis(len(at), side, STEP, at[0] + 0.5 - STEP / 2)
        for at, side in zip(lattice, q.shape[:2], strict=True)
    ]
    return coarse + (Cells(axes[0], axes[1]).contract(q, k) * np.sqrt(v_z)).astype(q.dtype)


def _lattice(side: int, start: int) -> np.ndarray:
    """Return places of every 4th pixel of the scene, from at or before the first to the last."""
    first = -(start % STEP)
    return np.arange(first, side + STEP, STEP)


def _window_matrix(places: np.ndarray, side: int) -> sparse.csr_matrix:
    """Return a Gaussian window around each place, borders reflected, (places, side)."""
    half = int(SIGMA * CUT)
    index = places[:, None] + np.arange(-half, half + 1)
    weight = np.exp(-(np.arange(-half, half + 1) ** 2) / (2 * SIGMA**2))
    weight = np.broadcast_to(weight / weight.sum(), index.shape)
    period = 2 * side
    folded = np.mod(index, period)
    folded = np.where(folded >= side, period - 1 - folded, folded)
    return rows(folded, weight, side)
