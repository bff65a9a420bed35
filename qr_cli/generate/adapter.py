"""SUR-adapter: moves a sentence's embedding towards that of keywords.

Zhong, Huang, Wen, Qin, Lin: "SUR-adapter: Enhancing Text-to-Image Pre-trained Diffusion Models with
Large Language Models" (ACM MM 2023, arXiv 2305.05189). x is the last hidden state of a frozen CLIP
text encoder, after its final layer norm:

    t   = encoder(x)                          two post-norm transformer layers            step 1
    q   = Wq t + bq,  k = Wk x + bk,  v = x   no value projection                         step 2
    A   = softmax(q k^T / sqrt(d))            tokens x tokens, one head                   step 3
    w   = A x + x                                                                         step 4
    r   = W2 relu(W1 w + b1) + b2 + w                                                     step 5
    z   = Wf r + bf                           Wf starts at 0                              step 6
    out = eta z + (1 - eta) x                 conditions the U-Net                        step 7

t enters the output only as the query of step 3; the values are raw x. What a language model teaches
t can steer where the adapter looks, not what it copies.

Differs from the authors' code: the encoder of step 1 attends along the tokens of a sequence; theirs
passes (B, T, d) to a sequence-first encoder, so that equal positions of different sequences attend
to each other (``attention_axis="batch"``). Their 14 tensors without a use do not exist here; the
other 34 have their names.
Shapes: B sequences, T tokens, d width of the text encoder.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F

Axis = Literal["token", "batch", "none"]


class AdapterOutput(NamedTuple):
    """What the adapter makes of a text embedding; all (B, T, d).

    Attributes:
        out: what conditions the U-Net.
        t: what a language model is distilled into.
        z: the adapted part of `out`.
    """

    out: Tensor
    t: Tensor
    z: Tensor


class SURAdapter(ModelMixin, ConfigMixin):
    """A network behind a frozen text encoder, ``(B, T, d) -> AdapterOutput``.

    Computes in the dtype of its weights, also under autocast, and returns the dtype of its input.

    Args:
        hidden_size: d, the width of the text encoder; divisible by `num_heads`.
        num_layers: of the encoder in step 1.
        num_heads: of the encoder in step 1.
        ffn_dim: inner width of its layers.
        dropout: of its layers.
        eta: how much of `z` there is in `out`, unless `forward` is told.
        attention_axis: along what step 1 attends: the tokens of a sequence, the sequences of a
            batch (as released), or nothing but the token itself (as released at batch size 1).
        adapt_negative: whether a pipeline's negative prompt is adapted too.
        max_tokens: T of the text encoder; longer prompts are adapted in chunks of it.
        base_name: of the model it was trained for.
        base_text_fingerprint: of that model's text encoder.
        base_unet_fingerprint: of that model's U-Net.
        format_version: of this list.
    """

    @register_to_config
    def __init__(
        self,
        hidden_size: int,
        num_layers: int = 2,
        num_heads: int = 8,
        ffn_dim: int = 2048,
        dropout: float = 0.1,
        eta: float = 0.1,
        attention_axis: str = "token",
        adapt_negative: bool = True,
        max_tokens: int = 77,
        base_name: str = "",
        base_text_fingerprint: str = "",
        base_unet_fingerprint: str = "",
        format_version: int = 1,
    ) -> None:
        super().__init__()
        if hidden_size % num_heads:
            raise ValueError(f"hidden_size {hidden_size} is not divisible by {num_heads} heads")
        if attention_axis not in get_args(Axis):
            raise ValueError(f"attention_axis is none of {get_args(Axis)}: {attention_axis!r}")
        layer = nn.TransformerEncoderLayer(
            hidden_size, num_heads, ffn_dim, dropout, batch_first=True
        )
        # copies one layer: both start with the same weights, as released
        self.transformer_encoder = nn.TransformerEncoder(
            layer, num_layers, enable_nested_tensor=False
        )
        self.attention = _QueryAttention(hidden_size)
        self.fc = nn.Linear(hidden_size, hidden_size)
        nn.init.zeros_(self.fc.weight)

    def forward(self, x: Tensor, eta: float | None = None) -> AdapterOutput:
        """Adapt text embeddings.

        Args:
            x: last hidden states of the text encoder.
            eta: instead of the configured one; at 0 `out` is `x` itself.
        """
        eta = self.config.eta if eta is None else eta
        with torch.autocast(x.device.type, enabled=False):
            inner = x.to(self.fc.weight.dtype)
            t = self.encode(inner)
            z = self.fc(self.attention(t, inner))
            out = x if eta == 0 else (eta * z + (1 - eta) * inner).to(x.dtype)
        return AdapterOutput(out, t.to(x.dtype), z.to(x.dtype))

    def encode(self, x: Tensor) -> Tensor:
        """Return t, attending along the configured axis (step 1)."""
        axis = self.config.attention_axis
        if axis == "batch":
            return self.transformer_encoder(x.transpose(0, 1)).transpose(0, 1)
        if axis == "none":
            return self.transformer_encoder(x.reshape(-1, 1, x.shape[-1])).view_as(x)
        return self.transformer_encoder(x)


class _QueryAttention(nn.Module):
    """Steps 2 to 5: tokens of x, weighted by how well they answer t, then two dense layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query_layer = nn.Linear(width, width)
        self.key_layer = nn.Linear(width, width)
        self.output_layer = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
        )

    def weights(self, t: Tensor, x: Tensor) -> Tensor:
        """Return A of step 3: ``(B, T, T)``, rows are queries."""
        scores = self.query_layer(t) @ self.key_layer(x).transpose(1, 2)
        return F.softmax(scores / math.sqrt(x.shape[-1]), dim=-1)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        w = self.weights(t, x) @ x + x
        return self.output_layer(w) + w
