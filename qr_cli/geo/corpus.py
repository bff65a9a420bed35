"""Where examples come from: generated without end, or problems of files; pre-training tasks too.

An example depends on (seed, index, epoch) alone, so that a resumed run sees what it would have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from qr_cli.errors import DataError
from qr_cli.geo import mep
from qr_cli.geo.augment import renamed
from qr_cli.geo.inputs import Words, words
from qr_cli.geo.marks import marks
from qr_cli.geo.readers import Pixels, Reader
from qr_cli.geo.records import Problem, read
from qr_cli.geo.samples import Example
from qr_cli.geo.synth import FAMILIES, stream
from qr_cli.geo.synth.ink import raster
from qr_cli.geo.vocab import BUCKETS, FIXED

_FIXED = frozenset(FIXED)


@dataclass(frozen=True)
class Pretraining:
    """What MEP does with a problem.

    Attributes:
        solving: chance of expressions; else the problem is masked and written whole.
        mask_ratio: share of words that are masked.
        redraw: draw coin and mask anew each epoch.
        cut: `official` loses the last character of some solutions.
    """

    solving: float = 0.5
    mask_ratio: float = 0.3
    redraw: bool = True
    cut: mep.Cut = "none"


class Corpus(Protocol):
    """Something that gives examples by number."""

    def example(self, index: int, epoch: int) -> Example:
        """Return an example."""


def target_of(problem: Problem) -> list[str]:
    """Return the words a problem's answer is written in.

    Raises:
        DataError: it has none.
    """
    gold = problem.proof if problem.task == "proving" else problem.program
    if not gold:
        kind = "proof" if problem.task == "proving" else "program"
        raise DataError(f"problem {problem.id} has no {kind} to learn from")
    return gold.split()


def pretrained(
    problem: Problem, found: Words, rng: np.random.Generator, how: Pretraining,
    names: mep.Names | None = None,
) -> tuple[list[str], list[str]]:  # fmt: skip
    """Return source and target of MEP for a problem in words; names, where they are known."""
    told = found.source[1:] if found.source[0].endswith(":") else found.source[2:]
    if rng.random() < how.solving and (expressions := _expressions(problem, told, how, names)):
        return [*mep.SOLVING, *told], expressions
    for mark in ("elements", "(Elements:"):  # they are listed in any order
        if mark in told:
            told = told[: told.index(mark)]
    places = rng.choice(len(told), mep.mask_count(len(told), how.mask_ratio), replace=False)
    return [*mep.DENOISE, *mep.masked(told, places.tolist())], told


def _expressions(
    problem: Problem, told: list[str], how: Pretraining, names: mep.Names | None
) -> list[str]:
    if problem.solution:
        return mep.expressions(problem.solution, cut=how.cut).words
    if problem.proof:
        return mep.of_proof(problem.proof)
    if problem.program and problem.numbers:
        names = names or mep.names_in(told, len(problem.numbers))
        return mep.of_program(problem.program, problem.numbers, names)
    return []


def dropped(source: list[str], rng: np.random.Generator, chance: float) -> list[str]:
    """Return words of which some plain ones are read as unknown, so that the buckets are learnt."""
    if not chance:
        return source
    lost = rng.random(len(source)) < chance
    return [
        f"<w{rng.integers(BUCKETS)}>" if gone and word not in _FIXED else word
        for word, gone in zip(source, lost, strict=True)
    ]


@dataclass(frozen=True)
class Generated:
    """Generated problems.

    Attributes:
        seed: of the stream.
        mix: shares of the kinds.
        families: only these; empty for all.
        start: the number of the first sample.
        size: samples per epoch; epoch e goes on where the one before ended.
        drop: share of diagram problems shown without their picture.
        drop_text: the same where the text suffices.
        word_drop: chance that a plain word is read as unknown.
        pretraining: MEP instead of solving.
    """

    seed: int
    mix: Mapping[str, float]
    families: Sequence[str] = ()
    start: int = 0
    size: int = 1
    drop: float = 0.15
    drop_text: float = 0.15
    word_drop: float = 0.0
    pretraining: Pretraining | None = None

    def example(self, index: int, epoch: int) -> Example:
        """Return the example of one sample."""
        number = self.start + epoch * self.size + index
        families = list(self.families) or None
        sample = next(stream(self.seed, "train", self.mix, families, image=False, start=number))
        rng = np.random.default_rng((self.seed, 1, number))
        found = words(sample.problem, longest=None)
        told = FAMILIES[sample.family].kind == "diagram"
        shown = rng.random() >= (self.drop if told else self.drop_text)
        if self.pretraining:
            names = mep.Names(sample.bound, sample.target)
            source, target = pretrained(sample.problem, found, rng, self.pretraining, names)
        else:
            source, target = found.source, target_of(sample.problem)
        relation = (sample.family, sample.relation) if sample.relation is not None else None
        return Example(
            dropped(source, rng, self.word_drop),
            target,
            raster(sample.figure, sample.look) if shown else None,
            relation if shown else None,
            marks(sample.figure, sample.look) if shown else None,
        )


class Files:
    """Problems of files.

    Args:
        problems: with answers.
        reader: how the preset reads them.
        seed: of letters, order of Elements, masks.
        augment: rename letters and shuffle Elements.
        drop: share shown without their diagram.
        word_drop: chance that a plain word is read as unknown.
        pretraining: MEP instead of solving.
    """

    def __init__(
        self, problems: Sequence[Problem], reader: Reader, *, seed: int, augment: bool = True,
        drop: float = 0.15, word_drop: float = 0.0, pretraining: Pretraining | None = None,
    ) -> None:  # fmt: skip
        self.problems, self.reader, self.seed = list(problems), reader, seed
        self.augment, self.drop, self.word_drop = augment, drop, word_drop
        self.pretraining = pretraining
        self._pictures: dict[int, Pixels | None] = {}

    def example(self, index: int, epoch: int) -> Example:
        """Return the example of one problem."""
        problem, how = self.problems[index], self.pretraining
        once = how is not None and not how.redraw
        rng = np.random.default_rng((self.seed, 2, 0 if once else epoch, index))
        shown = problem.diagram is not None and rng.random() >= self.drop
        if self.augment:
            problem = renamed(problem, rng, letters=not shown)
        found = self.reader.words(problem, "compound")
        if how:
            source, target = pretrained(problem, found, rng, how)
        else:
            source, target = found.source, target_of(problem)
        return Example(
            dropped(source, rng, self.word_drop), target, self._picture(index) if shown else None
        )

    def _picture(self, index: int) -> Pixels | None:
        if index not in self._pictures:
            self._pictures[index] = self.reader.picture(self.problems[index])
        return self._pictures[index]


def check_lengths(counts: Sequence[int], limit: int, *, what: str, flag: str, unit: str) -> None:
    """Check that nothing would be cut.

    Raises:
        DataError: some are longer than the limit.
    """
    over = sum(count > limit for count in counts)
    if over:
        raise DataError(
            f"{over:,} of {len(counts):,} {what} are longer than {limit} {unit}",
            hint=f"raise {flag} or pass --allow-truncation",
        )


def problems_of(files: Sequence[str]) -> list[Problem]:
    """Return the problems of files.

    Raises:
        DataError: one cannot be used, or there is none.
    """
    found: list[Problem] = []
    for name in files:
        for item in read(Path(name)):
            if isinstance(item, tuple):
                raise DataError(f"{name}, problem {item[0]}: {item[1].message}", hint=item[1].hint)
            target_of(item)
            found.append(item)
    if not found:
        raise DataError(f"{', '.join(files)}: no problem in it")
    return found
