"""The single-pass product: equal to autograd's own path, and out of the way where it must be."""

import pytest
import torch
from torch import nn

from qr_cli.attention.create import create_attention
from qr_cli.attention.modules import gate as gates
from qr_cli.attention.modules.contract import Ctx

KINDS = {"mean": "se", "mean_std": "srm", "max_min": "spem", "grid": "spa", "dct": "fca"}
FORMS = [*KINDS.values(), "cbam", "lsas(se)", "sem", "ras(ie)", "stepnet", "lsas(srm)"]
FORMS += ["asr(se)", "asr(ie,delta=2)"]  # a constant gate


def moved(form, channels=16, dtype=torch.float64):
    """A module whose parameters have all left their start."""
    module = create_attention(form, channels, seed=1).to(dtype)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator).to(dtype))
    return module


def both(module, f, r, shortcut=None):
    """Output, gradient of f, of the shortcut, of every parameter; autograd's path, then ours."""
    results = []
    for backward in ("autograd", "single"):
        module.backward = backward
        module.zero_grad()
        leaf = f.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        ctx = (
            Ctx(shortcut=shortcut.detach().clone().requires_grad_())
            if shortcut is not None
            else None
        )
        out = module(leaf, ctx)
        out.backward(r)
        grads = [p.grad.clone() for p in module.parameters() if p.grad is not None]
        if ctx is not None and ctx.shortcut.grad is not None:
            grads.append(ctx.shortcut.grad)
        results.append([out.detach(), leaf.grad, *grads])
    assert len(results[0]) == len(results[1])
    return zip(*results, strict=True)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "mixed", "sliced", "expanded"])
@pytest.mark.parametrize("size", [(4, 5), (8, 4), (7, 7), (40, 40)])
@pytest.mark.parametrize("form", FORMS)
def test_single_pass_equals_autograd(form, size, layout):  # float64: only the order of sums differs
    module = moved(form)
    torch.manual_seed(0)
    f, r, shortcut = torch.randn(3, 3, 16, *size, dtype=torch.float64)
    if layout in ("channels_last", "mixed"):
        f = f.contiguous(memory_format=torch.channels_last)
    if layout == "channels_last":
        r = r.contiguous(memory_format=torch.channels_last)
    if layout == "sliced":
        f = torch.randn(3, 20, *size, dtype=torch.float64)[:, 2:18]
    if layout == "expanded":
        r = torch.ones(3, 16, 1, 1, dtype=torch.float64).expand_as(f)
    for plain, single in both(module, f, r, shortcut if form == "stepnet" else None):
        scale = max(1.0, plain.abs().max().item())
        torch.testing.assert_close(single, plain, rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("form", FORMS)
def test_single_pass_in_float32(form):
    module = moved(form, 64, torch.float32)
    f, r, shortcut = torch.randn(3, 8, 64, 16, 12)
    for plain, single in both(module, f, r, shortcut if form == "stepnet" else None):
        scale = max(1.0, plain.abs().max().item())
        # through a batch norm both paths are up to 5e-5 from float64: the gradient of cfc cancels
        loose = 1e-4 if form in ("srm", "lsas(srm)", "ras(ie)") else 1e-5
        torch.testing.assert_close(single, plain, rtol=0, atol=loose * scale)


@pytest.mark.parametrize("form", KINDS.values())
def test_numerical_gradient(form):
    module = moved(form)
    module.backward = "single"
    f = torch.randn(2, 16, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(module, (f,), fast_mode=True)
    names = [n for n, _ in module.named_parameters()]

    def call(f, *values):
        return torch.func.functional_call(module, dict(zip(names, values, strict=True)), (f,))

    values = [p.detach().clone().requires_grad_() for p in module.parameters()]
    assert torch.autograd.gradcheck(call, (f, *values), fast_mode=True)


@pytest.mark.parametrize("form", ["spem", "srm"])
def test_ties_go_to_one_position(form):
    module = moved(form)
    f = torch.randn(2, 16, 1, 1, dtype=torch.float64).expand(2, 16, 3, 4).contiguous()
    r = torch.randn_like(f)
    for plain, single in both(module, f, r):
        torch.testing.assert_close(single, plain)


def test_bf16_maps():
    module = moved("se", 16, torch.float32)
    f = torch.randn(4, 16, 6, 6).bfloat16()
    r = torch.randn(4, 16, 6, 6).bfloat16()
    for plain, single in both(module, f, r):
        assert single.dtype == plain.dtype  # one rounding to 8 bits against two or three
        torch.testing.assert_close(single.float(), plain.float(), rtol=0.03, atol=0.03)


def test_frozen_parameters_and_a_frozen_map():
    f = torch.randn(2, 16, 4, 4, dtype=torch.float64)
    module = moved("se")
    module.fc1.requires_grad_(False)
    for plain, single in both(module, f, torch.randn_like(f)):
        torch.testing.assert_close(single, plain)
    assert module.fc1.weight.grad is None
    module.requires_grad_(False)
    for plain, single in both(module, f, torch.randn_like(f)):
        torch.testing.assert_close(single, plain)
    module = moved("se")
    module.backward = "single"
    module(f).sum().backward()
    got = module.fc2.weight.grad.clone()
    module.zero_grad()
    module.backward = "autograd"
    module(f).sum().backward()
    torch.testing.assert_close(got, module.fc2.weight.grad)


class Deaf(nn.Module):
    """A gate that ignores the statistics."""

    def __init__(self):
        super().__init__()
        self.v = nn.Parameter(torch.randn(16, dtype=torch.float64))

    def forward(self, f):
        return gates.single_pass(f, "mean", lambda s: torch.sigmoid(self.v).expand_as(s))


def test_a_gate_that_ignores_the_statistics():
    module = Deaf()
    f = torch.randn(2, 16, 4, 4, dtype=torch.float64, requires_grad=True)
    r = torch.randn_like(f)
    module(f).backward(r)
    gate = torch.sigmoid(module.v.detach())[:, None, None]
    torch.testing.assert_close(f.grad, gate * r)
    want = (r * f.detach()).sum((0, 2, 3)) * (gate * (1 - gate))[:, 0, 0]
    torch.testing.assert_close(module.v.grad, want)


def test_hooks_of_parameters_and_of_the_map_fire_once():
    module = moved("se")
    module.backward = "single"
    seen = []
    for name, parameter in module.named_parameters():
        parameter.register_post_accumulate_grad_hook(lambda p, name=name: seen.append(name))
    f = torch.randn(2, 16, 4, 4, dtype=torch.float64, requires_grad=True)
    f.register_hook(lambda g: seen.append("f"))
    module(f).sum().backward()
    assert sorted(seen) == ["f", "fc1.bias", "fc1.weight", "fc2.bias", "fc2.weight"]


def test_the_map_may_have_other_users_and_the_graph_may_be_kept():
    module = moved("spem")
    f = torch.randn(2, 16, 4, 4, dtype=torch.float64)
    grads = []
    for backward in ("autograd", "single"):
        module.backward = backward
        leaf = f.clone().requires_grad_()
        loss = (module(leaf * 2) * leaf).sum() + leaf.square().sum()
        parts = [torch.autograd.grad(loss, list(module.parameters()), retain_graph=True)]
        parts += [torch.autograd.grad(loss, leaf, retain_graph=True) for _ in range(2)]
        grads.append([g for part in parts for g in part])
    for plain, single in zip(*grads, strict=True):
        torch.testing.assert_close(single, plain)


def test_a_state_used_without_the_product_gets_its_gradient():
    dia = create_attention("dia", 16).double()
    f = torch.randn(2, 16, 4, 4, dtype=torch.float64)
    grads = []
    for backward in ("autograd", "single"):
        dia.backward = backward
        leaf, ctx = f.clone().requires_grad_(), Ctx(state={})
        out = dia(leaf, ctx)
        torch.autograd.grad(out.sum(), list(dia.ih.parameters()), retain_graph=True)
        ((h, c),) = ctx.state.values()
        grads.append(torch.autograd.grad(c.sum(), leaf)[0])
    torch.testing.assert_close(*grads)


def test_double_backward_raises():
    module = moved("se")
    module.backward = "single"
    f = torch.randn(2, 16, 4, 4, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(module(f).square().sum(), f, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiated twice|once_differentiable"):
        grad.sum().backward()


def test_used_only_for_big_maps_with_gradients(monkeypatch):
    calls = []
    monkeypatch.setattr(gates, "SMALLEST", 2 * 16 * 4 * 4)
    real = gates.single_pass
    monkeypatch.setattr(gates, "single_pass", lambda *a: calls.append(1) or real(*a))
    module = create_attention("se", 16)
    big, small = torch.randn(2, 16, 4, 4), torch.randn(1, 16, 4, 4)
    with torch.no_grad():
        module(big)
    module(small)
    assert not calls
    module(big)
    assert len(calls) == 1
    module.backward = "autograd"
    module(big)
    assert len(calls) == 1
    module.backward = "single"
    module(small)
    assert len(calls) == 2


def test_out_of_the_way_of_compile_export_and_functional_transforms():
    module = create_attention("se", 16)
    module.backward = "single"
    f = torch.randn(2, 16, 4, 4)
    want = module(f)
    torch._dynamo.reset()
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(f), want)
    program = torch.export.export(module, (f,))
    assert "Function" not in str(program.graph)
    torch.testing.assert_close(program.module()(f), want)
    jacobian = torch.func.jacrev(lambda x: module(x).sum())(f)
    module.backward = "autograd"
    torch.testing.assert_close(jacobian, torch.func.jacrev(lambda x: module(x).sum())(f))
    torch.func.vmap(module)(f[None])
