"""The point-spread function: from HR pixels to LR pixels, P in the equations.

Integer ratio: k x k taps h, k = s (mod 2), p = (k - s)/2, h >= 0, sum 1; a correlation with
replicated borders,  (P Z)[i, j] = sum_{a,b} h[a, b] Z[s i + a - p, s j + b - p].
Any other ratio or offset: a Gaussian at c + shift, cut at 1.5 s around the centre c of the LR
pixel, renormalised to sum 1 for every LR pixel. Shifts are in HR pixels; positive: the footprint
of an LR pixel sits further down and to the right on the MSI.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import sparse

from qr_cli.fuse.grid import Array, Axis, along, rows, up_operator

FWHM = 2.354820045030949  # of a Gaussian, in sigmas
Family = Literal["gaussian", "taps", "block", "official", "given"]


@dataclass(frozen=True, eq=False)
class Psf:
    """A point-spread function of one pair of sensors.

    Attributes:
        family: how it was got.
        ratio: HR pixels per LR pixel, rows and columns.
        taps: (k, k), for whole ratios.
        sigma: of a Gaussian, rows and columns, in HR pixels.
        shift: of a Gaussian, rows and columns, in HR pixels.
    """

    family: Family
    ratio: tuple[float, float]
    taps: Array | None = None
    sigma: tuple[float, float] | None = None
    shift: tuple[float, float] = (0.0, 0.0)

    def terms(
        self, rows_axis: Axis, columns_axis: Axis
    ) -> list[tuple[sparse.csr_matrix, sparse.csr_matrix]]:
        """Return P as a sum of products of a matrix per axis, (h, H) and (w, W)."""
        if self.taps is None:
            assert self.sigma is not None
            return [
                (
                    free_matrix(rows_axis, self.sigma[0], self.shift[0]),
                    free_matrix(columns_axis, self.sigma[1], self.shift[1]),
                )
            ]
        left, size, right = np.linalg.svd(np.asarray(self.taps, np.float64))
        kept = size > 1e-13 * size[0]
        return [
            (
                tap_matrix(rows_axis, left[:, r] * size[r]),
                tap_matrix(columns_axis, right[r]),
            )
            for r in np.flatnonzero(kept)
        ]

    def apply(self, image: Array, rows_axis: Axis, columns_axis: Axis) -> Array:
        """Return P image, (H, W, B) -> (h, w, B)."""
        pairs = self.terms(rows_axis, columns_axis)
        out = along(pairs[0][0], image, pairs[0][1])
        for first, second in pairs[1:]:
            out += along(first, image, second)
        return out

    def after_up(self, rows_axis: Axis, columns_axis: Axis) -> list[tuple[Array, Array]]:
        """Return P up as small dense matrices per axis, (h, h) and (w, w)."""
        lift = up_operator(rows_axis), up_operator(columns_axis)
        return [(a @ lift[0], b @ lift[1]) for a, b in self.terms(rows_axis, columns_axis)]

    @property
    def reach(self) -> float:
        """Return how many HR pixels a footprint reaches beyond its LR pixel."""
        if self.taps is not None:
            return max((len(self.taps) - min(self.ratio)) / 2, 0)
        return max(self.ratio)

    @property
    def energy(self) -> float:
        """Return the sum of squared weights of a footprint."""
        if self.taps is not None:
            return float((self.taps**2).sum())
        parts = []
        for axis in (0, 1):
            ratio = self.ratio[axis]
            one = Axis(9, int(np.ceil(9 * ratio)), ratio)
            assert self.sigma is not None
            weights = free_matrix(one, self.sigma[axis], self.shift[axis])[4]
            parts.append(float(weights.multiply(weights).sum()))
        return parts[0] * parts[1]

    def moments(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return full width at half maximum and shift, each of rows and columns, in HR pixels.

        Of taps: those of the Gaussian with the same first and second moments.
        """
        if self.sigma is not None:
            return (FWHM * self.sigma[0], FWHM * self.sigma[1]), self.shift
        assert self.taps is not None
        place = np.arange(len(self.taps)) - (len(self.taps) - 1) / 2
        found = []
        for axis in (0, 1):
            weight = self.taps.sum(1 - axis)
            center = float(weight @ place)
            found.append((FWHM * float(np.sqrt(weight @ (place - center) ** 2)), center))
        return (found[0][0], found[1][0]), (found[0][1], found[1][1])


def tap_matrix(axis: Axis, taps: Array) -> sparse.csr_matrix:
    """Return the matrix (h, H) of a row of taps; borders replicate."""
    ratio, size = round(axis.ratio), len(taps)
    first = round(axis.offset) + np.arange(axis.low) * ratio - (size - ratio) // 2
    index = first[:, None] + np.arange(size)
    return rows(index, np.broadcast_to(taps, index.shape), axis.high)


def free_matrix(axis: Axis, sigma: float, shift: float) -> sparse.csr_matrix:
    """Return the matrix (h, H) of a Gaussian at any place; cut at 1.5 ratio, rows sum to 1."""
    center = axis.centers()
    half = int(np.ceil(1.5 * axis.ratio))
    index = np.round(center).astype(np.intp)[:, None] + np.arange(-half, half + 1)
    weight = np.exp(-((index - center[:, None] - shift) ** 2) / (2 * sigma**2))
    inside = np.abs(index - center[:, None]) <= 1.5 * axis.ratio + 1e-9
    weight = np.where(inside & (index >= 0) & (index < axis.high), weight, 0)
    total = weight.sum(1, keepdims=True)
    return rows(index, weight / np.where(total > 0, total, 1), axis.high)


def gaussian_taps(size: int, sigma: Sequence[float], shift: Sequence[float] = (0, 0)) -> Array:
    """Return k x k taps of a Gaussian, sum 1."""
    place = np.arange(size) - (size - 1) / 2
    sides = [np.exp(-((place - d) ** 2) / (2 * s**2)) for s, d in zip(sigma, shift, strict=True)]
    taps = np.outer(sides[0], sides[1])
    return taps / taps.sum()


def official_taps(ratio: int) -> Array:
    """Return the official simulation kernel: a Gaussian of FWHM s in one s x s block."""
    taps = gaussian_taps(ratio, (ratio / FWHM, ratio / FWHM))
    taps[taps < np.finfo(float).eps * taps.max()] = 0
    return taps / taps.sum()
