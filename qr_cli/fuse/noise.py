"""Noise levels of both images, from the images alone (ours).

HSI, per band: the residual of the band regressed on all others (n >= 2 L), else on its nearest.
MSI, per band: the smaller of two upper bounds, each over the quietest patches: the smallest
eigenvalues of 5 x 5 patches, and the residual of a pixel regressed on its neighbours and on the
other bands. Quiet patches bias both down, texture up; near 40 dB the two cancel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from qr_cli.fuse.block import Block
from qr_cli.fuse.grid import Array

SHARES = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0)  # of patches, the quietest first
LEAST = 6  # smallest eigenvalues that are averaged; windows per feature
DOUBTED_DB = 38.0  # below it the variance is doubled
MOST = 200_000  # windows
AT_ONCE = 10_000  # windows in memory


@dataclass(frozen=True, eq=False)
class Noise:
    """Noise of both images.

    Attributes:
        v_y: variances (L) of the HSI.
        v_z: variances (l) of the MSI.
        snr_y: decibels per HSI band.
        snr_z: decibels per MSI band.
    """

    v_y: Array
    v_z: Array
    snr_y: Array
    snr_z: Array

    @property
    def snr_hsi_db(self) -> float:
        """Return the median over HSI bands."""
        return float(np.median(self.snr_y))

    @property
    def snr_msi_db(self) -> float:
        """Return the median over MSI bands."""
        return float(np.median(self.snr_z))


def estimate(
    blocks: Sequence[Block], *, snr_hsi: float | None = None, snr_msi: float | None = None
) -> Noise:
    """Return the noise of a scene from sample blocks; given SNRs (decibels) replace estimates."""
    y = np.concatenate([block.y[block.low] for block in blocks])
    power_y = (y**2).mean(0)
    power_z = np.concatenate([block.z[block.high] for block in blocks])
    power_z = (power_z**2).mean(0)
    v_y = power_y / 10 ** (snr_hsi / 10) if snr_hsi is not None else hsi_variance(y)
    v_z = power_z / 10 ** (snr_msi / 10) if snr_msi is not None else msi_variance(blocks, power_z)
    v_y = np.maximum(v_y, 1e-14 * power_y.max())
    v_z = np.maximum(v_z, 1e-14 * power_z.max())
    return Noise(v_y, v_z, _decibels(power_y / v_y), _decibels(power_z / v_z))


def _decibels(ratio: Array) -> Array:
    return 10 * np.log10(np.maximum(ratio, 1e-30))


def hsi_variance(y: Array) -> Array:
    """Return the noise variance of each band of pixels (n, L)."""
    count, bands = y.shape
    centered = y - y.mean(0)
    spread = centered.std(0)
    spread[spread == 0] = 1
    scaled = centered / spread
    if count >= 2 * bands:
        gram = scaled.T @ scaled + 1e-10 * count * np.eye(bands)
        return spread**2 / (np.diag(np.linalg.inv(gram)) * (count - bands))
    near = max(4, count // 8)
    out = np.empty(bands)
    for band in range(bands):
        order = np.argsort(np.abs(np.arange(bands) - band), kind="stable")[1 : near + 1]
        others = scaled[:, order]
        gram = others.T @ others + 1e-10 * count * np.eye(len(order))
        weights = np.linalg.solve(gram, others.T @ scaled[:, band])
        rest = scaled[:, band] - others @ weights
        out[band] = spread[band] ** 2 * (rest @ rest) / max(count - len(order) - 1, 1)
    return out


def msi_variance(blocks: Sequence[Block], power: Array) -> Array:
    """Return the noise variance of each MSI band; `power` is the mean square of each band."""
    windows = _windows(blocks, 3, slice(None))
    if not len(windows):
        return power * 1e-8
    bounds = np.empty(len(power))
    for band in range(len(power)):
        patches = _windows(blocks, 5, slice(band, band + 1))
        if not len(patches):
            return power * 1e-8
        bounds[band] = min(_patch_bound(patches), _neighbour_bound(windows, band))
    doubted = _decibels(power / np.maximum(bounds, 1e-300)) < DOUBTED_DB
    return np.where(doubted, 2 * bounds, bounds)


def _windows(blocks: Sequence[Block], size: int, bands: slice) -> Array:
    """Return the windows without invalid pixels, flat, (n, bands size^2)."""
    found = []
    for block in blocks:
        if min(block.z.shape[:2]) < size:
            continue
        views = sliding_window_view(block.z[..., bands], (size, size), (0, 1))
        at = np.argwhere(sliding_window_view(block.high, (size, size)).all((2, 3)))
        most = MOST // len(blocks)
        if len(at) > most:
            at = at[np.linspace(0, len(at) - 1, most).astype(np.intp)]
        found.append(views[at[:, 0], at[:, 1]].reshape(len(at), -1))
    return np.concatenate(found) if found else np.empty((0, 0))


def _quietest(
    flat: Array, variance: Array, least: int
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield size and summed outer products, centred, of the quietest shares of windows.

    Shares of fewer than `least` windows are left out, unless there is no other. A share holds the
    one before it, so each window is met once.
    """
    order = np.argsort(variance, kind="stable")
    counts = [int(np.ceil(share * len(order))) for share in SHARES]
    counts = [count for count in counts if count >= least] or [len(order)]
    size = flat.shape[1]
    shift = flat[order[:AT_ONCE]].mean(0, dtype=np.float64)
    total, gram = np.zeros(size), np.zeros((size, size))
    done = 0
    for count in counts:
        while done < count:
            values = flat[order[done : min(done + AT_ONCE, count)]] - shift
            total += values.sum(0)
            gram += values.T @ values
            done += len(values)
        yield count, gram - np.outer(total, total) / count


def _patch_bound(patches: Array) -> float:
    """Bound (a): mean of the 6 smallest eigenvalues of 5 x 5 patches."""
    shares = _quietest(patches, patches.var(1), 2 * patches.shape[1])
    return min(
        max(float(np.linalg.eigvalsh(gram / count)[:LEAST].mean()), 0.0) for count, gram in shares
    )


def _neighbour_bound(windows: Array, band: int) -> float:
    """Bound (b): the centre regressed on its neighbours and on the windows of other bands."""
    variance = windows[:, 9 * band : 9 * band + 9].var(1)
    target = 9 * band + 4
    features = np.delete(np.arange(windows.shape[1]), target)
    size = len(features)
    found = []
    for count, gram in _quietest(windows, variance, LEAST * (size + 1)):
        inner, cross = gram[np.ix_(features, features)], gram[features, target]
        ridge = 1e-8 * np.trace(inner) / size + 1e-300
        w = np.linalg.solve(inner + ridge * np.eye(size), cross)
        rest = gram[target, target] - 2 * w @ cross + w @ inner @ w
        found.append(max(float(rest), 0.0) / max(count - size - 1, 1))
    return min(found)
