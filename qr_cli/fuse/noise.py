"""Noise levels of both images, from the images alone (ours).

HSI, per band: the residual of the band regressed on all others (n >= 2 L), else on its nearest.
MSI, per band: the smaller of two upper bounds, each over the quietest patches: the smallest
eigenvalues of 5 x 5 patches, and the residual of a pixel regressed on its neighbours and on the
other bands. Quiet patches bias both down, texture up; near 40 dB the two cancel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qr_cli.fuse.block import Block
from qr_cli.fuse.grid import Array

SHARES = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0)  # of patches, the quietest first
LEAST = 6  # smallest eigenvalues that are averaged; windows per feature
DOUBTED_DB = 38.0  # below it the variance is doubled
MOST = 200_000  # windows


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
    patches = _windows(blocks, 5, MOST // len(blocks))
    windows = _windows(blocks, 3, MOST // len(blocks))
    if not len(patches) or not len(windows):
        return power * 1e-8
    bounds = np.minimum(_patch_bound(patches), _neighbour_bound(windows))
    doubted = _decibels(power / np.maximum(bounds, 1e-300)) < DOUBTED_DB
    return np.where(doubted, 2 * bounds, bounds)


def _windows(blocks: Sequence[Block], size: int, most: int) -> Array:
    """Return the windows without invalid pixels, (n, l, size, size), at most so many a block."""
    found = []
    for block in blocks:
        if min(block.z.shape[:2]) < size:
            continue
        views = np.lib.stride_tricks.sliding_window_view(block.z, (size, size), (0, 1))
        whole = np.lib.stride_tricks.sliding_window_view(block.high, (size, size)).all((2, 3))
        at = np.argwhere(whole)
        if len(at) > most:
            at = at[np.linspace(0, len(at) - 1, most).astype(np.intp)]
        found.append(views[at[:, 0], at[:, 1]])
    return np.concatenate(found) if found else np.empty((0,))


def _quietest(spread: Array, least: int) -> list[np.ndarray]:
    """Return the indices of the quietest shares of patches that hold at least so many."""
    order = np.argsort(spread, kind="stable")
    counts = [int(np.ceil(share * len(order))) for share in SHARES]
    kept = [order[:count] for count in counts if count >= least]
    return kept or [order]


def _patch_bound(patches: Array) -> Array:
    """Bound (a): mean of the 6 smallest eigenvalues of 5 x 5 patches."""
    out = np.empty(patches.shape[1])
    for band in range(patches.shape[1]):
        flat = patches[:, band].reshape(len(patches), -1)
        found = []
        for chosen in _quietest(flat.var(1), 2 * flat.shape[1]):
            part = flat[chosen] - flat[chosen].mean(0)
            values = np.linalg.eigvalsh(part.T @ part / len(part))
            found.append(max(float(values[:LEAST].mean()), 0.0))
        out[band] = min(found)
    return out


def _neighbour_bound(windows: Array) -> Array:
    """Bound (b): the centre regressed on its neighbours and on the windows of other bands."""
    count, bands = windows.shape[:2]
    flat = windows.reshape(count, bands, 9)
    out = np.empty(bands)
    for band in range(bands):
        own = flat[:, band, [0, 1, 2, 3, 5, 6, 7, 8]]
        others = np.delete(flat, band, 1).reshape(count, -1)
        features = np.concatenate([own, others], 1)
        target = flat[:, band, 4]
        found = []
        for chosen in _quietest(flat[:, band].var(1), LEAST * (features.shape[1] + 1)):
            found.append(_residual(features[chosen], target[chosen]))
        out[band] = min(found)
    return out


def _residual(features: Array, target: Array) -> float:
    """Return the residual variance of a regression with intercept."""
    f, t = features - features.mean(0), target - target.mean()
    gram = f.T @ f
    size = len(gram)
    gram[np.diag_indices(size)] += 1e-8 * np.trace(gram) / size + 1e-300
    rest = t - f @ np.linalg.solve(gram, f.T @ t)
    return float(rest @ rest) / max(len(t) - size - 1, 1)
