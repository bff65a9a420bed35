"""MATLAB files, v5 and v7.3; which one it is stands in the first bytes.

A v7.3 file is HDF5 with its axes reversed: (L, W, H) becomes (H, W, L). The only 3-D numeric array
is the cube; channel lists (`SlectBands`, `GT`) never are. A 2-D `Y` (L, N) with its number of rows
and columns beside it holds pixels in column-major order.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qr_cli.engine.damage import damaged
from qr_cli.errors import DataError
from qr_cli.fuse.formats.hdf5 import hdf5, whole
from qr_cli.fuse.formats.mat5 import read_version_5
from qr_cli.fuse.raster import Raster, from_array

ROWS, COLUMNS = ("nRow", "lines", "nrow", "rows"), ("nCol", "samples", "cols", "ncol")
WAVES, SCALES = ("wavelength_nm", "wavelength", "wavelengths", "lambda"), ("scale", "maxValue")
NEVER = ("SlectBands", "GT")


def open_mat(path: Path, *, key: str | None = None, shape: tuple[int, int] | None = None) -> Raster:
    """Return the cube of a MATLAB file.

    Raises:
        DataError: it is no MATLAB file, is damaged, or holds no or several cubes.
    """
    arrays = read_arrays(path)
    cube, name = pick_cube(arrays, path, key=key, shape=shape)
    wave = next(
        (arrays[n] for n in WAVES if n in arrays and arrays[n].size == cube.shape[-1]), None
    )
    notes = [f"{path.name}: took {name} {cube.shape}"]
    return from_array(cube, path=str(path), wavelength_nm=wave, notes=notes)


def read_arrays(path: Path) -> dict[str, NDArray]:
    """Return the numeric arrays of a file by name, in MATLAB's order of axes."""
    with path.open("rb") as file:
        head = file.read(1024)
    if head[:8] == b"\x89HDF\r\n\x1a\n" or head[512:520] == b"\x89HDF\r\n\x1a\n":
        return _hdf5(path)
    if len(head) >= 128 and head[126:128] in (b"IM", b"MI"):
        with damaged(path):
            return read_version_5(path.read_bytes())
    raise DataError(f"{path}: not a MATLAB file")


def _hdf5(path: Path) -> dict[str, NDArray]:
    found: dict[str, NDArray] = {}
    with hdf5(path) as file, damaged(path):
        for name, item in file.items():
            if hasattr(item, "dtype") and item.dtype.kind in "buifcV":
                values = np.asarray(whole(item))
                if values.dtype.names == ("real", "imag"):
                    values = values["real"] + 1j * values["imag"]
                found[name] = values.T
    return found


def pick_cube(
    arrays: dict[str, NDArray], path: Path, *, key: str | None, shape: tuple[int, int] | None
) -> tuple[NDArray, str]:
    """Return the cube (H, W, B) and its name."""
    if key is not None:
        if key not in arrays:
            raise DataError(f"{path} has no {key!r}; it holds {_listed(arrays)}")
        return _as_cube(arrays[key], arrays, path, shape), key
    numeric = {k: v for k, v in arrays.items() if v.dtype.kind in "buifc" and k not in NEVER}
    cubes = {k: v for k, v in numeric.items() if v.ndim == 3}
    if not cubes:
        flat = {
            k: v
            for k, v in numeric.items()
            if v.ndim == 2 and min(v.shape) > 1 and (k == "Y" or len(numeric) == 1)
        }
        if flat:
            name = next(iter(flat))
            return _as_cube(flat[name], arrays, path, shape), name
        objects = [k for k, v in arrays.items() if v.dtype.kind not in "buifc"]
        said = f" (objects are not read: {', '.join(objects)})" if objects else ""
        raise DataError(f"{path} holds no cube; it holds {_listed(arrays)}{said}")
    if len(cubes) > 1:
        raise DataError(
            f"{path} holds several cubes: {_listed(cubes)}", hint=f"--hsi-key {next(iter(cubes))}"
        )
    name = next(iter(cubes))
    return cubes[name], name


def _as_cube(
    values: NDArray, arrays: dict[str, NDArray], path: Path, shape: tuple[int, int] | None
) -> NDArray:
    if values.ndim == 3:
        return values
    if values.ndim != 2 or min(values.shape) == 1:
        raise DataError(f"{path} holds an array of shape {values.shape}, expected a cube")
    size = shape or _size(arrays)
    if size is None:
        return values[..., None]
    rows, columns = size
    if values.shape[1] != rows * columns:
        raise DataError(
            f"{path}: {values.shape[1]} pixels are not {rows} x {columns}",
            hint="--shape ROWS,COLUMNS",
        )
    return values.reshape(values.shape[0], rows, columns, order="F").transpose(1, 2, 0)


def _size(arrays: dict[str, NDArray]) -> tuple[int, int] | None:
    rows = next((int(arrays[n].ravel()[0]) for n in ROWS if n in arrays), None)
    columns = next((int(arrays[n].ravel()[0]) for n in COLUMNS if n in arrays), None)
    return None if rows is None or columns is None else (rows, columns)


def _listed(arrays: dict[str, NDArray]) -> str:
    shown = [f"{k} ({','.join(map(str, v.shape))})" for k, v in arrays.items()]
    return ", ".join(shown) or "nothing"
