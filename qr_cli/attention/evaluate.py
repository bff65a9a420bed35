"""Figures of trained networks, from their checkpoints alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from qr_cli.attention.augment import Fetch
from qr_cli.attention.data import read
from qr_cli.attention.load import load
from qr_cli.attention.metrics import classification
from qr_cli.attention.recipe import AttentionEval
from qr_cli.engine.accelerator import make_accelerator
from qr_cli.engine.loader import in_order
from qr_cli.engine.recipe import Run
from qr_cli.errors import DataError, UsageError


def evaluate(recipe: AttentionEval) -> Iterator[dict[str, Any]]:
    """Yield one record per run: top-1, top-5 and loss on its test split.

    Data, precision and batch size are those of the run's own evaluation unless the recipe says
    otherwise, so that the figure of the training's last epoch comes out again.

    Raises:
        UsageError: no run is named.
        WeightsError: a checkpoint cannot be used.
        DataError: the data cannot be used, or has other classes than the network.
    """
    if not recipe.target.runs:
        raise UsageError("no run is named", hint="qr eval attention runs/attention/se-s0")
    for run in recipe.target.runs:
        yield _evaluate(Path(run), recipe)


@torch.no_grad()
def _evaluate(run: Path, recipe: AttentionEval) -> dict[str, Any]:
    target = recipe.target
    net: Any = load(run, which=target.which)
    trained = net.card["evaluation"]
    own = {key: trained[key] for key in ("test_data", "val", "image_size", "skip_bad", "data_root")}
    source = trained["data"]
    if recipe.data.data is not None:
        source, own["test_data"], own["val"] = recipe.data.data, None, None
    root = recipe.data.data_root or own.pop("data_root")
    own.pop("data_root", None)
    splits = read(
        source,
        splits=("test",),
        root=None if root is None else Path(root),
        download=recipe.data.download,
        **own,
    )
    images = splits.test
    _require_classes(images.classes, net.classes, splits.source)
    precision = trained["precision"] if target.precision == "auto" else target.precision
    accelerator = make_accelerator(Run(device=target.device, precision=precision), run)
    fetch = Fetch(
        images,
        mean=net.mean,
        std=net.std,
        train=False,
        image_size=trained["image_size"],
        channels_last=trained["channels_last"],
    )
    if trained["channels_last"]:
        net = net.to(memory_format=torch.channels_last)
    figures = classification(
        accelerator.prepare_model(net, evaluation_mode=True),
        in_order(fetch, len(images), batch_size=target.eval_batch_size or trained["batch_size"]),
        accelerator,
    )
    return {
        "event": "eval",
        "run": str(run),
        "which": target.which,
        "split": "test",
        **figures,
        "images": len(images),
        "arch": net.card["arch"],
        "module": net.card["module"],
        "parameters": sum(p.numel() for p in net.parameters()),
        "precision": precision,
        "data": splits.source,
        "data_sha256": images.sha256(),
        "data_note": images.note,
    }


def _require_classes(found: tuple[str, ...], known: tuple[str, ...], source: str) -> None:
    if found == known:
        return
    pairs = zip(found, known, strict=False)
    differing = next(((a, b) for a, b in pairs if a != b), ("nothing", "more classes"))
    raise DataError(
        f"{source} has {len(found)} classes and the network {len(known)}; the first that differs "
        f"is {differing[0]!r} for {differing[1]!r}",
        hint="--data with the classes of the training",
    )
