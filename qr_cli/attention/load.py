"""A trained network from its checkpoint alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from qr_cli.attention.backbones.create import create_backbone
from qr_cli.attention.folded import apply_form
from qr_cli.attention.weights import Weights, load_state
from qr_cli.engine.checkpoint import read_card, read_weights, resolve
from qr_cli.engine.damage import damaged
from qr_cli.errors import WeightsError
from qr_cli.registry import only_code_of


def load(path: str | Path, *, which: str = "last") -> nn.Module:
    """Return the network of a run or checkpoint, in evaluation mode.

    It carries `classes` (names), `mean` and `std` (per channel, of images in [0, 1]), `input_size`
    (channels, height, width) and `card` (model.json).

    Args:
        path: a run folder or a checkpoint folder.
        which: "last" or "best" checkpoint of a run; best is what its best.json names.

    Raises:
        WeightsError: there is no checkpoint, it is damaged, or its weights do not fit.
    """
    folder = resolve(Path(path), which)
    card = read_card(folder)
    if card.get("task") != "attention":
        raise WeightsError(f"{folder} is a checkpoint of {card.get('task')}, not of attention")
    file = folder / "model.json"
    with damaged(file, WeightsError):
        try:
            with only_code_of(()):
                net: Any = network(card)
            net.classes, net.input_size = tuple(card["classes"]), tuple(card["input_size"])
            net.mean, net.std = tuple(card["mean"]), tuple(card["std"])
        except KeyError as error:
            raise WeightsError(f"{file} lacks {error}") from error
    net.card = card
    load_state(net, Weights(read_weights(folder), str(folder)))
    return net.eval()


def network(card: Mapping[str, Any]) -> nn.Module:
    """Return the network that model.json describes, as it is drawn from the run's seed."""
    net = create_backbone(
        card["arch"],
        num_classes=card["num_classes"],
        module=card["module"],
        stages=card["stages"],
        blocks=card["blocks"],
        place=card["place"],
        replace=card.get("replace", False),
        identity_start=card["identity_start"],
        srp=card.get("srp"),
        srp_at=card.get("srp_at", "blocks"),
        srp_init=card.get("srp_init", "auto"),
        seed=card["seed"],
    )
    if "form" in card:  # of a folded network
        apply_form(net, card["form"])
    return net
