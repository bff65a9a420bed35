"""What a pickle may name: shells of ours, inert, from which checked values are made at the end.

NumPy crashes on array states that were tampered with, so none of NumPy is used while a pickle is
read: a shell keeps what it is given, and an array is made of it once its bytes are as many as its
shape needs. Nothing is allocated that the file does not hold, what it refers to many times is
counted as often, and what takes long to hash is no key.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qr_cli.errors import DataError

DEEPEST = 64  # levels of nesting
PER_BYTE, FREE = 64, 2**20  # values that a byte may stand for, and some for small files
WIDEST = 64  # values of a tuple that is a key
_KIND = re.compile(r"[biufc]\d{1,2}|[SU][1-9]\d{0,8}")


class Shell:
    """What an object of an allowed class becomes: its attributes, and none of its code."""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.__dict__.update({k: v for k, v in state.items() if isinstance(k, str)})


def check_keys(keys: Iterable[Any]) -> None:
    """Refuse what takes long to hash, or hashes alike: tuples in tuples, very long numbers."""
    for key in keys:
        if isinstance(key, tuple) and len(key) <= WIDEST:
            if not all(_is_plain(item) for item in key):
                raise DataError("a key holds more than text and numbers")
        elif not _is_plain(key):
            raise DataError(f"refuses a key of the kind {type(key).__name__}")


def _is_plain(key: Any) -> bool:
    if isinstance(key, int):
        return abs(key) < 2**60
    return key is None or isinstance(key, str | bytes | float | np.generic)


class _Dtype:
    """Stands for `numpy.dtype`."""

    def __init__(self, code: Any = "", *rest: Any) -> None:
        self.code, self.order, self.parts = str(code), "|", False

    def __setstate__(self, state: Any) -> None:
        self.order, self.parts = str(state[1]), any(part is not None for part in state[2:5])

    def dtype(self) -> np.dtype[Any]:
        """Return the type of a number or of text."""
        if self.parts or not _KIND.fullmatch(self.code):
            raise DataError(f"refuses an array of {self.code!r:.20} (numbers and text only)")
        return np.dtype((self.order if self.order in ("<", ">") else "<") + self.code)


class _Array:
    """Stands for `numpy.ndarray`: its state, not yet believed."""

    state: Any = None

    def __init__(self, *rest: Any) -> None: ...

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self) -> NDArray[Any]:
        """Return the array, if its bytes are as many as its shape needs."""
        if self.state is None:
            raise DataError("names an array without giving it")
        _, shape, kind, fortran, data = self.state
        data = data.encode("latin1") if isinstance(data, str) else data
        if not isinstance(kind, _Dtype) or not isinstance(data, bytes | bytearray):
            raise DataError("refuses an array of objects")
        dtype = kind.dtype()
        sizes = (shape,) if isinstance(shape, int) else tuple(shape)
        if any(not isinstance(n, int) or n < 0 for n in sizes) or len(sizes) > 32:
            raise DataError(f"an array's shape is {sizes!r:.60}")
        if math.prod(sizes) * dtype.itemsize != len(data):
            raise DataError(f"an array's {len(data):,} bytes are not those of its shape {sizes}")
        if not data:
            return np.zeros(sizes, dtype)
        found = np.frombuffer(data, dtype).reshape(sizes, order="F" if fortran else "C")
        return _checked(found.astype(dtype.newbyteorder("=")))


def _checked(values: NDArray[Any]) -> NDArray[Any]:
    """Return the array if its bytes can be what they are said to be."""
    if values.dtype.kind == "b" and values.size and values.view(np.uint8).max() > 1:
        raise DataError("an array of truth values holds others")
    if values.dtype.kind == "U" and values.size:
        code = np.ascontiguousarray(values).view(np.uint32)
        if code.max() > 0x10FFFF or ((code >= 0xD800) & (code < 0xE000)).any():
            raise DataError("an array of text holds what is no character")
    return values


def _reconstruct(*rest: Any) -> _Array:
    return _Array()


def _frombuffer(buffer: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    array = _Array()
    array.state = (1, shape, dtype, order == "F", buffer)
    return array


def _scalar(dtype: Any, data: Any = b"") -> Any:
    array = _Array()
    array.state = (1, (1,), dtype, False, data)
    return array.array()[0]


def _encode(text: Any, encoding: Any = "latin-1") -> bytes:
    if str(encoding).replace("-", "").replace("_", "").lower() not in ("latin1", "iso88591"):
        raise DataError(f"refuses the encoding {encoding!r:.40} (latin-1 only)")
    return str(text).encode("latin-1")


def _bytearray(data: Any = b"", *encoding: Any) -> bytearray:
    if not isinstance(data, str | bytes):
        raise DataError("refuses to make a bytearray of a size that the pickle names")
    return bytearray(_encode(data, *encoding) if isinstance(data, str) else data)


def _set(items: Any = ()) -> set[Any]:
    check_keys(items)
    return set(items)


def _frozenset(items: Any = ()) -> frozenset[Any]:
    check_keys(items)
    return frozenset(items)


def _ordered(*pairs: Any) -> OrderedDict[Any, Any]:
    for key, _ in pairs[0] if pairs else ():
        check_keys([key])
    return OrderedDict(*pairs)


ALLOWED: dict[str, Callable[..., Any]] = {
    "builtins.set": _set,
    "builtins.frozenset": _frozenset,
    "builtins.bytearray": _bytearray,
    "collections.OrderedDict": _ordered,
    "numpy.ndarray": _Array,
    "numpy.dtype": _Dtype,
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _frombuffer,
    "_codecs.encode": _encode,
}
SHELLS = (_Array, _Dtype, Shell)  # what may be given a state

_Finished = tuple[Any, int, int]  # value, levels, number of values


def finished(value: Any, size: int) -> Any:
    """Return a value with arrays in the places of their shells.

    Args:
        value: what a pickle gave.
        size: bytes of the pickle.

    Raises:
        DataError: it is nested too deep or in itself, or stands for far more than it holds.
    """
    return _Finisher(PER_BYTE * size + FREE).of(value, DEEPEST)[0]


class _Finisher:
    """Finishes each object once: `seen` keeps the result by identity, None while under way."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.seen: dict[int, _Finished | None] = {}

    def of(self, value: Any, depth: int) -> _Finished:
        if value is None or isinstance(value, bool | float | np.generic):
            return value, 0, 1
        if isinstance(value, str | bytes | bytearray):
            if isinstance(value, str) and not value.isascii():
                value.encode()  # lone halves of characters are none
            return value, 0, 1 + len(value) // 8
        if isinstance(value, int):
            if value.bit_length() > 63:
                raise DataError(f"refuses a number of {value.bit_length():,} bits")
            return value, 0, 1
        if id(value) in self.seen:
            known = self.seen[id(value)]
            if known is None or known[1] > depth:
                raise DataError(f"nested in itself, or more than {DEEPEST} levels deep")
            return known
        if not depth:
            raise DataError(f"nested more than {DEEPEST} levels deep")
        self.seen[id(value)] = None
        made = self.container(value, depth - 1)
        if made[2] > self.limit:
            raise DataError(f"stands for more than {self.limit:,} values")
        self.seen[id(value)] = made
        return made

    def container(self, value: Any, depth: int) -> _Finished:
        if isinstance(value, _Array):
            array = value.array()
            return array, 0, 1 + array.size
        if isinstance(value, set | frozenset):
            return value, 0, 1 + len(value)  # plain: checked when it was made
        held: Any = vars(value) if isinstance(value, Shell) else value
        if isinstance(held, tuple):
            held = list(held)
        if not isinstance(held, list | dict):
            raise DataError(f"refuses a {type(value).__name__}")
        levels, weight = 0, 1
        for key in list(held) if isinstance(held, dict) else range(len(held)):
            held[key], below, count = self.of(held[key], depth)
            levels, weight = max(levels, below + 1), weight + count
        return tuple(held) if isinstance(value, tuple) else value, levels, weight
