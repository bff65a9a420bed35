"""What ``--robust`` names: ``noise:0.05,0.1`` and ``fgsm:2/255``. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

from qr_cli.errors import near

DEFAULTS = {  # strengths in units of the pixel range [0, 1]
    "noise": ("0.02", "0.05", "0.1", "0.2"),
    "fgsm": ("1/255", "2/255", "4/255", "8/255"),
}


class Attack(NamedTuple):
    """A way to disturb pixels and its strength, as it was typed."""

    kind: str
    text: str

    @property
    def strength(self) -> float:
        """Return the strength, in (0, 1]."""
        return float(Fraction(self.text))

    def __str__(self) -> str:
        return f"{self.kind}:{self.text}"


def parse_attacks(words: Iterable[str]) -> tuple[Attack, ...]:
    """Return the attacks that words such as "noise:0.05", "0.1", "fgsm" name, each once.

    A strength without a kind belongs to the kind before it; a kind alone has its default strengths.

    Raises:
        ValueError: an unknown kind, or a strength that is no number in (0, 1].
    """
    found: dict[Attack, None] = {}
    kind = None
    for word in words:
        head, colon, text = word.partition(":")
        if colon or head.strip().lower() in DEFAULTS or kind is None:
            kind = head.strip().lower()
            if kind not in DEFAULTS:
                raise ValueError(
                    f"should be noise:S,.. or fgsm:E,.., got {word}{near(kind, DEFAULTS)}"
                )
            texts = (text.strip(),) if colon else DEFAULTS[kind]
        else:
            texts = (word.strip(),)
        found |= dict.fromkeys(_checked(Attack(kind, text)) for text in texts)
    return tuple(found)


def _checked(attack: Attack) -> Attack:
    try:
        fits = 0 < attack.strength <= 1
    except (ValueError, ZeroDivisionError):
        fits = False
    if not fits:
        raise ValueError(
            f"a strength is a number in (0, 1] such as 0.1 or 2/255, got {attack.text or 'nothing'}"
        )
    return attack
