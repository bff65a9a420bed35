"""A trained network with the images it is asked about: what every evaluation begins with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from qr_cli.attention.augment import Fetch
from qr_cli.attention.boxes import read_boxes
from qr_cli.attention.data import ImageSet, Splits, read
from qr_cli.attention.load import load
from qr_cli.attention.metrics import classification
from qr_cli.attention.recipe import AttentionEval
from qr_cli.attention.trace import Batches
from qr_cli.engine.accelerator import make_accelerator
from qr_cli.engine.loader import in_order
from qr_cli.engine.recipe import Run
from qr_cli.errors import DataError

Record = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Subject:
    """A network and its test images.

    Attributes:
        folder: the run or checkpoint.
        net: the network, in evaluation mode, with its card; on the accelerator's device.
        images: the test images, with boxes where `--bias` named a file of them.
        source: canonical text of the data.
        settings: how the run read its data (see `data.read`).
        batch_size: images per step.
        precision: arithmetic of the evaluation.
        accelerator: device and precision.
    """

    folder: Path
    net: nn.Module
    images: ImageSet
    source: str
    settings: dict[str, Any]
    batch_size: int
    precision: str
    accelerator: Accelerator

    def fetch(self, images: ImageSet) -> Fetch:
        """Return what gives images as the network expects them, not augmented."""
        net: Any = self.net
        trained = net.card["evaluation"]
        return Fetch(
            images,
            mean=net.mean,
            std=net.std,
            train=False,
            image_size=trained["image_size"],
            channels_last=trained["channels_last"],
        )

    def probe(self, size: int) -> Batches:
        """Return the first `size` test images, as often as they are read."""
        limit = min(size, len(self.images))
        return Batches(self.fetch(self.images), limit, batch_size=self.batch_size)

    def calibration(self, size: int) -> Batches:
        """Return the first `size` training images, not augmented."""
        train = read(self.source, splits=("train",), limit_train=size, **self.settings).train
        if train is None:
            raise DataError(f"{self.source} has no training images to take the means over")
        return Batches(self.fetch(train), len(train), batch_size=self.batch_size)

    @cached_property
    def measured(self) -> tuple[dict[str, float], Tensor]:
        """Return top1, top5, loss over the test images, and bool (N,) whether each is right."""
        with torch.no_grad():
            return classification(
                self.accelerator.prepare_model(self.net, evaluation_mode=True),
                in_order(self.fetch(self.images), len(self.images), batch_size=self.batch_size),
                self.accelerator,
            )

    def record(self, which: str) -> Record:
        """Return the record of the run's accuracy."""
        net: Any = self.net
        figures, _ = self.measured
        return {
            "event": "eval",
            "run": str(self.folder),
            "which": which,
            "split": "test",
            **figures,
            "images": len(self.images),
            "arch": net.card["arch"],
            "module": net.card["module"],
            "parameters": sum(p.numel() for p in net.parameters()),
            "precision": self.precision,
            "data": self.source,
            "data_sha256": self.images.sha256(),
            "data_note": self.images.note,
        }


def open_subject(folder: Path, recipe: AttentionEval) -> Subject:
    """Load a run and the images it is asked about.

    Data, precision and batch size are those of the run's own evaluation unless the recipe says
    otherwise, so that the figure of the training's last epoch comes out again.

    Raises:
        WeightsError: the checkpoint cannot be used.
        DataError: the data cannot be used, or has other classes than the network.
    """
    target = recipe.target
    net: Any = load(folder, which=target.which)
    trained = net.card["evaluation"]
    settings = {key: trained[key] for key in ("test_data", "val", "image_size", "skip_bad")}
    source = trained["data"]
    if recipe.data.data is not None:
        source, settings["test_data"], settings["val"] = recipe.data.data, None, None
    root = recipe.data.data_root or trained["data_root"]
    settings["root"] = None if root is None else Path(root)
    settings["download"] = recipe.data.download
    splits = read(source, splits=("test",), **settings)
    _require_classes(splits, net.classes)
    precision = trained["precision"] if target.precision == "auto" else target.precision
    accelerator = make_accelerator(Run(device=target.device, precision=precision), folder)
    if trained["channels_last"]:
        net = net.to(memory_format=torch.channels_last)
    return Subject(
        folder,
        net.to(accelerator.device),
        _boxed(splits.test, recipe),
        splits.source,
        settings,
        target.eval_batch_size or trained["batch_size"],
        precision,
        accelerator,
    )


def _boxed(images: ImageSet, recipe: AttentionEval) -> ImageSet:
    """Return the images with the boxes that ``--bias FILE`` names."""
    where = recipe.bias.bias
    if where is None or where == "boxes":
        return images
    label_map = recipe.bias.label_map
    found = read_boxes(
        Path(where), images, label_map=None if label_map is None else Path(label_map)
    )
    return replace(images, boxes=found.boxes)


def _require_classes(splits: Splits, known: tuple[str, ...]) -> None:
    found = splits.test.classes
    if found == known:
        return
    pairs = zip(found, known, strict=False)
    differing = next(((a, b) for a, b in pairs if a != b), ("nothing", "more classes"))
    raise DataError(
        f"{splits.source} has {len(found)} classes and the network {len(known)}; the first that "
        f"differs is {differing[0]!r} for {differing[1]!r}",
        hint="--data with the classes of the training",
    )
