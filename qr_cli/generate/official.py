"""Checkpoints of the authors' repository: a bare state dict of 48 tensors, of which 34 are used."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qr_cli.engine.damage import FAULTS
from qr_cli.engine.tensors import load_torch
from qr_cli.errors import UsageError, WeightsError
from qr_cli.generate.adapter import Axis, SURAdapter

log = logging.getLogger(__name__)

_DEAD = re.compile(r"encoder_layer\.|attention\.value_layer\.")  # in the file, never computed with
_ETA = re.compile(r"adapterw(\d+(?:\.\d+)?|\.\d+)")  # as their training script names its folders
_LAYER = re.compile(r"transformer_encoder\.layers\.(\d+)\.")
NOTE = (
    "an official checkpoint belongs to the base model it was trained for and gives garbage on "
    "others; the released example was trained for Realistic_Vision_V2.0, not for SD 1.5"
)


def load_official(
    path: str | Path, eta: float | None = None, attention_axis: Axis = "batch"
) -> SURAdapter:
    """Return the adapter of an official ``.pt`` file, in eval mode.

    Args:
        path: the file; read as tensors only, nothing in it is run.
        eta: how much of the adapted embedding is used; default: from "adapterw0.1" in the path.
        attention_axis: "batch" computes what their pipeline does (a picture depends on the other
            prompts of its batch), "none" what training at batch size 1 did.

    Raises:
        UsageError: eta stands nowhere.
        WeightsError: the file is no state dict of this adapter.
    """
    path = Path(path)
    state = _read(path)
    if eta is None:
        found = _ETA.findall(str(path))
        if not found:
            raise UsageError(
                f"eta is not stored in {path.name}", hint="--eta 0.1 (the authors' run script)"
            )
        eta = float(found[-1])
    adapter = from_official(state, eta=eta, attention_axis=attention_axis, name=path.name)
    log.info("%s", NOTE)
    if attention_axis == "batch":
        log.info(
            "it attends across the prompts of a batch, as released; --attention-axis none makes "
            "pictures independent of their neighbours"
        )
    return adapter


def from_official(
    state: Mapping[str, Tensor], *, eta: float, attention_axis: Axis = "batch", name: str = "it"
) -> SURAdapter:
    """Return the adapter of an official state dict, in eval mode.

    Raises:
        WeightsError: tensors are missing, strange or of the wrong shape.
    """
    kept = {key: tensor for key, tensor in state.items() if not _DEAD.match(key)}
    layers = {int(found[1]) for key in kept if (found := _LAYER.match(key))}
    inner = kept.get("transformer_encoder.layers.0.linear1.weight")
    width = kept.get("fc.weight")
    if width is None or inner is None or not layers or width.ndim != 2 or width.shape[0] % 8:
        raise WeightsError(f"{name} is no SUR-adapter: {_some(sorted(state)) or 'no tensors'}")
    with torch.device("meta"):
        adapter = SURAdapter(
            hidden_size=width.shape[0],
            num_layers=len(layers),
            ffn_dim=inner.shape[0],
            eta=eta,
            attention_axis=attention_axis,
        )
    expected = {key: tensor.shape for key, tensor in adapter.state_dict().items()}
    faults = [f"missing {key}" for key in expected.keys() - kept.keys()]
    faults += [f"unexpected {key}" for key in kept.keys() - expected.keys()]
    faults += [
        f"{key} of shape {tuple(kept[key].shape)}, not {tuple(shape)}"
        for key, shape in expected.items()
        if key in kept and kept[key].shape != shape
    ]
    if faults:
        raise WeightsError(f"{name} does not fit: {_some(sorted(faults))}")
    adapter.load_state_dict(kept, assign=True)
    return adapter.float().eval()


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        state: Any = load_torch(path)
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such file") from error
    except FAULTS as error:
        raise WeightsError(
            f"refused to unpickle {path}: it is damaged or holds more than tensors"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"{path} is no state dict of tensors")
    return state


def _some(names: list[str]) -> str:
    """Return the first five names and how many more there are."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
