"""Which stages and blocks of a network get attention (imports no torch)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from qr_cli.errors import UsageError, near

Stages = str | int | Sequence[int]

_WORDS = ("auto", "all", "last", "last2")


def choose_stages(stages: Stages, count: int, auto: Sequence[int]) -> tuple[int, ...]:
    """Return the numbers, from 1, of the chosen stages, in order.

    Args:
        stages: "auto", "all", "last", "last2", "1,3", a number or numbers.
        count: stages of the network.
        auto: what "auto" stands for: the rule of the module.

    Raises:
        UsageError: no such stage.
    """
    words = {
        "auto": tuple(auto),
        "all": tuple(range(1, count + 1)),
        "last": (count,),
        "last2": tuple(range(max(1, count - 1), count + 1)),
    }
    if isinstance(stages, str):
        text = stages.strip().lower()
        if text in words:
            return words[text]
        if not re.fullmatch(r"\d+(\s*,\s*\d+)*", text):
            raise UsageError(
                f"--stages: must be {', '.join(_WORDS)} or numbers like 1,3, "
                f"got {stages!r}{near(text, _WORDS)}",
                hint="--stages auto",
            )
        numbers = [int(part) for part in text.split(",")]
    else:
        numbers = [stages] if isinstance(stages, int) else list(stages)
    for number in numbers:
        if not 1 <= number <= count:
            raise UsageError(
                f"--stages: the network has the stages 1 to {count}, got {number}",
                hint=f"--stages {count}",
            )
    if not numbers:
        raise UsageError("--stages: names no stage, got an empty list", hint="--stages all")
    return tuple(sorted(set(numbers)))


def choose_blocks(blocks: str | None, depths: Sequence[int]) -> list[bool]:
    """Return for every residual block, in network order, whether it is chosen.

    Args:
        blocks: one 0 or 1 per block, blanks and commas ignored; None chooses all.
        depths: blocks per stage.

    Raises:
        UsageError: other characters, another length, or only zeros.
    """
    count = sum(depths)
    if blocks is None:
        return [True] * count
    digits = re.sub(r"[\s,]", "", blocks)
    expected = f"{count} ({' '.join(map(str, depths))})"
    hint = "--blocks '" + " ".join("1" * depth for depth in depths) + "'"
    if strange := re.sub(r"[01]", "", digits):
        raise UsageError(
            f"--blocks: one 0 or 1 per block is expected, got {strange[0]!r} in {blocks!r}",
            hint=hint,
        )
    if len(digits) != count:
        raise UsageError(
            f"--blocks: expected {expected} digits, got {len(digits)} in {blocks!r}", hint=hint
        )
    if "1" not in digits:
        raise UsageError(f"--blocks: leaves no block, got {blocks!r}", hint=hint)
    return [digit == "1" for digit in digits]
