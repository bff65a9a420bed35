"""Numbers of a text as slots N_0, N_1, ..., with what is no slot: labels, exponents, coefficients.

`official` slots every numeral, as the published data does (2√3 is two). `compound`, for user text,
takes 2√3, a fraction or 3π as one slot with its exact value; ratios 2:3 stay two. Units are cut off
and remembered. "Right angle" and "twice" are facts of their own, no slots.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any, Literal, NamedTuple

from qr_cli.geo.text import clean

SlotMode = Literal["compound", "official"]
_INTEGER = r"\d+(?:\.\d+)?"
NUMERAL = rf"(?<![A-Za-z\d_.]){_INTEGER}|(?<=Rt){_INTEGER}"
_LABEL = re.compile(
    r"(?:\b(?:angles?|points?|lines?|types?|figures?|fig\.?)|∠|\bl|S\s*~)\s*$", re.IGNORECASE
)
_COUPLED = re.compile(
    r"(?:angles?|∠|lines?|points?)\s*\d(?:\s*,\s*\d)*\s*(?:,|and)\s*$", re.IGNORECASE
)
_POWER = re.compile(r"[\^_]\s*\{?\s*$")
_COEFFICIENT = re.compile(r"\s*(?:[A-Z]′*[A-Z](?![a-z])|angle\s+[A-Z\d]|∠)")
_UNIT = re.compile(
    r"\s*(?P<unit>°|(?:nautical\s+miles?|miles?|met(?:er|re)s?|cm|mm|km|dm|m|inch(?:es)?|in|ft|feet|units?)"
    r"(?![A-Za-z])(?:\s*(?:\^\s*\{?\s*[23]\s*\}?|[²³]))?)"
)
_IN_WORDS = re.compile(r"\s+in\s+[A-Za-z△⊙]")  # "5 in" is inches, "5 in triangle" is not


class Slot(NamedTuple):
    """A number of a text: value, exact text for sympy, unit or None, place in the cleaned text."""

    value: float
    exact: str
    unit: str | None
    start: int
    end: int


class Slotted(NamedTuple):
    """A cleaned text with N_i in place of its numbers, and the numbers."""

    text: str
    slots: tuple[Slot, ...]

    @property
    def numbers(self) -> list[float]:
        """The numbers as floats."""
        return [slot.value for slot in self.slots]


def slots(text: str, *, mode: SlotMode = "compound") -> Slotted:
    """Return a text with its numbers taken out.

    Args:
        text: as typed; it is cleaned first.
        mode: `compound` or `official`.
    """
    text = clean(text)
    found: list[Slot] = []
    at = 0
    scan = _COMPOUND if mode == "compound" else re.compile(NUMERAL)
    while match := scan.search(text, at):
        at = match.end()
        if _is_slot(text, match):
            value, exact = _value(match[0])
            unit = _UNIT.match(text, at)
            if unit and unit["unit"] == "in" and _IN_WORDS.match(text, at):
                unit = None
            found.append(Slot(value, exact, unit["unit"] if unit else None, match.start(), at))
            at = unit.end() if unit else at
        elif mode == "compound" and not match[0].isdigit():
            at = match.start() + len(re.match(r"\d*", match[0])[0] or " ")  # type: ignore[index]
    return Slotted(_replaced(text, found), tuple(found))


def _is_slot(text: str, match: re.Match[str]) -> bool:
    before, after = text[: match.start()], text[match.end() :]
    digit = len(match[0]) == 1 and match[0] != "0" and match[0].isdigit()
    if digit and (_LABEL.search(before) or _COUPLED.search(before)):
        return False
    if _POWER.search(before):
        return False
    return not (match[0].isdigit() and _COEFFICIENT.match(after))


def _replaced(text: str, found: list[Slot]) -> str:
    parts, at = [], 0
    for i, slot in enumerate(found):
        parts += [text[at : slot.start], f" N_{i} "]
        unit = _UNIT.match(text, slot.end) if slot.unit else None
        at = unit.end() if unit else slot.end
    return " ".join("".join([*parts, text[at:]]).split())


# compound numbers -----------------------------------------------------------------------------

_ROOT = r"√\s*(?:\{\s*\d+(?:\.\d+)?\s*\}|\(\s*\d+(?:\.\d+)?\s*\)|\d+(?:\.\d+)?)"
_PLAIN = rf"(?:{_INTEGER}\s*{_ROOT}|{_ROOT}|{_INTEGER}\s*π|{_INTEGER})"
_COMPOUND = re.compile(
    rf"(?:\\?frac\s*\{{\s*{_PLAIN}\s*\}}\s*\{{\s*{_PLAIN}\s*\}}"
    rf"|(?<![A-Za-z\d_.√]){_INTEGER}\s*{_ROOT}(?:\s*/\s*\d+)?"
    rf"|{_ROOT}(?:\s*/\s*\d+)?"
    rf"|(?<![A-Za-z\d_.]){_INTEGER}\s*π"
    rf"|(?<![A-Za-z\d_.:/]){_INTEGER}\s*/\s*{_INTEGER}(?!\s*[:/\d])"
    rf"|{NUMERAL})"
)


def _value(text: str) -> tuple[float, str]:
    """Return a number's float and its exact text for sympy."""
    text = re.sub(r"\s", "", text)
    if found := re.match(r"\\?frac\{(.*)\}\{(.*)\}$", text):
        (a, one), (b, two) = _value(found[1]), _value(found[2])
        return a / b if b else math.nan, f"({one})/({two})"
    if found := re.match(r"(.*√.*|[\d.]+)/([\d.]+)$", text):
        (a, one), (b, two) = _value(found[1]), _value(found[2])
        return a / b if b else math.nan, f"({one})/({two})"
    if found := re.match(rf"({_INTEGER})?√[{{(]?([\d.]+)[)}}]?$", text):
        front = found[1] or "1"
        return float(front) * math.sqrt(
            float(found[2])
        ), f"{_exact(front)}*sqrt({_exact(found[2])})"
    if found := re.match(rf"({_INTEGER})?π$", text):
        front = found[1] or "1"
        return float(front) * math.pi, f"{_exact(front)}*pi"
    return float(text), _exact(text)


def _exact(decimal: str) -> str:
    return str(Fraction(decimal))


# options --------------------------------------------------------------------------------------

_OPTION_UNIT = re.compile(
    r"\s*(?:°|度|平方米|厘米|海里|米|(?:cm|mm|km|dm|m)(?:\s*\^?\s*\{?[23²³]\^?\}?)?|units?|degrees?)?\s*[.。]?\s*$"
)
_TERM = re.compile(rf"\s*([+\-−]?)\s*({_COMPOUND.pattern}|π|\.\d+)({_ROOT}|π)?")


def option(text: Any) -> tuple[float | None, str | None]:
    """Return an option's number and exact text; (None, None) when it is not a single number."""
    if text is None or isinstance(text, bool):
        return None, None
    if isinstance(text, int | float):
        return (float(text), _exact(str(text))) if math.isfinite(text) else (None, None)
    body = re.sub(r"^\s*(?:[A-Z]\s*[.:)=]|[A-Z]{2}\s*=)\s*", "", clean(str(text)))
    body = _OPTION_UNIT.sub("", body).strip()
    if body.startswith("(") and body.endswith(")"):
        body = body[1:-1]
    total, exact, at = 0.0, "", 0
    while at < len(body):
        found = _TERM.match(body, at)
        if not found or (exact and not found[1]):
            return None, None
        value, form = 1.0, ""
        for part in (found[2], found[3]):
            if part:
                factor, text_ = (math.pi, "pi") if part == "π" else _value(part)
                value, form = value * factor, f"{form}*({text_})" if form else text_
        minus = found[1] in ("-", "−")
        total += -value if minus else value
        exact += ("-" if minus else "+" if exact else "") + form
        at = found.end()
    return (total, exact) if exact else (None, None)
