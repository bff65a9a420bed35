"""`cnmf`: coupled non-negative matrix factorisation (Yokoya, Yairi, Iwasaki 2012).

y = Y' (L, n), z = Z' (l, N), clipped at 0; both are W H with the same endmembers W (L, M): the HSI
unmixed at LR, the MSI at HR with W_m = R'W, in turns, by multiplicative updates. Endmembers start
from successive projection (ours); there is no sum-to-one term (it cost 0.9 to 2.6 dB).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qr_cli.fuse.block import Block
from qr_cli.fuse.degradation import Degradation
from qr_cli.fuse.grid import Array
from qr_cli.fuse.methods.whole import Whole, whole_block
from qr_cli.fuse.noise import Noise

ROUNDS, TINY = 200, 1e-12


def fit(
    blocks: Sequence[Block], degradation: Degradation, noise: Noise, *, endmembers: int = 20
) -> Whole:
    """Return the method."""
    block = whole_block(blocks, "cnmf")
    count = min(endmembers, block.y.shape[2], int(block.low.sum()))
    record = {"event": "candidate", "method": "cnmf", "endmembers": count, "chosen": True}
    return Whole(lambda block: _fused(block, degradation, count), [record])


def _fused(block: Block, degradation: Degradation, count: int) -> Array:
    w, h = factors(block, degradation, count)
    return (w @ h).T.reshape(*block.z.shape[:2], -1)


def factors(block: Block, degradation: Degradation, count: int) -> tuple[Array, Array]:
    """Return endmembers (L, M) and abundances (M, N), both >= 0."""
    psf, r = degradation.psf, degradation.srf
    y = np.maximum(block.y.reshape(-1, block.y.shape[2]).T, 0)
    z = np.maximum((block.z - degradation.offset).reshape(-1, block.z.shape[2]).T, 0)
    low_shape, high_shape = (*block.y.shape[:2], count), (*block.z.shape[:2], count)
    w = successive_projection(y, count)
    low = np.full((count, y.shape[1]), 1 / count)
    for _ in range(ROUNDS):
        low = _abundances(w, low, y)
    for _ in range(ROUNDS):
        w = _endmembers(w, low, y)
        low = _abundances(w, low, y)
    high = block.up(low.T.reshape(low_shape)).reshape(-1, count).T
    high = np.maximum(high, 1e-6)
    w_z = r.T @ w
    for _ in range(ROUNDS):
        high = _abundances(w_z, high, z)
    low = block.blur(high.T.reshape(high_shape), psf).reshape(-1, count).T
    for _ in range(ROUNDS):
        w = _endmembers(w, low, y)
    w_z = r.T @ w
    for _ in range(ROUNDS):
        high = _abundances(w_z, high, z)
    return w, high


def _abundances(w: Array, h: Array, y: Array) -> Array:
    return h * ((w.T @ y) / (w.T @ w @ h + TINY))


def _endmembers(w: Array, h: Array, y: Array) -> Array:
    return w * ((y @ h.T) / (w @ (h @ h.T) + TINY))


def successive_projection(y: Array, count: int) -> Array:
    """Return the spectra (L, M) of the pixels found by projecting out the largest, in turns."""
    rest = y.copy()
    chosen = []
    for _ in range(count):
        chosen.append(int((rest**2).sum(0).argmax()))
        direction = rest[:, chosen[-1]]
        norm = float(direction @ direction)
        if norm > 0:
            rest -= np.outer(direction / norm, direction @ rest)
    return y[:, chosen] + TINY
