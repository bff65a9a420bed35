"""NumPy's files, checked before anything is allocated: `.npy`, and `.npz` as a zip of them.

NumPy believes a header: a damaged one makes it ask for more memory than there is, or fail in its
tokenizer. Here the shape must fit the bytes that are there. Objects (pickles) are never read.
"""

from __future__ import annotations

import ast
import math
import struct
import zipfile
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qr_cli.engine.damage import damaged

MAGIC = b"\x93NUMPY"
LONGEST, BRACKETS = 10_000, 8  # letters of a header, and what may open in it
DEFLATE = 1032  # the most that a byte can unfold into
MOST_AXES = 32


class Header(NamedTuple):
    """What stands before the numbers."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    size: int  # bytes of the header


def read_header(file: IO[bytes]) -> Header:
    """Read the header of an npy stream up to the first byte of the array.

    Raises:
        ValueError: it is none, or of an array of objects.
    """
    start = file.read(8)
    if len(start) < 8 or start[:6] != MAGIC or start[6] not in (1, 2, 3):
        raise ValueError("not a NumPy file")
    code = "<H" if start[6] == 1 else "<I"
    length = struct.unpack(code, _exactly(file, struct.calcsize(code)))[0]
    if length > LONGEST:
        raise ValueError(f"a header of {length:,} letters")
    text = _exactly(file, length).decode("utf-8" if start[6] == 3 else "latin-1")
    if "\0" in text or sum(map(text.count, "([{")) > BRACKETS:
        raise ValueError("a damaged header")
    told = ast.literal_eval(text.strip())
    if not isinstance(told, dict) or set(told) != {"descr", "fortran_order", "shape"}:
        raise ValueError("a damaged header")
    shape = told["shape"]
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"a shape {shape!r:.60}")
    if len(shape) > MOST_AXES:
        raise ValueError(f"{len(shape)} axes")
    dtype = np.dtype(told["descr"])
    if dtype.hasobject:
        raise ValueError("an object array (a pickle), which is not read")
    size = 8 + struct.calcsize(code) + length
    return Header(shape, dtype, told["fortran_order"] is True, size)


def read_array(file: IO[bytes], size: int) -> NDArray[Any]:
    """Return the array of an npy stream of `size` bytes.

    Raises:
        ValueError: it is damaged, or its shape does not fit its bytes.
    """
    head = read_header(file)
    needed = math.prod(head.shape) * head.dtype.itemsize
    if needed > size - head.size:
        raise ValueError(f"{size - head.size:,} bytes where {head.shape} needs {needed:,}")
    values = np.empty(math.prod(head.shape), head.dtype)
    view = memoryview(values.view(np.uint8).data if needed else b"")
    done = 0
    while done < needed:
        read = file.readinto(view[done:])  # type: ignore[attr-defined]
        if not read:
            raise ValueError("cut off")
        done += read
    return values.reshape(head.shape, order="F" if head.fortran else "C")


def load_npy(path: Path) -> NDArray[Any]:
    """Return the array of a `.npy` file.

    Raises:
        DataError: it is none, is damaged, or holds objects.
    """
    with damaged(path), path.open("rb") as file:
        return read_array(file, path.stat().st_size)


def load_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a `.npz` file by name.

    Raises:
        DataError: it is none, is damaged, or holds objects.
    """
    with damaged(path), zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        return {name.removesuffix(".npy"): read_entry(archive, name) for name in names}


def read_entry(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """Return one array of an open zip.

    Raises:
        ValueError: it is damaged, or said to be larger than it can be.
    """
    told = archive.getinfo(name)
    if told.file_size > DEFLATE * told.compress_size:
        raise ValueError(f"{told.compress_size:,} bytes cannot unfold into {told.file_size:,}")
    with archive.open(told) as file:
        values = read_array(file, told.file_size)
        while file.read(1 << 16):
            pass  # to the end, where the checksum is compared
    return values


def _exactly(file: IO[bytes], size: int) -> bytes:
    found = file.read(size)
    if len(found) < size:
        raise ValueError("cut off")
    return found
