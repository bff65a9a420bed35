"""Geoformer as its authors built it: T5-base with 49 patches of a frozen ResNet-101.

Chen et al. 2022, UniGeo (arXiv 2212.02746), after VL-T5 (Cho et al. 2021, arXiv 2102.02779). Text
and patches are read by one self-attention; relative bias acts between words only. Names of weights
are the authors', so that their files load. Theirs is kept where weights depend on it: the patch
"area" reads the box in the wrong order, and pictures are neither normalised nor centred. Ours: the
ResNet stays in evaluation mode (theirs lets its batch norms drift; `vision_bn="official"`).

Shapes: B problems, K beams, T target pieces, S source pieces and patches, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from qr_cli.geo.stack import FAR, Cache, Norm, Sizes, Stack
from qr_cli.geo.tiny import PATCHES, Read, boxes

PIECES, TEXT_PIECES = 32_200, 32_100  # with and without the names of patches
PICTURE = 224
CHANNELS = 2048
RESNET_101 = (3, 4, 23, 3)
BatchNorm = Literal["eval", "official"]


class VisualEmbedding(nn.Module):
    """RMS(W_f v + b_f) + RMS(W_p [box, area] + b_p) + order of the picture + name of the patch."""

    def __init__(self, shared: nn.Embedding, channels: int) -> None:
        super().__init__()
        width = shared.embedding_dim
        self.feat_embedding = nn.Sequential(nn.Linear(channels, width), Norm(width))
        self.absolute_vis_pos_embedding = nn.Sequential(nn.Linear(5, width), Norm(width))
        self.img_order_embedding = nn.Embedding(2, width)
        self.obj_order_embedding = shared

    def forward(self, features: Tensor) -> Tensor:
        """``(B, 49, C) -> (B, 49, D)``."""
        place = self.absolute_vis_pos_embedding(boxes(official=True).to(features))
        last = self.obj_order_embedding.num_embeddings - 1
        names = self.obj_order_embedding.weight[
            last - torch.arange(PATCHES, device=features.device)
        ]
        return self.feat_embedding(features) + place + self.img_order_embedding.weight[0] + names


class Encoder(Stack):
    """T5's encoder with words and patches embedded."""

    def __init__(self, sizes: Sizes, shared: nn.Embedding, channels: int) -> None:
        super().__init__(sizes, decodes=False)
        self.embed_tokens = shared
        self.visual_embedding = VisualEmbedding(shared, channels)


class Geoformer(nn.Module):
    """The preset `geoformer`.

    Args:
        sizes: of the T5; default T5-base with 32,200 pieces.
        depths: blocks of the ResNet's four stages.
        vision_bn: `official` lets the ResNet's batch norms follow training batches.
        pad: the piece that pads, and starts a target.
    """

    vocabulary: Any  # the tokeniser of its folder, once weights are loaded

    def __init__(
        self,
        sizes: Sizes | None = None,
        *,
        depths: Sequence[int] = RESNET_101,
        vision_bn: BatchNorm = "eval",
        pad: int = 0,
    ) -> None:
        super().__init__()
        from torchvision.models.resnet import Bottleneck, ResNet

        sizes = sizes or Sizes(PIECES)
        self.vision_bn, self.pad = vision_bn, pad
        self.shared = nn.Embedding(sizes.vocabulary, sizes.width)
        self.encoder = Encoder(sizes, self.shared, CHANNELS)
        self.decoder = Stack(sizes, decodes=True)
        self.decoder.embed_tokens = self.shared
        self.lm_head = nn.Linear(sizes.width, sizes.vocabulary, bias=False)
        self.lm_head.weight = self.shared.weight
        self.resnet = nn.Sequential(*list(ResNet(Bottleneck, list(depths)).children())[:-2])
        self.resnet.requires_grad_(False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights as T5 from scratch; norms are 1, the visual part as torch does it."""
        sizes = self.decoder.sizes
        whole = sizes.heads * sizes.head
        stds = {
            "q": (sizes.width * sizes.head) ** -0.5, "k": sizes.width**-0.5,
            "v": sizes.width**-0.5, "o": whole**-0.5, "wi": sizes.width**-0.5,
            "wo": sizes.inner**-0.5, "relative_attention_bias": sizes.width**-0.5,
        }  # fmt: skip
        nn.init.normal_(self.shared.weight, std=1.0)
        nn.init.normal_(self.encoder.visual_embedding.img_order_embedding.weight, std=1.0)
        for stack in (self.encoder, self.decoder):
            for name, module in stack.block.named_modules():
                last = name.rpartition(".")[2]
                if last in stds and isinstance(module, nn.Linear | nn.Embedding):
                    nn.init.normal_(module.weight, std=stds[last])

    def train(self, mode: bool = True) -> Self:
        """Switch to training; the frozen ResNet stays in evaluation, unless `official`."""
        super().train(mode)
        if self.vision_bn == "eval":
            self.resnet.eval()
        return self

    def patches(self, pictures: Tensor) -> Tensor:
        """Return features of 49 patches, ``(B, 3, 224, 224) -> (B, 49, C)``; no gradient."""
        with torch.no_grad():
            return self.resnet(pictures).flatten(2).transpose(1, 2)

    def encode(self, words: Tensor, pictures: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the states of pieces and patches, and the additive bias that hides padding.

        Args:
            words: pieces, padded ``(B, T)``.
            pictures: from 0 to 1 ``(B, 3, 224, 224)``; None: the text alone, as plain T5.
        """
        x = self.shared(words)
        batch, length = words.shape
        if pictures is not None:
            seen = self.encoder.visual_embedding(self.patches(pictures))
            x = torch.cat((x, seen), 1)
        extra = x.shape[1] - length
        hidden = x.new_zeros(batch, 1, 1, x.shape[1])
        hidden[:, 0, 0, :length].masked_fill_(words == self.pad, FAR)
        at = torch.arange(length, device=words.device)
        bias = F.pad(self.encoder.relative(at, at), (0, extra, 0, extra))
        return self.encoder(x, bias[None] + hidden), hidden

    def forward(self, words: Tensor, targets: Tensor, pictures: Tensor | None = None) -> Read:
        """Return scores of every next piece ``(B, T, V)``."""
        states, hidden = self.encode(words, pictures)
        length = targets.shape[1]
        at = torch.arange(length, device=words.device)
        bias = self.decoder.relative(at, at)
        bias = bias + bias.new_full((length, length), FAR).triu(1)
        return Read(self.logits(self.decoder(self.shared(targets), bias[None], states, hidden)))

    def logits(self, states: Tensor) -> Tensor:
        """Return the scores of all pieces, ``(..., D) -> (..., V)``."""
        return self.lm_head(states * self.decoder.sizes.width**-0.5)

    @property
    def start(self) -> int:
        """Return the piece a target starts with: padding, as T5."""
        return self.pad

    def begin(self, states: Tensor, hidden: Tensor) -> Cache:
        """Return the decoder's cache for encoded problems."""
        return self.decoder.begin(states, hidden)

    def step(self, words: Tensor, cache: Cache) -> Tensor:
        """Return scores of the piece after the last ones, ``(B, K) -> (B, K, V)``."""
        return self.logits(self.decoder.step(self.shared(words), cache))

    # weights ---------------------------------------------------------------------------------

    def take(self, state: Mapping[str, Tensor]) -> list[str]:
        """Load weights of plain T5 or of the authors and return the names that were not given.

        A table of 32,100 pieces or more fills the text rows; rows of patches stay as drawn.

        Raises:
            ValueError: a weight has no place here, or another shape.
        """
        given = {official_name(name): value for name, value in state.items()}
        given = {name: value for name, value in given.items() if name not in _IGNORED}
        rows = len(self.shared.weight)
        for name in ("shared.weight", *_TIED):
            table = given.get(name)
            if table is not None and len(table) != rows:
                full = self.shared.weight.detach().clone()
                known = min(len(table), rows - (PIECES - TEXT_PIECES))
                full[:known] = table[:known]
                given[name] = full
        for name in _TIED:
            given.setdefault(name, given.get("shared.weight", self.shared.weight.detach()))
        missing, strange = self.load_state_dict(given, strict=False)
        if strange:
            raise ValueError(f"{strange[0]} is no weight of geoformer")
        return missing


_TIED = (
    "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight",
    "encoder.visual_embedding.obj_order_embedding.weight",
)  # fmt: skip
_IGNORED = ("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",)


def official_name(name: str) -> str:
    """Return a weight's name without what wrappers and older versions put into it."""
    return name.removeprefix("module.").replace("vis_encoder.", "encoder.", 1)


def picture_size(width: int, height: int) -> tuple[int, int]:
    """Return the size a picture is scaled to; the longer side becomes 224, or 223 by rounding."""
    scale = max(width, height) / PICTURE
    return int(width / scale), int(height / scale)


def picture(pixels: NDArray) -> Tensor:
    """Return a picture as the authors feed it: ``(H, W) or (H, W, 3) -> (3, 224, 224)``.

    Scaled without antialiasing, pasted at the top left onto white, divided by 255. A grey one is
    copied to three channels, one of three channels keeps their order.
    """
    image = torch.from_numpy(pixels).float()
    image = image.expand(3, *image.shape) if image.ndim == 2 else image.permute(2, 0, 1)
    width, height = picture_size(image.shape[2], image.shape[1])
    small = F.interpolate(image[None], size=(height, width), mode="bilinear", align_corners=False)
    paper = torch.full((3, PICTURE, PICTURE), 255.0)
    paper[:, :height, :width] = small[0]
    return paper / 255
