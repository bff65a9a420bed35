"""OREPA block (Hu et al. 2022, arXiv 2204.00826): branches are merged before the convolution.

    y = BN(conv(x, K)),   p_j = row j of `vector`, per output channel
    K = p0 origin + p1 (avg_conv / k^2) + p2 (pfir_conv x prior) + p3 seq(I + D, conv2)
      + p4 pad(1x1) + p5 dwpw(dw, pw)

so training runs one convolution and one BN. `prior` is a cosine along the height for the first half
of the channels, along the width for the second. For g > 1 dwpw is a depthwise and a pointwise
convolution with the rows of the latter permuted, as in the authors' code: their checkpoints depend
on it. K is made with autocast off [ours]. k = 3 only (the authors' prior is defined for no other).
Shapes: i input, o output channels, g groups, t inner width, k = 3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qr_cli.attention.modules.contract import precise
from qr_cli.attention.srp.block import Block, Shape, identity_kernel

EXPANSION = 8  # depthwise filters per channel
START = (0.25, 0.25, 0.0, 0.5, 1.0, 0.5)  # of the rows of `vector`; official


class OREPA(Block):
    """One convolution whose kernel is a learned sum of six."""

    kind = "orepa"
    deploy_name = "orepa_reparam"
    kernels = (3,)
    provenance: ClassVar = {"vector": "official", "kernel in full precision": "ours"}

    id_tensor: Tensor
    weight_orepa_avg_avg: Tensor
    weight_orepa_prior: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        i, o, g, k = shape.in_channels, shape.out_channels, shape.groups, shape.kernel
        inner = i if g <= 4 else 2 * i
        sizes = {
            "weight_orepa_origin": (o, i // g, k, k),
            "weight_orepa_avg_conv": (o, i // g, 1, 1),
            "weight_orepa_pfir_conv": (o, i // g, 1, 1),
            "weight_orepa_1x1": (o, i // g, 1, 1),
            "weight_orepa_1x1_kxk_idconv1": (inner, i // g, 1, 1),
            "weight_orepa_1x1_kxk_conv2": (o, inner // g, k, k),
            "weight_orepa_gconv_dw": (EXPANSION * i, 1, k, k),
            "weight_orepa_gconv_pw": (o, EXPANSION * i // g, 1, 1),
        }
        for name, size in sizes.items():
            weight = nn.Parameter(torch.empty(size))
            if name.endswith("idconv1"):
                nn.init.zeros_(weight)
            else:
                nn.init.kaiming_uniform_(weight)
            self.register_parameter(name, weight)
        self.vector = nn.Parameter(torch.tensor(START)[:, None].repeat(1, o))
        origin = self.get_parameter("weight_orepa_origin").detach()
        self.register_buffer("id_tensor", identity_kernel(inner, i // g, origin))
        self.register_buffer("weight_orepa_avg_avg", origin.new_full((k, k), 1.0 / (k * k)))
        self.register_buffer("weight_orepa_prior", prior(o).to(origin.device, origin.dtype))
        self.bn = self.new_norm(o)

    def kernel(self) -> Tensor:
        """Return K, (o, i/g, k, k)."""
        parts = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        with precise(self.vector):
            return generate(parts, groups=self.shape.groups)

    def forward(self, x: Tensor) -> Tensor:
        """(B, i, H, W) -> (B, o, H', W')."""
        s, kernel = self.shape, self.kernel()
        padding = s.padding
        if s.padding_mode != "zeros":
            x, padding = F.pad(x, [padding] * 4, mode=s.padding_mode), 0
        y: Tensor = self.bn(F.conv2d(x, kernel, None, s.stride, padding, s.dilation, s.groups))
        return y

    @torch.no_grad()
    def preserve(self, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        """Become the function of `conv` and `norm`: rows of `vector` 1, 0, 0, 0, 0, 0."""
        super().preserve(conv, norm)
        self.vector.zero_()
        self.vector[0] = 1.0

    def main(self) -> tuple[Tensor, nn.BatchNorm2d]:
        """Return the dense kernel and the one BN."""
        return self.get_parameter("weight_orepa_origin"), self.bn

    def sides(self) -> list[nn.BatchNorm2d]:
        """Return nothing: there is no other BN."""
        return []


def generate(parts: Mapping[str, Tensor], *, groups: int) -> Tensor:
    """Return K, (o, i/g, k, k), from weights and buffers by name."""
    p = parts["vector"][:, :, None, None, None]  # (6, o, 1, 1, 1)
    origin = parts["weight_orepa_origin"]
    side = (origin.shape[2] - 1) // 2
    first = parts["weight_orepa_1x1_kxk_idconv1"] + parts["id_tensor"]
    return (
        p[0] * origin
        + p[1] * (parts["weight_orepa_avg_conv"] * parts["weight_orepa_avg_avg"])
        + p[2] * (parts["weight_orepa_pfir_conv"] * parts["weight_orepa_prior"][:, None])
        + p[3] * composed(first, parts["weight_orepa_1x1_kxk_conv2"], groups=groups)
        + p[4] * F.pad(parts["weight_orepa_1x1"], [side] * 4)
        + p[5]
        * separable(parts["weight_orepa_gconv_dw"], parts["weight_orepa_gconv_pw"], groups=groups)
    )


def composed(first: Tensor, second: Tensor, *, groups: int) -> Tensor:
    """Return the kernel of a 1x1 convolution (t, i/g, 1, 1), then (o, t/g, k, k), without biases.

    Per group K[o, i] = sum_m second[o, m] first[m, i], (o, i/g, k, k).
    """
    o, _, height, width = second.shape
    a = first.reshape(groups, -1, first.shape[1])  # (g, t/g, i/g)
    b = second.reshape(groups, o // groups, -1, height, width)  # (g, o/g, t/g, k, k)
    return torch.einsum("gmi,gomhw->goihw", a, b).reshape(o, first.shape[1], height, width)


def separable(depthwise: Tensor, pointwise: Tensor, *, groups: int) -> Tensor:
    """Return dwpw, (8i, 1, k, k) and (o, 8i/g, 1, 1) -> (o, i/g, k, k).

    D[c, q, j] = sum_t dw[c, j, t] pw[q, c, j, t] at output row c (o/g) + q.
    """
    o, k = pointwise.shape[0], depthwise.shape[-1]
    dw = depthwise.reshape(groups, -1, EXPANSION, k, k)  # (g, i/g, 8, k, k)
    pw = pointwise.reshape(o // groups, groups, -1, EXPANSION)  # (o/g, g, i/g, 8)
    return torch.einsum("cjthw,qcjt->cqjhw", dw, pw).reshape(o, -1, k, k)


def prior(channels: int) -> Tensor:
    """Return the fixed cosines, float32 (o, 3, 3)."""
    half = channels / 2
    at = (torch.arange(3, dtype=torch.float64) + 0.5) * math.pi / 3
    number = torch.arange(channels, dtype=torch.float64)
    tall = torch.cos(at[None] * (number[:, None] + 1))[:, :, None].expand(-1, 3, 3)
    wide = torch.cos(at[None] * (number[:, None] + 1 - half))[:, None, :].expand(-1, 3, 3)
    return torch.where((number < half)[:, None, None], tall, wide).float()
