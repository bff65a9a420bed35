"""Weights without a run: what model.json would say of them, found in the weights and the data.

The number of outputs is read off the weights' classifier. With as many classes as outputs, the
names are those of the data, in its order. A network with 1,000 outputs that meets other data is one
of ImageNet-1k: classes are found by name among those torchvision lists (case does not count; the
part before the first comma will do), and figures are over all 1,000. Normalisation comes with
weights of torchvision and timm and with networks of timm; a file alone brings none.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qr_cli.attention.augment import NORMALS, Triple, normalization
from qr_cli.attention.backbones.create import create_backbone
from qr_cli.attention.data import ImageSet
from qr_cli.attention.eval_recipe import Bare, EvalData
from qr_cli.attention.insert import iter_attention
from qr_cli.attention.modules.identity import IdentityStart
from qr_cli.attention.weights import head_names, read_weights
from qr_cli.errors import DataError, WeightsError

IMAGENET = 1_000  # outputs

log = logging.getLogger(__name__)


def load_bare(bare: Bare, data: EvalData) -> nn.Module:
    """Return the network of these weights in evaluation mode, with its card (see `load`).

    Classes, normalisation and input size are not known before `adopt`.

    Raises:
        WeightsError: there are no such weights, or they do not fit.
        EnvironmentFault: they are not on this machine and --download is off.
    """
    weights, arch = str(bare.weights), str(bare.arch)
    settings: dict[str, Any] = {
        "num_classes": _outputs(arch, weights, download=data.download),
        "module": bare.module,
        "stages": bare.stages,
    }
    net: Any = create_backbone(arch, weights=weights, download=data.download, **settings)
    net.card = {
        "task": "attention",
        "arch": net.arch,
        **settings,
        "blocks": None,
        "place": "auto",
        "identity_start": any(isinstance(m, IdentityStart) for *_, m in iter_attention(net)),
        "seed": 0,
        "evaluation": {
            **dict.fromkeys(("test_data", "val", "data_root", "image_size")),
            "data": data.data,
            "skip_bad": False,
            "batch_size": 500,
            "precision": "fp32",
            "channels_last": True,
        },
    }
    return net.eval()


def adopt(net: nn.Module, images: ImageSet, bare: Bare, *, source: str) -> ImageSet:
    """Give `net` classes, mean and std; return the images with labels that are its outputs.

    Args:
        net: from `load_bare`.
        images: the test images.
        bare: the recipe's section.
        source: canonical text of the data.

    Raises:
        DataError: the classes of the data cannot be found among the outputs.
    """
    known: Any = net
    outputs = known.card["num_classes"]
    if len(images.classes) != outputs:
        images = _renumbered(images, outputs, source)
    _warn_of_size(net, images)
    known.classes = images.classes
    known.mean, known.std = _normalization(net, images, bare, source)
    return images


def _outputs(arch: str, weights: str, *, download: bool) -> int:
    """Return how many outputs the classifier in the weights has."""
    plain = create_backbone(arch, num_classes=2)
    found = read_weights(plain, weights, download=download)
    for name in head_names(plain):
        for part in ("bias", "weight"):
            if (tensor := found.tensors.get(f"{name}.{part}")) is not None:
                return len(tensor)
    raise WeightsError(
        f"{found.source} has no classifier {' or '.join(head_names(plain))}",
        hint="--arch as the weights were trained with",
    )


def _normalization(
    net: nn.Module, images: ImageSet, bare: Bare, source: str
) -> tuple[Triple, Triple]:
    """Return mean and deviation as --normalize says, and say what "auto" came to for a file."""
    if bare.normalize != "auto":
        return normalization(source, images, bare.normalize)
    if bare.weights == "torchvision":
        return NORMALS["imagenet"]
    config: Any = getattr(net, "pretrained_cfg", None)
    if bare.weights == "timm" or config:
        found = tuple(config["mean"]), tuple(config["std"])
        whose = f"timm's for {Path(str(bare.arch)).name.removeprefix('timm:')}"
    else:
        found, whose = normalization(source, images), f"that of {source}"
    if bare.weights != "timm":
        mean, std = (",".join(f"{v:.3g}" for v in values) for values in found)
        log.warning(
            "%s brings no normalisation; %s is taken: mean %s, std %s; hint: --normalize imagenet",
            Path(str(bare.weights)).name, whose, mean, std,
        )  # fmt: skip
    return found


def _warn_of_size(net: nn.Module, images: ImageSet) -> None:
    """Say when images are smaller than those timm names for the network."""
    config: Any = getattr(net, "pretrained_cfg", None)
    if not config or not isinstance(images.images, torch.Tensor):
        return
    side, usual = min(images.images.shape[-2:]), config["input_size"][-1]
    if side < usual:
        log.warning(
            "images have %d pixels a side, timm's network is for %d; hint: --image-size %d",
            side, usual, usual,
        )  # fmt: skip


def _renumbered(images: ImageSet, outputs: int, source: str) -> ImageSet:
    """Return the images labelled by ImageNet's classes, boxes too."""
    names = images.classes
    if outputs != IMAGENET:
        raise DataError(
            f"{source} has {len(names)} classes and the network {outputs} outputs",
            hint="--data with the classes of the training",
        )
    from torchvision.models import ResNet18_Weights

    known = tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
    numbers = {name.casefold(): number for number, name in enumerate(known)}
    found = [
        numbers.get(name.casefold(), numbers.get(name.partition(",")[0].strip().casefold()))
        for name in names
    ]
    strange = [name for name, number in zip(names, found, strict=True) if number is None]
    if strange:
        raise DataError(
            f"{source}: {len(strange)} of {len(names)} classes are not among the 1,000 of "
            f"ImageNet, the first is {strange[0]!r}",
            hint="--data whose class names are ImageNet's, or weights with these classes",
        )
    log.info("%d classes found by name; figures are over all %d outputs", len(names), outputs)
    table = torch.tensor(found)
    return replace(
        images,
        classes=known,
        labels=table[images.labels],
        boxes=images.boxes and tuple(b and b.renumbered(table) for b in images.boxes),
    )
