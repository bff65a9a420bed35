"""What a training recipe amounts to, before anything is trained: the ``--dry-run`` figures.

Builds the network on the meta device: no weight is drawn, no image decoded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from qr_cli.attention.backbones.create import create_backbone
from qr_cli.attention.data import Summary, peek
from qr_cli.attention.insert import Place, iter_attention, plan
from qr_cli.attention.recipe import Attention, Data


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
    updates = -(-data.train // (recipe.loader.batch_size * recipe.loader.accumulate))
    epochs = recipe.schedule.epochs
    record = {
        "event": "plan",
        "arch": recipe.model.arch,
        "module": recipe.model.module,
        **_parameters(recipe, data),
        "attention_modules": len(places),
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
                "identity_start": model.identity_start,
                "replace": model.replace,
                "reset_head": model.reset_head,
                "download": recipe.data.download,
            }
            | changes
        ),
    )


def _parameters(recipe: Attention, data: Summary) -> dict[str, int]:
    with torch.device("meta"), _Undrawn():
        net = build(recipe, len(data.classes), weights=None, identity_start=_identity(recipe))
    attention = {id(p) for _, _, _, module in iter_attention(net) for p in module.parameters()}
    return {
        "parameters": sum(p.numel() for p in net.parameters()),
        "attention_parameters": sum(p.numel() for p in net.parameters() if id(p) in attention),
    }


def _places(recipe: Attention, data: Summary) -> list[Place]:
    model = recipe.model
    if model.module == "none":
        return []
    with torch.device("meta"), _Undrawn():
        net = build(recipe, len(data.classes), weights=None, module="none")
    return plan(
        net,
        model.module,
        stages=model.stages,
        blocks=model.blocks,
        place=model.place,
        replace=model.replace,
    )


def _identity(recipe: Attention) -> str:
    """Return what "auto" will come to; the weights' own attention is not looked at."""
    choice = recipe.model.identity_start
    return ("yes" if recipe.model.weights else "no") if choice == "auto" else choice


class _Undrawn(TorchFunctionMode):
    """Leave weights undrawn: on the meta device a draw only loads torch's compiler (2 s)."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))
