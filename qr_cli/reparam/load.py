"""A folded network of the RepVGG and MobileOne authors, or of any class, from its folder alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from qr_cli.attention.folded import apply_form
from qr_cli.attention.weights import Weights, load_state
from qr_cli.engine.checkpoint import read_card, read_weights, resolve
from qr_cli.errors import WeightsError
from qr_cli.registry import import_target
from qr_cli.reparam.names import OFFICIAL, parse_arch
from qr_cli.reparam.official import create_official


def load(path: str | Path, *, which: str = "last") -> nn.Module:
    """Return the network of a folder that `qr reparam` wrote, in evaluation mode.

    Raises:
        WeightsError: the folder is damaged, or says not how its network is built.
    """
    folder = resolve(Path(path), which)
    card = read_card(folder)
    net: Any = build_reparam(card)
    apply_form(net, card.get("form", {}))
    load_state(net, Weights(read_weights(folder), str(folder)))
    net.card = card
    for name in ("classes", "input_size", "mean", "std"):
        if name in card:
            setattr(net, name, tuple(card[name]))
    return net.eval()


def build_reparam(card: Mapping[str, Any]) -> nn.Module:
    """Return the network of a card, untrained."""
    node = parse_arch(str(card.get("arch")))
    if node.name in OFFICIAL:
        options = dict(card.get("options", {}))
        return create_official(node.name, classes=card["num_classes"], **options)
    if ":" in node.name:
        return import_target(node.name)(**dict(node.options))
    raise WeightsError(f"model.json names no network that can be built: {card.get('arch')!r}")
