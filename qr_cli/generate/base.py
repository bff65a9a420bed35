"""A base model from a local folder, and what it wants to be sampled with.

Nothing is downloaded and no code of a model folder is run. A name of the Hugging Face hub is
looked up in the local cache only.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import diffusers
import torch
import transformers
from diffusers import StableDiffusionPipeline
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError

import qr_cli.generate.tiny  # noqa: F401  (diffusers finds classes of imported modules only)
from qr_cli.engine.damage import damaged
from qr_cli.errors import DataError, UsageError, WeightsError
from qr_cli.generate.digits import ASSETS

log = logging.getLogger(__name__)

TINY = ASSETS / "tiny-sd"
_ONLY = "the SUR-adapter is defined for SD 1.x / 2.x"
_SOLVERS = {
    "ddim": ("DDIMScheduler", {}),
    "dpm++": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    "euler": ("EulerDiscreteScheduler", {}),
}


class Wishes(NamedTuple):
    """How a base is sampled unless one is told otherwise (its `qr.json`)."""

    steps: int = 50
    guidance: float = 7.5


def load_base(
    name: str, *, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> Any:
    """Return the pipeline of a diffusers folder, of "tiny", or of a hub name in the local cache.

    Raises:
        DataError: it is no diffusers folder, or not on this machine.
        UsageError: a family of models that the method is not defined for.
        WeightsError: a part of it is damaged.
    """
    folder = base_folder(name)
    quiet_libraries()
    pipe: Any
    try:
        pipe = StableDiffusionPipeline.from_pretrained(
            folder, local_files_only=True, torch_dtype=dtype
        )
    except (OSError, ValueError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise WeightsError(f"{name} cannot be loaded: {reason}") from error
    pipe.set_progress_bar_config(disable=True)
    for part in (pipe.unet, pipe.vae, pipe.text_encoder):
        part.requires_grad_(False)
    return pipe.to(device)


def base_folder(name: str) -> Path:
    """Return where a base is, having looked at what kind it is.

    Raises:
        DataError: it is no diffusers folder, or not on this machine.
        UsageError: a family of models that the method is not defined for.
    """
    path = TINY if name == "tiny" else Path(name)
    if not path.exists():
        path = _cached(name)
    index = path / "model_index.json"
    if not index.is_file():
        raise DataError(
            f"not a diffusers folder: {name}",
            hint="convert the file with diffusers first: "
            "StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER)",
        )
    with damaged(index):
        parts = json.loads(index.read_text("utf-8"))
    _check_family(parts)
    return path


def wishes(folder: Path) -> Wishes:
    """Return the defaults that a base folder carries."""
    path = folder / "qr.json"
    if not path.is_file():
        return Wishes()
    with damaged(path):
        found = json.loads(path.read_text("utf-8"))
        return Wishes(**{key: found[key] for key in Wishes._fields if key in found})


def set_solver(pipe: Any, name: str) -> None:
    """Exchange the scheduler, keeping the noise schedule the base was trained with."""
    if name == "keep":
        return
    kind, settings = _SOLVERS[name]
    config = pipe.scheduler.config
    pipe.scheduler = getattr(diffusers, kind).from_config(config, **settings)


def _cached(name: str) -> Path:
    """Return the snapshot of a hub name in the local cache."""
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError) as error:
        raise DataError(
            f"{name} is not on this machine; qr downloads nothing", hint="--base tiny, or a folder"
        ) from error


_LIBRARIES = ("diffusers", "transformers", "stable_diffusion", "qr_cli.generate.tiny", None)


def _check_family(parts: dict[str, Any]) -> None:
    strange = [name for name, part in parts.items()
               if isinstance(part, list) and part and part[0] not in _LIBRARIES]  # fmt: skip
    if strange:  # diffusers would import whatever stands there
        raise DataError(f"its model_index.json names code of {parts[strange[0]][0]!r}")
    encoders = [
        name
        for name, part in parts.items()
        if name.startswith("text_encoder") and isinstance(part, list) and part[0]
    ]
    family = str(parts.get("_class_name", "it")).removesuffix("Pipeline")
    if len(encoders) != 1:
        raise UsageError(f"{family} has {len(encoders)} text encoders; {_ONLY}")
    if "vae" not in parts or "unet" not in parts or not parts["text_encoder"][1].startswith("CLIP"):
        raise UsageError(f"{family} is another family; {_ONLY}")


def quiet_libraries() -> None:
    """Leave loading bars and notes of the libraries out of the talk; errors are raised."""
    for library in (diffusers.utils.logging, transformers.utils.logging):
        library.set_verbosity_error()
        library.disable_progress_bar()
