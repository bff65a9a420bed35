"""Sets that torchvision fetches: CIFAR-10, CIFAR-100, STL-10.

They lie under ``--data-root`` and are fetched with ``--download`` only. The CIFAR files are
pickles; torchvision opens them only after each has passed its published MD5, so that nothing but
the published content is ever unpickled.
"""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision import datasets

from qr_cli.attention.data import ImageSet, Settings
from qr_cli.attention.grammar import Node, canonical
from qr_cli.attention.packs import resized
from qr_cli.errors import DataError, EnvironmentFault, UsageError, near

Array = NDArray[Any]


_CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"
_STL10 = "airplane bird car cat deer dog horse monkey ship truck"
_CIFAR100 = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup
dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower
leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid
otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray
road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
wardrobe whale willow_tree wolf woman worm
"""


class Download:
    """A set of torchvision; subclasses state its facts only.

    Attributes:
        kind: name of the source; dataset: name of the class in torchvision.
        counts: images per split; side: of an image in pixels; classes: the data's own list.
        known: options and their words, the default first.
    """

    augment = "crop-flip"
    normalize = "cifar"
    named = True
    exact_names = True
    kind: ClassVar[str]
    dataset: ClassVar[str]
    counts: ClassVar[Mapping[str, int]]
    classes: tuple[str, ...]
    side: ClassVar[int] = 32
    known: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __init__(self, place: str | None, options: Mapping[str, Any], settings: Settings) -> None:
        if place is not None:
            raise UsageError(f"{self.kind} takes no path", hint="--data-root FOLDER")
        self._check(options)
        self.settings = settings
        changed = tuple((k, v) for k, v in options.items() if v != self.known[k][0])
        self.name = canonical(Node(self.kind, options=changed))
        size = settings.image_size or self.side
        self.size = (size, size)
        self._sets: dict[str, tuple[Array, Array]] = {}
        self.folder = settings.root / getattr(datasets, self.dataset).base_folder
        if not settings.download and not self.folder.exists():
            raise DataError(
                f"{self.kind} is not in {str(self.folder)!r}",
                hint=f"--data {self.name} --download",
            )

    def _check(self, options: Mapping[str, Any]) -> None:
        for key, value in options.items():
            if key not in self.known:
                raise UsageError(
                    f"{self.kind} has no option {key!r}{near(key, self.known)}",
                    hint=f"options: {', '.join(self.known) or 'none'}",
                )
            if value not in self.known[key]:
                words = ", ".join(self.known[key])
                raise UsageError(f"{self.kind}({key}={value}): should be one of {words}")

    def labels(self, split: str) -> Tensor:
        """Return the classes of a split, int64 (n,)."""
        return torch.from_numpy(self._open(split)[1])

    def load(self, split: str, rows: Tensor | None = None) -> ImageSet:
        """Return a split, or only its `rows`, (n, 3, H, W)."""
        images, labels = self._open(split)
        chosen = np.arange(len(labels)) if rows is None else rows.numpy()
        pixels = images[chosen]
        original = None
        if self.size[0] != self.side:
            original = torch.full((len(chosen), 2), self.side)
            pixels = _resize(pixels, self.size[0])
        return ImageSet(
            torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(),
            torch.from_numpy(labels[chosen]),
            self.classes,
            original=original,
        )

    def _open(self, split: str) -> tuple[Array, Array]:
        """Return images (n, H, W, 3) and labels (n,) of a split, fetched where that is allowed."""
        if split not in self._sets:
            part = {"split": split} if self.dataset == "STL10" else {"train": split == "train"}
            self._sets[split] = self._fetched(part)
        return self._sets[split]

    def _fetched(self, part: Mapping[str, Any]) -> tuple[Array, Array]:
        """Read through torchvision; absent, damaged and unreachable data are told apart."""
        reader = getattr(datasets, self.dataset)
        try:
            found = reader(self.settings.root, **part, download=self.settings.download)
        except RuntimeError as error:  # torchvision: not found or corrupted
            if self.settings.download:
                raise self._unreachable(error) from error
            raise DataError(
                f"{self.kind} is not whole in {str(self.folder)!r}",
                hint=f"--data {self.name} --download",
            ) from error
        except (OSError, EOFError, tarfile.TarError) as error:
            raise self._unreachable(error) from error
        images = found.data if found.data.shape[-1] == 3 else found.data.transpose(0, 2, 3, 1)
        labels = found.labels if self.dataset == "STL10" else found.targets
        return images, np.asarray(labels, dtype=np.int64)

    def _unreachable(self, error: Exception) -> EnvironmentFault:
        return EnvironmentFault(
            f"{self.kind} could not be fetched to {str(self.settings.root)!r} ({error})",
            hint="look at the network and the disk; --data shapes needs neither",
        )


class CIFAR10(Download):
    """The data source ``cifar10`` (Krizhevsky 2009)."""

    kind = "cifar10"
    dataset = "CIFAR10"
    counts: ClassVar[Mapping[str, int]] = {"train": 50_000, "test": 10_000}
    classes = tuple(_CIFAR10.split())


class CIFAR100(Download):
    """The data source ``cifar100`` (Krizhevsky 2009), fine labels."""

    kind = "cifar100"
    dataset = "CIFAR100"
    counts: ClassVar[Mapping[str, int]] = {"train": 50_000, "test": 10_000}
    classes = tuple(_CIFAR100.split())


class STL10(Download):
    """The data source ``stl10(protocol=repo|full96)`` (Coates et al. 2011), labelled images.

    `repo` trains on 32-pixel crops of the 96-pixel image padded by 4 and tests on all 96 pixels,
    as the authors' code does; `full96` pads by 12 and crops 96 (ours).
    """

    kind = "stl10"
    dataset = "STL10"
    counts: ClassVar[Mapping[str, int]] = {"train": 5_000, "test": 8_000}
    classes = tuple(_STL10.split())
    side = 96
    known: ClassVar[Mapping[str, tuple[str, ...]]] = {"protocol": ("repo", "full96")}

    @staticmethod
    def augment_with(options: Mapping[str, Any]) -> str:
        """Return the training augmentation of a protocol."""
        full = options.get("protocol") == "full96"
        return "crop-flip(pad=12)" if full else "crop-flip(crop=32,pad=4)"


def _resize(pixels: Array, side: int) -> Array:
    """Resize (n, H, W, 3) uint8 images through Pillow."""
    return np.stack(
        [np.asarray(resized(Image.fromarray(p), short=side, crop=side)) for p in pixels]
    )
