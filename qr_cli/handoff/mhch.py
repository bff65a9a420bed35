"""Dialogues of machine-human chatting handoff (MHCH): the one format, its reader and writer.

JSON lines, one dialogue a line, UTF-8:

    {"session_id": "a1", "lang": "en", "satisfaction": 0, "utterances": [
      {"role": "customer", "text": "My order is late again.", "sentiment": 0, "handoff": 0},
      {"role": "agent", "text": "Sorry! What is your order number?", "handoff": null}]}

`text` or `tokens` (a list of ids or words), not both. `handoff` is 0, 1, null (unlabelled) or a
share in (0, 1). States count 0 negative, 1 neutral, 2 positive. `sentiment` and `satisfaction` are
labels, never inputs of a model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from qr_cli.engine.damage import damaged
from qr_cli.engine.files import whole
from qr_cli.errors import DataError, near

CUSTOMER, AGENT = "customer", "agent"
ROLES = {
    **dict.fromkeys((CUSTOMER, "user", "client", "visitor", "c", "u", "c2b"), CUSTOMER),
    **dict.fromkeys((AGENT, "bot", "assistant", "system", "operator", "a", "b", "s", "b2c"), AGENT),
}
VOTES = ("O", "T", "X")
LINE_LIMIT = 10 * 2**20  # bytes
LISTED = 20  # faults of a file that are told at once
KNOWN = frozenset(
    ("role", "text", "tokens", "handoff", "sentiment", "pos", "tf", "sentiment_score")
)
Base = Literal["auto", "0", "1"]
Proxy = Literal["none", "negative-customer"]


@dataclass(slots=True)
class Utterance:
    """One message; what a file does not say is None."""

    role: str
    text: str | None = None
    tokens: list[Any] | None = None
    handoff: float | None = None
    sentiment: int | None = None
    pos: list[int] | None = None
    tf: list[float] | None = None
    sentiment_score: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def is_customer(self) -> bool:
        """Tell who speaks."""
        return self.role == CUSTOMER


@dataclass(slots=True)
class Dialogue:
    """One conversation."""

    session_id: str
    utterances: list[Utterance]
    satisfaction: int | None = None
    lang: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def token_key(self) -> tuple[Any, ...]:
        """Return what two copies of a dialogue share: its token sequences or texts."""
        return tuple(tuple(u.tokens) if u.tokens is not None else u.text for u in self.utterances)


def read_jsonl(
    path: str | Path,
    *,
    label_base: Base = "auto",
    soft_labels: bool = False,
    proxy: Proxy = "none",
    warn: Callable[[str], None] = lambda text: None,
) -> list[Dialogue]:
    """Read a file of dialogues.

    Args:
        path: JSON lines.
        label_base: what the lowest sentiment and satisfaction are written as.
        soft_labels: take X/(O+T+X) of annotators' votes as label.
        proxy: where labels come from if not from `handoff`.
        warn: is told what was left out.

    Raises:
        DataError: lines that are no dialogue (all are named, up to 20), or labels that cannot be
            meant.
    """
    dialogues, faults = [], []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            dialogues.append(parse_dialogue(load_json(line)))
        except DataError as fault:
            faults.append(f"{path} line {number}: {fault.message}")
    if faults:
        more = f"\n... and {len(faults) - LISTED} more" if len(faults) > LISTED else ""
        raise DataError("\n".join(faults[:LISTED]) + more, hint="qr data mhch stats FILE")
    if not dialogues:
        raise DataError(f"{path} holds no dialogue")
    _rebase(dialogues, label_base, str(path), warn)
    _label(dialogues, soft_labels, proxy, str(path))
    return dialogues


def load_json(line: str) -> Any:
    """Return the value of one line.

    Raises:
        DataError: it is no JSON, or over 10 MiB.
    """
    if len(line) > LINE_LIMIT:
        raise DataError(f"the line has {len(line):,} characters; at most {LINE_LIMIT:,} are read")
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise DataError("not JSON that can be read: it is nested too deeply") from error


def parse_dialogue(value: Any) -> Dialogue:
    """Return the dialogue of one JSON value.

    Raises:
        DataError: it is none.
    """
    if not isinstance(value, dict) or not isinstance(value.get("utterances"), list):
        raise DataError('a dialogue is {"session_id": ..., "utterances": [...]}')
    session = value.get("session_id")
    if not isinstance(session, str | int) or isinstance(session, bool) or session == "":
        raise DataError("session_id is missing" if session is None else "session_id must be text")
    if not value["utterances"]:
        raise DataError(f"dialogue {session!r} has no utterances")
    utterances = []
    for index, item in enumerate(value["utterances"]):
        try:
            utterances.append(parse_utterance(item))
        except DataError as fault:
            raise DataError(f"utterance {index}: {fault.message}") from None
    kinds = {u.tokens is not None for u in utterances}
    if len(kinds) > 1:
        raise DataError(f"dialogue {session!r} has both texts and tokens")
    named = {"session_id", "utterances", "satisfaction", "lang"}
    return Dialogue(
        str(session),
        utterances,
        _whole(value.get("satisfaction")),
        value.get("lang") if isinstance(value.get("lang"), str) else None,
        {k: v for k, v in value.items() if k not in named},
    )


def parse_role(value: Any) -> str:
    """Return "customer" or "agent".

    Raises:
        DataError: it is neither; a number is ambiguous, as corpora disagree.
    """
    if isinstance(value, bool | int | float):
        raise DataError(f'role {value} is ambiguous: write "customer" or "agent"')
    if not isinstance(value, str):
        raise DataError("role is missing" if value is None else f"role {value!r} is no text")
    if value.lower() not in ROLES:
        raise DataError(f"unknown role {value!r}{near(value, ROLES)}")
    return ROLES[value.lower()]


def parse_utterance(item: Any) -> Utterance:
    """Return the utterance of one JSON value.

    Raises:
        DataError: it is none.
    """
    if not isinstance(item, dict):
        raise DataError("an utterance is an object with role and text")
    role = parse_role(item.get("role"))
    text, tokens = item.get("text"), item.get("tokens")
    if text is not None and tokens is not None:
        raise DataError("both text and tokens are given; one of them must go")
    if text is None and tokens is None:
        raise DataError("text is missing")
    if text is not None and not isinstance(text, str):
        raise DataError(f"text must be text, got {text!r:.40}")
    if tokens is not None and not _is_tokens(tokens):
        raise DataError("tokens must be a list of ids from 0 or of words")
    found = Utterance(
        role,
        text,
        tokens,
        _handoff(item.get("handoff")),
        _whole(item.get("sentiment"), "sentiment"),
        _aligned(item.get("pos"), tokens, "pos"),
        _aligned(item.get("tf"), tokens, "tf"),
        _number(item.get("sentiment_score")),
    )
    if len(item) > 3:
        found.extra = {k: v for k, v in item.items() if k not in KNOWN}
    return found


def to_json(dialogue: Dialogue) -> dict[str, Any]:
    """Return a dialogue as the JSON value that reads back as the same dialogue."""
    head: dict[str, Any] = {"session_id": dialogue.session_id}
    if dialogue.lang is not None:
        head["lang"] = dialogue.lang
    if dialogue.satisfaction is not None:
        head["satisfaction"] = dialogue.satisfaction
    return {**head, **dialogue.extra, "utterances": [_plain(u) for u in dialogue.utterances]}


def write_jsonl(path: Path, dialogues: Iterable[Dialogue]) -> int:
    """Write dialogues so that the file appears whole; return their number."""
    count = 0
    with whole(path) as hidden, hidden.open("w", encoding="utf-8") as file:
        for count, dialogue in enumerate(dialogues, start=1):  # noqa: B007
            file.write(json.dumps(to_json(dialogue), ensure_ascii=False) + "\n")
    return count


def fold_of(n: int, k: int = 5) -> list[int]:
    """Return the fold of each of `n` dialogues; folds are always by dialogue."""
    import numpy as np

    fold = np.empty(n, dtype=np.int64)
    fold[np.random.RandomState(0).permutation(n)] = np.arange(n) % k
    return [int(f) for f in fold]


def digest(dialogues: Iterable[Dialogue]) -> str:
    """Return a fingerprint of token sequences, roles and labels."""
    found = sha256()
    for dialogue in dialogues:
        labels = [(u.role, u.handoff) for u in dialogue.utterances]
        found.update(repr((dialogue.token_key(), labels)).encode())
    return found.hexdigest()[:16]


def _lines(path: str | Path) -> Iterator[str]:
    with damaged(path), Path(path).open(encoding="utf-8-sig") as file:
        yield from file


def _is_tokens(tokens: Any) -> bool:
    if not isinstance(tokens, list):
        return False
    if all(type(t) is int and 0 <= t < 2**31 for t in tokens):
        return True
    return all(isinstance(t, str) for t in tokens)


def _handoff(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise DataError(f"handoff must be 0, 1, null or between them, got {value!r}")
    return float(value)


def _whole(value: Any, name: str = "") -> int | None:
    """Return a whole number from 0 to 3, None for what is none; with a name, raise instead."""
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is int and 0 <= value <= 3:
        return value
    if not name:
        return -1  # `_rebase` counts these and drops them
    raise DataError(f"{name} must be a whole number from 0 to 3, got {value!r}")


def _number(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) else None


def _aligned(values: Any, tokens: Any, name: str) -> list[Any] | None:
    if values is None:
        return None
    if not isinstance(values, list) or tokens is None or len(values) != len(tokens):
        raise DataError(f"{name} must be a list as long as tokens")
    if not all(type(v) in (int, float) for v in values):
        raise DataError(f"{name} must hold numbers")
    return values


def _rebase(
    dialogues: Sequence[Dialogue], base: Base, path: str, warn: Callable[[str], None]
) -> None:
    """Make labels count from 0, whatever the file counts from."""
    dropped = sum(d.satisfaction == -1 for d in dialogues)
    if dropped:
        warn(f"{path}: {dropped} satisfaction labels are no whole number and count as missing")
    for dialogue in dialogues:
        if dialogue.satisfaction == -1:
            dialogue.satisfaction = None
    values = {
        "sentiment": {u.sentiment for d in dialogues for u in d.utterances} - {None},
        "satisfaction": {d.satisfaction for d in dialogues} - {None},
    }
    clear = [int(0 not in found) for found in values.values() if found & {0, 3}]
    low = {name: _lowest(found, base, clear, name, path) for name, found in values.items()}
    for dialogue in dialogues if any(low.values()) else ():
        if dialogue.satisfaction is not None:
            dialogue.satisfaction -= low["satisfaction"]
        for utterance in dialogue.utterances:
            if utterance.sentiment is not None:
                utterance.sentiment -= low["sentiment"]


def _lowest(values: set[Any], base: Base, clear: list[int], name: str, path: str) -> int:
    """Return what one kind of label counts from; where it does not tell, the other kind may."""
    if not values:
        return 0
    if base == "auto" and not values & {0, 3} and not clear:
        raise DataError(
            f"{path}: {name} holds only {sorted(values)}, so it may count from 0 or from 1",
            hint="--label-base 0 or --label-base 1",
        )
    if base != "auto":
        low = int(base)
    else:
        low = int(0 not in values) if values & {0, 3} else clear[0]
    if not values <= {low, low + 1, low + 2}:
        raise DataError(
            f"{path}: {name} must lie in {low}..{low + 2}, got {sorted(values)}",
            hint="--label-base 0 or --label-base 1",
        )
    return low


def _label(dialogues: Sequence[Dialogue], soft: bool, proxy: Proxy, path: str) -> None:
    """Set `handoff` from votes or from the proxy."""
    utterances = [u for d in dialogues for u in d.utterances]
    votes = [[u.extra.get(v, 0) for v in VOTES] if u.extra else None for u in utterances]
    if any(v is not None and _votes(v) for v in votes):
        for utterance, count in zip(utterances, votes, strict=True):
            if count is None or not _votes(count):
                utterance.handoff = None
            elif soft:
                utterance.handoff = count[2] / sum(count)
            elif utterance.handoff is None:
                utterance.handoff = float(count[2] > max(count[0], count[1]))
    elif soft:
        raise DataError(f"{path}: --soft-labels needs the votes O, T, X of annotators")
    if proxy == "none":
        return
    if not any(u.sentiment is not None for u in utterances):
        raise DataError(f"{path}: --proxy {proxy} needs sentiment, which no utterance has")
    for utterance in utterances:
        negative = utterance.is_customer and utterance.sentiment == 0
        utterance.handoff = float(negative)


def _votes(counts: Sequence[Any]) -> bool:
    return all(type(c) is int and c >= 0 for c in counts) and sum(counts) > 0


def _plain(utterance: Utterance) -> dict[str, Any]:
    found: dict[str, Any] = {"role": utterance.role}
    for key in ("text", "tokens", "pos", "tf", "sentiment_score", "sentiment"):
        if (value := getattr(utterance, key)) is not None:
            found[key] = value
    label = utterance.handoff
    found["handoff"] = int(label) if label in (0.0, 1.0) else label
    return found | utterance.extra
