"""Narrative prompts for diffusion models: the SUR-adapter, its training, use and evaluation.

    from diffusers import StableDiffusionPipeline
    pipe = StableDiffusionPipeline.from_pretrained("sd15/")
    with qr_cli.attach(pipe, "sur/", eta=0.1):
        image = pipe("an aristocratic maiden in medieval attire").images[0]

Importing the package imports no torch; a name below is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qr_cli.generate.adapter import SURAdapter as SURAdapter
    from qr_cli.generate.attach import attach as attach
    from qr_cli.generate.attach import detach as detach
    from qr_cli.generate.attach import set_eta as set_eta
    from qr_cli.generate.encode import encode as encode
    from qr_cli.generate.official import load_official as load_official

_PUBLIC = {
    "SURAdapter": "qr_cli.generate.adapter",
    "detach": "qr_cli.generate.attach",
    "set_eta": "qr_cli.generate.attach",
    "encode": "qr_cli.generate.encode",
    "load_official": "qr_cli.generate.official",
}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
