"""Sentencepiece targets: words as pieces, and the grammar of words walked piece by piece.

N_0, E_3 or g_minus are no tokens of T5; each is several pieces, the first with the leading space.
So the words that may follow form a trie of piece sequences. A word ends where a piece with a
leading space (or the end) follows: N_1 and N_10 share their first pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from qr_cli.geo.grammar import Grammar
from qr_cli.geo.vocab import END, PAD, START, Vocabulary


class Tokenizer(Protocol):
    """What is used of a tokeniser of transformers."""

    eos_token_id: int
    pad_token_id: int

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Return the pieces of a text."""

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """Return the text of pieces."""


class Pieces:
    """A tokeniser as the batches of this room take it: words in, numbers out.

    Args:
        tokenizer: T5's.
        size: rows of the embedding.
        folder: where the tokeniser came from.
    """

    def __init__(self, tokenizer: Tokenizer, size: int, folder: str = "") -> None:
        self.tokenizer, self.size, self.folder = tokenizer, size, folder
        pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
        self.number = {PAD: pad, START: pad, END: end}  # T5 starts a target with padding

    def __len__(self) -> int:
        return self.size

    def ids(self, words: Sequence[str]) -> list[int]:
        """Return the pieces of words."""
        return self.tokenizer.encode(" ".join(words), add_special_tokens=False)

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of pieces."""
        return self.tokenizer.decode(ids, skip_special_tokens=True).strip()


State = tuple[int, int, tuple[int, ...]]  # problem, state of the word grammar, pieces of this word


class PieceRules:
    """The grammar of words over pieces, for a batch of problems.

    Args:
        words: the grammar, over the words of `vocabulary`.
        vocabulary: of programs and proofs.
        pieces: of a word.
        size: of the piece vocabulary.
        end: the piece that ends a target.
    """

    def __init__(
        self, words: Grammar, vocabulary: Vocabulary, pieces: Callable[[str], list[int]], *,
        size: int, end: int,
    ) -> None:  # fmt: skip
        self.words, self.size = words, size
        self.spelled = [(end,) if word == END else tuple(pieces(word)) for word in vocabulary.words]
        self.known: list[State] = []
        self.number: dict[State, int] = {}
        self._follow: dict[int, dict[int, State]] = {}
        firsts = words.start.tolist()
        self.start = torch.tensor([self._numbered((b, s, ())) for b, s in enumerate(firsts)])

    def _numbered(self, state: State) -> int:
        if state not in self.number:
            self.number[state] = len(self.known)
            self.known.append(state)
        return self.number[state]

    def follow(self, number: int) -> dict[int, State]:
        """Return the pieces that may follow a state, each with the state it leads to."""
        if number not in self._follow:
            problem, at, said = self.known[number]
            found: dict[int, State] = {}
            done: int | None = None
            for word, spelled in self._words(problem, at):
                if spelled == said:
                    done = word
                elif spelled[: len(said)] == said:
                    found[spelled[len(said)]] = (problem, at, spelled[: len(said) + 1])
            if done is not None:
                after = int(self.words.leads[at, self.words.classes[problem, done]])
                for _, spelled in self._words(problem, after):
                    found.setdefault(spelled[0], (problem, after, spelled[:1]))
            self._follow[number] = found
        return self._follow[number]

    def _words(self, problem: int, at: int) -> list[tuple[int, tuple[int, ...]]]:
        """Return the words that may follow a state of the word grammar, as pieces."""
        allowed = self.words.allowed[at][self.words.classes[problem]]
        return [(w, self.spelled[w]) for w in allowed.nonzero().flatten().tolist()]

    def mask(self, states: Tensor) -> Tensor:
        """Return 0 for pieces that may follow and -inf for the rest, ``(B, K) -> (B, K, V)``."""
        found = torch.full((*states.shape, self.size), -torch.inf)
        for row, some in enumerate(states.tolist()):
            for beam, state in enumerate(some):
                found[row, beam, list(self.follow(state))] = 0.0
        return found

    def advance(self, states: Tensor, words: Tensor) -> Tensor:
        """Return the states after one more piece of each beam."""
        after = [
            [
                self._numbered(to) if (to := self.follow(state).get(piece)) else state
                for state, piece in zip(some, said, strict=True)
            ]
            for some, said in zip(states.tolist(), words.tolist(), strict=True)
        ]
        return torch.tensor(after)

    def keep(self, problems: Tensor) -> None:
        """Go on with some problems only: a state knows its problem."""
        self.start = self.start[problems]


class AnyPiece:
    """No grammar: every piece may follow.

    Args:
        problems: in the batch.
        size: of the piece vocabulary.
    """

    def __init__(self, problems: int, size: int) -> None:
        self.size, self.start = size, torch.zeros(problems, dtype=torch.long)

    def mask(self, states: Tensor) -> Tensor:
        """Return 0 for every piece."""
        return torch.zeros(*states.shape, self.size)

    def advance(self, states: Tensor, words: Tensor) -> Tensor:
        """Return the states as they are."""
        return states

    def keep(self, problems: Tensor) -> None:
        """Go on with some problems only."""
        self.start = self.start[problems]
