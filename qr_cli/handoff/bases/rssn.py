"""Base `rssn`: role-selected sharing network (Liu et al., EMNLP 2021, arXiv 2109.08412), causal.

    o, h_fin = BiLSTM(embedding)      a = softmax(u . tanh(W o + b))     c = [sum a o; h_fin]
    r_t = [c_t; M_t], M_t the products of c_t with the W utterances before it
    m, s = relu(W r + b)                                    two views, of handoff and satisfaction
    m' = relu(Dense [softmax(m s^T over customer turns) s; m])      satisfaction helps handoff
    s' = LN(s + softmax(s m^T) m)                                   handoff helps satisfaction
    d from LSTM(m'), f from one attention block on s', l = softmax(W f + b), e = u . tanh(W f + b)

Differs from the authors' code: attention is causal and masked by key within the last W = 50
utterances, where theirs sees the future and padding; similarities are indexed by lag, theirs by
absolute position; e starts small and is clamped. `released.py` has their form. Dense and LSTM
kernels are Glorot uniform as in their framework.

Shapes: N sentences, S tokens, B dialogues, T utterances, W window.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qr_cli.handoff.bases import Context, State
from qr_cli.handoff.bases.gru import EMBEDDING_SD, embed
from qr_cli.handoff.layers import (
    Heads,
    TokenScore,
    filled,
    glorot,
    lag_similarity,
    masked_softmax,
    push,
    visible,
)
from qr_cli.handoff.ragged import Ragged, run

HIDDEN, VIEW, INNER, HEADS, WINDOW = 128, 256, 64, 4, 50
LIMIT = 5.0  # of |e|


class RSSN(nn.Module):
    """See the module.

    Args:
        vocabulary: number of token ids.
        embed_dim: of a token.
        dropout: of embeddings, sentences, views, attention and outputs.
    """

    window = WINDOW
    has_state = True
    hidden = HIDDEN

    def __init__(self, vocabulary: int, *, embed_dim: int = 200, dropout: float = 0.35) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embed_dim, padding_idx=0)
        self.words = nn.LSTM(embed_dim, HIDDEN, batch_first=True, bidirectional=True)
        self.attention = TokenScore(2 * HIDDEN, INNER, bias=False)
        self.build_views(4 * HIDDEN)
        self.share = nn.Linear(2 * VIEW, VIEW)
        self.norm = nn.LayerNorm(VIEW)
        self.turns = nn.LSTM(VIEW, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, 2)
        self.block = Heads(VIEW, HEADS, 2 * VIEW, dropout)
        self.local = nn.Linear(VIEW, 3)
        self.weight = TokenScore(VIEW, INNER, bias=False)
        self.dropout = nn.Dropout(dropout)
        glorot(self)
        embed(self.embedding)
        for part in (self.attention.inner.weight, self.attention.inner.bias):
            nn.init.normal_(part, std=EMBEDDING_SD)
        for score in (self.attention, self.weight):
            nn.init.normal_(score.outer.weight, std=EMBEDDING_SD)

    def build_views(self, width: int) -> None:
        """Make the two views of utterance vectors of this width."""
        self.to_m = nn.Linear(width + WINDOW, VIEW)
        self.to_s = nn.Linear(width + WINDOW, VIEW)

    def encode(self, tokens: Tensor, length: Tensor, role: Tensor, extra: State) -> Tensor:
        """(N, S), (N), (N) -> (N, 512)."""
        ragged = Ragged(length, tokens.shape[1])
        words = self.dropout(self.embedding(ragged.gather(tokens)))
        outputs, final = run(self.words, words, ragged)
        weight = ragged.softmax(self.attention(outputs))
        return self.dropout(torch.cat([ragged.total(weight[:, None] * outputs), final], dim=-1))

    def context(self, x: Tensor, role: Tensor, mask: Tensor) -> Context:
        """(B, T, 512), (B, T), (B, T) -> contexts with user states."""
        m, s = self.views(x, lag_similarity(x, WINDOW))
        seen = visible(x.shape[1], WINDOW, x.device)[None] & mask[:, None]
        shared = masked_softmax(m @ s.transpose(1, 2), seen & (role == 1)[:, None]) @ s
        z, _ = self.turns(self.merge(shared, m))
        other = masked_softmax(s @ m.transpose(1, 2), seen) @ m
        return self.close(z, self.block(self.norm(s + other), seen))

    def start(self, batch: int) -> State:
        """Return empty buffers of the last W utterances."""
        like = self.head.weight
        return {
            "c": like.new_zeros(batch, WINDOW, 4 * HIDDEN),
            "m": like.new_zeros(batch, WINDOW, VIEW),
            "s": like.new_zeros(batch, WINDOW, VIEW),
            "key": like.new_zeros(batch, WINDOW, VIEW),
            "value": like.new_zeros(batch, WINDOW, VIEW),
            "speaker": torch.zeros(batch, WINDOW, dtype=torch.long, device=like.device),
            "count": torch.zeros(batch, dtype=torch.long, device=like.device),
            "h": like.new_zeros(batch, HIDDEN),
            "cell": like.new_zeros(batch, HIDDEN),
        }

    def step(self, x: Tensor, role: Tensor, state: State) -> tuple[Context, State]:
        """(B, 512), (B) -> one context."""
        count = state["count"] + 1
        before = filled(state["count"], WINDOW).flip(1)
        lags = (state["c"] @ x[..., None]).squeeze(-1).flip(1).masked_fill(~before, 0.0)
        m, s = self.views(x[:, None], lags[:, None])
        new = {
            "c": push(state["c"], x),
            "m": push(state["m"], m[:, 0]),
            "s": push(state["s"], s[:, 0]),
            "speaker": push(state["speaker"], role),
            "count": count,
        }
        seen = filled(count, WINDOW)[:, None]
        customer = seen & (new["speaker"] == 1)[:, None]
        shared = masked_softmax(m @ new["s"].transpose(1, 2), customer) @ new["s"]
        memory = (state["h"][None].contiguous(), state["cell"][None].contiguous())
        z, (h, cell) = self.turns(self.merge(shared, m), memory)
        other = masked_softmax(s @ new["m"].transpose(1, 2), seen) @ new["m"]
        y = self.norm(s + other)
        new["key"] = push(state["key"], self.block.key(y)[:, 0])
        new["value"] = push(state["value"], self.block.value(y)[:, 0])
        found = self.close(z, self.block.attend(y, new["key"], new["value"], seen))
        assert found.state is not None
        local, weight = found.state
        one = Context(found.h[:, 0], found.d[:, 0], (local[:, 0], weight[:, 0]))
        return one, new | {"h": h[0], "cell": cell[0]}

    def views(self, x: Tensor, lags: Tensor) -> tuple[Tensor, Tensor]:
        """Return the views m and s of utterances and their similarities."""
        r = torch.cat([x, lags], dim=-1)
        m, s = (self.dropout(torch.relu(view(r))) for view in (self.to_m, self.to_s))
        return m, s

    def merge(self, shared: Tensor, m: Tensor) -> Tensor:
        """Return m'."""
        return torch.relu(self.share(torch.cat([shared, m], dim=-1)))

    def close(self, z: Tensor, f: Tensor) -> Context:
        """Return contexts from the two branches."""
        both = self.head(self.dropout(z))
        local = torch.softmax(self.local(f), dim=-1)
        weight = self.weight(f).clamp(-LIMIT, LIMIT)
        return Context(z, both[..., 1] - both[..., 0], (local, weight))
