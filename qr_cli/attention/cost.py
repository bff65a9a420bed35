"""What a network costs: parameters, operations, time; and how open its attention starts.

Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from statistics import fmean, median, quantiles
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from qr_cli.attention.create import NoAttention, create_attention
from qr_cli.attention.insert import iter_attention
from qr_cli.attention.modules.contract import ChannelAttention, Ctx
from qr_cli.attention.modules.foreign import Foreign

FLOPS = "2 x multiply-add; convolutions and matrix products only, no poolings, gates or BN"


def parameters(model: nn.Module) -> tuple[int, int]:
    """Return how many parameters there are, and how many of attention; shared ones count once."""
    attention = {id(p) for _, _, _, module in iter_attention(model) for p in module.parameters()}
    sizes = {id(p): p.numel() for p in model.parameters()}
    return sum(sizes.values()), sum(size for key, size in sizes.items() if key in attention)


def flops(model: nn.Module, input_size: Sequence[int]) -> int:
    """Return the operations of one image in evaluation mode.

    Convention: that of torch's `FlopCounterMode`: 2 x multiply-add, convolutions and matrix
    products only; poolings, gates and normalisations are not counted.

    Args:
        model: a network; its modes are left as they are. On the meta device nothing is computed.
        input_size: (channels, height, width).
    """
    images = _images(model, input_size, 1)
    with _evaluating(model), torch.no_grad(), _Operations() as counted:
        model(images)
    return counted.total


@dataclass(frozen=True)
class Latency:
    """Time of one forward pass.

    Attributes:
        ms: median over rounds, in milliseconds.
        iqr_ms: distance of the quartiles, in milliseconds.
        ratio: median over rounds of this time over that of the first model in the same round.
    """

    ms: float
    iqr_ms: float
    ratio: float


@dataclass(frozen=True)
class Timing:
    """Times of several models, measured together.

    Attributes:
        models: by name.
        noise: `ratio` of a second copy of the first model; a ratio no further from 1 is noise.
        threads: torch's threads.
        clock: "process" (CPU time of all threads) or "wall" (waits for the device).
    """

    models: dict[str, Latency]
    noise: float
    threads: int
    clock: Literal["process", "wall"]


def latency(
    models: Mapping[str, nn.Module],
    input_size: Sequence[int],
    *,
    batch: int = 1,
    rounds: int = 20,
    warmup: int = 3,
) -> Timing:
    """Return the times of forward passes in evaluation and inference mode.

    Each round runs every model once, and a copy of the first; every second round in reverse, so
    that a drift of the machine meets all alike. On a CPU process time, the sum over threads.

    Args:
        models: on one device; the first is what the others are compared to. Modes are left alone.
        input_size: (channels, height, width).
        batch: images per pass.
        rounds: at least 2.
        warmup: passes of each model before the first round.

    Raises:
        ValueError: no model, or fewer than two rounds.
    """
    if not models or rounds < 2:
        raise ValueError(f"latency needs a model and two rounds, got {len(models)} and {rounds}")
    first = next(iter(models.values()))
    contestants = [*models.values(), deepcopy(first)]
    images = _images(first, input_size, batch)
    clock: Literal["process", "wall"] = "process" if images.device.type == "cpu" else "wall"
    times: list[list[float]] = [[] for _ in contestants]
    for model in contestants:
        for _ in range(warmup):
            _pass(model, images, clock)
    for turn in range(rounds):
        order = list(enumerate(contestants))
        for number, model in order if turn % 2 == 0 else reversed(order):
            times[number].append(_pass(model, images, clock))
    rows = [_summary(row, times[0]) for row in times]
    named = dict(zip(models, rows, strict=False))
    return Timing(named, rows[-1].ratio, torch.get_num_threads(), clock)


def start_gate(spec: str, channels: int, *, seed: int = 0) -> float | None:
    """Return the mean gate of an untrained module; None for a black box, which shows no gate.

    Training mode, 16 standard normal maps of 8x8 (as a batch normalisation gives them), others as
    the shortcut; mean over images, channels and positions. "none" gives 1.

    Args:
        spec: a module string.
        channels: C.
        seed: of the module and of the maps.

    Raises:
        UsageError: the spec cannot be meant, or does not fit `channels`.
    """
    module = create_attention(spec, channels, seed=seed)
    if isinstance(module, NoAttention):
        return 1.0
    if any(isinstance(part, Foreign) for part in module.modules()):
        return None
    generator = torch.Generator().manual_seed(seed)
    f, shortcut = torch.randn(2, 16, channels, 8, 8, generator=generator)
    with torch.no_grad():
        gate = module.gate(f, Ctx(shortcut, shortcut, state={}))
    return gate.expand_as(f).double().mean().item()


def mean_start_gate(model: nn.Module, spec: str) -> float | None:
    """Return `start_gate` averaged over the places of `model` that hold attention."""
    held = [module for _, _, _, module in iter_attention(model)]
    places = [module.channels for module in held if isinstance(module, ChannelAttention)]
    gates = {channels: start_gate(spec, channels) for channels in set(places)}
    known = {channels: gate for channels, gate in gates.items() if gate is not None}
    if len(known) < len(gates):
        return None
    return fmean(known[channels] for channels in places) if places else 1.0


class _Operations(TorchDispatchMode):
    """Add up the formulas of `FlopCounterMode`, which itself would load torch's compiler (1 s)."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Say that nothing here is compiled: the wrapper against it is what loads the compiler."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula = flop_registry.get(func.overloadpacket)
        if formula is None:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        out = func(*args, **kwargs)
        if formula is not None:
            self.total += int(formula(*args, **kwargs, out_val=out))
        return out


def _summary(times: Sequence[float], first: Sequence[float]) -> Latency:
    low, middle, high = quantiles(times, n=4, method="inclusive")
    ratio = median(a / b for a, b in zip(times, first, strict=True))
    return Latency(1e3 * middle, 1e3 * (high - low), ratio)


def _pass(model: nn.Module, images: Tensor, clock: str) -> float:
    """Return the seconds of one forward pass."""
    now = time.process_time if clock == "process" else time.perf_counter
    with _evaluating(model), torch.inference_mode():
        _wait(images)
        start = now()
        model(images)
        _wait(images)
        return now() - start


def _wait(images: Tensor) -> None:
    if images.device.type != "cpu":
        torch.accelerator.synchronize(images.device)


def _images(model: nn.Module, input_size: Sequence[int], batch: int) -> Tensor:
    """Return standard normal images on the model's device and in its dtype."""
    example = next(model.parameters())
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, *input_size, generator=generator)
    return images.to(example.device, example.dtype)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Put every part into evaluation mode, and back into its own."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
