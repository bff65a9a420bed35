"""The rules by which norms, gates and branches fold into convolutions: pure functions on tensors.

With s = gamma / sqrt(var + eps), per output channel o (gamma = 1, beta = 0, b = 0 where there is
none), and a constant gate v per channel:

| rule | from | to |
| --- | --- | --- |
| gate>bn | BN(x) v | gamma v, beta v |
| conv+bn | BN(conv(x)) | s W, (b - mean) s + beta |
| gate>conv | conv(x) v | v W, v b |
| gate>next | conv(x v) | W[:, i] v_i |
| seq | 1x1, then kxk | K[o, i] = sum_m K2[o, m] K1[m, i], b = sum_m b1[m] sum_hw K2[o, m] + b2 |
| pad | a smaller kernel | zeros around its centre |
| identity | x | 1 at [o, o mod i/g, centre] |
| average | mean over k x k | 1 / k^2 at [o, o mod i/g] |
| neutral-bn | + b | gamma = 1, beta = b, mean = 0, var = 1 - eps |

Call them with float64 tensors and cast the result once: folding in half precision is worse than
half precision itself. seq is exact at the border only where the map between is padded with b1.
Shapes: W is (o, i/g, kh, kw), of a transposed convolution (i, o/g, kh, kw).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

COMMUTING = ("relu", "leaky_relu", "prelu")  # act(v z) = v act(z) for v > 0


class Kernel(NamedTuple):
    """A convolution: weight and bias (o,)."""

    weight: Tensor
    bias: Tensor

    def __add__(self, other: Kernel) -> Kernel:  # type: ignore[override]  # not a concatenation
        """Return the sum of two branches."""
        return Kernel(self.weight + other.weight, self.bias + other.bias)


@dataclass(frozen=True)
class Norm:
    """A normalisation with fixed statistics: gamma, beta, mean, var (C,) and its own eps."""

    gamma: Tensor
    beta: Tensor
    mean: Tensor
    var: Tensor
    eps: float

    @property
    def scale(self) -> Tensor:
        """Return s = gamma / sqrt(var + eps)."""
        return self.gamma / torch.sqrt(self.var + self.eps)


def scale_affine(gamma: Tensor, beta: Tensor | None, v: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return gamma v and beta v: a gate behind a norm or a layer scale (gate>bn)."""
    return gamma * v, None if beta is None else beta * v


def conv_norm(
    weight: Tensor, bias: Tensor | None, norm: Norm, *, groups: int = 1, transposed: bool = False
) -> Kernel:
    """Return the convolution that does what a convolution and the norm behind it do (conv+bn)."""
    scale = norm.scale
    start = -norm.mean if bias is None else bias - norm.mean
    scaled = scale_output(weight, None, scale, groups=groups, transposed=transposed).weight
    return Kernel(scaled, start * scale + norm.beta)


def scale_output(
    weight: Tensor, bias: Tensor | None, v: Tensor, *, groups: int = 1, transposed: bool = False
) -> Kernel:
    """Return the convolution, or linear layer, whose output channels are scaled (gate>conv)."""
    if transposed:
        grouped = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
        scaled = grouped * v.reshape(groups, 1, -1, *[1] * (weight.ndim - 2))
    else:
        scaled = weight * v.reshape(-1, *[1] * (weight.ndim - 1))
    zero = torch.zeros_like(v) if bias is None else bias * v
    return Kernel(scaled.reshape(weight.shape), zero)


def scale_input(weight: Tensor, v: Tensor, *, groups: int = 1, transposed: bool = False) -> Tensor:
    """Return the weight whose input channels are scaled (gate>next)."""
    if transposed:
        return weight * v.reshape(-1, *[1] * (weight.ndim - 1))
    grouped = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    scaled = grouped * v.reshape(groups, 1, -1, *[1] * (weight.ndim - 2))
    return scaled.reshape(weight.shape)


def sequence(first: Kernel, second: Kernel, *, groups: int = 1) -> Kernel:
    """Return a 1x1 convolution (t, i/g, 1, 1) followed by a kxk one (o, t/g, k, k) as one (seq)."""
    o, inner, height, width = second.weight.shape
    a = first.weight.reshape(groups, inner, -1)  # (g, t/g, i/g)
    b = second.weight.reshape(groups, o // groups, inner, height, width)
    weight = torch.einsum("gmi,gomhw->goihw", a, b).reshape(o, -1, height, width)
    reach = torch.einsum("gm,gomhw->go", first.bias.reshape(groups, inner), b).reshape(o)
    return Kernel(weight, reach + second.bias)


def pad_to(weight: Tensor, height: int, width: int) -> Tensor:
    """Return a smaller odd kernel in the centre of zeros (pad)."""
    down, right = (height - weight.shape[2]) // 2, (width - weight.shape[3]) // 2
    return F.pad(weight, (right, right, down, down))


def identity(channels: int, per_group: int, size: int, like: Tensor) -> Tensor:
    """Return the kernel of x -> x, (channels, per_group, size, size)."""
    weight = like.new_zeros(channels, per_group, size, size)
    rows = torch.arange(channels, device=like.device)
    weight[rows, rows % per_group, size // 2, size // 2] = 1.0
    return weight


def average(channels: int, per_group: int, size: int, like: Tensor) -> Tensor:
    """Return the kernel of the mean over a window, (channels, per_group, size, size)."""
    weight = like.new_zeros(channels, per_group, size, size)
    rows = torch.arange(channels, device=like.device)
    weight[rows, rows % per_group] = 1.0 / (size * size)
    return weight


def neutral(bias: Tensor, eps: float) -> Norm:
    """Return the norm that only adds `bias` (neutral-bn)."""
    one = torch.ones_like(bias)
    return Norm(one, bias, torch.zeros_like(bias), one - eps, eps)


def commutes(activation: str, v: Tensor) -> bool:
    """Whether a gate behind an activation may go before it (gate>act)."""
    return activation in COMMUTING and bool((v > 0).all())
