"""Read a third party's pickle without running what is in it.

A pickle is a program: whatever global it names is called. Here a name of the whitelist stands for a
shell (`engine.shells`) that keeps what it is given; anything else is a `DataError` with the
global's name and the offset, and nothing of it runs.
"""

from __future__ import annotations

import pickle  # the one file that may: everything is whitelisted
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

from qr_cli.engine.damage import FAULTS, damaged, reason
from qr_cli.engine.shells import ALLOWED, SHELLS, Shell, check_keys, finished
from qr_cli.errors import DataError

LARGEST = 2**31  # bytes of a file
_HINT = "only containers, text, numbers and number arrays are read; nothing was run"
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
    return load_pickles(path, 1, kind=kind)[0]


def load_pickles(
    path: Path,
    count: int,
    *,
    kind: str = "data",
    encoding: Literal["ascii", "latin1"] = "ascii",
    shells: Mapping[str, type[Shell]] | None = None,
) -> list[Any]:
    """Return the objects of a file of successive pickles.

    Args:
        path: the file.
        count: how many are read.
        kind: whose files these are, for messages.
        encoding: of the byte strings of Python 2, of which latin1 takes any.
        shells: further classes, by "module.name", and what stands for their objects.

    Raises:
        DataError: it is none, it is damaged, or it names something that is not allowed.
    """
    source = _Source(_content(path, any_protocol=encoding != "ascii"))
    names = ALLOWED | dict(shells or {})
    try:
        found = [_Reader(source, path, kind, encoding, names).load() for _ in range(count)]
        return [finished(value, source.offset) for value in found]
    except DataError as error:
        if str(path) in error.message:
            raise
        raise DataError(f"{path}: {error.message}", hint=error.hint or _HINT) from error
    except FAULTS as error:
        raise DataError(
            f"{path}: damaged pickle at offset {source.offset} ({reason(error)})"
        ) from error


def _content(path: Path, *, any_protocol: bool) -> bytes:
    with damaged(path):
        size = path.stat().st_size
        if size > LARGEST:
            raise DataError(f"{path}: {size:,} bytes are more than is read ({LARGEST:,})")
        content = path.read_bytes()
    head = content[:64].lstrip().lower()
    for sign, what in _NOT_A_PICKLE:
        if head.startswith(sign.lower()):
            raise DataError(f"{path}: {what}")
    if content[:1] != b"\x80" and not any_protocol:
        raise DataError(
            f"{path}: no pickle, or one of protocol 0 or 1 as Python 2 wrote them",
            hint="save it again with pickle.dump(data, file, protocol=4)",
        )
    return content


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


_Base: Any = pickle._Unpickler  # in Python: its steps can be replaced, its memo is a dictionary


class _Reader(_Base):
    """An unpickler that knows a handful of names."""

    dispatch: dict[int, Any] = dict(_Base.dispatch)

    def __init__(
        self, source: _Source, path: Path, kind: str, encoding: str, names: Mapping[str, Any]
    ) -> None:
        super().__init__(source, encoding=encoding)
        self._source, self._path, self._kind, self._names = source, path, kind, names

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for an allowed global."""
        short = module.replace("numpy._core.", "numpy.core.").replace("__builtin__", "builtins")
        allowed = self._names.get(f"{short}.{name}")
        if allowed is None:
            raise DataError(
                f"{self._path}: refuses to load {module}.{name} (offset {self._source.offset}); "
                f"not a {self._kind} file?",
                hint=_HINT,
            )
        return allowed

    def persistent_load(self, pid: Any) -> Any:
        """Refuse."""
        raise DataError(f"refuses the persistent object {pid!r:.40}")

    def get_extension(self, code: int) -> Any:
        """Refuse: an extension code is a name from elsewhere."""
        raise DataError(f"refuses the extension code {code}")

    def build(self) -> None:
        """Give a state to a shell, and to nothing else."""
        if not isinstance(self.stack[-2], SHELLS):
            raise DataError("sets the state of something that has none")
        self.load_build()

    def bytearray8(self) -> None:
        """Read before anything is allocated: the size is whatever the pickle says."""
        size = int.from_bytes(self.read(8), "little")
        content = self.read(size)
        if len(content) < size:
            raise pickle.UnpicklingError(f"bytearray of {size:,} bytes")
        self.append(bytearray(content))

    def setitem(self) -> None:
        """Add an item, if its key is plain."""
        check_keys(self.stack[-2:-1])
        self.load_setitem()

    def setitems(self) -> None:
        """Add items, if their keys are plain."""
        check_keys(self.stack[::2])
        self.load_setitems()

    def dictionary(self) -> None:
        """Make a dictionary, if its keys are plain."""
        check_keys(self.stack[::2])
        self.load_dict()

    def additems(self) -> None:
        """Add to a set what is plain."""
        check_keys(self.stack)
        self.load_additems()

    def frozen(self) -> None:
        """Make a set of what is plain."""
        check_keys(self.stack)
        self.load_frozenset()

    dispatch[pickle.BUILD[0]] = build
    dispatch[pickle.BYTEARRAY8[0]] = bytearray8
    dispatch[pickle.SETITEM[0]] = setitem
    dispatch[pickle.SETITEMS[0]] = setitems
    dispatch[pickle.DICT[0]] = dictionary
    dispatch[pickle.ADDITEMS[0]] = additems
    dispatch[pickle.FROZENSET[0]] = frozen
