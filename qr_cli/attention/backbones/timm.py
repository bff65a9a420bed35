"""Networks of timm by name (imports timm only when one is built).

Attention fits timm's ResNet family and its EfficientNet and MobileNet block family; the blocks are
described in `records`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from qr_cli.errors import MissingExtra, UsageError, near

OURS = ("pretrained", "num_classes", "checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay")


def create(name: str, options: Mapping[str, Any], num_classes: int) -> nn.Module:
    """Build ``timm:NAME(options)`` without weights; the options are those of timm's create_model.

    Raises:
        MissingExtra: timm is not installed.
        UsageError: timm has no such network, or refuses an option.
    """
    timm = import_timm()
    taken = [key for key in options if key in OURS]
    if taken:
        raise UsageError(
            f"--arch: timm:{name} takes no option {taken[0]!r} here",
            hint="use --weights timm, --weights FILE or --num-classes",
        )
    if not timm.is_model(name.partition(".")[0]):
        raise UsageError(
            f"--arch: timm has no network {name!r}{near(name, timm.list_models())}",
            hint="python -c \"import timm; print(*timm.list_models('*resnet*'))\"",
        )
    try:
        net: nn.Module = timm.create_model(
            name, pretrained=False, num_classes=num_classes, **options
        )
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"--arch: timm cannot build {name!r} with {dict(options)}: {error}",
            hint=f"--arch timm:{name}",
        ) from error
    return net


def import_timm() -> Any:
    """Import timm, or raise MissingExtra."""
    try:
        import timm
    except ModuleNotFoundError as error:
        raise MissingExtra("timm", "timm") from error
    return timm
