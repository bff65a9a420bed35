"""A folder that appears whole, or not at all.

Everything is written to a hidden sibling, flushed, and renamed; killed at any moment, there is no
half folder under the final name.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qr_cli.errors import EnvironmentFault, UsageError

MANY = 64  # files


def usable(out: str | None, *, overwrite: bool) -> Path:
    """Return the folder, or raise UsageError when there is none or it is taken."""
    if out is None:
        raise UsageError("no place to write to", hint="--out DIR, or --dry-run to see the plan")
    folder = Path(out)
    if folder.is_file():
        raise UsageError(f"--out: {folder} is a file", hint="--out a new folder")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise UsageError(f"--out: {folder} is not empty", hint="--overwrite, or another --out")
    return folder


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """Yield a hidden sibling of `folder` that takes its name when the block ends well."""
    hidden, old = (folder.with_name(f".{folder.name}.{word}") for word in ("new", "old"))
    try:
        shutil.rmtree(hidden, ignore_errors=True)
        hidden.mkdir(parents=True)
        yield hidden
        files = [path for path in hidden.rglob("*") if path.is_file()]
        if len(files) > MANY:
            os.sync()  # one wait instead of one per picture
        for path in [*(files if len(files) <= MANY else ()), hidden]:
            _flush(path)
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            os.replace(folder, old)
        os.replace(hidden, folder)
        _flush(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise EnvironmentFault(
            f"cannot write {folder}: {error.strerror or error}", hint="--out another folder"
        ) from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
