"""Fits of the two sensors to LR pixels: non-negative SRF, Gaussian PSF, free taps (ours).

Legend: n LR pixels, L HSI bands, l MSI bands, k side of the PSF's support, s ratio.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from qr_cli.fuse.block import Block
from qr_cli.fuse.grid import Array
from qr_cli.fuse.nnls import nnls
from qr_cli.fuse.psf import FWHM, Psf, gaussian_taps

SRF_ROUGHNESS, TAP_ROUGHNESS = 1e-4, 1e-4
ELIMINATION = 1e-6  # ridge of the SRF inside the fit of a Gaussian
ROUNDS = 30  # of the alternation of taps and SRF
FOLDS = 4
ENOUGH = 6_000  # LR pixels for the four numbers of a Gaussian


@dataclass(frozen=True)
class Pixels:
    """The LR pixels a fit may use, of all blocks, and their fold.

    Attributes:
        y: (n, L).
        fold: (n), 0..3.
        masks: which LR pixels of each block they are.
    """

    y: Array
    fold: NDArray[np.intp]
    masks: Sequence[NDArray[np.bool_]]
    blocks: Sequence[Block]

    def blurred(self, psf: Psf) -> Array:
        """Return P Z at the pixels, (n, l)."""
        pairs = zip(self.blocks, self.masks, strict=True)
        return np.concatenate([block.blur(block.z, psf)[mask] for block, mask in pairs])

    def first(self, least: int) -> Pixels:
        """Return the pixels of the first blocks that hold at least so many, or all."""
        count = np.cumsum([int(mask.sum()) for mask in self.masks])
        blocks = int(np.searchsorted(count, least)) + 1
        some = slice(int(count[min(blocks, len(count)) - 1]))
        return Pixels(self.y[some], self.fold[some], self.masks[:blocks], self.blocks[:blocks])


def pixels_of(blocks: Sequence[Block], widest: Psf) -> Pixels:
    """Return the pixels that are usable under the widest PSF in question."""
    masks = [block.usable(widest) for block in blocks]
    folds = []
    for mask in masks:
        i, j = np.nonzero(mask)
        folds.append((i // 2 + 2 * (j // 2)) % FOLDS)
    y = np.concatenate([block.y[mask] for block, mask in zip(blocks, masks, strict=True)])
    return Pixels(np.asarray(y, np.float64), np.concatenate(folds), masks, blocks)


class Response:
    """Non-negative, smooth SRF of some pixels: the Gram matrix is made once for many targets.

    Args:
        y: pixels (n, L).
        allowed: (L, l) of the bands that may enter; None: all.
        centered: both sides are centred, an offset is returned.
    """

    def __init__(
        self, y: Array, *, allowed: NDArray[np.bool_] | None = None, centered: bool = False
    ) -> None:
        self.mean = y.mean(0) if centered else np.zeros(y.shape[1])
        self.y, self.allowed, self.centered = y - self.mean, allowed, centered
        gram = self.y.T @ self.y
        bands = len(gram)
        level = np.trace(gram) / bands
        step = np.diff(np.eye(bands), axis=0)
        self.gram = gram + SRF_ROUGHNESS * level * step.T @ step + 1e-12 * level * np.eye(bands)

    def fit(self, zl: Array, start: Array | None = None) -> tuple[Array, Array]:
        """Return R (L, l) and offsets (l) for targets (n, l)."""
        shift = zl.mean(0) if self.centered else np.zeros(zl.shape[1])
        right = self.y.T @ (zl - shift)
        out = np.zeros((len(self.gram), zl.shape[1]))
        for band in range(zl.shape[1]):
            used = slice(None) if self.allowed is None else np.flatnonzero(self.allowed[:, band])
            gram = self.gram[used][:, used]
            first = None if start is None else start[used, band]
            out[used, band] = nnls(gram, right[used, band], first)
        return out, shift - self.mean @ out


def fit_gaussian(
    pixels: Pixels,
    train: NDArray[np.bool_],
    template: Psf,
    size: int | None,
    *,
    ridge: float = ELIMINATION,
    shifted: bool = True,
    start: Sequence[float] | None = None,
) -> Psf:
    """Return the Gaussian that leaves the smallest residual after a ridge SRF.

    Args:
        pixels: of the sample.
        train: which of them to use.
        template: carries the ratio.
        size: side of the taps; None: free placement (any ratio).
        ridge: of the eliminated SRF, times tr(Y'Y)/L.
        shifted: whether the shift is fitted.
        start: log sigmas and shifts to start from.
    """
    pixels = pixels.first(ENOUGH)
    train = train[: len(pixels.y)]
    y = pixels.y[train]
    ratio = template.ratio
    left, values, _ = np.linalg.svd(y, full_matrices=False)
    kept = values**2 / (values**2 + ridge * (values**2).sum() / y.shape[1])
    scale = np.sqrt(np.mean([(b.z[b.high] ** 2).mean(0) for b in pixels.blocks], 0))

    def made(p: Array) -> Psf:
        sigma = (float(np.exp(p[0])), float(np.exp(p[1])))
        shift = (float(p[2]), float(p[3])) if shifted else (0.0, 0.0)
        taps = None if size is None else gaussian_taps(size, sigma, shift)
        return Psf("gaussian", ratio, taps, sigma, shift)

    def residual(p: Array) -> Array:
        zl = pixels.blurred(made(p))[train] / scale
        return (left @ (kept[:, None] * (left.T @ zl)) - zl).ravel()

    sides = np.array(ratio)
    first = np.concatenate([np.log(sides / FWHM), [0, 0]]) if start is None else np.array(start)
    low = np.concatenate([np.full(2, np.log(0.2)), -sides])
    high = np.concatenate([np.log(3 * sides), sides])
    count = 4 if shifted else 2
    found = least_squares(
        residual, first[:count], bounds=(low[:count], high[:count]), diff_step=1e-3, max_nfev=40
    )
    return made(found.x)


class Patches:
    """Sums over the k x k patches of all MSI bands, per fold: what free taps need of the data."""

    def __init__(self, pixels: Pixels, ratio: int, size: int) -> None:
        bands_y, bands_z = pixels.y.shape[1], pixels.blocks[0].z.shape[2]
        taps = size * size
        self.size, self.ratio = size, ratio
        self.gram = np.zeros((FOLDS, taps, taps))
        self.cross = np.zeros((FOLDS, bands_z, taps, bands_y))
        done = 0
        for block, mask in zip(pixels.blocks, pixels.masks, strict=True):
            count = int(mask.sum())
            y = pixels.y[done : done + count]
            fold = pixels.fold[done : done + count]
            done += count
            where = [
                _tap_index(axis.low, axis.high, ratio, size, round(axis.offset))
                for axis in (block.rows, block.columns)
            ]
            i, j = np.nonzero(mask)
            at = (where[0][i][:, :, None], where[1][j][:, None, :])
            for band in range(bands_z):
                q = block.z[..., band][at].reshape(count, taps)
                for f in range(FOLDS):
                    part = q[fold == f]
                    self.gram[f] += part.T @ part
                    self.cross[f, band] += part.T @ y[fold == f]

    def fit(self, response: Response, folds: Sequence[int]) -> Psf:
        """Return free taps by alternation with the SRF on the pixels of some folds.

        `response` holds the Gram matrix of the same pixels.
        """
        size, ratio = self.size, self.ratio
        chosen = list(folds)
        gram, cross = self.gram[chosen].sum(0), self.cross[chosen].sum(0)
        taps = size * size
        level = np.trace(gram) / taps
        step = np.diff(np.eye(size), axis=0)
        rough = step.T @ step
        gram = gram + TAP_ROUGHNESS * level * (
            np.kron(rough, np.eye(size)) + np.kron(np.eye(size), rough)
        )
        gram[np.diag_indices(taps)] += 1e-8 * level
        h = gaussian_taps(size, (ratio / FWHM, ratio / FWHM)).ravel()
        r: Array | None = None
        for _ in range(ROUNDS):
            zl = np.einsum("btl,t->lb", cross, h)
            r = np.stack(
                [
                    nnls(response.gram, zl[:, b], None if r is None else r[:, b])
                    for b in range(zl.shape[1])
                ],
                1,
            )
            h = nnls(gram, np.einsum("btl,lb->t", cross, r), h)
            h = np.maximum(h, 0)
            h = h / h.sum()
        return Psf("taps", (ratio, ratio), h.reshape(size, size))


def _tap_index(low: int, high: int, ratio: int, size: int, offset: int) -> NDArray[np.intp]:
    first = offset + np.arange(low) * ratio - (size - ratio) // 2
    return np.clip(first[:, None] + np.arange(size), 0, high - 1)
