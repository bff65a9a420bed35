"""The commands as Python calls: the same recipes, the same folders, the same faults."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qr_cli.engine.resolve import by_name, read_recipe, resolve
from qr_cli.errors import UsageError, near
from qr_cli.registry import import_target, only_code_of

if TYPE_CHECKING:
    from qr_cli.engine.train import Finished

# verb, task -> recipe class, what it takes to run it
_JOBS = {
    ("train", "attention"): (
        "qr_cli.attention.recipe:Attention",
        "qr_cli.attention.task:AttentionTask",
    ),
    ("eval", "attention"): (
        "qr_cli.attention.eval_recipe:AttentionEval",
        "qr_cli.attention.evaluate:evaluate",
    ),
    ("train", "geo"): ("qr_cli.geo.train_recipe:GeoTrain", "qr_cli.geo.task:task_of"),
    ("eval", "geo"): ("qr_cli.geo.recipe:GeoEval", "qr_cli.geo.evaluate:records"),
    ("train", "handoff"): ("qr_cli.handoff.recipe:Handoff", "qr_cli.handoff.task:HandoffTask"),
    ("eval", "handoff"): (
        "qr_cli.handoff.eval_recipe:HandoffEval",
        "qr_cli.handoff.evaluate:evaluate",
    ),
    ("train", "sur-adapter"): ("qr_cli.generate.recipe:SurTrain", "qr_cli.generate.task:SurTask"),
}
_RECIPES = {"sur-adapter": "generate"}  # the folder of recipes, where it is not the task
_ATTACH = {
    "network": "qr_cli.attention.insert:attach",
    "pipeline": "qr_cli.generate.attach:attach",
}
_LOADERS = {
    "attention": "qr_cli.attention.load:load",
    "geo": "qr_cli.geo.network:load",
    "handoff": "qr_cli.handoff.load:load",
    "reparam": "qr_cli.reparam.load:load",
    "sur-adapter": "qr_cli.generate.folder:load",
}


class _Silent:
    """A listener that does not listen: metrics.jsonl holds what it would hear."""

    def record(self, record: dict[str, Any]) -> None: ...

    def tick(self, **progress: int) -> None: ...


def run(
    verb: str,
    task: str,
    *,
    recipe: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    **settings: Any,
) -> Finished | list[dict[str, Any]]:
    """Run a command of the command line.

    Args:
        verb: "train" or "eval".
        task: "attention", "geo", "handoff", "sur-adapter".
        recipe: a recipe file, run folder or shipped recipe to start from.
        resume: go on with the run of this name (train).
        overwrite: replace the run of this name (train).
        settings: flags with underscores for dashes: ``epochs=2, batch_size=128``.

    Returns:
        For "train" the run's folder and final record, for "eval" its records.

    Raises:
        QrError: what the command line would print; `exit_code` is its exit code.
    """
    names = [" ".join(job) for job in _JOBS]
    if (verb, task) not in _JOBS:
        raise UsageError(f"unknown job '{verb} {task}'{near(f'{verb} {task}', names)}")
    file = read_recipe(_RECIPES.get(task, task), recipe) if recipe else None
    if file is not None:
        with only_code_of(map(str, settings.values())):
            return _run(verb, task, file, resume, overwrite, settings)
    return _run(verb, task, file, resume, overwrite, settings)


def _run(
    verb: str,
    task: str,
    file: dict[str, Any] | None,
    resume: bool,
    overwrite: bool,
    settings: dict[str, Any],
) -> Finished | list[dict[str, Any]]:
    recipe_class, target = import_target(_JOBS[verb, task][0]), _JOBS[verb, task][1]
    resolved = resolve(recipe_class, file=file, given=by_name(recipe_class, settings))
    if verb == "eval":
        return list(import_target(target)(resolved))
    from qr_cli.engine.launch import is_child, prepare_environment

    if resolved.run.seeds or (resolved.run.num_processes > 1 and not is_child()):
        raise UsageError(
            "seeds, num_processes: a Python call makes one run in one process",
            hint=f"qr {verb} {task} --help",
        )
    prepare_environment(deterministic=resolved.run.deterministic)
    from qr_cli.engine.train import train

    return train(
        resolved,
        import_target(target),
        _Silent(),
        command=f"qr_cli.run({verb!r}, {task!r})",
        resume=resume,
        overwrite=overwrite,
    )


def attach(target: Any, what: Any, **settings: Any) -> Any:
    """Put attention into a network, or an adapter behind the text encoder of a pipeline.

    Args:
        target: a network (`qr_cli.attention.insert.attach`) or a pipeline of diffusers
            (`qr_cli.generate.attach.attach`).
        what: an attention module, "lsas(eca)"; or an adapter: "tiny", a folder, an object.
        settings: of the one or the other: `stages`, `place`, `seed` .. or `eta`, `strict`.

    Returns:
        The network, or an `Attached` that can be used in a `with`.
    """
    from torch import nn

    network = isinstance(target, nn.Module)
    return import_target(_ATTACH["network" if network else "pipeline"])(target, what, **settings)


def load(path: str | Path, *, which: str = "last") -> Any:
    """Return the model of a run or checkpoint, ready to use; see the loader of its task.

    "geoformer-tiny" is the network that ships.

    Raises:
        WeightsError: there is no checkpoint, it is damaged, or its weights do not fit.
    """
    from qr_cli.engine.checkpoint import read_card
    from qr_cli.engine.checkpoint import resolve as find

    shipped = str(path) == "geoformer-tiny"
    task = "geo" if shipped else read_card(find(Path(path), which)).get("task")
    if task not in _LOADERS:
        raise UsageError(f"{path} is a checkpoint of {task!r}, which has no loader")
    return import_target(_LOADERS[task])(path, which=which)
