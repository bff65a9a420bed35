"""Read a third party's pickle without running what is in it.

A pickle is a program: whatever global it names is called. Here only builtin containers and NumPy
arrays of plain numbers can be named, and those through guards that allocate no more than the file
holds. Anything else is a `DataError` with the global's name and the offset; nothing of it runs.
"""

from __future__ import annotations

import pickle  # the one file that may: everything is whitelisted below
import struct
from collections import OrderedDict
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from qr_cli.errors import DataError

LARGEST = 2**31  # bytes of a file
LARGEST_ARRAY = 64 * 2**20  # bytes of one array
DEEPEST = 64  # levels of nesting
_NOT_A_PICKLE = (
    (b"\x1f\x8b", "a gzip file: unpack it first"),
    (b"PK\x03\x04", "a zip file: unpack it first"),
    (b"version https://git-lfs", "a Git LFS pointer: fetch the file itself (git lfs pull)"),
    (b"<!DOCTYPE", "a web page, not the file: download it again"),
    (b"<html", "a web page, not the file: download it again"),
)


def load_pickle(path: Path, *, kind: str = "data") -> Any:
    """Return what a pickle of containers, text, numbers and arrays holds.

    Args:
        path: the file.
        kind: whose files these are, for messages ("UniGeo").

    Raises:
        DataError: it is none, it is damaged, or it names something that is not allowed.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise DataError(f"{path}: {size:,} bytes are more than is read ({LARGEST:,})")
    content = path.read_bytes()
    head = content[:64].lstrip()
    for sign, what in _NOT_A_PICKLE:
        if head.lower().startswith(sign.lower()):
            raise DataError(f"{path}: {what}")
    if content[:1] != b"\x80":
        raise DataError(
            f"{path}: no pickle, or one of protocol 0 or 1 as Python 2 wrote them",
            hint="save it again with pickle.dump(data, file, protocol=4)",
        )
    source = _Source(content)
    try:
        value = _Reader(source, path, kind).load()
    except DataError:
        raise
    except (
        *(pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError),
        *(AttributeError, UnicodeDecodeError, OverflowError, MemoryError, ImportError),
        *(struct.error, AssertionError, RecursionError, SystemError, NotImplementedError),
    ) as error:
        raise DataError(f"{path}: damaged pickle at offset {source.offset} ({error})") from error
    _check_depth(value, path)
    return value


class _Source:
    """A file that knows how far it was read; without `peek`, so that nothing is read ahead."""

    def __init__(self, content: bytes) -> None:
        self._file = BytesIO(content)

    @property
    def offset(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def readline(self) -> bytes:
        return self._file.readline()


_Base: Any = pickle._Unpickler  # in Python: the one in C allocates a memo of any size it is told


class _Reader(_Base):
    """An unpickler that knows a handful of names."""

    dispatch: dict[int, Any] = dict(_Base.dispatch)

    def bytearray8(self) -> None:
        """Read before anything is allocated: the size is whatever the pickle says."""
        size = int.from_bytes(self.read(8), "little")
        content = self.read(size)
        if len(content) < size:
            raise pickle.UnpicklingError(f"bytearray of {size:,} bytes")
        self.append(bytearray(content))

    dispatch[pickle.BYTEARRAY8[0]] = bytearray8

    def __init__(self, source: _Source, path: Path, kind: str) -> None:
        super().__init__(source)
        self._source, self._path, self._kind = source, path, kind

    def find_class(self, module: str, name: str) -> Any:
        """Return the guard of an allowed global."""
        short = module.replace("numpy._core.", "numpy.core.").replace("__builtin__", "builtins")
        allowed = _ALLOWED.get(f"{short}.{name}")
        if allowed is None:
            raise DataError(
                f"{self._path}: refuses to load {module}.{name} (offset {self._source.offset}); "
                f"not a {self._kind} file?",
                hint="convert reads containers and number arrays only",
            )
        return allowed


class _Array:
    """Stands for `numpy.ndarray` where a pickle names it; calling it makes nothing."""

    def __new__(cls, *arguments: Any) -> _Array:
        raise DataError("refuses to make an array of a size that the pickle names")


def _dtype(code: Any, *rest: Any) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(code)
    if dtype.hasobject or dtype.names or dtype.kind not in "biufcSU":
        raise DataError(f"refuses an array of {dtype} (numbers and text only)")
    return dtype


def _reconstruct(kind: Any, shape: Any, code: Any) -> np.ndarray[Any, Any]:
    if kind is not _Array:
        raise DataError(f"refuses to make an array of {kind!r}")
    return np.ndarray.__new__(np.ndarray, (0,), "b")


def _frombuffer(buffer: Any, dtype: Any, shape: Any, order: str) -> np.ndarray[Any, Any]:
    _check_size(len(buffer))
    return np.frombuffer(buffer, dtype=_dtype(dtype)).reshape(shape, order=order)  # type: ignore[call-overload]


def _scalar(dtype: Any, data: bytes = b"") -> Any:
    _check_size(len(data))
    return np.frombuffer(data, dtype=_dtype(dtype))[0]


def _encode(text: Any, encoding: str = "latin-1") -> bytes:
    if encoding.replace("-", "").replace("_", "").lower() not in ("latin1", "iso88591"):
        raise DataError(f"refuses the encoding {encoding!r} (latin-1 only)")
    return str(text).encode("latin-1")


def _bytearray(*arguments: Any) -> bytearray:
    if arguments and isinstance(arguments[0], int):
        raise DataError("refuses to make a bytearray of a size that the pickle names")
    return bytearray(*arguments)


def _check_size(size: int) -> None:
    if size > LARGEST_ARRAY:
        raise DataError(f"an array of {size:,} bytes is more than is read ({LARGEST_ARRAY:,})")


_ALLOWED: dict[str, Callable[..., Any]] = {
    "builtins.set": set,
    "builtins.frozenset": frozenset,
    "builtins.bytearray": _bytearray,
    "collections.OrderedDict": OrderedDict,
    "numpy.ndarray": _Array,
    "numpy.dtype": _dtype,
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _frombuffer,
    "_codecs.encode": _encode,
}


def _check_depth(value: Any, path: Path) -> None:
    """Refuse what is nested too deep, and arrays too large."""
    level: list[Any] = [value]
    seen: set[int] = set()
    for _ in range(DEEPEST):
        following: list[Any] = []
        for item in level:
            if isinstance(item, np.ndarray):
                _check_size(item.nbytes)
                if item.dtype.hasobject:
                    raise DataError(f"{path}: refuses an array of objects")
                continue
            if not isinstance(item, dict | list | tuple | set | frozenset) or id(item) in seen:
                continue
            seen.add(id(item))
            following += [*item.keys(), *item.values()] if isinstance(item, dict) else item
        if not following:
            return
        level = following
    raise DataError(f"{path}: nested more than {DEEPEST} levels deep")
