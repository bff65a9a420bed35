"""Base `gru` (ours): the default, fast enough to stream.

    o = BiGRU(embedding)                 a = softmax(w2 tanh(W1 o + b1) + b2) over real tokens
    x = [dropout(sum a o); role]         h = GRU(x), d = w . dropout(h) + b

Shapes: N sentences, S tokens, B dialogues, T utterances.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qr_cli.handoff.bases import Context, State
from qr_cli.handoff.layers import TokenScore
from qr_cli.handoff.ragged import Ragged, run

ROLE_WIDTH = 16
EMBEDDING_SD = 0.1


class GRU(nn.Module):
    """See the module.

    Args:
        vocabulary: number of token ids; row 0 is padding and stays zero.
        embed_dim: of a token.
        hidden: per direction of the sentence, and of the context.
        dropout: of embeddings, sentence vectors and contexts.
    """

    window = None
    has_state = False

    def __init__(
        self, vocabulary: int, *, embed_dim: int = 200, hidden: int = 128, dropout: float = 0.35
    ) -> None:
        super().__init__()
        self.hidden = hidden
        self.embedding = nn.Embedding(vocabulary, embed_dim, padding_idx=0)
        self.words = nn.GRU(embed_dim, hidden, batch_first=True, bidirectional=True)
        self.attention = TokenScore(2 * hidden)
        self.role = nn.Embedding(2, ROLE_WIDTH)
        self.turns = nn.GRU(2 * hidden + ROLE_WIDTH, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)
        self.dropout = nn.Dropout(dropout)
        embed(self.embedding)

    def encode(self, tokens: Tensor, length: Tensor, role: Tensor, extra: State) -> Tensor:
        """(N, S), (N), (N) -> (N, 2 hidden + 16)."""
        ragged = Ragged(length, tokens.shape[1])
        outputs, weight = self._read(tokens, ragged)
        sentence = ragged.total(weight[:, None] * outputs)
        return torch.cat([self.dropout(sentence), self.role(role)], dim=-1)

    def token_weights(self, tokens: Tensor, length: Tensor) -> Tensor:
        """(N, S), (N) -> (N, S): where the encoder looked; zero at padding."""
        ragged = Ragged(length, tokens.shape[1])
        _, weight = self._read(tokens, ragged)
        flat = weight.new_zeros(tokens.numel()).index_put((ragged.index,), weight)
        return flat.view(tokens.shape)

    def _read(self, tokens: Tensor, ragged: Ragged) -> tuple[Tensor, Tensor]:
        """Return outputs (P, 2 hidden) and attention weights (P) of the tokens."""
        words = self.dropout(self.embedding(ragged.gather(tokens)))
        outputs, _ = run(self.words, words, ragged)
        return outputs, ragged.softmax(self.attention(outputs))

    def context(self, x: Tensor, role: Tensor, mask: Tensor) -> Context:
        """(B, T, X) -> contexts."""
        h, _ = self.turns(x)
        return Context(h, self.head(self.dropout(h)).squeeze(-1))

    def start(self, batch: int) -> State:
        """Return zeros."""
        return {"h": self.head.weight.new_zeros(batch, self.hidden)}

    def step(self, x: Tensor, role: Tensor, state: State) -> tuple[Context, State]:
        """(B, X) -> one context."""
        _, last = self.turns(x[:, None], state["h"][None].contiguous())
        h = last[0]
        return Context(h, self.head(self.dropout(h)).squeeze(-1)), {"h": h}


def embed(embedding: nn.Embedding) -> None:
    """Draw word vectors from N(0, 0.1^2), padding zero."""
    nn.init.normal_(embedding.weight, std=EMBEDDING_SD)
    with torch.no_grad():
        embedding.weight[0].zero_()
