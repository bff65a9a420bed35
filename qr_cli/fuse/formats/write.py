"""Write an image by windows, in the format of its suffix; it appears whole, when it is closed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from qr_cli.engine.files import publish, sibling
from qr_cli.errors import UsageError
from qr_cli.fuse.formats.envi import EnviWriter
from qr_cli.fuse.formats.geotiff import TiffWriter, require_rasterio

SUFFIXES = (".tif", ".tiff", ".hdr", ".mat", ".npz")
BIG = 2**31 - 2**20  # bytes a MATLAB v5 array can hold


class Writer(Protocol):
    """What takes windows of stored values."""

    def write(self, row: int, column: int, values: NDArray) -> None:
        """Write (h, w, B) at a place."""

    def close(self, nodata: float | None) -> None:
        """Finish and show the file."""

    def abandon(self) -> None:
        """Delete what was begun."""


def check_out(path: Path, *, overwrite: bool) -> None:
    """Raise `UsageError` where an output cannot be written."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"--out: cannot write {path.suffix or 'a file without suffix'!r}",
            hint=f"--out NAME with one of {' '.join(SUFFIXES)}",
        )
    if path.suffix.lower() in (".tif", ".tiff"):
        require_rasterio()  # now, not after the work
    if not path.parent.is_dir():
        raise UsageError(f"--out: the folder {path.parent} does not exist")
    if path.exists() and not overwrite:
        raise UsageError(f"--out: {path} exists", hint="--overwrite replaces it")


def open_writer(
    path: Path,
    shape: tuple[int, int, int],
    dtype: np.dtype,
    about: dict[str, Any],
    *,
    compress: str = "deflate",
) -> Writer:
    """Return a writer of stored values.

    Args:
        path: its suffix decides.
        shape: rows, columns, bands.
        dtype: of the stored values.
        about: transform, crs, wavelength_nm, fwhm_nm, scale, offset, nodata, block (side of the
            blocks of a GeoTIFF).
        compress: of GeoTIFF, "deflate" or "none".
    """
    suffix = path.suffix.lower()
    if suffix in (".tif", ".tiff"):
        return TiffWriter(path, shape, dtype, about, compress=compress)
    if suffix == ".hdr":
        return EnviWriter(path, shape, dtype, about)
    return _Collected(path, shape, dtype, about)


class _Collected:
    """Keeps the array in memory and writes `.mat` or `.npz` at the end."""

    def __init__(
        self, path: Path, shape: tuple[int, int, int], dtype: np.dtype, about: dict[str, Any]
    ) -> None:
        self.path, self.about = path, about
        self.hidden = sibling(path.with_suffix(path.suffix.lower()))
        self.array = np.zeros(shape, dtype)

    def write(self, row: int, column: int, values: NDArray) -> None:
        h, w = values.shape[:2]
        self.array[row : row + h, column : column + w] = values

    def close(self, nodata: float | None) -> None:
        held: dict[str, Any] = {"cube": self.array}
        for key in ("wavelength_nm", "fwhm_nm", "transform"):
            if self.about.get(key) is not None:
                held[key] = np.asarray(self.about[key], np.float64)
        if self.about.get("crs"):
            held["crs"] = np.asarray(self.about["crs"])
        scale = self.about.get("scale", 1.0)
        if isinstance(scale, float | int) and scale != 1:
            held["scale"] = np.float64(1 / scale)
        if nodata is not None:
            held["nodata"] = np.float64(nodata)
        if self.hidden.suffix == ".npz":
            np.savez_compressed(self.hidden, **held)
        elif self.array.nbytes > BIG:
            _hdf5(self.hidden, held)
        else:
            from scipy.io import savemat

            with self.hidden.open("wb") as file:  # its own way to open hides why it cannot
                savemat(file, held, do_compression=True)
        publish(self.hidden, self.path)

    def abandon(self) -> None:
        self.hidden.unlink(missing_ok=True)


def _hdf5(path: Path, held: dict[str, Any]) -> None:
    """Write MATLAB v7.3: HDF5 with a user block of 512 bytes, axes reversed."""
    import h5py

    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in held.items():
            if np.asarray(value).dtype.kind in "buif":
                item = file.create_dataset(name, data=np.asarray(value).T)
                kind = {"f8": "double", "f4": "single"}.get(np.asarray(value).dtype.str[1:])
                item.attrs["MATLAB_class"] = np.bytes_(kind or np.asarray(value).dtype.name)
    with path.open("rb+") as file:
        text = b"MATLAB 7.3 MAT-file, Platform: qr, Created by qr".ljust(116)
        file.write(text + bytes(8) + b"\x00\x02IM")
