"""Why a turn is a reason to call a human: codes, each a signal above its own quantile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qr_cli.handoff.decide import Counters

CODES = (
    "explicit_request", "negative_state", "worsening_state", "repeated_question", "bot_repeat",
    "bot_failure", "model_score", "low_confidence",
)  # fmt: skip
REPEATED, BOT_REPEATED, DISTINCT = 0.6, 0.8, 3  # Jaccard overlaps; distinct tokens at least
NEAR = 0.05  # of the threshold
KEPT, SLOPE, SET = 8, 3, 64
USUAL = {"negative_state": 0.5, "worsening_state": 0.1}  # without validation data


def find_reasons(
    counters: Counters,
    *,
    customer: bool,
    tokens: Sequence[Any],
    requested: bool,
    value: float | None,
    threshold: float,
    reached: bool,
    scores: Mapping[str, Any],
    quantiles: Mapping[str, float],
    request_rule: bool = True,
) -> list[str]:
    """Return the codes of a turn, and note it in the counters.

    Args:
        counters: of the conversation.
        customer: who speaks.
        tokens: of the turn.
        requested: whether the customer asks for a human.
        value: p as it is compared, or None.
        threshold: what it is compared with.
        reached: whether it is at least that.
        scores: "state", "local" (3 numbers or None) and "correction" of the turn.
        quantiles: of the signals, on validation data.
        request_rule: whether requests count.
    """
    found = ["explicit_request"] if requested and request_rule else []
    state, local = scores.get("state"), scores.get("local")
    if state is not None:
        limit = quantiles.get("negative_state", USUAL["negative_state"])
        if state[0] >= limit and scores["correction"] > 0:
            found.append("negative_state")
    if local is not None and customer:
        counters.negative = [*counters.negative, float(local[0])][-SLOPE:]
        if len(counters.negative) == SLOPE:
            rise = (counters.negative[-1] - counters.negative[0]) / 2  # least squares of three
            if rise > quantiles.get("worsening_state", USUAL["worsening_state"]):
                found.append("worsening_state")
    members = frozenset(hash(token) for token in tokens[:SET])
    past = counters.customer_sets if customer else counters.agent_sets
    if len(members) >= DISTINCT:
        limit = REPEATED if customer else BOT_REPEATED
        if any(len(members & other) >= limit * len(members | other) for other in past):
            found.append("repeated_question" if customer else "bot_repeat")
    past.append(members)
    del past[:-KEPT]
    if reached and not customer:
        found.append("bot_failure")
    if reached and not found:
        found.append("model_score")
    if value is not None and abs(value - threshold) < NEAR:
        found.append("low_confidence")
    return found
