"""Who says what is on a picture of the tiny world: two judges of the digit, one of the tint.

They are independent of the base and of each other: they know other handwritten digits than the
generator was trained on, and two of them have no weights. A judge is called with pictures
(N, 3, H, W) in [0, 1] and the rows of a suite, and says for each picture whether it is right.
Shapes: N pictures; larger ones are reduced to 8x8 by area means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cosine_similarity, cross_entropy, normalize

from qr_cli.engine.damage import damaged
from qr_cli.errors import WeightsError
from qr_cli.generate.digits import ASSETS, load_digits, paint, tint_table
from qr_cli.generate.world import TINTS

Row = Mapping[str, Any]
_CNN_FILE = "digit-cnn.safetensors"


class Judge(Protocol):
    """Says of pictures whether they show what the rows say."""

    needs: str  # the key of a row it reads: "label.digit"

    def __call__(self, pictures: Tensor, rows: Sequence[Row]) -> list[bool]:
        """(N, 3, H, W) in [0, 1] and N rows -> N verdicts."""
        ...


class DigitCNN(nn.Sequential):
    """A small network (65,994 parameters): grey pictures (N, 1, 8, 8) in [0, 1] -> (N, 10)."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(1024, 10),
        )


class _DigitJudge:
    needs = "label.digit"

    def read(self, pictures: Tensor) -> Tensor:
        raise NotImplementedError

    def __call__(self, pictures: Tensor, rows: Sequence[Row]) -> list[bool]:
        said = self.read(pictures).tolist()
        return [digit == row["label"]["digit"] for digit, row in zip(said, rows, strict=True)]


class CnnJudge(_DigitJudge):
    """The network, trained on the judges' share of the digits."""

    def __init__(self) -> None:
        self.network = _stored_cnn()

    @torch.no_grad()
    def read(self, pictures: Tensor) -> Tensor:
        """(N, 3, H, W) -> digits (N,)."""
        return self.network(_grey(pictures)[:, None]).argmax(1)


class KnnJudge(_DigitJudge):
    """The majority of the three nearest of the judges' digits; a tie goes to the nearest."""

    def read(self, pictures: Tensor) -> Tensor:
        """(N, 3, H, W) -> digits (N,)."""
        known, labels = load_digits("judges")
        grey = _grey(pictures)
        grey = grey / grey.amax((1, 2), keepdim=True).clamp_min(1e-6)
        distances = torch.cdist(grey.flatten(1), known.flatten(1))
        nearest = labels[distances.topk(3, largest=False).indices]
        votes = (nearest[:, :, None] == nearest[:, None, :]).sum(-1)
        return nearest.gather(1, votes.argmax(1, keepdim=True))[:, 0]


class TintJudge:
    """The tint whose direction is nearest to the mean colour of the bright pixels."""

    needs = "label.tint"

    def read(self, pictures: Tensor) -> Tensor:
        """(N, 3, H, W) -> indices into the table of tints (N,)."""
        small = _small(pictures)
        weights = small.amax(1, keepdim=True).square()
        mean = (small * weights).sum((2, 3))
        cosines = cosine_similarity(mean[:, None], normalize(tint_table(), dim=1)[None], dim=2)
        return cosines.argmax(1)

    def __call__(self, pictures: Tensor, rows: Sequence[Row]) -> list[bool]:
        """Say whether each picture has the tint of its row."""
        names = list(TINTS)
        said = [names[index] for index in self.read(pictures).tolist()]
        return [tint == row["label"]["tint"] for tint, row in zip(said, rows, strict=True)]


def train_digit_cnn(seed: int = 0, *, steps: int = 400, batch_size: int = 64) -> DigitCNN:
    """Return the digit network, trained on the judges' digits in random tints with noise."""
    grey, labels = load_digits("judges")
    draw = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = DigitCNN().train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.02)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
        for _ in range(steps):
            which = torch.randint(len(labels), (batch_size,), generator=draw)
            tints = tint_table()[torch.randint(len(TINTS), (batch_size,), generator=draw)]
            painted = 2 * paint(grey[which], tints) - 1
            spread = 0.15 * torch.rand(batch_size, 1, 1, 1, generator=draw)
            noisy = painted + spread * torch.randn(painted.shape, generator=draw)
            scores = network(_grey((noisy + 1) / 2)[:, None])
            loss = cross_entropy(scores, labels[which], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


@cache
def _stored_cnn() -> DigitCNN:
    path = ASSETS / _CNN_FILE
    network = DigitCNN()
    network.load_state_dict(_tensors(path))
    return network.eval()


def _tensors(path: Path) -> dict[str, Tensor]:
    with damaged(path, WeightsError, also=(SafetensorError,), hint="install qr-cli anew"):
        return load_file(path)


def _small(pictures: Tensor) -> Tensor:
    """(N, 3, H, W) -> (N, 3, 8, 8) by area means."""
    pictures = pictures.detach().cpu().float().clamp(0, 1)
    return pictures if pictures.shape[-2:] == (8, 8) else adaptive_avg_pool2d(pictures, 8)


def _grey(pictures: Tensor) -> Tensor:
    """(N, 3, H, W) -> (N, 8, 8): the brightest channel, whatever the tint."""
    return _small(pictures).amax(1)
