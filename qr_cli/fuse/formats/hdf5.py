"""HDF5 files, the container of MATLAB 7.3, NetCDF-4 and PRISMA."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

from qr_cli.engine.damage import damaged
from qr_cli.errors import DataError, MissingExtra

DEFLATE = 1032  # the most that a byte can unfold into
HEAP = b"GCOL\x01"  # begins a global heap, where text of any length is stored
HEAD = struct.Struct("<HHIQ")  # of an object in it: number, references, reserved, size


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
        DataError: what is stored cannot unfold into its shape, or its heap is damaged.
    """
    if data.dtype.hasobject:
        _check_heaps(Path(data.file.filename))
    size, stored = data.size * data.dtype.itemsize, data.id.get_storage_size()
    if size > DEFLATE * stored:
        raise DataError(f"{data.name} is said to hold {size:,} bytes; {stored:,} are stored")
    return data


def attribute(item: Any, name: str, *default: Any) -> Any:
    """Return what a file, group or dataset says of itself, text as str.

    Raises:
        KeyError: it says nothing of the kind, and there is no default.
        DataError: the heap that holds it is damaged.
    """
    if default and name not in item.attrs:
        return default[0]
    if item.attrs.get_id(name).dtype.hasobject:
        _check_heaps(Path(item.file.filename))
    value = item.attrs[name]
    return value.decode() if isinstance(value, bytes) else value


def _check_heaps(path: Path) -> None:
    """Walk the global heaps as HDF5 does, which goes round for ever at an object of no length."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(HEAP)
        while 0 <= start <= len(content) - HEAD.size:
            at, last = start + HEAD.size, len(content) - HEAD.size
            last = min(last, start + HEAD.unpack_from(content, start)[3] - HEAD.size)
            while at <= last:
                number, _, _, size = HEAD.unpack_from(content, at)
                step = (HEAD.size + size + 7 & -8 if number else size) % 2**64
                if not step:
                    raise DataError(f"{path} cannot be read: the heap at byte {start} is damaged")
                at += step
            start = content.find(HEAP, start + 1)
