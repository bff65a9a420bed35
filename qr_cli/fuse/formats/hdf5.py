"""HDF5 files, the container of MATLAB 7.3, NetCDF-4 and PRISMA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qr_cli.engine.damage import damaged
from qr_cli.errors import DataError, MissingExtra

DEFLATE = 1032  # the most that a byte can unfold into


def hdf5(path: Path) -> Any:
    """Open an HDF5 file for reading.

    Raises:
        DataError: it is none, or cut off.
        MissingExtra: h5py is not installed.
    """
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise MissingExtra("h5py", "fuse") from error
    with damaged(path):
        return h5py.File(path)


def whole(data: Any) -> Any:
    """Return a dataset if it can be as large as it says.

    Raises:
        DataError: what is stored cannot unfold into its shape.
    """
    size, stored = data.size * data.dtype.itemsize, data.id.get_storage_size()
    if size > DEFLATE * stored:
        raise DataError(f"{data.name} is said to hold {size:,} bytes; {stored:,} are stored")
    return data
