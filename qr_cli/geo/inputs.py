"""A problem as the small model reads it: words with slots, and a picture of 112 x 112.

    calculation: In triangle A B C , angle A = N_0 , ...        the authors' normalisation
    proving: Given A B ∥ C D . ... elements: E_0 ∠ A B C E_1 A B ...

After a slot whose value is 30, 45, 60, 90, 120, 180 or 360 its size follows as a word (`<v90>`):
a right angle decides between programs, and the text with slots does not show it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qr_cli.errors import DataError
from qr_cli.geo import vocab
from qr_cli.geo.givens import read_problem
from qr_cli.geo.proof import Kind
from qr_cli.geo.propose import propose
from qr_cli.geo.records import Problem
from qr_cli.geo.slotting import SlotMode, slots
from qr_cli.geo.text import normalize, tidy

SIDE = 112  # pixels of a picture
DARK = 110  # mean grey below which a picture is taken for light lines on black
Picture = NDArray[np.uint8]


class Words(NamedTuple):
    """A problem in words, and what its answer may speak of.

    Attributes:
        source: what is read.
        numbers: N_0, N_1, ... of a calculation.
        elements: E_0, E_1, ... of a proof, as text.
    """

    source: list[str]
    numbers: tuple[float, ...] = ()
    elements: tuple[str, ...] = ()

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Return the kind of each element."""
        signs: dict[str, Kind] = {"∠": "angle", "△": "triangle"}
        return tuple(signs.get(e.strip()[:1], "segment") for e in self.elements)


def words(problem: Problem, *, mode: SlotMode = "compound", longest: int | None = 200) -> Words:
    """Return a problem in words.

    Args:
        problem: the record; a slot text with its numbers counts more than the text.
        mode: what counts as one number, where the numbers are still in the text.
        longest: words of a text above which it is refused; None: any.

    Raises:
        DataError: it holds more than this model knows.
    """
    found = _proving(problem) if problem.task == "proving" else _calculation(problem, mode)
    for kind, count, most in (
        ("numbers", len(found.numbers), vocab.SLOTS),
        ("elements", len(found.elements), vocab.ELEMENTS),
    ):
        if count > most:
            raise DataError(
                f"{count} {kind}, this model knows {most}", hint="--solver rules reads them"
            )
    if longest is not None and len(found.source) > longest:
        raise DataError(
            f"the text has {len(found.source)} words, this model reads {longest}",
            hint="--allow-truncation cuts it, --solver rules reads it",
        )
    return found


def _calculation(problem: Problem, mode: SlotMode) -> Words:
    if problem.slot_text is not None and problem.numbers is not None:
        text, numbers = problem.slot_text, problem.numbers
    else:
        found = slots(problem.text, mode=mode)
        text, numbers = found.text, tuple(found.numbers)
    text = normalize(re.sub(r"^Calculation:\s*", "", text))
    source = ["calculation", ":"]
    for word in vocab.split(text):
        source.append(word)
        if word.startswith("N_") and word[2:].isdigit() and int(word[2:]) < len(numbers):
            value = numbers[int(word[2:])]
            if value in vocab.VALUES:
                source.append(f"<v{int(value)}>")
    return Words(source, numbers)


def _proving(problem: Problem) -> Words:
    text = problem.slot_text if problem.slot_text and not problem.text else problem.text
    body, _, listed = text.removeprefix("Proving:").partition("(Elements:")
    elements: Sequence[str] = problem.elements or [
        e for e in listed.strip(" )").split(",") if e.strip()
    ]
    if not elements:
        elements = [_spaced(e) for e in propose(read_problem(text))[: vocab.ELEMENTS]]
    source = ["proving", ":", *vocab.split(tidy(body)), "elements", ":"]
    for i, element in enumerate(elements):
        source += [f"E_{i}", *vocab.split(element)]
    return Words(source, (), tuple(e.strip() for e in elements))


def _spaced(element: Any) -> str:
    sign = {"segment": "", "angle": "∠ ", "triangle": "△ "}[element.kind]
    return sign + " ".join(element.points)


def picture(png: bytes) -> Picture:
    """Return a user's picture as the model sees its own: 112 x 112, grey, 255 is paper.

    The longer side becomes 112 (antialiased), the rest white; a dark picture is inverted; grey is
    stretched between its 1st and 99th percentile.
    """
    from io import BytesIO

    from PIL import Image

    image = Image.open(BytesIO(png)).convert("L")
    scale = SIDE / max(image.size)
    small = image.resize(
        [max(1, round(s * scale)) for s in image.size], Image.Resampling.LANCZOS, reducing_gap=3
    )
    grey = np.asarray(small, np.float32)
    if grey.mean() < DARK:
        grey = 255 - grey
    low, high = np.percentile(grey, (1, 99))
    if high > low:
        grey = np.clip((grey - low) / (high - low), 0, 1) * 255
    paper = np.full((SIDE, SIDE), 255, np.uint8)
    height, width = grey.shape
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    paper[top : top + height, left : left + width] = grey.round()
    return paper
