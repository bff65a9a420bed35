"""The cost simulator: "would a human have been needed here?", learnt before the model and frozen.

    [mean; max] of token vectors (128) -> tanh Dense 64, with [customer] -> GRU 64 -> S in (0, 1)
    loss = mean over labelled turns of (S_t - y_t)^2

Two nets are cross-fitted: dialogues are split in two halves by seed, each half is scored by the net
trained on the other one. No label of a dialogue enters its own scores, and as these are stored as
numbers before the model trains, they cannot move. At inference the mean of the two nets is used.

The authors' code fetches the pre-training loss without minimising it; see `--cost-mode released`.

Shapes: B dialogues, T utterances, N sentences, S tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from qr_cli.engine.loader import Loader
from qr_cli.engine.optim import build_optimizer
from qr_cli.engine.task import Best, Models, Parts, Record, Update
from qr_cli.handoff.bases.gru import embed
from qr_cli.handoff.corpus import Batch, Corpus, spread_roles
from qr_cli.handoff.layers import real_tokens

WIDTH, HIDDEN, DROPOUT, RATE = 64, 64, 0.35, 1.5e-3
BATCH = 16  # dialogues; 8 for each of the two nets on average


class Simulator(nn.Module):
    """One net. `vocabulary` is the number of token ids."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, WIDTH, padding_idx=0)
        self.dense = nn.Linear(2 * WIDTH, HIDDEN)
        self.turns = nn.GRU(HIDDEN + 1, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, 1)
        self.dropout = nn.Dropout(DROPOUT)
        embed(self.embedding)

    def encode(self, tokens: Tensor, length: Tensor) -> Tensor:
        """(N, S), (N) -> (N, 64)."""
        words = self.dropout(self.embedding(tokens))
        keep = real_tokens(length, tokens.shape[1])[..., None]
        mean = (words * keep).sum(1) / length[:, None]
        top = words.masked_fill(~keep, -torch.inf).amax(1)
        return torch.tanh(self.dense(torch.cat([mean, top], dim=-1)))

    def forward(self, batch: Batch) -> Tensor:
        """Return S (B, T)."""
        found = self.encode(batch["tokens"], batch["length"])
        mask = batch["mask"]
        x = found.new_zeros(mask.numel(), HIDDEN).index_put((batch["place"],), found)
        x = torch.cat([x.view(*mask.shape, -1), spread_roles(batch)[..., None]], dim=-1)
        h, _ = self.turns(x)
        return torch.sigmoid(self.head(self.dropout(h))).squeeze(-1)

    def start(self, batch: int) -> Tensor:
        """Return the state of conversations that have not begun."""
        return self.head.weight.new_zeros(batch, HIDDEN)

    def step(self, x: Tensor, role: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 64), (B), (B, 64) -> S (B) and the new state."""
        x = torch.cat([x, role[:, None].to(x.dtype)], dim=-1)
        _, last = self.turns(x[:, None], h[None].contiguous())
        return torch.sigmoid(self.head(last[0])).squeeze(-1), last[0]


class Pair(nn.Module):
    """The two cross-fitted nets."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.nets = nn.ModuleList([Simulator(vocabulary), Simulator(vocabulary)])

    def forward(self, batch: Batch) -> Tensor:
        """Return the mean of the two (B, T), for dialogues that neither has seen."""
        return (self.nets[0](batch) + self.nets[1](batch)) / 2


def halves(dialogues: int, seed: int) -> np.ndarray:
    """Return 0 or 1 for each dialogue, by seed."""
    half = np.empty(dialogues, dtype=np.int64)
    half[np.random.RandomState(seed).permutation(dialogues)] = np.arange(dialogues) % 2
    return half


class SimulatorPhase:
    """The phase before the model: trains the pair, then gives every turn its score.

    Args:
        corpus: the training dialogues.
        vocabulary: number of token ids.
        epochs: passes over the data; each net sees one half.
        seed: of the halves and the order.
    """

    name = "simulator"
    unit = "dialogues"
    best = Best("mean_square", "min")
    clip_norm = 5.0
    max_steps: int | None = None

    def __init__(self, corpus: Corpus, vocabulary: int, *, epochs: int, seed: int) -> None:
        self.corpus, self.epochs, self.seed = corpus, epochs, seed
        self.half, self.vocabulary = halves(len(corpus), seed), vocabulary
        self.pair: Any = None

    def parts(self, *, rank: int, world: int) -> Parts:
        """Return the pair, its optimiser and batches."""
        self.pair = Pair(self.vocabulary)  # here, for the phase's seed is set by now
        loader = Loader(
            self.fetch, len(self.corpus), batch_size=BATCH, seed=self.seed, rank=rank, world=world
        )
        return Parts(
            {"main": self.pair},
            {"main": build_optimizer("adam", self.pair.parameters(), lr=RATE)},
            loader,
        )

    def fetch(self, indices: Tensor, epoch: int) -> list[Batch]:
        """Return the batch of each net: the dialogues of its half."""
        half = self.half[indices.numpy()]
        parts = [indices.numpy()[half == number] for number in (0, 1)]
        return [self.corpus.batch(part) if len(part) else {} for part in parts]

    def step(self, models: Models, batch: list[Batch]) -> Iterator[Update]:
        """Yield one update of both nets: each has its own parameters, so they do not mix."""
        pair: Any = models["main"]
        nets = getattr(pair, "module", pair).nets
        zero = next(pair.parameters()).sum() * 0.0
        both = zip(nets, batch, strict=True)
        losses = [_mean_square(net(part), part) for net, part in both if part]
        loss = sum(losses, zero)
        yield Update(loss, {"mean_square": (loss / max(1, len(losses))).detach()})

    def evaluate(self, models: Models, accelerator: Accelerator) -> Iterator[Record]:
        """Yield how well the scores of unseen halves fit the labels."""
        from qr_cli.handoff.metrics import area_under_curve

        score, label = self.scores(), self.corpus.handoff
        known = ~np.isnan(label)
        square = float(np.mean((score[known] - label[known]) ** 2)) if known.any() else float("nan")
        auc = area_under_curve(score[known], label[known] >= 0.5)
        yield {"mean_square": square, "val_auc": auc}

    @torch.no_grad()
    def scores(self) -> np.ndarray:
        """Return S of every utterance of the corpus, by the net that did not see its dialogue."""
        self.pair.eval()
        found = np.full(len(self.corpus.role), np.nan, dtype=np.float32)
        device = next(self.pair.parameters()).device
        for number, net in enumerate(self.pair.nets):
            unseen = np.flatnonzero(self.half != number)
            for first in range(0, len(unseen), 64):
                part = unseen[first : first + 64]
                batch = {k: v.to(device) for k, v in self.corpus.batch(part).items()}
                rows = np.concatenate([np.arange(*self.corpus.start[[i, i + 1]]) for i in part])
                found[rows] = net(batch)[batch["mask"]].cpu().numpy()
        return found

    def describe(self) -> Record:
        """Return model.json."""
        return {"task": "handoff-simulator"}

    def result(self, epochs: Sequence[Record]) -> Record:
        """Return nothing: the main phase has the result."""
        return {}

    def lead(self) -> str:
        """Return what it is."""
        return "The cost simulator."

    def plots(self, records: Sequence[Record]) -> list[Any]:
        """Return none."""
        return []


def _mean_square(score: Tensor, batch: Batch) -> Tensor:
    label = batch["handoff"]
    known = ~label.isnan()
    each = (score - torch.where(known, label, 0.0)) ** 2
    return (each * known).sum() / known.sum().clamp(min=1)
