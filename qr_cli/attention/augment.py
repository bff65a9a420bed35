"""From stored images to normalised batches: crop, flip, random resized crop, evaluation view.

Every random number of an image in an epoch stands in a table of uniforms (image, column) drawn from
a Philox generator keyed (seed, epoch). So the partition into batches, ranks and workers changes
nothing, and a resumed epoch continues as it would have. Crop and flip of a batch in memory are one
gather in uint8, after padding with zeros and before normalisation. The random resized crop is that
of Szegedy et al. 2015 (arXiv 1409.4842) with torchvision's constants.
Shapes: b images of a batch, H height, W width, S side of the crop.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log, sqrt
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad as zero_pad

from qr_cli.attention.boxes import Boxes, centre_view
from qr_cli.attention.data import ImageSet, resolve
from qr_cli.attention.folders import decode
from qr_cli.attention.grammar import parse_call
from qr_cli.attention.packs import resized
from qr_cli.errors import DataError, UsageError, near

Normalize = Literal["auto", "cifar", "imagenet", "half", "data"]
Triple = tuple[float, float, float]

NORMALS: dict[str, tuple[Triple, Triple]] = {
    "cifar": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),  # std: mean of image stds
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "shapes": ((0.5, 0.5, 0.5), (0.165, 0.165, 0.165)),
}
_OPTIONS = {"crop-flip": ("pad", "crop"), "flip": (), "none": (), "imagenet": ()}
_FILE_SIDE = 224  # of images that stay files, unless --image-size says otherwise
_STREAM = 1 << 32  # keeps these draws apart from those of generated images
_ATTEMPTS = 10
_AREA, _RATIO = (0.08, 1.0), (3 / 4, 4 / 3)
_SAMPLE = 2_000  # files whose pixels stand for the training set in normalization "data"


def augment_for(source: str) -> str:
    """Return what ``--augment auto`` means for a source, as text for `Fetch`."""
    kind, _, options = resolve(source)
    chosen = getattr(kind, "augment_with", None)
    return str(chosen(options) if chosen else kind.augment)


def normalization(
    source: str, train_set: ImageSet | None, choice: Normalize = "auto"
) -> tuple[Triple, Triple]:
    """Return mean and standard deviation per channel, in units of the range [0, 1].

    Args:
        source: as in ``--data``; decides what "auto" is.
        train_set: needed for "data": its own figures (of at most 2,000 images where they stay
            files, spread evenly).
        choice: which figures; "half" is 0.5 and 0.5.

    Raises:
        ValueError: "data" without a training set.
    """
    kind = str(resolve(source)[0].normalize) if choice == "auto" else choice
    if kind != "data":
        return NORMALS[kind]
    if train_set is None:
        raise ValueError("normalization 'data' needs the training images")
    return _moments(train_set)


class Fetch:
    """Batches of a set by image number; pure, picklable.

    The same (indices, epoch) always gives the same batch.

    Args:
        images: the set.
        augment: "crop-flip", "crop-flip(pad=4,crop=32)", "flip", "none", "imagenet".
        pad: zeros around an image before it is cropped; an option of `augment` wins.
        mean, std: per channel, in units of the range [0, 1].
        seed: of the augmentation.
        train: whether to augment. If not, images in memory come as they are, files with the short
            side at 256/224 of `image_size` and the centre cut out.
        image_size: side of the training crop; of the view, for files (None: as stored, 224).
        channels_last: memory format of the batch.

    Raises:
        UsageError: an unknown augmentation. DataError: images smaller than the crop.
    """

    def __init__(
        self,
        images: ImageSet,
        *,
        augment: str = "none",
        pad: int = 4,
        mean: Sequence[float],
        std: Sequence[float],
        seed: int = 0,
        train: bool,
        image_size: int | None = None,
        channels_last: bool = False,
    ) -> None:
        self.images = images
        self.kind, options = _augmentation(augment) if train else ("none", {})
        self.pad = int(options.get("pad", pad)) if self.kind == "crop-flip" else 0
        self.in_memory = isinstance(images.images, Tensor)
        if isinstance(images.images, Tensor):
            stored = (int(images.images.shape[2]), int(images.images.shape[3]))
            asked = image_size if train and self.kind in ("crop-flip", "imagenet") else None
        else:
            stored, asked = (image_size or _FILE_SIDE,) * 2, image_size or _FILE_SIDE
        crop = options.get("crop", asked)
        self.crop = (crop, crop) if crop else stored
        if self.kind == "crop-flip" and max(
            a - b for a, b in zip(self.crop, stored, strict=True)
        ) > (2 * self.pad):
            raise DataError(
                f"images of {stored[0]}x{stored[1]} pixels are smaller than the crop "
                f"{self.crop[0]}x{self.crop[1]} with {self.pad} pixels around",
                hint=f"--image-size {min(stored)}",
            )
        self.side = stored[0]
        self.seed = seed
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        spread = 255 * torch.tensor(std, dtype=torch.float64)
        self.scale = (1 / spread).float().view(1, 3, 1, 1)
        shift = -255 * torch.tensor(mean, dtype=torch.float64) / spread
        self.shift = shift.float().view(1, 3, 1, 1)
        self._drawn: tuple[tuple[int, int], Tensor] | None = None

    def __call__(self, indices: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """Return images float32 (b, 3, H, W), normalised, and labels int64 (b,)."""
        if self.kind == "imagenet":
            batch = self._random_resized(indices, epoch)
        else:
            batch = self._stored(indices)
            if self.kind != "none":
                batch = self._crop_flip(batch, indices, epoch)
        pixels = batch.float().mul_(self.scale).add_(self.shift)
        return pixels.contiguous(memory_format=self.memory_format), self.images.labels[indices]

    def boxes(self, indices: Tensor) -> list[Boxes | None]:
        """Return the boxes of images as an unaugmented batch shows them, in its pixels."""
        found = [self.images.boxes[i] if self.images.boxes else None for i in indices.tolist()]
        if isinstance(self.images.images, Tensor):
            return found
        seen: list[Boxes | None] = []
        for index, boxes in zip(indices.tolist(), found, strict=True):
            if boxes is None:
                seen.append(None)
                continue
            with Image.open(self.images.images[index]) as image:
                size = (image.height, image.width)
            seen.append(boxes.seen(centre_view(size, short=_short(self.side), crop=self.side)))
        return seen

    def uniforms(self, indices: Tensor, epoch: int, columns: int) -> Tensor:
        """Return rows of the table of an epoch, float64 (b, columns), columns a multiple of 4.

        In memory the table is drawn whole, once an epoch; for files row by row, by setting the
        counter of the generator to where the row begins (four numbers per count).
        """
        key = np.array([self.seed, _STREAM + epoch], np.uint64)
        if self.in_memory:
            if self._drawn is None or self._drawn[0] != (epoch, columns):
                table = np.random.Generator(np.random.Philox(key=key)).random(
                    (len(self.images), columns)
                )
                self._drawn = ((epoch, columns), torch.from_numpy(table))
            return self._drawn[1][indices]
        rows = [
            np.random.Generator(np.random.Philox(key=key, counter=i * columns // 4)).random(columns)
            for i in indices.tolist()
        ]
        return torch.from_numpy(np.stack(rows)) if rows else torch.empty(0, columns)

    def _stored(self, indices: Tensor) -> Tensor:
        """Return images as stored, or the evaluation view of files, uint8 (b, 3, H, W)."""
        if isinstance(self.images.images, Tensor):
            return self.images.images[indices]
        short = _short(self.side)
        return _stack(
            [
                resized(decode(self.images.images[i]), short=short, crop=self.side)
                for i in indices.tolist()
            ],
            self.side,
        )

    def _crop_flip(self, batch: Tensor, indices: Tensor, epoch: int) -> Tensor:
        """Cut a window out of each padded image and mirror half of them, in one gather."""
        flip, top, left, _ = self.uniforms(indices, epoch, 4).unbind(1)
        if self.kind == "flip":
            return torch.where((flip < 0.5).view(-1, 1, 1, 1), batch.flip(3), batch)
        if self.pad:
            batch = zero_pad(batch, (self.pad,) * 4)
        height, width = batch.shape[2:]
        h, w = self.crop
        rows = (top * (height - h + 1)).long()[:, None] + torch.arange(h)
        across = torch.arange(w)
        columns = torch.where((flip < 0.5)[:, None], w - 1 - across, across)
        columns = columns + (left * (width - w + 1)).long()[:, None]
        place = (rows * width)[:, :, None] + columns[:, None, :]  # (b, h, w)
        place = place.view(-1, 1, h * w).expand(-1, 3, -1)
        return batch.view(len(batch), 3, -1).gather(2, place).view(-1, 3, h, w)

    def _random_resized(self, indices: Tensor, epoch: int) -> Tensor:
        """Return random resized crops, mirrored at random, uint8 (b, 3, S, S)."""
        side = self.crop[0]
        table = self.uniforms(indices, epoch, 4 + 2 * _ATTEMPTS).numpy()
        out = []
        for index, row in zip(indices.tolist(), table, strict=True):
            if isinstance(self.images.images, Tensor):
                image = Image.fromarray(self.images.images[index].permute(1, 2, 0).numpy())
            else:
                image = decode(self.images.images[index])
            top, left, height, width = resized_crop_window(image.height, image.width, row)
            image = image.crop((left, top, left + width, top + height))
            image = image.resize((side, side), Image.Resampling.BILINEAR)
            flipped = row[0] < 0.5
            out.append(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flipped else image)
        return _stack(out, side)


def resized_crop_window(
    height: int, width: int, row: NDArray[np.float64]
) -> tuple[int, int, int, int]:
    """Return top, left, height, width of a random window.

    Its area is a share in [0.08, 1] of the image and its aspect ratio in [3/4, 4/3], uniform in the
    logarithm; after ten attempts that do not fit, the largest centred window of a valid ratio.

    Args:
        height: of the image.
        width: of the image.
        row: uniforms; columns 1 and 2 place the window, 4 ... 23 are the attempts.
    """
    low, high = (log(r) for r in _RATIO)
    for area_draw, ratio_draw in row[4:].reshape(_ATTEMPTS, 2):
        area = height * width * (_AREA[0] + (_AREA[1] - _AREA[0]) * area_draw)
        ratio = exp(low + (high - low) * ratio_draw)
        w, h = round(sqrt(area * ratio)), round(sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(row[1] * (height - h + 1)), int(row[2] * (width - w + 1)), h, w
    ratio = min(max(width / height, _RATIO[0]), _RATIO[1])
    w, h = min(width, round(height * ratio)), min(height, round(width / ratio))
    return (height - h) // 2, (width - w) // 2, h, w


def _augmentation(text: str) -> tuple[str, dict[str, int]]:
    """Return name and options of an augmentation."""
    node = parse_call(text)
    if node.name not in _OPTIONS:
        raise UsageError(
            f"unknown augmentation {text!r}{near(node.name, _OPTIONS)}",
            hint=f"--augment {'|'.join(_OPTIONS)}",
        )
    options: dict[str, int] = {}
    for key, value in node.options:
        least = {"pad": 0, "crop": 1}.get(key, 0)
        if key not in _OPTIONS[node.name] or type(value) is not int or value < least:
            known = ", ".join(_OPTIONS[node.name]) or "none"
            raise UsageError(f"augmentation {text!r}: bad option {key!r}", hint=f"options: {known}")
        options[key] = value
    return node.name, options


def _short(side: int) -> int:
    """Return the length to which the short side is scaled before `side` is cut out."""
    return round(side * 256 / 224)


def _stack(images: list[Image.Image], side: int) -> Tensor:
    """Return images as one tensor, uint8 (b, 3, S, S)."""
    out = np.empty((len(images), side, side, 3), np.uint8)
    for i, image in enumerate(images):
        out[i] = np.asarray(image)
    return torch.from_numpy(out).permute(0, 3, 1, 2).contiguous()


def _moments(images: ImageSet) -> tuple[Triple, Triple]:
    """Return mean and standard deviation per channel over all pixels."""
    total, square, count = torch.zeros(3).double(), torch.zeros(3).double(), 0
    step = 1 if isinstance(images.images, Tensor) else max(1, len(images) // _SAMPLE)
    chosen = torch.arange(0, len(images), step)
    view = Fetch(images, mean=(0, 0, 0), std=(1, 1, 1), train=False)
    for start in range(0, len(chosen), 500):
        indices = chosen[start : start + 500]
        pixels = view(indices, 0)[0]
        total += pixels.sum((0, 2, 3)).double()
        square += pixels.square().sum((0, 2, 3)).double()
        count += pixels.numel() // 3
    mean = total / count
    std = (square / count - mean * mean).clamp(min=1e-8).sqrt()
    return _triple(mean), _triple(std)


def _triple(values: Tensor) -> Triple:
    a, b, c = (round(v, 6) for v in values.tolist())
    return a, b, c
