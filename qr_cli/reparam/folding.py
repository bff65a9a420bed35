"""Fold a network: gates and blocks into what feeds them, batch norms into convolutions.

Everything is computed on a float64 copy on the CPU and cast once to each weight's own dtype; the
network itself is not touched. Two forms come of it: *plain* keeps the batch norms, so it has the
keys, shapes and size of the plain backbone and can be trained on; *bare* has them folded too.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from qr_cli.attention.backbones.batch_norm import BatchNormAttn, PassThrough
from qr_cli.attention.folded import ChannelScale, Passing, clear_gates, strip
from qr_cli.attention.modules.chain import Chain
from qr_cli.attention.modules.contract import ChannelAttention
from qr_cli.attention.srp.block import Block
from qr_cli.reparam import algebra
from qr_cli.reparam.algebra import Kernel, Norm
from qr_cli.reparam.blocks import fold_block
from qr_cli.reparam.planning import Step, constant_gates, exact_copy, gate_value, steps_of


@dataclass(frozen=True)
class Site:
    """A place where something was folded: `entry` to `exit` became `parts`, by module name."""

    name: str
    entry: str
    exit: str
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """A folded network.

    Attributes:
        model: in the original's dtypes and on its device, in evaluation mode.
        plain_state: state dict of the plain form; None with `plain_reason`.
        plain_reason: why there is none.
        steps: what was folded and what was not.
        exact: the same network as `model` in float64, on the CPU.
        plain: the plain form as a network; None like `plain_state`.
        form: what `attention.folded.apply_form` needs to build `model` from the plain network.
        sites: where to look when it should not be equal.
    """

    model: nn.Module
    plain_state: dict[str, Tensor] | None
    plain_reason: str | None
    steps: list[Step]
    exact: nn.Module
    plain: nn.Module | None
    form: dict[str, Any] = field(default_factory=dict)
    sites: tuple[Site, ...] = ()

    @property
    def folded(self) -> list[Step]:
        """Return the steps that were taken."""
        return [step for step in self.steps if step.status == "fold"]


@torch.no_grad()
def fold(model: nn.Module, example: Tensor, *, keep_bn: bool = False) -> Result:
    """Return the folded network; `model` stays as it is.

    Args:
        model: a network, of any mode, precision and device.
        example: an input it accepts, (B, ...).
        keep_bn: leave batch norms where they are: the result is the plain form.
    """
    plain, steps = exact_copy(model)
    steps = [*steps, *steps_of(plain, example, keep_bn=keep_bn)]
    sites = tuple(_sites(steps))
    reason = _fold_gates_and_blocks(plain, steps)
    exact, norms = plain, {}
    if not keep_bn:
        exact = deepcopy(plain)
        norms = _fold_norms(exact, steps)
    scales = {n: m.channels for n, m in exact.named_modules() if isinstance(m, ChannelScale)}
    folded = _cast(deepcopy(exact), model)
    shown = _cast(deepcopy(plain), model) if reason is None else None
    return Result(
        folded,
        None if shown is None else shown.state_dict(),
        reason,
        steps,
        exact,
        shown,
        {"norms": norms, "scales": scales, "gone": _gone(exact)},
        sites,
    )


def _fold_gates_and_blocks(net: nn.Module, steps: list[Step]) -> str | None:
    """Fold what the plain form has folded, in place; return why there is no plain form, or None."""
    reason: str | None = None
    factors: dict[str, Tensor] = {}
    done = {step.module: step for step in steps if step.status == "fold"}
    if any(step.rule == "own" for step in steps):
        reason = "third-party blocks were folded by their own method"
    for name, gate in list(constant_gates(net)):
        v, step = gate_value(gate), done.get(name)
        if step is None:
            net.set_submodule(name, ChannelScale(v))
            reason = "a constant gate stays as a factor"
            continue
        for target in (step.through or step.into or "").split():
            if step.rule == "gate>next":
                _scale_input(net.get_submodule(target), v)
            elif not _carry(net, target, v, factors):
                reason = "a gate made a batch norm without gamma affine"
        net.set_submodule(name, Passing(len(v)))
    for step in steps:
        if step.rule == "branches" and not _fold_one(net, step, factors.get(step.module)):
            reason = "its blocks fold into convolutions with bias; there is no batch norm to keep"
    clear_gates(net)
    if any(looks(m) for m in net.modules()):
        reason = "attention that looks at its input stays"
    elif _gone(net):
        reason = "the gates had taken the place of attention of the network's own"
    return reason


def looks(module: nn.Module) -> bool:
    """Whether a module is attention of ours that looks at its input."""
    return isinstance(module, ChannelAttention) and not isinstance(
        module, Passing | ChannelScale | Chain
    )


def _gone(net: nn.Module) -> list[str]:
    """Return where nothing is left of a gate, in blocks that had attention of their own."""
    return [n for n, m in net.named_modules() if isinstance(m, Passing) and "." in n]


def _carry(net: nn.Module, target: str, v: Tensor, factors: dict[str, Tensor]) -> bool:
    """Scale what carries a gate, in place; False if that gave a batch norm new parameters."""
    try:
        module: Any = net.get_submodule(target)
    except AttributeError:  # a scale is a parameter
        parameter = net.get_parameter(target)
        scaled, _ = algebra.scale_affine(parameter, None, v.reshape(parameter.shape))
        parameter.copy_(scaled)
        return True
    if isinstance(module, Block):
        factors[target] = factors.get(target, torch.ones_like(v)) * v
    elif _is_layer(module):
        _set(module, algebra.scale_output(module.weight, module.bias, v, **_kind(module)))
    elif module.weight is None:
        module.affine = True
        module.weight, module.bias = nn.Parameter(v.clone()), nn.Parameter(torch.zeros_like(v))
        return False
    else:
        gamma, beta = algebra.scale_affine(module.weight, module.bias, v)
        module.weight.copy_(gamma)
        if beta is not None:
            module.bias.copy_(beta)
    return True


def _scale_input(layer: Any, v: Tensor) -> None:
    layer.weight.copy_(algebra.scale_input(layer.weight, v, **_kind(layer)))


def _fold_one(net: nn.Module, step: Step, factor: Tensor | None) -> bool:
    """Fold a block; with a pass-through behind it a neutral batch norm goes there."""
    block: Any = net.get_submodule(step.module)
    s = block.shape
    kernel = fold_block(block.kind, block.state_dict(), groups=s.groups, eps=s.eps)
    if factor is not None:
        kernel = algebra.scale_output(kernel.weight, kernel.bias, factor)
    conv = nn.Conv2d(
        s.in_channels, s.out_channels, s.kernel, s.stride, s.padding, s.dilation, s.groups,
        bias=step.through is None, padding_mode=s.padding_mode,
    ).double()  # fmt: skip
    conv.weight.copy_(kernel.weight)
    if conv.bias is not None:
        conv.bias.copy_(kernel.bias)
    net.set_submodule(step.module, block.deployed(conv).eval())
    if step.through is None:
        return False
    passed = net.get_submodule(step.through)
    norm: Any = nn.BatchNorm2d(s.out_channels, s.eps, s.momentum).double().eval()
    _neutralize(norm, kernel.bias)
    assert isinstance(passed, PassThrough)
    if passed.attn is not None:
        norm.__class__ = BatchNormAttn
        norm.attn = passed.attn
    net.set_submodule(step.through, norm)
    return True


def _fold_norms(net: nn.Module, steps: list[Step]) -> dict[str, str]:
    """Fold batch norms into what feeds them, in place; return norm -> convolution."""
    pairs = {step.module: step.into or "" for step in steps if step.rule == "conv+bn"}
    pairs |= {s.through: s.module for s in steps if s.rule == "branches" and s.through}
    folded: dict[str, str] = {}
    for name, conv in pairs.items():
        norm: Any = net.get_submodule(name)
        layer: Any = net.get_submodule(conv)
        kernel = algebra.conv_norm(layer.weight, layer.bias, norm_of(norm), **_kind(layer))
        if not strip(net, name, conv):
            _neutralize(norm, torch.zeros_like(kernel.bias))
        _set(layer, kernel)
        folded[name] = conv
    return folded


def norm_of(module: Any) -> Norm:
    """Return the tensors of a batch norm, gamma and beta filled in."""
    mean, var = module.running_mean, module.running_var
    gamma = torch.ones_like(mean) if module.weight is None else module.weight
    beta = torch.zeros_like(mean) if module.bias is None else module.bias
    return Norm(gamma, beta, mean, var, module.eps)


def _neutralize(norm: Any, bias: Tensor) -> None:
    new = algebra.neutral(bias, norm.eps)
    norm.running_mean.copy_(new.mean)
    norm.running_var.copy_(new.var)
    if norm.weight is not None:
        norm.weight.copy_(new.gamma)
        norm.bias.copy_(new.beta)


def _set(layer: Any, kernel: Kernel) -> None:
    """Put weight and bias into a layer; no bias is made where all of it is 0."""
    layer.weight.copy_(kernel.weight)
    if layer.bias is not None:
        layer.bias.copy_(kernel.bias)


def _kind(layer: Any) -> dict[str, Any]:
    """Return groups and whether a layer is a transposed convolution."""
    transposed = isinstance(layer, nn.modules.conv._ConvTransposeNd)
    return {"groups": getattr(layer, "groups", 1), "transposed": transposed}


def _is_layer(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.conv._ConvNd | nn.Linear)


def _cast(folded: nn.Module, original: nn.Module) -> nn.Module:
    """Cast every tensor once to the dtype it, or its module, has in `original`; same device."""
    known: Mapping[str, Tensor] = original.state_dict(keep_vars=True)
    floating = [t for t in known.values() if t.is_floating_point()]
    usual = floating[0].dtype if floating else torch.float32
    device = floating[0].device if floating else torch.device("cpu")
    for prefix, module in folded.named_modules():
        below = f"{prefix}." if prefix else ""
        own = [t.dtype for k, t in known.items() if k.startswith(below) and t.is_floating_point()]
        for name, tensor in [*module._parameters.items(), *module._buffers.items()]:
            if tensor is None or not tensor.is_floating_point():
                continue
            same = known.get(below + name)
            dtype = same.dtype if same is not None else own[0] if prefix and own else usual
            tensor.data = tensor.data.to(dtype)
    return folded.to(device).eval().requires_grad_(True)


def _sites(steps: list[Step]) -> list[Site]:
    """Return the places to compare one by one; gates that pass over layers have none."""
    gates = {step.through or step.into: step.module for step in steps
             if step.rule in ("conv+bn>gate", "gate>bn", "branches>gate")}  # fmt: skip
    moved = {name for s in steps if s.rule == "gate>next" for name in (s.into or "").split()}
    sites = []
    seen = set()
    for step in steps:
        if step.rule not in ("conv+bn", "branches"):
            continue
        entry = step.module if step.rule == "branches" else step.into or ""
        norm = step.through if step.rule == "branches" else step.module
        gate = gates.get(step.module)
        if entry in moved:  # its input is another one
            continue
        if gate is None or (norm and gate.startswith(f"{norm}.")):
            end = norm or entry
        else:
            end = gate
        seen.add(gate)
        parts = (entry, norm) if norm else (entry,)
        sites.append(Site(step.module, entry, end, parts))
    for carrier, gate in gates.items():
        if carrier and gate not in seen:
            end = carrier if gate.startswith(f"{carrier}.") else gate
            sites.append(Site(gate, carrier, end, (carrier,)))
    sites += [Site(s.module, s.module, s.module, (s.module,)) for s in steps if s.rule == "own"]
    return sites
