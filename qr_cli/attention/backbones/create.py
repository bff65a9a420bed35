"""Build a network from strings: backbone, weights, re-parameterization blocks, attention.

The backbone's start is drawn from the seed first; every attention module then has a generator of
its own (`insert`). Two networks that differ only in their module therefore share the backbone's
start bit for bit [ours], and the global generator is left as it was.
"""

from __future__ import annotations

import logging
from typing import Any, Literal

import torch
from torch import nn

from qr_cli.attention.backbones.names import TORCHVISION_RESNETS, Arch, parse_arch
from qr_cli.attention.backbones.select import Stages
from qr_cli.attention.insert import attach
from qr_cli.attention.names import BACKBONES
from qr_cli.attention.srp.replacing import replace as replace_convolutions
from qr_cli.attention.weights import holds_attention, holds_blocks, load_state, read_weights
from qr_cli.errors import UsageError

SMALL_SIDE = 96  # pixels; below, a stem that divides the side by four leaves little

_log = logging.getLogger(__name__)


def create_backbone(
    arch: str,
    *,
    num_classes: int | None = None,
    module: str = "none",
    stages: Stages = "auto",
    blocks: str | None = None,
    place: Literal["auto", "branch", "stage-end"] = "auto",
    seed: int = 0,
    weights: str | None = None,
    srp: str | None = None,
    srp_at: Literal["blocks", "all"] = "blocks",
    srp_init: Literal["auto", "official", "preserve"] = "auto",
    identity_start: bool | Literal["auto", "yes", "no"] = "auto",
    image_size: int | tuple[int, int] | None = None,
    replace: bool = False,
    reset_head: bool = False,
    download: bool = False,
) -> nn.Module:
    """Return a network with attention; its attribute `arch` holds the canonical name.

    Args:
        arch: ``resnet20``, ``qr:resnet56(shortcut=pad)``, ``torchvision:resnet50``, ``timm:NAME``.
        num_classes: outputs of the classifier; None when `arch` says it (``classes=10``).
        module: the attention, "none" for a plain network; also in `arch` (``module="se"``).
        stages: as in `insert.attach`, like `blocks`, `place` and `replace`.
        blocks: as in `insert.attach`.
        place: as in `insert.attach`.
        seed: of the start.
        weights: as in `weights.load_weights`, like `reset_head` and `download`; None for none.
        srp: re-parameterization block, ``"dbb"``, that replaces 3x3 convolutions and their BNs;
            also in `arch` (``srp="dbb"``).
        srp_at: as in `srp.replace.replace`.
        srp_init: the same; "auto" is "preserve" exactly when weights without blocks are loaded.
        identity_start: "auto" is yes exactly when weights are loaded that hold no attention.
        image_size: side or sides in pixels, only to warn of a stem that does not fit.
        replace: as in `insert.attach`.
        reset_head: as in `weights.load_weights`.
        download: as in `weights.load_weights`.

    Raises:
        UsageError: a name, option, stage, mask or place cannot be meant.
        WeightsError: the weights do not fit.
        EnvironmentFault: weights are not on this machine and `download` is off.
        MissingExtra: timm is needed and not installed.
    """
    parsed = parse_arch(arch)
    module = _one("module", parsed.options.get("module"), None if _plain(module) else module)
    srp = _one("srp", parsed.options.get("srp"), srp)
    classes = _one("classes", parsed.options.get("classes"), num_classes)
    if classes is None:
        raise UsageError(f"--num-classes is needed for {parsed}", hint="--num-classes 10")
    _warn_of_stem(parsed, image_size)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        net: nn.Module = BACKBONES.load(parsed.family)(parsed.name, parsed.options, classes)
    net.arch = str(parsed)  # type: ignore[assignment]  # neither tensor nor module
    state = None if weights is None else read_weights(net, weights, download=download)
    attended = state is not None and holds_attention(net, state.tensors)
    branched = state is not None and srp is not None and holds_blocks(state.tensors)
    if state is not None and not (attended or branched):
        load_state(net, state, reset_head=reset_head)
    if srp is not None and (branched or not attended):
        fresh = state is None or branched
        replace_convolutions(net, srp, at=srp_at, init=_init(srp_init, fresh), seed=seed)
    if module is not None:
        attach(
            net,
            module,
            stages=stages,
            blocks=blocks,
            place=place,
            identity_start=_identity(identity_start, state is not None and not attended),
            replace=replace,
            seed=seed,
        )
    if state is not None and (attended or branched):
        load_state(net, state, reset_head=reset_head)
    if srp is not None and attended and not branched:
        replace_convolutions(net, srp, at=srp_at, init=_init(srp_init, False), seed=seed)
    return net


def _init(wish: str, fresh: bool) -> Literal["official", "preserve"]:
    if wish == "auto":
        return "official" if fresh else "preserve"
    return "preserve" if wish == "preserve" else "official"


def _plain(module: str | None) -> bool:
    return module is None or module.strip().lower() == "none"


def _one(name: str, inside: Any, outside: Any) -> Any:
    """Return the one of two values that is given; both may be, if they are equal."""
    if inside is not None and outside is not None and inside != outside:
        raise UsageError(
            f"--arch: {name}={inside} in the brackets, but {outside} is asked for beside it",
            hint=f"leave {name} out of --arch",
        )
    return outside if inside is None else inside


def _identity(wish: bool | str, fresh_on_weights: bool) -> bool:
    if wish == "auto":
        return fresh_on_weights
    if wish in (True, False, "yes", "no"):
        return wish in (True, "yes")
    raise UsageError(
        f"--identity-start: must be auto, yes or no, got {wish!r}", hint="--identity-start auto"
    )


def _warn_of_stem(arch: Arch, image_size: int | tuple[int, int] | None) -> None:
    if image_size is None or "stem" in arch.options:
        return
    if arch.family != "torchvision" or arch.name not in TORCHVISION_RESNETS:
        return
    side = image_size if isinstance(image_size, int) else min(image_size)
    if side < SMALL_SIDE:
        _log.warning(
            "images of %d pixels lose most of their detail in the stem of %s; "
            "hint: --arch '%s(stem=cifar)'",
            side,
            arch,
            arch,
        )
