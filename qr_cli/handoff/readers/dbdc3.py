"""Dialogue breakdown detection challenge (Higashinaka et al., DSTC6 2017): one JSON per dialogue.

``dialogue-id``, ``turns[{turn-index, speaker "U"|"S", utterance, annotations[{breakdown
"O"|"T"|"X"}]}]``. The votes O (no breakdown), T (possible), X (breakdown) are counted; handoff is 1
where X has the majority (ties: O, then T, then X), null where nobody voted.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from qr_cli.engine.damage import damaged
from qr_cli.errors import DataError
from qr_cli.handoff.mhch import VOTES, Dialogue, Utterance, parse_role


def read(path: Path) -> list[Dialogue]:
    """Read a file, or every ``*.json`` of a folder and its folders.

    Raises:
        DataError: a file is no dialogue.
    """
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path} holds no .json file")
    return [_read(file) for file in files]


def _read(path: Path) -> Dialogue:
    with damaged(path):
        value = json.loads(path.read_text("utf-8-sig"))
    turns = value.get("turns") if isinstance(value, dict) else None
    if not isinstance(turns, list) or not turns:
        raise DataError(f"{path} is no dialogue: it has no turns")
    utterances = []
    for turn in turns:
        if not isinstance(turn, dict) or not isinstance(turn.get("utterance"), str):
            raise DataError(f"{path}: a turn has no utterance")
        utterances.append(_utterance(turn))
    name = str(value.get("dialogue-id") or path.stem)
    return Dialogue(name, utterances, lang="en")


def _utterance(turn: dict[str, Any]) -> Utterance:
    found = Utterance(parse_role(turn.get("speaker")), turn["utterance"])
    marks = turn.get("annotations") or []
    votes = Counter(m.get("breakdown") for m in marks if isinstance(m, dict))
    counts = {mark: votes[mark] for mark in VOTES}
    if sum(counts.values()):
        top = max(VOTES, key=lambda mark: counts[mark])  # of equals the first
        found.extra = {**counts, "breakdown": top}
        found.handoff = float(top == "X")
    return found
