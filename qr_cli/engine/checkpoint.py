"""Checkpoints that are whole or absent.

A checkpoint is written into a hidden sibling, flushed to disk, renamed, and only then do
``latest.json`` and ``best.json`` point to it and the oldest go. Whenever the process is killed,
``latest.json`` names a whole checkpoint.

    epoch-0012/  model.safetensors  model.json       enough to use the model
                 optimizer.bin  random_states_0.pkl  progress.json       enough to go on

The last line's files are written by Accelerate, partly as pickles: they are read on resume only,
from a run folder of one's own. Using a model reads safetensors and JSON.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from qr_cli.engine.damage import FAULTS, damaged, reason
from qr_cli.engine.files import flush, write_text
from qr_cli.engine.run import RunFolder, inside
from qr_cli.engine.tensors import NO_TENSORS, save_tensors, share
from qr_cli.errors import EnvironmentFault, RunFailed, WeightsError


@dataclass
class Progress:
    """How far a run is; what `Accelerator.save_state` does not keep.

    Attributes:
        epoch: complete epochs.
        step: updates made in the whole run.
        epoch_step: updates made in the current epoch.
        sums: metric sums of the current epoch, and under "n NAME" over how many samples.
        losses: losses since the last look, over all ranks.
        best: the best figure so far and its epoch.
        stale: epochs since then.
        position: length of metrics.jsonl, in bytes.
        schedulers: state of each schedule.
    """

    epoch: int = 0
    step: int = 0
    epoch_step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    best: float | None = None
    best_epoch: int = 0
    stale: int = 0
    position: int = 0
    schedulers: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Return the checkpoint's folder name."""
        return f"step-{self.step:08d}" if self.epoch_step else f"epoch-{self.epoch:04d}"


def save(
    accelerator: Accelerator,
    run: RunFolder,
    progress: Progress,
    card: dict[str, Any],
    *,
    models: dict[str, nn.Module],
    schedulers: dict[str, LRScheduler],
    averaged: AveragedModel | None = None,
    is_best: bool = False,
    keep: int = 2,
) -> Path:
    """Save everything under ``checkpoints/<label>`` and return that folder.

    Args:
        accelerator: knows the prepared models and optimisers.
        run: the run folder.
        progress: how far the run is.
        card: content of model.json.
        models: the prepared models, checked to be finite.
        schedulers: whose state is kept.
        averaged: averaged weights, kept as ema.safetensors.
        is_best: whether best.json shall point here.
        keep: checkpoints kept besides the best.

    Raises:
        RunFailed: a weight is not finite; nothing is written.
        EnvironmentFault: the disk refuses; the checkpoints before stay.
    """
    _require_finite(models, progress.step)
    progress.schedulers = {name: _plain(s.state_dict()) for name, s in schedulers.items()}
    progress.position = run.position()
    final = run.checkpoints / progress.label
    hidden = run.checkpoints / f".{progress.label}"
    try:
        if run.writes:
            shutil.rmtree(hidden, ignore_errors=True)
            hidden.mkdir(parents=True)
        accelerator.wait_for_everyone()
        with _bare_weights(accelerator):
            accelerator.save_state(str(hidden))
        accelerator.wait_for_everyone()
        if run.writes:
            if averaged is not None:
                state = {k: v.contiguous() for k, v in averaged.module.state_dict().items()}
                save_tensors(state, hidden / "ema.safetensors")
            for weights in hidden.glob("*.safetensors"):
                share(weights)  # those that Accelerate wrote
            write_text(hidden / "model.json", json.dumps(card, indent=1) + "\n")
            write_text(hidden / "progress.json", json.dumps(asdict(progress), indent=1) + "\n")
            _publish(hidden, final)
            _point(run.path / "latest.json", final, epoch=progress.epoch, step=progress.step)
            if is_best:
                _point(run.path / "best.json", final, epoch=progress.epoch, value=progress.best)
            _rotate(run, keep)
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(hidden, ignore_errors=True)
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        if isinstance(error, RuntimeError):
            if "inline_container" not in reason:  # torch's writer; a rank that is gone, say
                raise
            reason = "a file could not be written; is the disk full?"
        raise EnvironmentFault(
            f"cannot save {final}: {reason}",
            hint="make room, then add --resume to the same command",
        ) from error
    return final


def load(
    accelerator: Accelerator,
    run: RunFolder,
    *,
    schedulers: dict[str, LRScheduler],
    averaged: AveragedModel | None = None,
) -> Progress:
    """Restore the latest checkpoint into what `accelerator` has prepared.

    Returns:
        The progress, or a fresh one where the run has no checkpoint yet. What a killed run left
        half done is deleted or completed.

    Raises:
        WeightsError: the checkpoint cannot be read.
    """
    pointer = run.path / "latest.json"
    if not pointer.exists():
        _tidy(run, Progress())
        return Progress()
    folder = resolve(run.path, "last")
    try:
        progress = Progress(**json.loads((folder / "progress.json").read_text("utf-8")))
        _load_state(accelerator, folder)
        for name, scheduler in schedulers.items():
            scheduler.load_state_dict(progress.schedulers[name])
        if averaged is not None:
            averaged.module.load_state_dict(load_file(folder / "ema.safetensors"))
            averaged.n_averaged.fill_(progress.step)
    except NO_TENSORS as error:
        raise WeightsError(
            f"{folder} cannot be resumed: {reason(error)}", hint="--overwrite starts the run again"
        ) from error
    _tidy(run, progress)
    return progress


def resolve(path: Path, which: str = "last") -> Path:
    """Return the checkpoint folder that a run folder's pointer names, or `path` if it is one.

    Raises:
        WeightsError: there is none.
    """
    if (path / "model.json").is_file():
        return path
    pointer = path / {"last": "latest.json", "best": "best.json"}[which]
    if not pointer.is_file():
        raise WeightsError(
            f"{path} holds no checkpoint (no {pointer.name})", hint="qr train attention"
        )
    with damaged(pointer, WeightsError):
        return inside(path, json.loads(pointer.read_text("utf-8"))["checkpoint"])


def read_card(folder: Path) -> dict[str, Any]:
    """Return model.json of a checkpoint.

    Raises:
        WeightsError: it is missing or damaged.
    """
    try:
        return dict(json.loads((folder / "model.json").read_text("utf-8")))
    except FAULTS as error:
        raise WeightsError(f"{folder} is not a checkpoint: {reason(error)}") from error


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights one would use: the averaged ones where the run kept them.

    Raises:
        WeightsError: they are missing or damaged.
    """
    averaged = folder / "ema.safetensors"
    path = averaged if averaged.exists() else folder / "model.safetensors"
    with damaged(path, WeightsError, also=(SafetensorError,)):
        return load_file(path)


def _load_state(accelerator: Accelerator, folder: Path) -> None:
    """Load what `save_state` wrote; Accelerate does not say when it cannot read random states."""
    accelerator.step = -1
    with _bare_weights(accelerator):
        accelerator.load_state(str(folder))
    unread, accelerator.step = accelerator.step < 0, 0
    states = folder / f"random_states_{accelerator.process_index}.pkl"
    # A rank that the saved run did not have goes on from its seed.
    if unread and (accelerator.is_main_process or states.exists()):
        raise OSError(f"{states.name} is missing or damaged")


@contextmanager
def _bare_weights(accelerator: Accelerator) -> Iterator[None]:
    """Keep the wrapper of several processes out of the names of weights."""

    def save(models: list[nn.Module], weights: list[dict[str, Any]], folder: str) -> None:
        for number, model in enumerate(models):
            if isinstance(model, DistributedDataParallel):
                weights[number] = model.module.state_dict()

    def load(models: list[nn.Module], folder: str) -> None:
        for number, model in enumerate(models):
            if isinstance(model, DistributedDataParallel):
                models[number] = model.module

    hooks = [
        accelerator.register_save_state_pre_hook(save),
        accelerator.register_load_state_pre_hook(load),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _require_finite(models: dict[str, nn.Module], step: int) -> None:
    for model in models.values():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                bare = name.removeprefix("module.")
                raise RunFailed(
                    f"{bare} is not finite after step {step}; nothing was saved",
                    hint="a lower --lr, or --clip-norm 1",
                )


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    """Return what of a schedule's state is JSON-able."""
    kinds = (int, float, str, list, type(None))
    return {k: v for k, v in state.items() if isinstance(v, kinds)}


def _publish(hidden: Path, final: Path) -> None:
    """Flush every file of `hidden`, then give the folder its final name."""
    for path in [*hidden.iterdir(), hidden]:
        flush(path)
    if final.exists():  # left by a run that died between this rename and the pointer
        _delete(final)
    os.replace(hidden, final)
    flush(final.parent)


def _delete(folder: Path) -> None:
    """Delete a checkpoint; killed in between, what is left of it is hidden."""
    hidden = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(hidden, ignore_errors=True)
    os.replace(folder, hidden)
    shutil.rmtree(hidden)


def _tidy(run: RunFolder, progress: Progress) -> None:
    """Undo or complete what a killed run was about to do around its latest checkpoint."""
    if not run.writes or not run.checkpoints.is_dir():
        return
    for path in run.checkpoints.glob(".*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in _saved(run):
        if _step(path) > progress.step:
            _delete(path)
    if progress.best_epoch == progress.epoch > 0 and not progress.epoch_step:
        final = run.checkpoints / progress.label
        _point(run.path / "best.json", final, epoch=progress.epoch, value=progress.best)


def _point(pointer: Path, final: Path, **fields: Any) -> None:
    fields = {"checkpoint": f"{final.parent.name}/{final.name}", **fields}
    write_text(pointer, json.dumps(fields) + "\n")


def _rotate(run: RunFolder, keep: int) -> None:
    """Delete the oldest checkpoints but `keep`, the latest and the best."""
    pointed = {resolve(run.path, "last")}
    if (run.path / "best.json").exists():
        pointed.add(resolve(run.path, "best"))
    for path in sorted(_saved(run), key=_step)[:-keep]:
        if path not in pointed:
            _delete(path)


def _saved(run: RunFolder) -> list[Path]:
    return [p.parent for p in run.checkpoints.glob("[!.]*/progress.json")]


def _step(folder: Path) -> int:
    return json.loads((folder / "progress.json").read_text("utf-8"))["step"]
