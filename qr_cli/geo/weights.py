"""Weights: from a run, a checkpoint or the package; and into the package."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from qr_cli.engine import checkpoint
from qr_cli.engine.damage import damaged
from qr_cli.engine.files import whole, write_text
from qr_cli.engine.tensors import save_tensors
from qr_cli.errors import WeightsError, near
from qr_cli.geo.tiny import Tiny
from qr_cli.geo.vocab import Vocabulary

SHIPPED = Path(__file__).parent / "weights"
DEFAULT = "geoformer-tiny"


def load_model(name: str) -> tuple[Any, dict[str, Any]]:
    """Return a model in evaluation mode and its card.

    Args:
        name: a shipped name, a run folder or a checkpoint.

    Raises:
        WeightsError: there is none, it is of another task, or it is damaged.
    """
    shipped = SHIPPED / f"{name}.safetensors"
    if shipped.is_file():
        card = json.loads(shipped.with_suffix(".json").read_text("utf-8"))
        return build(card, _read(shipped), name), card
    path = Path(name)
    if not path.is_dir():
        known = [p.stem for p in SHIPPED.glob("*.safetensors")]
        raise WeightsError(
            f"--checkpoint: no such name or folder, got {name}{near(name, known)}",
            hint="qr train geo",
        )
    folder, card = open_checkpoint(path)
    if card.get("preset") == "geoformer":
        from qr_cli.geo.official import reload_geoformer

        return reload_geoformer(card, checkpoint.read_weights(folder), name), card
    return build(card, checkpoint.read_weights(folder), name), card


def open_checkpoint(path: Path) -> tuple[Path, dict[str, Any]]:
    """Return the checkpoint of a run, the best where there is one, and its card.

    Raises:
        WeightsError: there is none, or it is of another task.
    """
    folder = checkpoint.resolve(path, "best" if (path / "best.json").exists() else "last")
    card = checkpoint.read_card(folder)
    if card.get("task") != "geo":
        raise WeightsError(f"checkpoint is {card.get('task')}, expected geo")
    return folder, card


def _read(path: Path) -> dict[str, Any]:
    with damaged(path, WeightsError, also=(SafetensorError,)):
        return load_file(path)


def build(card: dict[str, Any], state: dict[str, Any], name: str) -> Tiny:
    """Return the model of a card with its weights.

    Raises:
        WeightsError: they do not fit.
    """
    try:
        model = Tiny(
            Vocabulary(card["words"]), classes=card.get("classes"), marks=card.get("marks", 0),
            vision=card["vision"],
            width=card["width"], inner=card["inner"], layers=card["layers"], heads=card["heads"],
        )  # fmt: skip
        if card.get("folded") and card["vision"]:
            model.stem.fold()
        model.load_state_dict({key: value.float() if value.is_floating_point() else value
                               for key, value in state.items()})  # fmt: skip
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise WeightsError(f"{name} does not fit this model: {reason}") from error
    return model.eval()


def pack(model: Tiny, card: dict[str, Any], path: Path) -> int:
    """Write a model as it ships and return the size of its weights in bytes.

    Batch norms are folded into the convolutions, the heads of training left out, numbers halved to
    float16. The card stands beside the weights, as JSON.

    Args:
        model: in evaluation mode; it is changed.
        card: its model.json, and whatever else is to be kept with it.
        path: ``NAME.safetensors``.
    """
    if model.vision:
        model.stem.fold()
    state = {
        name: value.half().contiguous() for name, value in model.state_dict().items()
        if not name.startswith(("relation.", "marks."))
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as hidden:
        save_tensors(state, hidden)
    told = {**card, "folded": model.vision, "classes": {}, "marks": 0}
    write_text(path.with_suffix(".json"), json.dumps(told, ensure_ascii=False, indent=1) + "\n")
    return path.stat().st_size


def card(model: Any) -> dict[str, Any]:
    """Return model.json."""
    if not isinstance(model, Tiny):
        return {
            "task": "geo", "preset": "geoformer", "tokenizer": model.vocabulary.folder,
            "sizes": asdict(model.decoder.sizes),
        }  # fmt: skip
    sizes = model.encoder.sizes
    return {
        "task": "geo", "preset": "geoformer-tiny", "vision": model.vision, "folded": False,
        "width": sizes.width, "inner": sizes.inner, "layers": sizes.layers, "heads": sizes.heads,
        "classes": {name: count for name, (_, count) in model.families.items()},
        "marks": model.marks.out_features if hasattr(model, "marks") else 0,
        "words": list(model.vocabulary.words),
    }  # fmt: skip


def take(model: nn.Module, old: nn.Module) -> None:
    """Copy the weights that two models share."""
    mine = model.state_dict()
    theirs = {k: v for k, v in old.state_dict().items() if k in mine and mine[k].shape == v.shape}
    model.load_state_dict(theirs, strict=False)
