"""PRISMA L2D (`.he5`): two cubes of reflectance, (row, band, column), and a panchromatic image.

reflectance = min + DN / 65535 (max - min), the ends from root attributes. Centres of 0 are unused
bands; they come in descending order; both sensors see 920-1010 nm (`overlap`). Paths are those
of the product's documentation, checked on generated files only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qr_cli.errors import DataError
from qr_cli.fuse.formats.hdf5 import attribute, hdf5, whole
from qr_cli.fuse.raster import Raster, Transform, Window

FIELDS = "HDFEOS/SWATHS/{}/Data Fields"
HYPER, PAN = FIELDS.format("PRS_L2D_HCO"), FIELDS.format("PRS_L2D_PCO")
FULL = 65535


def is_prisma(path: Path) -> bool:
    """Tell whether a file has the swath of PRISMA L2D."""
    return HYPER in hdf5(path)


def open_prisma(path: Path, *, overlap: Literal["vnir", "swir"] = "vnir") -> Raster:
    """Return both cubes as one, wavelengths ascending, in reflectance."""
    file = hdf5(path)
    if HYPER not in file:
        raise DataError(f"{path} holds no PRISMA L2D swath ({HYPER})")
    rows: list[tuple[float, float, int, int, float, float]] = []
    cubes = []
    for index, (sensor, name) in enumerate((("Vnir", "VNIR_Cube"), ("Swir", "SWIR_Cube"))):
        cubes.append(whole(file[f"{HYPER}/{name}"]))
        centers = np.asarray(attribute(file, f"List_Cw_{sensor}"), np.float64)
        widths = attribute(file, f"List_Fwhm_{sensor}", None)
        widths = np.full(len(centers), np.nan) if widths is None else np.asarray(widths, float)
        low, high = (float(attribute(file, f"L2Scale{sensor}{end}")) for end in ("Min", "Max"))
        rows += [
            (float(c), float(w), index, band, (high - low) / FULL, low)
            for band, (c, w) in enumerate(zip(centers, widths, strict=True))
            if c > 0
        ]
    ends = [[r[0] for r in rows if r[2] == part] for part in (0, 1)]
    if all(ends):
        lo, hi = min(ends[1]), max(ends[0])
        dropped = 1 if overlap == "vnir" else 0
        rows = [r for r in rows if not (r[2] == dropped and lo <= r[0] <= hi)]
    rows.sort()
    wave, width, part, band, scale, offset = (
        np.array(column) for column in zip(*rows, strict=True)
    )

    def window(where: Window) -> NDArray:
        r, c = slice(where[0], where[1]), slice(where[2], where[3])
        out = np.empty((where[1] - where[0], where[3] - where[2], len(rows)), cubes[0].dtype)
        for index, cube in enumerate(cubes):
            mine = part == index
            if mine.any():
                out[..., mine] = np.asarray(cube[r, :, c])[:, band[mine]].transpose(0, 2, 1)
        return out

    height, _, columns = cubes[0].shape
    transform, crs = _place(file, (height, columns))
    return Raster(
        str(path), (height, columns, len(rows)), cubes[0].dtype, window, wave,
        width if np.isfinite(width).all() else None, transform, crs, None, scale, offset,
    )  # fmt: skip


def open_pan(path: Path) -> Raster:
    """Return the 5 m panchromatic image of the same file."""
    file = hdf5(path)
    if f"{PAN}/Cube" not in file:
        raise DataError(f"{path} holds no panchromatic swath ({PAN}/Cube)")
    cube = whole(file[f"{PAN}/Cube"])
    low, high = (
        float(attribute(file, f"L2ScalePan{end}", d)) for end, d in (("Min", 0), ("Max", 1))
    )
    transform, crs = _place(file, cube.shape)

    def window(where: Window) -> NDArray:
        return np.asarray(cube[where[0] : where[1], where[2] : where[3]])[..., None]

    return Raster(
        str(path), (*cube.shape, 1), cube.dtype, window, None, None, transform, crs, None,
        (high - low) / FULL, low,
    )  # fmt: skip


def _place(file: Any, shape: tuple[int, int]) -> tuple[Transform | None, str | None]:
    """Return the grid between the corners of the product, which are pixel centres."""
    names = [f"Product_{c}corner_{d}" for c in ("UL", "LR") for d in ("easting", "northing")]
    if any(name not in file.attrs for name in names):
        return None, None
    left, top, right, bottom = (float(attribute(file, name)) for name in names)
    dx, dy = (right - left) / (shape[1] - 1), (top - bottom) / (shape[0] - 1)
    code = attribute(file, "Epsg_Code", None)
    crs = None if code is None else f"EPSG:{int(code)}"
    return (dx, 0.0, left - dx / 2, 0.0, -dy, top + dy / 2), crs
