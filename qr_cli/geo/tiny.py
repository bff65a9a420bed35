"""Geoformer small enough for a CPU: the same architecture, whole words, a stem that is trained.

After Geoformer (Chen et al. 2022, arXiv 2212.02746): words and 49 patches of the diagram are read
by one encoder, relative bias acts between words only, a T5 decoder writes the program or proof.
Ours: width 128, three blocks each side, a convolutional stem trained with the rest instead of a
frozen ResNet-101, the true area of a patch, one learned row in place of a missing diagram.
Attention is scaled, its queries and keys have norms, and the relative bias counts sqrt(width)
times: otherwise Adam drives the scores to single words before the places of words count at all.
A letter also says which of the problem's letters it is by first appearance: names do not matter,
equality does. Two auxiliary heads help in training: what stands in each patch, and the figure's
fine relation class (the sequence loss alone did not make small models look at the diagram).

Shapes: B problems, K beams, T target words, S source words and patches, D width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qr_cli.geo.stack import FAR, Cache, Norm, Sizes, Stack
from qr_cli.geo.vocab import IMAGE, PAD, START, Vocabulary

PATCHES = 49
LETTERS = 52  # capitals, plain and primed
STEM = (  # kernel, stride, channels in and out
    (5, 2, 1, 16), (3, 2, 16, 32), (3, 1, 32, 48), (3, 2, 48, 64), (3, 1, 64, 64), (3, 2, 64, 96),
)  # fmt: skip


class Read(NamedTuple):
    """What a model makes of a batch.

    Attributes:
        scores: of every next word ``(B, T, V)``; None when only patches were read.
        relations: of the figures' classes ``(B, R)``; None without pictures.
        marks: of what stands in each patch ``(B, 49, M)``; None without pictures.
    """

    scores: Tensor | None
    relations: Tensor | None = None
    marks: Tensor | None = None


class Stem(nn.Module):
    """Six convolutions, each with batch norm and ReLU: ``(B, 1, 112, 112) -> (B, 49, 96)``."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(i, o, k, s, k // 2, bias=False) for k, s, i, o in STEM
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(o) for _, _, _, o in STEM)

    def forward(self, x: Tensor) -> Tensor:
        """Return one vector per patch, row by row."""
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.relu(norm(convolution(x)))
        return x.flatten(2).transpose(1, 2)

    def fold(self) -> None:
        """Let each convolution do what its batch norm does in evaluation."""
        norms: Any = self.norms
        for i, norm in enumerate(norms):
            if isinstance(norm, nn.Identity):
                continue
            old: Any = self.convolutions[i]
            factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            new: Any = nn.Conv2d(
                old.in_channels, old.out_channels, old.kernel_size, old.stride, old.padding
            )
            new.weight.data = (old.weight * factor[:, None, None, None]).detach()
            new.bias.data = (norm.bias - norm.running_mean * factor).detach()
            self.convolutions[i], self.norms[i] = new, nn.Identity()


class Tiny(nn.Module):
    """The preset `geoformer-tiny`.

    Args:
        vocabulary: its words.
        classes: fine relation classes by family, for the auxiliary head; none: no head.
        marks: answers of the auxiliary head that says what stands in a patch; 0: no head.
        dropout: of every residual branch.
        vision: whether there is a stem; without it every diagram counts as missing.
        width: of all states.
        inner: of the feed-forward parts.
        layers: blocks in encoder and decoder.
        heads: of every attention.
    """

    letters: Tensor  # of each word, 0 to 25; -1: the word is no letter

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        classes: Mapping[str, int] | None = None,
        marks: int = 0,
        dropout: float = 0.1,
        vision: bool = True,
        width: int = 128,
        inner: int = 384,
        layers: int = 3,
        heads: int = 4,
    ) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        head = width // heads
        sizes = Sizes(
            len(vocabulary), width, head, inner, layers, heads, dropout,
            scale=head**-0.5, near=width**0.5, normed=True,
        )  # fmt: skip
        self.shared = nn.Embedding(len(vocabulary), width)
        self.order = nn.Embedding(LETTERS + 1, width)
        letters = torch.full((len(vocabulary),), -1)
        letters[vocabulary.number["A"] :][:LETTERS] = torch.arange(LETTERS)
        self.register_buffer("letters", letters, persistent=False)
        self.encoder = Stack(sizes, decodes=False)
        self.decoder = Stack(sizes, decodes=True)
        self.vision = vision
        if vision:
            self.stem = Stem()
            self.feature = nn.Sequential(nn.Linear(STEM[-1][-1], width), Norm(width))
            self.place = nn.Sequential(nn.Linear(5, width), Norm(width))
            self.patch = nn.Parameter(torch.empty(PATCHES, width))
        self.families: dict[str, tuple[int, int]] = {}
        for family, count in sorted((classes or {}).items()):
            start = sum(n for _, n in self.families.values())
            self.families[family] = (start, count)
        if self.families and vision:
            self.relation = nn.Linear(width, sum(n for _, n in self.families.values()))
        if marks and vision:
            self.marks = nn.Linear(width, marks)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights: N(0, 1/inputs); outputs of residual branches smaller by their number."""
        width, layers = self.decoder.sizes.width, self.decoder.sizes.layers
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
                if name.endswith((".o", ".wo")):
                    module.weight.data /= math.sqrt(2 * layers)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=width**-0.5)
        if self.vision:
            nn.init.normal_(self.patch, std=width**-0.5)
        if hasattr(self, "marks"):
            nn.init.constant_(self.marks.bias, -4.0)  # most patches show none of them

    # reading ---------------------------------------------------------------------------------

    def patches(self, pictures: Tensor) -> Tensor:
        """Return 49 states of each picture, ``(B, 112, 112) -> (B, 49, D)``; ink is 1."""
        seen = self.stem(pictures[:, None])
        return self.feature(seen) + self.place(boxes().to(seen)) + self.patch

    def encode(self, words: Tensor, pictures: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the states of words and patches, and the additive bias that hides padding.

        Args:
            words: numbers of words, padded ``(B, T)``.
            pictures: ink from 0 to 1 ``(B, 112, 112)``, or None where no problem has a diagram.

        Returns:
            ``(B, S, D)`` and ``(B, 1, 1, S)``; the patches, or the one row that stands for a
            missing diagram, come after the words.
        """
        seen = self.patches(pictures) if pictures is not None and self.vision else None
        return self._joined(words, seen)

    def embed(self, words: Tensor) -> Tensor:
        """Return words as states of unit size, ``(...) -> (..., D)``."""
        return self.shared(words) * self.shared.embedding_dim**0.5

    def orders(self, words: Tensor) -> Tensor:
        """Return for each letter which of the problem's letters it is, by first appearance.

        ``(B, S) -> (B, S)``: 0 for the first letter of the problem, 1 for the next one, ...;
        `LETTERS` for every other word. What a letter is called does not matter, which other
        letters it equals does.
        """
        letter = self.letters[words]
        same = letter[:, :, None] == torch.arange(LETTERS, device=words.device)  # (B, S, L)
        places = torch.arange(words.shape[1], device=words.device)[None, :, None]
        first = torch.where(same, places, words.shape[1]).amin(1)  # (B, L)
        rank = first.argsort(1).argsort(1)
        return rank.gather(1, letter.clamp(min=0)).masked_fill(letter < 0, LETTERS)

    def _joined(self, words: Tensor, seen: Tensor | None) -> tuple[Tensor, Tensor]:
        x = self.embed(words) + self.order(self.orders(words)) * self.order.embedding_dim**0.5
        batch, length, _ = x.shape
        if seen is None:
            row = torch.full_like(words[:, :1], self.vocabulary.number[IMAGE])
            seen = self.embed(row)
        whole = length + seen.shape[1]
        padded = words == self.vocabulary.number[PAD]
        hidden = x.new_zeros(batch, 1, 1, whole)
        hidden[:, 0, 0, :length].masked_fill_(padded, FAR)
        at = torch.arange(length, device=words.device)
        bias = F.pad(self.encoder.relative(at, at), (0, whole - length, 0, whole - length))
        return self.encoder(torch.cat((x, seen), 1), bias[None] + hidden), hidden

    # writing ---------------------------------------------------------------------------------

    def forward(
        self, words: Tensor | None, targets: Tensor | None, pictures: Tensor | None = None
    ) -> Read:
        """Return scores of every next word, and what the auxiliary heads say of pictures.

        Args:
            words: the source, padded ``(B, S)``; None: the patches alone are read.
            targets: the words before, the start included ``(B, T)``.
            pictures: as for `encode`.
        """
        seen = self.patches(pictures) if pictures is not None and self.vision else None
        marks = self.marks(seen) if seen is not None and hasattr(self, "marks") else None
        if words is None or targets is None:
            return Read(None, None, marks)
        states, hidden = self._joined(words, seen)
        relations = None
        if seen is not None and self.families:
            relations = self.relation(states[:, -PATCHES:].mean(1))
        length = targets.shape[1]
        at = torch.arange(length, device=words.device)
        bias = self.decoder.relative(at, at)
        bias = bias + bias.new_full((length, length), FAR).triu(1)
        out = self.decoder(self.embed(targets), bias[None], states, hidden)
        return Read(self.logits(out), relations, marks)

    def logits(self, states: Tensor) -> Tensor:
        """Return the scores of all words, ``(..., D) -> (..., V)``."""
        return states @ self.shared.weight.T

    @property
    def start(self) -> int:
        """Return the word a target starts with."""
        return self.vocabulary.number[START]

    def begin(self, states: Tensor, hidden: Tensor) -> Cache:
        """Return the decoder's cache for encoded problems."""
        return self.decoder.begin(states, hidden)

    def step(self, words: Tensor, cache: Cache) -> Tensor:
        """Return scores of the word after the last ones, ``(B, K) -> (B, K, V)``."""
        return self.logits(self.decoder.step(self.embed(words), cache))


def boxes(*, official: bool = False) -> Tensor:
    """Return x1, y1, x2, y2 and area of the 49 patches, row by row ``(49, 5)``.

    official: the fifth is ((row - column) / 7)^2, as the authors' code reads the box.
    """
    row, column = torch.meshgrid(torch.arange(7.0), torch.arange(7.0), indexing="ij")
    r, c = row.flatten(), column.flatten()
    area = ((r - c) / 7) ** 2 if official else torch.full_like(r, 1 / PATCHES)
    return torch.stack((c / 7, r / 7, (c + 1) / 7, (r + 1) / 7, area), -1)


def padded(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    """Return rows of numbers as one tensor, the shorter ones filled up."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (longest - len(row))] for row in rows])
