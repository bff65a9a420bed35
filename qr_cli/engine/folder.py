"""A folder that is written: whether it may be, and that it appears whole or not at all.

Everything is written to a hidden sibling, flushed, and renamed; killed at any moment, there is no
half folder under the final name.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from qr_cli.engine.files import flush, occupied, sibling
from qr_cli.engine.recipe import Report
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


def free_for_report(report: Report) -> Path | None:
    """Return the folder of an evaluation's report, or None where none is asked for.

    Raises:
        UsageError: a file is there, something else than a report, or an earlier report and
            --overwrite was not asked.
    """
    if report.out is None:
        return None
    folder = Path(report.out)
    if folder.is_file():
        raise UsageError(f"--out: {folder} is a file", hint="--out FOLDER")
    if occupied(folder):
        if not _is_report(folder):
            raise UsageError(
                f"--out: {folder} holds something else than a report", hint="--out another folder"
            )
        if not report.overwrite:
            raise UsageError(
                f"--out: {folder} holds an earlier report",
                hint="--overwrite replaces it, --out FOLDER names another",
            )
    return folder


def _is_report(folder: Path) -> bool:
    """Tell whether a folder holds a report of ours, and no run."""
    path = folder / "recipe.yaml"
    if not path.is_file() or (folder / "checkpoints").exists():
        return False
    try:
        recipe = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return False
    return isinstance(recipe, dict) and "report" in recipe


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """Yield a hidden sibling of `folder` that takes its name when the block ends well."""
    hidden = sibling(folder)  # of this process: ranks may fill one cache at once
    old = sibling(folder.with_name(f"{folder.name}.old"))
    try:
        shutil.rmtree(hidden, ignore_errors=True)
        hidden.mkdir(parents=True)
        yield hidden
        files = [path for path in hidden.rglob("*") if path.is_file()]
        if len(files) > MANY:
            os.sync()  # one wait instead of one per picture
        for path in [*(files if len(files) <= MANY else ()), hidden]:
            flush(path)
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            os.replace(folder, old)
        os.replace(hidden, folder)
        flush(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise EnvironmentFault(
            f"cannot write {folder}: {error.strerror or error}", hint="--out another folder"
        ) from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
