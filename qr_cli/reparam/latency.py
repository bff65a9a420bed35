"""How long the original, the folded forms and the plain backbone take, side by side.

One process, alternating order, CPU time on a CPU; a second copy of the first contestant says how
much of a ratio is noise. No speed is promised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from qr_cli.attention import cost


def measure(
    contestants: Mapping[str, nn.Module], input_size: Sequence[int], *, batch: int, repeats: int
) -> dict[str, Any]:
    """Return the "latency" record.

    Args:
        contestants: by name, on one device; the first is copied for the noise. "original" and one
            of "bare" and "plain" are among them.
        input_size: (channels, height, width).
        batch: images per pass.
        repeats: rounds, at least 2.
    """
    timing = cost.latency(contestants, input_size, batch=batch, rounds=max(2, repeats))
    ms = {name: figure.ms for name, figure in timing.models.items()}
    best = "bare" if "bare" in ms else "plain"
    ratio = ms["original"] / ms[best]
    record: dict[str, Any] = {
        "event": "latency",
        "batch": batch,
        "threads": timing.threads,
        "clock": timing.clock,
        "rounds": max(2, repeats),
        "ms": ms,
        "iqr_ms": {name: figure.iqr_ms for name, figure in timing.models.items()},
        "ratio": ratio,
        "noise": timing.noise,
    }
    if "backbone" in ms and "plain" in ms:
        record["plain_over_backbone"] = ms["plain"] / ms["backbone"]
    return record | {"text": in_words(ratio, timing.noise)}


def in_words(ratio: float, noise: float) -> str:
    """Return what a ratio over the folded network says, given the noise."""
    if abs(ratio - 1) <= abs(noise - 1):
        return f"no measurable difference to the original (noise {noise:.2f}x)"
    if ratio >= 1:
        return f"{ratio:.2f}x faster than the original (noise {noise:.2f}x)"
    return f"{1 / ratio:.2f}x slower than the original (noise {noise:.2f}x)"
