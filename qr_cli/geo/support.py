"""What holds a step up: its level, the facts it uses, what it assumes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from qr_cli.geo.board import Look


class Support(NamedTuple):
    """A level (2 verified, 1 needs the diagram, 0 refuted), facts used, assumptions made."""

    level: int
    uses: tuple[int, ...] = ()
    assumes: tuple[str, ...] = ()


NOTHING = Support(0)


def held(look: Look, *uses: int, cap: int = 2) -> Support:
    """Return a look as a support by facts; `cap` bounds its level."""
    return Support(min(look.level, cap), uses, look.assumes) if look.level else NOTHING


def strongest(found: Iterable[Support]) -> Support:
    """Return the first support of the highest level."""
    top = NOTHING
    for support in found:
        if support.level == 2:
            return support
        if support.level > top.level:
            top = support
    return top


def all_of(*supports: Support) -> Support:
    """Return the conjunction of supports."""
    level = min(support.level for support in supports)
    if level == 0:
        return NOTHING
    return Support(
        level,
        tuple(dict.fromkeys(use for support in supports for use in support.uses)),
        tuple(dict.fromkeys(note for support in supports for note in support.assumes)),
    )
