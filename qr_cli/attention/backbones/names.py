"""What an ``--arch`` string means (imports no torch).

    resnet20                       a CIFAR ResNet of ours, or torchvision's where it has the name
    resnet20(shortcut=pad)         options in brackets
    qr: torchvision: timm:         the family, said explicitly; `qr` is the CIFAR ResNet

Depths of the CIFAR ResNet: 6n + 2 with basic blocks, 9n + 2 with bottlenecks. Depths legal in both
are basic, except the official bottleneck nets 83, 164 and 245. Torchvision's own names (resnet18,
34, 50, 101, 152, ...) win over the CIFAR ones unless ``qr:`` is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from qr_cli.attention.grammar import Node, canonical, parse_call
from qr_cli.attention.names import BACKBONES
from qr_cli.errors import UsageError, near

TORCHVISION_RESNETS = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
)
CIFAR_RESNETS = tuple(f"resnet{depth}" for depth in (20, 32, 44, 56, 83, 110, 164, 245))
LAYERS_PER_STEP = {"basic": 6, "bottleneck": 9}

_OFFICIAL_BOTTLENECKS = (83, 164, 245)
# option -> the words it takes, the first is the default; None: any value
_OPTIONS: dict[str, dict[str, tuple[str, ...] | None]] = {
    "qr": {
        "block": ("basic", "bottleneck"),
        "shortcut": ("conv", "pad"),
        "classes": None,
        "module": None,
        "srp": None,
    },
    "torchvision": {"stem": ("imagenet", "cifar"), "module": None, "srp": None, "classes": None},
}


@dataclass(frozen=True)
class Arch:
    """A backbone's name, taken apart.

    Args:
        family: a name of the table of backbone families.
        name: the name within the family.
        options: what stood in the brackets, defaults left out.
    """

    family: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        options = tuple(sorted(self.options.items()))
        return canonical(Node(f"{self.family}:{self.name}", (), options))


def check_arch(arch: str) -> str:
    """Return the canonical text of `arch`, ``family:name(option=value,...)``.

    Raises:
        UsageError: the name is unknown, the depth illegal, an option unknown.
    """
    return str(parse_arch(arch))


def parse_arch(arch: str) -> Arch:
    """Take an ``--arch`` string apart; raises UsageError as `check_arch` does."""
    node = parse_call(arch)
    if node.args:
        raise UsageError(
            f"--arch: {arch!r} has a positional argument; a backbone takes key=value only",
            hint="qr list archs",
        )
    family, name = _family(node.name)
    options = dict(node.options)
    if family in _OPTIONS:
        _check_options(family, name, options)
    if family == "qr":
        options = _check_cifar(name, options)
    elif family == "torchvision":
        options = {key: value for key, value in options.items() if value != "imagenet"}
    return Arch(family, name, options)


def legal_depths(depth: int, blocks: Iterable[str] = tuple(LAYERS_PER_STEP)) -> list[int]:
    """Return the legal depths next to `depth` for these kinds of block, in order."""
    steps = [LAYERS_PER_STEP[block] for block in blocks]
    nearest = {step * max(1, (depth - 2) // step + more) + 2 for step in steps for more in (0, 1)}
    return sorted(nearest)


def block_of(name: str, options: Mapping[str, Any]) -> str:
    """Return which block, basic or bottleneck, the CIFAR ResNet `name` has."""
    if "block" in options:
        return str(options["block"])
    return _default_block(_depth(name))


def _family(name: str) -> tuple[str, str]:
    prefix, colon, rest = name.partition(":")
    if colon:
        if prefix.lower() in BACKBONES:
            family = prefix.lower()
            return family, rest.lower() if family in _OPTIONS else rest
        raise UsageError(
            f"--arch: unknown backbone family {prefix!r}{near(prefix, BACKBONES)}",
            hint=BACKBONES.listing,
        )
    name = name.lower()
    if name in TORCHVISION_RESNETS:
        return "torchvision", name
    if re.fullmatch(r"resnet\d+", name):
        return "qr", name
    raise UsageError(
        f"--arch: unknown backbone {name!r}{near(name, (*CIFAR_RESNETS, *TORCHVISION_RESNETS))}",
        hint=f"{BACKBONES.listing}; other networks are torchvision:NAME and timm:NAME",
    )


def _check_options(family: str, name: str, options: Mapping[str, Any]) -> None:
    known = _OPTIONS[family]
    for key, value in options.items():
        if key not in known:
            hint = f"options of {family}:{name}: {', '.join(known)}"
            if family == "torchvision" and key in _OPTIONS["qr"]:
                hint = f"the CIFAR ResNet of this name is qr:{name}({key}={value})"
            raise UsageError(
                f"--arch: {family}:{name} has no option {key!r}{near(key, known)}", hint=hint
            )
        words = known[key]
        if words and value not in words:
            raise UsageError(
                f"--arch: {key} must be {' or '.join(words)}, got {value!r}",
                hint=f"{family}:{name}({key}={words[-1]})",
            )


def _check_cifar(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Check depth and options of a CIFAR ResNet and drop the defaults among the options."""
    if not re.fullmatch(r"resnet\d+", name):
        raise UsageError(
            f"--arch: unknown backbone 'qr:{name}'{near(name, CIFAR_RESNETS)}",
            hint="qr:resnetN with N = 6n+2 (basic) or 9n+2 (bottleneck)",
        )
    depth = _depth(name)
    blocks = [options["block"]] if "block" in options else list(LAYERS_PER_STEP)
    if depth not in legal_depths(depth, blocks):
        raise _illegal_depth(name, depth, blocks)
    classes = options.get("classes")
    if classes is not None and (type(classes) is not int or classes < 1):
        raise UsageError(
            f"--arch: classes must be a whole number of at least 1, got {classes!r}",
            hint=f"qr:{name}(classes=10)",
        )
    defaults = {"block": _default_block(depth), "shortcut": "conv"}
    kept = {key: value for key, value in options.items() if defaults.get(key) != value}
    return kept | {key: str(kept[key]) for key in ("module", "srp") if key in kept}


def _illegal_depth(name: str, depth: int, blocks: list[str]) -> UsageError:
    nearest = legal_depths(depth, blocks)
    rules = " or ".join(f"{LAYERS_PER_STEP[block]}n+2 ({block})" for block in blocks)
    inside = f"(block={blocks[0]})" if len(blocks) == 1 else ""
    return UsageError(
        f"--arch: depth must be {rules}, got {depth} in {name!r}: "
        f"nearest {', '.join(map(str, nearest))}",
        hint=f"--arch qr:resnet{nearest[0]}{inside}",
    )


def _depth(name: str) -> int:
    return int(name.removeprefix("resnet"))


def _default_block(depth: int) -> str:
    if depth in _OFFICIAL_BOTTLENECKS or (depth - 2) % LAYERS_PER_STEP["basic"]:
        return "bottleneck"
    return "basic"
