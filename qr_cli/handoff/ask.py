"""What `qr handoff` does: answer lines, draw traces, or export."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from qr_cli.errors import DataError
from qr_cli.handoff.ask_recipe import Ask
from qr_cli.handoff.decide import Policy, policy
from qr_cli.handoff.decider import Decider
from qr_cli.handoff.lines import bursts
from qr_cli.handoff.load import EMBEDDED, Model, load
from qr_cli.handoff.stream import serve

log = logging.getLogger(__name__)
Record = dict[str, Any]
HINT = (
    "the embedded model learnt where chit-chat bots broke down, not customer service: "
    "train your own with qr train handoff"
)


def ask(recipe: Ask) -> Iterator[tuple[str, Record]]:
    """Yield each line with its answer, in order.

    Raises:
        WeightsError: the model cannot be used, or lacks what the threshold needs.
        UsageError: the model looks ahead.
        DataError: some lines could not be used; all others are answered before.
    """
    model = opened(recipe)
    decider = Decider(
        model,
        policy_of(recipe, model),
        limit=recipe.live.max_sessions,
        ttl=recipe.live.session_ttl,
        evidence=recipe.live.evidence,
    )
    source = recipe.input.input[0] if recipe.input.input else "-"
    bad = count = 0
    settings = {"strict": recipe.input.strict, "timing": recipe.live.timing}
    for line, record in serve(decider, bursts(source), **settings):
        count += 1
        bad += "error" in record
        yield line, record
    sessions = decider.sessions
    if sessions.evicted or sessions.expired:
        log.info(
            "%d sessions were pushed out by --max-sessions %d, %d expired",
            sessions.evicted, sessions.limit, sessions.expired,
        )  # fmt: skip
    if bad:
        raise DataError(
            f"{bad} of {count} lines could not be used; their answers say why",
            hint="--strict stops at the first one",
        )


def opened(recipe: Ask) -> Model:
    """Return the model of the call; say once what the embedded one is."""
    if recipe.input.checkpoint in EMBEDDED:
        log.info("%s", HINT)
    return load(recipe.input.checkpoint)


def policy_of(recipe: Ask, model: Model) -> Policy:
    """Return when to transfer."""
    when = recipe.when
    named = when.threshold in ("cost", "validated", "default")
    return policy(
        model.calibration,
        point=when.threshold if named else "threshold",  # type: ignore[arg-type]
        threshold=None if named else float(when.threshold),
        budget=when.budget,
        cost_false=when.cost_false,
        cost_miss=when.cost_miss,
        review=when.review,
        min_turns=when.min_turns,
        hysteresis=when.hysteresis,
        request_rule=when.request_rule == "on",
        after=when.after_transfer,
    )
