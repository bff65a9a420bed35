"""One Accelerator per run: device, precision, seeds, trackers."""

from __future__ import annotations

import logging
import os
from functools import cache
from pathlib import Path

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.tracking import get_available_trackers
from accelerate.utils import set_seed

from qr_cli.engine.recipe import Run
from qr_cli.errors import EXTRAS, EnvironmentFault

log = logging.getLogger(__name__)

_PRECISION = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


def make_accelerator(run: Run, folder: Path) -> Accelerator:
    """Build the Accelerator of a run and seed every generator.

    Args:
        run: the recipe's run section.
        folder: where trackers write.

    Raises:
        EnvironmentFault: the device, precision or tracker is not to be had here.
    """
    check_device(run.device, run.precision)
    check_tracker(run.tracker)
    if run.precision == "bf16" and on_cpu(run.device) and not computes_bf16():
        _warn_of_bf16()
    # Accelerate keeps its settings per process; a second run may ask for others.
    AcceleratorState._reset_state(reset_partial_state="RANK" not in os.environ)
    accelerator = Accelerator(
        cpu=on_cpu(run.device),
        mixed_precision=_PRECISION[run.precision],
        log_with=None if run.tracker == "none" else run.tracker,
        project_dir=str(folder),
    )
    set_seed(run.seed)
    if run.deterministic != torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(run.deterministic)  # imports torch's compiler
    torch.backends.cudnn.benchmark = not run.deterministic
    return accelerator


def check_device(device: str, precision: str) -> None:
    """Raise `EnvironmentFault` when the device or precision is not to be had here."""
    present = {
        "auto": True,
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not present[device]:
        raise EnvironmentFault(f"--device: {device} is not available here", hint="--device cpu")
    if precision == "fp16" and on_cpu(device):
        raise EnvironmentFault(
            "--precision: fp16 needs a GPU; on a CPU use bf16 or fp32", hint="--precision bf16"
        )


def computes_bf16() -> bool:
    """Tell whether torch has fast bf16 kernels for this processor; without them it emulates."""
    mkldnn = torch.backends.mkldnn.is_available()
    return mkldnn and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def on_cpu(device: str) -> bool:
    """Tell whether a device, or the best there is, is the CPU."""
    return device == "cpu" or (device == "auto" and not torch.accelerator.is_available())


def process_state(device: str) -> PartialState:
    """Return Accelerate's view of this process among its ranks.

    Accelerate joins ranks on a CPU only where it is told of the CPU; else each is one of its own.
    """
    return PartialState(cpu=on_cpu(device))


@cache
def _warn_of_bf16() -> None:
    """Say once per process that bf16 will not pay."""
    log.warning(
        "this processor has no bf16 arithmetic: it is emulated, many times slower than "
        "--precision fp32"
    )


def check_tracker(tracker: str) -> None:
    """Raise `EnvironmentFault` when a tracker's package is missing: Accelerate would drop it."""
    if tracker != "none" and tracker not in {str(name) for name in get_available_trackers()}:
        package = f"'qr-cli[{EXTRAS[tracker]}]'" if tracker in EXTRAS else tracker
        raise EnvironmentFault(
            f"--tracker: the package of {tracker} is not installed", hint=f"pip install {package}"
        )
