"""What can be folded into what, and what cannot and why: a table, the network untouched.

Found from one recorded pass (`attention.feeds`), never from names. A second pass with other values
and another batch size must run the same operations, else the network is `dynamic-graph` and only
re-parameterization blocks, and gates held by a batch norm, are folded.

| reason | when |
| --- | --- |
| shared | the module runs not exactly once, or its weight is tied: the other call would change |
| used-twice | the output in between has another reader |
| no-stats | the batch norm has no running statistics |
| no-conv | the batch norm is not fed by a convolution or linear layer; kept, harmless |
| no-affine | --keep-bn, and the batch norm has no gamma to carry the gate |
| activation | the gate stands behind an activation that does not commute, with no legal gate>next |
| no-carrier | nothing in front of or behind the gate can carry it |
| input-dependent, spatial, token | attention that looks at its input |
| dynamic-graph | see above |
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from qr_cli.attention.backbones.batch_norm import BatchNormAttn, PassThrough
from qr_cli.attention.feeds import (
    BATCH_NORM,
    Graph,
    Op,
    is_called_once,
    is_plain_convolution,
    norm_behind,
    record,
)
from qr_cli.attention.modules.asr import ASR
from qr_cli.attention.modules.contract import ChannelAttention
from qr_cli.attention.modules.se import SE
from qr_cli.attention.srp.block import Block
from qr_cli.attention.stripes import dead_units
from qr_cli.reparam.carriers import Carrier, carrier_of, next_readers

OWN_METHODS = ("reparameterize", "switch_to_deploy", "fuse")  # of third-party blocks
SPATIAL = ("cbam", "bam", "sge")
_TOKENS = ("softmax", "scaled_dot_product", "multi_head_attention")
SQUEEZERS = ("squeeze", "semodule", "ecamodule", "effectivese", "gatherexcite")


@dataclass(frozen=True)
class Step:
    """One row: what would be done with a module.

    Attributes:
        module: its name.
        what: what it is, in a word.
        rule: the rule of `algebra` that applies; None when it is kept.
        into: the module that takes it up; of gate>next several, with blanks between.
        status: "fold" or "keep".
        reason: why it is kept.
        dead_units: of ASR with hidden units, "dead/all".
        through: the batch norm between a gate and the convolution, or behind a block.
    """

    module: str
    what: str
    rule: str | None = None
    into: str | None = None
    status: str = "fold"
    reason: str | None = None
    dead_units: str | None = None
    through: str | None = None

    def record(self) -> dict[str, Any]:
        """Return the "plan" record."""
        fields = asdict(self)
        return {"event": "plan", **{k: fields[k] for k in fields if k != "through"}}


def plan(model: nn.Module, example: Tensor, *, keep_bn: bool = False) -> list[Step]:
    """Return one step per thing that could be folded; `model` stays as it is.

    Args:
        model: a network, of any mode and precision.
        example: an input it accepts, (B, ...).
        keep_bn: fold gates and blocks only, into the batch norms.
    """
    exact, steps = exact_copy(model)
    return [*steps, *steps_of(exact, example, keep_bn=keep_bn)]


def exact_copy(model: nn.Module) -> tuple[nn.Module, list[Step]]:
    """Return a float64 copy on the CPU in evaluation mode, third-party blocks folded by their own
    methods, and the steps of these.
    """  # noqa: D205
    exact = deepcopy(model).cpu().double().eval().requires_grad_(False)
    steps: list[Step] = []
    done: list[str] = []
    for name, module in list(exact.named_modules()):
        method = _own_method(module)
        if not name or method is None or name.startswith(tuple(f"{d}." for d in done)):
            continue
        what = type(module).__name__
        with torch.no_grad():
            replaced = getattr(module, method)()
        if isinstance(replaced, nn.Module):
            exact.set_submodule(name, replaced)
        done.append(name)
        steps.append(Step(name, what, "own", name))
    return exact, steps


def steps_of(exact: nn.Module, example: Tensor, *, keep_bn: bool) -> list[Step]:
    """Return the steps of a float64 network, gates first, then blocks, then batch norms."""
    graph = recorded(exact, example)
    if graph is None:
        return list(_without_graph(exact))
    blocks = {name: m for name, m in exact.named_modules() if isinstance(m, Block)}
    gates = dict(constant_gates(exact))
    seen = [
        *_gates(exact, graph, gates, blocks, keep_bn=keep_bn),
        *_blocks(exact, graph, blocks),
        *_attention(exact, graph, tuple(gates)),
    ]
    if not keep_bn:
        seen += _norms(exact, graph, inside=(*blocks, *gates))
    return seen


def recorded(exact: nn.Module, example: Tensor) -> Graph | None:
    """Return the recorded pass, None when the operations depend on the input."""
    generator = torch.Generator().manual_seed(0)
    size = tuple(example.shape[1:])
    first, second = (
        torch.randn(batch, *size, generator=generator, dtype=torch.float64) for batch in (2, 3)
    )
    graph = record(exact, first)
    try:
        again = record(exact, second)
    except (RuntimeError, ValueError):  # a batch size written into the network
        return None
    return graph if graph.same_as(again) else None


def constant_gates(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the outermost modules that offer `constant_gate`, of any class."""
    outer: list[str] = []
    for name, module in model.named_modules():
        if hasattr(module, "constant_gate") and not name.startswith(tuple(outer)):
            outer.append(f"{name}.")
            yield name, module


def gate_value(module: nn.Module) -> Tensor:
    """Return v of a constant gate, detached, (C,)."""
    with torch.no_grad():
        value: Tensor = module.constant_gate()  # type: ignore[operator]
    return value.detach().reshape(-1)


def described(module: nn.Module) -> str:
    """Return what a module is, as ``--module`` writes it where it can."""
    if isinstance(module, ASR):
        inner = ",".join(described(part) for part in module.inner[:1])
        return f"asr({inner}{f',delta={len(module.inner)}' if len(module.inner) > 1 else ''})"
    return module.name if isinstance(module, ChannelAttention) else type(module).__name__


def _gates(
    exact: nn.Module,
    graph: Graph,
    gates: dict[str, nn.Module],
    blocks: dict[str, Block],
    *,
    keep_bn: bool,
) -> Iterator[Step]:
    for name, module in gates.items():
        what, dead = described(module), _dead(module)
        calls = graph.calls.get(name, [])
        if len(calls) != 1:
            yield Step(name, what, status="keep", reason="shared", dead_units=dead)
            continue
        before, after = calls[0]
        value = gate_value(module)
        found = carrier_of(exact, graph, name, before, value, blocks)
        over = found.over
        if found.kind == "norm" and not (keep_bn or over) and (conv := _conv_before(graph, found)):
            yield Step(name, what, "conv+bn>gate", conv, dead_units=dead, through=found.module)
        elif found.kind == "norm" and keep_bn and not _has_affine(exact, found.module):
            yield Step(name, what, status="keep", reason="no-affine", dead_units=dead)
        elif found.kind is not None:
            yield Step(name, what, found.rule, found.module, dead_units=dead)
        elif readers := next_readers(exact, graph, name, after):
            yield Step(name, what, "gate>next", " ".join(readers), dead_units=dead)
        else:
            yield Step(name, what, status="keep", reason=found.reason, dead_units=dead)


def _blocks(exact: nn.Module, graph: Graph, blocks: dict[str, Block]) -> Iterator[Step]:
    """Yield a step per block, with the pass-through where its batch norm was."""
    behind = {
        calls[0][0]: name
        for name, m in exact.named_modules()
        if isinstance(m, PassThrough) and len(calls := graph.calls.get(name, [])) == 1
    }
    for name, block in blocks.items():
        calls = graph.calls.get(name, [])
        through = behind.get(calls[0][1]) if len(calls) == 1 else None
        yield Step(name, block.kind, "branches", name, through=through)


def _conv_before(graph: Graph, carrier: Carrier) -> str | None:
    """Return the convolution that feeds the batch norm of a carrier, if they fold."""
    for op in graph.ops:
        norm = norm_behind(graph, op)
        if norm is not None and norm.owner == carrier.module:
            return op.owner if _folds(graph, op, norm) is None else None
    return None


def _folds(graph: Graph, conv: Op, norm: Op) -> str | None:
    """Return why a convolution or linear layer and its batch norm do not fold, or None."""
    if not (is_plain_convolution(conv) or _is_plain_linear(conv)):
        return "no-conv"
    return None if is_called_once(graph, conv, norm) else "shared"


def _is_plain_linear(op: Op) -> bool:
    names = [name.rpartition(".")[2] for name in op.parameters]
    return (
        op.name in ("aten.addmm", "aten.mm")
        and len(op.inputs) == 1
        and sorted(names) in (["bias", "weight"], ["weight"])
    )


def _norms(exact: nn.Module, graph: Graph, *, inside: tuple[str, ...]) -> Iterator[Step]:
    """Yield a step per batch norm that is not part of a gate or block."""
    hidden = tuple(f"{name}." for name in inside)
    for name, module in exact.named_modules():
        if not isinstance(module, _BatchNorm) or name.startswith(hidden):
            continue
        what = "bn"
        uses = [op for op in graph.ops if BATCH_NORM in op.name and _is_of(op, name)]
        if len(uses) != 1 or len(graph.uses(name)) > 1:
            yield Step(name, what, status="keep", reason="shared" if uses else "no-conv")
            continue
        if module.running_mean is None:
            yield Step(name, what, status="keep", reason="no-stats")
            continue
        norm = uses[0]
        before = graph.producer(norm.inputs[0])
        if before is None or not (is_plain_convolution(before) or _is_plain_linear(before)):
            yield Step(name, what, status="keep", reason="no-conv")
        elif norm_behind(graph, before) != norm:
            yield Step(name, what, status="keep", reason="used-twice")
        elif (reason := _folds(graph, before, norm)) is not None:
            yield Step(name, what, status="keep", reason=reason)
        else:
            yield Step(name, what, "conv+bn", before.owner)


def _is_of(op: Op, module: str) -> bool:
    return op.owner == module or (not op.parameters and op.within[-1:] == (module,))


def _attention(exact: nn.Module, graph: Graph, gates: tuple[str, ...]) -> Iterator[Step]:
    """Yield a step per attention that looks at its input."""
    outer: list[str] = []
    hidden = tuple(f"{name}." for name in gates)
    holds = tuple(name.rpartition(".")[0] for name in gates)
    for name, module in exact.named_modules():
        if name in gates or name.startswith(hidden) or name.startswith(tuple(outer)):
            continue
        kind = _kind_of_attention(module)
        if kind is None or name in holds:  # a chain: its terms are told one by one
            continue
        outer.append(f"{name}.")
        yield Step(name, described(module), status="keep", reason=kind)
    tokens = {
        op.within[-1]
        for op in graph.ops
        if any(word in op.name for word in _TOKENS) and len(op.within) > 1
    }
    for name in sorted(tokens):
        if not name.startswith(tuple(outer)):
            what = type(exact.get_submodule(name)).__name__
            yield Step(name, what, status="keep", reason="token")


def _kind_of_attention(module: nn.Module) -> str | None:
    if isinstance(module, ChannelAttention):
        return "spatial" if module.name in SPATIAL else "input-dependent"
    word = type(module).__name__.lower()
    return "input-dependent" if word.startswith(SQUEEZERS) or word == "se" else None


def _without_graph(exact: nn.Module) -> Iterator[Step]:
    """Yield what can be folded by what it is alone: blocks, and gates held by a batch norm."""
    for name, module in constant_gates(exact):
        what, dead = described(module), _dead(module)
        host, _, child = name.rpartition(".")
        holder = exact.get_submodule(host)
        if isinstance(holder, BatchNormAttn) and child == "attn" and holder.affine:
            yield Step(name, what, "gate>bn", host, dead_units=dead)
        else:
            yield Step(name, what, status="keep", reason="dynamic-graph", dead_units=dead)
    for name, module in exact.named_modules():
        if isinstance(module, Block):
            yield Step(name, module.kind, "branches", name)
    inside = tuple(f"{name}." for name, m in exact.named_modules() if isinstance(m, Block))
    for name, module in exact.named_modules():
        if isinstance(module, _BatchNorm) and not name.startswith(inside):
            yield Step(name, "bn", status="keep", reason="dynamic-graph")


def _has_affine(exact: nn.Module, name: str) -> bool:
    return getattr(exact.get_submodule(name), "weight", None) is not None


def _dead(module: nn.Module) -> str | None:
    dead = dead_units(module)
    if dead is None:
        return None
    units = sum(
        part.fc1.out_features
        for asr in module.modules()
        if isinstance(asr, ASR)
        for inner in asr.inner
        for part in inner.modules()
        if isinstance(part, SE)
    )
    return f"{dead}/{units}"


def _own_method(module: nn.Module) -> str | None:
    """Return the method by which a third-party block folds itself, if it needs no argument."""
    home = type(module).__module__
    if home.startswith(("torch.", "qr_cli.")) or isinstance(module, PassThrough):
        return None
    for name in OWN_METHODS:
        method = getattr(module, name, None)
        code = getattr(method, "__code__", None)
        optional = len(getattr(method, "__defaults__", None) or ())
        if code is not None and code.co_argcount - optional == 1:
            return name
    return None
