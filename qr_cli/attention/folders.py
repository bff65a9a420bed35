"""Folders of image files: ``folder:PATH`` and ``imagenet:PATH``.

``PATH/{train,test|val}/CLASS/*.jpg``, or ``PATH/CLASS/*.jpg`` alone. Images of one size that fit
the memory limit become one tensor; the others stay files, which are decoded batch by batch
(`augment.py`). A folder is checked before training: every file that stays a file is decoded once,
JPEG at an eighth of its size. ImageNet is not checked that way (1.3 million files); a bad file
there stops the run with its name.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from qr_cli.attention.data import ImageSet, Settings
from qr_cli.engine.damage import reason
from qr_cli.engine.pictures import NO_PICTURE, opened
from qr_cli.errors import DataError, UsageError

log = logging.getLogger(__name__)

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


class Folder:
    """The data source ``folder:PATH``."""

    augment = "imagenet"
    normalize = "data"
    named = True
    exact_names = False
    kind = "folder"
    checked = True

    def __init__(self, place: str | None, options: Mapping[str, Any], settings: Settings) -> None:
        if not place or options:
            raise UsageError(
                f"{self.kind} takes a path and no options", hint=f"--data {self.kind}:PATH"
            )
        self.settings = settings
        self.name = f"{self.kind}:{place}"
        self.path = Path(place).expanduser()
        if not self.path.is_dir():
            raise DataError(f"{self.path}: no such folder", hint=self.absent_hint())
        self.roots = _roots(self.path)
        lists = {split: _classes(root) for split, root in self.roots.items()}
        self.classes = next(iter(lists.values()))
        for split, names in lists.items():
            if strangers := [name for name in names if name not in self.classes]:
                raise DataError(
                    f"{self.roots[split]}: class {strangers[0]!r} is not in the training data",
                    hint=f"{len(strangers)} of {len(names)} classes are missing there",
                )
        self.files = {split: _files(root, self.classes) for split, root in self.roots.items()}
        self.counts = {split: len(files) for split, files in self.files.items()}
        side = settings.image_size
        self.size = (side, side) if side else self.first_size()

    def absent_hint(self) -> str:
        """Return what to do when the folder is not there."""
        return "folder:PATH with PATH/CLASS/*.jpg"

    def first_size(self) -> tuple[int, int]:
        """Return (H, W) of the first image that opens."""
        for file, _ in next(iter(self.files.values())):
            try:
                with Image.open(file) as image:
                    return image.height, image.width
            except NO_PICTURE as error:
                if not self.settings.skip_bad:
                    raise _undecodable(file, error) from error
        raise DataError(f"{self.path}: none of its images opens")

    def labels(self, split: str) -> Tensor:
        """Return the classes of a split, int64 (n,)."""
        return torch.tensor([label for _, label in self.files[split]], dtype=torch.int64)

    def load(self, split: str, rows: Tensor | None = None) -> ImageSet:
        """Return a split, or only its `rows`: decoded if of one size and small, else as files."""
        chosen = self.files[split]
        if rows is not None:
            chosen = [chosen[i] for i in rows.tolist()]
        pixels: Tensor | None = None
        if self._fits(chosen):
            pixels, chosen = self._decode(chosen)
        elif self.checked:
            chosen = [pair for pair in chosen if self._sound(pair[0])]
        if not chosen:
            raise DataError(f"{self.roots[split]}: no image is left")
        files = tuple(file for file, _ in chosen)
        root = self.roots[split]
        return ImageSet(
            files if pixels is None else pixels,
            torch.tensor([label for _, label in chosen], dtype=torch.int64),
            self.classes,
            names=tuple(file.relative_to(root).as_posix() for file in files),
        )

    def _fits(self, files: list[tuple[Path, int]]) -> bool:
        """Return whether all images have the size of the set and fit the memory limit."""
        need = len(files) * 3 * self.size[0] * self.size[1]
        if need > self.settings.memory_limit or not self.checked:
            return False
        for file, _ in files:
            try:
                with Image.open(file) as image:
                    if (image.height, image.width) != self.size:
                        return False
            except NO_PICTURE as error:
                self._bad(file, error)
        return True

    def _decode(self, files: list[tuple[Path, int]]) -> tuple[Tensor, list[tuple[Path, int]]]:
        """Decode files of one size, (n, 3, H, W); files that do not decode are left out."""
        out = np.empty((len(files), *self.size, 3), np.uint8)
        kept: list[tuple[Path, int]] = []
        for file, label in files:
            try:
                out[len(kept)] = np.asarray(decode(file))
                kept.append((file, label))
            except DataError as error:
                self._bad(file, error)
        return torch.from_numpy(out[: len(kept)]).permute(0, 3, 1, 2).contiguous(), kept

    def _sound(self, file: Path) -> bool:
        """Return whether a file decodes; if not, stop or count it."""
        try:
            with opened(file) as image:
                image.draft("RGB", (image.width // 8, image.height // 8))
                image.load()
            return True
        except NO_PICTURE as error:
            self._bad(file, error)
            return False

    def _bad(self, file: Path, error: Exception) -> None:
        if not self.settings.skip_bad:
            raise _undecodable(file, error) from error
        log.warning("left out %s: %s", file, error)


class ImageNet(Folder):
    """The data source ``imagenet:PATH``: ``PATH/train/WNID/*``, ``PATH/val/WNID/*``."""

    normalize = "imagenet"
    kind = "imagenet"
    checked = False

    def absent_hint(self) -> str:
        """Return where ImageNet comes from: it is never downloaded."""
        return "fetch ImageNet from image-net.org and unpack it as PATH/train/WNID, PATH/val/WNID"


def decode(file: Path) -> Image.Image:
    """Return the image of a file in RGB, decoded.

    Raises:
        DataError: the file does not decode.
    """
    try:
        with opened(file) as image:
            return image.convert("RGB")
    except NO_PICTURE as error:
        raise _undecodable(file, error) from error


def _undecodable(file: Path, error: Exception) -> DataError:
    return DataError(
        f"{file} does not decode ({reason(error)})", hint="--skip-bad leaves such files out"
    )


def _roots(path: Path) -> dict[str, Path]:
    """Return the folder of class folders of each split."""
    roots = {}
    if (path / "train").is_dir():
        roots["train"] = path / "train"
    for name in ("test", "val"):
        if "test" not in roots and (path / name).is_dir():
            roots["test"] = path / name
    return roots or {"all": path}


def _classes(root: Path) -> tuple[str, ...]:
    """Return the names of the class folders in order."""
    names = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not names:
        raise DataError(
            f"{root}: no class folders here", hint="one folder per class: PATH/CLASS/*.jpg"
        )
    return tuple(names)


def _files(root: Path, classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    """Return the image files of each class with its number; an empty folder is no images."""
    found = [
        (file, label)
        for label, name in enumerate(classes)
        if (root / name).is_dir()
        for file in sorted((root / name).rglob("*"))
        if file.suffix.lower() in SUFFIXES
    ]
    if not found:
        kinds = ", ".join(sorted(SUFFIXES))
        raise DataError(f"{root}: the class folders hold no images ({kinds})")
    return found
