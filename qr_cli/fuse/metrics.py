"""Figures of a fused image, as pure functions of arrays; float64, integers are cast first.

Conventions (each is named in every record): PSNR per band with the reference band's maximum as
peak, mean over bands; SAM with 1e-7 in its denominator, a zero-norm pixel counts 90 degrees; ERGAS
with 100/ratio; SSIM with an 11 x 11 Gaussian window and the band maximum as range; UIQI over every
8 x 8 window. Images are (H, W, B); a mask (H, W) leaves pixels out.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import correlate1d, uniform_filter

Array = NDArray[np.float64]
Peak = Literal["band", "cube"] | float


def _pair(reference: ArrayLike, fused: ArrayLike, valid: ArrayLike | None) -> tuple[Array, Array]:
    """Return both images as (N, B) of the pixels that count."""
    a, b = (np.asarray(image, np.float64) for image in (reference, fused))
    if a.shape != b.shape:
        raise ValueError(f"shapes differ: {a.shape} and {b.shape}")
    mask = finite(a, b) if valid is None else np.asarray(valid, bool) & finite(a, b)
    return a[mask], b[mask]


def finite(*images: ArrayLike) -> NDArray[np.bool_]:
    """Return the pixels (H, W) at which every band of every image is finite."""
    masks = [np.isfinite(np.asarray(image, np.float64)).all(-1) for image in images]
    return np.logical_and.reduce(masks)


def psnr_db(
    reference: ArrayLike, fused: ArrayLike, *, peak: Peak = "band", valid: ArrayLike | None = None
) -> float:
    """Mean over bands of 10 log10(peak^2 / MSE_b); infinite for equal images.

    `peak`: that of the reference band, of the whole reference, or a number. Constant zero bands,
    which have no peak, are left out.
    """
    a, b = _pair(reference, fused, valid)
    mse = ((a - b) ** 2).mean(0)
    top = a.max(0) if peak == "band" else np.full(a.shape[1], a.max() if peak == "cube" else peak)
    used = top > 0
    with np.errstate(divide="ignore"):
        return float(np.mean(10 * np.log10(top[used] ** 2 / mse[used]))) if used.any() else math.nan


def psnr_global_db(
    reference: ArrayLike, fused: ArrayLike, *, valid: ArrayLike | None = None
) -> float:
    """10 log10(max(reference)^2 / MSE) over everything."""
    a, b = _pair(reference, fused, valid)
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(a.max() ** 2 / ((a - b) ** 2).mean()))


def sam_map(reference: ArrayLike, fused: ArrayLike) -> Array:
    """Angle between the spectra of each pixel in degrees, (H, W, B) -> (H, W)."""
    a, b = (np.asarray(image, np.float64) for image in (reference, fused))
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    cosine = np.clip((a * b).sum(-1) / (norms + 1e-7), -1, 1)
    return np.degrees(np.arccos(np.where(norms == 0, 0.0, cosine)))


def sam_deg(
    reference: ArrayLike,
    fused: ArrayLike,
    *,
    zero: Literal["count", "skip"] = "count",
    valid: ArrayLike | None = None,
) -> float:
    """Mean angle between spectra in degrees; a pixel of norm zero counts 90 or is skipped."""
    a, b = _pair(reference, fused, valid)
    angle = sam_map(a[None], b[None])[0]
    if zero == "skip":
        angle = angle[(np.abs(a).max(1) > 0) & (np.abs(b).max(1) > 0)]
    return float(angle.mean()) if angle.size else math.nan


def sam_zero_pixels(
    reference: ArrayLike, fused: ArrayLike, *, valid: ArrayLike | None = None
) -> int:
    """Number of pixels at which either spectrum has norm zero."""
    a, b = _pair(reference, fused, valid)
    return int(((np.abs(a).max(1) == 0) | (np.abs(b).max(1) == 0)).sum())


def ergas(
    reference: ArrayLike, fused: ArrayLike, *, ratio: float, valid: ArrayLike | None = None
) -> float:
    """100/ratio sqrt(mean_b MSE_b / mean(reference_b)^2); bands of mean zero are left out."""
    a, b = _pair(reference, fused, valid)
    mean = a.mean(0)
    used = mean != 0
    share = ((a - b) ** 2).mean(0)[used] / mean[used] ** 2
    return float(100 / ratio * np.sqrt(share.mean())) if used.any() else math.nan


def rmse(reference: ArrayLike, fused: ArrayLike, *, valid: ArrayLike | None = None) -> float:
    """Root mean square difference over everything, in the units of the images."""
    a, b = _pair(reference, fused, valid)
    return float(np.sqrt(((a - b) ** 2).mean()))


def cc(reference: ArrayLike, fused: ArrayLike, *, valid: ArrayLike | None = None) -> float:
    """Mean over bands of Pearson's correlation; bands constant in either image are left out."""
    a, b = _pair(reference, fused, valid)
    a, b = a - a.mean(0), b - b.mean(0)
    spread = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    used = spread > 0
    return float(((a * b).sum(0)[used] / spread[used]).mean()) if used.any() else math.nan


def ssim(
    reference: ArrayLike,
    fused: ArrayLike,
    *,
    data_range: float | None = None,
    valid: ArrayLike | None = None,
) -> float:
    """Structural similarity (Wang et al. 2004), mean of the interior, mean over bands.

    Gaussian window 11 x 11, sigma 1.5, K .01 and .03, population covariance, range = maximum of the
    reference band. A border of 5 and windows that touch an invalid pixel are left out.
    """
    a, b = (np.asarray(image, np.float64) for image in (reference, fused))
    used = finite(a, b) if valid is None else np.asarray(valid, bool) & finite(a, b)
    inside = uniform_filter(used.astype(np.float64), 11, mode="constant") > 1 - 1e-9
    inside[:5] = inside[-5:] = False
    inside[:, :5] = inside[:, -5:] = False
    if not inside.any():
        return math.nan
    place = np.arange(-5, 6)
    window = np.exp(-(place**2) / (2 * 1.5**2))
    window /= window.sum()

    def smooth(image: Array) -> Array:
        return correlate1d(correlate1d(image, window, 0, mode="reflect"), window, 1, mode="reflect")

    values = []
    for band in range(a.shape[2]):
        x, y = (np.where(used, image[..., band], 0.0) for image in (a, b))
        top = data_range or x[used].max()
        c1, c2 = (0.01 * top) ** 2, (0.03 * top) ** 2
        mx, my = smooth(x), smooth(y)
        vx, vy, vxy = smooth(x * x) - mx**2, smooth(y * y) - my**2, smooth(x * y) - mx * my
        above = (2 * mx * my + c1) * (2 * vxy + c2)
        below = (mx**2 + my**2 + c1) * (vx + vy + c2)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.where(below > 0, above / below, 1.0)
        values.append(value[inside].mean())
    return float(np.mean(values))


def uiqi(x: ArrayLike, y: ArrayLike, *, valid: ArrayLike | None = None) -> float:
    """Universal image quality index of two bands (H, W) (Wang and Bovik 2002).

    Mean over every 8 x 8 window fully inside; population moments; 1 where the denominator is zero.
    """
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    used = np.isfinite(a) & np.isfinite(b)
    if valid is not None:
        used &= np.asarray(valid, bool)
    inside = _windows(used.astype(np.float64)) > 64 - 0.5
    if not inside.any():
        return math.nan
    a, b = np.where(used, a, 0.0), np.where(used, b, 0.0)
    scale = max(np.abs(a).max(), np.abs(b).max()) or 1.0
    a, b = a / scale, b / scale
    ma, mb = _windows(a) / 64, _windows(b) / 64
    va, vb = _windows(a * a) / 64 - ma**2, _windows(b * b) / 64 - mb**2
    vab = _windows(a * b) / 64 - ma * mb
    below = (va + vb) * (ma**2 + mb**2)
    value = np.where(below > 1e-15, 4 * vab * ma * mb / np.where(below > 1e-15, below, 1), 1.0)
    return float(value[inside].mean())


def _windows(image: Array) -> Array:
    """Return sums over all 8 x 8 windows fully inside, from a table of cumulative sums."""
    table = np.zeros((image.shape[0] + 1, image.shape[1] + 1))
    table[1:, 1:] = image.cumsum(0).cumsum(1)
    return table[8:, 8:] - table[:-8, 8:] - table[8:, :-8] + table[:-8, :-8]


def uiqi_cube(reference: ArrayLike, fused: ArrayLike, *, valid: ArrayLike | None = None) -> float:
    """Mean of `uiqi` over bands."""
    a, b = np.asarray(reference), np.asarray(fused)
    return float(np.mean([uiqi(a[..., i], b[..., i], valid=valid) for i in range(a.shape[2])]))


def d_lambda(fused: ArrayLike, low: ArrayLike, *, seed: int = 0, pairs: int = 500) -> float:
    """Mean of abs(UIQI(F_i, F_j) - UIQI(Y_i, Y_j)) over at most `pairs` seeded band pairs."""
    f, y = np.asarray(fused, np.float64), np.asarray(low, np.float64)
    chosen = np.stack(np.triu_indices(f.shape[2], 1), 1)
    if len(chosen) > pairs:
        generator = np.random.default_rng(seed)
        chosen = chosen[generator.choice(len(chosen), pairs, replace=False)]
    gaps = [
        abs(uiqi(f[..., i], f[..., j]) - uiqi(y[..., i], y[..., j])) for i, j in chosen.tolist()
    ]
    return float(np.mean(gaps)) if gaps else math.nan


def d_s(fused: ArrayLike, low: ArrayLike, high: ArrayLike, high_low: ArrayLike) -> float:
    """Mean over HSI bands of abs(UIQI(F_b, Z_m) - UIQI(Y_b, (PZ)_m)), m the best correlated."""
    f, y, z, zl = (np.asarray(image, np.float64) for image in (fused, low, high, high_low))
    mask = finite(y, zl)
    a, b = y[mask], zl[mask]
    with np.errstate(invalid="ignore", divide="ignore"):
        table = np.abs(np.nan_to_num(np.corrcoef(a.T, b.T)[: a.shape[1], a.shape[1] :]))
    gaps = [
        abs(uiqi(f[..., i], z[..., m]) - uiqi(y[..., i], zl[..., m]))
        for i, m in enumerate(table.argmax(1).tolist())
    ]
    return float(np.mean(gaps))


def evaluate(
    reference: ArrayLike,
    fused: ArrayLike,
    *,
    ratio: float,
    valid: ArrayLike | None = None,
    peak: Peak = "band",
    sam_zero: Literal["count", "skip"] = "count",
    data_range: float | None = None,
    with_uiqi: bool = False,
) -> dict[str, Any]:
    """Return the figures of a fused image against a reference, with their conventions."""
    mask = finite(reference, fused)
    if valid is not None:
        mask &= np.asarray(valid, bool)
    peak_words = {"band": "peak = band maximum of the reference", "cube": "peak = cube maximum"}
    return {
        "psnr_db": number(psnr_db(reference, fused, peak=peak, valid=mask)),
        "psnr_convention": f"mean over bands, {peak_words.get(str(peak), f'peak = {peak}')}",
        "psnr_global_db": number(psnr_global_db(reference, fused, valid=mask)),
        "sam_deg": number(sam_deg(reference, fused, zero=sam_zero, valid=mask)),
        "sam_zero_pixels": sam_zero_pixels(reference, fused, valid=mask),
        "sam_zero": sam_zero,
        "ergas": number(ergas(reference, fused, ratio=ratio, valid=mask)),
        "ergas_ratio": ratio,
        "rmse": number(rmse(reference, fused, valid=mask)),
        "cc": number(cc(reference, fused, valid=mask)),
        "ssim": number(ssim(reference, fused, data_range=data_range, valid=mask)),
        "uiqi": number(uiqi_cube(reference, fused, valid=mask)) if with_uiqi else None,
        "valid_fraction": float(mask.mean()),
    }


def number(value: float) -> float | None:
    """Return None for a figure that is not finite."""
    return value if math.isfinite(value) else None
