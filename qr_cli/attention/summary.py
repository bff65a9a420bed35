"""What a training recipe amounts to, before anything is trained: the ``--dry-run`` figures.

No weight is drawn, no image decoded. Operations are counted in a pass that computes nothing (meta
device), or in one over zeros: torch loads its compiler (1 s) before the meta device convolves, and
a network of ours is through in a tenth of that.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from qr_cli.attention import cost
from qr_cli.attention.backbones.create import create_backbone
from qr_cli.attention.data import Summary, peek
from qr_cli.attention.insert import Place, plan
from qr_cli.attention.recipe import Attention, Data
from qr_cli.engine.loader import Loader

log = logging.getLogger(__name__)

_SMALL = 128 * 128  # pixels up to which a pass of a network of ours takes less than the compiler


def reading(data: Data) -> dict[str, Any]:
    """Return the arguments of `data.read` and `data.peek` that a recipe gives."""
    return {
        "test_data": data.test_data,
        "val": data.val,
        "limit_train": data.limit_train,
        "root": None if data.data_root is None else Path(data.data_root),
        "download": data.download,
        "image_size": data.image_size,
        "memory_limit": int(data.memory_limit * 2**30),
        "skip_bad": data.skip_bad,
    }


def summarize(recipe: Attention) -> tuple[dict[str, Any], list[Place]]:
    """Return the record of a dry run and where each attention module goes."""
    data = peek(recipe.data.data, **reading(recipe.data))
    places = _places(recipe, data)
    updates = _updates(recipe, data.train)
    epochs = recipe.schedule.epochs
    record = {
        "event": "plan",
        "arch": recipe.model.arch,
        "module": recipe.model.module,
        **({"srp": recipe.model.srp} if recipe.model.srp else {}),
        **_costs(recipe, data),
        "attention_modules": len(places),
        "places": [place.name for place in places],
        "train_images": data.train,
        "test_images": data.test,
        "classes": len(data.classes),
        "image_size": list(data.size),
        "steps_per_epoch": updates,
        "steps": min(recipe.schedule.max_steps or updates * epochs, updates * epochs),
    }
    return record, places


def build(recipe: Attention, classes: int, **changes: Any) -> torch.nn.Module:
    """Build the network of a recipe."""
    model = recipe.model
    return create_backbone(
        model.arch,
        num_classes=model.num_classes or classes,
        **(
            {
                "module": model.module,
                "stages": model.stages,
                "blocks": model.blocks,
                "place": model.place,
                "seed": recipe.run.seed,
                "weights": model.weights,
                "srp": model.srp,
                "srp_at": model.srp_at,
                "srp_init": model.srp_init,
                "identity_start": model.identity_start,
                "replace": model.replace,
                "reset_head": model.reset_head,
                "download": recipe.data.download,
            }
            | changes
        ),
    )


def _costs(recipe: Attention, data: Summary) -> dict[str, Any]:
    """Return parameters, operations of one image, and how open attention starts."""
    small = recipe.model.arch.startswith("qr:") and data.size[0] * data.size[1] <= _SMALL
    identity = _identity(recipe)
    changes = {"identity_start": identity, "image_size": data.size}
    net = _undrawn(recipe, data, device="cpu" if small else "meta", **changes)
    every, attention = cost.parameters(net)
    return {
        "parameters": every,
        "attention_parameters": attention,
        "flops": _flops(net, data),
        "flops_counted": cost.FLOPS,
        "start_gate": _start_gate(recipe, net, identity),
    }


def _start_gate(recipe: Attention, net: nn.Module, identity: str) -> float | None:
    """Return the mean gate before training; None where it is that of a run, or a black box."""
    if identity == "yes":
        return 1.0
    return None if recipe.model.checkpoint else cost.mean_start_gate(net, recipe.model.module)


def _flops(net: nn.Module, data: Summary) -> int | None:
    """Return the operations of one image; None where a foreign module asks a map for its values."""
    try:
        return cost.flops(net, (3, *data.size))
    except (RuntimeError, NotImplementedError) as error:
        if not next(net.parameters()).is_meta:
            raise
        log.warning("operations are not counted: %s", str(error).splitlines()[0])
        return None


def _updates(recipe: Attention, images: int) -> int:
    """Return the updates of an epoch."""
    settings = recipe.loader
    return len(
        Loader(
            lambda rows, epoch: None,
            images,
            batch_size=settings.batch_size,
            accumulate=settings.accumulate,
            drop_last=settings.drop_last,
            world=min(recipe.run.num_processes, settings.batch_size),
        )
    )


def _places(recipe: Attention, data: Summary) -> list[Place]:
    model = recipe.model
    if model.module == "none":
        return []
    net = _undrawn(recipe, data, device="meta", module="none")
    return plan(
        net,
        model.module,
        stages=model.stages,
        blocks=model.blocks,
        place=model.place,
        replace=model.replace,
    )


def _undrawn(recipe: Attention, data: Summary, *, device: str, **changes: Any) -> nn.Module:
    """Build the network without drawing its weights; on the CPU where meta tensors cannot do it."""
    try:
        with torch.device(device), _Undrawn():
            return build(recipe, len(data.classes), weights=None, **changes)
    except NotImplementedError:  # RegNet computes its widths with tensors
        with _Undrawn():
            return build(recipe, len(data.classes), weights=None, **changes)


def _identity(recipe: Attention) -> str:
    """Return what "auto" will come to; the weights' own attention is not looked at."""
    choice = recipe.model.identity_start
    return ("yes" if recipe.model.weights else "no") if choice == "auto" else choice


class _Undrawn(TorchFunctionMode):
    """Leave weights undrawn: 0, or nothing on the meta device, where a draw loads the compiler."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", "") != "torch.nn.init":
            return func(*args, **(kwargs or {}))
        tensor = args[0] if args else (kwargs or {})["tensor"]
        return tensor if tensor.is_meta else tensor.data.zero_()
