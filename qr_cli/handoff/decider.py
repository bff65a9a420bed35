"""What a model and a policy say of a turn, for many conversations at once.

The record of a turn is described field by field in docs/handoff.md.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from qr_cli.errors import DataError
from qr_cli.handoff.decide import Counters, Policy, decide
from qr_cli.handoff.mhch import Utterance, parse_dialogue, parse_utterance
from qr_cli.handoff.reasons import find_reasons
from qr_cli.handoff.requests import asks_for_human
from qr_cli.handoff.sessions import Live, Sessions
from qr_cli.handoff.tokens import CHARACTERS

if TYPE_CHECKING:
    from qr_cli.handoff.load import Model

Record = dict[str, Any]
CACHED = 10_000  # utterance vectors
UNFAMILIAR = 0.5  # share of unknown tokens above which p says little
OF_SESSIONS = ("session_id", "session_new")  # fields that a dialogue's turns lack
STATES = ("state_negative", "state_neutral", "state_positive")


@dataclass(slots=True)
class Event:
    """One message of a conversation, read and split."""

    session: str
    utterance: Utterance
    ids: tuple[int, ...]
    tokens: list[Any]
    when: float | None = None
    index: int | None = None
    name: Any = None
    live: Live | None = None  # its session, once entered
    fresh: bool = False  # whether the session begins with it

    @property
    def role(self) -> int:
        """Return 1 for the customer, 0 for the agent."""
        return int(self.utterance.is_customer)


@dataclass(frozen=True, slots=True)
class Decision:
    """What is decided at a turn; see docs/handoff.md for the fields.

    Attributes:
        p: calibrated probability that a human should take over; None where the model has none.
        decision: "transfer", "stay", "review" or "handed_off".
        reasons: codes.
        user_state: shares of negative, neutral and positive, or None.
        record: all fields, as `qr handoff` prints them.
    """

    p: float | None
    decision: str
    reasons: tuple[str, ...]
    user_state: tuple[float, float, float] | None
    record: Record


class Decider:
    """A model and a policy over many sessions.

    Args:
        model: a loaded one.
        policy: when to transfer.
        limit: sessions kept.
        ttl: seconds after which an unheard one is dropped.
        evidence: "none", "attention" or "occlusion".
    """

    def __init__(
        self, model: Model, policy: Policy, *, limit: int | None = None, ttl: float = 3600.0,
        evidence: str = "none",
    ) -> None:  # fmt: skip
        self.model, self.policy, self.evidence = model, policy, evidence
        self.runner = model.runner
        self.sessions = Sessions(self.runner.start, limit=limit, ttl=ttl)
        self._vectors: OrderedDict[Any, np.ndarray] = OrderedDict()
        calibration = model.calibration
        self.quantiles = calibration.quantiles if calibration else {}
        self.silent_role = {"agent": 1, "customer": 0}.get(model.card.get("label_roles", "both"))
        self.tail: Record = {"model": model.name}
        if not model.card.get("state_supervised", True):
            self.tail = {"state_supervised": False, **self.tail}

    # reading -----------------------------------------------------------------------------------

    def event(self, value: Mapping[str, Any]) -> Event:
        """Return the event of a JSON object.

        Raises:
            DataError: it is none.
        """
        session = value.get("session_id")
        if isinstance(session, bool) or not isinstance(session, str | int) or session == "":
            raise DataError(
                "session_id is missing" if session is None else "session_id must be text"
            )
        utterance = parse_utterance(value)
        encoder = self.model.encoder
        tokens = encoder.split(utterance.text, utterance.tokens)
        ids = tuple(encoder.vocabulary.ids(tokens, encoder.max_tokens))
        index = value.get("index")
        return Event(
            str(session), utterance, ids, tokens, moment(value.get("ts")),
            index if type(index) is int else None, value.get("id"),
        )  # fmt: skip

    # deciding ----------------------------------------------------------------------------------

    def enter(self, event: Event) -> None:
        """Find or begin the session of an event."""
        event.live = self.sessions.get(event.session, event.when)
        event.fresh = event.live is None
        event.live = event.live or self.sessions.add(event.session, event.when)
        self.sessions.tick(event.when)

    def decide(self, events: Sequence[Event]) -> list[Record]:
        """Answer events of different sessions, all at once; each has entered."""
        lives = [event.live for event in events if event.live is not None]
        rows = [live.row for live in lives]
        x = self._encode(events)
        before = self.sessions.rows(rows)
        found, new = self.runner.step(x, np.array([e.role for e in events]), before)
        self.sessions.store(rows, new)
        p = np.asarray(self.model.probability(found["odds"]), dtype=float)
        answers = []
        for i, (event, live) in enumerate(zip(events, lives, strict=True)):
            one = {k: None if v is None else v[i] for k, v in found.items()}
            record = self._answer(event, live.counters, one, float(p[i]), fresh=event.fresh)
            if self.evidence != "none":
                from qr_cli.handoff.evidence import tokens_behind

                at = {k: v[i : i + 1] for k, v in before.items()}
                record["evidence"] = tokens_behind(self, event, at, float(p[i]))
            answers.append(record)
        return answers

    def control(self, session: str, what: str, when: float | None) -> None:
        """End, resume or reset a session."""
        live = self.sessions.get(session, when)
        if live is None:
            return
        if what == "end":
            self.sessions.drop(session)
        elif what == "resume":
            live.counters.handed_off, live.counters.streak = False, 0
        else:
            self.sessions.reset(live)

    def dialogue(self, value: Any) -> Record:
        """Answer a whole dialogue: one record with its turns.

        Raises:
            DataError: it is none.
        """
        dialogue = parse_dialogue(value)
        (scored,) = self.model.scores([dialogue])
        p = self.model.probability(scored.odds)
        counters, turns = Counters(), []
        for i, utterance in enumerate(dialogue.utterances):
            tokens = self.model.encoder.split(utterance.text, utterance.tokens)
            event = Event(dialogue.session_id, utterance, (), tokens)
            one = {
                "base": scored.base[i], "odds": scored.odds[i],
                "local": None if scored.local is None else scored.local[i],
                "state": None if scored.state is None else scored.state[i],
                "needed": None if scored.needed is None else scored.needed[i],
            }  # fmt: skip
            record = self._answer(event, counters, one, float(p[i]), fresh=False)
            turns.append({k: v for k, v in record.items() if k not in OF_SESSIONS})
        raised = [i for i, turn in enumerate(turns) if turn.get("decision") == "transfer"]
        return {
            "session_id": dialogue.session_id,
            "utterances": turns,
            "first_transfer": raised[0] if raised else None,
            "raised": bool(raised),
        }

    def _encode(self, events: Sequence[Event]) -> np.ndarray:
        """Return utterance vectors, each distinct utterance encoded once."""
        vectors = self._vectors
        keys = [(e.role, e.ids) for e in events]
        new = {key: None for key in keys if key not in vectors}
        if new:
            found = self.runner.encode([ids for _, ids in new], [role for role, _ in new])
            for key, vector in zip(new, found, strict=True):
                vectors[key] = vector.copy()
        x = np.stack([vectors[key] for key in keys])
        for key in keys:
            vectors.move_to_end(key)
        while len(vectors) > CACHED:
            vectors.popitem(last=False)
        return x

    def _unknown(self, tokens: Sequence[Any]) -> float:
        """Return the share of tokens that the model does not know."""
        index = self.model.encoder.vocabulary.index
        return sum(token not in index for token in tokens) / len(tokens) if index else 0.0

    def _answer(
        self, event: Event, counters: Counters, scores: Record, p: float, *, fresh: bool
    ) -> Record:
        """Return the record of a turn, and note it in the counters."""
        policy, utterance = self.policy, event.utterance
        customer = utterance.is_customer
        index = counters.turns
        counters.turns += 1
        counters.customer_turns += customer
        was_handed_off = counters.handed_off
        scored = event.role != self.silent_role
        odds = float(scores["odds"])
        raw = 1 / (1 + math.exp(-odds)) if odds > -700 else 0.0
        value = (raw if policy.raw else p) if scored else None
        requested = customer and utterance.text is not None and asks_for_human(utterance.text)
        decision, reached = decide(policy, counters, value, requested=requested)
        correction = odds - float(scores["base"])
        reasons = find_reasons(
            counters, customer=customer, tokens=event.tokens, requested=requested, value=value,
            threshold=policy.threshold, reached=reached,
            scores={**scores, "correction": correction}, quantiles=self.quantiles,
            request_rule=policy.request_rule,
        )  # fmt: skip
        head: Record = {} if event.name is None else {"id": event.name}
        head |= {"session_id": event.session, "index": index, "role": utterance.role}
        if was_handed_off and policy.after == "silent":
            return head | {"decision": "handed_off", "handed_off": True}
        record = head | {
            "p": _six(p) if scored else None,
            "decision": decision,
            "operating_point": policy.point,
            "threshold": _six(policy.threshold),
            "reasons": reasons,
        }
        if scores["state"] is not None:
            record |= {
                name: _six(v) for name, v in zip(STATES, scores["state"].tolist(), strict=True)
            }
        base = float(scores["base"])
        record |= {
            "p_base": _six(1 / (1 + math.exp(-base)) if base > -700 else 0.0) if scored else None,
            "correction": _six(correction),
        }
        if scores["needed"] is not None:
            record["p_needed"] = _six(float(scores["needed"]))
        if scored:
            record["cost_transfer"] = _six(policy.cost_false * (1 - p))
            record["cost_stay"] = _six(policy.cost_miss * p)
        record |= {"handed_off": counters.handed_off, "session_new": fresh}
        if fresh and event.index:
            record["state_lost"] = True
        if event.tokens and self._unknown(event.tokens) > UNFAMILIAR:
            record["unfamiliar"] = True
        if utterance.text is not None and len(utterance.text) > CHARACTERS:
            record["truncated"] = True
        return record | self.tail


def moment(value: Any) -> float | None:
    """Return a time stamp in seconds, from a number or ISO text."""
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except ValueError as error:
        raise DataError(f"ts must be seconds or ISO time, got {value!r}") from error


def _six(value: float) -> float:
    return float(f"{value:.6g}")
