"""Attention modules, the backbones they go into, and what is asked of a trained network.

    maps = qr.attention.cam.grad_cam(model, images, labels)          # (B, H, W) in [0, 1]
    found = qr.attention.bias.bias(maps, masks, tau=0.5).summary()   # shares of images
    steps = qr.attention.stiffness.stiffness(model, images)          # {block: NSI per image}
    gates = qr.attention.stripes.collect(model, images)              # {block: gates, inputs}
    right = qr.attention.robust.disturb(model, batches, ("fgsm:2/255",), mean=..., std=...)
    qr.attention.srp.replace(net, "dbb", example, init="preserve")   # re-parameterization blocks
    data = qr.attention.shapes.shapes(2000, split="test")            # images, labels, boxes

Each of these files is imported when it is first named; importing the package imports no torch.
"""

from importlib import import_module
from typing import Any

_FILES = ("bias", "cam", "robust", "shapes", "srp", "stiffness", "stripes", "tickets")


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")
