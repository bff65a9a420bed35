"""From a calculation text to conditions on a figure and the quantity asked for.

Every pattern consumes the words it understands. What is left, other than words that say nothing of
the figure, is `not_understood`: it is quoted, and no answer is then called verified.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from qr_cli.geo.lexicon import FILLERS, NAME, N, Q, T, names, phrase
from qr_cli.geo.patterns import Handler, group
from qr_cli.geo.patterns_circle import CIRCLES, PLACES
from qr_cli.geo.patterns_circle import NOUNS as CIRCLE_NOUNS
from qr_cli.geo.patterns_line import LINES
from qr_cli.geo.patterns_line import NOUNS as LINE_NOUNS
from qr_cli.geo.patterns_shape import MENTIONS, SHAPES
from qr_cli.geo.patterns_shape import NOUNS as SHAPE_NOUNS
from qr_cli.geo.patterns_value import VALUES, WHOLES
from qr_cli.geo.questions import ask
from qr_cli.geo.reading import Reading
from qr_cli.geo.settle import settle

_GAP = " ¦ "
_NOUNS = (*SHAPE_NOUNS, *CIRCLE_NOUNS, *LINE_NOUNS)
_PATTERNS = (*WHOLES, *SHAPES, *CIRCLES, *LINES, *PLACES, *VALUES, *MENTIONS)
_UNDEFINED = (
    (r"∠\s*\d|\bangles?\s+\d", "an angle by a digit"),
    (r"\b(?:lines?|∥|⟂)\s+[a-z]\b|(?<![A-Za-z])[a-z]\s+(?:∥|⟂)", "a line by a small letter"),
    (r"\bl_?\{?\d", "a line by a number"), (r"\bshaded\b", "a shaded part"),
    (r"∠\s*[αβγθ]|[αβγθ]", "an angle by a Greek letter"),
    (r"\bgrid\b", "a grid"),
    (r"\bset square|triangular plate|triangle plate|triangle ruler|plates?\b", "a set square"),
)  # fmt: skip


def read(text: str, numbers: Sequence[float]) -> Reading:
    """Return what a slotted text says.

    Args:
        text: cleaned, with N_i for its numbers (`slots`).
        numbers: their values.
    """
    reading = Reading()
    values = list(numbers)
    rest = phrase(text)
    for pattern, what in _UNDEFINED:
        if re.search(pattern, rest):
            reading.needs_diagram.append(f"the text names {what}")
    for name in re.findall(rf"⊙({NAME})", rest):
        reading.circle(name)
    rest = ask(reading, rest, values)
    for name in re.findall(rf"{T}|{Q}", rest):
        reading.polygon(tuple(names(name)))
    for form, handler in _NOUNS:
        rest = _consume(reading, rest, values, form, handler, noun=True)
    for form, handler in _PATTERNS:
        rest = _consume(reading, rest, values, form, handler)
    settle(reading)
    reading.not_understood += _leftovers(rest)
    return reading


def _consume(
    reading: Reading,
    rest: str,
    values: list[float],
    pattern: re.Pattern[str],
    handler: Handler,
    *,
    noun: bool = False,
) -> str:
    """Return a text without what a pattern takes; of a noun phrase its name stays."""
    at = 0
    while found := pattern.search(rest, at):
        at = found.start() + 1
        taken = next(
            (f for f in _shorter(pattern, rest, found) if handler(reading, f, values) is not False),
            None,
        )
        if taken is None:
            continue
        found = taken
        left = next((g for n in "plstq" if (g := group(found, n))), "") if noun else _GAP
        rest = rest[: found.start()] + left + rest[found.end() :]
        at = found.start() + len(left)
    return rest


def _shorter(pattern: re.Pattern[str], text: str, found: re.Match[str]) -> Iterator[re.Match[str]]:
    """Yield a match, then those that end before a member of its last list."""
    if found.end() > found.start():
        yield found
        for cut in reversed([m.start() for m in re.finditer(r" , | and ", found[0])]):
            shorter = pattern.match(text, found.start(), found.start() + cut)
            if shorter and shorter.end() > shorter.start():
                yield shorter


def _leftovers(rest: str) -> list[str]:
    """Return the stretches of words that no pattern took and that may say something."""
    found = []
    for part in re.split(r"[¦.,;?!]", rest):
        words = re.findall(r"[∠△⊙]?[\w′]+|[∥⟂≅~=:]", part)
        if any(_says(word) for word in words):
            found.append(" ".join(words))
    return found


def _says(word: str) -> bool:
    if re.fullmatch(N, word):
        return True
    return not names(word) and word.lower() not in FILLERS
