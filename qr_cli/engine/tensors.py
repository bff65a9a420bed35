"""Tensors in files that whoever may read the others may read too."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor


def save_tensors(
    state: Mapping[str, Tensor], path: Path, *, metadata: dict[str, str] | None = None
) -> None:
    """Write a safetensors file."""
    save_file(dict(state), path, metadata=metadata)
    share(path)


def share(path: Path) -> None:
    """Give a file the mode of any new one: safetensors makes its files for the owner alone."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)
