"""The class names of weights that come from elsewhere, where their library tells them.

torchvision names its files by the first digits of their hash, so that a file is known whatever it
is called. Files of timm come with a config.json; one without label names is of ImageNet's classes
where timm says so of the network.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qr_cli.attention.backbones.names import Arch


def categories(arch: Arch, file: Path, digest: str, count: int) -> tuple[str, ...] | None:
    """Return the names of the classes, or None where nothing tells them.

    Args:
        arch: of the network.
        file: the weights.
        digest: SHA-256 of the file.
        count: outputs of the network.
    """
    teller = {"torchvision": _of_torchvision, "timm": _of_timm}.get(arch.family)
    found = teller(arch, file, digest) if teller else None
    return found if found is not None and len(found) == count else None


def _of_torchvision(arch: Arch, file: Path, digest: str) -> tuple[str, ...] | None:
    from torchvision.models import get_model_weights

    for weights in get_model_weights(arch.name):
        start = Path(weights.url).stem.rpartition("-")[2]  # resnet18-f37072fd.pth
        if len(start) >= 8 and digest.startswith(start):
            return tuple(weights.meta["categories"])
    return None


def _of_timm(arch: Arch, file: Path, digest: str) -> tuple[str, ...] | None:
    config = file.with_name("config.json")
    if not config.is_file():
        return None
    try:
        told: Any = json.loads(config.read_text("utf-8"))
        own = told.get("label_names") or told.get("pretrained_cfg", {}).get("label_names")
        count = told.get("num_classes")
    except (ValueError, AttributeError):
        return None
    if isinstance(own, list):
        return tuple(map(str, own))
    from timm.data import ImageNetInfo
    from timm.data.imagenet_info import infer_imagenet_subset

    subset = infer_imagenet_subset({**told.get("pretrained_cfg", {}), "num_classes": count})
    if subset is None:
        return None
    info = ImageNetInfo(subset)
    return tuple(info.index_to_description(number) for number in range(info.num_classes()))
