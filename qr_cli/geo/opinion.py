"""What the network's beams amount to for a calculation: a value, an option, a probability.

    p_b = softmax(s_b / tau);  P(option) = sum of p_b over beams whose result is exactly that option

Refused beams and those that fit no option add to P(none). tau is fitted on held-out problems and
kept with the weights. `first` is the authors' rule: the first beam that matches any option.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from qr_cli.errors import DataError
from qr_cli.geo.program import Abort, execute, matches, official_choice

Select = Literal["vote", "first"]


class Guess(NamedTuple):
    """What one beam says and its log-probability."""

    text: str
    score: float


class Ballot(NamedTuple):
    """A beam after its program was run: its share, value (None: refused) and options it fits."""

    guess: Guess
    share: float
    value: float | None
    hits: list[int]


@dataclass(frozen=True)
class Opinion:
    """The network's answer.

    Attributes:
        ballots: every beam, best first.
        chosen: the beam that stands for the answer, if there is one.
        confidence: P(option), or the share of the value where there are no options.
        shares: P(option) by option.
    """

    ballots: tuple[Ballot, ...]
    chosen: Ballot | None
    confidence: float
    shares: dict[int, float]

    @property
    def index(self) -> int | None:
        """Return the option of the answer."""
        one = self.chosen is not None and len(self.chosen.hits) == 1
        return self.chosen.hits[0] if self.chosen and one else None


def opinion(
    guesses: Sequence[Guess], numbers: Sequence[float], options: Sequence[float | None] | None, *,
    tau: float = 1.0, select: Select = "vote",
) -> Opinion:  # fmt: skip
    """Return what beams amount to.

    Args:
        guesses: programs with their scores, best first.
        numbers: N_0, N_1, ...
        options: as numbers; None without options.
        tau: temperature of the scores.
        select: `vote`, or `first` as the authors do it.
    """
    shares = softened([g.score for g in guesses], tau)
    ballots = tuple(
        _ballot(guess, share, numbers, options, official=select == "first")
        for guess, share in zip(guesses, shares, strict=True)
    )
    votes: dict[int, float] = {}
    for ballot in ballots:
        if len(ballot.hits) == 1:
            votes[ballot.hits[0]] = votes.get(ballot.hits[0], 0.0) + ballot.share
    if select == "first" and options is not None:
        chosen = next((b for b in ballots if b.hits), None)
        confidence = votes.get(chosen.hits[0], 0.0) if chosen else 0.0
        return Opinion(ballots, chosen, confidence, votes)
    if votes:
        best = max(votes, key=lambda i: (votes[i], -i))
        chosen = next(b for b in ballots if b.hits == [best])
        return Opinion(ballots, chosen, votes[best], votes)
    runs = [b for b in ballots if b.value is not None]
    if not runs:
        return Opinion(ballots, None, 0.0, votes)
    weights = [sum(b.share for b in runs if _same(a.value, b.value)) for a in runs]
    chosen = runs[weights.index(max(weights))]
    return Opinion(ballots, chosen, 0.0 if options is not None else max(weights), votes)


def softened(scores: Sequence[float], tau: float) -> list[float]:
    """Return softmax(scores / tau)."""
    if not scores:
        return []
    top = max(scores)
    terms = [math.exp((s - top) / tau) for s in scores]
    return [t / sum(terms) for t in terms]


def _same(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and abs(a - b) <= 1e-6 * max(1.0, abs(a))


def _ballot(
    guess: Guess, share: float, numbers: Sequence[float],
    options: Sequence[float | None] | None, *, official: bool,
) -> Ballot:  # fmt: skip
    try:
        run = execute(guess.text, numbers, mode="official" if official else "strict")
    except DataError:  # without the grammar a beam need not parse
        return Ballot(guess, share, None, [])
    if run.value is None or isinstance(run.error, Abort):
        return Ballot(guess, share, None, [])
    value = float(run.value)
    if official:
        index, _ = official_choice(value, options)
        return Ballot(guess, share, value, [] if index is None else [index])
    return Ballot(guess, share, value, matches(value, options or ()))


def fit_tau(scores: Sequence[Sequence[float]], right: Sequence[Sequence[bool]]) -> float:
    """Return the temperature under which right beams have the likeliest shares.

    Args:
        scores: of the beams of each problem.
        right: which of them give the right answer.
    """
    known = [(s, r) for s, r in zip(scores, right, strict=True) if any(r)]

    def loss(tau: float) -> float:
        total = 0.0
        for some, good in known:
            shares = softened(some, tau)
            total -= math.log(max(1e-12, sum(p for p, g in zip(shares, good, strict=True) if g)))
        return total

    low, high = math.log(0.05), math.log(20.0)
    ratio = (math.sqrt(5) - 1) / 2
    for _ in range(60):  # golden section on log tau
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        if loss(math.exp(a)) < loss(math.exp(b)):
            high = b
        else:
            low = a
    return math.exp((low + high) / 2)
