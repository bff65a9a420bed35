"""Words of generated problems: facts in several wordings, sentence forms, question forms, letters.

A calculation text is a place ("in triangle ABC"), facts and a question put into a sentence form.
Each family owns fifteen forms in an order of its own; the last fifth of them, four question forms
and a tenth of the letter sets occur in the split `unseen` only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from string import ascii_uppercase
from zlib import crc32

from qr_cli.geo.givens import Given
from qr_cli.geo.proof import Element, Statement
from qr_cli.geo.synth.dice import Dice

Wordings = tuple[str, ...]
SPLITS = ("train", "seen", "unseen", "diagram")

# facts ------------------------------------------------------------------------------------------


def angle(name: str, value: str) -> Wordings:
    """Return wordings of the size of an angle."""
    return (
        f"∠{name} = {{{value}}}", f"angle {name} = {{{value}}}", f"∠{name} is {{{value}}}",
        f"angle {name} measures {{{value}}}", f"∠{name} is equal to {{{value}}}",
    )  # fmt: skip


def length(name: str, value: str) -> Wordings:
    """Return wordings of the length of a segment."""
    return (
        f"{name} = {{{value}}}", f"{name} is {{{value}}}", f"{name} equals {{{value}}}",
        f"the length of {name} is {{{value}}}", f"segment {name} is {{{value}}} long",
    )  # fmt: skip


def same(one: str, two: str) -> Wordings:
    """Return wordings of two equal segments."""
    return (f"{one} = {two}", f"{one} is equal to {two}", f"{one} and {two} are equal")


def parallel(one: str, two: str) -> Wordings:
    """Return wordings of parallel lines."""
    return (
        f"{one} ∥ {two}",
        f"{one} is parallel to {two}",
        f"line {one} is parallel to line {two}",
    )


def perpendicular(one: str, two: str) -> Wordings:
    """Return wordings of perpendicular lines."""
    return (f"{one} ⟂ {two}", f"{one} is perpendicular to {two}")


def right(name: str) -> Wordings:
    """Return wordings of a right angle: a fact in words, or the number {r} that no step needs."""
    return (
        f"∠{name} is a right angle", f"angle {name} is a right angle", f"∠{name} = {{r}}",
        f"angle {name} = {{r}}", f"∠{name} is {{r}}",
    )  # fmt: skip


def midpoint(point: str, line: str) -> Wordings:
    """Return wordings of a midpoint."""
    return (f"{point} is the midpoint of {line}", f"point {point} is the midpoint of {line}")


def lies(point: str, line: str) -> Wordings:
    """Return wordings of a point on a segment."""
    return (
        f"{point} lies on {line}",
        f"point {point} is on {line}",
        f"{point} is a point on {line}",
    )


def bisects(line: str, name: str) -> Wordings:
    """Return wordings of an angle bisector."""
    return (
        f"{line} bisects ∠{name}", f"{line} bisects angle {name}",
        f"{line} is the bisector of ∠{name}",
    )  # fmt: skip


def the_angle(name: str) -> Wordings:
    """Return wordings of an angle that is asked for."""
    return (
        f"∠{name}", f"∠{name}", f"angle {name}", f"the measure of ∠{name}",
        f"the degree of ∠{name}", f"the size of angle {name}",
    )  # fmt: skip


def the_length(name: str) -> Wordings:
    """Return wordings of a segment that is asked for."""
    return (name, f"the length of {name}", f"the length of segment {name}")


# forms ------------------------------------------------------------------------------------------

_FORMS = (  # {p} place, {f} facts, {f;} by semicolons, {q} question, {q!} without its full stop
    "{p}, {f}. {q}",
    "{p}, {f}, {q}",
    "as shown in the figure, {p}, {f}. {q}",
    "as shown in the figure, {p}, {f}, {q}",
    "if {f} {p}, {q}",
    "{p}, if {f}, {q}",
    "given that {f} {p}. {q}",
    "{p}, it is known that {f}. {q}",
    "{p}, we know that {f}. {q}",
    "suppose that {f} {p}. {q}",
    "{f;}. {p}, {q}",
    "{p}: {f;}. {q}",
    "look at the figure. {p}, {f}. {q}",
    "{q!}, if {f} {p}.",
    "the figure shows that {p}, {f}. {q}",
)
PHRASES = len(_FORMS)
KEPT = PHRASES * 4 // 5  # forms from here on are unseen
_PLACELESS = (
    "{f}. {q}",
    "{f}, {q}",
    "as shown in the figure, {f}. {q}",
    "as shown in the figure, {f}, {q}",
    "if {f}, {q}",
    "in the figure, if {f}, {q}",
    "given that {f}. {q}",
    "it is known that {f}. {q}",
    "we know that {f}. {q}",
    "suppose that {f}. {q}",
    "{f;}. {q}",
    "in the figure, {f}. {q}",
    "look at the figure. {f}. {q}",
    "{q!}, if {f}.",
    "the figure shows that {f}. {q}",
)

_ASKED = (
    "find {x}.", "what is {x}?", "then {x} = ().", "calculate {x}.", "then {x} is equal to ().",
    "determine {x}.", "then what is {x}?", "then {x} is ().", "work out {x}.",
)  # fmt: skip
_ASKED_UNSEEN = ("compute {x}.", "what does {x} equal?", "then {x} equals ().", "give {x}.")
QUESTIONS = _ASKED + _ASKED_UNSEEN


@cache
def form_order(family: str) -> tuple[int, ...]:
    """Return a family's own order of the sentence forms."""
    return tuple(sorted(range(PHRASES), key=lambda i: crc32(f"{family} {i}".encode())))


def sentence(
    dice: Dice, family: str, split: str, place: Wordings, facts: Sequence[str], asked: str
) -> tuple[int, str]:
    """Return the number of the form and the text, still with {a} for numbers."""
    unseen = split == "unseen"
    phrase = KEPT + dice.below(PHRASES - KEPT) if unseen else dice.below(KEPT)
    index = form_order(family)[phrase]
    form = _FORMS[index] if place else _PLACELESS[index]
    questions = _ASKED_UNSEEN if unseen else _ASKED
    question = dice.pick(questions)
    while "{q!}" in form and question.startswith("then"):
        question = dice.pick(questions)
    question = question.replace("{x}", asked)
    listed = list(facts)
    several = " and ".join(filter(None, (", ".join(listed[:-1]), listed[-1])))
    text = form.replace("{f;}", "; ".join(listed)).replace("{f}", several)
    text = text.replace("{q!}", question[:-1]).replace("{q}", question)
    if place:
        text = text.replace("{p}", dice.pick(place))
    return phrase, _capitals(text)


_START = re.compile(r"(?:^|(?<=[.?] ))[a-z]")


def _capitals(text: str) -> str:
    return _START.sub(lambda found: found[0].upper(), text)


def fixed_words() -> str:
    """Return the words that do not depend on a family, as one text."""
    proofs = [*_PROOF_FORMS, *_GIVENS.values(), *(w for row in _RELATIONS.values() for w in row)]
    return " ".join([*_FORMS, *_PLACELESS, *QUESTIONS, *proofs])


# letters ----------------------------------------------------------------------------------------


def held_out(letters: Sequence[str]) -> bool:
    """Tell whether a set of letters belongs to the split `unseen`."""
    return crc32("".join(sorted(letters)).encode()) % 10 == 0


def letters(
    dice: Dice, roles: Sequence[str], split: str, *, shuffle: float = 0.3
) -> dict[str, str]:
    """Return a letter for every role: half of the sets consecutive, O a centre's more often."""
    count, wanted = len(roles), split == "unseen"
    while True:
        if dice.chance(0.5):
            first = dice.below(26 - count + 1)
            found = list(ascii_uppercase[first : first + count])
        else:
            found = sorted(dice.shuffled(ascii_uppercase)[:count])
        if "O" in roles and "O" not in found and dice.chance(0.6):
            found[dice.below(count)] = "O"
        if held_out(found) == wanted:
            break
    if dice.chance(shuffle):
        found = dice.shuffled(found)
    if "O" in roles and "O" in found:
        found.remove("O")
        rest = [role for role in roles if role != "O"]
        return {"O": "O", **dict(zip(rest, found, strict=True))}
    return dict(zip(roles, found, strict=True))


_NAMES = re.compile(r"(?<![A-Za-z])[A-Z]{1,5}(?![A-Za-z])")


def relettered(text: str, names: Mapping[str, str]) -> str:
    """Return a text with other letters for points; words keep theirs."""
    return _NAMES.sub(lambda found: "".join([names[letter] for letter in found[0]]), text)


_NUMBER = re.compile(r"\{(\w)\}")


def quantities_in(text: str) -> list[str]:
    """Return the quantities of a text in the order in which it names them."""
    return _NUMBER.findall(text)


def filled(text: str, values: Mapping[str, str]) -> tuple[str, str, list[str]]:
    """Return a text with its numbers, the same with N_i, and the order of the quantities."""
    parts = _NUMBER.split(text)
    order = parts[1::2]
    raw, slotted = list(parts), list(parts)
    for i, name in enumerate(order):
        raw[2 * i + 1], slotted[2 * i + 1] = values[name], f"N_{i}"
    return "".join(raw), "".join(slotted), order


# proofs -----------------------------------------------------------------------------------------

_PROOF_FORMS = (  # {f,} facts in one sentence, {f.} one sentence each, {g} the goal
    "given {f,}. complete the proof that {g}.",
    "{f,}. complete the proof that {g}.",
    "given {f.} complete the proof that {g}.",
    "given that {f,}. prove that {g}.",
    "suppose that {f,}. show that {g}.",
    "{f.} prove that {g}.",
    "if {f,}, prove that {g}.",
    "given {f,}. prove that {g}.",
    "given {f,}, demonstrate that {g}.",
    "assume that {f,}. prove that {g}.",
)
PROOF_PHRASES = len(_PROOF_FORMS)
_PROOF_KEPT = PROOF_PHRASES * 4 // 5
_RELATIONS: dict[str, Wordings] = {
    "congruent": ("≅", "≅", "≅", "=", "is congruent to"),
    "similar": ("~",),
    "parallel": ("∥", "∥", "∥", "is parallel to"),
    "vertical": ("⟂", "⟂", "⟂", "is perpendicular to"),
    "equal": ("=",),
}
_GIVENS = {
    "midpoint": "{0} is the midpoint of {1}",
    "bisects": "{0} bisects {1}",
    "equilateral": "{0} is equilateral",
    "supplementary": "{0} and {1} are supplementary",
}


def proof_text(
    dice: Dice, family: str, split: str, givens: Sequence[Given], goal: Statement, tail: str
) -> tuple[int, str]:
    """Return the number of the form and the text of a proving problem."""
    forms = sorted(range(PROOF_PHRASES), key=lambda i: crc32(f"{family} {i}".encode()))
    kept = _PROOF_KEPT
    phrase = kept + dice.below(PROOF_PHRASES - kept) if split == "unseen" else dice.below(kept)
    facts = dice.shuffled([_given_words(dice, given) for given in givens])
    several = " and ".join(filter(None, (", ".join(facts[:-1]), facts[-1])))
    form = _PROOF_FORMS[forms[phrase]]
    text = form.replace("{f,}", several).replace("{f.}", ". ".join(facts) + ".")
    wanted = _worded(
        goal, "≅" if goal.relation == "congruent" else _RELATIONS.get(goal.relation, ("=",))[0]
    )
    return phrase, _capitals(text.replace("{g}", f"{wanted} {tail}".strip()))


def _given_words(dice: Dice, given: Given) -> str:
    if given.statement is None:
        names = [str(e) for e in given.elements]
        if given.kind == "midpoint":
            names[0] = given.elements[0].points[0]
        return _GIVENS[given.kind].format(*names)
    statement = given.statement
    if statement.relation in ("congruent", "parallel", "vertical") and dice.chance(0.4):
        statement = statement._replace(left=statement.right, right=statement.left)
    signs = _RELATIONS.get(statement.relation, ("=",))
    if isinstance(statement.left[0], Element) and statement.left[0].kind == "triangle":
        signs = signs[:1]
    return _worded(statement, dice.pick(signs))


def _worded(statement: Statement, sign: str) -> str:
    glue = "/" if statement.relation == "ratio" else " + "
    left, right = (
        glue.join(f"{t}°" if isinstance(t, int) else str(t) for t in side)
        for side in (statement.left, statement.right)
    )
    return f"{left} {sign} {right}"


_WORD = re.compile(r"([∠△]?)([A-Z]+)(?![a-z])")


def spaced(text: str) -> str:
    """Return a proving text as the published ones are spaced: ∠ A B C, A B, ∠A."""
    text = _WORD.sub(lambda m: _apart(m[1], m[2]), text)
    return " ".join(re.sub(r"([.,;/])", r" \1 ", text).split())


def _apart(sign: str, name: str) -> str:
    joined = " ".join(name)
    return f"{sign} {joined}" if sign and len(name) > 1 else sign + joined
