"""What can carry a constant gate: a norm, block, layer or scale before it, or the layers behind it.

A carrier in front must feed the gate alone, through activations that commute with it at most; a
residual addition or a concatenation in between ends the search, because the other operand would
have to be scaled too. A gate may move on only into convolutions and linear layers that all run once
and read nothing else; padding by zeros, reflection or repetition in between does no harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from qr_cli.attention.feeds import CONVOLUTION, Graph, Op, is_called_once, is_plain_convolution
from qr_cli.attention.srp.block import Block
from qr_cli.reparam.algebra import commutes

_ACTIVATIONS = {  # operation -> its name in `algebra.COMMUTING`, None if a gate cannot pass it
    "aten.relu": "relu",
    "aten.relu_": "relu",
    "aten.leaky_relu": "leaky_relu",
    "aten.leaky_relu_": "leaky_relu",
    "aten._prelu_kernel": "prelu",
}
_PADDINGS = ("aten.reflection_pad", "aten.replication_pad", "aten.constant_pad_nd")
_RULES = {
    "norm": "gate>bn",
    "block": "branches>gate",
    "conv": "gate>conv",
    "linear": "gate>linear",
    "scale": "gate>scale",
}


@dataclass(frozen=True)
class Carrier:
    """What carries a gate, or why nothing does.

    Attributes:
        kind: of module; None when there is none.
        module: its name; of a scale the name of the parameter.
        reason: why there is none.
        over: whether a commuting activation lies in between.
    """

    kind: Literal["norm", "block", "conv", "linear", "scale"] | None = None
    module: str = ""
    reason: str | None = None
    over: bool = False

    @property
    def rule(self) -> str:
        """Return the rule, as the plan names it."""
        return "gate>act" if self.over else _RULES[self.kind or ""]


def carrier_of(
    exact: nn.Module,
    graph: Graph,
    gate: str,
    value: int | None,
    v: Tensor,
    blocks: Mapping[str, Block],
) -> Carrier:
    """Return what in front of `gate`, whose input has number `value`, can carry v."""
    inside = {id(op) for op in graph.ops if gate in op.within}
    over = False
    made = {calls[0][1]: name for name in blocks if len(calls := graph.calls.get(name, [])) == 1}
    while True:
        if value is None or value in graph.returned:
            return Carrier(reason="used-twice" if value is not None else "no-carrier")
        if [op for op in graph.consumers(value) if id(op) not in inside]:
            return Carrier(reason="used-twice")
        if value in made:
            return Carrier("block", made[value], over=over)
        op = graph.producer(value)
        if op is None:
            return Carrier(reason="no-carrier")
        if op.name not in _ACTIVATIONS:
            return _at(exact, graph, op, len(v), over)
        if not commutes(_ACTIVATIONS[op.name], v) or len(op.inputs) != 1:
            return Carrier(reason="activation")
        inside, over = {id(op)}, True
        value = op.inputs[0]


def next_readers(exact: nn.Module, graph: Graph, gate: str, value: int | None) -> list[str]:
    """Return the layers behind a gate that can all take it up as a scale of their inputs."""
    if value is None or value in graph.returned:
        return []
    found: list[str] = []
    for op in graph.consumers(value):
        if gate in op.within:
            continue
        if op.name.startswith(_PADDINGS) and len(op.inputs) == 1:
            behind = next_readers(exact, graph, gate, op.outputs[0])
            if not behind:
                return []
            found += behind
        elif is_plain_convolution(op) and op.inputs == (value,) and is_called_once(graph, op):
            found.append(op.owner or "")
        else:
            return []
    return list(dict.fromkeys(found))


def _at(exact: nn.Module, graph: Graph, op: Op, channels: int, over: bool) -> Carrier:
    """Return the carrier that an operation makes of its module."""
    names = [name.rpartition(".")[2] for name in op.parameters]
    if not op.owner or not is_called_once(graph, op):
        known = op.owner and (op.name == CONVOLUTION or "norm" in op.name)
        return Carrier(reason="shared" if known else _why(op))
    if "norm" in op.name and ("weight" in names or "running_mean" in names):
        return Carrier("norm", op.owner, over=over)
    if is_plain_convolution(op):
        return Carrier("conv", op.owner, over=over)
    if op.name in ("aten.addmm", "aten.mm") and "weight" in names and len(op.inputs) == 1:
        return Carrier("linear", op.owner, over=over)
    if op.name in ("aten.mul", "aten.mul_") and len(op.parameters) == len(op.inputs) == 1:
        factor = dict(exact.named_parameters()).get(op.parameters[0])
        if factor is not None and factor.numel() == channels:
            return Carrier("scale", op.parameters[0], over=over)
    return Carrier(reason=_why(op))


def _why(op: Op) -> str:
    words = ("hardtanh", "silu", "gelu", "hardswish", "sigmoid", "tanh", "elu", "clamp", "mish")
    return "activation" if any(word in op.name for word in words) else "no-carrier"
