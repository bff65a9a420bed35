"""Numbers in the words of a message."""

from __future__ import annotations

from collections.abc import Iterable


def ranges(numbers: Iterable[int], comma: str = ", ") -> str:
    """Return ascending whole numbers in short: ``0-3, 7``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return comma.join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
