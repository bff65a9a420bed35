"""One training job: a recipe in, a run folder out."""

from __future__ import annotations

import logging
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, set_seed

from qr_cli import __version__
from qr_cli.engine.accelerator import make_accelerator
from qr_cli.engine.damage import reason
from qr_cli.engine.loop import Limits, Listener, fit
from qr_cli.engine.recipe import TrainRecipe
from qr_cli.engine.report import write_report
from qr_cli.engine.run import RunFolder
from qr_cli.engine.sync_bn import synchronize
from qr_cli.engine.task import Record, Staged, Task
from qr_cli.errors import Interrupted, QrError

log = logging.getLogger(__name__)
_PHASE_SEED = 1_000_003  # between the seeds of phases


@dataclass(frozen=True)
class Finished:
    """What a job leaves behind: its folder and its final record."""

    folder: Path
    result: Record


def run_folder(recipe: TrainRecipe) -> Path:
    """Return the folder of a recipe's run."""
    return Path(recipe.run.out) / recipe.task / recipe.run_name


def train(
    recipe: TrainRecipe,
    build: Callable[[TrainRecipe], Task],
    listener: Listener,
    *,
    command: str,
    resume: bool = False,
    overwrite: bool = False,
) -> Finished:
    """Train as the recipe says.

    Args:
        recipe: the validated recipe.
        build: makes the task from it; reads its data.
        listener: who watches.
        command: what was typed, for run.json.
        resume: go on with the run in the same folder.
        overwrite: replace it.

    Raises:
        QrError: as the folder, the data, the device or the loop find fault.
    """
    main = int(os.environ.get("RANK", "0")) == 0
    run = RunFolder(run_folder(recipe), writes=main)
    if main:
        run.check(recipe, resume=resume, overwrite=overwrite)
    accelerator = make_accelerator(recipe.run, run.path)
    rank, world = accelerator.process_index, accelerator.num_processes
    task = build(recipe)
    parts = task.parts(rank=rank, world=world)
    for name, model in parts.models.items():
        if recipe.run.channels_last:
            model = model.to(memory_format=torch.channels_last)
        if world > 1 and recipe.run.sync_bn:
            model = synchronize(model)
        if recipe.run.compile:
            model.compile()
        parts.models[name] = model
    if rank:
        torch.manual_seed(recipe.run.seed + rank)  # ranks drop different units
    resumed = [run.open(recipe, resume=resume) if main else False]
    broadcast_object_list(resumed)
    if recipe.run.tracker != "none":
        accelerator.init_trackers(f"qr-{task.name}", config={"run": recipe.run_name})
    limits = Limits(
        **recipe.limits,
        **recipe.run.model_dump(include={"log_steps", "save_steps", "keep"}),
        clip_norm=recipe.optim.clip_norm,
    )
    facts = _facts(command, world, str(accelerator.device))
    facts |= getattr(task, "facts", dict)()  # what a task wants noted of its data; most do not
    with _log_to(run), _reported(run, task, recipe), _status(run, facts):
        if isinstance(task, Staged):
            _train_phases(task, accelerator, run, listener, limits, recipe.run.seed, resumed[0])
        progress = fit(task, parts, accelerator, run, listener, limits, resume=resumed[0])
        if isinstance(task, Staged):
            task.finish(run)
        accelerator.end_training()
        epochs = [record for record in run.records() if record["event"] == "epoch"]
        result = {
            "event": "result",
            "epoch": progress.epoch,
            **task.result(epochs),
            "seed": recipe.run.seed,
            "run": str(run.path),
            "checkpoint": str(run.checkpoints / progress.label),
        }
        if main:
            run.record(result)
            listener.record(result)
    return Finished(run.path, result)


def _train_phases(
    task: Staged,
    accelerator: Accelerator,
    run: RunFolder,
    listener: Listener,
    limits: Limits,
    seed: int,
    resume: bool,
) -> None:
    """Train what comes before the main phase; each phase draws from a seed of its own.

    So the main phase starts from the same random state whether phases were trained or restored.
    """
    rank, world = accelerator.process_index, accelerator.num_processes
    number = 0
    for number, phase in enumerate(task.phases(run), start=1):
        set_seed(seed + rank + _PHASE_SEED * number)
        own = replace(
            limits,
            epochs=phase.epochs,
            max_steps=phase.max_steps,
            followed=True,
            patience=0,
            ema=0.0,
            keep=1,
            clip_norm=phase.clip_norm,
        )
        parts = phase.parts(rank=rank, world=world)
        fit(phase, parts, accelerator, run.inner(phase.name), listener, own, resume=resume)
        accelerator.free_memory()  # or the next phase's checkpoints would hold these models too
    if number:
        set_seed(seed + rank + _PHASE_SEED * (number + 1))


@contextmanager
def _reported(run: RunFolder, task: Task, recipe: TrainRecipe) -> Iterator[None]:
    """Write the report when the run is over, also when it was interrupted or failed."""
    try:
        yield
    finally:
        if run.writes:
            with _despite_the_disk("report.html"):
                write_report(
                    run.path,
                    title=f"{task.name}: {recipe.run_name}",
                    lead=task.lead(),
                    figures=task.plots(list(run.records())),
                    defaults=type(recipe).model_validate({}).model_dump(mode="json"),
                )


@contextmanager
def _despite_the_disk(name: str) -> Iterator[None]:
    """Warn where a file cannot be written, so that it does not hide how the run ended."""
    try:
        yield
    except (OSError, QrError) as error:  # what it is made from may be unreadable by then
        log.warning("cannot write %s: %s", name, reason(error))


def _facts(command: str, world: int, device: str) -> Record:
    return {
        "qr": __version__,
        "command": command,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": device,
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "processes": world,
    }


@contextmanager
def _status(run: RunFolder, facts: Record) -> Iterator[None]:
    """Keep run.json true: running, then done, interrupted or failed."""
    started = time.time()
    status = "failed"
    run.facts(**facts, status="running")
    try:
        yield
        status = "done"
    except (Interrupted, KeyboardInterrupt):
        status = "interrupted"
        raise
    finally:
        with _despite_the_disk("run.json"):
            run.facts(status=status, seconds=round(time.time() - started, 1))


@contextmanager
def _log_to(run: RunFolder) -> Iterator[None]:
    """Append what this package logs to log.txt."""
    if not run.writes:
        yield
        return
    handler = run.log_handler()
    package = logging.getLogger("qr_cli")
    package.addHandler(handler)
    try:
        yield
    finally:
        package.removeHandler(handler)
        with _despite_the_disk("log.txt"):
            handler.close()
