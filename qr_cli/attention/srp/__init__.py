"""Structural re-parameterization: blocks that train as several branches and fold into one."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qr_cli.attention.srp.replacing import replace as replace

__all__ = ["replace"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.replacing"), name)
