"""Blind estimation of PSF and SRF (ours): both sensors are learnt from the pair itself.

    zl = P Z,   zl_b = Y r_b (+ o_b),   r_b >= 0,   h >= 0, sum 1
Two families of PSF, a Gaussian and free taps, on supports of several sizes; 4-fold cross-validation
over blocks of 2 x 2 LR pixels chooses. Legend: n LR pixels, L HSI bands, l MSI bands.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from qr_cli.fuse.block import Block
from qr_cli.fuse.grid import Array
from qr_cli.fuse.nnls import nnls
from qr_cli.fuse.psf import FWHM, Psf, gaussian_taps, official_taps

SRF_ROUGHNESS, TAP_ROUGHNESS = 1e-4, 1e-4
ELIMINATION = 1e-6  # ridge of the SRF inside the fit of a Gaussian
PREFERENCE = 0.99  # free taps must be better than the Gaussian by more than 1 %
ROUNDS = 30  # of the alternation of taps and SRF
FOLDS = 4


@dataclass(frozen=True, eq=False)
class Degradation:
    """What the two sensors do.

    Attributes:
        psf: from HR to LR pixels.
        srf: (L, l), from HSI to MSI bands, in the scaled units of the blocks.
        offset: (l), added after the SRF.
        record: how it was got, as a flat record.
    """

    psf: Psf
    srf: Array
    offset: Array
    record: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Candidate:
    """A family of PSF and the side of its support."""

    family: Literal["gaussian", "taps"]
    size: int


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


def pixels_of(blocks: Sequence[Block], widest: Psf) -> Pixels:
    """Return the pixels that are usable under the widest PSF in question."""
    masks = [block.usable(widest) for block in blocks]
    folds = []
    for mask in masks:
        i, j = np.nonzero(mask)
        folds.append((i // 2 + 2 * (j // 2)) % FOLDS)
    y = np.concatenate([block.y[mask] for block, mask in zip(blocks, masks, strict=True)])
    return Pixels(np.asarray(y, np.float64), np.concatenate(folds), masks, blocks)


# SRF ---------------------------------------------------------------------------------------


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


# families ----------------------------------------------------------------------------------


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


# choice ------------------------------------------------------------------------------------


def sizes(ratio: int) -> tuple[int, int, int]:
    """Return the sides of support that are tried: s, about 2 s, 3 s."""
    return ratio, 2 * ratio + (1 if ratio % 2 else 2), 3 * ratio


def template_of(blocks: Sequence[Block]) -> Psf:
    """Return a PSF that only carries the ratio."""
    return Psf("gaussian", (blocks[0].rows.ratio, blocks[0].columns.ratio))


def estimate(
    blocks: Sequence[Block],
    *,
    psf: Psf | Literal["auto", "gaussian", "taps", "block", "official"] = "auto",
    srf: Array | None = None,
    allowed: NDArray[np.bool_] | None = None,
    offset: Literal["auto", "on", "off"] = "auto",
    sum_one: bool = False,
    shifted: bool = True,
) -> Degradation:
    """Return PSF and SRF of a pair from sample blocks.

    Args:
        blocks: pieces of the scene.
        psf: one that is known, or how to find it.
        srf: (L, l) if known.
        allowed: (L, l), HSI bands that may enter each MSI band.
        offset: whether an MSI band may differ by a constant.
        sum_one: force the columns of the SRF to sum 1.
        shifted: whether the PSF may carry a shift; without it free taps are no candidate.
    """
    began = time.process_time()
    template = template_of(blocks)
    aligned = all(b.rows.aligned and b.columns.aligned for b in blocks)
    square = template.ratio[0] == template.ratio[1]
    whole = aligned and square
    errors: dict[str, float] = {}
    if isinstance(psf, Psf):
        chosen = psf
        pixels = pixels_of(blocks, chosen)
    elif psf == "official":
        chosen = Psf("official", template.ratio, official_taps(round(template.ratio[0])))
        pixels = pixels_of(blocks, chosen)
    else:
        ratio = round(template.ratio[0])
        widest = (
            replace(template, taps=gaussian_taps(3 * ratio, (ratio, ratio)))
            if whole
            else replace(template, sigma=(ratio / FWHM, ratio / FWHM))
        )
        pixels = pixels_of(blocks, widest)
        chosen, errors = choose(pixels, template, psf, whole=whole, shifted=shifted)
    zl = pixels.blurred(chosen)
    if srf is None:
        centered = offset == "on" or (
            offset == "auto" and _offset_helps(pixels, zl, allowed, _rms(blocks))
        )
        table, constant = Response(pixels.y, allowed=allowed, centered=centered).fit(zl)
    else:
        table, constant = srf, np.zeros(srf.shape[1])
    if sum_one and srf is None:
        total = table.sum(0)
        table = table / np.where(total > 0, total, 1)
    width, shift = chosen.moments()
    family = chosen.family
    record = {
        "psf": family,
        "psf_taps": None if chosen.taps is None else len(chosen.taps),
        "psf_fwhm_hr_px": [round(v, 4) for v in width],
        "psf_shift_hr_px": [round(v, 4) for v in shift],
        "psf_sum": 1.0 if chosen.taps is None else round(float(chosen.taps.sum()), 12),
        "cv_error": round(min(errors.values()), 6) if errors else None,
        "cv_errors": {name: round(value, 6) for name, value in errors.items()},
        "srf_given": srf is not None,
        "srf_offset": [round(float(v), 6) for v in constant],
        "seconds": round(time.process_time() - began, 3),
    }
    return Degradation(chosen, table, constant, record)


def choose(
    pixels: Pixels, template: Psf, how: str, *, whole: bool, shifted: bool
) -> tuple[Psf, dict[str, float]]:
    """Return the PSF with the smallest cross-validated error, and the errors by candidate."""
    everything = np.ones(len(pixels.y), bool)
    if not whole:
        fitted = fit_gaussian(pixels, everything, template, None, shifted=shifted)
        return fitted, {}
    ratio = round(template.ratio[0])
    small, middle, wide = sizes(ratio)
    candidates = [
        *(Candidate("gaussian", size) for size in (small, middle, wide)),
        *(Candidate("taps", size) for size in (small, middle)),
    ]
    if how == "gaussian" or (how == "auto" and not shifted):
        candidates = candidates[:3]
    elif how == "taps":
        candidates = candidates[3:]
    elif how == "block":
        candidates = [Candidate("taps", small)]
    full = Response(pixels.y)
    trains = [pixels.fold != f for f in range(FOLDS)]
    responses = [Response(pixels.y[train]) for train in trains]
    rms = _rms(pixels.blocks)
    errors: dict[str, float] = {}
    fits: dict[str, Psf] = {}
    for candidate in candidates:
        name = f"{candidate.family}-{candidate.size}"
        patches = Patches(pixels, ratio, candidate.size) if candidate.family == "taps" else None
        if patches is None:
            best = fit_gaussian(pixels, everything, template, candidate.size, shifted=shifted)
            assert best.sigma is not None
            start = [*np.log(best.sigma), *best.shift]
        else:
            best = patches.fit(full, range(FOLDS))
        fits[name] = best
        if len(candidates) == 1:
            return replace(best, family="block" if how == "block" else best.family), {}
        total, count = 0.0, 0
        for f, (train, response) in enumerate(zip(trains, responses, strict=True)):
            if patches is None:
                one = fit_gaussian(
                    pixels, train, template, candidate.size, shifted=shifted, start=start
                )
            else:
                one = patches.fit(response, [g for g in range(FOLDS) if g != f])
            zl = pixels.blurred(one)
            r, _ = response.fit(zl[train])
            gap = np.abs(pixels.y[~train] @ r - zl[~train]) / rms
            total, count = total + gap.sum(), count + gap.size
        errors[name] = float(total / max(count, 1))
    gaussians = {k: v for k, v in errors.items() if k.startswith("gaussian")}
    best_name = min(errors, key=lambda k: errors[k])
    if gaussians:
        nearest = min(gaussians, key=lambda k: gaussians[k])
        if not errors[best_name] < PREFERENCE * errors[nearest]:
            best_name = nearest
    return fits[best_name], errors


def _rms(blocks: Sequence[Block]) -> Array:
    return np.sqrt(np.mean([(b.z[b.high] ** 2).mean(0) for b in blocks], 0))


def _offset_helps(pixels: Pixels, zl: Array, allowed: NDArray[np.bool_] | None, rms: Array) -> bool:
    """Tell whether an offset lowers the cross-validated residual by more than 1 %."""
    error = {}
    for centered in (False, True):
        total = 0.0
        for f in range(FOLDS):
            train = pixels.fold != f
            if train.all() or not train.any():
                return False
            response = Response(pixels.y[train], allowed=allowed, centered=centered)
            r, o = response.fit(zl[train])
            total += float((np.abs(pixels.y[~train] @ r + o - zl[~train]) / rms).sum())
        error[centered] = total
    return error[True] < PREFERENCE * error[False]
