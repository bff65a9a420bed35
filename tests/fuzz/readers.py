"""Every reader of files: tiny whole files to start from, and how they are read."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

TABLE = {
    "rasters": "mat5 mat73 envi geotiff netcdf emit prisma npz npy enmap tables",
    "texts": "dialogues corpora events published problems solving programs prompts surd listing"
    " suites pairs recipes runs vectors boxes",
    "pickles": "mhch dami vocabulary unigeo",
    "weights": "attention_run progress handoff_run geo_run adapter safetensors pth"
    " geo_pth adapter_pth teacher base_folder",
    "pictures": "diagrams images packs sidecars training_pictures",
}
NAMES = [name for names in TABLE.values() for name in names.split()]


class Reader(NamedTuple):
    """How a kind of file is made whole and read.

    Attributes:
        make: writes whole files into a folder and returns those to damage.
        read: reads one of them, with what is beside it.
        codes: exit codes that a damaged one may have.
    """

    make: Callable[[Path], list[Path]]
    read: Callable[[Path], Any]
    codes: tuple[int, ...] = (3,)


def reader_of(name: str) -> Reader:
    """Return a reader; imports what it needs and no other."""
    module = next(m for m, names in TABLE.items() if name in names.split())
    found: Reader = getattr(import_module(f"fuzz.{module}"), name)
    return found
