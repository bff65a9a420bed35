"""T5's encoder and decoder (Raffel et al. 2020, arXiv 1910.10683) in plain torch.

Names of weights are those of the published checkpoints. Attention is not scaled, norms have a
weight only, no linear layer has a bias, and the relative bias of block 0 serves a whole stack.
Ours is the step-by-step decoder: keys and values of the target are cached per beam, those of the
source once per problem; and what small networks need to be trained from nothing with Adam:
scaled scores, norms of queries and keys (Henry et al. 2020, arXiv 2010.04245), a larger bias.

Shapes: B problems, K beams, H heads, T target words, S source words, D width, P width of a head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_FIRST = 128  # words for which the decoder's bias is computed at once
FAR = -1e9  # added to the score of what must not be seen


@dataclass(frozen=True)
class Sizes:
    """Widths and depths; the defaults are T5-base's.

    Attributes:
        scale: of the scores of attention; T5 leaves them as they are.
        near: factor of the relative bias. Adam moves weights of every layer by like amounts, so
            that a bias as small as T5 draws it never catches up with the scores beside it.
        normed: queries and keys get a norm each, so that no score runs away from the bias.
    """

    vocabulary: int
    width: int = 768
    head: int = 64
    inner: int = 3072
    layers: int = 12
    heads: int = 12
    dropout: float = 0.1
    buckets: int = 32
    reach: int = 128
    scale: float = 1.0
    near: float = 1.0
    normed: bool = False


class Norm(nn.Module):
    """Root mean square norm: x / sqrt(mean(x^2) + 1e-6) * weight."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """``(..., D) -> (..., D)``."""
        return F.rms_norm(x, self.weight.shape, self.weight, 1e-6)


def buckets(distance: Tensor, *, both: bool, count: int = 32, reach: int = 128) -> Tensor:
    """Return T5's bucket of each distance key - query; `both`: of either sign."""
    number = torch.zeros_like(distance)
    if both:
        count //= 2
        number = (distance > 0).long() * count
        distance = distance.abs()
    else:
        distance = (-distance).clamp(min=0)
    exact = count // 2
    far = exact + (
        torch.log(distance.clamp(min=1).float() / exact) / math.log(reach / exact) * (count - exact)
    ).long().clamp(max=count - exact - 1)
    return number + torch.where(distance < exact, distance, far)


class Attention(nn.Module):
    """Attention of several heads."""

    def __init__(self, sizes: Sizes, *, biased: bool = False) -> None:
        super().__init__()
        whole = sizes.heads * sizes.head
        self.heads, self.scale = sizes.heads, sizes.scale
        self.q = nn.Linear(sizes.width, whole, bias=False)
        self.k = nn.Linear(sizes.width, whole, bias=False)
        self.v = nn.Linear(sizes.width, whole, bias=False)
        self.o = nn.Linear(whole, sizes.width, bias=False)
        self.q_norm = Norm(sizes.head) if sizes.normed else nn.Identity()
        self.k_norm = Norm(sizes.head) if sizes.normed else nn.Identity()
        if biased:
            self.relative_attention_bias = nn.Embedding(sizes.buckets, sizes.heads)

    def split(self, x: Tensor) -> Tensor:
        """``(B, T, H*P) -> (B, H, T, P)``."""
        return x.unflatten(-1, (self.heads, -1)).transpose(-2, -3)

    def forward(self, x: Tensor, source: Tensor, bias: Tensor) -> Tensor:
        """``(B, T, D), (B, S, D), (B, H or 1, T or 1, S) -> (B, T, D)``."""
        keys, values = self.k_norm(self.split(self.k(source))), self.split(self.v(source))
        return self.mixed(self.q_norm(self.split(self.q(x))), keys, values, bias)

    def mixed(self, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        """Return the output for split queries, keys and values."""
        weights = torch.softmax((queries * self.scale) @ keys.transpose(-1, -2) + bias, dim=-1)
        return self.o((weights @ values).transpose(-2, -3).flatten(-2))

    def read(self, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        """Return what `mixed` returns, in one operation that has no gradient for the bias."""
        found = F.scaled_dot_product_attention(queries, keys, values, bias, scale=self.scale)
        return self.o(found.transpose(-2, -3).flatten(-2))


class FeedForward(nn.Module):
    """wo(relu(wi(x)))."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.wi = nn.Linear(sizes.width, sizes.inner, bias=False)
        self.wo = nn.Linear(sizes.inner, sizes.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., D) -> (..., D)``."""
        return self.wo(F.relu(self.wi(x)))


class Layer(nn.Module):
    """One part of a block with the norm before it, under the name the checkpoints use."""

    def __init__(self, name: str, part: nn.Module, width: int) -> None:
        super().__init__()
        self.add_module(name, part)
        self.layer_norm = Norm(width)


class Block(nn.Module):
    """Self-attention, in a decoder attention to the source, and a feed-forward part."""

    def __init__(self, sizes: Sizes, *, biased: bool, crossed: bool) -> None:
        super().__init__()
        own = Layer("SelfAttention", Attention(sizes, biased=biased), sizes.width)
        cross = Layer("EncDecAttention", Attention(sizes), sizes.width)
        last = Layer("DenseReluDense", FeedForward(sizes), sizes.width)
        self.layer = nn.ModuleList([own, cross, last] if crossed else [own, last])


class Stack(nn.Module):
    """An encoder, or a decoder with attention to what was encoded."""

    def __init__(self, sizes: Sizes, *, decodes: bool) -> None:
        super().__init__()
        self.sizes, self.decodes = sizes, decodes
        self.block = nn.ModuleList(
            Block(sizes, biased=i == 0, crossed=decodes) for i in range(sizes.layers)
        )
        self.final_layer_norm = Norm(sizes.width)

    @property
    def blocks(self) -> Any:
        """Return the blocks; their parts have the names of the checkpoints."""
        return self.block

    def relative(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Return the bias of positions ``(T), (S) -> (H, T, S)``."""
        distance = keys[None, :] - queries[:, None]
        sizes = self.sizes
        number = buckets(distance, both=not self.decodes, count=sizes.buckets, reach=sizes.reach)
        table: nn.Embedding = self.blocks[0].layer[0].SelfAttention.relative_attention_bias
        return table(number).permute(2, 0, 1) * sizes.near

    def drop(self, x: Tensor) -> Tensor:
        """Return x with dropout, in training."""
        return F.dropout(x, self.sizes.dropout, self.training) if self.sizes.dropout else x

    def forward(
        self, x: Tensor, bias: Tensor, source: Tensor | None = None, hidden: Tensor | None = None
    ) -> Tensor:
        """Return the states of all positions.

        Args:
            x: embedded words (B, T, D).
            bias: of self-attention (B or 1, H, T, T): relative, causal, padding.
            source: what was encoded (B, S, D), for a decoder.
            hidden: its padding (B, 1, 1, S), additive.
        """
        x = self.drop(x)
        for block in self.blocks:
            own, *cross, last = block.layer
            y = own.layer_norm(x)
            x = x + self.drop(own.SelfAttention(y, y, bias))
            for layer in cross:
                x = x + self.drop(layer.EncDecAttention(layer.layer_norm(x), source, hidden))
            x = x + self.drop(last.DenseReluDense(last.layer_norm(x)))
        return self.drop(self.final_layer_norm(x))

    # one word at a time ---------------------------------------------------------------------

    def begin(self, source: Tensor, hidden: Tensor) -> Cache:
        """Return the cache of problems whose source is encoded, before their first word."""
        cross, fused = [], []
        for block in self.blocks:
            own, other = block.layer[0].SelfAttention, block.layer[1].EncDecAttention
            cross.append((other.k_norm(other.split(other.k(source))), other.split(other.v(source))))
            fused.append(torch.cat((own.q.weight, own.k.weight, own.v.weight)))
        at = torch.arange(_FIRST, device=source.device)
        empty = [source.new_empty(0)] * len(fused)
        return Cache(cross, hidden, fused, self.relative(at[-1:], at), empty)

    def step(self, x: Tensor, cache: Cache) -> Tensor:
        """Return the states of one more word of each beam, ``(B, K, D) -> (B, K, D)``.

        The cache grows by that word.
        """
        cache.length += 1
        if cache.length > cache.bias.shape[-1]:
            at = torch.arange(2 * cache.bias.shape[-1], device=x.device)
            cache.bias = self.relative(at[-1:], at)
        bias = cache.bias[..., -cache.length :][None]  # of the last word to all so far
        batch, beams, width = x.shape
        for i, block in enumerate(self.blocks):
            own, cross, last = block.layer
            part = own.SelfAttention
            both = F.linear(own.layer_norm(x), cache.fused[i])
            both = both.view(batch * beams, 3, part.heads, 1, -1)
            q = part.q_norm(both[:, 0])
            new = torch.stack((part.k_norm(both[:, 1]), both[:, 2]), 1)
            cache.own[i] = torch.cat((cache.own[i], new), -2) if cache.length > 1 else new
            keys, values = cache.own[i].unbind(1)
            x = x + part.read(q, keys, values, bias).view(batch, beams, width)
            part = cross.EncDecAttention
            q = part.q_norm(part.split(part.q(cross.layer_norm(x))))  # (B, H, K, P)
            x = x + part.read(q, *cache.cross[i], cache.hidden)
            x = x + last.DenseReluDense(last.layer_norm(x))
        return self.final_layer_norm(x)


@dataclass
class Cache:
    """Keys and values: of the source per problem, of the words so far per beam.

    Attributes:
        cross: per block (B, H, S, P), twice.
        hidden: padding of the source (B, 1, 1, S), additive.
        fused: per block the weights of queries, keys and values as one matrix.
        bias: of a word to those before it and itself (H, 1, T).
        own: per block keys and values (B * K, 2, H, T, P).
        length: words so far.
    """

    cross: list[tuple[Tensor, Tensor]]
    hidden: Tensor
    fused: list[Tensor]
    bias: Tensor
    own: list[Tensor]
    length: int = 0

    def reorder(self, beams: Tensor) -> None:
        """Let beam k go on from beam ``beams[b, k]``: ``(B, K')``."""
        problems = torch.arange(len(beams), device=beams.device)
        rows = beams + (len(self.own[0]) // len(beams) * problems)[:, None]
        self.own = [both.index_select(0, rows.flatten()) for both in self.own]

    def keep(self, problems: Tensor) -> None:
        """Go on with some problems only."""
        self.cross = [(k[problems], v[problems]) for k, v in self.cross]
        self.own = [
            both.unflatten(0, (len(self.hidden), -1))[problems].flatten(0, 1) for both in self.own
        ]
        self.hidden = self.hidden[problems]
