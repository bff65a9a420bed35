# ruff: noqa: E501 -- a pattern stands on one line
"""Problems without a figure: a shape, quantities by name, and a program for what is asked.

"A sector has radius 6 and central angle 60°" needs no coordinates. Every number must be bound to a
role and the shape must be known, or the family does not answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from qr_cli.geo.lexicon import N
from qr_cli.geo.program import parse, unparse

_ROLES: tuple[tuple[str, str], ...] = (  # role, words; the last one before a number counts
    ("slant", r"slant (?:height|length)|generatrix|generator|generating line"),
    ("radius", r"radi(?:us|i)"), ("diameter", r"diameter"),
    ("parallel", r"parallel sides|bases|upper base|lower base|top base|bottom base"),
    ("circumference", r"circumference"), ("perimeter", r"perimeter"),
    ("hypotenuse", r"hypotenuse"), ("leg", r"legs?|right[- ]angle sides?"),
    ("base angle", r"base angles?"), ("apex", r"(?:apex|vertex|top|vertical) angle"),
    ("acute", r"acute angles?"), ("angle", r"angles?"), ("diagonal", r"diagonals?"),
    ("height", r"heights?|altitudes?|height line"), ("base", r"base|bottom"),
    ("area", r"areas?"), ("width", r"width|breadth"), ("length", r"length"),
    ("side", r"sides?|edges?"), ("chord", r"chord"), ("distance", r"distance"),
    ("ladder", r"ladder"), ("foot", r"foot|bottom of the ladder"),
    ("midline", r"midline|median line"), ("arc", r"arc(?: length)?"),
)  # fmt: skip
_WORD = re.compile("|".join(rf"(?P<r{i}>\b(?:{words})\b)" for i, (_, words) in enumerate(_ROLES)))
LONGEST = 45  # words; a longer story says more than a shape and its sizes
_AFTER = (("height", r"(?:high|tall)\b"), ("width", r"wide\b"), ("length", r"long\b"))
_QUESTION = re.compile(
    r"(?:what|find|calculate|determine|compute|work out|how|then|give|state)\b(?!.*(?:\bwhat\b|\bfind\b|\bhow\b))[^.?]*(?:[.?]|$)"
)

# shape, asked -> roles in the order of the program's placeholders, program
_TABLE: tuple[tuple[str, str, str, str], ...] = (
    ("circle", "area", "radius", "cal_circle_area a"),
    ("circle", "area", "diameter", "g_half a cal_circle_area V_0"),
    ("circle", "circumference", "radius", "cal_circle_perimeter a"),
    ("circle", "circumference", "diameter", "g_half a cal_circle_perimeter V_0"),
    ("circle", "radius", "circumference", "g_divide a C_5 g_half V_0"),
    ("circle", "diameter", "circumference", "g_divide a C_5"),
    ("circle", "radius", "diameter", "g_half a"),
    ("circle", "diameter", "radius", "g_double a"),
    ("circle", "chord", "radius distance", "gougu_minus a b g_double V_0"),
    ("circle", "distance", "radius chord", "g_half b gougu_minus a V_0"),
    ("circle", "radius", "chord distance", "g_half a gougu_add V_0 b"),
    ("sector", "area", "radius angle", "cal_circle_area a g_bili b C_4 V_0"),
    ("sector", "arc", "radius angle", "cal_circle_perimeter a g_bili b C_4 V_0"),
    ("cone", "lateral area", "radius slant", "cal_cone a b"),
    ("cone", "lateral area", "radius height", "gougu_add a b cal_cone a V_0"),
    ("cone", "base area", "slant height", "gougu_minus a b cal_circle_area V_0"),
    ("cone", "slant", "radius height", "gougu_add a b"),
    ("cone", "height", "radius slant", "gougu_minus b a"),
    ("cone", "radius", "height slant", "gougu_minus b a"),
    ("square", "perimeter", "side", "g_double a g_double V_0"),
    ("square", "area", "side", "g_mul a a"),
    ("square", "diagonal", "side", "gougu_add a a"),
    ("square", "side", "perimeter", "g_half a g_half V_0"),
    ("rectangle", "perimeter", "length width", "g_add a b g_double V_0"),
    ("rectangle", "area", "length width", "g_mul a b"),
    ("rectangle", "diagonal", "length width", "gougu_add a b"),
    ("rectangle", "width", "area length", "g_divide a b"),
    ("rectangle", "length", "area width", "g_divide a b"),
    ("rectangle", "width", "perimeter length", "g_half a g_minus V_0 b"),
    ("rectangle", "length", "perimeter width", "g_half a g_minus V_0 b"),
    ("rectangle", "width", "diagonal length", "gougu_minus a b"),
    ("rectangle", "length", "diagonal width", "gougu_minus a b"),
    ("rhombus", "side", "diagonal diagonal", "g_half a g_half b gougu_add V_0 V_1"),
    ("rhombus", "area", "diagonal diagonal", "g_mul a b g_half V_0"),
    ("rhombus", "perimeter", "side", "g_double a g_double V_0"),
    ("rhombus", "perimeter", "diagonal diagonal",
     "g_half a g_half b gougu_add V_0 V_1 g_double V_2 g_double V_3"),
    ("parallelogram", "area", "base height", "g_mul a b"),
    ("parallelogram", "height", "area base", "g_divide a b"),
    ("trapezoid", "area", "parallel parallel height", "g_add a b g_half V_0 g_mul V_1 c"),
    ("trapezoid", "midline", "parallel parallel", "g_add a b g_half V_0"),
    ("right triangle", "hypotenuse", "leg leg", "gougu_add a b"),
    ("right triangle", "leg", "hypotenuse leg", "gougu_minus a b"),
    ("right triangle", "area", "leg leg", "g_mul a b g_half V_0"),
    ("right triangle", "angle", "acute", "g_minus C_2 a"),
    ("right triangle", "acute", "acute", "g_minus C_2 a"),
    ("right triangle", "angle", "angle", "g_minus C_2 a"),
    ("isosceles triangle", "base angle", "apex", "g_minus C_3 a g_half V_0"),
    ("isosceles triangle", "apex", "base angle", "g_double a g_minus C_3 V_0"),
    ("equilateral triangle", "perimeter", "side", "g_double a g_add V_0 a"),
    ("equilateral triangle", "side", "perimeter", "g_bili a C_3 C_1"),
    ("triangle", "angle", "angle angle", "g_minus C_3 a g_minus V_0 b"),
    ("triangle", "area", "base height", "g_mul a b g_half V_0"),
    ("triangle", "height", "area base", "g_double a g_divide V_0 b"),
    ("triangle", "base", "area height", "g_double a g_divide V_0 b"),
    ("triangle", "perimeter", "side side side", "g_add a b g_add V_0 c"),
    ("ladder", "height", "ladder foot", "gougu_minus a b"),
    ("ladder", "foot", "ladder height", "gougu_minus a b"),
    ("ladder", "ladder", "height foot", "gougu_add a b"),
)  # fmt: skip
_SHAPES = (
    ("ladder", r"\bladder\b"), ("cone", r"\bcon(?:e|ical)\b"), ("sector", r"\bsector\b"),
    ("trapezoid", r"\btrapezoid\b"), ("parallelogram", r"\bparallelogram\b"),
    ("rhombus", r"\brhombus\b"), ("rectangle", r"\brectang(?:le|ular)\b"),
    ("square", r"\bsquare\b"), ("right triangle", r"\bright[- ](?:angled )?triangle\b"),
    ("isosceles triangle", r"\bisosceles triangle\b"),
    ("equilateral triangle", r"\bequilateral triangle\b"),
    ("triangle", r"\btriangle\b"), ("circle", r"\bcircle\b|\bcircular\b"),
)  # fmt: skip
_SHADOW = (
    rf"(?:a|the) (?P<x>\w+) casts a (?:shadow (?:of )?(?P<a>{N})(?: long)?|(?P<a2>{N}) shadow)\W.*?"
    rf"(?:a|the) (?P<b>{N}) (?:high |tall |long )?\w+ casts a (?:shadow (?:of )?(?P<c>{N})|(?P<c2>{N}) shadow)"
    r".*how (?:tall|high) is the (?P=x)",
    rf"(?:a|the) (?P<b>{N}) (?:high |tall |long )?\w+ casts a (?:shadow (?:of )?(?P<c>{N})|(?P<c2>{N}) shadow).*?"
    rf"(?:a|the) (?P<x>\w+) casts a (?:shadow (?:of )?(?P<a>{N})|(?P<a2>{N}) shadow).*how (?:tall|high) is the (?P=x)",
)


class Family(NamedTuple):
    """A family that answers: its shape, what is asked, the program, the numbers' roles."""

    shape: str
    asked: str
    program: str
    roles: tuple[str, ...]


def kinds() -> list[tuple[str, str]]:
    """Return shape and asked quantity of every family."""
    return [*dict.fromkeys((shape, asked) for shape, asked, _, _ in _TABLE), ("shadow", "height")]


def family(text: str, count: int) -> Family | None:
    """Return the family of a text (`phrase`) with `count` numbers, if one answers it."""
    text = text.lower().replace("n_", "N_")
    for pattern in _SHADOW:
        if (found := re.search(pattern, text)) and count == 3:
            own, pole, other = (found[g] or found.groupdict().get(g + "2") for g in "abc")
            return Family(
                "shadow", "height", f"g_bili {own} {other or found['c']} {pole}", ("shadow",) * 3
            )
    if len(text.split()) > LONGEST:
        return None
    question = _QUESTION.search(text)
    asked = _asked(question[0]) if question else None
    shape = next((name for name, words in _SHAPES if re.search(words, text)), None)
    if asked is None or shape is None or question is None:
        return None
    roles = _bound(text[: question.start()] + " . " + text[question.end() :], text, count, shape)
    if len(roles) != count:
        return None
    for name, wanted, needs, program in _TABLE:
        kinds = (shape, "triangle") if shape.endswith("triangle") else (shape,)
        if name in kinds and wanted == asked and sorted(needs.split()) == sorted(roles.values()):
            return Family(
                name, asked, _filled(program, needs.split(), roles), tuple(roles.values())
            )
    return None


def _filled(program: str, needs: list[str], roles: Mapping[str, str]) -> str:
    """Return a program with slots in place of its letters."""
    free = dict(roles)
    place: dict[str, str] = {}
    for letter, role in zip("abc", needs, strict=False):
        slot = next(s for s, r in free.items() if r == role)
        del free[slot]
        place[letter] = slot
    return unparse(parse([place.get(token, token) for token in program.split()]))


def _asked(question: str) -> str | None:
    """Return the role that is asked for."""
    if re.search(r"how (?:high|tall)|how far up", question):
        return "height"
    if re.search(r"(?:lateral|side|curved|surface) (?:surface )?area", question):
        return "lateral area"
    if re.search(r"(?:base|bottom) area|area of (?:the|its) (?:base|bottom)", question):
        return "base area"
    if re.search(r"how long is the ladder|length of the ladder", question):
        return "ladder"
    found = list(
        _WORD.finditer(
            re.sub(r"\b(?:length|size|measure|value) of (?:the |its |a )?", "", question)
        )
    )
    return _role(found[0]) if found else None


def _role(found: re.Match[str]) -> str:
    return _ROLES[int((found.lastgroup or "r0")[1:])][0]


def _bound(rest: str, text: str, count: int, shape: str) -> dict[str, str]:
    """Return the role of each number, for those that have one."""
    roles: dict[str, str] = {}
    last, end = None, 0
    source = rest if len(re.findall(N, rest)) == count else text
    for found in re.finditer(N, source):
        before = source[end : found.start()]
        sentence = re.split(r"[.?;]", before)[-1]
        words = list(_WORD.finditer(sentence))
        after = source[found.end() : found.end() + 12].strip()
        follow = next((r for r, words_ in _AFTER if re.match(words_, after)), None)
        if words:
            last = _role(words[-1])
            if shape == "ladder" and last in ("length", "distance"):
                last = _role(words[0])
        elif re.fullmatch(r"\s*(?:,|and|by|, and|×)\s*", before) and last:
            pass
        else:
            last = follow
        if last:
            roles[found[0]] = last
        end = found.end()
    return roles
