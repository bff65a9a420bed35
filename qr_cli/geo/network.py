"""A trained Geoformer in use: problems in, programs and proofs with their scores out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from qr_cli.errors import DataError
from qr_cli.geo import grammar
from qr_cli.geo.both import Said
from qr_cli.geo.decode import search
from qr_cli.geo.diagrams import read_diagram
from qr_cli.geo.inputs import Picture, Words, picture, words
from qr_cli.geo.opinion import Guess, Select
from qr_cli.geo.records import Problem
from qr_cli.geo.samples import ink
from qr_cli.geo.slotting import SlotMode
from qr_cli.geo.tiny import Tiny, padded
from qr_cli.geo.vocab import END, PAD
from qr_cli.geo.weights import load_tiny

LONGEST = 200  # words of a text


@dataclass(frozen=True)
class Question:
    """A problem as the network takes it."""

    words: Words
    proving: bool
    picture: Picture | None = None


class Network:
    """A small model with its name and temperature.

    Args:
        model: in evaluation mode.
        name: of its weights.
        tau: temperature of its scores.
    """

    def __init__(self, model: Tiny, name: str, tau: float = 1.0) -> None:
        self.model, self.name, self.tau = model, name, tau

    def say(
        self, problems: Sequence[Problem], *, beams: int = 10, longest: int = 72,
        slots: SlotMode = "compound", select: Select = "vote", truncate: bool = False,
    ) -> list[Said]:  # fmt: skip
        """Return what it writes for problems; one it cannot read comes with the fault."""
        read = [_question(p, slots, truncate) for p in problems]
        asked = [q for q in read if isinstance(q, Question)]
        answers = iter(predict(self.model, asked, beams=beams, longest=longest))
        return [
            Said(fault=q, checkpoint=self.name) if isinstance(q, str)
            else Said(
                tuple(next(answers)), q.words.numbers, q.words.elements, self.tau, select,
                self.name, q.picture is not None,
            )
            for q in read
        ]  # fmt: skip


def _question(problem: Problem, slots: SlotMode, truncate: bool) -> Question | str:
    try:
        found = words(problem, mode=slots, longest=None if truncate else LONGEST)
    except DataError as fault:
        return fault.message
    found = found._replace(source=found.source[:LONGEST])
    seen = picture(read_diagram(problem.diagram)) if problem.diagram else None
    return Question(found, problem.task == "proving", seen)


@lru_cache(maxsize=2)
def load_network(checkpoint: str) -> Network:
    """Return a network.

    Raises:
        WeightsError: the weights cannot be used.
    """
    model, card = load_tiny(checkpoint)
    name = checkpoint if "/" not in checkpoint else Path(checkpoint).name
    return Network(model, name, float(card.get("tau", 1.0)))


@torch.inference_mode()
def predict(
    model: Tiny, questions: Sequence[Question], *, beams: int = 10, longest: int = 72,
    penalty: float = 0.0, batch_size: int = 16, grammatical: bool = True,
) -> list[list[Guess]]:  # fmt: skip
    """Return the beams of each problem, best first; some may have none.

    Args:
        model: in evaluation mode.
        questions: the problems; those of like length are read together.
        beams: how many are kept.
        longest: words of an answer.
        penalty: exponent of the length; 0: the sum of log-probabilities.
        batch_size: problems read together.
        grammatical: write what parses only.
    """
    found: list[list[Guess]] = [[] for _ in questions]
    order = sorted(
        range(len(questions)),
        key=lambda i: (questions[i].picture is None, len(questions[i].words.source)),
    )
    shown = [i for i in order if questions[i].picture is not None]
    plain = [i for i in order if questions[i].picture is None]
    for some in (shown, plain):
        for at in range(0, len(some), batch_size):
            part = some[at : at + batch_size]
            said = _batch(
                model, [questions[i] for i in part], beams, longest, penalty, grammatical
            )
            for i, guesses in zip(part, said, strict=True):
                found[i] = guesses
    return found


def _batch(
    model: Tiny, questions: Sequence[Question], beams: int, longest: int, penalty: float,
    grammatical: bool,
) -> list[list[Guess]]:  # fmt: skip
    vocabulary = model.vocabulary
    words = padded([vocabulary.ids(q.words.source) for q in questions], vocabulary.number[PAD])
    pictures = ink([q.picture for q in questions if q.picture is not None])
    states, hidden = model.encode(words, pictures)
    found = search(
        model, states, hidden, _rules(model, questions, grammatical),
        end=vocabulary.number[END], beams=beams, longest=longest, penalty=penalty,
    )  # fmt: skip
    return [[Guess(vocabulary.text(b.words), b.score) for b in some] for some in found]


def _rules(model: Tiny, questions: Sequence[Question], grammatical: bool) -> grammar.Grammar:
    vocabulary = model.vocabulary
    if not grammatical:
        free = grammar.free_classes(vocabulary)
        return grammar.Grammar(free.expand(len(questions), -1), ["free"] * len(questions))
    classes = [
        grammar.proof_classes(vocabulary, q.words.kinds) if q.proving
        else grammar.program_classes(vocabulary, len(q.words.numbers))
        for q in questions
    ]  # fmt: skip
    return grammar.Grammar(
        torch.stack(classes), ["proof" if q.proving else "program" for q in questions]
    )
