"""Products of HR features with matrices that are known on the LR grid and interpolated bilinearly.

All HR pixels between the same four LR pixels see the same four matrices: their features, times the
bilinear weights, meet them in one small matrix product per cell.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qr_cli.fuse.grid import ALL, Array, Axis, Part

MOST = 48_000_000  # numbers in flight


class Cells:
    """The cells of two axes.

    Args:
        rows: grids along rows.
        columns: grids along columns.
        part: of the HR grid; features are those of the part.
    """

    def __init__(self, rows: Axis, columns: Axis, part: Part = ALL) -> None:
        self.rows, self.columns = _Side(rows, part[0]), _Side(columns, part[1])

    def contract(self, features: Array, matrices: Array) -> Array:
        """Return features(x) @ M(x): (H, W, a), (h, w, a, b) -> (H, W, b)."""
        height, width, a = features.shape
        b = matrices.shape[3]
        out = np.empty((height, width, b), features.dtype)
        matrices = matrices.astype(features.dtype, copy=False)
        r, c = self.rows, self.columns
        per_row = len(c.base) * (4 * a * b + r.most * c.most * (4 * a + b))
        step = max(1, MOST // max(per_row, 1))
        for start in range(0, len(r.base), step):
            part = slice(start, start + step)
            base, members = r.base[part], r.members[part]
            corner = [
                matrices[(base + i)[:, None], (c.base + j)[None, :]] for i in (0, 1) for j in (0, 1)
            ]
            stacked = np.stack(corner, 2).reshape(len(base), len(c.base), 4 * a, b)
            held = features[members[:, :, None, None], c.members[None, None]]
            weights = np.einsum("pmi,qnj->pmqnij", r.weight[part], c.weight)
            weights = weights.reshape(*weights.shape[:4], 4).astype(features.dtype)
            left = weights[..., None] * held[..., None, :]
            left = left.reshape(*left.shape[:4], 4 * a).transpose(0, 2, 1, 3, 4)
            left = left.reshape(len(base), len(c.base), r.most * c.most, 4 * a)
            product = (left @ stacked).reshape(len(base), len(c.base), r.most, c.most, b)
            i, j = np.nonzero(r.real[part])
            k, m = np.nonzero(c.real)
            out[members[i, j][:, None], c.members[k, m][None, :]] = product[
                i[:, None], k[None, :], j[:, None], m[None, :]
            ]
        return out


class _Side:
    """Cells of one axis: base LR pixel, the HR pixels inside (padded), their weights."""

    base: NDArray[np.intp]
    members: NDArray[np.intp]
    weight: Array
    real: NDArray[np.bool_]

    def __init__(self, axis: Axis, part: slice) -> None:
        at = np.clip(axis.to_low(np.arange(axis.high)[part]), 0, axis.low - 1)
        cell = np.minimum(np.floor(at), max(axis.low - 2, 0)).astype(np.intp)
        base, first, count = np.unique(cell, return_index=True, return_counts=True)
        self.base, self.most = base, int(count.max())
        members = first[:, None] + np.arange(self.most)
        self.real = np.arange(self.most) < count[:, None]
        self.members = np.where(self.real, members, first[:, None])
        share = at[self.members] - base[:, None]
        self.weight = np.stack([1 - share, share], -1)
