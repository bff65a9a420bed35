"""Geometry text made regular: the authors' normalisation, and ours for what users type."""

from __future__ import annotations

import re
import unicodedata

SYMBOLS = {
    "≠": " not-equal ", "≈": " approximate ", "△": " triangle ", "∠": " angle ",
    "∥": " parallel ", "⊙": " circle ", "☉": " circle ", "⊥": " perpendicular ",
    "⟂": " perpendicular ", "≌": " congruent ", "≅": " congruent ", "▱": " parallelogram ",
    "∽": " similar ", "⁀": " arc ", "⌒": " arc ",
}  # fmt: skip
# `+-/` is a range in the authors' pattern: + , - . / are all separators
_SEPARATORS = re.compile(r"([=≠≈+-/△∠∥⊙☉⊥⟂≌≅▱∽⁀⌒;,:.•?])")


def normalize(text: str) -> str:
    """Return a calculation text as the authors' reader gives it to the model."""
    words = " ".join(_SEPARATORS.split(text)).split()
    spaced = " ".join(_spell(word) for word in words)
    for symbol, name in SYMBOLS.items():
        spaced = spaced.replace(symbol, name)
    return " ".join(spaced.split())


def _spell(word: str) -> str:
    if any(mark in word for mark in ("N_", "NS_", "frac")) or word.istitle():
        return word
    return " ".join(word) if re.search("[A-Z]", word) else word


_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff]")
_KEPT = "△∠∥⊙☉⊥⟂≌≅▱∽⁀⌒′″°º√π²³½¼¾"  # characters NFKC would change or that mean something here
_LATEX = (
    (r"\\(?:left|right|displaystyle|,|;|!|quad)(?![A-Za-z])", " "),
    (r"\\(?:mathrm|text|overline|bar|operatorname)\s*\{([^{}]*)\}", r"\1"),
    (r"\\(?:overset|widehat)\s*(?:\{[^{}]*\})?\s*\{([^{}]*)\}", r"arc \1"),
    (r"\^\s*\{?\s*\\circ\s*\}?", "°"),
    (r"\\triangle", "△"), (r"\\angle|\\measuredangle", "∠"), (r"\\parallel", "∥"),
    (r"\\perp", "⟂"), (r"\\cong", "≅"), (r"\\sim(?![a-z])", "~"), (r"\\odot", "⊙"),
    (r"\\times|\\cdot", "×"), (r"\\pi(?![a-z])", "π"), (r"\\sqrt", "√"),
    (r"\\[dt]?frac", r"\\frac"),
    (r"\\(sin|cos|tan)", r"\1"), (r"\\prime", "′"), (r"\^\s*\{?\s*′\s*\}?", "′"),
    (r"\\[()\[\]]|\$", " "),
)  # fmt: skip
_WORDS = (
    (r"(?<![A-Za-z])Rt\s*[△Δ]", "right △"),
    (r"Δ(?=\s*[A-Z])", "△"),
    (r"[º˚]|(?<=\d)\s*(?:degrees|degree|deg)\b\.?", "°"),
    (r"[≌]", "≅"), (r"[∽∼～]", "~"), (r"⊥", "⟂"), (r"☉|⊙", "⊙"),
    (r"(?<=[A-Za-z0-9′])\s*(?://|\|\||∥)\s*(?=[A-Za-z])", " ∥ "),
    (r"(?<![<>=])<\s*(?=[A-Z]{1,3}\b|\d\b)", "∠"),
    (r"(?<=[A-Z])['’`](?!\w{2})", "′"),
    (r"½", "1/2"), (r"¼", "1/4"), (r"¾", "3/4"),
)  # fmt: skip


def clean(text: str) -> str:
    """Return user text with one writing of every symbol; cleaning twice changes nothing."""
    held = {c: chr(0xE000 + i) for i, c in enumerate(_KEPT)}
    text = "".join(held.get(c, c) for c in _INVISIBLE.sub("", text))
    text = unicodedata.normalize("NFKC", text)
    for kept, private in held.items():
        text = text.replace(private, kept)
    for pattern, replacement in (*_LATEX, *_WORDS):
        text = re.sub(pattern, replacement, text)
    return " ".join(text.split())


_SIGNS = (
    (r"\bangles?\s+(?=[A-Z])", "∠"),
    (r"\b[Tt]riangles?\s+(?=[A-Z])", "△"),
    (r"\bis\s+parallel\s+to\b|\bparallel\s+to\b", "∥"),
    (r"\bis\s+perpendicular\s+to\b|\bperpendicular\s+to\b", "⟂"),
    (r"\b(?:is|are)\s+congruent\s+to\b|\bcongruent\s+to\b", "≅"),
    (r"\bis\s+similar\s+to\b|\bsimilar\s+to\b|∽", "~"),
    (r"\b(?:is\s+)?equal\s+to\b|\bequals\b", "="),
    (r"\ba\s+midpoint\b|\bthe\s+mid-?\s?point\b", "the midpoint"),
    (r"\b[Ll](?:ines?|ine\s+segments?)\s+(?=[A-Z]{2}\b)|\b[Ss]egments?\s+(?=[A-Z]{2}\b)", ""),
)


def tidy(text: str) -> str:
    """Return a proving text with signs in place of words."""
    text = clean(text)
    for pattern, sign in _SIGNS:
        text = re.sub(pattern, sign, text)
    return text
