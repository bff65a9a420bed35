"""Put re-parameterization blocks into a network, each in the place of a 3x3 convolution and its BN.

The block takes the convolution's name; where the BN was stands a pass-through, which may hold
attention as the BN could. Load pretrained weights first, replace second, attach attention third.
Each block is drawn from a generator of its own, seeded by the run's seed and its number.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import torch
from torch import Tensor, nn

from qr_cli.attention.backbones.batch_norm import PassThrough, is_plain_batch_norm
from qr_cli.attention.backbones.records import residual_blocks
from qr_cli.attention.feeds import Pair, pairs, record
from qr_cli.attention.grammar import canonical
from qr_cli.attention.names import SRP
from qr_cli.attention.srp.block import Block, Shape
from qr_cli.attention.srp.names import resolve_srp
from qr_cli.errors import UsageError

SIDE = 64  # pixels of the example when none is given

At = Literal["blocks", "all"]
Init = Literal["official", "preserve"]


def replace(
    model: nn.Module,
    spec: str,
    example: Tensor | None = None,
    *,
    at: At = "blocks",
    init: Init = "official",
    seed: int = 0,
) -> nn.Module:
    """Put blocks into `model`, in place, and return it.

    Args:
        model: a network; also on the meta device.
        spec: the block, ``"dbb"`` or ``"mobileone(branches=2)"``.
        example: an input it accepts, to see which convolution feeds which BN; default: 2 images of
            64 x 64.
        at: "blocks" leaves the stem alone, "all" takes it too.
        init: "official" draws the blocks anew; "preserve" keeps the function of the network.
        seed: of the blocks' starts.

    Raises:
        UsageError: no such block, or no 3x3 convolution with a BN that it could replace.
    """
    node = resolve_srp(spec)
    made = SRP.load(node.name)
    places = find(model, example, at=at, kind=canonical(node))
    for number, pair in enumerate(places):
        conv, norm = model.get_submodule(pair.conv), model.get_submodule(pair.norm)
        assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        block = _create(made, Shape.of(conv, norm), dict(node.options), conv, _seed(seed, number))
        if init == "preserve":
            block.preserve(conv, norm)
        model.set_submodule(pair.conv, block)
        model.set_submodule(pair.norm, PassThrough.of(norm))
    return model


def find(
    model: nn.Module, example: Tensor | None = None, *, at: At = "blocks", kind: str = "a block"
) -> list[Pair]:
    """Return the convolutions and BNs that blocks would replace, in the order they run.

    A 3x3 convolution whose padding is its dilation and that feeds one BN and nothing else.

    Raises:
        UsageError: there is none.
    """
    example = _example(model) if example is None else example
    try:
        found = pairs(record(model, example))
    except (RuntimeError, ValueError, AssertionError) as error:
        size = "x".join(map(str, example.shape[1:]))
        raise UsageError(
            f"--srp: {_shown(model)} refuses the example of {size} by which its convolutions are "
            f"looked at: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            hint="another --arch",
        ) from error
    fitting = [pair for pair in found if _fits(model, pair)]
    if at == "blocks":
        stem = _stem(model, found)
        fitting = [pair for pair in fitting if pair not in stem]
    if not fitting:
        convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
        sizes = sorted({"x".join(map(str, conv.kernel_size)) for conv in convs})
        raise UsageError(
            f"--srp: {kind} finds no 3x3 convolution with a batch norm in {_shown(model)}; found: "
            f"{len(convs)} convolutions ({', '.join(sizes) or 'none'}), {len(found)} with a batch "
            "norm of their own",
            hint="--srp-at all takes the stem too" if at == "blocks" else "another --arch",
        )
    return fitting


def _example(model: nn.Module) -> Tensor:
    """Return two images, of the size timm names where a network takes no other."""
    config: Any = getattr(model, "pretrained_cfg", None) or {}
    size = config["input_size"] if config.get("fixed_input_size") else (3, SIDE, SIDE)
    return next(model.parameters()).new_zeros(2, *size)


def has_blocks(model: nn.Module) -> bool:
    """Whether any block stands in the network."""
    return any(isinstance(module, Block) for module in model.modules())


def _fits(model: nn.Module, pair: Pair) -> bool:
    conv, norm = model.get_submodule(pair.conv), model.get_submodule(pair.norm)
    return (
        type(conv) is nn.Conv2d
        and is_plain_batch_norm(norm)
        and norm.weight is not None
        and conv.kernel_size == (3, 3)
        and conv.padding == conv.dilation
        and len({*conv.dilation}) == len({*conv.stride}) == 1
    )


def _stem(model: nn.Module, found: list[Pair]) -> list[Pair]:
    """Return the pairs before the first residual block; without any block the first pair."""
    inside = [f"{block.name}." for block in residual_blocks(model)] if _residual(model) else []
    if not inside:
        return found[:1]
    first = next((n for n, p in enumerate(found) if p.conv.startswith(tuple(inside))), 0)
    return found[:first]


def _residual(model: nn.Module) -> bool:
    try:
        return bool(residual_blocks(model))
    except UsageError:
        return False


def _create(made: Any, shape: Shape, options: dict[str, Any], conv: nn.Conv2d, seed: int) -> Block:
    """Create a block on the convolution's device, in its dtype and mode."""
    weight = conv.weight
    with (
        torch.random.fork_rng(devices=[]),
        torch.device("meta" if weight.is_meta else "cpu"),
    ):
        torch.default_generator.manual_seed(seed)
        block: Block = made(shape, **options)
    return block.to(weight.device, weight.dtype).train(conv.training)


def _seed(seed: int, number: int) -> int:
    """Return the seed of block `number`: 63 bits of a hash of both."""
    digest = hashlib.sha256(f"srp {seed} {number}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _shown(model: nn.Module) -> str:
    return getattr(model, "arch", None) or type(model).__name__
