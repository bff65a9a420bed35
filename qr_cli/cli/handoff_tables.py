"""Records of `qr handoff` and `qr eval handoff` as tables of a terminal of 80 columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import Any

from qr_cli.cli.output import out

Record = Mapping[str, Any]
TEXT = 24  # columns of a message
SHORT = {
    "explicit_request": "asks for a human", "negative_state": "negative",
    "worsening_state": "worsening", "repeated_question": "repeats", "bot_repeat": "bot repeats",
    "bot_failure": "bot fails", "model_score": "score", "low_confidence": "close",
}  # fmt: skip


def show_dialogue(line: str, record: Record) -> None:
    """Print a dialogue with what was decided at each turn."""
    said = json.loads(line)["utterances"]
    rows = []
    for utterance, turn in zip(said, record["utterances"], strict=True):
        tokens = utterance.get("tokens")
        text = f"{len(tokens)} tokens" if tokens is not None else utterance["text"]
        p = turn.get("p")
        rows.append(
            [
                turn["role"],
                shorten(" ".join(str(text).split()), TEXT, placeholder=" .."),
                "-" if p is None else f"{p:.3f}",
                turn["decision"],
                ", ".join(SHORT[code] for code in turn.get("reasons", ())),
            ]
        )
    first = record["first_transfer"]
    end = "no transfer" if first is None else f"transfer at turn {first + 1}"
    title = f"{record['session_id']}: {end}"
    out.table(title, ["who", "message", "p>", "decision", "why"], rows)
    out.value(str(first))


COLUMNS: Sequence[tuple[str, str, str]] = (  # key, header, form
    ("f1", "F1>", "%"), ("macro_f1", "Macro>", "%"), ("auc", "AUC>", "%"), ("gt1", "GT-I>", "%"),
    ("gt2", "-II>", "%"), ("gt3", "-III>", "%"), ("cost_per_dialogue", "cost>", "f"),
)  # fmt: skip


def show_eval(records: Sequence[Record]) -> None:
    """Print the figures of systems and trivial policies, and comparisons."""
    systems = [r for r in records if r["event"] == "eval"]
    if systems:
        rows = [
            [
                str(r["system"]),
                str(r["operating_point"] or "policy"),
                *(_cell(r, c) for c in COLUMNS),
            ]
            for r in systems
        ]
        first = systems[0]
        title = f"{first['dialogues']} dialogues, {first['utterances']} labelled turns, per cent"
        out.table(title, ["system", "point", *(header for _, header, _ in COLUMNS)], rows)
    compared = [r for r in records if r["event"] == "compare"]
    if compared:
        keys = (("f1", "F1"), ("macro_f1", "Macro"), ("gt1", "GT-I"))
        rows = [
            [
                r["system"],
                r["operating_point"],
                *(_interval(r, key) for key, _ in keys),
            ]
            for r in compared
        ]
        title = f"differences from {compared[0]['baseline']} in points, 95 % over dialogues"
        out.table(title, ["system", "point", *(f"{name}>" for _, name in keys)], rows)
    if systems:
        out.say(
            "GT counts a dialogue without transfers and alarms as 1: read it beside the policies.",
            style="dim",
        )


def _cell(record: Record, column: tuple[str, str, str]) -> str:
    key, _, form = column
    value = record.get(key)
    if value is None:
        return "-"
    return f"{100 * value:.1f}" if form == "%" else f"{value:.2f}"


def _interval(record: Record, key: str) -> str:
    low, high = record[f"{key}_low"], record[f"{key}_high"]
    return f"{100 * record[key]:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
