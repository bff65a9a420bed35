"""A folded network of the RepVGG and MobileOne authors, or of any class, from its folder alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from qr_cli.attention.folded import apply_form
from qr_cli.attention.grammar import Node
from qr_cli.attention.weights import Weights, load_state
from qr_cli.engine.checkpoint import read_card, read_weights, resolve
from qr_cli.errors import UsageError, WeightsError
from qr_cli.registry import import_foreign, only_code_of
from qr_cli.reparam.names import OFFICIAL, parse_arch
from qr_cli.reparam.official import create_official


def load(path: str | Path, *, which: str = "last") -> nn.Module:
    """Return the network of a folder that `qr reparam` wrote, in evaluation mode.

    Raises:
        WeightsError: the folder is damaged, or says not how its network is built.
    """
    folder = resolve(Path(path), which)
    card = read_card(folder)
    with only_code_of(()):
        net: Any = build_reparam(card)
    apply_form(net, card.get("form", {}))
    load_state(net, Weights(read_weights(folder), str(folder)))
    net.card = card
    for name in ("classes", "input_size", "mean", "std"):
        if name in card:
            setattr(net, name, tuple(card[name]))
    return net.eval()


def build_foreign(node: Node) -> nn.Module:
    """Return the network of a ``package.module:Class``.

    Raises:
        UsageError: it was not asked for, or is no class of networks.
    """
    made = import_foreign(node.name)
    if not (isinstance(made, type) and issubclass(made, nn.Module)):
        raise UsageError(f"{node.name} is no torch module", hint="--arch package.module:Class")
    return made(**dict(node.options))


def build_reparam(card: Mapping[str, Any]) -> nn.Module:
    """Return the network of a card, untrained."""
    node = parse_arch(str(card.get("arch")))
    if node.name in OFFICIAL:
        options = dict(card.get("options", {}))
        return create_official(node.name, classes=card["num_classes"], **options)
    if ":" in node.name:
        return build_foreign(node)
    raise WeightsError(f"model.json names no network that can be built: {card.get('arch')!r}")
