"""Policies that no model is needed for; a figure means something beside these."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from qr_cli.handoff.mhch import Dialogue, Utterance
from qr_cli.handoff.requests import asks_for_human

EVERY = 5  # of "every 5th turn"


def policies(dialogues: Sequence[Dialogue]) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Yield the name of each policy and what it raises; those without a sense here are left out."""

    def raised(rule: object) -> list[np.ndarray]:
        return [
            np.array([bool(rule(i, u)) for i, u in enumerate(d.utterances)])  # type: ignore[operator]
            for d in dialogues
        ]

    everybody = [u for d in dialogues for u in d.utterances]
    yield "never", raised(lambda i, u: False)
    yield "always", raised(lambda i, u: True)
    yield f"every {EVERY}th turn", raised(lambda i, u: i % EVERY == EVERY - 1)
    yield "every customer turn", raised(lambda i, u: u.is_customer)
    yield "every agent turn", raised(lambda i, u: not u.is_customer)
    if any(u.text is not None for u in everybody):
        yield "explicit requests", raised(_requests)
    if any(u.sentiment is not None for u in everybody):
        yield (
            "oracle: gold negative customer",
            raised(lambda i, u: u.is_customer and u.sentiment == 0),
        )


def _requests(index: int, utterance: Utterance) -> bool:
    return utterance.is_customer and asks_for_human(utterance.text or "")
