"""Mathematical expression pre-training (MEP): from a problem to the expressions that solve it.

The authors' two tasks (Chen et al. 2022), each problem one of them: `solving prediction`, from the
problem to the expressions of its solution, and `denoise text`, from a masked problem to the whole
one. The expressions come from the Chinese solutions of the published data. Ours, for generated
problems, are written from the program, with the names that the text gives its numbers; those of a
proof are its statements.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from qr_cli.geo.program import CONSTANTS, execute, parse
from qr_cli.geo.text import SYMBOLS

Cut = Literal["none", "official"]
SOLVING = ("solving", "prediction", ":")
DENOISE = ("denoise", "text", ":")
_CHOSEN = "故选"
_BLANK = (
    "^{°}",
    "{",
    "}",
    "°",
    "cm",
    "m",
    "米",
    ",",
    ":",
    "．",
    "、",
    "′",
    "~",
    "″",
    "【",
    "】",
    "$",
)
_CHINESE = re.compile("[\u4e00-\u9fa5]+")
_PIECE = re.compile(r"\\frac|\\sqrt|\\cdot|\d+\.?\d*|\S")
_MORE = {"/ /": " parallel ", "∵": " because ", "∴": " therefore ", "²": " square ", "√": " root "}


class Expressions(NamedTuple):
    """The words of a solution, NS_j in place of its numbers, and those numbers as first seen."""

    words: list[str]
    numbers: list[float]


def expressions(solution: str, *, cut: Cut = "none") -> Expressions:
    """Return the expressions of a Chinese solution, as the authors' code takes them out.

    Args:
        solution: the text; what follows the option's letter (故选) does not count.
        cut: `official` loses the last character where there is no such mark, as theirs does.
    """
    body, found, _ = solution.partition(_CHOSEN)
    if not found and cut == "official":
        body = body[:-1]
    for mark in _BLANK:
        body = body.replace(mark, " ")
    numbers: list[float] = []
    words = [_numbered(piece, numbers) for piece in _PIECE.findall(_CHINESE.sub("", body))]
    text = " ".join(words)
    for symbol, name in {**SYMBOLS, **_MORE}.items():
        text = text.replace(symbol, name)
    return Expressions(text.split(), numbers)


def _numbered(piece: str, numbers: list[float]) -> str:
    return _name(float(piece), numbers) if piece[0].isdecimal() else piece


def _name(value: float, numbers: list[float]) -> str:
    """Return NS_j of a number; a new one is added to the list."""
    if value not in numbers:
        numbers.append(value)
    return f"NS_{numbers.index(value)}"


def masked(words: Sequence[str], places: Iterable[int]) -> list[str]:
    """Return words with those at some places masked; neighbours share one mask."""
    hidden = set(places)
    return [
        "<mask>" if i in hidden else word
        for i, word in enumerate(words)
        if i not in hidden or i - 1 not in hidden
    ]


def mask_count(words: int, ratio: float = 0.3) -> int:
    """Return how many of so many words are masked."""
    return int(max(ratio * words, 1))


# generated problems --------------------------------------------------------------------------

_FORMS: dict[str, str] = {
    "g_equal": "a", "g_double": "2 × a", "g_half": "a / 2", "g_add": "a + b", "g_minus": "a - b",
    "g_mul": "a × b", "g_divide": "a / b", "g_bili": "a / b × c", "g_sin": "sin a",
    "g_cos": "cos a", "g_tan": "tan a", "g_asin": "asin a", "g_acos": "acos a",
    "gougu_add": "√ ( a ² + b ² )", "gougu_minus": "√ ( a ² - b ² )",
    "cal_circle_area": "π × a ²", "cal_circle_perimeter": "2 × π × a", "cal_cone": "π × a × b",
}  # fmt: skip
_NAME = r"((?:(?:angle|sin|cos|tan|arc) )*(?:[A-Z]′? )*[A-Z]′?)"
_BOUND = re.compile(rf"{_NAME} (?:=|is|equals|measures)(?: equal to)? N_(\d+)")


class Names(NamedTuple):
    """What each number of a problem is the size of, "" where that is not known, and what is asked.

    As words: ``angle A B C``, ``A B``.
    """

    numbers: Sequence[str]
    target: str


def names_in(source: Sequence[str], count: int) -> Names:
    """Return the names that a problem's words give its numbers; the last name is the target."""
    text = " ".join(source)
    found = {int(number): name for name, number in _BOUND.findall(text)}
    names = re.findall(_NAME, text)
    return Names([found.get(i, "") for i in range(count)], names[-1] if names else "")


def of_program(program: str, numbers: Sequence[float], names: Names) -> list[str]:
    """Return the expressions of a program: what is given, then one clause per step.

    ``because angle A = NS_0 therefore NS_1 = NS_2 - NS_0 , angle B = NS_1 / NS_3``

    Args:
        program: that solves the problem.
        numbers: N_0, N_1, ...
        names: of the numbers and of what is asked.
    """
    seen: list[float] = []
    given = [
        f"{name} = {_name(float(number), seen)}"
        for name, number in zip(names.numbers, numbers, strict=False)
        if name
    ]
    values = execute(program, numbers, mode="official").results or []
    steps = parse(program, len(numbers))
    sources = {"N": numbers, "V": values, "C": CONSTANTS}
    clauses: list[str] = []
    for i, (op, operands) in enumerate(steps):
        terms = [
            "π" if o == "C_5" else _name(float(sources[o[0]][int(o[2:])]), seen) for o in operands
        ]
        form = [
            terms["abc".index(word)] if word in ("a", "b", "c")
            else _name(2.0, seen) if word == "2" else word
            for word in _FORMS[op].split()
        ]  # fmt: skip
        last = i == len(steps) - 1 and names.target
        clauses.append(
            f"{names.target if last else _name(float(values[i]), seen)} = {' '.join(form)}"
        )
    because = f"because {' , '.join(given)} " if given else ""
    return f"{because}therefore {' , '.join(clauses)}".split()


def of_proof(proof: str) -> list[str]:
    """Return the statements of a proof, without its reasons."""
    parts = [part.split()[1:] for part in re.split(r"(?=\bR_\d+)", proof) if part.strip()]
    return " , ".join(" ".join(part) for part in parts).split()
