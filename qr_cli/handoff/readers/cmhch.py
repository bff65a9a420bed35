"""MHCH corpora as JSON, one session a line (RSSN, DAMI raw files).

``{"sessionID", "score": "1".."3", "session": [{"content", "label", "role": "c2b"|"b2c",
"senti": "1".."5"}]}``; sentiment below 3 is negative, above 3 positive; score and senti may lack.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qr_cli.engine.damage import damaged
from qr_cli.errors import DataError
from qr_cli.handoff.mhch import Dialogue, Utterance, load_json, parse_role


def read(path: Path) -> list[Dialogue]:
    """Read a file.

    Raises:
        DataError: a line is none of the above.
    """
    with damaged(path):
        lines = path.read_text("utf-8-sig").splitlines()
    dialogues = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                dialogues.append(_dialogue(load_json(line), f"{path.stem}_{number}"))
            except DataError as fault:
                raise DataError(f"{path} line {number}: {fault.message}") from None
    if not dialogues:
        raise DataError(f"{path} holds no dialogue")
    return dialogues


def _dialogue(value: Any, name: str) -> Dialogue:
    if not isinstance(value, dict) or not isinstance(value.get("session"), list):
        raise DataError("a dialogue has a list called session")
    utterances = []
    for turn in value["session"]:
        if not isinstance(turn, dict) or not isinstance(turn.get("content"), str):
            raise DataError("an utterance has a text called content")
        found = Utterance(parse_role(turn.get("role")), turn["content"])
        if turn.get("label") is not None:
            found.handoff = float(_whole(turn["label"], "label", 0, 1))
        if turn.get("senti") is not None:
            sentiment = _whole(turn["senti"], "senti", 1, 5)
            found.sentiment = int(sentiment >= 3) + int(sentiment > 3)
        utterances.append(found)
    if not utterances:
        raise DataError("the session has no utterances")
    score = value.get("score")
    satisfaction = None if score is None else _whole(score, "score", 1, 3) - 1
    return Dialogue(str(value.get("sessionID") or name), utterances, satisfaction, "zh")


def _whole(value: Any, name: str, low: int, high: int) -> int:
    try:
        number = int(str(value))
    except ValueError as error:
        raise DataError(f"{name} must be a whole number, got {value!r:.40}") from error
    if not low <= number <= high:
        raise DataError(f"{name} must lie in {low}..{high}, got {number}")
    return number
