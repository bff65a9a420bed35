"""Who feeds whom: one recorded pass of a network, operation by operation [ours].

Every tensor that appears gets a number (its value); an operation in place gives its tensor a new
one. All outputs are kept alive while recording, so that identities are not used again. Parameters
and buffers are known by identity, views of them too: weights tied under two names are one. Nothing
is traced symbolically, so any network that runs can be recorded, also on the meta device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CONVOLUTION = "aten.convolution"
BATCH_NORM = "batch_norm"  # part of the names of all its kernels


@dataclass(frozen=True, slots=True)
class Op:
    """One operation.

    Attributes:
        name: without overload: ``aten.convolution``.
        inputs: values of its tensor arguments that are no parameters, in order.
        outputs: values it made.
        parameters: names of its parameters and buffers, in order; of tied ones the first name.
        within: names of the modules that were running, outermost first.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    parameters: tuple[str, ...]
    within: tuple[str, ...]

    @property
    def owner(self) -> str | None:
        """Name of the module that holds the first parameter."""
        return self.parameters[0].rpartition(".")[0] if self.parameters else None


@dataclass(frozen=True)
class Graph:
    """A recorded pass.

    Attributes:
        ops: in the order they ran.
        calls: module name -> (value of its first argument, of its output) of each call; None for
            what is no tensor.
        returned: values that the network returns.
        aliases: every name of a parameter -> its first name, of tied ones only.
    """

    ops: tuple[Op, ...]
    calls: Mapping[str, list[tuple[int | None, int | None]]]
    returned: frozenset[int]
    aliases: Mapping[str, str]
    _consumers: dict[int, list[Op]] = field(default_factory=dict, repr=False)
    _producers: dict[int, Op] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for op in self.ops:
            for value in dict.fromkeys(op.inputs):
                self._consumers.setdefault(value, []).append(op)
            for value in op.outputs:
                self._producers[value] = op

    def consumers(self, value: int) -> list[Op]:
        """Return the operations that read a value."""
        return self._consumers.get(value, [])

    def producer(self, value: int | None) -> Op | None:
        """Return the operation that made a value; None for an input of the network."""
        return None if value is None else self._producers.get(value)

    def uses(self, module: str) -> list[Op]:
        """Return the operations that read a parameter or buffer of a module, tied ones included."""
        tied = {first for name, first in self.aliases.items() if _owner(name) == module}
        return [
            op for op in self.ops if any(_owner(p) == module or p in tied for p in op.parameters)
        ]

    def same_as(self, other: Graph) -> bool:
        """Tell whether both passes ran the same operations on the same operands."""
        return self.ops == other.ops


@dataclass(frozen=True, slots=True)
class Pair:
    """A convolution and the batch normalisation it feeds, by module name."""

    conv: str
    norm: str


def record(net: nn.Module, *inputs: Any, **keywords: Any) -> Graph:
    """Run `net` once, in evaluation mode and without gradients, and return what happened.

    Modes are put back. On the meta device nothing is computed.
    """
    recorder = _Recorder(net)
    modes = [(part, part.training) for part in net.modules()]
    net.eval()
    try:
        with recorder.watching(net), torch.no_grad(), recorder:
            out = net(*inputs, **keywords)
        returned = frozenset(recorder.value(t) for t in _tensors(out))
    finally:
        for part, mode in modes:
            part.training = mode
    return Graph(tuple(recorder.ops), recorder.calls, returned, recorder.aliases)


def pairs(graph: Graph) -> list[Pair]:
    """Return the convolutions that feed exactly one batch norm and nothing else, each called once.

    In the order they run. A batch norm without running statistics is none.
    """
    found = []
    for op in graph.ops:
        norm = norm_behind(graph, op)
        if norm is not None and is_plain_convolution(op) and is_called_once(graph, op, norm):
            found.append(Pair(op.owner or "", norm.owner or ""))
    return found


def is_plain_convolution(op: Op) -> bool:
    """Whether an operation convolves its one input with a module's own ``weight``."""
    own = bool(op.parameters) and op.parameters[0].endswith(".weight")
    return op.name == CONVOLUTION and own and len(op.inputs) == 1


def norm_behind(graph: Graph, op: Op) -> Op | None:
    """Return the batch norm, with running statistics, that alone reads an output, or None."""
    value = op.outputs[0] if op.outputs else None
    readers = [] if value is None else graph.consumers(value)
    if len(readers) != 1 or value in graph.returned:
        return None
    norm = readers[0]
    has_statistics = any(name.endswith("running_mean") for name in norm.parameters)
    if BATCH_NORM not in norm.name or norm.inputs != (value,) or not has_statistics:
        return None
    return norm


def is_called_once(graph: Graph, *ops: Op) -> bool:
    """Whether the modules of these operations run nowhere else."""
    return all(op.owner is not None and len(graph.uses(op.owner)) == 1 for op in ops)


def _owner(name: str) -> str:
    return name.rpartition(".")[0]


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


class _Recorder(TorchDispatchMode):
    """Number the values and note the operations."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.ops: list[Op] = []
        self.calls: dict[str, list[tuple[int | None, int | None]]] = {}
        self.aliases: dict[str, str] = {}
        self.known: dict[int, str] = {}  # identity -> name, of parameters, buffers and their views
        self.numbers: dict[int, int] = {}  # identity -> value
        self.alive: list[Any] = []
        self.running: list[str] = []
        self.entered: list[int | None] = []
        self.count = 0
        named = [
            *net.named_parameters(remove_duplicate=False),
            *net.named_buffers(remove_duplicate=False),
        ]
        names: dict[int, list[str]] = {}
        for name, tensor in named:
            self.known.setdefault(id(tensor), name)
            names.setdefault(id(tensor), []).append(name)
        for several in names.values():
            if len(several) > 1:
                self.aliases |= dict.fromkeys(several, several[0])

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Say that nothing here is compiled: the wrapper against it is what loads the compiler."""
        return False

    def value(self, tensor: Tensor) -> int:
        """Return the number of a tensor, a new one if it has none."""
        if id(tensor) not in self.numbers:
            self._number(tensor)
        return self.numbers[id(tensor)]

    @contextmanager
    def watching(self, net: nn.Module) -> Iterator[None]:
        """Note which modules run."""
        handles = []
        for name, module in net.named_modules():
            handles += [
                module.register_forward_pre_hook(self._enter(name), with_kwargs=True),
                module.register_forward_hook(self._leave(name), with_kwargs=True),
            ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = _tensors((args, kwargs))
        parameters = tuple(self.known[id(t)] for t in given if id(t) in self.known)
        inputs = tuple(self.value(t) for t in given if id(t) not in self.known)
        out = func(*args, **kwargs)
        made = _tensors(out)
        self.alive.append((given, made))
        if parameters and not inputs and self._is_view(given[0], made):
            self.known[id(made[0])] = parameters[0]
            return out
        for tensor in made:
            self._number(tensor)
        name = str(func.overloadpacket)
        outputs = tuple(self.numbers[id(t)] for t in made)
        self.ops.append(Op(name, inputs, outputs, parameters, tuple(self.running)))
        return out

    def _number(self, tensor: Tensor) -> None:
        self.alive.append(tensor)
        self.numbers[id(tensor)] = self.count
        self.count += 1

    @staticmethod
    def _is_view(source: Tensor, made: list[Tensor]) -> bool:
        if len(made) != 1 or made[0] is source:
            return False
        return made[0].untyped_storage()._cdata == source.untyped_storage()._cdata

    def _enter(self, name: str) -> Any:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            self.running.append(name)
            first = next(iter(_tensors((args, kwargs))), None)
            self.entered.append(None if first is None else self.value(first))

        return hook

    def _leave(self, name: str) -> Any:
        def hook(module: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
            self.running.pop()
            last = self.value(out) if isinstance(out, Tensor) else None
            self.calls.setdefault(name, []).append((self.entered.pop(), last))

        return hook
