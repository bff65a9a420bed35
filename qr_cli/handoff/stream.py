"""From messages to decisions, one conversation or thousands of interleaved ones.

A line is an event ``{"session_id", "role", "text"}``, a control event ``{"session_id", "event":
"end" | "resume" | "reset"}``, or a whole dialogue. Lines that arrive together are scored together:
distinct utterances are encoded once, different sessions step in one batch, and the events of each
stay in order. The answers are those that one line at a time would get.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from qr_cli.errors import DataError
from qr_cli.handoff.decide import Policy
from qr_cli.handoff.decider import STATES, Decider, Decision, Event, moment
from qr_cli.handoff.mhch import load_json, parse_dialogue

if TYPE_CHECKING:
    from qr_cli.handoff.load import Model

Record = dict[str, Any]
CONTROLS = ("end", "resume", "reset")


class Session:
    """One live conversation.

    Args:
        model: a loaded one, shared by all sessions.
        policy: when to transfer.
    """

    def __init__(self, model: Model, policy: Policy) -> None:
        self._decider = Decider(model, policy, limit=1, ttl=math.inf)

    def add(
        self, role: str, text: str | None = None, *, tokens: list[Any] | None = None
    ) -> Decision:
        """Take a message and decide.

        Args:
            role: "customer" or "agent".
            text: what was said.
            tokens: its tokens, for a model of token ids.
        """
        value = {"session_id": "session", "role": role, "text": text, "tokens": tokens}
        event = self._decider.event(value)
        self._decider.enter(event)
        (record,) = self._decider.decide([event])
        state = tuple(record[name] for name in STATES) if STATES[0] in record else None
        return Decision(
            record.get("p"),
            record["decision"],
            tuple(record.get("reasons", ())),
            state,
            record,
        )

    def resume(self) -> None:
        """Hand back to the bot; the state is kept."""
        self._decider.control("session", "resume", None)


def serve(
    decider: Decider, bursts: Iterable[list[str]], *, strict: bool = False, timing: bool = False
) -> Iterator[tuple[str, Record]]:
    """Yield each line with its answer, in order.

    Args:
        decider: model, policy and sessions.
        bursts: lines that arrived together.
        strict: stop at the first bad line.
        timing: add `latency_ms`, the time of a burst shared by its lines.

    Raises:
        DataError: a bad line, with `strict`.
    """
    number = 0
    for lines in bursts:
        begun = perf_counter()
        answers = list(_burst(decider, lines, number, strict))
        number += len(lines)
        share = (perf_counter() - begun) * 1000 / max(1, len(lines))
        said = [line for line in lines if line.strip()]
        for line, answer in zip(said, answers, strict=True):
            yield line, answer | {"latency_ms": round(share, 3)} if timing else answer


def _burst(decider: Decider, lines: Sequence[str], number: int, strict: bool) -> Iterator[Record]:
    """Answer lines that arrived together; events of different sessions wait for each other."""
    waiting: list[Event] = []
    held: set[str] = set()

    def flush() -> Iterator[Record]:
        if waiting:
            yield from decider.decide(waiting)
            waiting.clear()
            held.clear()

    for offset, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            item = _read(decider, line)
        except DataError as fault:
            yield from flush()
            if strict:
                raise DataError(f"line {number + offset}: {fault.message}") from None
            name = _name(line) or f"line {number + offset}"
            yield {"id": name, "error": {"code": code_of(fault.message), "message": fault.message}}
            continue
        if isinstance(item, Event):
            if item.session in held or decider.sessions.moves(item.session) & held:
                yield from flush()
            decider.enter(item)
            waiting.append(item)
            held.add(item.session)
            continue
        yield from flush()
        yield _other(decider, item)
    yield from flush()


def _read(decider: Decider, line: str) -> Event | dict[str, Any]:
    value = load_json(line)
    if not isinstance(value, dict):
        raise DataError("a line is an event or a dialogue, as a JSON object")
    if "utterances" in value:
        parse_dialogue(value)
        return value
    if "event" not in value:
        return decider.event(value)
    if value["event"] not in CONTROLS:
        raise DataError(f"unknown event {value['event']!r}: {', '.join(CONTROLS)}")
    if not isinstance(value.get("session_id"), str | int):
        raise DataError("session_id is missing")
    return value


def _other(decider: Decider, value: dict[str, Any]) -> Record:
    if "utterances" in value:
        try:
            return decider.dialogue(value)
        except DataError as fault:
            error = {"code": code_of(fault.message), "message": fault.message}
            return {"id": value.get("session_id"), "error": error}
    session = str(value["session_id"])
    decider.control(session, value["event"], moment(value.get("ts")))
    return {"session_id": session, "event": value["event"], "ok": True}


def code_of(message: str) -> str:
    """Return the code of a fault, for programs."""
    table = (
        ("a line is", "bad-line"),
        ("not JSON", "bad-json"), ("role", "bad-role"), ("session_id", "no-session"),
        ("text is missing", "no-text"), ("tokens", "bad-tokens"), ("text", "bad-text"),
        ("the line has", "too-long"), ("event", "bad-event"),
    )  # fmt: skip
    return next((code for part, code in table if part in message), "bad-line")


def _name(line: str) -> Any:
    """Return the id of a line that can be read but not used."""
    try:
        value = load_json(line)
    except DataError:
        return None
    return (value.get("id") or value.get("session_id")) if isinstance(value, dict) else None
