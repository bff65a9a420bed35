"""An attention module of one's own, used without touching qr:

    PYTHONPATH=examples qr train attention --module "my_module:MixGate(share=0.75)"

Any class works whose first argument is the number of channels and whose forward takes a feature
map (B, C, H, W) and returns one of the same shape. A plain `nn.Module` is enough; a subclass of
`ChannelAttention`, as here, gains what the family has: one-pass gradients, use in other modules.
"""

import torch
from torch import Tensor, nn

from qr_cli.attention.modules.contract import ChannelAttention, Ctx
from qr_cli.attention.modules.gate import spatial_max_min


class MixGate(ChannelAttention):
    """Gate sigmoid(w (share max + (1 - share) min) + b): SPEM's pooling with a fixed mix."""

    squeeze_kind = "max_min"

    def __init__(self, channels: int, *, share: float = 0.5) -> None:
        super().__init__(channels)
        self.share = share
        self.w = nn.Parameter(torch.zeros(channels))
        self.b = nn.Parameter(-torch.ones(channels))

    def squeeze(self, f: Tensor) -> Tensor:
        return spatial_max_min(f)  # (B, 2, C)

    def logits(self, s: Tensor, ctx: Ctx | None = None) -> Tensor:
        largest, smallest = s.unbind(1)
        return self.w * (self.share * largest + (1 - self.share) * smallest) + self.b
