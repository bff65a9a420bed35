"""What the commands of this room need before they import anything heavy. Imports no torch."""

from __future__ import annotations

import os
from importlib.util import find_spec

from qr_cli.errors import MissingExtra


def prepare() -> None:
    """Keep the libraries off the network; they read that when they are imported.

    Raises:
        MissingExtra: diffusers or transformers is not installed.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    for package in ("diffusers", "transformers"):
        if find_spec(package) is None:
            raise MissingExtra(package, "generate")
