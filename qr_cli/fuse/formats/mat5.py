"""MATLAB files of version 5, checked byte by byte: SciPy's reader crashes on damaged ones.

After a header of 128 bytes comes one element after the other: a tag (type, number of bytes; both in
four bytes where the data are at most four), the data, and zeros to a multiple of eight. An array is
an element (14) of elements: flags and class, sizes, name, real and perhaps imaginary values; a
compressed element (15) is another one after zlib. Numbers come as they are stored: MATLAB keeps
doubles that are small whole numbers in a byte. Objects, text and sparse arrays are named, not read.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

HEADER, MATRIX, COMPRESSED = 128, 14, 15
CODES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
NUMERIC = range(6, 16)  # classes: double, single, int8 .. uint64
IS_COMPLEX, DEFLATE = 0x0800, 1032  # a flag; the most that a byte can unfold into
MOST_AXES = 32


class Element(NamedTuple):
    """One element: what it is and its bytes."""

    kind: int
    data: memoryview


def read_version_5(content: bytes) -> dict[str, NDArray]:
    """Return the arrays of a file by name, in MATLAB's order of axes.

    Raises:
        ValueError: it is damaged.
    """
    order = "<" if content[126:128] == b"IM" else ">"
    found: dict[str, NDArray] = {}
    for element in _elements(memoryview(content)[HEADER:], order):
        if element.kind == COMPRESSED:
            element = _unfolded(element.data, order)
        if element.kind == MATRIX and len(element.data):
            name, values = _array(element.data, order)
            if name:  # without one: MATLAB's own, of its classes
                found[name] = values
    return found


def _elements(data: memoryview, order: str) -> Iterator[Element]:
    """Yield the elements that follow each other."""
    at = 0
    while len(data) - at >= 8:
        first, size = struct.unpack_from(f"{order}II", data, at)
        if first >> 16:  # a small one
            kind, size, start, step = first & 0xFFFF, first >> 16, at + 4, 8
            if size > 4:
                raise ValueError(f"a small element of {size} bytes")
        else:
            kind, start = first, at + 8
            step = 8 + (size if kind == COMPRESSED else -(-size // 8) * 8)
        if start + size > len(data):
            raise ValueError(f"an element of {size:,} bytes where {len(data) - start:,} are left")
        yield Element(kind, data[start : start + size])
        at += step


def _unfolded(data: memoryview, order: str) -> Element:
    """Return the one element inside a compressed one."""
    unfold = zlib.decompressobj()
    tag = unfold.decompress(data, 8)
    if len(tag) < 8:
        raise ValueError("a compressed element is cut off")
    kind, size = struct.unpack(f"{order}II", tag)
    if size > DEFLATE * len(data):
        raise ValueError(f"{len(data):,} bytes cannot unfold into {size:,}")
    inner = unfold.decompress(unfold.unconsumed_tail, size) if size else b""
    if len(inner) < size:
        raise ValueError(f"a compressed element has {len(inner):,} of {size:,} bytes")
    return Element(kind, memoryview(inner))


def _array(data: memoryview, order: str) -> tuple[str, NDArray]:
    parts = _elements(data, order)
    flags = _numbers(next(parts, None), order)
    shape = tuple(int(n) for n in _numbers(next(parts, None), order))
    name = next(parts, None)
    if flags.size < 1 or name is None:
        raise ValueError("an array without flags or name")
    if not 2 <= len(shape) <= MOST_AXES or min(shape) < 0:
        raise ValueError(f"an array of the shape {shape}")
    said, kind = bytes(name.data).decode("latin-1"), int(flags[0]) & 0xFF
    if kind not in NUMERIC:
        return said, np.broadcast_to(np.array(None, object), shape)
    values = _values(next(parts, None), shape, order)
    if int(flags[0]) & IS_COMPLEX:
        values = values + 1j * _values(next(parts, None), shape, order)
    return said, values


def _values(element: Element | None, shape: tuple[int, ...], order: str) -> NDArray:
    values = _numbers(element, order)
    if values.size != math.prod(shape):
        raise ValueError(f"{values.size:,} values where {shape} belong")
    return values.reshape(shape, order="F").astype(values.dtype.newbyteorder("="))


def _numbers(element: Element | None, order: str) -> NDArray:
    if element is None or element.kind not in CODES:
        raise ValueError("an element that holds no numbers")
    dtype = np.dtype(order + CODES[element.kind])
    if len(element.data) % dtype.itemsize:
        raise ValueError(f"{len(element.data):,} bytes are no numbers of {dtype.itemsize}")
    return np.frombuffer(element.data, dtype)
