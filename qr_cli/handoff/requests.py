"""The request rule: does a customer ask for a human in so many words?

A table of patterns per language and a guard against negation just before. Every table is tried on
every text, for people mix languages. Only the first 500 characters are read, and no pattern
repeats inside a repetition, so the time is linear in them.
"""

from __future__ import annotations

import re
from typing import NamedTuple

READ = 500  # characters


class Language(NamedTuple):
    """Patterns, what negates them, and how many characters before a match are looked at."""

    patterns: tuple[re.Pattern[str], ...]
    negation: re.Pattern[str]
    before: int


_DET = r"(?:(?:an?|the|your|any|some) )?"
_ADJ = r"(?:(?:real|live|actual|human|proper) )?"
_HUMAN = r"(?:human(?: being)?|person|agent|operator|representative|rep|manager|supervisor|advisor)"
_DESK = r"customer (?:service|support|care)|someone|somebody|support"
_WHO = rf"{_DET}{_ADJ}(?:{_HUMAN}|{_DESK})s?\b(?! (?:resources|rights|body|error|earn))"
_ALONE = rf"{_DET}{_ADJ}(?:{_HUMAN}|customer (?:service|support))"
ENGLISH = Language(
    tuple(
        re.compile(pattern, re.IGNORECASE)
        for pattern in (
            rf"^\W*(?:please )?{_ALONE}(?: (?:please|now|pls))*\W*$",
            rf"\b(?:talk|speak|chat) (?:to|with) {_WHO}",
            r"\b(?:transfer|connect|escalate|forward|put|hand|pass|route|redirect|switch) "
            rf"(?:(?:me|us|this|it|that) )?(?:through |over |on )?(?:to|with) {_WHO}",
            rf"\b(?:get|give|find|send|fetch) me {_WHO}",
            rf"\b(?:need|want|require) {_DET}{_ADJ}(?:human|agent|operator|representative|manager"
            r"|supervisor|(?<=real )person|(?<=live )person)s?\b(?! (?:resources|rights|body))",
            r"\bis there (?:an?|any) (?:(?:real|live|actual) )?(?:human|person|agent|operator)\b",
        )
    ),
    re.compile(r"\b(?:no|not|never|without|stop|(?:do|need|did)n[’']?t)\b", re.IGNORECASE),
    24,
)
_ZH_WHO = r"(?:人工|真人|经理|主管|领导|负责人|客服)"
CHINESE = Language(
    tuple(
        re.compile(pattern)
        for pattern in (
            r"^\W*(?:请|要)?人工\W*$",
            r"转(?:接|到|给)?(?:一?个|一下|到)?(?:你们|你们的)?(?:人工|真人|经理|主管|客服)",
            r"人工(?:客服|服务|坐席|座席)",
            rf"(?:找|叫|换|要|让|跟|和|联系)(?:一?个|一?位|一下)?(?:你们|你们的)?{_ZH_WHO}"
            r"(?!智能|湖|草|降雨|是)",
        )
    ),
    re.compile(r"不|别|没|無|无|甭"),
    4,
)
LANGUAGES = {"en": ENGLISH, "zh": CHINESE}


def asks_for_human(text: str) -> bool:
    """Tell whether a text asks for a human in so many words."""
    text = " ".join(text[:READ].split())
    return any(
        not language.negation.search(text[max(0, found.start() - language.before) : found.start()])
        for language in LANGUAGES.values()
        for pattern in language.patterns
        if (found := pattern.search(text))
    )
