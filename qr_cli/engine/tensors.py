"""Files of tensors: read without running anything in them, written for all who may read."""

from __future__ import annotations

import mmap
import os
import pickletools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from qr_cli.engine.damage import FAULTS

NO_TENSORS: tuple[type[Exception], ...] = FAULTS + (SafetensorError,)  # what readers raise
ZIP = b"PK\x03\x04"
PICKLES = 5  # of torch's old format, before the numbers: magic, version, machine, content, keys


def load_torch(path: Path) -> Any:
    """Return what a `.pth` holds: tensors, containers, numbers and text.

    Raises:
        damage.FAULTS: it is damaged, or holds anything else.
    """
    with path.open("rb") as file:
        if file.read(4) != ZIP:
            _check_old(path)
    return torch.load(path, map_location="cpu", weights_only=True)


NUMBERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4")


def _check_old(path: Path) -> None:
    """Refuse a file of torch's old format in which a storage is said to be larger than the file.

    Storages are allocated before they are read. One is a tuple (kind, type, key, place, length,
    view) given as a persistent id: the last number before the id is its length. The file is read
    through a map, which allocates what is there and not what a text is said to hold.
    """
    size, last = path.stat().st_size, 0
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        for _ in range(PICKLES):
            for code, value, _place in pickletools.genops(content):  # type: ignore[arg-type]
                if code.name in NUMBERS and value is not None:
                    last = int(value)
                elif code.name == "BINPERSID" and abs(last) > size:
                    raise ValueError(f"{last:,} numbers where there are {size:,} bytes")


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
