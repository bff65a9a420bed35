"""Prompts to embeddings, as a Stable Diffusion pipeline does it: padded to T tokens, no mask.

Shapes: B texts, T tokens, d width of the text encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from qr_cli.errors import UsageError
from qr_cli.generate.fingerprints import final_layer_norm


class Tokens(NamedTuple):
    """Texts as numbers.

    Attributes:
        ids: (B, T), padded and cut to T.
        ends: (B,), the position of each end token.
        lengths: (B,), tokens with start and end before they were cut; above T: truncated.
    """

    ids: Tensor
    ends: Tensor
    lengths: Tensor


def encode(pipe: Any, texts: str | Sequence[str], *, clip_skip: int | None = None) -> Tensor:
    """Return the embeddings ``(B, T, d)`` of prompts, to be given as `prompt_embeds`.

    A pipeline with an adapter adapts them when it takes them; here they are as the encoder gives
    them.

    Args:
        pipe: a Stable Diffusion pipeline.
        texts: prompts.
        clip_skip: layers left out at the end; 1 is the layer before the last. Works where the
            pipeline's own argument fails (diffusers 0.42 with transformers 5).

    Raises:
        UsageError: the encoder has not that many layers.
    """
    listed = [texts] if isinstance(texts, str) else list(texts)
    return encode_texts(pipe.tokenizer, pipe.text_encoder, listed, clip_skip=clip_skip)


def encode_texts(
    tokenizer: Any, text_encoder: nn.Module, texts: Sequence[str], *, clip_skip: int | None = None
) -> Tensor:
    """Return what `encode` does, from the parts of a pipeline."""
    ids = tokenize(tokenizer, texts).ids.to(next(text_encoder.parameters()).device)
    with torch.no_grad():
        if not clip_skip:
            return text_encoder(ids)[0]
        layers = text_encoder(ids, output_hidden_states=True).hidden_states
        if not 0 < clip_skip < len(layers):
            raise UsageError(f"--clip-skip: {clip_skip} of {len(layers) - 1} layers")
        return final_layer_norm(text_encoder)(layers[-(clip_skip + 1)])


def tokenize(tokenizer: Any, texts: Sequence[str]) -> Tokens:
    """Return token ids, padded to the length the text encoder knows."""
    length = tokenizer.model_max_length
    plain = tokenizer(list(texts))["input_ids"]
    ids = tokenizer(list(texts), padding="max_length", max_length=length, truncation=True)
    lengths = torch.tensor([len(row) for row in plain])
    return Tokens(torch.tensor(ids["input_ids"]), lengths.clamp(max=length) - 1, lengths)
