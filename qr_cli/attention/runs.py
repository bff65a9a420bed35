"""Training runs as the rows of a comparison: what their files say, and which of them are alike.

Runs that differ in seed, name and folder only are one group. Nothing is evaluated here.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import yaml

from qr_cli.attention.grammar import check_module
from qr_cli.attention.recipe import Attention
from qr_cli.engine.damage import damaged
from qr_cli.engine.run import RunFolder, flatten
from qr_cli.errors import UsageError, near

Record = dict[str, Any]
FREE = ("run.name", "run.out", "run.seed", "run.seeds")  # settings that make no other group


class Trained(Protocol):
    """What groups are made of: a run folder and its recipe.yaml."""

    @property
    def folder(self) -> Path:
        """Return the run folder."""

    @property
    def recipe(self) -> Mapping[str, Any]:
        """Return its recipe.yaml."""


R = TypeVar("R", bound=Trained)


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run: its folder, its recipe.yaml and the lines of its metrics.jsonl."""

    folder: Path
    recipe: Mapping[str, Any]
    records: tuple[Record, ...]

    def best(self, data_sha256: str) -> Record:
        """Return best_top1, best_top5 and best_selected_on of the run's best epoch.

        Empty where the run was tested on other images than those with this hash.
        """
        result = next(r for r in reversed(self.records) if r.get("event") == "result")
        if result.get("data_sha256") != data_sha256:
            return {}
        epochs = (r for r in self.records if r.get("event") == "epoch")
        chosen = next((r for r in epochs if r["epoch"] == result["best_epoch"]), {})
        best = {key: result[key] for key in ("best_top1", "best_selected_on")}
        return best | {"best_top5": chosen.get("test_top5")}


def read_run(folder: Path) -> Run:
    """Return a finished run from the files in its folder.

    Raises:
        UsageError: it is no run folder, or the run did not finish: it has no last epoch.
    """
    path = folder / "recipe.yaml"
    if not path.is_file():
        raise UsageError(
            f"{folder} is not a run folder (no recipe.yaml), so it cannot be compared",
            hint="name run folders, such as runs/attention/se-s0",
        )
    records = tuple(RunFolder(folder).records())
    with damaged(path):
        recipe = dict(yaml.safe_load(path.read_text("utf-8")))
    if not any(record.get("event") == "result" for record in records):
        raise UsageError(
            f"{folder} did not finish, so it has no last epoch to compare",
            hint=f"qr train attention --recipe {path} --resume",
        )
    return Run(folder, recipe, records)


def seed_of(run: Trained) -> int:
    """Return the seed of a run."""
    return int(run.recipe["run"]["seed"])


@dataclass(frozen=True, eq=False)
class Group(Generic[R]):
    """Runs of one recipe. `label`: the module, and what else sets the group apart."""

    label: str
    runs: tuple[R, ...]


def grouped(runs: Sequence[R]) -> list[Group[R]]:
    """Return the groups in the order of their first runs.

    Raises:
        UsageError: two runs of a group have one seed, which would count one result twice.
    """
    alike: dict[str, list[R]] = {}
    for run in runs:
        others = alike.setdefault(json.dumps(_settings(run), sort_keys=True), [])
        if twin := next((other for other in others if seed_of(other) == seed_of(run)), None):
            raise UsageError(
                f"{twin.folder} and {run.folder} have one recipe and one seed, {seed_of(run)}: "
                "they would count twice",
                hint=f"leave out {run.folder}",
            )
        others.append(run)
    kinds = [_settings(members[0]) for members in alike.values()]
    return [
        Group(_label(kind, kinds), tuple(members))
        for kind, members in zip(kinds, alike.values(), strict=True)
    ]


def named(name: str, groups: Sequence[Group[R]]) -> Group[R]:
    """Return the group that `name` means: by label, else by module, else by one of its runs.

    Raises:
        UsageError: it names no group, or several.
    """
    try:
        module = check_module(name)
    except UsageError:  # no module: a label or a run's name
        module = name
    for meant in (
        [group for group in groups if group.label == name],
        [group for group in groups if group.runs[0].recipe["model"]["module"] == module],
        [group for group in groups if any(name in _names(run) for run in group.runs)],
    ):
        if len(meant) > 1:
            several = " and ".join(repr(group.label) for group in meant)
            raise UsageError(
                f"--baseline: {name!r} names {several}",
                hint=f"--baseline {meant[0].runs[0].folder.name}",
            )
        if meant:
            return meant[0]
    labels = [group.label for group in groups]
    raise UsageError(
        f"--baseline: no group {name!r}{near(name, labels)}",
        hint=f"--baseline {' | '.join(map(shlex.quote, labels))}",
    )


def _names(run: Trained) -> tuple[str, ...]:
    """Return how a run may be called: its folder's path or name, with and without the seed."""
    name = run.folder.name
    return str(run.folder), name, name.removesuffix(f"-s{seed_of(run)}")


def _settings(run: Trained) -> dict[str, Any]:
    """Return what makes a group; a setting that is younger than the run has its default."""
    given = _defaults() | flatten(dict(run.recipe))
    return {key: v for key, v in given.items() if key not in FREE}


@cache
def _defaults() -> dict[str, Any]:
    return flatten(json.loads(Attention().model_dump_json()))


def _label(kind: Mapping[str, Any], kinds: Sequence[Mapping[str, Any]]) -> str:
    """Return the module, and the settings in which groups with this module differ."""
    module = kind["model.module"]
    same = [other for other in kinds if other["model.module"] == module]
    differing = [key for key in kind if any(other.get(key) != kind[key] for other in same)]
    extra = [f"{key.rpartition('.')[2]}={_word(kind[key])}" for key in differing]
    return ", ".join([module, *extra])


def _word(value: Any) -> str:
    """Return a setting as one types it."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
