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
from qr_cli.attention.bare import adopt, load_bare
from qr_cli.attention.boxes import read_boxes
from qr_cli.attention.data import ImageSet, Settings, Splits, data_root, open_source, read
from qr_cli.attention.eval_recipe import AttentionEval
from qr_cli.attention.load import load
from qr_cli.attention.metrics import classification
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
        place: the run, checkpoint or weights, as it was named.
        net: the network, in evaluation mode, with its card; on the accelerator's device.
        images: the test images, with boxes where `--bias` named a file of them.
        source: canonical text of the data.
        settings: how the data were read (see `data.read`).
        batch_size: images per step.
        precision: arithmetic of the evaluation.
        accelerator: device and precision.
    """

    place: str
    net: nn.Module
    images: ImageSet
    source: str
    settings: dict[str, Any]
    batch_size: int
    precision: str
    accelerator: Accelerator

    @property
    def name(self) -> str:
        """Return what records call it."""
        return short_name(self.place)

    @property
    def input_size(self) -> tuple[int, int, int]:
        """Return channels, height and width of what the network is given."""
        images, _ = self.fetch(self.images)(torch.tensor([0]), 0)
        return images.shape[1], images.shape[2], images.shape[3]

    def fetch(self, images: ImageSet) -> Fetch:
        """Return what gives images as the network expects them, not augmented."""
        net: Any = self.net
        return Fetch(
            images,
            mean=net.mean,
            std=net.std,
            train=False,
            image_size=self.settings["image_size"],
            channels_last=net.card["evaluation"]["channels_last"],
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
        """Return top1, top5, loss over the test images, and bool (N,) whether each is right.

        In the run's precision; afterwards the network computes in float32 again.
        """
        batches = in_order(self.fetch(self.images), len(self.images), batch_size=self.batch_size)
        model = self.accelerator.prepare_model(self.net, evaluation_mode=True)
        with torch.no_grad():
            found = classification(model, batches, self.accelerator)
        self.accelerator.unwrap_model(model, keep_fp32_wrapper=False)  # it wrapped net.forward
        return found

    def record(self, which: str) -> Record:
        """Return the record of the network's accuracy."""
        net: Any = self.net
        figures, _ = self.measured
        return {
            "event": "eval",
            "run": self.place,
            "which": which,
            "split": "test",
            **figures,
            "images": len(self.images),
            "classes": len(net.classes),
            "arch": net.card["arch"],
            "module": net.card["module"],
            "parameters": sum(p.numel() for p in net.parameters()),
            "precision": self.precision,
            "data": self.source,
            "data_sha256": self.images.sha256(),
            "data_note": self.images.note,
        }


def short_name(place: str) -> str:
    """Return the last part of a run's or weights file's path, without a suffix of weights."""
    name = Path(place).name
    return Path(name).stem if name.endswith((".safetensors", ".pt", ".pth")) else name


def open_network(place: str, recipe: AttentionEval) -> nn.Module:
    """Load the network of a run, or of the recipe's weights, with its card.

    Raises:
        WeightsError: checkpoint or weights cannot be used.
    """
    if recipe.bare.weights is not None:
        return load_bare(recipe.bare, recipe.data)
    return load(place, which=recipe.target.which)


def open_subject(place: str, net: nn.Module, recipe: AttentionEval) -> Subject:
    """Read the images that a network of `open_network` is asked about.

    Data, precision and batch size are those of the run's own evaluation unless the recipe says
    otherwise, so that the figure of the training's last epoch comes out again.

    Raises:
        DataError: the data cannot be used, have other classes than the network, or lack what is
            asked for: boxes, training images.
    """
    known: Any = net
    target, asked, trained = recipe.target, recipe.data, known.card["evaluation"]
    settings = {key: trained[key] for key in ("test_data", "val", "image_size", "skip_bad")}
    if asked.data is not None:
        settings |= {"test_data": None, "val": None}
    if asked.test_data is not None:
        settings["test_data"] = asked.test_data
    settings["image_size"] = asked.image_size or settings["image_size"]
    root = asked.data_root or trained["data_root"]
    settings["root"] = None if root is None else Path(root)
    settings["download"] = asked.download
    splits = read(asked.data or trained["data"], splits=("test",), **settings)
    images = splits.test
    if hasattr(net, "classes"):
        _require_classes(splits, known.classes)
    else:
        images = adopt(net, images, recipe.bare, source=splits.source)
    if recipe.calibrates:
        _require_training(splits.source, settings)
    precision = trained["precision"] if target.precision == "auto" else target.precision
    accelerator = make_accelerator(Run(device=target.device, precision=precision), Path(place))
    if trained["channels_last"]:
        net = net.to(memory_format=torch.channels_last)
    return Subject(
        place,
        net.to(accelerator.device),
        _boxed(images, recipe),
        splits.source,
        settings,
        target.eval_batch_size or trained["batch_size"],
        precision,
        accelerator,
    )


def _boxed(images: ImageSet, recipe: AttentionEval) -> ImageSet:
    """Return the images with the boxes that ``--bias FILE`` names."""
    where, label_map = recipe.bias.bias, recipe.bias.label_map
    if where is None:
        return images
    if where != "boxes":
        found = read_boxes(
            Path(where), images, label_map=None if label_map is None else Path(label_map)
        )
        return replace(images, boxes=found.boxes)
    if not any(images.boxes or ()):
        raise DataError(
            f"--bias boxes: none of the {len(images)} images has boxes",
            hint="--bias FILE with boxes, or --data shapes",
        )
    return images


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


def _require_training(source: str, settings: dict[str, Any]) -> None:
    """Refuse, before anything is measured, data without a part to take mean gates over."""
    counts = open_source(
        source, Settings(settings["root"] or data_root(), settings["download"])
    ).counts
    if "train" not in counts and not (settings["test_data"] or settings["val"]):
        raise DataError(
            f"--ticket, --stripes-drop: {source} has no training images to take mean gates over",
            hint="--data TRAIN --test-data TEST",
        )
