"""From a probability to a decision, for one conversation turn by turn.

Operating points: `cost` transfers where the calibrated p is at least C_false / (C_false + C_miss);
`validated` at the threshold with the best Macro-F1 on validation data (on the raw p~), `default` at
raw p~ >= 0.5, `threshold` and `budget` on the calibrated p.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from qr_cli.errors import UsageError, WeightsError
from qr_cli.handoff.calibrate import Calibration, budget_threshold, cost_threshold

Point = Literal["cost", "validated", "default", "threshold", "budget"]
After = Literal["echo", "silent", "continue"]
MISSING = "this model has no calibration.json, which the {} point needs"
MISSING_HINT = "qr eval handoff RUN --data FILE --calibrate, or give --threshold"


@dataclass(frozen=True)
class Policy:
    """When to transfer.

    Attributes:
        point: where the threshold comes from.
        threshold: compared with the calibrated p, or with the raw one.
        raw: whether it is the raw p~.
        cost_false: of a false transfer.
        cost_miss: of a missed one.
        review: from this p up to the threshold a human should look.
        min_turns: customer turns before which only an explicit request transfers.
        hysteresis: turns in a row that must reach the threshold.
        request_rule: whether an explicit request transfers whatever p is.
        after: what is answered after a transfer.
    """

    point: Point = "cost"
    threshold: float = 0.25
    raw: bool = False
    cost_false: float = 1.0
    cost_miss: float = 3.0
    review: float | None = None
    min_turns: int = 0
    hysteresis: int = 1
    request_rule: bool = True
    after: After = "echo"


def policy(
    calibration: Calibration | None,
    *,
    point: Point = "cost",
    threshold: float | None = None,
    budget: float | None = None,
    cost_false: float = 1.0,
    cost_miss: float = 3.0,
    **rest: Any,
) -> Policy:
    """Return the policy of some settings.

    Args:
        calibration: of the model.
        point: where the threshold comes from, if neither of the next two is given.
        threshold: on the calibrated p.
        budget: share of validation sessions that may be raised.
        cost_false: of a false transfer.
        cost_miss: of a missed one.
        rest: other fields of `Policy`.

    Raises:
        WeightsError: the point needs a calibration that is not there.
        UsageError: a number is out of range.
    """
    cost = cost_threshold(cost_false, cost_miss)
    raw = False
    if threshold is not None:
        point, value = "threshold", threshold
    elif budget is not None:
        if calibration is None or not calibration.sessions:
            raise WeightsError(MISSING.format("budget"), hint=MISSING_HINT)
        point, value = "budget", budget_threshold(calibration.sessions, budget)
    elif point == "default":
        value, raw = 0.5, True
    elif calibration is None:
        raise WeightsError(MISSING.format(point), hint=MISSING_HINT)
    elif point == "validated":
        if calibration.validated is None:
            raise WeightsError(MISSING.format(point), hint=MISSING_HINT)
        value, raw = calibration.validated, True
    else:
        value = cost
    review = rest.get("review")
    if review is not None and review >= value:
        raise UsageError(f"--review: must be below the threshold {value:.4g}, got {review:g}")
    return Policy(point, value, raw, cost_false, cost_miss, **rest)


@dataclass(slots=True)
class Counters:
    """What a conversation has been through, besides the model's own state."""

    turns: int = 0
    customer_turns: int = 0
    streak: int = 0
    handed_off: bool = False
    customer_sets: list[frozenset[int]] = field(default_factory=list)
    agent_sets: list[frozenset[int]] = field(default_factory=list)
    negative: list[float] = field(default_factory=list)


def decide(
    policy: Policy, counters: Counters, value: float | None, *, requested: bool
) -> tuple[str, bool]:
    """Return the decision of a turn, and whether it reaches the threshold.

    Args:
        policy: when to transfer.
        counters: of the conversation, this turn included.
        value: p as the policy compares it, or None on turns that have none.
        requested: whether the customer asks for a human.
    """
    reached = value is not None and value >= policy.threshold
    counters.streak = counters.streak + 1 if reached else 0
    if requested and policy.request_rule:
        transfer = True
    else:
        ready = counters.customer_turns >= policy.min_turns
        transfer = reached and ready and counters.streak >= policy.hysteresis
    if counters.handed_off and policy.after == "echo":
        return "handed_off", reached
    if transfer:
        counters.handed_off = True
        return "transfer", reached
    if policy.review is not None and value is not None and policy.review <= value:
        return "review", reached
    return "stay", reached
