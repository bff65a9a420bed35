"""Weights of a folded network; they carry no time: the same input gives the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from qr_cli.engine.tensors import save_tensors


def save(state: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors as safetensors; tied ones are written once under each name."""
    save_tensors({k: t.detach().cpu().contiguous().clone() for k, t in state.items()}, path)
