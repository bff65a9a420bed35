"""Dialogues as flat arrays, and batches of them as tensors.

Shapes: B dialogues, T utterances, N utterances of the batch, S tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qr_cli.handoff.mhch import CUSTOMER, Dialogue
from qr_cli.handoff.tokens import Encoder

Batch = dict[str, Tensor]
INPUTS = ("tokens", "length", "role", "place", "mask")  # all that a model sees, besides:
EXTRAS = ("pos", "tf", "score", "row")  # of single bases; labels are in none of them
PER_TURN = ("score", "row")  # the other extras are per token
ROLE_ID = {"agent": 0, CUSTOMER: 1}


class Corpus:
    """Token ids, roles and labels of dialogues, cut to `max_turns`.

    Attributes:
        tokens: ids of all utterances, back to back.
        first: where the tokens of each utterance begin; one more than utterances.
        start: where the utterances of each dialogue begin; one more than dialogues.
        role: 1 customer, 0 agent.
        handoff: label, or not-a-number.
        sentiment: 0..2, or -1.
        satisfaction: 0..2 of a dialogue, or -1.
    """

    def __init__(
        self, dialogues: Sequence[Dialogue], encoder: Encoder, *, max_turns: int | None = None
    ) -> None:
        self.dialogues = dialogues
        kept = [d.utterances[:max_turns] for d in dialogues]
        utterances = [u for turns in kept for u in turns]
        ids = [encoder.ids(u.text, u.tokens) for u in utterances]
        self.tokens = np.array([i for sentence in ids for i in sentence], dtype=np.int64)
        self.first = _offsets([len(sentence) for sentence in ids])
        self.start = _offsets([len(turns) for turns in kept])
        self.role = np.array([ROLE_ID[u.role] for u in utterances], dtype=np.int64)
        labels = [np.nan if u.handoff is None else u.handoff for u in utterances]
        self.handoff = np.array(labels, dtype=np.float32)
        self.sentiment = np.array(
            [-1 if u.sentiment is None else u.sentiment for u in utterances], dtype=np.int64
        )
        self.satisfaction = np.array(
            [-1 if d.satisfaction is None else d.satisfaction for d in dialogues], dtype=np.int64
        )
        self.needed = np.full(len(utterances), np.nan, dtype=np.float32)  # simulator scores
        self.extras = _extras(utterances, ids)

    def __len__(self) -> int:
        return len(self.start) - 1

    def length(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the numbers of turns of dialogues."""
        chosen = np.asarray(indices)
        return self.start[chosen + 1] - self.start[chosen]

    def turns(self, index: int) -> slice:
        """Return where the utterances of a dialogue stand."""
        return slice(int(self.start[index]), int(self.start[index + 1]))

    def sentence(self, utterance: int) -> list[int]:
        """Return the ids of an utterance."""
        return self.tokens[self.first[utterance] : self.first[utterance + 1]].tolist()

    def part(self, indices: Sequence[int] | np.ndarray) -> Corpus:
        """Return a corpus of some of the dialogues."""
        found = copy(self)
        rows = [np.arange(self.start[i], self.start[i + 1]) for i in indices]
        flat = np.concatenate(rows)
        where = [np.arange(self.first[u], self.first[u + 1]) for u in flat]
        words = np.concatenate(where)
        found.dialogues = [self.dialogues[i] for i in indices]
        found.start = _offsets([len(row) for row in rows])
        found.first = _offsets([len(w) for w in where])
        found.tokens = self.tokens[words]
        for name in ("role", "handoff", "sentiment", "needed"):
            setattr(found, name, getattr(self, name)[flat])
        found.satisfaction = self.satisfaction[np.asarray(indices)]
        found.extras = {k: v[flat if k in PER_TURN else words] for k, v in self.extras.items()}
        return found

    def mask_role(self, role: str) -> None:
        """Take the labels of a role away: it has no loss and no metric."""
        self.handoff[self.role == ROLE_ID[role]] = np.nan

    def batch(self, indices: Sequence[int] | np.ndarray | Tensor) -> Batch:
        """Return the tensors of some dialogues: model inputs and labels."""
        chosen = np.asarray(indices)
        turns = self.length(chosen)
        rows = np.concatenate([np.arange(self.start[i], self.start[i + 1]) for i in chosen])
        length = self.first[rows + 1] - self.first[rows]
        width, longest = int(length.max()), int(turns.max())
        columns = np.arange(width)[None] < length[:, None]
        where = (self.first[rows][:, None] + np.arange(width)[None])[columns]
        tokens = np.zeros((len(rows), width), dtype=np.int64)
        tokens[columns] = self.tokens[where]
        mask = np.arange(longest)[None] < turns[:, None]
        found = {
            "tokens": tokens,
            "length": length,
            "role": self.role[rows],
            "place": np.flatnonzero(mask),
            "mask": mask,
            "handoff": _spread(self.handoff[rows], mask, np.nan),
            "sentiment": _spread(self.sentiment[rows], mask, -1),
            "needed": _spread(self.needed[rows], mask, np.nan),
            "satisfaction": self.satisfaction[chosen],
        }
        for name, values in self.extras.items():
            if name in PER_TURN:
                found[name] = values[rows]
            else:
                found[name] = np.zeros((len(rows), width), dtype=values.dtype)
                found[name][columns] = values[where]
        return {key: torch.from_numpy(value) for key, value in found.items()}


def spread_roles(batch: Batch) -> Tensor:
    """Return roles as (B, T), 0 at padding."""
    mask = batch["mask"]
    return (
        batch["role"]
        .new_zeros(mask.numel())
        .index_put_((batch["place"],), batch["role"])
        .view(mask.shape)
    )


def _offsets(lengths: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.asarray(lengths, dtype=np.int64))]).astype(np.int64)


def _spread(values: np.ndarray, mask: np.ndarray, fill: float) -> np.ndarray:
    found = np.full(mask.shape, fill, dtype=values.dtype)
    found[mask] = values
    return found


def _extras(utterances: Sequence[Any], ids: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
    """Return what only some data have: part of speech, term frequency, sentiment score."""
    found: dict[str, np.ndarray] = {}
    for key, kind in (("pos", np.int64), ("tf", np.float32)):
        if any(getattr(u, key) is not None for u in utterances):
            flat: list[Any] = []
            for utterance, sentence in zip(utterances, ids, strict=True):
                values = (getattr(utterance, key) or [])[: len(sentence)]
                flat += [*values, *[0] * (len(sentence) - len(values))]
            found[key] = np.array(flat, dtype=kind)
    if any(u.sentiment_score is not None for u in utterances):
        found["score"] = np.array([u.sentiment_score or 0.0 for u in utterances], dtype=np.float32)
    return found
