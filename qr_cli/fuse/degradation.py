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

from qr_cli.fuse.block import Block
from qr_cli.fuse.grid import Array
from qr_cli.fuse.psf import FWHM, Psf, gaussian_taps, official_taps
from qr_cli.fuse.sensor_fit import FOLDS, Patches, Pixels, Response, fit_gaussian, pixels_of

PREFERENCE = 0.99  # free taps must be better than the Gaussian by more than 1 %


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
