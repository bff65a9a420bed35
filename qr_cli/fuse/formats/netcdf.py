"""NetCDF-4: EMIT L2A reflectance, orthorectified by its look-up table, and plain cubes.

EMIT holds `reflectance` (downtrack, crosstrack, band) and `location/glt_x, glt_y` (1-based, 0:
none): out[glt > 0] = raw[glt_y - 1, glt_x - 1]. A plain file holds one 3-D variable; the band axis
is the one as long as its wavelengths, else the last.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qr_cli.errors import DataError
from qr_cli.fuse.formats.hdf5 import attribute, hdf5, whole
from qr_cli.fuse.raster import Raster, Transform, Window, check_array, nanometres

WAVES = ("wavelength_nm", "wavelengths", "wavelength")
FILL = -9999.0


def open_netcdf(path: Path, *, key: str | None = None) -> Raster:
    """Return the image of a NetCDF-4 file."""
    file = hdf5(path)
    if "sensor_band_parameters" in file and "reflectance" in file:
        return _emit(file, path)
    return _plain(file, path, key)


def _emit(file: Any, path: Path) -> Raster:
    raw = whole(file["reflectance"])
    about = file["sensor_band_parameters"]
    wave = np.asarray(whole(about["wavelengths"]), np.float64)
    width = np.asarray(whole(about["fwhm"]), np.float64) if "fwhm" in about else None
    good = np.asarray(whole(about["good_wavelengths"])) if "good_wavelengths" in about else None
    bad = [] if good is None else np.flatnonzero(good == 0).tolist()
    if "location" not in file or "glt_x" not in file["location"]:

        def plain(where: Window) -> NDArray:
            return np.asarray(raw[where[0] : where[1], where[2] : where[3]])

        return Raster(str(path), raw.shape, raw.dtype, plain, wave, width, nodata=FILL, bad=bad)
    across = np.asarray(whole(file["location/glt_x"])).astype(np.intp)
    down = np.asarray(whole(file["location/glt_y"])).astype(np.intp)
    transform, crs = _place(file)

    def window(where: Window) -> NDArray:
        x = across[where[0] : where[1], where[2] : where[3]]
        y = down[where[0] : where[1], where[2] : where[3]]
        out = np.full((*x.shape, raw.shape[2]), FILL, raw.dtype)
        seen = (x > 0) & (y > 0)
        if seen.any():
            first, last = int(y[seen].min()) - 1, int(y[seen].max())
            left, right = int(x[seen].min()) - 1, int(x[seen].max())
            held = np.asarray(raw[first:last, left:right])
            out[seen] = held[y[seen] - 1 - first, x[seen] - 1 - left]
        return out

    return Raster(
        str(path), (*across.shape, raw.shape[2]), raw.dtype, window, wave, width, transform, crs,
        FILL, bad=bad,
    )  # fmt: skip


def _place(file: Any) -> tuple[Transform | None, str | None]:
    """Return transform and CRS: attributes `geotransform` (GDAL order) and `spatial_ref`."""
    crs = attribute(file, "spatial_ref", None)
    found = attribute(file, "geotransform", None)
    if found is None:
        return None, crs
    c, a, b, f, d, e = (float(v) for v in np.ravel(found))
    return (a, b, c, d, e, f), crs


def _plain(file: Any, path: Path, key: str | None) -> Raster:
    import h5py

    items: dict[str, Any] = {}
    file.visititems(
        lambda n, item: items.update({n: item}) if isinstance(item, h5py.Dataset) else None
    )
    cubes = {n: i for n, i in items.items() if i.ndim == 3}
    listed = ", ".join(f"{n} {tuple(i.shape)}" for n, i in cubes.items()) or "none"
    if key is not None and key not in cubes:
        raise DataError(f"{path} has no cube {key!r}; cubes: {listed}")
    if key is None and len(cubes) != 1:
        raise DataError(f"{path} holds {len(cubes) or 'no'} cubes: {listed}", hint="--hsi-key NAME")
    name = key or next(iter(cubes))
    data = whole(cubes[name])
    check_array(np.empty((1, 1, 1), data.dtype), str(path))
    found = next((i for n, i in items.items() if n.split("/")[-1] in WAVES and i.ndim == 1), None)
    units = None if found is None else attribute(found, "units", None)
    wave, notes = (None, []) if found is None else nanometres(whole(found)[:], units, path.name)
    axis = 2
    if wave is not None and data.shape[2] != len(wave) and data.shape[0] == len(wave):
        axis = 0
    shape = data.shape if axis == 2 else (*data.shape[1:], data.shape[0])

    def window(where: Window) -> NDArray:
        r, c = slice(where[0], where[1]), slice(where[2], where[3])
        return np.asarray(data[r, c]) if axis == 2 else np.asarray(data[:, r, c]).transpose(1, 2, 0)

    def number(word: str, default: float | None) -> float | None:
        value = attribute(data, word, None)
        return default if value is None else float(np.ravel(value)[0])

    transform, crs = _place(file)
    return Raster(
        str(path), shape, data.dtype, window, wave, None, transform, crs,
        number("_FillValue", None), number("scale_factor", 1.0) or 1.0,
        number("add_offset", 0.0) or 0.0, notes=[*notes, f"{path.name}: took {name} {shape}"],
    )  # fmt: skip
