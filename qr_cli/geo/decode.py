"""Beam search over a batch of problems, each with the words its grammar allows.

Keys and values of the words so far are cached and reordered with the beams; those of the source
are computed once per problem. A problem leaves the batch when all its beams have ended. The score
is the sum of log-probabilities, renormalised over the allowed words. Ties go to the earlier beam
and the smaller number of a word.

Shapes: B problems, K beams, T words so far, V words.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Cache(Protocol):
    """What a decoder remembers of the words so far."""

    def reorder(self, beams: Tensor) -> None:
        """Let beam k go on from beam ``beams[b, k]``."""

    def keep(self, problems: Tensor) -> None:
        """Go on with some problems only."""


class Decoder(Protocol):
    """A model that writes one word at a time."""

    @property
    def start(self) -> int:
        """Return the word a target starts with."""

    def begin(self, states: Tensor, hidden: Tensor) -> Cache:
        """Return the cache for encoded problems."""

    def step(self, words: Tensor, cache: Cache) -> Tensor:
        """Return scores of the word after the last ones, ``(B, K) -> (B, K, V)``."""


class Rules(Protocol):
    """What may follow what; `qr_cli.geo.grammar.Grammar` for whole words."""

    start: Tensor

    def mask(self, states: Tensor) -> Tensor:
        """Return 0 or -inf for each word, ``(B, K) -> (B, K, V)``."""

    def advance(self, states: Tensor, words: Tensor) -> Tensor:
        """Return the states after one more word."""

    def keep(self, problems: Tensor) -> None:
        """Go on with some problems only."""


class Beam(NamedTuple):
    """What one beam wrote, without the end, and its score."""

    words: list[int]
    score: float


@torch.inference_mode()
def search(
    model: Decoder, states: Tensor, hidden: Tensor, rules: Rules, *,
    end: int, beams: int = 10, longest: int = 72, penalty: float = 0.0,
) -> list[list[Beam]]:  # fmt: skip
    """Return the whole beams of each problem, best first.

    Args:
        model: writes.
        states: encoded problems ``(B, S, D)``.
        hidden: their padding, additive ``(B, 1, 1, S)``.
        rules: what may follow what.
        end: the word that ends a target.
        beams: how many are kept.
        longest: words of a target, the end not counted; what is longer is dropped.
        penalty: scores are divided by (words with the end) ** penalty; 1 is the mean.
    """
    count, device = len(states), states.device
    found: list[list[Beam]] = [[] for _ in range(count)]
    here = torch.arange(count)
    cache = model.begin(states, hidden)
    words = torch.full((count, 1), model.start, device=device)
    said = words.new_empty(count, 1, 0)
    scores = torch.zeros(count, 1, device=device)
    at = rules.start[:, None]
    ended = torch.zeros(count, 1, dtype=torch.bool, device=device)
    for _ in range(longest + 1):
        chances = torch.log_softmax(model.step(words, cache) + rules.mask(at), -1)
        chances = torch.where(ended[..., None], _only(chances, end), chances)
        source, words, scores = _best(scores[..., None] + chances, beams)
        cache.reorder(source)
        ended, at = ended.gather(1, source), at.gather(1, source)
        before = said.gather(1, source[..., None].expand(-1, -1, said.shape[-1]))
        said = torch.cat((before, words[..., None]), -1)
        at = torch.where(ended, at, rules.advance(at, words))
        ended = ended | (words == end) | (scores == -torch.inf)
        over = ended.all(1)
        if over.any():
            for row in over.nonzero().flatten().tolist():
                found[here[row]] = _whole(said[row], scores[row], end, penalty)
            left = (~over).nonzero().flatten()
            if not len(left):
                return found
            cache.keep(left)
            rules.keep(left)
            here, words, said, scores, at, ended = (
                x[left] for x in (here, words, said, scores, at, ended)
            )
    for row, problem in enumerate(here.tolist()):
        found[problem] = _whole(said[row], scores[row], end, penalty)
    return found


def _only(chances: Tensor, end: int) -> Tensor:
    """Let an ended beam end again, at no cost."""
    alone = torch.full_like(chances, -torch.inf)
    alone[..., end] = 0
    return alone


def _best(totals: Tensor, beams: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return source beam, word and score of the best continuations ``(B, K')``, best first."""
    best, words = totals.topk(min(beams, totals.shape[-1]), -1)  # (B, K, K')
    flat, order = best.flatten(1).sort(dim=1, descending=True, stable=True)
    order = order[:, :beams]
    return order // best.shape[-1], words.flatten(1).gather(1, order), flat[:, :beams]


def _whole(said: Tensor, scores: Tensor, end: int, penalty: float) -> list[Beam]:
    """Return the beams that ended, cut there, best first."""
    beams = []
    for row, score in zip(said.tolist(), scores.tolist(), strict=True):
        if end in row and score > -torch.inf:
            length = row.index(end)
            beams.append(Beam(row[:length], score / (length + 1) ** penalty))
    return sorted(beams, key=lambda beam: -beam.score)
