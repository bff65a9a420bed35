"""NumPy files: `.npz` with a cube and perhaps `wavelength_nm`, `fwhm_nm`, `scale`; `.npy`.

A `scale` divides the stored integers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from qr_cli.engine.arrays import MAGIC, load_npy, load_npz
from qr_cli.fuse.formats.mat import pick_cube
from qr_cli.fuse.raster import Raster, from_array

ABOUT = ("wavelength_nm", "fwhm_nm", "scale", "nodata", "transform", "crs", "channel")


def open_npz(path: Path, *, key: str | None = None) -> Raster:
    """Return the cube of a NumPy file.

    Raises:
        DataError: it is damaged, holds objects, or no or several cubes.
    """
    with path.open("rb") as file:
        if file.read(len(MAGIC)) == MAGIC:
            return from_array(load_npy(path), path=str(path))
    arrays = load_npz(path)
    candidates = {k: v for k, v in arrays.items() if k not in ABOUT}
    cube, name = pick_cube(candidates, path, key=key, shape=None)

    def one(about: str) -> float | None:
        return float(np.ravel(arrays[about])[0]) if about in arrays else None

    scale = one("scale")
    transform = arrays.get("transform")
    place: Any = None if transform is None else tuple(map(float, np.ravel(transform)[:6]))
    crs = str(arrays["crs"]) if "crs" in arrays else None
    return from_array(
        cube,
        path=str(path),
        wavelength_nm=arrays.get("wavelength_nm"),
        fwhm_nm=arrays.get("fwhm_nm"),
        scale=1 / scale if scale else 1.0,
        nodata=one("nodata"),
        transform=place,
        crs=crs or None,
        notes=[f"{path.name}: took {name} {cube.shape}"],
    )
