"""Put attention into a network, take it out again, and list it.

A module scales the output of a block's last BN before the addition, or the output of a stage. How
it gets there depends on whose block it is: see `backbones.records`. No forward hooks (a deepcopy
would still call the original), no ``Sequential(bn, attn)`` (it renames the keys of pretrained
weights), no graph rewriting. Load pretrained weights first, attach second.

Each module is drawn from a generator of its own, seeded by the run's seed and the number of its
block in the network, so that masks and stages change no other module's start.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from qr_cli.attention.backbones.batch_norm import PassThrough, is_plain_batch_norm
from qr_cli.attention.backbones.hosts import (
    Mechanism,
    StageModules,
    clear,
    held,
    mark_sites,
    put,
    share,
    slot_taken,
)
from qr_cli.attention.backbones.records import Block, residual_blocks
from qr_cli.attention.backbones.select import Stages, choose_blocks, choose_stages
from qr_cli.attention.backbones.site import OneOfStage
from qr_cli.attention.create import NoAttention, create_attention, default_stages
from qr_cli.attention.grammar import check_module
from qr_cli.attention.modules.contract import ChannelAttention
from qr_cli.attention.modules.identity import IdentityStart
from qr_cli.errors import UsageError

__all__ = [
    "Place",
    "attach",
    "collect_aux_loss",
    "detach",
    "iter_attention",
    "plan",
    "residual_blocks",
]


@dataclass(frozen=True, slots=True)
class Place:
    """Where one attention module goes.

    Args:
        name: path of the module in the network; with one module per stage, of the block's hold.
        stage: number of the stage, from 1.
        index: number of the block in its stage, from 0; at the end of a stage, of its last block.
        channels: C of the map it scales.
        mechanism: how it gets there.
        note: what it scales, in words.
    """

    name: str
    stage: int
    index: int
    channels: int
    mechanism: Mechanism
    note: str


def plan(
    model: nn.Module,
    spec: str,
    *,
    stages: Stages = "auto",
    blocks: str | None = None,
    place: Literal["auto", "branch", "stage-end"] = "auto",
    replace: bool = False,
) -> list[Place]:
    """Return where `attach` would put modules; changes nothing, works on the meta device.

    Raises:
        UsageError: as `attach`.
    """
    return [where for _, where in _places(model, spec, stages, blocks, place, replace)]


def attach(
    model: nn.Module,
    spec: str,
    *,
    stages: Stages = "auto",
    blocks: str | None = None,
    place: Literal["auto", "branch", "stage-end"] = "auto",
    identity_start: bool = False,
    replace: bool = False,
    seed: int = 0,
) -> nn.Module:
    """Put attention into `model`, in place.

    Args:
        model: a network with residual blocks of a supported kind.
        spec: what to attach, ``"lsas(eca,order=2)"``; "none" attaches nothing.
        stages: "auto" (the module's own rule), "all", "last", "last2", "1,3" or numbers from 1.
        blocks: one 0 or 1 per residual block in network order; blanks and commas are ignored. At
            the end of a stage its last block's digit counts.
        place: "branch", "stage-end", or "auto" (where the module belongs).
        identity_start: whether each module starts as the identity: f + s (A(f) - f) with s = 0.
        replace: whether attention that is there already gives way.
        seed: of the modules' starts.

    Returns:
        `model`.

    Raises:
        UsageError: the network is of no supported kind, has attention already, or a stage, mask,
            place or module does not fit it.
    """
    if _is_none(spec):
        return model
    places = _places(model, spec, stages, blocks, place, replace)
    found = residual_blocks(model)
    numbers = {block.name: number for number, block in enumerate(found)}
    shared: dict[int, ChannelAttention] = {}
    filled: list[tuple[Block, Place, nn.Module]] = []
    for block, where in places:
        module: nn.Module | None = shared.get(where.stage)
        if module is None:
            number = numbers[block.name]
            made = _create(spec, where, block.module, identity_start, _module_seed(seed, number))
            module = made
            if made.scope == "stage":
                shared[where.stage] = made
        filled.append((block, where, module))
    if replace:
        detach(model)
    if shared:
        share(model, shared)
    for block, where, module in filled:
        put(block, where.mechanism, OneOfStage(module) if where.stage in shared else module, model)
    mark_sites(found)
    return model


def detach(model: nn.Module) -> nn.Module:
    """Take all attention out that `attach` put in; classes, keys and logits are as before."""
    for block in residual_blocks(model):
        clear(block)
        stage = model.get_submodule(block.stage_name)
        if "attn" in stage._modules:
            del stage.attn
    if isinstance(getattr(model, "shared", None), StageModules):
        del model.shared
    return model


def iter_attention(model: nn.Module) -> Iterator[tuple[str, int, int, nn.Module]]:
    """Yield (name, stage, index, module) in network order, for attention put in by `attach`.

    A module that a stage shares is yielded for each of its blocks; one at the end of a stage with
    the index of the stage's last block.
    """
    for block in residual_blocks(model):
        found = held(block)
        if found is not None:
            name, module = found
            if isinstance(module, OneOfStage):
                module = module.held[0]
            yield f"{block.name}.{name}", block.stage, block.index, module
        stage = model.get_submodule(block.stage_name)
        if block.index == block.depth - 1 and "attn" in stage._modules:
            name = f"{block.stage_name}.attn"
            yield name, block.stage, block.index, model.get_submodule(name)


def collect_aux_loss(model: nn.Module) -> Tensor:
    """Return the sum of the auxiliary losses of all attention modules in `model`, a scalar.

    A module that a stage shares counts once. Without any auxiliary loss it is 0.
    """
    losses = [loss for m in _outermost(model) if (loss := m.aux_loss()) is not None]
    if losses:
        return torch.stack(losses).sum()
    example = next(model.parameters(), None)
    return torch.zeros(()) if example is None else example.new_zeros(())


def _outermost(module: nn.Module) -> Iterator[ChannelAttention]:
    if isinstance(module, ChannelAttention):
        yield module
        return
    for child in module.children():
        yield from _outermost(child)


def _places(
    model: nn.Module,
    spec: str,
    stages: Stages,
    blocks: str | None,
    place: str,
    replace: bool,
) -> list[tuple[Block, Place]]:
    """Return the chosen blocks with what would be done to each."""
    if _is_none(spec):
        return []
    found = residual_blocks(model)
    if not replace and next(iter_attention(model), None) is not None:
        raise UsageError("the network has attention already", hint="add --replace")
    if place not in ("auto", "branch", "stage-end"):
        raise UsageError(
            f"--place: must be auto, branch or stage-end, got {place!r}", hint="--place auto"
        )
    check_module(spec)
    count = found[-1].stage
    chosen = choose_stages(stages, count, default_stages(spec, count))
    kept = choose_blocks(blocks, [block.depth for block in found if block.index == 0])
    candidates = [b for b, keep in zip(found, kept, strict=True) if keep and b.stage in chosen]
    probe = _probe(spec, candidates[0], candidates[0].channels) if candidates else None
    at_end = place == "stage-end" or (place == "auto" and probe and probe.place == "stage-end")
    if at_end:
        candidates = [block for block in candidates if block.index == block.depth - 1]
    if not candidates or probe is None:
        raise UsageError(
            f"--stages {stages} with --blocks {blocks} leaves no place for {spec}",
            hint="--stages all",
        )
    if at_end and probe.needs:
        raise UsageError(
            f"--place stage-end: {spec} needs the block's {' and '.join(sorted(probe.needs))}, "
            "which the end of a stage does not have",
            hint="--place branch",
        )
    places = [
        _end_place(block) if at_end else _branch_place(block, probe, spec, replace)
        for block in candidates
    ]
    widths = {where.channels: block for block, where in zip(candidates, places, strict=True)}
    for channels, block in widths.items():
        _probe(spec, block, channels)
    return list(zip(candidates, places, strict=True))


def _is_none(spec: str) -> bool:
    return spec.strip().lower() == "none"


def _probe(spec: str, block: Block, channels: int) -> ChannelAttention:
    """Return a module without storage: does it fit, and what are its needs, scope and place?"""
    with torch.device("meta"):
        return _build(spec, block.name, channels, stage=block.stage, seed=0)


def _build(spec: str, name: str, channels: int, *, stage: int, seed: int) -> ChannelAttention:
    """Create a module; a fault names the block."""
    try:
        made = create_attention(spec, channels, stage=stage, seed=seed)
    except UsageError as error:
        raise UsageError(f"{name} (C = {channels}): {error.message}", hint=error.hint) from error
    if isinstance(made, NoAttention):
        raise TypeError(f"nothing to build for {spec!r}")
    return made


def _create(
    spec: str, where: Place, block: nn.Module, identity_start: bool, seed: int
) -> ChannelAttention:
    """Create the module of a place, on the block's device, in its dtype and mode."""
    example = next(block.parameters())
    with torch.device("meta" if example.is_meta else "cpu"):
        made = _build(spec, where.name, where.channels, stage=where.stage, seed=seed)
        if identity_start:
            made = IdentityStart(made)
    return made.to(example.device, example.dtype).train(block.training)


def _module_seed(seed: int, number: int) -> int:
    """Return the seed of the module of block `number`: 63 bits of a hash of both."""
    digest = hashlib.sha256(f"attention {seed} {number}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _end_place(block: Block) -> Place:
    return Place(
        f"{block.stage_name}.attn",
        block.stage,
        block.index,
        block.out_channels,
        "stage end",
        f"the output of stage {block.stage}",
    )


def _branch_place(block: Block, probe: ChannelAttention, spec: str, replace: bool) -> Place:
    mechanism, child = _mechanism(block, probe, spec)
    taken = slot_taken(block.module)
    if taken is not None and not replace:
        raise UsageError(
            f"{block.name}.se is taken already, by {type(taken).__name__}",
            hint="add --replace to put the new module in its place",
        )
    note = f"after {block.last_norm}, before the addition"
    if block.kind == "timm inverted":
        note = "after the depthwise convolution, not at the end of the branch"
    return Place(f"{block.name}.{child}", block.stage, block.index, block.channels, mechanism, note)


def _mechanism(block: Block, probe: ChannelAttention, spec: str) -> tuple[Mechanism, str]:
    """Return how the module gets into the block, and under which name."""
    if block.kind == "qr":
        return "block argument", "attn"
    if block.kind == "timm inverted":
        if probe.needs:
            raise UsageError(
                f"{spec} needs the block's {' and '.join(sorted(probe.needs))}, which "
                f"{type(block.module).__name__} ({block.name}) does not give",
                hint="use a ResNet, or a module that sees the feature map only, such as se",
            )
        return "slot", "se"
    if not probe.needs and block.kind == "timm resnet":
        return "slot", "se"
    norm = block.module.get_submodule(block.last_norm)
    if not probe.needs and (is_plain_batch_norm(norm) or isinstance(norm, PassThrough)):
        return "batch norm", f"{block.last_norm}.attn"
    return "explicit block", "attn"
