"""`fuse`: a Gaussian prior and a Sylvester equation (Wei, Dobigeon, Tourneret 2015).

Minimise |Y - E U B S|^2_{Ly} + |Z - A E U|^2_{Lz} + |U - mu|^2_{S} over U (p, N): E the leading
right singular vectors of Y, mu = E' up(Y), S the covariance of E'Y, A = R', Ly and Lz the noise.

    C1 U + U (BS)(BS)^H = C3,   C1 = (E'Ly^-1 E)^-1 [(AE)'Lz^-1 AE + S^-1]
    C3 = (E'Ly^-1 E)^-1 [E'Ly^-1 Y (BS)^H + (AE)'Lz^-1 Z + S^-1 mu]
    C1 = Q diag(lam) Q^-1,  d = s^2,  D = DFT of the blur,  c = DFT(Q^-1 C3);  per group of d
    aliases u_a = (c_a - conj(D_a) (sum_b D_b c_b) / (lam d + sum_b |D_b|^2)) / lam
Borders: the images are reflected by 2 s and cropped.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import eigh

from qr_cli.fuse.block import Block
from qr_cli.fuse.degradation import Degradation
from qr_cli.fuse.grid import Array
from qr_cli.fuse.methods.whole import Whole, circular, subspace, subspace_size, whole_block
from qr_cli.fuse.noise import Noise

PAD_LOW = 2  # LR pixels of reflection
CLEAN, NOISY = 20, 10  # size of the subspace


def fit(
    blocks: Sequence[Block],
    degradation: Degradation,
    noise: Noise,
    *,
    dimensions: int | None = None,
) -> Whole:
    """Return the method."""
    bands = whole_block(blocks, "fuse").y.shape[2]
    size = subspace_size(dimensions, noise, CLEAN, NOISY, bands)
    record = {"event": "candidate", "method": "fuse", "subspace": size, "chosen": True}
    return Whole(lambda block: _fused(block, degradation, noise, size), [record])


def _fused(block: Block, degradation: Degradation, noise: Noise, size: int) -> Array:
    circular(degradation.psf, (8, 8), "fuse")  # raises before work is done
    ratio = round(block.rows.ratio)
    wide = ((PAD_LOW, PAD_LOW), (PAD_LOW, PAD_LOW), (0, 0))
    fine = tuple((a * ratio, b * ratio) for a, b in wide)
    y = np.pad(block.y, wide, mode="symmetric")
    z = np.pad(block.z, fine, mode="symmetric")
    mean = np.pad(block.up(block.y), fine, mode="symmetric")
    transfer = circular(degradation.psf, (z.shape[0], z.shape[1]), "fuse")
    e = subspace(block.y[block.low], size)
    spread = np.cov((block.y[block.low] @ e).T).reshape(size, size)
    spread += 1e-10 * np.trace(spread) / size * np.eye(size)
    u = solve(
        y / noise.v_y @ e, z - degradation.offset, mean @ e, transfer, ratio,
        left=e.T @ (e / noise.v_y[:, None]),
        response=degradation.srf.T @ e,
        precision_z=1 / noise.v_z,
        prior=np.linalg.inv(spread),
    )  # fmt: skip
    inner = slice(PAD_LOW * ratio, -PAD_LOW * ratio)
    return u[inner, inner] @ e.T


def solve(
    low: Array,
    high: Array,
    mean: Array,
    transfer: Array,
    ratio: int,
    *,
    left: Array,
    response: Array,
    precision_z: Array,
    prior: Array,
) -> Array:
    """Return U (H, W, p).

    Args:
        low: E'Ly^-1 Y (h, w, p).
        high: Z (H, W, l).
        mean: E' up(Y) (H, W, p).
        transfer: DFT of the blur.
        ratio: s.
        left: E'Ly^-1 E (p, p).
        response: A E (l, p).
        precision_z: 1 / noise of the MSI (l).
        prior: inverse covariance (p, p).
    """
    height, width, size = mean.shape
    filled = np.zeros((height, width, size))
    filled[::ratio, ::ratio] = low
    adjoint = np.fft.fft2(filled, axes=(0, 1)) * np.conj(transfer)[..., None]
    right = high @ (precision_z[:, None] * response) + mean @ prior.T
    spectrum = adjoint + np.fft.fft2(right, axes=(0, 1))
    normal = (response.T * precision_z) @ response + prior
    values, q = eigh((normal + normal.T) / 2, (left + left.T) / 2)  # q'left q = 1
    c = spectrum @ q  # Q^-1 left^-1 = q'
    groups = (ratio, height // ratio, ratio, width // ratio)
    d = transfer.reshape(*groups)
    cg = c.reshape(*groups, size)
    total = np.einsum("apbq,apbqk->pqk", d, cg)
    power = np.einsum("apbq->pq", np.abs(d) ** 2)
    share = total / (values * ratio**2 + power[..., None])
    u = (cg - np.conj(d)[..., None] * share[None, :, None, :, :]) / values
    return np.fft.ifft2(u.reshape(height, width, size), axes=(0, 1)).real @ q.T
