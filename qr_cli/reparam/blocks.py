"""Re-parameterization blocks as one convolution, from their weights by name.

A block is given by its tensors (name inside the block -> tensor), so that a module and the keys of
a file fold by the same lines. Groups and eps are told; everything else is read off the shapes.
Read-only variants of OREPA's authors are folded too: `or1x1`, `or_large`, `orepa-vgg`.
Shapes: i input, o output channels, g groups.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from qr_cli.attention.srp.orepa import generate, separable
from qr_cli.reparam.algebra import (
    Kernel,
    Norm,
    average,
    conv_norm,
    identity,
    pad_to,
    sequence,
)

Tensors = Mapping[str, Tensor]


def fold_block(kind: str, tensors: Tensors, *, groups: int, eps: float) -> Kernel:
    """Return the convolution a block is in evaluation mode, float64.

    Args:
        kind: a key of `FOLDS`.
        tensors: weights and buffers by their name inside the block.
        groups: of its convolutions.
        eps: of its batch norms.
    """
    exact = {name: tensor.double() for name, tensor in tensors.items()}
    return FOLDS[kind](exact, groups, eps)


def norm_of(p: Tensors, name: str, eps: float) -> Norm:
    """Return the batch norm under a name."""
    return Norm(
        p[f"{name}.weight"],
        p[f"{name}.bias"],
        p[f"{name}.running_mean"],
        p[f"{name}.running_var"],
        eps,
    )


def _branch(p: Tensors, name: str, eps: float, *, size: int = 1) -> Kernel:
    """Return ``NAME.conv`` and ``NAME.bn`` as one, its kernel padded to `size`."""
    weight, bias = conv_norm(p[f"{name}.conv.weight"], None, norm_of(p, f"{name}.bn", eps))
    return Kernel(pad_to(weight, size, size) if size > weight.shape[2] else weight, bias)


def _identity(p: Tensors, name: str, eps: float, like: Tensor) -> Kernel:
    """Return a lone batch norm as a convolution of the shape of `like`."""
    eye = identity(like.shape[0], like.shape[1], like.shape[2], like)
    return conv_norm(eye, None, norm_of(p, name, eps))


def _repvgg(p: Tensors, groups: int, eps: float) -> Kernel:
    dense = _branch(p, "rbr_dense", eps)
    return _with_repvgg_sides(p, dense, eps)


def _with_repvgg_sides(p: Tensors, dense: Kernel, eps: float) -> Kernel:
    total = dense + _branch(p, "rbr_1x1", eps, size=dense.weight.shape[2])
    if "rbr_identity.weight" in p:
        total = total + _identity(p, "rbr_identity", eps, dense.weight)
    return total


def _acnet(p: Tensors, groups: int, eps: float) -> Kernel:
    size = p["square_conv.weight"].shape[2]
    parts = []
    for name in ("square", "ver", "hor"):
        weight, bias = conv_norm(
            p[f"{name}_conv.weight"], p.get(f"{name}_conv.bias"), norm_of(p, f"{name}_bn", eps)
        )
        parts.append(Kernel(pad_to(weight, size, size), bias))
    return parts[0] + parts[1] + parts[2]


def _mobileone(p: Tensors, groups: int, eps: float) -> Kernel:
    count = len({name.split(".")[1] for name in p if name.startswith("rbr_conv.")})
    total = _branch(p, "rbr_conv.0", eps)
    for number in range(1, count):
        total = total + _branch(p, f"rbr_conv.{number}", eps)
    if "rbr_scale.conv.weight" in p:
        total = total + _branch(p, "rbr_scale", eps, size=total.weight.shape[2])
    if "rbr_skip.weight" in p:
        total = total + _identity(p, "rbr_skip", eps, total.weight)
    return total


def _dbb(p: Tensors, groups: int, eps: float) -> Kernel:
    origin = _branch(p, "dbb_origin", eps)
    o, _, size, _ = origin.weight.shape
    total = origin
    if "dbb_1x1.conv.weight" in p:
        total = total + _branch(p, "dbb_1x1", eps, size=size)
    if "dbb_1x1_kxk.conv1.weight" in p:
        first = p["dbb_1x1_kxk.conv1.weight"]
    else:
        first = p["dbb_1x1_kxk.idconv1.weight"]
        first = first + identity(first.shape[0], first.shape[1], 1, first)
    total = total + sequence(
        conv_norm(first, None, norm_of(p, "dbb_1x1_kxk.bn1.bn", eps)),
        conv_norm(p["dbb_1x1_kxk.conv2.weight"], None, norm_of(p, "dbb_1x1_kxk.bn2", eps)),
        groups=groups,
    )
    mean = conv_norm(
        average(o, o // groups, size, origin.weight), None, norm_of(p, "dbb_avg.avgbn", eps)
    )
    if "dbb_avg.conv.weight" not in p:
        return total + mean
    pointwise = conv_norm(p["dbb_avg.conv.weight"], None, norm_of(p, "dbb_avg.bn.bn", eps))
    return total + sequence(pointwise, mean, groups=groups)


def _orepa(p: Tensors, groups: int, eps: float) -> Kernel:
    return conv_norm(orepa_kernel(p, groups), None, norm_of(p, "bn", eps))


def orepa_kernel(p: Tensors, groups: int) -> Tensor:
    """Return K of an OREPA block, before its batch norm."""
    return generate(p, groups=groups)


def _or1x1(p: Tensors, groups: int, eps: float) -> Kernel:
    return conv_norm(or1x1_kernel(p), None, norm_of(p, "bn", eps))


def or1x1_kernel(p: Tensors) -> Tensor:
    """Return K = p0 W + p1 conv2 conv1, as matrices, (o, i, 1, 1)."""
    product = p["weight_or1x1_l2i_conv2"].flatten(1) @ p["weight_or1x1_l2i_conv1"].flatten(1)
    rows = p["vector"][:, :, None, None, None]
    return rows[0] * p["weight_or1x1_origin"] + rows[1] * product[:, :, None, None]


def _or_large(p: Tensors, groups: int, eps: float) -> Kernel:
    return conv_norm(or_large_kernel(p), None, norm_of(p, "bn", eps))


def or_large_kernel(p: Tensors) -> Tensor:
    """Return K of a chain of 3x3 layers: full correlation with each next layer, g = 1.

    The next layer is not flipped, so this is not the composition of the convolutions; it is what
    the authors trained.
    """
    layers: list[Tensor] = []
    while (layer := _layer(p, len(layers))) is not None:
        layers.append(layer)
    kernel = layers[0]
    for layer in layers[1:]:
        kernel = F.conv2d(kernel.transpose(0, 1), layer, padding=2).transpose(0, 1)
    return kernel


def _layer(p: Tensors, number: int) -> Tensor | None:
    """Return ``weightN``, plain or an OREPA kernel itself."""
    if f"weight{number}" in p:
        return p[f"weight{number}"]
    inside = f"weight{number}."
    if f"{inside}weight_orepa_origin" not in p:
        return None
    return generate(
        {k.removeprefix(inside): v for k, v in p.items() if k.startswith(inside)}, groups=1
    )


def _orepa_vgg(p: Tensors, groups: int, eps: float) -> Kernel:
    dense = conv_norm(orepa_vgg_kernel(p, groups), None, norm_of(p, "rbr_dense.bn", eps))
    return _with_repvgg_sides(p, dense, eps)


def orepa_vgg_kernel(p: Tensors, groups: int) -> Tensor:
    """Return K of the dense branch: rows origin, avg, prior, 1x1_kxk, dw-pw; a sixth is ignored."""
    q = {
        re.sub(r"^rbr_dense\.(weight_rbr_)?", "", name): tensor
        for name, tensor in p.items()
        if name.startswith("rbr_dense.")
    }
    rows = q["vector"][:, :, None, None, None]
    origin = q["origin"]
    size = origin.shape[2]
    mean = q.get("avg_avg", origin.new_full((size, size), 1.0 / (size * size)))
    kernel = rows[0] * origin + rows[1] * (q["avg_conv"] * mean)
    kernel = kernel + rows[2] * (q["pfir_conv"] * q["prior"][:, None])
    if "1x1_kxk_idconv1" in q:
        first = q["1x1_kxk_idconv1"]
        first = first + identity(first.shape[0], first.shape[1], 1, first)
    else:
        first = q["1x1_kxk_conv1"]
    zeros = first.new_zeros(first.shape[0])
    second = Kernel(q["1x1_kxk_conv2"], origin.new_zeros(origin.shape[0]))
    kernel = kernel + rows[3] * sequence(Kernel(first, zeros), second, groups=groups).weight
    if groups == 1 and "gconv_dw" in q:
        kernel = kernel + rows[4] * separable(q["gconv_dw"], q["gconv_pw"], groups=1)
    return kernel


FOLDS: dict[str, Callable[[Tensors, int, float], Kernel]] = {
    "repvgg": _repvgg,
    "acnet": _acnet,
    "dbb": _dbb,
    "mobileone": _mobileone,
    "orepa": _orepa,
    "or1x1": _or1x1,
    "or_large": _or_large,
    "orepa-vgg": _orepa_vgg,
}


def asr_gate(p: Tensors) -> Tensor:
    """Return v of an official ASR batch norm: sigmoid(fc2(relu(fc1(vector)))), float64 (C,)."""
    q = {name: tensor.double() for name, tensor in p.items()}
    fc = "attention_module.fc"
    hidden = torch.relu(
        F.linear(q["vector"].reshape(-1, q[f"{fc}1.weight"].shape[1]), q[f"{fc}1.weight"],
                 q.get(f"{fc}1.bias"))
    )  # fmt: skip
    gate = torch.sigmoid(F.linear(hidden, q[f"{fc}2.weight"], q.get(f"{fc}2.bias")))
    return gate.prod(0)
