"""Parts that the bases share: masked attention, similarity by lag, recurrence over ragged rows.

Every attention here is causal and masked by key: position t sees j with t - W < j <= t that is a
real utterance. A softmax over nothing is the zero vector, and padding never gets weight.

Shapes: B dialogues, T utterances, N sentences, S tokens, W window.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def masked_softmax(scores: Tensor, keep: Tensor) -> Tensor:
    """Return the softmax over the last dimension of what is kept; zeros where nothing is."""
    weight = torch.softmax(scores.masked_fill(~keep, -math.inf), dim=-1)
    return weight.masked_fill(~keep.any(-1, keepdim=True), 0.0)


def visible(turns: int, window: int, device: torch.device) -> Tensor:
    """Return (T, T): whether t sees j, for t - W < j <= t."""
    place = torch.arange(turns, device=device)
    back = place[:, None] - place[None]
    return (back >= 0) & (back < window)


def lag_similarity(vectors: Tensor, window: int) -> Tensor:
    """Return (B, T, W): column k - 1 is the product with the vector k turns back, 0 if none."""
    turns = vectors.shape[1]
    products = vectors @ vectors.transpose(1, 2)
    place = torch.arange(turns, device=vectors.device)
    back = place[:, None] - torch.arange(1, window + 1, device=vectors.device)[None]
    found = products.gather(2, back.clamp(min=0).expand(len(vectors), turns, window))
    return found.masked_fill(back < 0, 0.0)


def real_tokens(length: Tensor, width: int) -> Tensor:
    """Return (N, S): where a token is no padding."""
    return torch.arange(width, device=length.device)[None] < length[:, None]


class TokenScore(nn.Module):
    """``w2 tanh(W1 o + b1) (+ b2)``: how much a token counts, (.., D) -> (..).

    Args:
        width: of the outputs o.
        inner: of W1.
        bias: whether there is a b2.
    """

    def __init__(self, width: int, inner: int = 64, *, bias: bool = True) -> None:
        super().__init__()
        self.inner = nn.Linear(width, inner)
        self.outer = nn.Linear(inner, 1, bias=bias)

    def forward(self, outputs: Tensor) -> Tensor:
        """(.., D) -> (..)."""
        return self.outer(torch.tanh(self.inner(outputs))).squeeze(-1)


class Heads(nn.Module):
    """Causal multi-head self-attention without output projection, then a feed-forward block.

    ``y = LN(x + attend(x))``, ``LN(y + W2 relu(W1 y))``. The window is the caller's mask.
    """

    def __init__(self, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.norm, self.last_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.widen, self.narrow = nn.Linear(width, inner), nn.Linear(inner, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        """(B, T, D), (B, T, T) -> (B, T, D)."""
        return self.attend(x, self.key(x), self.value(x), keep)

    def attend(self, x: Tensor, keys: Tensor, values: Tensor, keep: Tensor) -> Tensor:
        """Let x (B, Q, D) look at keys and values (B, K, D) where keep (B, Q, K) allows."""
        query, key, value = (self._split(t) for t in (self.query(x), keys, values))
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])
        weight = self.dropout(masked_softmax(scores, keep[:, None]))
        found = (weight @ value).transpose(1, 2).reshape(x.shape)
        y = self.norm(x + found)
        return self.last_norm(y + self.narrow(torch.relu(self.widen(y))))

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


def push(buffer: Tensor, new: Tensor) -> Tensor:
    """Return a buffer (B, W, ...) moved on by one, with `new` (B, ...) at its end."""
    return torch.cat([buffer[:, 1:], new[:, None].to(buffer.dtype)], dim=1)


def filled(count: Tensor, window: int) -> Tensor:
    """Return (B, W): which places of buffers are in use after `count` (B) turns."""
    age = torch.arange(window, 0, -1, device=count.device)
    return age[None] <= count[:, None]


def glorot(module: nn.Module) -> None:
    """Initialise as the authors' framework does: Glorot uniform kernels, zero biases.

    The forget gate of an LSTM starts with a bias of 1, in one of torch's two bias vectors.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.LSTM):
            for name, weight in part.named_parameters():
                if weight.ndim > 1:
                    _glorot_kernel(weight, part.hidden_size)
                    continue
                nn.init.zeros_(weight)
                if name.startswith("bias_ih"):
                    with torch.no_grad():
                        weight[part.hidden_size : 2 * part.hidden_size] = 1.0


def _glorot_kernel(weight: Tensor, hidden: int) -> None:
    """Draw the four gates of an LSTM as one kernel of (inputs + hidden, 4 hidden)."""
    inputs = weight.shape[1]
    other = hidden if inputs != hidden else inputs
    bound = math.sqrt(6 / (inputs + other + 4 * hidden))
    nn.init.uniform_(weight, -bound, bound)
