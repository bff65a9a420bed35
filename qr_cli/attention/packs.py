"""Packed npz files: JPEG packs, arrays, and train and test in one file.

(a) `data` uint8 (bytes of all JPEG files), `offset` (n+1), `y` (n); (b) `data` uint8 (n, H, W, 3),
`y`; (c) `x_train y_train x_test y_test`. Optional: `classes` or `words`, `name` (n), `box` (n, 4)
= x0, y0, x1, y1 with inclusive corners. Other keys are ignored. Files are read without pickle; the
cheap facts are read from array headers alone, so that `peek` does not touch the images.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from qr_cli.attention.boxes import Boxes, centre_view
from qr_cli.attention.data import ImageSet, Settings, difference
from qr_cli.engine.arrays import read_entry, read_header
from qr_cli.engine.damage import FAULTS, reason
from qr_cli.engine.pictures import NO_PICTURE
from qr_cli.errors import DataError, EnvironmentFault, UsageError

Array = NDArray[Any]

NOTE_CIFAR = "JPEG copy of CIFAR-10: not comparable with published CIFAR-10 figures"
_CIFAR10 = {
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
}


class Packs:
    """The data source ``npz:FILE`` (one pack) or ``npz:FOLDER`` (train*.npz and test*.npz)."""

    augment = "crop-flip"
    normalize = "data"
    exact_names = True

    def __init__(self, place: str | None, options: Mapping[str, Any], settings: Settings) -> None:
        if not place or options:
            raise UsageError("npz takes a path and no options", hint="--data npz:FILE")
        self.settings = settings
        self.name = f"npz:{place}"
        self.parts = _parts(Path(place).expanduser())
        self.counts = {split: len(part.y) for split, part in self.parts.items()}
        lists = {s: p.classes for s, p in self.parts.items() if p.classes is not None}
        self.named = bool(lists)
        first = next(iter(self.parts.values()))
        count = int(first.y.max()) + 1 if len(first.y) else 0
        self.classes = next(iter(lists.values())) if lists else tuple(map(str, range(count)))
        for split, names in lists.items():
            if fault := difference(self.classes, names):
                raise DataError(f"{self.name} ({split}): the lists of classes differ: {fault}")
        for part in self.parts.values():
            _check_range(part, len(self.classes))
        side = settings.image_size
        self.size = (side, side) if side else first.first_size()

    def labels(self, split: str) -> Tensor:
        """Return the classes of a split, int64 (n,)."""
        return torch.from_numpy(self.parts[split].y.copy())

    def load(self, split: str, rows: Tensor | None = None) -> ImageSet:
        """Decode a split, or only its `rows`, into one tensor (n, 3, H, W)."""
        part = self.parts[split]
        chosen = np.arange(len(part.y)) if rows is None else rows.numpy()
        need = len(chosen) * 3 * self.size[0] * self.size[1]
        if need > self.settings.memory_limit:
            raise EnvironmentFault(
                f"{part.path}: {len(chosen)} decoded images need {need / 2**30:.1f} GiB, "
                f"the limit is {self.settings.memory_limit / 2**30:.1f} GiB",
                hint="--memory-limit, --limit-train N, or a folder of image files",
            )
        images, original = part.decode(chosen, self.size, self.settings.image_size)
        names = part.optional("name")
        return ImageSet(
            images,
            torch.from_numpy(part.y[chosen]),
            self.classes,
            boxes=_boxes(part, chosen, original, images),
            names=None if names is None else tuple(str(names[i]) for i in chosen),
            note=NOTE_CIFAR if part.lossy and set(self.classes) == _CIFAR10 else None,
            original=original,
        )


@dataclass(frozen=True, eq=False)
class _Pack:
    """One set of images in a file: `x` and `y` are keys, `labels` the checked classes."""

    path: Path
    x: str
    y: Array
    classes: tuple[str, ...] | None
    offset: Array | None

    @property
    def lossy(self) -> bool:
        return self.offset is not None

    def optional(self, key: str) -> Array | None:
        """Return an array with one entry per image; packs of form (c) have none."""
        if self.x != "data":
            return None
        found = _read(self.path, key)
        if found is not None and len(found) != len(self.y):
            raise DataError(f"{self.path}: {key!r} has {len(found)} entries for {len(self.y)} rows")
        return found

    def first_size(self) -> tuple[int, int]:
        """Return (H, W) of the first image from headers alone."""
        if self.offset is None:
            shape, _ = _header(self.path, self.x)
            return shape[1], shape[2]
        if len(self.y) == 0:
            raise DataError(f"{self.path}: the pack is empty")
        with _opened(self.path, self.x) as stream:
            read_header(stream)
            stream.read(int(self.offset[0]))
            start = stream.read(int(self.offset[1] - self.offset[0]))
        with _jpeg(start, self.path, 0) as image:
            return image.height, image.width

    def decode(
        self, rows: Array, size: tuple[int, int], image_size: int | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return images (n, 3, H, W) uint8, and their former sizes if they were resized."""
        x = _read(self.path, self.x)
        assert x is not None
        if self.offset is None and x.shape[1:3] == size:
            return torch.from_numpy(x[rows]).permute(0, 3, 1, 2).contiguous(), None
        out = np.empty((len(rows), *size, 3), np.uint8)
        former = np.empty((len(rows), 2), np.int64)
        for i, row in enumerate(rows):
            if self.offset is None:
                image = Image.fromarray(x[row])
            else:
                piece = x[self.offset[row] : self.offset[row + 1]]
                image = _jpeg(piece.tobytes(), self.path, int(row))
            former[i] = image.height, image.width
            out[i] = self.pixels(image, int(row), size, image_size)
        resized = bool((former != np.array(size)).any())
        tensor = torch.from_numpy(out).permute(0, 3, 1, 2).contiguous()
        return tensor, torch.from_numpy(former) if resized else None

    def pixels(
        self, image: Image.Image, row: int, size: tuple[int, int], image_size: int | None
    ) -> Array:
        """Decode one image to RGB of the size of the set, (H, W, 3)."""
        try:
            image = image if image.mode == "RGB" else image.convert("RGB")
            if (image.height, image.width) == size:  # tobytes: half the cost of np.asarray
                return np.frombuffer(image.tobytes(), np.uint8).reshape(*size, 3)
        except NO_PICTURE as error:
            raise _undecodable(self.path, row, error) from error
        if image_size is None:
            raise DataError(
                f"{self.path}: image {row} has {image.height}x{image.width} pixels, "
                f"image 0 has {size[0]}x{size[1]}",
                hint=f"--image-size {min(size)}",
            )
        return np.asarray(resized(image, short=image_size, crop=image_size))


def resized(image: Image.Image, *, short: int, crop: int) -> Image.Image:
    """Scale the short side to `short` and cut the centre out (as torchvision on PIL images)."""
    view = centre_view((image.height, image.width), short=short, crop=crop)
    if view.resized != view.size:
        image = image.resize((view.resized[1], view.resized[0]), Image.Resampling.BILINEAR)
    return image.crop((view.left, view.top, view.left + crop, view.top + crop))


def _parts(path: Path) -> dict[str, _Pack]:
    """Find the packs of a file or folder by split."""
    if not path.exists():
        raise DataError(f"{path}: no such file or folder", hint="qr list data")
    if path.is_dir():
        found = {}
        for split in ("train", "test"):
            files = sorted(path.glob(f"{split}*.npz"))
            if len(files) != 1:
                names = ", ".join(f.name for f in sorted(path.glob("*.npz"))) or "none"
                raise DataError(
                    f"{path}: one {split}*.npz is needed, there are {len(files)} (found: {names})",
                    hint="--data npz:TRAIN_FILE --test-data npz:TEST_FILE",
                )
            found[split] = _pack(files[0], "data", "y")
        return found
    keys = _keys(path)
    if "x_train" in keys:
        found = {"train": _pack(path, "x_train", "y_train")}
        if "x_test" in keys:
            found["test"] = _pack(path, "x_test", "y_test")
        return found
    return {"all": _pack(path, "data", "y")}


def _pack(path: Path, x: str, y: str) -> _Pack:
    """Check keys and lengths of one set of images, without reading the images."""
    keys = _keys(path)
    shape, dtype = _header(path, x)
    if dtype != np.uint8:
        raise DataError(f"{path}: {x!r} should be uint8, got {dtype}")
    labels = _read(path, y)
    if labels is None:
        raise DataError(f"{path}: the key {y!r} is missing", hint=f"found: {', '.join(keys)}")
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(f"{path}: {y!r} should hold whole numbers in one row, got {labels.dtype}")
    if len(shape) == 4 and shape[3] == 3:
        offset, count = None, shape[0]
    elif len(shape) == 1 and x == "data":
        offset = _offsets(path, shape[0])
        count = len(offset) - 1
    else:
        raise DataError(f"{path}: {x!r} should be (n, H, W, 3) or JPEG bytes, got shape {shape}")
    if count != len(labels):
        raise DataError(f"{path}: {y!r} has {len(labels)} entries for {count} images")
    return _Pack(path, x, labels.astype(np.int64), _classes(path), offset)


def _offsets(path: Path, length: int) -> Array:
    offset = _read(path, "offset")
    if offset is None:
        raise DataError(f"{path}: the key 'offset' is missing", hint="JPEG bytes need offsets")
    if offset.ndim != 1 or offset.dtype.kind not in "iu" or len(offset) == 0:
        raise DataError(f"{path}: 'offset' should hold n + 1 whole numbers, got {offset.dtype}")
    offset = offset.astype(np.int64)
    bad = np.flatnonzero(np.diff(offset) <= 0)
    if len(bad):
        raise DataError(f"{path}: 'offset' does not increase at index {int(bad[0]) + 1}")
    outside = np.flatnonzero((offset < 0) | (offset > length))
    if len(outside):
        at = int(outside[0])
        raise DataError(f"{path}: 'offset' at index {at} is {offset[at]}, of {length} bytes")
    return offset


def _check_range(pack: _Pack, classes: int) -> None:
    bad = np.flatnonzero((pack.y < 0) | (pack.y >= classes))
    if len(bad):
        at = int(bad[0])
        raise DataError(
            f"{pack.path}: y at index {at} is {pack.y[at]}, outside the {classes} classes",
            hint=f"labels count from 0 to {classes - 1}",
        )


def _boxes(
    pack: _Pack, rows: Array, original: Tensor | None, images: Tensor
) -> tuple[Boxes | None, ...] | None:
    """Return one box per image from `box`, whose corners are inclusive."""
    box = pack.optional("box")
    if box is None:
        return None
    if box.ndim != 2 or box.shape[1] != 4 or box.dtype.kind not in "iu":
        raise DataError(f"{pack.path}: 'box' should be whole numbers (n, 4), got {box.shape}")
    xyxy = torch.from_numpy(box[rows].astype(np.float32)) + torch.tensor([0.0, 0.0, 1.0, 1.0])
    labels = torch.from_numpy(pack.y[rows])
    found = [Boxes(b[None], y[None]) for b, y in zip(xyxy, labels, strict=True)]
    if original is not None:
        side = images.shape[-1]
        found = [
            boxes.seen(centre_view((h, w), short=side, crop=side))
            for boxes, (h, w) in zip(found, original.tolist(), strict=True)
        ]
    return tuple(found)


def _classes(path: Path) -> tuple[str, ...] | None:
    """Return the names of the classes, if the pack gives them."""
    for key in ("classes", "words"):
        names = _read(path, key)
        if names is not None:
            return tuple(str(name) for name in names)
    return None


def _keys(path: Path) -> tuple[str, ...]:
    try:
        with zipfile.ZipFile(path) as archive:
            return tuple(name.removesuffix(".npy") for name in archive.namelist())
    except FAULTS as error:
        raise _damaged(path, error) from error


def _read(path: Path, key: str) -> Array | None:
    """Return one array of a pack, None if it has no such key; never unpickles."""
    if key not in _keys(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            return read_entry(archive, f"{key}.npy")
    except FAULTS as error:
        raise _damaged(path, error, key) from error


def _header(path: Path, key: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and type of an array without reading it."""
    if key not in _keys(path):
        found = ", ".join(_keys(path))
        raise DataError(f"{path}: the key {key!r} is missing", hint=f"found: {found}")
    with _opened(path, key) as stream:
        head = read_header(stream)
    return head.shape, head.dtype


@contextmanager
def _opened(path: Path, key: str) -> Iterator[IO[bytes]]:
    """Open one array of a pack as a stream."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as stream:
            yield stream
    except FAULTS as error:
        if isinstance(error, DataError):
            raise
        raise _damaged(path, error, key) from error


def _jpeg(content: bytes, path: Path, row: int) -> Image.Image:
    try:
        return Image.open(BytesIO(content), formats=("JPEG",))
    except NO_PICTURE as error:
        raise _undecodable(path, row, error) from error


def _undecodable(path: Path, row: int, error: Exception) -> DataError:
    return DataError(
        f"{path}: image {row} does not decode ({reason(error)})", hint="rebuild the pack"
    )


def _damaged(path: Path, error: Exception, key: str = "") -> DataError:
    if "a pickle" in str(error):
        return DataError(f"{path}: {key!r} is {error}", hint="save it as text or numbers")
    return DataError(
        f"{path}: not a whole npz file ({reason(error)})", hint="download or copy the file again"
    )
