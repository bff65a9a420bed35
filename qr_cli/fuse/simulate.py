"""Test pairs by the Wald protocol: a cube becomes a coarse HSI, a fine MSI and the truth.

    Y = P X,  Z = X R,  each with white noise of a given SNR per band if asked.
The crop and the kernel are those of the official code: floor(rest / 2) from top and left, the
remainder from bottom and right; a Gaussian of FWHM s in one s x s block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qr_cli.errors import DataError
from qr_cli.fuse.grid import Array, Axis
from qr_cli.fuse.psf import FWHM, Psf, gaussian_taps, official_taps


@dataclass(frozen=True)
class Pair:
    """A simulated pair.

    Attributes:
        y: HSI (h, w, L).
        z: MSI (H, W, l).
        reference: the cropped cube (H, W, L), divided by its maximum.
        psf: the true one.
        srf: the true one, (L, l).
    """

    y: Array
    z: Array
    reference: Array
    psf: Psf
    srf: Array


def crop(cube: Array, ratio: int) -> Array:
    """Return the cube cropped to multiples of the ratio, as the official code does."""
    for axis in (0, 1):
        rest = cube.shape[axis] % ratio
        cube = cube.take(range(rest // 2, cube.shape[axis] - (rest - rest // 2)), axis)
    return cube


def kernel(ratio: int, fwhm: float | None = None, shift: tuple[float, float] = (0.0, 0.0)) -> Psf:
    """Return the official kernel, or a Gaussian of another width or shift on wider support."""
    if fwhm is None and shift == (0.0, 0.0):
        taps = official_taps(ratio)
    else:
        width = fwhm or ratio
        reach = 1.5 * width + max(abs(d) for d in shift)
        size = ratio + 2 * max(int(np.ceil((2 * reach - ratio) / 2)), 0)
        taps = gaussian_taps(size, (width / FWHM, width / FWHM), shift)
    return Psf("given", (ratio, ratio), taps)


def simulate(
    cube: Array,
    srf: Array,
    psf: Psf,
    *,
    snr_db: tuple[float, float] | None = None,
    seed: int = 0,
) -> Pair:
    """Return a pair made from a cube (H, W, L); `snr_db` is that of HSI and MSI.

    Raises:
        DataError: the cube is smaller than the ratio, or the response has other bands.
    """
    ratio = round(psf.ratio[0])
    if min(cube.shape[:2]) < 2 * ratio:
        raise DataError(f"a cube of {cube.shape[0]} x {cube.shape[1]} is too small for {ratio}")
    if srf.shape[0] != cube.shape[2]:
        raise DataError(f"--srf: expected {cube.shape[2]} rows, got {srf.shape[0]}")
    x = np.asarray(cube, np.float64)
    x = crop(x / x.max(), ratio)
    axes = [Axis(side // ratio, side, ratio) for side in x.shape[:2]]
    y, z = psf.apply(x, *axes), x @ srf
    if snr_db is not None:
        generator = np.random.default_rng(seed)
        y, z = (_noisy(image, snr, generator) for image, snr in zip((y, z), snr_db, strict=True))
    return Pair(y, z, x, psf, srf)


def _noisy(image: Array, snr_db: float, generator: np.random.Generator) -> Array:
    power = (image**2).mean((0, 1))
    return image + generator.standard_normal(image.shape) * np.sqrt(power / 10 ** (snr_db / 10))
