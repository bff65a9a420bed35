"""A judge that is a classifier qr has trained: does it see the class of the row?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from qr_cli.attention.load import load
from qr_cli.errors import DataError, UsageError


class ClassifierJudge:
    """Loads a run of `qr train attention`; right if its first class is the row's ``label.class``.

    Raises:
        WeightsError: there is no such run, or it is no classifier.
    """

    needs = "label.class"

    def __init__(self, place: str) -> None:
        if not place:
            raise UsageError("--judges: classifier needs a run", hint="--judges classifier:RUN")
        self.net: Any = load(place)

    @torch.no_grad()
    def __call__(self, pictures: Tensor, rows: Sequence[Mapping[str, Any]]) -> list[bool]:
        """(N, 3, H, W) in [0, 1] and N rows -> N verdicts."""
        classes = [str(name) for name in self.net.classes]
        strange = [
            str(r["label"]["class"]) for r in rows if str(r["label"]["class"]) not in classes
        ]
        if strange:
            raise DataError(
                f"the classifier has no class {strange[0]!r}: {', '.join(classes[:10])}"
            )
        channels, *size = self.net.input_size
        small = interpolate(pictures.float(), size=size, mode="area")
        small = small.mean(1, keepdim=True) if channels == 1 else small
        mean, std = (small.new_tensor(v)[:, None, None] for v in (self.net.mean, self.net.std))
        said = self.net((small - mean) / std).argmax(1).tolist()
        pairs = zip(said, rows, strict=True)
        return [classes[index] == str(row["label"]["class"]) for index, row in pairs]
