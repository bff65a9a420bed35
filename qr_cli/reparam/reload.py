"""Read the written files back from disk and compare them with the original."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from qr_cli.attention.load import load as load_attention
from qr_cli.engine.checkpoint import read_card
from qr_cli.errors import RunFailed
from qr_cli.reparam.load import load as load_reparam
from qr_cli.reparam.verifying import HALF, SINGLE, outputs, relative


@torch.no_grad()
def require_equal_files(
    original: nn.Module, folder: Path, backbone: nn.Module | None, example: Tensor
) -> None:
    """Raise RunFailed when a written file does not compute what the original does.

    Args:
        original: the network before folding.
        folder: with model.safetensors, model.json and maybe plain.safetensors.
        backbone: the plain network of the library, to load the latter into.
        example: an input; only its shape matters.
    """
    loader = load_reparam if read_card(folder).get("task") == "reparam" else load_attention
    nets = {"model.safetensors": loader(folder)}
    if backbone is not None and (folder / "plain.safetensors").is_file():
        plain = deepcopy(backbone)
        plain.load_state_dict(load_file(folder / "plain.safetensors"), strict=True)
        nets["plain.safetensors"] = plain
    weight = next(original.parameters())
    x = torch.randn((2, *example.shape[1:]), generator=torch.Generator().manual_seed(2))
    x = x.to(weight.device, weight.dtype)
    limit = HALF.get(weight.dtype, SINGLE)
    for name, net in nets.items():
        again = net.to(weight.device, weight.dtype).eval()
        pairs = zip(outputs(original(x)), outputs(again(x)), strict=True)
        error = max(relative(a, b) for a, b in pairs)
        if not error <= limit:
            raise RunFailed(
                f"{name}, read back, is not equal: {error:.1e} over {limit:g}; nothing was written"
            )
