"""What folded weights may be bad for: half precision and eight-bit integers.

    spread r = max_o m_o / median_o m_o,   m_o = max |W[o]|

A layer is named when its spread after folding is over 10 and over twice that before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from qr_cli.attention.srp.block import Block

HALF_MAX, HALF_MIN = 65504.0, 6.1e-5
SPREAD, FACTOR, SHARE = 10.0, 2.0, 0.01


@torch.no_grad()
def spreads(model: nn.Module) -> dict[str, float]:
    """Return the spread of every convolution and linear layer, of a block that of its main one."""
    found: dict[str, float] = {}
    blocks: list[str] = []
    for name, module in model.named_modules():
        if name.startswith(tuple(f"{b}." for b in blocks)):
            continue
        weight: Any = None
        if isinstance(module, Block):
            blocks.append(name)
            weight, _ = module.main()
        elif isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
            weight = module.weight
        if weight is None or weight.shape[0] < 2:
            continue
        m = weight.double().abs().flatten(1).amax(1)
        found[name] = float(m.max() / m.median().clamp(min=1e-300))
    return found


@torch.no_grad()
def warnings(original: nn.Module, folded: nn.Module) -> Iterator[str]:
    """Yield what a user who goes on to half precision or integers should know."""
    for name, tensor in folded.state_dict().items():
        if not tensor.is_floating_point() or name.endswith("running_var"):
            continue
        w = tensor.double().abs()
        if bool((w > HALF_MAX).any()):
            yield f"{name} has weights over {HALF_MAX:g}: not for float16"
        nonzero = w[w > 0]
        if len(nonzero) and float((nonzero < HALF_MIN).double().mean()) > SHARE:
            yield f"{name}: over 1 % of the weights are under {HALF_MIN:g}: not for float16"
    before, after = spreads(original), spreads(folded)
    wide = [
        name for name, r in after.items() if r > SPREAD and r > FACTOR * before.get(name, torch.inf)
    ]
    if wide:
        yield (
            f"weights spread more than before in {len(wide)} layers ({', '.join(wide[:3])}): "
            "folded multi-branch nets quantise badly; no INT8 promise is made"
        )
