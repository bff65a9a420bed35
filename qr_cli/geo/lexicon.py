# ruff: noqa: E501 -- a pattern stands on one line
"""The words of calculation texts: one writing for each, and patterns of names."""

from __future__ import annotations

import re
from collections.abc import Callable

NAME = r"(?:(?!N_\d)[A-Z](?:_\{?\d\}?)?′*(?![a-z]))"
_START = r"(?<![A-Za-z∠△′])"
P = rf"{_START}{NAME}(?!\s?{NAME}\b)"
ONE = rf"{_START}{NAME}(?!{NAME})"
S = rf"{_START}{NAME}{NAME}(?!{NAME})"
A = rf"∠{NAME}(?:{NAME}{NAME})?(?!{NAME})"
T = rf"△{NAME}{NAME}{NAME}(?!{NAME})"
Q = rf"{_START}{NAME}{NAME}{NAME}{NAME}(?!{NAME})"
POLY = rf"(?:{T}|{Q})"
N = r"N_\d+"
AND = r"(?:\s*,\s*(?:and\s+)?|\s+and\s+|\s*、\s*)"
POINTS = rf"{ONE}(?:{AND}{ONE})*"
SEGMENTS = rf"(?<![∥⟂=]\s){S}(?:{AND}{S})*"
ANGLES = rf"{A}(?:{AND}{A})*"
# as objects: a name that goes on to say something of itself is no member of the list
_ENDS = r"(?!\s*(?:[=∥⟂≅:/+~]|(?:is|are|bisects?|meets?|passes|lies?|has|have|on)\b))"
OBJECT_POINTS = rf"{ONE}(?:{AND}{ONE}{_ENDS})*"
OBJECT_SEGMENTS = rf"{S}(?:{AND}{S}{_ENDS})*"
OBJECT_ANGLES = rf"{A}(?:{AND}{A}{_ENDS})*"
CIRCLE = rf"(?:⊙(?:{NAME})?(?!{NAME})|the circle|a circle|its circle)"

_NAMES = rf"(?={NAME})"
_PHRASES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"[\u200b\xa0]", " "),
    (r"\bRt\s*(?:△\s*|triangles?\s*)", "right △"),
    (r"\b(?:the\s+)?areas?\s+S(?=\s*△)", "area of "),
    (r"\bS\s*_?\s*\{?\s*(?:△|triangle\s*)([A-Z]{3})\s*\}?", r"area of △\1"),
    (rf"\b(?:right[- ]?)?triangles?\s*{_NAMES}", lambda m: ("right " if "right" in m[0].lower() else "") + "△"),
    (rf"(?<!set )\bangles?\s*{_NAMES}", "∠"),
    (rf"(sin|cos|tan)\s*(?:angle\s*)?∠?\s*({NAME}(?:{NAME}{NAME})?)", r"\1 ∠\2"),
    (r"∠\s*∠", "∠"), (r"∠\s+", "∠"), (r"△\s+", "△"),
    (rf"\\?frac\s*\{{\s*({NAME}{NAME})\s*\}}\s*\{{\s*({NAME}{NAME})\s*\}}", r"\1 / \2"),
    (rf"\\?frac\s+({NAME}{NAME})\s*({NAME}{NAME})", r"\1 / \2"),
    (r"\bcentre", "center"),
    (r"\b(?:the|a)\s+(?:moving\s+)?circle\s+with\s+(?:point\s+)?(?=[A-Z])([A-Z])\s+as\s+(?:the\s+)?center", r"⊙\1"), (r"\bsemi-?\s*circle", "circle"), (r"丄", "⟂"),
    (r"=\s*Rt\s*(?:∠|angle)?(?!\w)", "is a right angle"), (r"\b[Ii]n\s+(?=[A-Z]{3}\b)", "in △"),
    (r"\bthe\s+([A-Z]{2})\s+(?:edge|side)s?\b", r"\1"),
    (rf"\b(?:a\s+|the\s+)?circle\s+(?:with\s+)?(?:its\s+)?center(?:ed)?\s+(?:at\s+)?{_NAMES}", "⊙"),
    (rf"\b(?:the\s+)?circle(?:s)?\s+{_NAMES}", "⊙"), (r"⊙\s+", "⊙"),
    (r"(?:\bthe\s+)?[▱□]\s*(?=[A-Z]{4})", "parallelogram "), (r"\bdiamond", "rhombus"),
    (r"\b(?:circumscribed\s+circle|circumcircle|circumscribed\s+⊙)", "circumcircle"),
    (r"\b(?:inscribed\s+circle|incircle)", "incircle"),
    (r"\bquadrangle", "quadrilateral"), (r"\btrapezium", "trapezoid"),
    (r"\b(?:perpendicular|vertical)\s+bisectors?|\bmid-?perpendicular", "perpbisector"),
    (r"\b(?:angular|angle|internal|interior)\s+bisectors?|\bbisectors?\b|\bbisecting\s+line", "bisector"),
    (r"\b(?:the\s+)?(?:extended|extension|extending|prolonged)(?:\s+(?:lines?|cords?))?(?:\s+of)?\b", "extension of"),
    (r"extension of of", "extension of"),
    (r"\b(?:the\s+)?(?:feet|foot)\s+(?:of\s+)?(?:the\s+)?perpendiculars?\b|\b(?:the\s+)?(?:perpendicular|vertical)\s+(?:foot|feet)", "foot"),
    (r"\b(?:the\s+)?(?:tangent|tangency)\s+points?|\b(?:the\s+)?points?\s+of\s+(?:tangency|contact|tangent)", "touchpoint"),
    (r"\bmid-?\s?points?", "midpoint"),
    (r"\bcross(?:ing)?\s+(?=(?:points?\s+)?[A-Z]\s*,?\s*(?:to|is|draw|makes?)\b)", "passing "),
    (r"\b(?:intersect|meet|cross|cut)(?:s|es|ing)?\b|\bintersected\s+by|\bcut\s+by", "meets"),
    (r"\b(?:is|are)\s+parallel\s+to\b|\bparallel\s+to\b|\bparallel\b(?=\s+(?:(?:the|radius|chord|diameter|line|side|straight|edge)\s+)*[A-Z])", "∥"),
    (r"\b(?:is|are)\s+perpendicular\s+to\b|\bperpendicular\s+to\b|\bperpendicular\b(?=\s+(?:the\s+)?(?:\w+\s+)?[A-Z])", "⟂"),
    (r"\b(?:is|are)\s+congruent\s+(?:to|with)\b|\bcongruent\s+to\b|\bcongruent\b(?=\s+△)", "≅"),
    (r"\b(?:is|are)\s+similar\s+to\b|\bsimilar\s+to\b|\bsimilar\b(?=\s+△)", "~"),
    (r"\b(?:is|are)?\s*(?:both\s+)?equals?\s+to\b|\bequals\b", "="),
    (r"\btwice\b|\bdouble\b(?: of)?|\btwo\s+times\b", "2"), (r"\b(?:three|triple)\s+times\b", "3"),
    (r"\bhalf\s+(?:of\s+)?(?=[A-Z∠])", "0.5 "), (r"\bis\s+(?=(?:2|3|0\.5)\s+[A-Z∠])", "= "),
    (r"\b(?:the\s+)?(?:central|inscribed|circumference|acute|obtuse|apex|top|vertex|base|included|interior|circumferential)\s+(?:angle\s+)?(?=∠)", ""),
    (r"\b(?:angle|angle of circumference|central angle)\s+(?=∠)", ""),
    (r"\b(?:the\s+)?(?:size|degrees?|measure|value|number of degrees|length|lengths|magnitude)\s+(?:of\s+)?(?:the\s+)?(?=[∠A-Z]|arc|line|chord|segment|edge|side|diagonal)", ""),
    (r"\bon\s+(?:the\s+)?(?:straight\s+)?line\s+(?=[A-Z]{2}(?![a-z]))", "on straight "),
    (r"\b(?:the\s+)?(?:two\s+)?(?:straight\s+lines?|line\s+segments?|line|lines|segments?|edges?|sides?|hypotenuse|legs?|diagonals?|rays?|radials?|bottom\s+edge|base|oblique side)\s+(?=[A-Z]{2}(?![a-z]))", ""),
    (rf"\b(?:the\s+)?(?:(?:two|three|four|fixed|moving)\s+)?points?\s+{_NAMES}", ""),
    (r"\brespectively\b", ""), (r"∥\s*∥", "∥"), (r"⟂\s*the\s+", "⟂ "),
    (r"\b(?:the\s+)?(?:center of gravity|centroid)\b", "centroid"),
    (r"\(\s*\)\s*(?:\^\s*\{?2\}?|°)?", " ? "), (r"(?<=[a-z])\(\s*\)", " ? "),
)  # fmt: skip
_REORDERED: tuple[tuple[str, str], ...] = (  # once the names stand as they should
    (
        rf"({S}{AND}{S})\s+of\s+(?:the\s+)?((?:parallelogram|rectangle|rhombus|square|quadrilateral)\s+{Q})",
        r"\2 , \1",
    ),
    (
        rf"\bthe\s+({S})\s+extension of(\s+(?:the\s+)?(?:diameter|chord)(?!\s+[A-Z]))?(?:\s+of(?=\s+⊙))?",
        r"extension of\2 \1",
    ),
    (
        rf"(?:connect\s+)?({S})\s+(?:and|,)\s+extends?(?:\s+it|\s+\1)?(?:\s+(?:to|and)|\s*,\s*and)?(?:\s+it)?\s+meets",
        r"extension of \1 meets",
    ),
    (rf"are\s+(⊙{NAME})\s+is\s+tangent", r"are tangents of \1"),
)
_COMPILED = tuple((re.compile(pattern), words) for pattern, words in (*_PHRASES, *_REORDERED))

_ARTICLE = re.compile(
    r"(?<![A-Za-z∠△⊙])A\s+(?=[a-z]{3,})(?!(?:and|are|lies|lie|with|meets|intersects|such|bisects|from"
    r"|the|coincides|moves|parallel|perpendicular|divides|has|for|where|point|then)\b)"
)

FILLERS = frozenset(
    """a an the is are be was as shown in figure picture diagram below above it its that this these
    there and then so if when given known we have has let let's with at to of for on by from such
    suppose where which also known following connect connected connecting connects joined join draw
    drawn make makes construct extend extends extended take taking any each two three four both
    degree degrees measured measure cm respectively namely so because since thus therefore
    respective find calculate same plane now same point points line lines segment segments triangle
    quadrilateral passing through over outside convex quadrilateral respectively satisfies satisfy
    result about units unit long length wide deg square plane drawing placed place put arbitrary
    value values one another corresponding vertices vertex side sides moreover while but not below
    coincide coincides coincident inside internal lies lie located position turn note shape figure
    please what who which does do can could you know knowing being gets get obtains obtained obtain
    always circle angle angles chord chords different draws intersection intersections other only
    still left right up down or""".split()
)


def phrase(text: str) -> str:
    """Return a slotted text with one writing of each phrase."""
    text = re.sub(r"\b(?!Rt)[A-Z][a-z]+", lambda word: word[0].lower(), text)
    text = _ARTICLE.sub("a ", text)
    for pattern, words in _COMPILED:
        text = pattern.sub(words, text)
    text = re.sub(r"\s*([=∥⟂≅:+,;?~×])\s*", r" \1 ", text)
    return " ".join(text.split())


def names(text: str) -> list[str]:
    """Return the points a text names, in order."""
    return re.findall(NAME, text)


def segments(text: str) -> list[tuple[str, str]]:
    """Return the segments a text names, in order."""
    return [(p[0], p[1]) for p in (names(s) for s in re.findall(S, text))]
