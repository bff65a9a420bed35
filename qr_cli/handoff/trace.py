"""A dialogue as a supervisor wants to see it: who said what, how p moved, and why it was raised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qr_cli.engine.filenames import file_name
from qr_cli.engine.files import write_bytes
from qr_cli.errors import DataError, UsageError
from qr_cli.handoff.ask import opened, policy_of
from qr_cli.handoff.ask_recipe import Ask
from qr_cli.handoff.decider import STATES, Decider
from qr_cli.handoff.mhch import load_json

Record = dict[str, Any]
WORDS = {
    "explicit_request": "asks for a human",
    "negative_state": "customer is unhappy",
    "worsening_state": "mood is getting worse",
    "repeated_question": "repeats the question",
    "bot_repeat": "bot repeats itself",
    "bot_failure": "bot's answer fails",
    "model_score": "score is high",
    "low_confidence": "close call",
}
DECISIONS = {
    "transfer": "hand over",
    "review": "have a look",
    "handed_off": "with a human",
    "stay": "stay",
}


@dataclass(frozen=True)
class Turn:
    """A turn as it is drawn.

    Attributes:
        customer: who speaks.
        text: what is said, or how many tokens.
        p: calibrated probability, or None.
        base: that without the correction, uncalibrated.
        states: shares of negative, neutral, positive, or None.
        decision: what was decided.
        reasons: why, in words.
        gold: label, or None.
    """

    customer: bool
    text: str
    p: float | None
    base: float | None
    states: tuple[float, ...] | None
    decision: str
    reasons: tuple[str, ...]
    gold: float | None


@dataclass(frozen=True)
class Trace:
    """A dialogue as it is drawn."""

    session: str
    turns: Sequence[Turn]
    threshold: float
    point: str
    model: str
    supervised: bool

    @property
    def title(self) -> str:
        """Say what is seen."""
        first = next((i for i, t in enumerate(self.turns) if t.decision == "transfer"), None)
        if first is None:
            return f"{self.session}: the bot keeps the conversation"
        why = ", ".join(self.turns[first].reasons)
        return f"{self.session}: hand over at turn {first + 1} ({why})"

    @property
    def caption(self) -> str:
        """Say how it was got."""
        states = "" if self.supervised else " The states had no labels: their names are only names."
        return (
            f"Model {self.model}; p is calibrated, threshold {self.threshold:.3g} "
            f"({self.point} point). Scores of a turn never depend on later ones.{states}"
        )


def trace(recipe: Ask) -> Iterator[Record]:
    """Draw every dialogue of INPUT; yield a record per file.

    Raises:
        DataError: a line is no dialogue, or the session is not there.
        UsageError: a file is there already.
    """
    decider = _decider(recipe)
    source = recipe.input.input[0] if recipe.input.input else "-"
    folder, found = Path(str(recipe.look.trace)), False
    for value in _dialogues(source):
        if recipe.look.only is not None and str(value.get("session_id")) != recipe.look.only:
            continue
        found = True
        drawn = read(decider, value)
        for kind in recipe.look.trace_format:
            file = folder / f"{file_name(drawn.session)}.{kind}"
            if file.exists() and not recipe.look.overwrite:
                raise UsageError(f"--trace: {file} exists", hint="--overwrite replaces it")
            write_bytes(file, _render(drawn, kind))
            yield {"event": "trace", "session_id": drawn.session, "file": str(file)}
    if not found:
        what = f"no session {recipe.look.only!r}" if recipe.look.only else "no dialogue"
        raise DataError(f"{source} holds {what}")


def read(decider: Decider, value: Any) -> Trace:
    """Decide on a dialogue and return how it is drawn.

    Raises:
        DataError: it is none.
    """
    record = decider.dialogue(value)
    turns = []
    for said, turn in zip(value["utterances"], record["utterances"], strict=True):
        tokens = said.get("tokens")
        turns.append(
            Turn(
                customer=turn["role"] == "customer",
                text=f"{len(tokens)} tokens" if tokens is not None else said["text"],
                p=turn.get("p"),
                base=turn.get("p_base"),
                states=tuple(turn[s] for s in STATES) if STATES[0] in turn else None,
                decision=turn["decision"],
                reasons=tuple(WORDS[code] for code in turn.get("reasons", ())),
                gold=said.get("handoff"),
            )
        )
    policy = decider.policy
    return Trace(
        record["session_id"], turns, policy.threshold, policy.point, decider.model.name,
        decider.model.card.get("state_supervised", True),
    )  # fmt: skip


def _decider(recipe: Ask) -> Decider:
    model = opened(recipe)
    return Decider(model, policy_of(recipe, model))


def _dialogues(source: str) -> Iterator[Any]:
    from qr_cli.handoff.lines import bursts

    number = 0
    for lines in bursts(source):
        for line in lines:
            number += 1
            if not line.strip():
                continue
            try:
                value = load_json(line)
            except DataError as fault:
                raise DataError(f"{source} line {number}: {fault.message}") from None
            if not isinstance(value, dict) or "utterances" not in value:
                raise DataError(f"{source} line {number} is no dialogue; events have no trace")
            yield value


def _render(drawn: Trace, kind: str) -> bytes:
    if kind == "html":
        from qr_cli.handoff.trace_html import page

        return page(drawn).encode()
    from qr_cli.handoff.trace_png import picture

    return picture(drawn)
