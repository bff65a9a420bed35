"""The two grids, and the linear maps between them as sparse matrices per axis.

One `Axis` describes rows or columns: pixel u of the fine grid (HR) and pixel i of the coarse one
(LR) have their centres at u and at ``offset + (i + 1/2) ratio - 1/2`` in HR pixels. Every map here
(blur and decimate, spline, bilinear) acts on each axis by itself, so an image (H, W, B) is mapped
by two sparse matrices; a PSF that is no product is a short sum of such pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

Array = NDArray[Any]  # of floats
PAD = 12  # LR pixels beyond the edge; the spline prefilter has decayed to 1e-7 there


@dataclass(frozen=True)
class Axis:
    """Rows or columns of the two grids.

    Attributes:
        low: number of LR pixels.
        high: number of HR pixels.
        ratio: HR pixels per LR pixel.
        offset: HR coordinate (of pixel edges) at which LR pixel 0 begins.
    """

    low: int
    high: int
    ratio: float
    offset: float = 0.0

    @property
    def aligned(self) -> bool:
        """Tell whether every LR pixel is a whole number of HR pixels."""
        return self.ratio == round(self.ratio) and self.offset == round(self.offset)

    def centers(self) -> Array:
        """Return the HR coordinates of the LR pixel centres."""
        return self.offset + (np.arange(self.low) + 0.5) * self.ratio - 0.5

    def to_low(self, high: Array) -> Array:
        """Return LR coordinates of HR pixel centres."""
        return (high + 0.5 - self.offset) / self.ratio - 0.5

    def owner(self) -> NDArray[np.intp]:
        """Return the LR pixel that holds each HR pixel's centre; -1 or `low` outside."""
        index = np.floor((np.arange(self.high) + 0.5 - self.offset) / self.ratio)
        return np.clip(index, -1, self.low).astype(np.intp)

    def window(self, start: int, stop: int, margin: float = 0) -> tuple[Axis, int, int]:
        """Return the axis of LR pixels start..stop, and the HR pixels it covers."""
        first = int(np.floor(self.offset + start * self.ratio - margin + 1e-9))
        last = int(np.ceil(self.offset + stop * self.ratio + margin - 1e-9))
        first, last = max(first, 0), min(last, self.high)
        local = Axis(
            stop - start, last - first, self.ratio, self.offset + start * self.ratio - first
        )
        return local, first, last

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """Return the HR pixels whose centres lie in LR pixels start..stop."""
        edges = [int(np.ceil(self.offset + i * self.ratio - 0.5 - 1e-9)) for i in (start, stop)]
        return max(edges[0], 0), min(max(edges[1], 0), self.high)


def rows(index: NDArray[np.intp], weight: Array, columns: int) -> sparse.csr_matrix:
    """Return the matrix whose row i holds weight[i, :] at the columns index[i, :], clipped."""
    taps = index.shape[1]
    pointer = np.arange(index.shape[0] + 1) * taps
    flat = np.clip(index, 0, columns - 1).ravel()
    matrix = sparse.csr_matrix((weight.ravel(), flat, pointer), shape=(len(index), columns))
    matrix.sum_duplicates()
    return matrix


def along(first: sparse.spmatrix, image: Array, second: sparse.spmatrix) -> Array:
    """Map the rows and the columns of an image: (a, b, B) -> (A, B', B)."""
    if first.dtype != image.dtype:
        first, second = first.astype(image.dtype), second.astype(image.dtype)
    bands = image.shape[2]
    half = (first @ image.reshape(image.shape[0], -1)).reshape(first.shape[0], -1, bands)
    turned = np.ascontiguousarray(half.transpose(1, 0, 2)).reshape(half.shape[1], -1)
    out = (second @ turned).reshape(second.shape[0], first.shape[0], bands)
    return np.ascontiguousarray(out.transpose(1, 0, 2))


def linear_matrix(axis: Axis) -> sparse.csr_matrix:
    """Return bilinear interpolation (H, h): LR values to HR pixels, edges replicated."""
    at = np.clip(axis.to_low(np.arange(axis.high)), 0, axis.low - 1)
    base = np.minimum(np.floor(at), max(axis.low - 2, 0)).astype(np.intp)
    part = at - base
    return rows(np.stack([base, base + 1], 1), np.stack([1 - part, part], 1), axis.low)


def spline_matrix(axis: Axis) -> sparse.csr_matrix:
    """Return cubic B-spline interpolation (H, h + 2 PAD) of filtered, padded LR values."""
    at = np.clip(axis.to_low(np.arange(axis.high)), -PAD + 2, axis.low + PAD - 3)
    base = np.floor(at).astype(np.intp)
    t = at - base
    weight = np.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], 1
    )
    return rows(base[:, None] + np.arange(PAD - 1, PAD + 3), weight / 6, axis.low + 2 * PAD)


def prefilter(low: Array) -> Array:
    """Return B-spline coefficients of an LR image, padded by replication."""
    padded = np.pad(low, ((PAD, PAD), (PAD, PAD), (0, 0)), mode="edge")
    for axis in (0, 1):
        padded = ndimage.spline_filter1d(padded, 3, axis=axis, mode="mirror", output=padded.dtype)
    return padded


Part = tuple[slice, slice]  # rows and columns of the HR grid
ALL: Part = (slice(None), slice(None))


def up(low: Array, rows_axis: Axis, columns_axis: Axis, part: Part = ALL) -> Array:
    """Return the cubic spline interpolation of an LR image (h, w, B) on a part of the HR grid."""
    first, second = spline_matrix(rows_axis)[part[0]], spline_matrix(columns_axis)[part[1]]
    return along(first, prefilter(low), second)


def up_operator(axis: Axis) -> Array:
    """Return `up` of one axis as a dense matrix (H, h)."""
    padded = np.pad(np.eye(axis.low), ((PAD, PAD), (0, 0)), mode="edge")
    return spline_matrix(axis) @ ndimage.spline_filter1d(padded, 3, axis=0, mode="mirror")
