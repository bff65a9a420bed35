"""Boxes around objects: reading them, matching them to images, following a resize and a crop.

Every box is half-open, x0, y0, x1, y1 in pixels with x1, y1 one past the last pixel. Formats and
their corners: CSV ``image,label,xmin,ymin,xmax,ymax`` (half-open), a folder of Pascal VOC XML
(1-based, inclusive), COCO JSON (x, y, width, height), a JSON list of
``{"file", "width", "height", "objects": [{"category", "xyxy"}]}`` (half-open).
Shapes: k boxes of an image, H height, W width.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree

import torch
from PIL import Image
from torch import Tensor

from qr_cli.engine.damage import damaged
from qr_cli.errors import DataError

if TYPE_CHECKING:
    from qr_cli.attention.data import ImageSet


@dataclass(frozen=True)
class Boxes:
    """Boxes of one image.

    Attributes:
        xyxy: float32 (k, 4), half-open, in pixels.
        labels: int64 (k,), class of each box; -1 where the data name none.
    """

    xyxy: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def renumbered(self, table: Tensor) -> Boxes:
        """Return the boxes with class c called ``table[c]``."""
        known = self.labels >= 0
        return Boxes(self.xyxy, torch.where(known, table[self.labels.clamp(min=0)], self.labels))

    def seen(self, view: View) -> Boxes:
        """Return what is left of the boxes after a resize and a crop."""
        scale = torch.tensor([view.resized[1] / view.size[1], view.resized[0] / view.size[0]] * 2)
        shift = torch.tensor([view.left, view.top] * 2, dtype=torch.float32)
        moved = clip(self.xyxy * scale - shift, *view.crop)
        left = (moved[:, 2:] > moved[:, :2]).all(1)
        return Boxes(moved[left], self.labels[left])


class View(NamedTuple):
    """How an image becomes what a network sees: resize, then cut out (all sizes height, width)."""

    size: tuple[int, int]
    resized: tuple[int, int]
    top: int
    left: int
    crop: tuple[int, int]


def centre_view(size: tuple[int, int], *, short: int, crop: int) -> View:
    """Return the view that scales the short side to `short` and cuts `crop` x `crop` out."""
    low = min(size)
    resized = tuple(short if side == low else int(short * side / low) for side in size)
    top, left = (round((side - crop) / 2) for side in resized)
    return View(size, (resized[0], resized[1]), top, left, (crop, crop))


@dataclass(frozen=True)
class Matched:
    """Boxes found for a set of images, and what was wrong with the others.

    Attributes:
        boxes: per image its boxes, None where the file says nothing of the image.
        matched, unmatched: images with and without an entry.
        clipped: boxes that stood out by more than a pixel; dropped: not finite, inverted, or
            outside; unknown: boxes whose label is no class of the data (left out).
    """

    boxes: tuple[Boxes | None, ...]
    matched: int
    unmatched: int
    clipped: int
    dropped: int
    unknown: int


class _Entry(NamedTuple):
    """What a box file says of one image: its name, objects (label, corners), stated (W, H)."""

    name: str
    objects: list[tuple[str, tuple[float, float, float, float]]]
    size: tuple[int, int] | None = None


def clip(xyxy: Tensor, height: int, width: int) -> Tensor:
    """Cut boxes (k, 4) at the borders of an image."""
    return torch.minimum(xyxy.clamp(min=0), torch.tensor([width, height] * 2, dtype=xyxy.dtype))


def read_boxes(path: Path, images: ImageSet, *, label_map: Path | None = None) -> Matched:
    """Read a box file and match it to images by file name (stem), or by row where none is known.

    Args:
        path: a file or folder in one of the four formats.
        images: with classes, and names of files unless the file counts rows from 0.
        label_map: CSV ``theirs,ours`` for labels that are no class names.

    Returns:
        `Matched`, in pixels of the images of the set (resized as these were).

    Raises:
        DataError: an unreadable file, no image or no label in common, over half of the boxes bad.
    """
    entries = list(_entries(path))
    place = _places(images)
    rows: dict[int, _Entry] = {}
    for entry in entries:
        if (row := _row(entry.name, place, images)) is not None:
            seen = rows.get(row)
            rows[row] = entry._replace(objects=seen.objects + entry.objects) if seen else entry
    if not rows:
        raise DataError(
            f"{path}: none of its {len(entries)} images is among the {len(images)} of the data",
            hint="--bias FILE with the file names of the data, or --data shapes",
        )
    return _collect(path, rows, images, _labels(images.classes, label_map))


def _collect(
    path: Path, rows: Mapping[int, _Entry], images: ImageSet, labels: Mapping[str, int]
) -> Matched:
    """Turn entries into tensors, clipped to their images, and count the faults."""
    found: list[Boxes | None] = [None] * len(images)
    total = clipped = dropped = unknown = 0
    strangers: list[str] = []
    for row, entry in rows.items():
        height, width = size = _size(images, row)
        if entry.size not in (None, (0, 0), (width, height)):
            raise DataError(
                f"{path}: boxes of {entry.name!r} are for {entry.size[0]}x{entry.size[1]} pixels, "
                f"the image has {width}x{height}",
                hint="scale the boxes, or give the images they were drawn on",
            )
        corners = torch.tensor([c for _, c in entry.objects], dtype=torch.float32).reshape(-1, 4)
        classes = torch.tensor([_label(name, labels) for name, _ in entry.objects]).long()
        known = classes >= -1
        strangers += [n for n, k in zip((n for n, _ in entry.objects), known, strict=True) if not k]
        sound = corners.isfinite().all(1)
        inside = clip(corners.nan_to_num(), height, width)
        whole = sound & (inside[:, 2:] > inside[:, :2]).all(1)
        outside = ((inside - corners).abs() > 1).any(1) & whole
        total += len(corners)
        dropped += int((~whole).sum())
        clipped += int(outside.sum())
        unknown += int((whole & ~known).sum())
        kept = Boxes(inside[whole & known], classes[whole & known])
        found[row] = _as_stored(kept, size, images)
    if 2 * (clipped + dropped) > total:
        raise DataError(
            f"{path}: {clipped + dropped} of {total} boxes are empty, not finite or outside "
            "their image",
            hint="corners are x0,y0,x1,y1 in pixels of the original image",
        )
    if total and unknown == total - dropped:
        raise DataError(
            f"{path}: none of its labels is a class of the data, the first is {strangers[0]!r} "
            f"({len(rows)} images matched)",
            hint="--label-map FILE with lines theirs,ours",
        )
    return Matched(tuple(found), len(rows), len(images) - len(rows), clipped, dropped, unknown)


def _places(images: ImageSet) -> dict[str, list[int]]:
    """Return the rows by stem and by path without suffix."""
    names = images.names or tuple(str(i) for i in range(len(images)))
    place: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        bare = _bare(name)
        for key in {str(bare), bare.name}:
            place.setdefault(key, []).append(row)
    return place


def _bare(name: str) -> PurePosixPath:
    """Return the path of a file without its suffix."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.with_suffix("") if path.suffix else path


def _row(name: str, place: Mapping[str, list[int]], images: ImageSet) -> int | None:
    """Return the row of the image that a box file calls `name`."""
    bare = _bare(name)
    if images.names is None:
        rows = place.get(str(int(bare.name)), []) if bare.name.isdecimal() else []
        return rows[0] if rows else None
    for parts in range(len(bare.parts), 0, -1):
        rows = place.get("/".join(bare.parts[-parts:]), [])
        if len(rows) > 1:
            raise DataError(
                f"boxes of {name!r} fit {len(rows)} images, {images.names[rows[0]]!r} and "
                f"{images.names[rows[1]]!r} among them",
                hint="write CLASS/FILE in the box file",
            )
        if rows:
            return rows[0]
    return None


def _as_stored(boxes: Boxes, size: tuple[int, int], images: ImageSet) -> Boxes:
    """Follow the resize of reading, if there was one."""
    if images.original is None or not isinstance(images.images, Tensor):
        return boxes
    side = images.images.shape[-1]
    return boxes.seen(centre_view(size, short=side, crop=side))


def _size(images: ImageSet, row: int) -> tuple[int, int]:
    """Return height and width of an image as it was before reading resized it."""
    if images.original is not None:
        height, width = images.original[row].tolist()
        return height, width
    if isinstance(images.images, Tensor):
        return tuple(images.images.shape[2:])  # type: ignore[return-value]
    with Image.open(images.images[row]) as image:
        return image.height, image.width


def _labels(classes: tuple[str, ...], label_map: Path | None) -> dict[str, int]:
    """Return class numbers by name: in full, before the first comma, through the map."""
    table: dict[str, int] = {}
    for spell in (str.strip, lambda name: name.partition(",")[0].strip()):
        for number, name in enumerate(classes):
            table.setdefault(spell(name).casefold(), number)
    if label_map is None:
        return table
    mapped = dict(table)
    for line in csv.DictReader(_text(label_map).splitlines()):
        theirs, ours = line.get("theirs"), line.get("ours")
        if theirs is None or ours is None:
            raise DataError(f"{label_map}: the first line must be theirs,ours")
        number = _label(ours, table)
        if number < 0:
            raise DataError(f"{label_map}: {ours!r} is no class of the data")
        mapped.setdefault(theirs.strip().casefold(), number)
    return mapped


def _label(name: str, labels: Mapping[str, int]) -> int:
    """Return the class of a label; -1 for an empty one, -2 for one that is no class."""
    name = name.strip().casefold()
    if not name:
        return -1
    return labels.get(name, labels.get(name.partition(",")[0].strip(), -2))


def _entries(path: Path) -> Iterator[_Entry]:
    """Read a file or folder in the format its kind suggests."""
    if path.is_dir():
        return _voc(path)
    kind = path.suffix.lower()
    if kind == ".csv":
        return _csv(path)
    if kind == ".xml":
        return iter([_voc_file(path)])
    if kind != ".json":
        raise DataError(
            f"{path}: boxes are read from .csv, .json, .xml or a folder of .xml, not {kind!r}"
        )
    try:
        content = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not valid JSON at line {error.lineno}") from error
    try:
        return iter(_coco(content) if isinstance(content, dict) else _listed(content))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(
            f"{path}: neither COCO JSON nor a list of files with objects ({error!r})"
        ) from error


def _text(path: Path) -> str:
    with damaged(path):
        return path.read_text(encoding="utf-8-sig")


def _four(values: Any) -> tuple[float, float, float, float]:
    a, b, c, d = (float(v) for v in values)
    return a, b, c, d


def _csv(path: Path) -> Iterator[_Entry]:
    columns = ("image", "label", "xmin", "ymin", "xmax", "ymax")
    reader = csv.DictReader(_text(path).splitlines())
    if missing := [c for c in columns if c not in (reader.fieldnames or ())]:
        raise DataError(
            f"{path}: the column {missing[0]!r} is missing", hint=f"header: {','.join(columns)}"
        )
    for line in reader:
        try:
            corners = _four(line[c] for c in columns[2:])
        except (TypeError, ValueError) as error:
            raise DataError(f"{path}: line {reader.line_num} has no four corners") from error
        yield _Entry(line["image"], [(line["label"] or "", corners)])


def _voc(folder: Path) -> Iterator[_Entry]:
    files = sorted(folder.rglob("*.xml"))
    if not files:
        raise DataError(f"{folder}: no .xml file in this folder of boxes")
    return (_voc_file(file) for file in files)


def _voc_file(path: Path) -> _Entry:
    """Read one Pascal VOC file; its corners are 1-based and inclusive."""
    try:
        root = ElementTree.fromstring(_text(path))
        objects = []
        for item in root.iter("object"):
            box = item.find("bndbox")
            if box is None:
                raise ValueError("an object without bndbox")
            x0, y0, x1, y1 = _four(box.findtext(k) for k in ("xmin", "ymin", "xmax", "ymax"))
            objects.append((item.findtext("name") or "", (x0 - 1, y0 - 1, x1, y1)))
        size = tuple(int(root.findtext(f"size/{k}") or 0) for k in ("width", "height"))
    except (ElementTree.ParseError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not a Pascal VOC file ({error})") from error
    return _Entry(path.name, objects, (size[0], size[1]) if all(size) else None)


def _coco(content: Mapping[str, Any]) -> list[_Entry]:
    names = {c["id"]: str(c["name"]) for c in content["categories"]}
    entries = {
        i["id"]: _Entry(
            str(i["file_name"]), [], (i["width"], i["height"]) if "width" in i else None
        )
        for i in content["images"]
    }
    for item in content["annotations"]:
        if item.get("iscrowd") or item["image_id"] not in entries:
            continue
        x, y, w, h = _four(item["bbox"])
        entries[item["image_id"]].objects.append((names[item["category_id"]], (x, y, x + w, y + h)))
    return list(entries.values())


def _listed(content: Any) -> list[_Entry]:
    return [
        _Entry(
            str(r["file"]),
            [(str(o.get("category") or ""), _four(o["xyxy"])) for o in r["objects"]],
            (r["width"], r["height"]) if "width" in r else None,
        )
        for r in content
    ]
