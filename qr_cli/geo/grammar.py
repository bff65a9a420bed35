"""What may follow what in a program or a proof, as one finite automaton over classes of words.

A program: operator, its operands, operator, ...; N_i that the text has, V_j of earlier steps, at
most 6 steps. A proof: a reason, then only the statements that this reason can conclude, with
elements of the kinds they need. It may end only after a whole step.

Words fall into classes, differently in each problem (E_3 is a segment here and an angle there), so
the automaton is a table over classes, and a problem is a class per word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from qr_cli.geo import vocab
from qr_cli.geo.program import OPERATORS
from qr_cli.geo.proof import Kind
from qr_cli.geo.vocab import END, Vocabulary

MOST_STEPS = 6  # of a program
MOST_TERMS = 4  # of one side of an equation
_SIGNS = ("congruent", "similar", "parallel", "vertical", "/", "=", "+")
_FIXED = ("C_2", "C_3", "C_4")
_EQUATIONS = (5, 25, 26)
_KINDS: dict[str, Kind] = {"S": "segment", "A": "angle", "T": "triangle"}
_SAME_ANGLE, _SAME_SEGMENT = "A congruent A", "S congruent S"
_SUM_180 = "A + A = C_3"
_FORMS: dict[int, tuple[str, ...]] = {  # reason -> the statements it can conclude
    **dict.fromkeys((0, 13, 29, 30), ("T congruent T",)),
    **dict.fromkeys((15, 21), ("T similar T",)),
    **dict.fromkeys((1, 23, 32), ("S parallel S",)),
    **dict.fromkeys((3, 4, 12, 22, 33, 35), (_SAME_ANGLE,)),
    **dict.fromkeys((16, 19, 31), (_SAME_SEGMENT,)),
    **dict.fromkeys((6, 7, 11, 14), (_SAME_ANGLE, _SAME_SEGMENT)),
    **dict.fromkeys((10, 17, 34, 36), (_SUM_180,)),
    2: (_SAME_ANGLE, _SAME_SEGMENT, "S = S"),
    8: ("S = S + S", "S + S = S"),
    9: ("A + A + A + A = C_4",),
    18: ("A + A + A = C_3",),
    20: ("A + A = C_2",),
    24: ("A = C_2", "S vertical S"),
    27: ("A = A + A", "A + A = A"),
    28: (_SAME_ANGLE, "S / S = S / S"),
}
_CLASSES = (
    "none", END, "op1", "op2", "op3", "N", "C", *(f"V_{i}" for i in range(MOST_STEPS)),
    *(f"R_{i}" for i in range(vocab.REASONS)), *_KINDS, *_SIGNS, *_FIXED, "free",
)  # fmt: skip
_CLASS = {name: i for i, name in enumerate(_CLASSES)}
State = tuple[object, ...]
_PROGRAM: State = ("program", 0, 0)
_PROOF: State = ("proof",)
_FREE: State = ("free",)


def _follow(state: State) -> Iterator[tuple[str, State]]:
    """Yield the classes that may follow, each with the state it leads to."""
    if state[0] == "program":
        yield from _follow_program(*state[1:])  # type: ignore[arg-type]
    elif state[0] == "free":
        yield from (("free", _FREE), (END, ("over",)))
    elif state[0] == "proof":
        yield from ((f"R_{i}", ("reason", i, ())) for i in range(vocab.REASONS))
    elif state[0] in ("reason", "sum"):
        yield from _follow_statement(state)


def _follow_program(steps: int, missing: int) -> Iterator[tuple[str, State]]:
    if missing:
        after = (steps, missing - 1) if missing > 1 else (steps + 1, 0)
        for name in ("N", "C", *(f"V_{i}" for i in range(steps))):
            yield name, ("program", *after)
        return
    if steps < MOST_STEPS:
        yield from ((f"op{arity}", ("program", steps, arity)) for arity in (1, 2, 3))
    if steps:
        yield END, ("over",)


def _follow_statement(state: State) -> Iterator[tuple[str, State]]:
    """Go on inside a statement; after a whole one also to the next reason or the end."""
    complete = False
    if state[0] == "reason":
        reason, said = state[1], state[2]
        assert isinstance(reason, int) and isinstance(said, tuple)
        if reason in _EQUATIONS:
            yield from ((kind, ("sum", kind, 0, 1, True)) for kind in ("A", "S"))
            yield from ((name, ("sum", "A", 0, 1, True)) for name in _FIXED)
        seen = set()
        for form in _FORMS.get(reason, ()):
            words = tuple(form.split())
            if words[: len(said)] != said:
                continue
            if len(words) == len(said):
                complete = True
            elif words[len(said)] not in seen:
                seen.add(words[len(said)])
                yield words[len(said)], ("reason", reason, (*said, words[len(said)]))
    else:  # an equation: its kind, the side, terms on this side, whether a term stands last
        _, kind, side, terms, after = state
        assert isinstance(side, int) and isinstance(terms, int)
        if not after:
            yield str(kind), ("sum", kind, side, terms + 1, True)
            if kind == "A":
                yield from ((name, ("sum", kind, side, terms + 1, True)) for name in _FIXED)
            return
        if terms < MOST_TERMS:
            yield "+", ("sum", kind, side, terms, False)
        if side == 0:
            yield "=", ("sum", kind, 1, 0, False)
        complete = side == 1
    if complete:
        yield from _follow(_PROOF)
        yield END, ("over",)


@lru_cache(maxsize=1)
def _tables() -> tuple[Tensor, Tensor, dict[State, int]]:
    """Return which class may follow a state (bool), where it leads, and the states' numbers."""
    number: dict[State, int] = {("over",): 0}
    todo: list[State] = [_PROGRAM, _PROOF, _FREE]
    arrows: list[tuple[int, int, int]] = []
    for state in todo:
        number.setdefault(state, len(number))
    while todo:
        state = todo.pop()
        for name, after in _follow(state):
            if after not in number:
                number[after] = len(number)
                todo.append(after)
            arrows.append((number[state], _CLASS[name], number[after]))
    allowed = torch.zeros(len(number), len(_CLASSES), dtype=torch.bool)
    leads = torch.zeros(len(number), len(_CLASSES), dtype=torch.long)
    for here, kind, there in arrows:
        allowed[here, kind] = True
        leads[here, kind] = there
    return allowed, leads, number


def program_classes(vocabulary: Vocabulary, count: int) -> Tensor:
    """Return the class of each word for a program over `count` numbers ``(V)``."""
    names = {name: f"op{operator.arity}" for name, operator in OPERATORS.items()}
    names |= {f"N_{i}": "N" for i in range(count)}
    names |= {f"C_{i}": "C" for i in range(vocab.CONSTANTS)}
    names |= {f"V_{i}": f"V_{i}" for i in range(MOST_STEPS)}
    return _classes(vocabulary, names)


def proof_classes(vocabulary: Vocabulary, kinds: Sequence[Kind]) -> Tensor:
    """Return the class of each word for a proof that speaks of elements of some kinds ``(V)``."""
    names = {name: name for name in (*_SIGNS, *_FIXED)}
    short = {kind: name for name, kind in _KINDS.items()}
    names |= {f"E_{i}": short[kind] for i, kind in enumerate(kinds)}
    there = {short[kind] for kind in kinds}
    for reason in range(vocab.REASONS):
        forms = _FORMS.get(reason, ("A", "S"))
        if there & {word for form in forms for word in form.split()}:
            names[f"R_{reason}"] = f"R_{reason}"
    return _classes(vocabulary, names)


def free_classes(vocabulary: Vocabulary) -> Tensor:
    """Return the class of each word where any text may be written ``(V)``."""
    return _classes(vocabulary, dict.fromkeys(vocabulary.words[3:], "free"))


def _classes(vocabulary: Vocabulary, names: dict[str, str]) -> Tensor:
    found = [0] * len(vocabulary)
    for word, name in {**names, END: END}.items():
        found[vocabulary.number[word]] = _CLASS[name]
    return torch.tensor(found)


class Grammar:
    """The automaton for a batch of problems.

    Args:
        classes: class of each word, per problem ``(B, V)``.
        starts: "program", "proof" or "free", per problem.
    """

    def __init__(self, classes: Tensor, starts: Sequence[str]) -> None:
        self.classes = classes
        self.allowed, self.leads, number = _tables()
        first = {"program": _PROGRAM, "proof": _PROOF, "free": _FREE}
        self.start = torch.tensor([number[first[start]] for start in starts])

    def mask(self, states: Tensor) -> Tensor:
        """Return 0 for what may follow and -inf for the rest, ``(B, K) -> (B, K, V)``."""
        batch, beams = states.shape
        classes = self.classes[:, None].expand(batch, beams, -1)
        allowed = self.allowed[states].gather(-1, classes)
        return torch.zeros(allowed.shape).masked_fill_(~allowed, -torch.inf)

    def advance(self, states: Tensor, words: Tensor) -> Tensor:
        """Return the states after one more word of each beam, ``(B, K), (B, K) -> (B, K)``."""
        return self.leads[states, self.classes.gather(1, words)]

    def keep(self, problems: Tensor) -> None:
        """Go on with some problems only."""
        self.classes, self.start = self.classes[problems], self.start[problems]
