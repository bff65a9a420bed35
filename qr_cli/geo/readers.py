"""How each preset reads a problem: its words and its picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from torch import nn

from qr_cli.geo import inputs
from qr_cli.geo.diagrams import read_diagram
from qr_cli.geo.inputs import Words
from qr_cli.geo.records import Problem
from qr_cli.geo.slotting import SlotMode

Pixels = NDArray[Any]


@dataclass(frozen=True)
class Reader:
    """The words of a problem, and its picture as the network takes it, if it has one.

    Attributes:
        words: of a problem, however long.
        picture: of a problem, or None.
        longest: words of a text that a user's problem may have; None: any.
    """

    words: Callable[[Problem, SlotMode], Words]
    picture: Callable[[Problem], Pixels | None]
    longest: int | None


def _tiny_words(problem: Problem, slots: SlotMode) -> Words:
    return inputs.words(problem, mode=slots, longest=None)


def _tiny_picture(problem: Problem) -> Pixels | None:
    return inputs.picture(read_diagram(problem.diagram)) if problem.diagram else None


def _official_words(problem: Problem, slots: SlotMode) -> Words:
    from qr_cli.geo.official import words

    return words(problem)


def _official_picture(problem: Problem) -> Pixels | None:
    from qr_cli.geo.geoformer import picture as prepared
    from qr_cli.geo.official import picture

    pixels = picture(problem)
    return None if pixels is None else prepared(pixels).numpy()


TINY = Reader(_tiny_words, _tiny_picture, 200)
OFFICIAL = Reader(_official_words, _official_picture, None)


def reader_of(model: nn.Module) -> Reader:
    """Return the reader of a model's preset."""
    from qr_cli.geo.tiny import Tiny

    return TINY if isinstance(model, Tiny) else OFFICIAL
