"""Every fold rule in float64 over random convolutions, against loops and against the network."""

import itertools
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qr_cli.attention.names import SRP
from qr_cli.attention.srp.block import Shape
from qr_cli.reparam import algebra
from qr_cli.reparam.algebra import Kernel, Norm
from qr_cli.reparam.blocks import fold_block
from tests.reference import fold as reference
from tests.reparam.nets import drawn

CASES = range(60)  # random convolutions
EXACT = 1e-12


def case(number: int) -> dict:
    """Draw the shape of a convolution."""
    draw = random.Random(number)
    groups = draw.choice([1, 1, 2, 4])
    kernel = draw.choice([1, 3, 5])
    return {
        "i": groups * draw.choice([1, 2, 3]),
        "o": groups * draw.choice([1, 2, 3]),
        "kernel": kernel,
        "groups": groups,
        "stride": draw.choice([1, 2]),
        "dilation": draw.choice([1, 1, 2]),
        "padding": draw.choice([0, kernel // 2]),
        "bias": draw.choice([True, False]),
        "eps": draw.choice([1e-5, 1e-3]),
        "mode": draw.choice(["zeros", "reflect", "replicate", "circular"]),
        "affine": draw.choice([True, True, False]),
    }


def make(c: dict, *, transposed: bool = False) -> tuple[nn.Module, nn.BatchNorm2d]:
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    more = {} if transposed else {"padding_mode": c["mode"]}
    conv = kind(
        c["i"], c["o"], c["kernel"], c["stride"], c["padding"],
        dilation=c["dilation"], groups=c["groups"], bias=c["bias"], **more,
    )  # fmt: skip
    norm = drawn(nn.BatchNorm2d(c["o"], eps=c["eps"], affine=c["affine"]))
    return conv.double(), norm.double()


def norm_of(m: nn.BatchNorm2d) -> Norm:
    one = torch.ones_like(m.running_mean)
    gamma, beta = (one, 0 * one) if m.weight is None else (m.weight.detach(), m.bias.detach())
    return Norm(gamma, beta, m.running_mean, m.running_var, m.eps)


def with_weights(conv: nn.Module, kernel: Kernel) -> nn.Module:
    conv.weight = nn.Parameter(kernel.weight)
    conv.bias = nn.Parameter(kernel.bias)
    return conv


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / a.abs().max().clamp(min=1e-300))


@pytest.mark.parametrize("number", CASES)
@pytest.mark.parametrize("transposed", [False, True])
def test_a_batch_norm_and_a_gate_fold_into_any_convolution(number: int, transposed: bool) -> None:
    torch.manual_seed(number)
    c = case(number)
    conv, norm = make(c, transposed=transposed)
    x = torch.randn(2, c["i"], 12, 11, dtype=torch.float64)
    v = torch.ones(c["o"], dtype=torch.float64)
    for _ in range(1 + number % 3):  # delta
        v = v * torch.rand(c["o"], dtype=torch.float64)
    how = {"groups": c["groups"], "transposed": transposed}
    with torch.no_grad():
        before = norm(conv(x)) * v[:, None, None]
        kernel = algebra.conv_norm(conv.weight, conv.bias, norm_of(norm), **how)
        bias = None if conv.bias is None else conv.bias.numpy()
        w, b = reference.conv_norm(
            conv.weight.numpy(), bias, *(t.numpy() for t in norm_of(norm).__dict__.values()
                                         if isinstance(t, Tensor)), norm.eps, **how
        )  # fmt: skip
        assert np.abs(kernel.weight.numpy() - w).max() <= EXACT
        assert np.abs(kernel.bias.numpy() - b).max() <= EXACT
        kernel = algebra.scale_output(*kernel, v, **how)
        folded = with_weights(conv, kernel)
        assert relative(before, folded(x)) <= EXACT
        single = folded.float()(x.float())
        assert relative(before, single.double()) <= 1e-5


@pytest.mark.parametrize("number", CASES)
def test_a_gate_moves_on_into_the_next_convolution(number: int) -> None:
    torch.manual_seed(number)
    c = case(number) | {"mode": random.Random(number).choice(["zeros", "reflect", "replicate"])}
    conv, _ = make(c)
    x = torch.randn(2, c["i"], 12, 11, dtype=torch.float64)
    v = torch.rand(c["i"], dtype=torch.float64)
    with torch.no_grad():
        before = conv(x * v[:, None, None])
        weight = algebra.scale_input(conv.weight, v, groups=c["groups"])
        expected = reference.scale_input(conv.weight.numpy(), v.numpy(), groups=c["groups"])
        assert np.abs(weight.numpy() - expected).max() <= EXACT
        conv.weight.copy_(weight)
        assert relative(before, conv(x)) <= EXACT


@pytest.mark.parametrize("groups", [1, 2])
def test_a_gate_moves_on_into_a_transposed_convolution(groups: int) -> None:
    conv = nn.ConvTranspose2d(4, 6, 3, groups=groups).double()
    x, v = torch.randn(2, 4, 5, 5).double(), torch.rand(4).double()
    with torch.no_grad():
        before = conv(x * v[:, None, None])
        conv.weight.copy_(algebra.scale_input(conv.weight, v, groups=groups, transposed=True))
        assert relative(before, conv(x)) <= EXACT


@pytest.mark.parametrize("number", range(12))
def test_two_convolutions_become_one_where_the_border_is_padded_with_the_bias(number: int) -> None:
    torch.manual_seed(number)
    groups, k = random.Random(number).choice([1, 2]), random.Random(number).choice([3, 5])
    first = Kernel(torch.randn(4, 4 // groups, 1, 1).double(), torch.randn(4).double())
    second = Kernel(torch.randn(6, 4 // groups, k, k).double(), torch.randn(6).double())
    made = algebra.sequence(first, second, groups=groups)
    w, b = reference.sequence(*(t.numpy() for t in (*first, *second)), groups=groups)
    assert np.abs(made.weight.numpy() - w).max() <= EXACT
    assert np.abs(made.bias.numpy() - b).max() <= EXACT
    x = torch.randn(2, 4, 7, 7).double()
    inner = F.conv2d(x, *first, groups=groups)
    p = k // 2
    padded = first.bias[None, :, None, None].expand(2, 4, 7 + 2 * p, 7 + 2 * p).clone()
    padded[:, :, p:-p, p:-p] = inner
    before = F.conv2d(padded, *second, groups=groups)
    after = F.conv2d(x, *made, padding=p, groups=groups)
    assert relative(before, after) <= EXACT
    zeros = F.conv2d(F.pad(inner, [p] * 4), *second, groups=groups)
    assert relative(zeros, after) > 1e-3  # only at the border, only with the wrong padding
    assert relative(zeros[:, :, p:-p, p:-p], after[:, :, p:-p, p:-p]) <= EXACT


def test_identity_average_and_padding_are_kernels() -> None:
    x = torch.randn(2, 6, 7, 7).double()
    for groups in (1, 2, 6):
        eye = algebra.identity(6, 6 // groups, 3, x)
        assert torch.equal(F.conv2d(x, eye, padding=1, groups=groups), x)
        mean = algebra.average(6, 6 // groups, 3, x)
        torch.testing.assert_close(
            F.conv2d(x, mean, padding=1, groups=groups),
            F.avg_pool2d(x, 3, 1, 1),
            rtol=0,
            atol=1e-14,
        )
    for size in ((1, 1), (3, 1), (1, 3)):
        small = torch.randn(4, 6, *size).double()
        big = algebra.pad_to(small, 5, 5)
        half = (size[0] // 2, size[1] // 2)
        torch.testing.assert_close(
            F.conv2d(x, big, padding=2), F.conv2d(x, small, padding=half), rtol=0, atol=1e-13
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_neutral_batch_norm_adds_its_bias_and_nothing_else(dtype: torch.dtype) -> None:
    bias = torch.randn(5, dtype=dtype)
    n = algebra.neutral(bias, 1e-5)
    x = torch.randn(2, 5, 4, 4, dtype=dtype)
    y = F.batch_norm(x, n.mean, n.var, n.gamma, n.beta, eps=n.eps)
    assert torch.equal(y, x + bias[:, None, None])


def test_gates_commute_with_these_activations_and_no_other() -> None:
    x = 4 * torch.randn(2, 5, 8, 8).double()
    v = torch.rand(5).double()
    scale = v[:, None, None]
    passing = {"relu": F.relu, "leaky_relu": F.leaky_relu,
               "prelu": nn.PReLU().double().requires_grad_(False)}  # fmt: skip
    for name, act in passing.items():
        assert algebra.commutes(name, v)
        assert relative(act(x) * scale, act(x * scale)) <= EXACT
    for act in (F.relu6, F.silu, F.gelu, F.hardswish):
        assert not algebra.commutes(act.__name__, v)
        assert relative(act(x) * scale, act(x * scale)) > 0.01
    assert not algebra.commutes("relu", v - 0.5)


def test_norms_and_layer_scales_carry_a_gate() -> None:
    x, v = torch.randn(2, 6, 4, 4).double(), torch.rand(6).double()
    norms = [drawn(nn.BatchNorm2d(6)).double(), nn.GroupNorm(3, 6).double()]
    for norm in norms:
        before = norm(x) * v[:, None, None]
        gamma, beta = algebra.scale_affine(norm.weight, norm.bias, v)
        norm.weight.data, norm.bias.data = gamma, beta
        assert relative(before.detach(), norm(x).detach()) <= EXACT
    layer = nn.LayerNorm(6).double()
    rows = torch.randn(3, 6).double()
    before = layer(rows) * v
    gamma, beta = algebra.scale_affine(layer.weight, layer.bias, v)
    layer.weight.data, layer.bias.data = gamma, beta
    assert relative(before.detach(), layer(rows).detach()) <= EXACT


SHAPES = [
    Shape(4, 4),
    Shape(4, 6, stride=2, eps=1e-3),
    Shape(4, 8, groups=2),
    Shape(4, 4, dilation=2),
    Shape(4, 4, groups=4),
    Shape(6, 6, groups=6, stride=2, dilation=2),
]


@pytest.mark.parametrize(
    ("kind", "shape"), list(itertools.product(SRP.entries, SHAPES)), ids=lambda v: str(v)[:60]
)
def test_a_block_folds_exactly_the_border_included(kind: str, shape: Shape) -> None:
    torch.manual_seed(0)
    block = drawn(SRP.load(kind)(shape)).double()
    if kind == "orepa":
        nn.init.normal_(block.vector)
    for name, weight in block.named_parameters():
        if "idconv1" in name:
            nn.init.normal_(weight, 0, 0.3)
    kernel = fold_block(kind, block.state_dict(), groups=shape.groups, eps=shape.eps)
    x = torch.randn(2, shape.in_channels, 9, 8).double()
    with torch.no_grad():
        before = block(x)
        after = F.conv2d(x, *kernel, shape.stride, shape.padding, shape.dilation, shape.groups)
        assert relative(before, after) <= EXACT
        assert relative(before[:, :, 0], after[:, :, 0]) <= EXACT  # the border alone


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("kind", ["repvgg", "acnet", "mobileone", "orepa"])
def test_blocks_fold_with_other_paddings_too(kind: str, mode: str) -> None:
    shape = Shape(4, 4, padding_mode=mode)
    block = drawn(SRP.load(kind)(shape)).double()
    kernel = fold_block(kind, block.state_dict(), groups=1, eps=shape.eps)
    conv = nn.Conv2d(4, 4, 3, padding=1, padding_mode=mode).double()
    x = torch.randn(2, 4, 7, 7).double()
    with torch.no_grad():
        assert relative(block(x), with_weights(conv, kernel)(x)) <= EXACT
