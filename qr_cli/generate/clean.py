"""Keyword prompts without the syntax of one program: weights, schedules, LoRA tags, BREAK.

What a text encoder should see is the words. In this order: line breaks become commas, ``<name:..>``
is removed, BREAK becomes a comma, escaped brackets a space; then, innermost brackets first,
``(x:1.2)`` ``(x)`` ``{x}`` become x, ``[a:b:0.5]`` b, ``[a|b]`` a, ``[x:0.5]`` ``[x]`` x; left-over
brackets go; parts between commas are stripped, and empty and repeated ones dropped.
"""

from __future__ import annotations

import re

_NUMBER = r"\s*[-+]?(?:\d+\.?\d*|\.\d+)\s*"
_BRACKETS = (  # each without brackets inside, so that the innermost go first
    (re.compile(rf"\(([^()\[\]{{}}]*?)(?::{_NUMBER})?\)"), r"\1"),
    (re.compile(r"\{([^()\[\]{}]*)\}"), r"\1"),
    (re.compile(rf"\[[^()\[\]{{}}:|]*:([^()\[\]{{}}:|]*):{_NUMBER}\]"), r"\1"),
    (re.compile(r"\[([^()\[\]{}|]*)\|[^()\[\]{}]*\]"), r"\1"),
    (re.compile(rf"\[([^()\[\]{{}}]*?)(?::{_NUMBER})?\]"), r"\1"),
)


def clean(prompt: str) -> str:
    """Return the words of a prompt, parted by commas; cleaning it again changes nothing."""
    text = _once(prompt)
    while (again := _once(text)) != text:  # "<(lora:x)>" holds a tag only without its brackets
        text = again
    return text


def _once(prompt: str) -> str:
    text = re.sub(r"[\r\n\u2028\u2029\x85\v\f]+", ", ", prompt)
    text = re.sub(r"<\w[^<>:]*:[^<>]*>", "", text)
    text = re.sub(r"\bBREAK\b", ",", text)
    text = re.sub(r"\\+[()\[\]{}]", " ", text)
    while (inner := _inside_out(text)) != text:
        text = inner
    text = re.sub(r"[()\[\]{}]", "", text)
    parts: dict[str, str] = {}
    for part in text.split(","):
        words = " ".join(part.split())
        parts.setdefault(words.lower(), words)
    parts.pop("", None)
    return ", ".join(parts.values())


def _inside_out(text: str) -> str:
    """Return the text without one layer of brackets."""
    for pattern, inside in _BRACKETS:
        text = pattern.sub(inside, text)
    return text
