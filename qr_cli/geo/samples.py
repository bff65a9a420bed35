"""From problems to batches: words as numbers, pictures as ink, padded together in packs.

A batch comes as packs: problems of like length, with a picture or without. So little is padded, and
the 49 patches are computed for those only that show them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qr_cli.geo.tiny import padded
from qr_cli.geo.vocab import END, PAD, START

PACK = 10  # problems that are padded together


class Words(Protocol):
    """A vocabulary of words or pieces."""

    number: Mapping[str, int]

    def ids(self, words: Sequence[str]) -> list[int]:
        """Return the numbers of words."""


@dataclass(frozen=True)
class Example:
    """A problem to learn from.

    Attributes:
        source: its words.
        target: what is to be written.
        picture: (112, 112) uint8, 255 is paper, or (3, 224, 224) for geoformer; None where it is
            not shown.
        relation: family and fine class of the picture, where it has one.
        marks: what stands in each patch of the picture, where that is known.
    """

    source: Sequence[str]
    target: Sequence[str]
    picture: NDArray[Any] | None = None
    relation: tuple[str, int] | None = None
    marks: NDArray[np.bool_] | None = None


class Pack(NamedTuple):
    """Problems that are read together.

    Attributes:
        words: the sources ``(B, S)``.
        before: the targets after the start ``(B, T)``: what the decoder sees.
        after: the targets with their end ``(B, T)``; -100 where there is none.
        pictures: ink from 0 to 1 ``(B, 112, 112)``, or ``(B, 3, 224, 224)``, or None.
        relations: the family's first score and its number of classes, and the class ``(B, 3)``;
            -1 for none.
        marks: what stands in each patch ``(B, 49, M)``, or None.
    """

    words: Tensor
    before: Tensor
    after: Tensor
    pictures: Tensor | None
    relations: Tensor
    marks: Tensor | None = None


def packs(
    examples: Sequence[Example], vocabulary: Words, families: Mapping[str, tuple[int, int]],
    longest: tuple[int, int],
) -> list[Pack]:  # fmt: skip
    """Return examples in packs of like length.

    Args:
        examples: of one batch, in any order.
        vocabulary: the model's words or pieces.
        families: of the auxiliary head: first score and number of classes.
        longest: words or pieces of a source and of a target; the rest is cut off.
    """
    return [_pack(some, vocabulary, families, longest) for some in _grouped(examples)]


def _grouped(examples: Sequence[Example]) -> Iterator[list[Example]]:
    """Yield examples that are read together: few are padded much, and no pack is tiny."""
    for shown in (True, False):
        some = [e for e in examples if (e.picture is not None) == shown]
        some.sort(key=lambda e: len(e.source) + 2 * len(e.target))
        count = max(1, round(len(some) / PACK))
        for part in np.array_split(np.arange(len(some)), count):
            if len(part):
                yield [some[i] for i in part]


def _pack(
    examples: Sequence[Example], vocabulary: Words, families: Mapping[str, tuple[int, int]],
    longest: tuple[int, int],
) -> Pack:  # fmt: skip
    number = vocabulary.number
    targets = [vocabulary.ids(e.target)[: longest[1]] for e in examples]
    known = [
        [*families[e.relation[0]], e.relation[1]]
        if e.relation and e.relation[0] in families else [-1, -1, -1]
        for e in examples
    ]  # fmt: skip
    marks = [e.marks for e in examples if e.marks is not None]
    return Pack(
        padded([vocabulary.ids(e.source)[: longest[0]] for e in examples], number[PAD]),
        padded([[number[START], *t] for t in targets], number[PAD]),
        padded([[*t, number[END]] for t in targets], -100),
        shown([e.picture for e in examples if e.picture is not None]),
        torch.tensor(known),
        torch.from_numpy(np.stack(marks)).float() if len(marks) == len(examples) else None,
    )


def shown(pictures: Sequence[NDArray[Any]]) -> Tensor | None:
    """Return pictures of one batch: grey ones as ink from 0 to 1, prepared ones as they are."""
    if not pictures:
        return None
    stacked = torch.from_numpy(np.stack(pictures)).float()
    return 1 - stacked / 255 if stacked.ndim == 3 else stacked
