"""Hyperspectral and multispectral images to one: degradation, methods, formats, metrics.

The package can be called: ``qr_cli.fuse("cube.mat", "msi.tif").save("fused.tif")``; see `api.fuse`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


def fuse(hsi: Any, msi: Any, **settings: Any) -> Any:
    """Fuse two images; see `qr_cli.fuse.api.fuse`."""
    from qr_cli.fuse.api import fuse as call

    return call(hsi, msi, **settings)


class _Callable(ModuleType):
    """A package whose name is also the public function."""

    def __call__(self, hsi: Any, msi: Any, **settings: Any) -> Any:
        return fuse(hsi, msi, **settings)


sys.modules[__name__].__class__ = _Callable
