"""Patterns of calculation texts and what each says of the figure.

A pattern is a template: `{S}` a segment, `{P}` a point, `{A}` an angle, `{T}` a triangle, `{Q}` a
quadrilateral, `{POLY}` either, `{N}` a number, `{O}` a circle; `{Ss}` is a list as subject, `{So}`
one as object; a name before a colon makes a group. A handler takes the reading, the match and the
numbers; it returns False to leave the words to later patterns.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from qr_cli.geo import lexicon
from qr_cli.geo.reading import Reading

Handler = Callable[[Reading, re.Match[str], list[float]], Any]
_PIECES = {
    "P": lexicon.ONE, "S": lexicon.S, "A": lexicon.A, "T": lexicon.T, "Q": lexicon.Q,
    "N": lexicon.N, "O": lexicon.CIRCLE, "POLY": lexicon.POLY,
    "Ps": lexicon.POINTS, "Ss": lexicon.SEGMENTS, "As": lexicon.ANGLES,
    "Po": lexicon.OBJECT_POINTS, "So": lexicon.OBJECT_SEGMENTS, "Ao": lexicon.OBJECT_ANGLES,
}  # fmt: skip


def template(text: str) -> re.Pattern[str]:
    """Return the pattern of a template; a name may stand in several alternatives."""
    seen: dict[str, int] = {}

    def piece(found: re.Match[str]) -> str:
        name, _, kind = found[1].rpartition(":")
        if not name:
            return f"(?:{_PIECES[kind]})"
        seen[name] = seen.get(name, -1) + 1
        return f"(?P<{name}{'__' + str(seen[name]) if seen[name] else ''}>{_PIECES[kind]})"

    return re.compile(re.sub(r"\{([\w:]+)\}", piece, text.replace(" ", r"\s+")))


def group(found: re.Match[str], name: str) -> str:
    """Return a group's text, whichever alternative held it, or nothing."""
    groups = found.groupdict()
    return next((v for k, v in groups.items() if v and k.partition("__")[0] == name), "")


def number(found: re.Match[str], name: str, numbers: list[float]) -> float:
    """Return the number a group's slot holds."""
    return numbers[int(group(found, name)[2:])]


def center(reading: Reading, found: re.Match[str], name: str = "o") -> str:
    """Return the circle a group speaks of; none or "the circle": the only one."""
    named = lexicon.names(group(found, name))
    return reading.circle(named[0] if named else None)
