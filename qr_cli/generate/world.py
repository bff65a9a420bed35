"""The test-bed of the tiny base: ten digits, six tints, and sentences that name neither.

A keyword prompt says what is drawn ("purple digit eight, pixel art"); a narrative says it without
a digit word and without a tint word ("a number for the legs of a spider in the same colour as
grape juice"). Splits go by the pair (digit phrase, tint phrase): a pair of `recombined` was never
trained, though each of its phrases was; the phrases of `unseen` were never trained at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch

Split = Literal["train", "seen", "recombined", "unseen"]
SPLITS: tuple[Split, ...] = ("train", "seen", "recombined", "unseen")
VERSION = 1  # of the tables and draws below; a base folder says which one it was trained on

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TINTS: dict[str, tuple[float, float, float]] = {
    "red": (1, 0.15, 0.1),
    "green": (0.15, 0.9, 0.2),
    "blue": (0.2, 0.3, 1),
    "yellow": (1, 0.95, 0.15),
    "purple": (0.75, 0.2, 0.9),
    "white": (1, 1, 1),
}
TAGS = (
    "pixel art", "masterpiece", "best quality", "sharp",
    "8 bit", "high contrast", "centered", "black background",
)  # fmt: skip
FRAMES = (
    "someone counted {n} and wrote the result in the colour of {o}",
    "please draw how many {n} are, painted with the colour of {o}",
    "a number for {n} in the same colour as {o}",
    "take the colour of {o} and paint the count of {n}",
    "my teacher asked me to write down the number of {n} with a pen like {o}",
    "on a dark wall somebody painted the count of {n}, and the paint looked like {o}",
    "imagine {o}, then use that colour to draw the number of {n}",
    "she thought about {n} and drew their number in the tone of {o}",
)
DIGIT_PHRASES = (
    ("the corners of a circle", "the goals of a scoreless match",
     "the moons of venus", "the wheels of a boat"),
    ("the suns in our sky", "the nose of a face",
     "the horn of a unicorn", "the trunk of an elephant"),
    ("the eyes of a face", "the wheels of a bicycle",
     "a pair of shoes", "the wings of a bird"),
    ("the sides of a triangle", "the leaves of a clover",
     "the wheels of a tricycle", "the lights of a traffic signal"),
    ("the legs of a horse", "the seasons of a year",
     "the wheels of a car", "the corners of a square"),
    ("the fingers of a hand", "the arms of a starfish",
     "the rings of the olympic flag", "the senses of a human"),
    ("the legs of an ant", "the sides of a dice",
     "half a dozen eggs", "the strings of a guitar"),
    ("the days of a week", "the colours of a rainbow",
     "the dwarfs of the fairy tale", "the wonders of the ancient world"),
    ("the legs of a spider", "the arms of an octopus",
     "the planets of our sun", "the notes of an octave"),
    ("the lives of a cat", "the innings of baseball",
     "the months of a pregnancy", "the players of a baseball team"),
)  # fmt: skip
TINT_PHRASES = {
    "red": ("a ripe tomato", "fresh blood", "a fire truck", "a strawberry"),
    "green": ("grass", "a frog", "a cucumber", "spring leaves"),
    "blue": ("the clear sky", "the deep ocean", "a sapphire", "denim jeans"),
    "yellow": ("a banana", "a lemon", "the midday sun", "a sunflower"),
    "purple": ("an eggplant", "lavender", "grape juice", "violets"),
    "white": ("snow", "milk", "a polar bear", "cotton"),
}
UNSEEN_DIGIT_PHRASES = (
    "the teeth of a hen", "the captain of a ship", "the poles of a magnet",
    "the musketeers of dumas", "the strings of a violin", "the vowels of english",
    "the sides of a honeycomb cell", "the continents of the earth",
    "the pawns of a chess player", "the muses of greek myth",
)  # fmt: skip
UNSEEN_TINT_PHRASES = {
    "red": "a stop sign", "green": "an emerald", "blue": "a cornflower",
    "yellow": "butter", "purple": "an amethyst", "white": "chalk",
}  # fmt: skip

_HELD_OUT = 3  # of the 16 pairs of a digit and a tint
_TRAIN, _SEEN, _PER_CELL = 2400, 240, 8
_SEEDS = {"held out": 7, "train": 0, "seen": 11, "recombined": 77, "unseen": 78}


class Narrative(NamedTuple):
    """A sentence and what it means."""

    text: str
    digit: int
    tint: str


def keyword_head(digit: int, tint: str) -> str:
    """Return the canonical keyword prompt: "purple digit eight"."""
    return f"{tint} digit {DIGITS[digit]}"


def keyword_prompt(head: str, draw: torch.Generator) -> str:
    """Return `head` and 0 to 3 different tags in random order."""
    count = _below(4, draw)
    return ", ".join([head, *(TAGS[i] for i in torch.randperm(len(TAGS), generator=draw)[:count])])


def base_head(digit: int, tint: str, draw: torch.Generator) -> str:
    """Return a head as the base is trained on: the canonical one half of the time."""
    word = DIGITS[digit]
    forms = (keyword_head(digit, tint),) * 2 + (f"digit {word}, {tint}", f"{word}, {tint} ink")
    return forms[_below(4, draw)]


def canonical_prompts() -> list[tuple[str, int, str]]:
    """Return the 60 canonical keyword prompts, each with its digit and its tint."""
    return [(keyword_head(d, tint), d, tint) for d in range(len(DIGITS)) for tint in TINTS]


def narratives(split: Split) -> list[Narrative]:
    """Return the sentences of a split, always in the same order."""
    draw = torch.Generator().manual_seed(_SEEDS[split])
    if split == "unseen":
        return [
            _narrative(frame, digit, phrase, tint, UNSEEN_TINT_PHRASES[tint])
            for digit, phrase in enumerate(UNSEEN_DIGIT_PHRASES)
            for tint in TINTS
            for frame in FRAMES
        ]
    if split == "seen":
        return _some(narratives("train"), _SEEN, draw)
    held = _held_out_pairs()
    cells = [(digit, tint) for digit in range(len(DIGITS)) for tint in TINTS]
    if split == "recombined":
        chosen = (_some(_cell(*cell, held[cell]), _PER_CELL, draw) for cell in cells)
        return [narrative for part in chosen for narrative in part]
    kept = {cell: [pair for pair in range(16) if pair not in held[cell]] for cell in cells}
    return _some([n for cell in cells for n in _cell(*cell, kept[cell])], _TRAIN, draw)


def surd_rows(split: Split) -> list[dict[str, Any]]:
    """Return the rows of a split as SURD metadata: file_name, text, prompt, label and more."""
    draw = torch.Generator().manual_seed(1000 + _SEEDS[split])
    return [
        {
            "file_name": f"{index:05d}.png",
            "text": text,
            "prompt": keyword_prompt(keyword_head(digit, tint), draw),
            "split": split,
            "category": "digit+tint",
            "label": {"digit": digit, "tint": tint},
            "id": f"{split}-{index:05d}",
        }
        for index, (text, digit, tint) in enumerate(narratives(split))
    ]


def _held_out_pairs() -> dict[tuple[int, str], list[int]]:
    """Return for every digit and tint which of its 16 pairs of phrases are never trained."""
    draw = torch.Generator().manual_seed(_SEEDS["held out"])
    return {
        (digit, tint): sorted(torch.randperm(16, generator=draw)[:_HELD_OUT].tolist())
        for digit in range(len(DIGITS))
        for tint in TINTS
    }


def _cell(digit: int, tint: str, pairs: Sequence[int]) -> list[Narrative]:
    """Return the narratives of the given pairs of one digit and one tint, in all frames."""
    return [
        _narrative(
            frame, digit, DIGIT_PHRASES[digit][pair // 4], tint, TINT_PHRASES[tint][pair % 4]
        )
        for pair in pairs
        for frame in FRAMES
    ]


def _narrative(frame: str, digit: int, phrase: str, tint: str, thing: str) -> Narrative:
    return Narrative(frame.format(n=phrase, o=thing), digit, tint)


def _some(rows: Sequence[Narrative], count: int, draw: torch.Generator) -> list[Narrative]:
    return [rows[i] for i in torch.randperm(len(rows), generator=draw)[:count].tolist()]


def _below(limit: int, draw: torch.Generator) -> int:
    return int(torch.randint(limit, (), generator=draw))
