"""A picture and, beside it, what it was made of: enough to make it again."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy import ndarray
from PIL import Image

from qr_cli import __version__
from qr_cli.engine.files import whole, write_text
from qr_cli.engine.pictures import NO_PICTURE, opened
from qr_cli.errors import EnvironmentFault
from qr_cli.generate.fingerprints import text_fingerprint, unet_fingerprint, weights_digest
from qr_cli.generate.sample_recipe import Generate

if TYPE_CHECKING:
    from qr_cli.generate.attach import Attached
    from qr_cli.generate.studio import Picture, Variant

Record = dict[str, Any]
_PACKAGES = ("torch", "diffusers", "transformers")


class Facts:
    """What all pictures of a call share."""

    def __init__(
        self, recipe: Generate, pipe: Any, attached: Attached | None, size: tuple[int, int]
    ) -> None:
        self.limit = pipe.tokenizer.model_max_length
        self.shared: Record = {
            "height": size[0],
            "width": size[1],
            "clip_skip": recipe.sampling.clip_skip,
            "precision": recipe.job.precision,
            "scheduler": {
                key: value
                for key, value in pipe.scheduler.config.items()
                if key == "_class_name" or not key.startswith("_")
            },
            "base": {
                "name": recipe.model.base,
                "text_fingerprint": text_fingerprint(pipe.text_encoder),
                "unet_fingerprint": unet_fingerprint(pipe.unet),
            },
            "adapter": attached and {
                "name": recipe.model.adapter_name,
                "sha256": weights_digest(attached.adapter),
                "attention_axis": attached.adapter.config.attention_axis,
                "adapt_negative": attached.adapter.config.adapt_negative,
            },
            "versions": {"qr-cli": __version__, **{name: version(name) for name in _PACKAGES}},
        }  # fmt: skip

    def sidecar(self, picture: Picture, variant: Variant, tokens: int) -> Record:
        """Return what is written beside a picture; `flagged` is still to come."""
        return {
            "prompt": picture.prompt.text,
            "negative": picture.negative,
            "variant": variant.name,
            "eta": variant.eta,
            "seed": picture.seed,
            "steps": picture.steps,
            "guidance": picture.guidance,
            "prompt_tokens": tokens,
            "truncated": tokens > self.limit,
            "flagged": False,
            **self.shared,
        }


def write_picture(path: Path, pixels: ndarray, facts: Record) -> None:
    """Write a picture, then its facts; each file appears whole."""
    try:
        with whole(path) as hidden:
            Image.fromarray(pixels).save(hidden, format="PNG")
        write_text(path.with_suffix(".json"), json.dumps(facts, indent=1, default=list) + "\n")
    except OSError as error:
        raise EnvironmentFault(
            f"cannot write {path}: {error.strerror}", hint="--out another folder"
        ) from error


def matches(path: Path, facts: Record) -> bool:
    """Tell whether a picture is there and was made of the same; takes `flagged` over."""
    try:
        with opened(path) as picture:
            picture.verify()
        found = json.loads(path.with_suffix(".json").read_text("utf-8"))
    except NO_PICTURE:
        return False
    if not isinstance(found, dict):
        return False
    facts["flagged"] = found.get("flagged", False)
    return bool(found == json.loads(json.dumps(facts, default=list)))
