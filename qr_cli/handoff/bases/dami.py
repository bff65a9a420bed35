"""Base `dami`: difficulty-assisted matching inference (Liu et al., AAAI 2021), causal.

    token = [word vector; position; part of speech]      o, h_fin = BiLSTM(token)
    score_k = u . (tanh(W token_k + b) (1 - tf_k)), one set per role, relu for agents
    c = [sum softmax(score) o; h_fin; sentiment score]
    v = LSTM(relu(Dense [c_t; M_t])), M_t the products with the W utterances before
    g = relu(Dense [softmax(v W v^T) v; v]), d = o_1 - o_0 of two outputs

tf is the file's term frequency, else log(1 + count) / log(1 + largest count) in the training data
(the authors scale raw counts per split and token position). Attention is causal and masked by key
within the last W = 30 utterances; in the authors' code the future keeps weight. `released.py` has
their form.

Shapes: N sentences, S tokens, P tokens of all sentences, B dialogues, T utterances, W window.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from qr_cli.handoff.bases import Context, State
from qr_cli.handoff.bases.gru import EMBEDDING_SD, embed
from qr_cli.handoff.layers import filled, glorot, lag_similarity, masked_softmax, push, visible
from qr_cli.handoff.ragged import Ragged, run

HIDDEN, WINDOW, TAGS = 128, 30, 52


class Difficulty(nn.Module):
    """``u . (tanh(W x + b) (1 - tf))``: rare tokens count more."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, 2 * HIDDEN)
        self.outer = nn.Parameter(torch.ones(2 * HIDDEN))

    def forward(self, x: Tensor, tf: Tensor) -> Tensor:
        """(P, D), (P) -> (P)."""
        return (torch.tanh(self.inner(x)) * (1 - tf)[:, None]) @ self.outer


class DAMI(nn.Module):
    """See the module.

    Args:
        vocabulary: number of token ids.
        embed_dim: of a token.
        dropout: of embeddings, sentences and outputs.
    """

    window = WINDOW
    has_state = False
    hidden = HIDDEN
    frequency: Tensor
    scale: Tensor

    def __init__(self, vocabulary: int, *, embed_dim: int = 200, dropout: float = 0.25) -> None:
        super().__init__()
        width = 2 * embed_dim + TAGS
        self.embedding = nn.Embedding(vocabulary, embed_dim, padding_idx=0)
        self.words = nn.LSTM(width, HIDDEN, batch_first=True, bidirectional=True)
        self.agent, self.customer = Difficulty(width), Difficulty(width)
        self.match = nn.Linear(4 * HIDDEN + 1 + WINDOW, HIDDEN)
        self.turns = nn.LSTM(HIDDEN, HIDDEN, batch_first=True)
        self.relate = nn.Parameter(torch.empty(HIDDEN, HIDDEN))
        self.infer = nn.Linear(2 * HIDDEN, HIDDEN)
        self.head = nn.Linear(HIDDEN, 2)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("frequency", torch.zeros(vocabulary))  # tf by token
        self.register_buffer("scale", torch.tensor([0.0, 1.0]))  # of sentiment scores
        glorot(self)
        embed(self.embedding)
        for part in (self.agent, self.customer):
            nn.init.normal_(part.inner.weight, std=EMBEDDING_SD)
        nn.init.normal_(self.relate, std=math.sqrt(1 / HIDDEN))

    def prepare(self, vocabulary: Any, corpus: Any) -> None:
        """Take term frequencies and the scale of sentiment scores from the training data."""
        if vocabulary.counts:
            count = torch.tensor(vocabulary.counts, dtype=self.frequency.dtype)
            self.frequency[2:] = torch.log1p(count) / math.log1p(max(vocabulary.counts))
        if "score" in corpus.extras:
            score = torch.from_numpy(corpus.extras["score"])
            self.scale.copy_(torch.stack([score.mean(), score.std().clamp(min=1e-6)]))

    def encode(self, tokens: Tensor, length: Tensor, role: Tensor, extra: State) -> Tensor:
        """(N, S), (N), (N) -> (N, 513)."""
        ragged = Ragged(length, tokens.shape[1])
        x, tf = self.inputs(tokens, ragged, extra)
        outputs, final = run(self.words, x, ragged)
        customer, agent = self.customer(x, tf), torch.relu(self.agent(x, tf))
        score = torch.where(role[ragged.sentence] == 1, customer, agent)
        sentence = ragged.total(ragged.softmax(score)[:, None] * outputs)
        return self.dropout(torch.cat([sentence, final, self.sentiment(length, extra)], dim=-1))

    def inputs(self, tokens: Tensor, ragged: Ragged, extra: State) -> tuple[Tensor, Tensor]:
        """Return token inputs (P, 452) and their term frequencies (P)."""
        ids = ragged.gather(tokens)
        words = self.dropout(self.embedding(ids))
        place = (ragged.index % tokens.shape[1]).to(words.dtype)
        tags = words.new_zeros(len(ids), TAGS)
        if "pos" in extra:
            tag = ragged.gather(extra["pos"]).clamp(0, TAGS - 1)
            tags = tags.scatter(1, tag[:, None], 1.0)
        tf = ragged.gather(extra["tf"]) if "tf" in extra else self.frequency[ids]
        return torch.cat([words, positions(place, words.shape[1]), tags], dim=-1), tf

    def sentiment(self, length: Tensor, extra: State) -> Tensor:
        """Return the standardised sentiment score (N, 1); 0 where the data have none."""
        if "score" not in extra:
            return self.head.weight.new_zeros(len(length), 1)
        return ((extra["score"] - self.scale[0]) / self.scale[1])[:, None]

    def context(self, x: Tensor, role: Tensor, mask: Tensor) -> Context:
        """(B, T, 513) -> contexts."""
        v, _ = self.turns(self.matched(x, lag_similarity(x, WINDOW)))
        v = self.dropout(v)
        seen = visible(x.shape[1], WINDOW, x.device)[None] & mask[:, None]
        return self.close(masked_softmax(v @ self.relate @ v.transpose(1, 2), seen) @ v, v)

    def start(self, batch: int) -> State:
        """Return empty buffers of the last W utterances."""
        like = self.head.weight
        return {
            "c": like.new_zeros(batch, WINDOW, 4 * HIDDEN + 1),
            "v": like.new_zeros(batch, WINDOW, HIDDEN),
            "count": torch.zeros(batch, dtype=torch.long, device=like.device),
            "h": like.new_zeros(batch, HIDDEN),
            "cell": like.new_zeros(batch, HIDDEN),
        }

    def step(self, x: Tensor, role: Tensor, state: State) -> tuple[Context, State]:
        """(B, 513), (B) -> one context."""
        before = filled(state["count"], WINDOW).flip(1)
        lags = (state["c"] @ x[..., None]).squeeze(-1).flip(1).masked_fill(~before, 0.0)
        memory = (state["h"][None].contiguous(), state["cell"][None].contiguous())
        v, (h, cell) = self.turns(self.matched(x, lags)[:, None], memory)
        v = self.dropout(v[:, 0])
        count, kept = state["count"] + 1, push(state["v"], v)
        weight = masked_softmax(
            (kept @ (v @ self.relate)[..., None]).squeeze(-1), filled(count, WINDOW)
        )
        found = self.close((weight[:, None] @ kept).squeeze(1), v)
        new = {"c": push(state["c"], x), "v": kept, "count": count, "h": h[0], "cell": cell[0]}
        return found, new

    def matched(self, x: Tensor, lags: Tensor) -> Tensor:
        """Return utterances with their similarities, narrowed."""
        return self.dropout(torch.relu(self.match(torch.cat([x, lags], dim=-1))))

    def close(self, seen: Tensor, v: Tensor) -> Context:
        """Return contexts from what is attended to."""
        g = self.dropout(torch.relu(self.infer(torch.cat([seen, v], dim=-1))))
        both = self.head(g)
        return Context(g, both[..., 1] - both[..., 0])


def positions(place: Tensor, width: int) -> Tensor:
    """Return sinusoids (P, width) of ``place / 10000^((i - i mod 2) / 200)``."""
    i = torch.arange(width, device=place.device)
    angle = place[:, None] / 10000 ** ((i - i % 2) / width)
    return torch.where(i % 2 == 0, angle.sin(), angle.cos()).to(place.dtype)
