"""qr: ten published methods of one research group as a command line and a Python library.

    import qr_cli as qr
    run = qr.run("train", "attention", module="lsas", epochs=2)
    model = qr.load(run.folder)

Importing the package imports no torch; a name below is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from qr_cli import attention as attention
    from qr_cli import generate as generate
    from qr_cli import geo as geo
    from qr_cli import handoff as handoff
    from qr_cli import reparam as reparam
    from qr_cli.api import attach as attach
    from qr_cli.api import load as load
    from qr_cli.api import run as run
    from qr_cli.attention.backbones.create import create_backbone as create_backbone
    from qr_cli.attention.create import create_attention as create_attention
    from qr_cli.attention.insert import collect_aux_loss as collect_aux_loss
    from qr_cli.attention.insert import detach as detach
    from qr_cli.attention.insert import iter_attention as iter_attention
    from qr_cli.fuse import fuse as fuse

_PUBLIC = {
    "run": "qr_cli.api",
    "load": "qr_cli.api",
    "create_attention": "qr_cli.attention.create",
    "create_backbone": "qr_cli.attention.backbones.create",
    "attach": "qr_cli.api",
    "detach": "qr_cli.attention.insert",
    "iter_attention": "qr_cli.attention.insert",
    "collect_aux_loss": "qr_cli.attention.insert",
    "fuse": "qr_cli.fuse",
}
_ROOMS = ("attention", "generate", "geo", "handoff", "reparam")  # packages: qr.reparam.fold
__all__ = ["__version__", *_PUBLIC, *_ROOMS]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
