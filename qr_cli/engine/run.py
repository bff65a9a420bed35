"""The run folder: what it holds, who writes it, and when it may be written again.

    recipe.yaml  run.json  metrics.jsonl  log.txt  plots/*.png  report.html
    checkpoints/epoch-0012/  latest.json  best.json
    phases/<name>/           the same of each phase before the main one, where a task has any

Only rank 0 writes. Files appear whole: a temporary sibling is written, then renamed.
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import yaml

from qr_cli.engine.damage import damaged
from qr_cli.engine.files import TEMPORARY, occupied, write_text
from qr_cli.engine.recipe import Recipe
from qr_cli.errors import EnvironmentFault, UsageError, WeightsError

Record = dict[str, Any]


class RunFolder:
    """A folder that holds one run.

    Args:
        path: the folder.
        writes: whether this process is the one that writes.
        phase: the phase it holds, for a folder inside a run's; empty for a run.
    """

    def __init__(self, path: Path, *, writes: bool = True, phase: str = "") -> None:
        self.path, self.writes, self.phase = path, writes, phase
        self.checkpoints = path / "checkpoints"
        self._metrics = path / "metrics.jsonl"

    def inner(self, phase: str) -> RunFolder:
        """Return the folder of a phase before the main one: own records, own checkpoints."""
        folder = RunFolder(self.path / "phases" / phase, writes=self.writes, phase=phase)
        if self.writes:
            folder.path.mkdir(parents=True, exist_ok=True)
        return folder

    def check(self, recipe: Recipe, *, resume: bool, overwrite: bool) -> None:
        """Raise where the folder must not be used; changes nothing but what `overwrite` allows.

        Raises:
            UsageError: it holds another run and neither `resume` nor `overwrite` was asked, or the
                run to resume had another recipe.
            EnvironmentFault: it cannot be written.
        """
        if not occupied(self.path):
            return
        if resume:
            self._check_same(recipe)
        elif not overwrite:
            raise UsageError(
                f"{self.path} exists and is not empty",
                hint="--resume goes on with it, --overwrite replaces it, --name names another",
            )
        elif not (self.path / "recipe.yaml").is_file():
            raise UsageError(
                f"{self.path} is not a run folder, so --overwrite leaves it alone",
                hint="--name NAME",
            )

    def open(self, recipe: Recipe, *, resume: bool) -> bool:
        """Make the folder, write recipe.yaml, and return whether an earlier run is continued.

        Raises:
            EnvironmentFault: it cannot be written.
        """
        resumed = resume and occupied(self.path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._clear("temporary" if resumed else "all")
            if not resumed:
                write_text(self.path / "recipe.yaml", dump_yaml(recipe))
        except OSError as error:
            raise EnvironmentFault(
                f"cannot write {self.path}: {error.strerror}", hint="--out FOLDER"
            ) from error
        return resumed

    def _clear(self, what: Literal["temporary", "all"]) -> None:
        """Delete what killed processes left half written, or everything.

        recipe.yaml is left to be replaced: without it nothing would tell that this is a run.
        """
        for path in self.path.iterdir():
            if path.name == "recipe.yaml" or not (what == "all" or TEMPORARY.fullmatch(path.name)):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _check_same(self, recipe: Recipe) -> None:
        stored = self.path / "recipe.yaml"
        if not stored.is_file():
            raise UsageError(
                f"{self.path} holds no run to resume (no recipe.yaml)",
                hint="leave out --resume and name another: --name NAME, or --out FOLDER",
            )
        with damaged(stored, UsageError, hint="--overwrite starts the run again"):
            before = flatten(yaml.safe_load(stored.read_text("utf-8")))
        after = flatten(yaml.safe_load(dump_yaml(recipe)))
        free = {"run.out", "run.name", "run.num_processes", "run.device", "run.keep"}
        differing = sorted(
            key for key in before | after if before.get(key) != after.get(key) and key not in free
        )
        if differing:
            raise UsageError(
                f"{self.path} was started with another recipe: "
                + ", ".join(f"{k} {before.get(k)} -> {after.get(k)}" for k in differing),
                hint=f"--recipe {stored} --resume",
            )

    def facts(self, **facts: Any) -> None:
        """Add facts to run.json."""
        if self.writes:
            path = self.path / "run.json"
            with damaged(path, hint="delete it, then add --resume to the same command"):
                known = dict(json.loads(path.read_text("utf-8"))) if path.exists() else {}
            write_text(path, json.dumps(known | facts, indent=1) + "\n")

    def record(self, record: Record) -> None:
        """Append one line to metrics.jsonl.

        Raises:
            EnvironmentFault: it cannot be written.
        """
        if not self.writes:
            return
        try:
            with self._metrics.open("a", encoding="utf-8") as file:
                file.write(to_json(record) + "\n")
        except OSError as error:
            raise EnvironmentFault(
                f"cannot write {self._metrics}: {error.strerror}",
                hint="make room, then add --resume to the same command",
            ) from error

    def position(self) -> int:
        """Return the length of metrics.jsonl in bytes, flushed to disk."""
        if not self.writes or not self._metrics.exists():
            return 0
        with self._metrics.open("rb+") as file:
            os.fsync(file.fileno())
            return file.seek(0, os.SEEK_END)

    def rewind(self, position: int) -> None:
        """Drop what was recorded after the checkpoint that is being resumed."""
        if self.writes and self._metrics.exists():
            kept = self._metrics.read_bytes()[:position]
            os.truncate(self._metrics, kept.rfind(b"\n") + 1)

    def records(self) -> Iterator[Record]:
        """Yield the lines of metrics.jsonl; one that a killed process did not finish is none."""
        if self._metrics.exists():
            with damaged(self._metrics):
                lines = self._metrics.read_text("utf-8").split("\n")[:-1]
                found = [dict(json.loads(line)) for line in lines]
            yield from found

    def log_handler(self) -> logging.Handler:
        """Return a handler that appends to log.txt."""
        handler = _LogFile(self.path / "log.txt", encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        return handler


class _LogFile(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """Stay silent: a full disk is told by what else is written there, without a traceback."""


def inside(run: Path, name: str) -> Path:
    """Return the folder of a run that a pointer names.

    Raises:
        WeightsError: it lies elsewhere.
    """
    if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
        raise WeightsError(f"{run} points to {name!r}, which lies outside it")
    return run / name


def to_json(record: Record) -> str:
    """Return one JSON line; what is not a number becomes null."""
    return json.dumps({k: _number(v) for k, v in record.items()}, ensure_ascii=False)


def dump_yaml(recipe: Recipe) -> str:
    """Return a recipe as YAML; read back it gives the same recipe."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one with dotted keys."""
    if not isinstance(tree, dict):
        return {prefix.rstrip("."): tree}
    return {k: v for key, sub in tree.items() for k, v in flatten(sub, f"{prefix}{key}.").items()}


def _number(value: Any) -> Any:
    """Return None for a float that is not finite, and lists likewise."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list | tuple):
        return [_number(item) for item in value]
    return value
