"""SSA corpora (Song et al., EMNLP 2019): sessions of text lines, separated by blank ones.

The first line is the satisfaction 1..3; then ``index TAB "c:"|"b:" TAB ids TAB sentiment 1..3``.
Labels are written counted from 0.
"""

from __future__ import annotations

from pathlib import Path

from qr_cli.engine.damage import damaged
from qr_cli.errors import DataError
from qr_cli.handoff.mhch import Dialogue, Utterance, parse_role


def read(path: Path) -> list[Dialogue]:
    """Read a file.

    Raises:
        DataError: a line is none of the above.
    """
    with damaged(path):
        text = path.read_text("utf-8-sig")
    dialogues: list[Dialogue] = []
    fresh = True
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            fresh = True
            continue
        where = f"{path} line {number}"
        if fresh:
            name = f"{path.stem}_{len(dialogues)}"
            dialogues.append(Dialogue(name, [], _label(line, where)))
            fresh = False
            continue
        fields = line.rstrip("\n").split("\t")
        if len(fields) != 4:
            raise DataError(f"{where}: {len(fields)} fields where 4 belong, separated by tabs")
        _, role, ids, sentiment = fields
        try:
            tokens = [int(i) for i in ids.split()]
        except ValueError as error:
            raise DataError(f"{where}: token ids must be whole numbers") from error
        utterance = Utterance(parse_role(role.strip().rstrip(":")), tokens=tokens)
        utterance.sentiment = _label(sentiment, where)
        dialogues[-1].utterances.append(utterance)
    empty = next((d.session_id for d in dialogues if not d.utterances), None)
    if empty is not None or not dialogues:
        raise DataError(
            f"{path}: dialogue {empty} has no utterances" if empty else f"{path} is empty"
        )
    return dialogues


def _label(text: str, where: str) -> int:
    if text.strip() not in ("1", "2", "3"):
        raise DataError(f"{where}: a label must be 1, 2 or 3, got {text.strip()[:20]!r}")
    return int(text) - 1
