"""Whole words for the small model: how a text is split, and the numbers of its words.

A vocabulary is a fixed part (letters, slots, operators, reasons, signs), the words of the training
texts, and 64 buckets for every other word: crc32 of the lower-cased word modulo 64. Single capitals
stay, other words are lower-cased, ``∠X`` is split. The list of words is kept with the weights.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from zlib import crc32

from qr_cli.geo.program import OPERATORS

PAD, START, END, UNKNOWN, MASK, IMAGE = "<pad>", "<s>", "</s>", "<unk>", "<mask>", "<image>"
SLOTS, NEW_SLOTS, ELEMENTS, STEPS, CONSTANTS, REASONS = 16, 16, 24, 8, 7, 37
VALUES = (30, 45, 60, 90, 120, 180, 360)  # numbers whose size the model is told
BUCKETS = 64
LIMIT = 640  # words

_LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_NUMERALS = tuple("0123456789") + tuple(map(str, VALUES))
_SIGNS = tuple("∠△∥⟂≅~=+-×/(),.:;?°²√π")
_WORDS = (
    "calculation", "proving", "solving", "prediction", "denoise", "text", "elements", "congruent",
    "similar", "parallel", "vertical", "because", "therefore", "angle", "triangle", "sin", "cos",
    "tan", "perpendicular", "circle", "arc", "asin", "acos",
)  # fmt: skip
FIXED: tuple[str, ...] = (
    PAD, START, END, UNKNOWN, MASK, IMAGE, *_LETTERS, *(f"{c}′" for c in _LETTERS),
    *(f"N_{i}" for i in range(SLOTS)), *(f"NS_{i}" for i in range(NEW_SLOTS)),
    *(f"E_{i}" for i in range(ELEMENTS)), *(f"V_{i}" for i in range(STEPS)),
    *(f"C_{i}" for i in range(CONSTANTS)), *(f"R_{i}" for i in range(REASONS)),
    *OPERATORS, *(f"<v{v}>" for v in VALUES), *_NUMERALS, *_SIGNS, *_WORDS,
    *(f"<w{i}>" for i in range(BUCKETS)),
)  # fmt: skip
_TOKEN = re.compile(
    r"</?\w+>|(?:NS|[NECVR])_\d+|(?:g|gougu|cal)_[a-z_]+"
    r"|(?:(?<![A-Z])[A-Z])?[a-z]+(?:-[a-z]+)*"
    r"|[A-Z](?:_\d+)?['′]*|\d+(?:\.\d+)?|\S"
)


def split(text: str) -> list[str]:
    """Return the words of a text, as the vocabulary knows them."""
    return [_regular(word) for word in _TOKEN.findall(text)]


def _regular(word: str) -> str:
    if len(word) > 1 and word[0].isalpha() and word[1:].replace("-", "").isalpha():
        return word.lower()
    return word.replace("'", "′") if word[0].isupper() else word


def bucket(word: str) -> int:
    """Return the bucket of a word that has no number of its own."""
    return crc32(word.lower().encode()) % BUCKETS


class Vocabulary:
    """Words and their numbers.

    Args:
        words: all of them, the fixed ones first.

    Raises:
        ValueError: they do not start with the fixed words, or one occurs twice.
    """

    def __init__(self, words: Sequence[str] = FIXED) -> None:
        if tuple(words[: len(FIXED)]) != FIXED or len(set(words)) < len(words):
            raise ValueError("these are not the words of a geometry model")
        self.words = tuple(words)
        self.number = {word: i for i, word in enumerate(self.words)}
        self._first_bucket = self.number["<w0>"]

    def __len__(self) -> int:
        return len(self.words)

    @classmethod
    def count(cls, texts: Iterable[Sequence[str]], *, least: int = 1) -> Vocabulary:
        """Return the vocabulary of split texts: the most frequent words that still fit."""
        counts = Counter(word for text in texts for word in text if word not in _FIXED)
        known = [w for w, n in counts.items() if n >= least]
        kept = sorted(known, key=lambda w: (-counts[w], w))[: LIMIT - len(FIXED)]
        return cls((*FIXED, *sorted(kept)))

    def ids(self, words: Iterable[str]) -> list[int]:
        """Return the numbers of split words."""
        get = self.number.get
        return [
            number if (number := get(w)) is not None else self._first_bucket + bucket(w)
            for w in words
        ]

    def text(self, ids: Iterable[int]) -> str:
        """Return the words of some numbers, joined."""
        return " ".join(self.words[i] for i in ids)


_FIXED = frozenset(FIXED)
