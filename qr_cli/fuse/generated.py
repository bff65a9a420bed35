"""A generated scene, for a first try: it says nothing about real ones (ours).

Twenty materials with smooth spectra lie in soft-edged regions of several sizes; every pixel is a
convex mix of them, with a spectral disturbance of its own and under uneven light.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from qr_cli.fuse.raster import Raster, from_array

NAME = "generated"
SIDE, BANDS, MATERIALS = 120, 80, 20
FIRST_NM, LAST_NM = 420.0, 1000.0
OWN = 0.01  # of a pixel, relative to its spectrum


def scene() -> Raster:
    """Return reflectance (120, 120, 80) in (0, 1) at 420 to 1000 nm; the same at every call."""
    draw = np.random.default_rng(0)
    spectra = gaussian_filter(draw.standard_normal((MATERIALS, BANDS)), (0, 6))
    spectra -= spectra.min(1, keepdims=True)
    spectra /= spectra.max(1, keepdims=True)
    spectra = draw.uniform(0.1, 0.7, (MATERIALS, 1)) * (0.2 + 0.8 * spectra)
    sizes = np.linspace(1.5, 9, MATERIALS)  # pixels
    fields = [gaussian_filter(draw.standard_normal((SIDE, SIDE)), size) for size in sizes]
    shares = np.exp(3 * np.stack([field / field.std() for field in fields], -1))
    shares /= shares.sum(-1, keepdims=True)
    own = gaussian_filter(draw.standard_normal((SIDE, SIDE, BANDS)), (1, 1, 8))
    light = gaussian_filter(draw.standard_normal((SIDE, SIDE)), 20)
    values = (shares @ spectra) * (1 + OWN * own / own.std())
    values *= (1 + 0.1 * light / np.abs(light).max())[..., None]
    return from_array(
        values.astype(np.float32), path=NAME, wavelength_nm=np.linspace(FIRST_NM, LAST_NM, BANDS)
    )
