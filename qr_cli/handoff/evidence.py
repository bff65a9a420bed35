"""Tokens behind a score: where the encoder looked, or what the score loses without each token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qr_cli.errors import UsageError

if TYPE_CHECKING:
    from qr_cli.handoff.decider import Decider, Event

TOP = 3
NOTE = "where the encoder looked, not a cause"


def tokens_behind(
    decider: Decider, event: Event, before: dict[str, np.ndarray], p: float
) -> dict[str, Any]:
    """Return the three tokens that count most, with their weights or drops of p.

    Args:
        decider: with the model.
        event: the turn.
        before: the session's state before it.
        p: the turn's probability.

    Raises:
        UsageError: attention was asked of a base that has none.
    """
    kept = event.tokens[: len(event.ids)] or ["<unk>"]
    if decider.evidence == "attention":
        weights = getattr(decider.runner, "token_weights", None)
        if weights is None:
            raise UsageError(
                "--evidence: attention is for base gru", hint="--evidence occlusion works for all"
            )
        values, kind = weights(event.ids), {"kind": "attention", "note": NOTE}
    else:
        values, kind = _drops(decider, event, before, p), {"kind": "occlusion"}
    top = np.argsort(-np.abs(values), kind="stable")[:TOP]
    return {**kind, "tokens": [[kept[i], float(f"{values[i]:.4g}")] for i in top]}


def _drops(decider: Decider, event: Event, before: dict[str, np.ndarray], p: float) -> np.ndarray:
    """Return how much p falls when each token is left out; above 0: it spoke for a transfer."""
    ids = list(event.ids)
    variants = [ids[:i] + ids[i + 1 :] or [1] for i in range(len(ids))]
    x = decider.runner.encode(variants, [event.role] * len(ids))
    states = {k: np.repeat(v, len(ids), axis=0) for k, v in before.items()}
    found, _ = decider.runner.step(x, np.full(len(ids), event.role), states)
    return p - np.asarray(decider.model.probability(found["odds"]))
