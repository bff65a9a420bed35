"""What a base model is known by: short digests of a few of its weights.

The weights are rounded to float16 first, so that copies of one model in float16 and float32 agree.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor, nn

from qr_cli.errors import WeightsError

ROWS = 64  # of the token table


def final_layer_norm(text_encoder: nn.Module) -> nn.Module:
    """Return the layer norm behind the last block, wherever a version of transformers keeps it.

    Raises:
        WeightsError: there is none.
    """
    for name, module in text_encoder.named_modules():
        if name.endswith("final_layer_norm"):
            return module
    raise WeightsError(f"{type(text_encoder).__name__} has no final layer norm: not a CLIP encoder")


def text_fingerprint(text_encoder: nn.Module) -> str:
    """Return the digest of the final layer norm and of 64 rows of the token table."""
    norm: Any = final_layer_norm(text_encoder)
    table: Tensor = text_encoder.get_input_embeddings().weight  # type: ignore[operator]
    rows = torch.arange(ROWS, device=table.device) * len(table) // ROWS  # evenly strided
    return digest([norm.weight, norm.bias, table[rows]])


def unet_fingerprint(unet: nn.Module) -> str:
    """Return the digest of the first and the last convolution."""
    model: Any = unet
    return digest([model.conv_in.weight, model.conv_out.weight])


def weights_digest(module: nn.Module) -> str:
    """Return the digest of all weights, in the order of their names."""
    return digest([tensor for _, tensor in sorted(module.state_dict().items())])


def digest(tensors: list[Tensor]) -> str:
    """Return the sha256 of tensors, rounded to float16."""
    sha = hashlib.sha256()
    for tensor in tensors:
        sha.update(tensor.detach().to("cpu", torch.float16).contiguous().numpy().tobytes())
    return sha.hexdigest()
