"""Single parts of a base folder, so that training holds no more of it than it needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from diffusers import StableDiffusionPipeline
from safetensors import SafetensorError, safe_open

from qr_cli.engine.damage import damaged
from qr_cli.errors import UsageError, WeightsError
from qr_cli.generate.base import base_folder, quiet_libraries
from qr_cli.generate.fingerprints import digest


def load_parts(base: str, *names: str) -> tuple[Any, ...]:
    """Return frozen parts of a base: "tokenizer", "text_encoder", "vae", "unet", "scheduler".

    Raises:
        DataError: it is no diffusers folder.
        WeightsError: a part is damaged.
    """
    folder = base_folder(base)
    quiet_libraries()
    index = json.loads((folder / "model_index.json").read_text("utf-8"))
    others = {
        name: None for name, part in index.items() if isinstance(part, list) and name not in names
    }
    try:
        pipe = StableDiffusionPipeline.from_pretrained(
            folder, local_files_only=True, requires_safety_checker=False, **others
        )
    except (OSError, ValueError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise WeightsError(f"{base} cannot be loaded: {reason}") from error
    found = tuple(getattr(pipe, name) for name in names)
    for part in found:
        if hasattr(part, "requires_grad_"):
            part.requires_grad_(False).eval()
    return found


def stored_unet_fingerprint(base: str) -> str:
    """Return the U-Net's fingerprint without loading it; "" where it is not kept as safetensors."""
    for file in sorted((base_folder(base) / "unet").glob("diffusion_pytorch_model*.safetensors")):
        with safe_open(file, "pt") as stored:
            if {"conv_in.weight", "conv_out.weight"} <= set(stored.keys()):
                return digest([stored.get_tensor(f"conv_{end}.weight") for end in ("in", "out")])
    return ""


def text_width(base: str) -> int:
    """Return how wide the text encoder of a base is, from its config alone.

    Raises:
        DataError: it is no diffusers folder.
    """
    file: Path = base_folder(base) / "text_encoder" / "config.json"
    with damaged(file):
        return int(json.loads(file.read_text("utf-8"))["hidden_size"])


def check_heads(base: str, heads: int) -> int:
    """Return the width of a base's text encoder.

    Raises:
        UsageError: the heads do not divide it.
    """
    width = text_width(base)
    if width % heads:
        raise UsageError(f"--heads: {heads} do not divide {width}, the width of the text encoder")
    return width
