"""A trained Geoformer in use: problems in, programs and proofs with their scores out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from qr_cli.errors import DataError
from qr_cli.geo import grammar
from qr_cli.geo.both import Said
from qr_cli.geo.decode import Rules, search
from qr_cli.geo.inputs import Words
from qr_cli.geo.opinion import Guess, Select
from qr_cli.geo.pieces import AnyPiece, PieceRules
from qr_cli.geo.readers import Pixels, Reader, reader_of
from qr_cli.geo.records import Problem
from qr_cli.geo.samples import shown
from qr_cli.geo.slotting import SlotMode
from qr_cli.geo.tiny import padded
from qr_cli.geo.vocab import END, PAD, Vocabulary
from qr_cli.geo.weights import load_model

STRANGE = 0.3  # share of unknown words above which it does not answer


@dataclass(frozen=True)
class Question:
    """A problem as the network takes it."""

    words: Words
    proving: bool
    picture: Pixels | None = None


class Network:
    """A model with its name and temperature.

    Args:
        model: in evaluation mode.
        name: of its weights.
        card: its model.json: temperature of its scores, how it was meant to write.
    """

    def __init__(self, model: Any, name: str, card: Mapping[str, Any] | None = None) -> None:
        card = card or {}
        self.model, self.name, self.tau = model, name, float(card.get("tau", 1.0))
        self.penalty = float(card.get("length_penalty", 0.0))
        self.grammatical = bool(card.get("grammar", True))

    def encode(self, problems: Sequence[Problem]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the encoded states ``(B, S, D)`` and the additive bias that hides padding.

        Problems with a diagram and without cannot be mixed.
        """
        reader, known = reader_of(self.model), self.model.vocabulary
        read = [reader.words(p, "compound") for p in problems]
        seen = [pixels for p in problems if (pixels := reader.picture(p)) is not None]
        with torch.inference_mode():
            words = padded([known.ids(w.source) for w in read], known.number[PAD])
            states, hidden = self.model.encode(words, shown(seen))
        return states, hidden

    def beam(self, problems: Sequence[Problem], k: int = 10) -> list[list[Guess]]:
        """Return the k best programs or proofs of each problem, with their log-probabilities."""
        return [list(one.guesses) for one in self.say(problems, beams=k, strange=True)]

    def say(
        self, problems: Sequence[Problem], *, beams: int = 10, longest: int = 72,
        slots: SlotMode = "compound", select: Select = "vote", truncate: bool = False,
        pictures: Sequence[Pixels | None] | None = None, strange: bool = False,
    ) -> list[Said]:  # fmt: skip
        """Return what it writes for problems; one it cannot read comes with the fault.

        Args:
            problems: of either task.
            beams: how many are kept.
            longest: words of an answer.
            slots: what counts as one number, where a record has none.
            select: how the option will be chosen.
            truncate: read the first 200 words of a longer text.
            pictures: shown with the problems instead of their diagrams.
            strange: also read a text of unknown words.
        """
        known = self.model.vocabulary
        reader = reader_of(self.model)
        read = [_question(p, reader, known, slots, truncate, strange) for p in problems]
        if pictures is not None:
            read = [
                q if isinstance(q, str) else replace(q, picture=shown)
                for q, shown in zip(read, pictures, strict=True)
            ]
        asked = [q for q in read if isinstance(q, Question)]
        answers = iter(
            predict(
                self.model, asked, beams=beams, longest=longest, penalty=self.penalty,
                grammatical=self.grammatical,
            )
        )  # fmt: skip
        return [
            Said(fault=q, checkpoint=self.name) if isinstance(q, str)
            else Said(
                tuple(next(answers)), q.words.numbers, q.words.elements, self.tau, select,
                self.name, q.picture is not None,
            )
            for q in read
        ]  # fmt: skip


def _question(
    problem: Problem, reader: Reader, vocabulary: Any, slots: SlotMode, truncate: bool,
    strange: bool,
) -> Question | str:  # fmt: skip
    try:
        found = reader.words(problem, slots)
    except DataError as fault:
        return fault.message
    if reader.longest is not None:
        if len(found.source) > reader.longest and not truncate:
            return f"the text has {len(found.source)} words, this model reads {reader.longest}"
        found = found._replace(source=found.source[: reader.longest])
    unknown = None if strange else _strange(found, problem, vocabulary)
    if unknown:
        return unknown
    return Question(found, problem.task == "proving", reader.picture(problem))


def _strange(found: Words, problem: Problem, vocabulary: Any) -> str | None:
    """Say why a text is none that the network could know."""
    if problem.task == "calculation" and not found.numbers:
        return "the text has no number"
    if not isinstance(vocabulary, Vocabulary):  # pieces spell any word
        return None
    unknown = [w for w in found.source if w not in vocabulary.number]
    if len(unknown) > STRANGE * len(found.source):
        return f"{len(unknown)} of {len(found.source)} words are none it has learnt"
    return None


def load(path: str | Path, *, which: str = "last") -> Network:
    """Return a network: `.encode`, `.beam`; `which` is taken as the best where there is one."""
    return load_network(str(path))


@lru_cache(maxsize=2)
def load_network(checkpoint: str) -> Network:
    """Return a network.

    Raises:
        WeightsError: the weights cannot be used.
    """
    model, card = load_model(checkpoint)
    name = checkpoint if "/" not in checkpoint else Path(checkpoint).name
    return Network(model, name, card)


@torch.inference_mode()
def predict(
    model: Any, questions: Sequence[Question], *, beams: int = 10, longest: int = 72,
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
    seen = [i for i in order if questions[i].picture is not None]
    plain = [i for i in order if questions[i].picture is None]
    for some in (seen, plain):
        for at in range(0, len(some), batch_size):
            part = some[at : at + batch_size]
            said = _batch(model, [questions[i] for i in part], beams, longest, penalty, grammatical)
            for i, guesses in zip(part, said, strict=True):
                found[i] = guesses
    return found


def _batch(
    model: Any, questions: Sequence[Question], beams: int, longest: int, penalty: float,
    grammatical: bool,
) -> list[list[Guess]]:  # fmt: skip
    known = model.vocabulary
    words = padded([known.ids(q.words.source) for q in questions], known.number[PAD])
    states, hidden = model.encode(
        words, shown([p for q in questions if (p := q.picture) is not None])
    )
    found = search(
        model, states, hidden, _rules(known, questions, grammatical),
        end=known.number[END], beams=beams, longest=longest, penalty=penalty,
    )  # fmt: skip
    return [[Guess(known.text(b.words), b.score) for b in some] for some in found]


def _rules(known: Any, questions: Sequence[Question], grammatical: bool) -> Rules:
    vocabulary = known if isinstance(known, Vocabulary) else Vocabulary()
    if not grammatical:
        if known is not vocabulary:
            return AnyPiece(len(questions), len(known))
        free = grammar.free_classes(vocabulary)
        return grammar.Grammar(free.expand(len(questions), -1), ["free"] * len(questions))
    classes = [
        grammar.proof_classes(vocabulary, q.words.kinds) if q.proving
        else grammar.program_classes(vocabulary, len(q.words.numbers))
        for q in questions
    ]  # fmt: skip
    rules = grammar.Grammar(
        torch.stack(classes), ["proof" if q.proving else "program" for q in questions]
    )
    if known is vocabulary:
        return rules
    return PieceRules(
        rules, vocabulary, lambda word: known.ids([word]), size=len(known), end=known.number[END]
    )
