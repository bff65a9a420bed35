"""`hysure`: subspace and vector total variation by ADMM (Simoes, Bioucas-Dias, Almeida, Chanussot
2015).

E the leading right singular vectors of Y, X = C E', C (H, W, p). Blur B and differences are
circular; LR pixel (i, j) is read at HR pixel (s i, s j). With V1 = BC, V2 = C, (V3, V4) = (Dh C,
Dv C):
    C  = F^-1[(conj(B) F(V1+d1) + F(V2+d2) + conj(Dh) F(V3+d3) + conj(Dv) F(V4+d4))
              / (|B|^2 + |Dh|^2 + |Dv|^2 + 1)]
    V1 = (Y E + mu (BC - d1))/(1 + mu) where sampled, else BC - d1
    V2 = (lam_m Z A + mu (C - d2)) (lam_m A'A + mu I)^-1,   A = R'E
    (V3, V4) = (Dh C - d3, Dv C - d4) shrunk jointly over both and all p by lam_phi/mu
Penalties are ours, untuned: a lower bound for the method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from qr_cli.fuse.block import Block
from qr_cli.fuse.degradation import Degradation
from qr_cli.fuse.grid import Array
from qr_cli.fuse.methods.whole import (
    CLEAN_DB,
    Whole,
    circular,
    filtered,
    subspace,
    subspace_size,
    whole_block,
)
from qr_cli.fuse.noise import Noise

MU, DATA, ROUNDS, SIZE = 0.05, 1.0, 150, 10
SMOOTH_CLEAN, SMOOTH_NOISY = 5e-5, 5e-4


def fit(
    blocks: Sequence[Block],
    degradation: Degradation,
    noise: Noise,
    *,
    dimensions: int | None = None,
) -> Whole:
    """Return the method."""
    bands = whole_block(blocks, "hysure").y.shape[2]
    size = subspace_size(dimensions, noise, SIZE, SIZE, bands)
    record = {"event": "candidate", "method": "hysure", "subspace": size, "chosen": True}
    return Whole(lambda block: fused(block, degradation, noise, size), [record])


def fused(
    block: Block,
    degradation: Degradation,
    noise: Noise,
    size: int,
    *,
    rounds: int = ROUNDS,
    watch: Callable[[float], None] | None = None,
) -> Array:
    """Return the image; `watch` is told the objective after each round."""
    shape = block.z.shape[:2]
    ratio = round(block.rows.ratio)
    blur = circular(degradation.psf, shape, "hysure")
    smooth = SMOOTH_CLEAN if noise.snr_hsi_db > CLEAN_DB else SMOOTH_NOISY
    e = subspace(block.y[block.low], size)
    a = degradation.srf.T @ e
    low, z = block.y @ e, block.z - degradation.offset
    step_h, step_v = np.zeros(shape), np.zeros(shape)
    step_h[0, 0] = step_v[0, 0] = -1
    step_h[0, -1] = step_v[-1, 0] = 1
    dh, dv = np.fft.fft2(step_h), np.fft.fft2(step_v)
    below = np.abs(blur) ** 2 + np.abs(dh) ** 2 + np.abs(dv) ** 2 + 1
    solve_z = np.linalg.inv(DATA * a.T @ a + MU * np.eye(size))
    c = block.up(block.y) @ e
    v1, v2 = filtered(blur, c), c
    v3, v4 = np.zeros_like(c), np.zeros_like(c)
    d1, d2, d3, d4 = (np.zeros_like(c) for _ in range(4))

    def spectrum(image: Array) -> Array:
        return np.fft.fft2(image, axes=(0, 1))

    def image(values: Array) -> Array:
        return np.fft.ifft2(values, axes=(0, 1)).real

    for _ in range(rounds):
        above = (
            np.conj(blur)[..., None] * spectrum(v1 + d1)
            + spectrum(v2 + d2)
            + np.conj(dh)[..., None] * spectrum(v3 + d3)
            + np.conj(dv)[..., None] * spectrum(v4 + d4)
        )
        f = above / below[..., None]
        c = image(f)
        bc, ch, cv = (image(transfer[..., None] * f) for transfer in (blur, dh, dv))
        v1 = bc - d1
        v1[::ratio, ::ratio] = (low + MU * v1[::ratio, ::ratio]) / (1 + MU)
        v2 = (DATA * z @ a + MU * (c - d2)) @ solve_z
        v3, v4 = ch - d3, cv - d4
        norm = np.sqrt((v3**2 + v4**2).sum(-1, keepdims=True))
        kept = np.maximum(1 - (smooth / MU) / np.maximum(norm, 1e-300), 0)
        v3, v4 = v3 * kept, v4 * kept
        d1, d2, d3, d4 = d1 - (bc - v1), d2 - (c - v2), d3 - (ch - v3), d4 - (cv - v4)
        if watch is not None:
            variation = np.sqrt((ch**2 + cv**2).sum(-1)).sum()
            data = ((bc[::ratio, ::ratio] - low) ** 2).sum() / 2
            watch(float(data + DATA * ((c @ a.T - z) ** 2).sum() / 2 + smooth * variation))
    return c @ e.T
