"""From a module string to a module.

`create_attention("lsas(eca,order=2)", 256)` resolves names through `MODULES`; ``pkg.mod:Class`` and
``timm:NAME`` name modules of others, which are wrapped when they do not follow the contract.
"""

from __future__ import annotations

from contextlib import nullcontext
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from qr_cli.attention.grammar import Chain, Node, canonical, resolve_module
from qr_cli.attention.modules.chain import Chain as ChainModule
from qr_cli.attention.modules.contract import ChannelAttention, Ctx
from qr_cli.attention.modules.foreign import Foreign, create_timm
from qr_cli.attention.names import MODULES
from qr_cli.errors import UsageError


class NoAttention(nn.Module):
    """What ``none`` stands for: f passes through, whatever `ctx` is."""

    def forward(self, f: Tensor, ctx: Ctx | None = None) -> Tensor:
        """Return f itself."""
        return f


def create_attention(
    spec: str | Node | Chain, channels: int, *, stage: int = 1, seed: int | None = None
) -> ChannelAttention | NoAttention:
    """Build the module of a string or of its nodes.

    Args:
        spec: ``"lsas(eca,order=2)"``, ``"asr(se)+se"``, ``"none"`` (gives `NoAttention`).
        channels: C of the map the module scales.
        stage: stage of the network, from 1; only ``fca(dct=stage)`` asks for it.
        seed: the start is drawn from a generator of its own when given, and leaves torch's alone.

    Raises:
        UsageError: the spec cannot be meant, or does not fit `channels`.
        MissingExtra: ``timm:`` without timm.
    """
    chain = resolve_module(spec if isinstance(spec, str) else canonical(spec))
    with nullcontext() if seed is None else torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        if chain[0].name == "none":
            return NoAttention()
        return _build_chain(chain, channels, stage)


def default_stages(spec: str, stages: int) -> tuple[int, ...]:
    """Return the stages (from 1) of ``--stages auto``: the rule of the first term."""
    first = resolve_module(spec)[0]
    if first.name == "none":
        return ()
    while first.name == "share":
        first = first.args[0][0]
    if first.name.startswith("timm:"):
        return ChannelAttention.default_stages(stages)
    rule = getattr(MODULES.load(first.name), "default_stages", ChannelAttention.default_stages)
    return tuple(rule(stages))


def _build_chain(chain: Chain, channels: int, stage: int) -> ChannelAttention:
    terms = [_build(node, channels, stage) for node in chain]
    return terms[0] if len(terms) == 1 else ChainModule(channels, *terms)


def _build(node: Node, channels: int, stage: int) -> ChannelAttention:
    inner = [_build_chain(arg, channels, stage) for arg in node.args]
    options: dict[str, Any] = dict(node.options)
    if node.name.startswith("timm:"):
        name = node.name.removeprefix("timm:")
        return Foreign(channels, create_timm(name, channels, options))
    cls = MODULES.load("se" if node.name == "fc" else node.name)
    parameters = _parameters(cls)
    if "stage" in parameters and node.name in MODULES.entries:
        options.setdefault("stage", stage)
    try:
        signature(cls).bind(channels, *inner, **options)
    except TypeError as error:
        valid = ", ".join(parameters[1:]) or "none at all"
        raise UsageError(f"{node.name}: {error}", hint=f"options: {valid}") from error
    except ValueError:
        pass  # a class without a readable signature: let it speak for itself
    module = cls(channels, *inner, **options)
    if not isinstance(module, nn.Module):
        raise UsageError(f"{node.name} gives a {type(module).__name__}, not a torch module")
    return module if isinstance(module, ChannelAttention) else Foreign(channels, module)


def _parameters(cls: Any) -> list[str]:
    try:
        return list(signature(cls).parameters)
    except (TypeError, ValueError):
        return []
