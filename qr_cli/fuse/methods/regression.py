"""Regression of HSI on MSI bands with errors in the regressors, global and local (A2-A4; ours).

    zl = P Zd, centred;  Sigma_r = diag(v_Z) / 4;  W = (C_ll + Sigma_r + 1e-9 tr(C_ll)/l I)^-1 C_lY
    M0(x) = mean(Y) + (Zd(x) - mean(zl)) W
The fit sees regressors whose noise the PSF has averaged away, the prediction does not: Sigma_r
supplies it. The local part corrects E0 = Y - P M0 in Gaussian windows g of sigma LR pixels:
    a = (1, (zl - mean)/sd),  G = g*(a a'),  B = g*(a E0'),  w = g*1
    coef = (G + w (diag(0, v_Z/(4 sd^2)) + lam I))^-1 B
Leave-one-out residuals in closed form choose (sigma, lam), or no local part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from qr_cli.fuse.block import Block
from qr_cli.fuse.grid import Array, Axis, linear_matrix
from qr_cli.fuse.noise import Noise
from qr_cli.fuse.psf import Psf

SIGMAS = (2.0, 4.0, 8.0)  # LR pixels
LAMBDAS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
CUT = 4.0  # of the windows, in sigmas
BANDS_AT_ONCE = 16
LEAST_LEFT = 0.05  # of 1 - leverage
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class LowPiece:
    """What the regression sees of a block.

    Attributes:
        y: HSI (h, w, L).
        zl: blurred detail of the MSI (h, w, l).
        used: LR pixels that enter (h, w).
        e0: Y - P M0 (h, w, L), once M0 is known.
    """

    y: Array
    zl: Array
    used: Mask
    e0: Array | None = None

    def left(self) -> Array:
        """Return E0."""
        assert self.e0 is not None
        return self.e0


@dataclass(frozen=True, eq=False)
class Global:
    """The global regression.

    Attributes:
        mean_y: (L).
        mean_z: (l).
        sd: (l), of zl.
        w: (l, L).
        inverse: (l, l), of the penalised covariance.
        count: pixels it was fitted on.
        noise_z: Sigma_r, (l).
    """

    mean_y: Array
    mean_z: Array
    sd: Array
    w: Array
    inverse: Array
    count: int
    noise_z: Array

    def predict(self, z: Array) -> Array:
        """Return M0 for MSI values (..., l)."""
        return self.mean_y + (z - self.mean_z) @ self.w

    def left(self, block: Block, zd: Array, zl: Array, psf: Psf) -> Array:
        """Return Y - P M0 (h, w, L); M0 is linear, so P meets the MSI's bands only."""
        return block.y - self.predict(zl)

    def features(self, z: Array) -> Array:
        """Return a = (1, (z - mean)/sd), (..., l + 1)."""
        out = np.empty((*z.shape[:-1], z.shape[-1] + 1), z.dtype)
        out[..., 0] = 1
        out[..., 1:] = (z - self.mean_z) / self.sd
        return out

    def leverage(self, zl: Array) -> Array:
        """Return lev_0 of pixels (..., l)."""
        centered = zl - self.mean_z
        return np.einsum("...i,ij,...j->...", centered, self.inverse, centered) / self.count + (
            1 / self.count
        )


def fit_global(pieces: Sequence[LowPiece], noise: Noise) -> Global:
    """Return the regression over all usable pixels (A2)."""
    y = np.concatenate([piece.y[piece.used] for piece in pieces])
    zl = np.concatenate([piece.zl[piece.used] for piece in pieces])
    mean_y, mean_z = y.mean(0), zl.mean(0)
    yc, zc = y - mean_y, zl - mean_z
    count, bands = zl.shape
    covariance = zc.T @ zc / count
    penalty = noise.v_z / 4
    level = np.trace(covariance) / bands
    inverse = np.linalg.inv(covariance + np.diag(penalty) + 1e-9 * level * np.eye(bands))
    w = inverse @ (zc.T @ yc / count)
    sd = np.sqrt(np.diag(covariance))
    return Global(mean_y, mean_z, np.where(sd > 0, sd, 1), w, inverse, count, penalty)


def window_taps(sigma: float) -> Array:
    """Return a Gaussian window of sum 1, cut at 4 sigma."""
    half = int(CUT * sigma + 0.5)
    taps = np.exp(-(np.arange(-half, half + 1) ** 2) / (2 * sigma**2))
    return taps / taps.sum()


def smooth(image: Array, sigma: float) -> Array:
    """Return g * image over the first two axes, zero outside, (h, w, ...)."""
    taps = window_taps(sigma)
    half = len(taps) // 2
    sides = [_banded(side, taps, half).astype(image.dtype) for side in image.shape[:2]]
    flat = image.reshape(*image.shape[:2], -1)
    half_way = np.tensordot(sides[0], flat, (1, 0))
    out = np.tensordot(sides[1], half_way, (1, 1)).transpose(1, 0, 2)
    return out.reshape(image.shape)


def _banded(side: int, taps: Array, half: int) -> Array:
    index = np.arange(side)
    gap = index[None, :] - index[:, None] + half
    inside = (gap >= 0) & (gap < len(taps))
    return np.where(inside, taps[np.clip(gap, 0, len(taps) - 1)], 0.0)


class Windows:
    """Window sums of one piece for one sigma (A3).

    Args:
        piece: with its E0.
        fitted: the global regression.
        sigma: of the windows in LR pixels.

    Attributes:
        a: features (h, w, l + 1).
        gram: (h, w, l + 1, l + 1).
        weight: (h, w).
    """

    def __init__(self, piece: LowPiece, fitted: Global, sigma: float) -> None:
        self.piece, self.fitted, self.sigma = piece, fitted, sigma
        self.a = fitted.features(piece.zl)
        self.used = piece.used[..., None].astype(self.a.dtype)
        size = self.a.shape[2]
        upper = np.triu_indices(size)
        products = self.used * self.a[..., upper[0]] * self.a[..., upper[1]]
        packed = smooth(np.concatenate([self.used, products], -1), sigma)
        self.weight = packed[..., 0]
        self.gram = np.empty((*self.a.shape[:2], size, size), self.a.dtype)
        self.gram[..., upper[0], upper[1]] = packed[..., 1:]
        self.gram[..., upper[1], upper[0]] = packed[..., 1:]

    def cross(self, bands: slice) -> Array:
        """Return the sums of a e0' for some bands, (h, w, l + 1, bands)."""
        e0 = self.piece.left()[..., bands]
        return smooth((self.used * self.a)[..., None] * e0[..., None, :], self.sigma)

    def penalized(self, lam: float) -> Array:
        """Return G + w (diag(0, Sigma_r / sd^2) + lam I), (h, w, l + 1, l + 1)."""
        fitted = self.fitted
        penalty = np.concatenate([[0.0], fitted.noise_z / fitted.sd**2]) + lam
        return self.gram + np.maximum(self.weight, 1e-12)[..., None, None] * np.diag(penalty)

    def coefficients(self, lam: float) -> Array:
        """Return coef (h, w, l + 1, L), some bands at a time."""
        bands = self.piece.y.shape[2]
        out = np.empty((*self.a.shape, bands), self.a.dtype)
        left = self.penalized(lam)
        for part in band_slices(bands):
            out[..., part] = np.linalg.solve(left, self.cross(part))
        return out


def band_slices(bands: int) -> Iterator[slice]:
    """Yield slices of bands: window sums of all bands at once would be large."""
    for start in range(0, bands, BANDS_AT_ONCE):
        yield slice(start, min(start + BANDS_AT_ONCE, bands))


def leave_one_out(
    piece: LowPiece, fitted: Global, windows: Windows | None, lams: Sequence[float]
) -> list[Array]:
    """Return the held-out residuals of the usable pixels (n, L) for each ridge (A4)."""
    rest, left = piece.left()[piece.used], 1 - fitted.leverage(piece.zl)
    if windows is None:
        return [rest / np.maximum(left, LEAST_LEFT)[piece.used][:, None]]
    inverses = [
        np.linalg.solve(windows.penalized(lam), windows.a[..., None])[..., 0] for lam in lams
    ]
    out = [rest.copy() for _ in lams]
    for part in band_slices(rest.shape[1]):
        cross = windows.cross(part)[piece.used]
        for held, inverse in zip(out, inverses, strict=True):
            held[:, part] -= np.einsum("na,nal->nl", inverse[piece.used], cross)
    center = window_taps(windows.sigma).max() ** 2
    for held, inverse in zip(out, inverses, strict=True):
        share = left - center * np.einsum("hwa,hwa->hw", windows.a, inverse)
        held /= np.maximum(share, LEAST_LEFT)[piece.used][:, None]
    return out


@dataclass(frozen=True)
class Choice:
    """The local part that was chosen; sigma 0: none.

    Attributes:
        sigma: of the windows, LR pixels.
        lam: ridge.
        scores: (sigma, lam, score in decibels) of every candidate.
        residual: mean squared held-out residual per HSI band, (L).
    """

    sigma: float
    lam: float
    scores: list[tuple[float, float, float]]
    residual: Array


def choose(pieces: Sequence[LowPiece], fitted: Global, noise: Noise) -> Choice:
    """Return the candidate with the largest held-out score (A4)."""
    peak = np.concatenate([piece.y[piece.used] for piece in pieces]).max(0)
    peak = np.where(peak > 0, peak, 1)
    scores: list[tuple[float, float, float]] = []
    best: tuple[float, float, float, Array] | None = None

    def enter(sigma: float, lam: float, square: Array, count: int) -> None:
        nonlocal best
        m = square / count
        error = np.maximum(np.maximum(m - noise.v_y, m / 10), 1e-300)
        score = -float(np.mean(10 * np.log10(error / peak**2)))
        scores.append((sigma, lam, score))
        if best is None or score > best[2]:
            best = (sigma, lam, score, m)

    count = sum(int(piece.used.sum()) for piece in pieces)
    plain = sum((leave_one_out(piece, fitted, None, ())[0] ** 2).sum(0) for piece in pieces)
    enter(0.0, 0.0, np.asarray(plain), count)
    if count >= 4 * (len(fitted.mean_z) + 1):
        for sigma in SIGMAS:
            squares = np.zeros((len(LAMBDAS), pieces[0].y.shape[2]))
            for piece in pieces:
                windows = Windows(piece, fitted, sigma)
                for index, loo in enumerate(leave_one_out(piece, fitted, windows, LAMBDAS)):
                    squares[index] += (loo**2).sum(0)
            for lam, square in zip(LAMBDAS, squares, strict=True):
                enter(sigma, lam, square, count)
    assert best is not None
    return Choice(best[0], best[1], scores, best[3])


def blurred_local(a: Array, coef: Array, terms: Sequence[tuple], axes: tuple[Axis, Axis]) -> Array:
    """Return P(a(x) coef(x)) without an image of L bands on the HR grid.

    `coef` is bilinear between LR pixels, so its part at LR pixel (i + di, j + dj) meets the
    features weighted by PSF times bilinear hat: sums of l + 1 bands per neighbour, then one
    product.

    Args:
        a: HR features (H, W, l + 1).
        coef: (h, w, l + 1, L).
        terms: of the PSF, matrices per axis.
        axes: the grids.
    """
    height, width = coef.shape[:2]
    hats = [_hats(axis) for axis in axes]
    sums: dict[tuple[int, int], Array] = {}
    for first, second in terms:
        parts = [
            _shifted(first.astype(a.dtype), hats[0].astype(a.dtype)),
            _shifted(second.astype(a.dtype), hats[1].astype(a.dtype)),
        ]
        flat = a.reshape(a.shape[0], -1)
        for di, left in parts[0]:
            half = (left @ flat).reshape(height, a.shape[1], -1)
            turned = np.ascontiguousarray(half.transpose(1, 0, 2)).reshape(a.shape[1], -1)
            for dj, right in parts[1]:
                part = (right @ turned).reshape(width, height, -1).transpose(1, 0, 2)
                sums[di, dj] = sums[di, dj] + part if (di, dj) in sums else part
    out = np.zeros((height, width, coef.shape[3]), a.dtype)
    for (di, dj), part in sums.items():
        i = np.clip(np.arange(height) + di, 0, height - 1)
        j = np.clip(np.arange(width) + dj, 0, width - 1)
        out += (part[..., None, :] @ coef[i[:, None], j[None, :]].astype(a.dtype))[..., 0, :]
    return out


def _hats(axis: Axis) -> sparse.csr_matrix:
    return linear_matrix(axis).T.tocsr()  # (h, H): the hat of each LR pixel


def _shifted(
    blur: sparse.csr_matrix, hats: sparse.csr_matrix
) -> list[tuple[int, sparse.csr_matrix]]:
    """Return for each LR offset d the matrix blur[i, u] hat[i + d, u], where it holds anything."""
    low = blur.shape[0]
    pattern = (abs(blur) @ abs(hats).T).tocoo()
    reach = np.unique(pattern.col - pattern.row)
    found = []
    for d in reach.tolist():
        index = np.arange(low) + d
        inside = (index >= 0) & (index < low)
        moved = hats[np.clip(index, 0, low - 1)].multiply(inside[:, None])
        part = blur.multiply(moved).tocsr()
        if part.nnz:
            found.append((d, part))
    return found
