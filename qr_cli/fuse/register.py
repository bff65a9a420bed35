"""Is the MSI where the HSI is? A gross shift by phase correlation, a fine one from the PSF (ours).

Gross: Z averaged over LR pixels against Y R, upsampled DFT at 1/100 pixel, mean over MSI bands
weighted by Fisher's z of their correlation; used from one LR pixel on, below it is not accurate.
Fine: the shift of a Gaussian PSF on wide support. Positive: the footprint of LR pixel (i, j) sits
further down and right on the MSI.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import shift as moved

from qr_cli.fuse.block import Block
from qr_cli.fuse.degradation import template_of
from qr_cli.fuse.grid import Array
from qr_cli.fuse.psf import FWHM, Psf, gaussian_taps
from qr_cli.fuse.raster import Raster, Window
from qr_cli.fuse.sensor_fit import Response, fit_gaussian, pixels_of

FINE = 100  # steps per LR pixel
SPLINE_MARGIN = 16  # HR pixels around a window that is resampled
MOST = 6_400  # LR pixels for the fine shift


@dataclass(frozen=True)
class Gross:
    """A shift in LR pixels (rows, columns), and the correlation of each MSI band."""

    shift: tuple[float, float]
    correlation: Sequence[float]
    peak: float


def box(block: Block) -> Psf:
    """Return the average over an LR pixel, as a PSF."""
    if block.rows.aligned and block.columns.aligned and block.rows.ratio == block.columns.ratio:
        side = round(block.rows.ratio)
        return Psf("given", (side, side), np.full((side, side), 1 / side**2))
    ratio = (block.rows.ratio, block.columns.ratio)
    return Psf("given", ratio, None, (ratio[0] / FWHM, ratio[1] / FWHM))


def gross_shift(block: Block) -> Gross:
    """Return where the MSI lies against the HSI, in LR pixels."""
    zl = block.blur(block.z, box(block)).astype(np.float64)
    used = block.usable(box(block))
    y = block.y.astype(np.float64)
    r, o = Response(y[used], centered=True).fit(zl[used])
    made = y @ r + o
    shifts, weights, correlations = [], [], []
    peak = 0.0
    taper = np.outer(np.hanning(zl.shape[0] + 2)[1:-1], np.hanning(zl.shape[1] + 2)[1:-1])
    for band in range(zl.shape[2]):
        a, b = (np.where(used, image[..., band], image[used, band].mean()) for image in (zl, made))
        deviation = a[used].std() * b[used].std()
        rho = (
            float(np.mean((a[used] - a[used].mean()) * (b[used] - b[used].mean())) / deviation)
            if deviation > 0
            else 0.0
        )
        correlations.append(rho)
        shift, height = phase_shift((a - a.mean()) * taper, (b - b.mean()) * taper)
        shifts.append(shift)
        weights.append(max(np.arctanh(min(max(rho, 0.0), 0.9999)), 1e-3))
        peak = max(peak, height)
    mean = np.average(np.array(shifts), axis=0, weights=np.array(weights))
    return Gross((float(mean[0]), float(mean[1])), correlations, peak)


def phase_shift(a: Array, b: Array) -> tuple[tuple[float, float], float]:
    """Return d with a(x) = b(x - d) by phase correlation, to 1/100 pixel, and the peak's height."""
    spectrum = np.fft.fft2(a) * np.conj(np.fft.fft2(b))
    spectrum /= np.maximum(np.abs(spectrum), 1e-12 * np.abs(spectrum).max() + 1e-300)
    surface = np.fft.ifft2(spectrum).real
    at = np.unravel_index(int(surface.argmax()), surface.shape)
    start = [i if i <= side // 2 else i - side for i, side in zip(at, surface.shape, strict=True)]
    offsets = np.arange(-FINE, FINE + 1) / FINE
    parts = []
    for axis, side in enumerate(surface.shape):
        frequency = np.fft.fftfreq(side)
        parts.append(np.exp(2j * np.pi * np.outer(start[axis] + offsets, frequency)))
    fine = (parts[0] @ spectrum @ parts[1].T).real / surface.size
    i, j = np.unravel_index(int(fine.argmax()), fine.shape)
    found = float(start[0] + offsets[i]), float(start[1] + offsets[j])
    return found, float(fine.max())


def fine_shift(blocks: Sequence[Block]) -> tuple[tuple[float, float], bool]:
    """Return the shift of the footprints in HR pixels, and whether it is inside its bounds."""
    template = template_of(blocks)
    ratio = template.ratio
    whole = all(b.rows.aligned and b.columns.aligned for b in blocks) and ratio[0] == ratio[1]
    size = None
    if whole:
        side = round(ratio[0])
        size = 4 * side + (1 if side % 2 else 0)
        widest = replace(template, taps=gaussian_taps(size, (side, side)))
    else:
        widest = replace(template, sigma=(ratio[0] / FWHM, ratio[1] / FWHM))
    pixels = pixels_of(_few(blocks), widest)
    everything = np.ones(len(pixels.y), bool)
    found = fit_gaussian(pixels, everything, template, size, ridge=1e-4)
    inside = all(abs(d) < 0.98 * s for d, s in zip(found.shift, ratio, strict=True))
    return found.shift, inside


def _few(blocks: Sequence[Block]) -> list[Block]:
    """Return as many blocks as make about 6,400 LR pixels, one at least."""
    kept: list[Block] = []
    for block in blocks:
        if kept and sum(b.low.size for b in kept) + block.low.size > MOST:
            break
        kept.append(block)
    return kept


def shifted(raster: Raster, shift: tuple[float, float]) -> Raster:
    """Return Z'(x) = Z(x + shift) by cubic splines; the border that moves in has no data."""
    height, width = raster.shape[:2]
    edge = SPLINE_MARGIN + int(np.ceil(max(abs(d) for d in shift)))

    def window(where: Window) -> Array:
        r0, r1 = max(where[0] - edge, 0), min(where[1] + edge, height)
        c0, c1 = max(where[2] - edge, 0), min(where[3] + edge, width)
        values = raster.read((r0, r1, c0, c1))
        missing = ~np.asarray(np.isfinite(values).all(-1))
        filled = np.where(missing[..., None], np.nanmean(values, (0, 1)), values)
        out = moved(filled, (-shift[0], -shift[1], 0), order=3, mode="nearest")
        lost = moved(missing.astype(float), (-shift[0], -shift[1]), order=1, mode="nearest") > 1e-6
        at = [np.arange(a, b) + d for a, b, d in ((r0, r1, shift[0]), (c0, c1, shift[1]))]
        outside = [(p < 0) | (p > side - 1) for p, side in zip(at, (height, width), strict=True)]
        lost |= outside[0][:, None] | outside[1][None, :]
        out[lost] = np.nan
        return out[where[0] - r0 : where[1] - r0, where[2] - c0 : where[3] - c0]

    return Raster(
        raster.path, raster.shape, np.dtype(np.float64), window, raster.wavelength_nm,
        raster.fwhm_nm, raster.transform, raster.crs, None, in_memory=raster.in_memory,
    )  # fmt: skip
