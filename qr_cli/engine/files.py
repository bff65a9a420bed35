"""A file that appears whole, or not at all.

It is written under a hidden name beside its own, flushed, and renamed. The hidden name tells who
writes, so that the next writer of the folder deletes what a killed process has left.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

_HOST = re.sub(r"[^A-Za-z0-9]", "", platform.node())
TEMPORARY = re.compile(r"\..+\.qr-([A-Za-z0-9]*)-(\d+)(\.[^.]+)?")  # as `sibling` names them


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a hidden sibling of `path`, which takes its name when the block ends well.

    Raises:
        OSError: the disk refuses; it names `path`, and what was begun is deleted.
    """
    hidden = sibling(path)
    try:
        yield hidden
        publish(hidden, path)
    except OSError as error:
        if error.errno:
            error.filename = str(path)
        raise
    finally:
        hidden.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all; its folder is made."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as hidden:
        hidden.write_bytes(content)


def occupied(folder: Path) -> bool:
    """Tell whether anything is there besides what a killed process left half written."""
    if not folder.is_dir():
        return folder.exists()
    return any(not TEMPORARY.fullmatch(path.name) for path in folder.iterdir())


def sibling(path: Path) -> Path:
    """Return the hidden name of what will be `path`; its suffix is kept for who looks at it."""
    _sweep(path.parent.absolute())
    return path.with_name(f".{path.stem}.qr-{_HOST}-{os.getpid()}{path.suffix}")


def publish(hidden: Path, path: Path) -> None:
    """Flush a file to disk and give it its name."""
    flush(hidden)
    os.replace(hidden, path)


def flush(path: Path) -> None:
    """Wait until a file or folder is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@cache
def _sweep(folder: Path) -> None:
    """Delete what processes of this machine that are gone left half written in a folder."""
    if not folder.is_dir():
        return
    for entry in os.scandir(folder):
        name = TEMPORARY.fullmatch(entry.name)
        if name and name[1] == _HOST and not _alive(int(name[2])):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                Path(entry.path).unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
