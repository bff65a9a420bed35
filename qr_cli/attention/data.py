"""Reading image classification data: one entry point for every source.

A source (`shapes`, `npz`, `folder`, `cifar10`, ...) answers cheap questions first (classes, number
of images, labels) and decodes only the rows it is asked for. From these answers `read` and `peek`
lay the same plan: which rows of which split of which source become train, val and test. `peek`
stops there, `read` decodes.
Shapes: n images, H height, W width, k boxes of an image.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from qr_cli.attention.boxes import Boxes
from qr_cli.attention.grammar import parse_call
from qr_cli.attention.names import SOURCES
from qr_cli.errors import DataError, UsageError

log = logging.getLogger(__name__)

SMALLEST = 8  # pixels: three stages of stride two leave one position
_SPLIT_STREAM = 1 << 33  # keeps the draws of this file apart from those of shapes and crops


@dataclass(frozen=True)
class ImageSet:
    """One split of a data set.

    Attributes:
        images: uint8 (n, 3, H, W) in memory, or the files.
        labels: int64 (n,), the class of each image.
        classes: names of the classes.
        boxes: per image its boxes, or None where nothing is known of it.
        names: file names (relative to the folder of the split), where known.
        textures: int64 (n,), background of each image; shapes only.
        note: what a reader of figures on this set must know.
        original: int64 (n, 2), height and width before reading resized the images (None: as read).
    """

    images: Tensor | tuple[Path, ...]
    labels: Tensor
    classes: tuple[str, ...]
    boxes: tuple[Boxes | None, ...] | None = None
    names: tuple[str, ...] | None = None
    textures: Tensor | None = None
    note: str | None = None
    original: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def sha256(self) -> str:
        """Return the hash of images (bytes of the files, for files) and labels."""
        digest = hashlib.sha256()
        if isinstance(self.images, Tensor):
            digest.update(repr(tuple(self.images.shape)).encode())
            digest.update(self.images.contiguous().numpy().data)
        else:
            for path in self.images:
                digest.update(path.read_bytes())
        digest.update(self.labels.to(torch.int64).contiguous().numpy().data)
        return digest.hexdigest()


@dataclass(frozen=True)
class Splits:
    """What a run reads; `source` is the canonical text of ``--data``.

    Without a test split of its own, ``--val SHARE`` alone gives both `val` and `test`.
    """

    source: str
    train: ImageSet | None
    test: ImageSet
    val: ImageSet | None = None
    test_context: ImageSet | None = None


@dataclass(frozen=True)
class Summary:
    """What can be said without decoding an image; `size` is that of the first one, (H, W)."""

    train: int
    test: int
    classes: tuple[str, ...]
    size: tuple[int, int]


@dataclass(frozen=True)
class Settings:
    """How images are read, whatever their source."""

    root: Path
    download: bool = False
    image_size: int | None = None
    memory_limit: int = 4 * 2**30
    skip_bad: bool = False


class Source(Protocol):
    """What stands behind a name of the table: called with (place, options, settings).

    Attributes:
        name: canonical text. classes: names of the classes; `named` tells whether the data give
            them or they are only numbered.
        counts: images per split: "train", "test", "test_context", or "all" for data in one piece.
        size: (H, W) of the first image as it will be read.
        exact_names: the label is a position in `classes`, so two sources must agree on the list;
            otherwise classes are found by name.
        augment, normalize: what "auto" means for this source.
    """

    name: str
    classes: tuple[str, ...]
    named: bool
    exact_names: bool
    counts: Mapping[str, int]
    size: tuple[int, int]
    augment: str
    normalize: str

    def labels(self, split: str) -> Tensor:
        """Return int64 (n,) without decoding images."""

    def load(self, split: str, rows: Tensor | None = None) -> ImageSet:
        """Decode a split, or only its `rows`."""


def read(
    source: str,
    *,
    splits: Sequence[str] = ("train", "test"),
    test_data: str | None = None,
    val: str | float | None = None,
    limit_train: int | None = None,
    root: Path | None = None,
    download: bool = False,
    seed: int = 0,
    image_size: int | None = None,
    memory_limit: int = 4 * 2**30,
    skip_bad: bool = False,
) -> Splits:
    """Read the splits that are asked for, and no other.

    Args:
        source: as in ``--data``: a path, or a call such as ``shapes(context=0.6)``.
        splits: of "train", "test", "test_context"; "test" is always read.
        test_data: another source to test on.
        val: a stratified share of the training images, or a source of its own.
        limit_train: the first N training images in stratified order.
        root: folder of the downloaded sets; default ``$QR_DATA`` or the user's cache folder.
        download: fetch what is absent.
        seed: of the validation share and the stratified order.
        image_size: resize to this side (short side to 256/224 of it, centre crop).
        memory_limit: bytes of decoded images that may be held.
        skip_bad: leave out files that do not decode instead of stopping.

    Raises:
        DataError: data absent, damaged or contradictory; the message names the value.
        UsageError: a source or share that cannot be meant.
    """
    settings = Settings(root or data_root(), download, image_size, memory_limit, skip_bad)
    plan = _plan(source, splits, test_data, val, limit_train, settings, seed)
    sets: dict[str, ImageSet] = {}
    for role, part in plan.parts.items():
        twin = next((r for r in sets if plan.parts[r] is part), None)
        sets[role] = sets[twin] if twin else _load(part, plan.classes)
    return Splits(
        plan.name, sets.get("train"), sets["test"], sets.get("val"), sets.get("test_context")
    )


def peek(
    source: str,
    *,
    splits: Sequence[str] = ("train", "test"),
    test_data: str | None = None,
    val: str | float | None = None,
    limit_train: int | None = None,
    root: Path | None = None,
    download: bool = False,
    seed: int = 0,
    image_size: int | None = None,
    memory_limit: int = 4 * 2**30,
    skip_bad: bool = False,
) -> Summary:
    """Return what `read` would find, without decoding or downloading (arguments as there)."""
    settings = Settings(root or data_root(), download, image_size, memory_limit, skip_bad)
    plan = _plan(source, splits, test_data, val, limit_train, settings, None)
    train = plan.parts.get("train")
    return Summary(len(train) if train else 0, len(plan.parts["test"]), plan.classes, plan.size)


def open_source(text: str, settings: Settings) -> Source:
    """Return the source that `text` names: an existing path, ``kind:path`` or a call.

    Raises:
        DataError: a path that is no data, or absent data.
        UsageError: an unknown name or option.
    """
    kind, place, options = resolve(text)
    source: Source = kind(place, options, settings)
    if place == text:
        log.info("--data %s is read as %s", text, source.name)
    return source


def resolve(text: str) -> tuple[Any, str | None, dict[str, Any]]:
    """Return class, path and options of a source without opening the data."""
    if Path(text).expanduser().exists():
        return SOURCES.load(_recognize(Path(text).expanduser())), text, {}
    kind, colon, place = text.partition(":")
    if colon and kind.strip().lower() in SOURCES:
        return SOURCES.load(kind.strip().lower()), place.strip(), {}
    if ("/" in text or "\\" in text) and "(" not in text:
        raise DataError(f"{text}: no such file or folder", hint="qr list data")
    node = parse_call(text)
    if node.args:
        raise UsageError(f"{text!r}: a data source takes key=value options only")
    return SOURCES.load(node.name), None, dict(node.options)


def data_root() -> Path:
    """Return ``$QR_DATA``, or the folder of this program in the user's cache folder."""
    if given := os.environ.get("QR_DATA"):
        return Path(given).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "qr" / "data"


def stratified_order(labels: Tensor, seed: int) -> Tensor:
    """Return an order of the images of which every beginning has the classes in proportion.

    Each class is shuffled by the data seed; its j-th image of m stands at (j + 1/2)/m. Images of
    several classes at one place follow a shuffled order of classes, drawn once.

    Returns:
        int64 (n,), a permutation. Source: ours.
    """
    y = labels.numpy()
    generator = np.random.Generator(
        np.random.Philox(key=np.array([seed, _SPLIT_STREAM], np.uint64))
    )
    shuffled = generator.permutation(len(y))
    rank = np.empty(len(y))
    for c in np.unique(y):
        members = shuffled[y[shuffled] == c]
        rank[members] = (np.arange(len(members)) + 0.5) / len(members)
    classes = generator.permutation(int(y.max()) + 1 if len(y) else 0)
    return torch.from_numpy(np.lexsort((classes[y], rank)))


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of a split of a source; None is all of them."""

    source: Source
    split: str
    rows: Tensor | None = None

    def __len__(self) -> int:
        return self.source.counts[self.split] if self.rows is None else len(self.rows)


class _Plan(NamedTuple):
    name: str
    classes: tuple[str, ...]
    size: tuple[int, int]
    parts: dict[str, Part]


def _plan(
    text: str,
    splits: Sequence[str],
    test_data: str | None,
    val: str | float | None,
    limit_train: int | None,
    settings: Settings,
    seed: int | None,
) -> _Plan:
    """Decide which rows of which source become train, val, test and test_context.

    Without a seed the rows are right in number only, and no label is read.
    """
    main = open_source(text, settings)
    share = _share(val)
    learn = "train" if "train" in main.counts else "all"
    if learn not in main.counts and ("train" in splits or share):
        raise DataError(f"{main.name} has no training part", hint="--data SOURCE --test-data ...")
    parts: dict[str, Part] = {}
    rest: Tensor | None = None
    if share or limit_train is not None:
        order = torch.arange(main.counts[learn])
        if seed is not None:
            order = stratified_order(main.labels(learn), seed)
        cut = round((share or 0) * len(order))
        if share:
            if not 0 < cut < len(order):
                raise DataError(f"--val {share:g} of {len(order)} images leaves one side empty")
            parts["val"] = Part(main, learn, order[:cut].sort().values)
        rest = order[cut:][:limit_train].sort().values
    if isinstance(val, str) and share is None:
        parts["val"] = _other(main, val, settings, "--val")
    if "train" in splits:
        parts["train"] = Part(main, learn, rest)
    if test_data is not None:
        parts["test"] = _other(main, test_data, settings, "--test-data")
    elif "test" in main.counts:
        parts["test"] = Part(main, "test")
    elif "val" in parts:
        parts["test"] = parts["val"]
    elif "train" not in splits:
        parts["test"] = Part(main, learn)
    else:
        raise DataError(f"{main.name} has no test part", hint="add --val 0.1 or --test-data SOURCE")
    if "test_context" in splits and "test_context" in main.counts:
        parts["test_context"] = Part(main, "test_context")
    for source in {part.source for part in parts.values()}:
        if min(source.size) < SMALLEST:
            shown = "x".join(map(str, source.size))
            raise DataError(
                f"{source.name}: images of {shown} pixels are smaller than {SMALLEST}x{SMALLEST}",
                hint="--image-size 32",
            )
    return _Plan(main.name, main.classes, main.size, parts)


def _share(val: str | float | None) -> float | None:
    """Return `val` as a share of the images if it is a number."""
    try:
        share = float(val) if val is not None else None
    except ValueError:
        return None
    if share is not None and not 0 < share < 1:
        raise UsageError(f"--val {share:g}: a share lies between 0 and 1", hint="--val 0.1")
    return share


def _other(main: Source, text: str, settings: Settings, flag: str) -> Part:
    """Open a source beside the main one and compare their classes."""
    other = open_source(text, settings)
    same_classes(main, other, flag)
    split = next(s for s in ("test", "all", "train") if s in other.counts)
    return Part(other, split)


def same_classes(main: Source, other: Source, what: str) -> None:
    """Refuse data whose classes the training data do not have."""
    ours, theirs = main.classes, other.classes
    if not (main.named and other.named):
        if len(theirs) > len(ours):
            raise DataError(
                f"{what}: y reaches {len(theirs) - 1}, training has {len(ours)} classes"
            )
        return
    extra = [name for name in theirs if name not in ours]
    if extra:
        raise DataError(
            f"{what}: {len(extra)} of {len(theirs)} classes are not in the training data, "
            f"the first is {extra[0]!r}",
            hint=f"training has {len(ours)} classes: {', '.join(ours[:5])} ...",
        )
    fault = difference(ours, theirs)
    if fault and main.exact_names and other.exact_names:
        raise DataError(f"{what}: the lists of classes differ: {fault}")


def difference(ours: tuple[str, ...], theirs: tuple[str, ...]) -> str | None:
    """Return in words where two lists of classes first differ, None if they are equal."""
    for number, (a, b) in enumerate(zip(ours, theirs, strict=False)):
        if a != b:
            return f"class {number} is {a!r} and {b!r}"
    return None if ours == theirs else f"{len(ours)} and {len(theirs)} names"


def _load(part: Part, classes: tuple[str, ...]) -> ImageSet:
    """Decode a part and number its labels as in `classes`."""
    found = part.source.load(part.split, part.rows)
    labels, boxes = found.labels, found.boxes
    if found.classes == classes:
        return found
    if part.source.named and set(found.classes) <= set(classes):
        table = torch.tensor([classes.index(name) for name in found.classes])
        labels = table[labels]
        boxes = boxes and tuple(b and b.renumbered(table) for b in boxes)
    return replace(found, labels=labels, classes=classes, boxes=boxes)


def _recognize(path: Path) -> str:
    """Return the kind of source an existing path is."""
    if path.is_dir():
        return "npz" if any(path.glob("*.npz")) else "folder"
    if path.suffix.lower() == ".npz":
        return "npz"
    raise DataError(f"{str(path)!r} is neither a folder nor an npz file", hint="qr list data")
