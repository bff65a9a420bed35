"""The preset `geoformer` in use: T5's tokeniser, the authors' inputs, weights from files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from qr_cli.engine import checkpoint
from qr_cli.engine.tensors import NO_TENSORS, load_torch
from qr_cli.errors import WeightsError
from qr_cli.geo.geoformer import BatchNorm, Geoformer
from qr_cli.geo.inputs import Words
from qr_cli.geo.pieces import Pieces
from qr_cli.geo.records import Problem
from qr_cli.geo.slotting import slots
from qr_cli.geo.stack import Sizes
from qr_cli.geo.text import normalize
from qr_cli.geo.weights import open_checkpoint

NEEDS = "geoformer needs --weights DIR with model.safetensors and spiece.model"
_STATES = ("model.safetensors", "model.pth", "pytorch_model.bin")


def words(problem: Problem) -> Words:
    """Return a problem as the authors feed it: its text, slots in place, prefix first."""
    if problem.task == "proving":
        text = problem.slot_text or problem.text
        body, _, listed = text.removeprefix("Proving:").partition("(Elements:")
        elements = problem.elements or tuple(e for e in listed.strip(" )").split(",") if e.strip())
        told = "".join(f" {e.strip()} ," for e in elements)
        source = f"Proving: {body.strip()} (Elements:{told} )"
        return Words(source.split(), (), tuple(e.strip() for e in elements))
    if problem.slot_text is not None and problem.numbers is not None:
        text, numbers = problem.slot_text, problem.numbers
    else:
        found = slots(problem.text, mode="official")
        text, numbers = found.text, tuple(found.numbers)
    text = normalize(re.sub(r"^Calculation:\s*", "", text))
    return Words(f"Calculation: {text}".split(), numbers)


def picture(problem: Problem) -> NDArray[Any] | None:
    """Return a problem's diagram as pixels: grey for calculations, BGR for proofs.

    Raises:
        DataError: it cannot be read.
    """
    if problem.diagram is None:
        return None
    from io import BytesIO

    from PIL import Image

    from qr_cli.geo.diagrams import read_diagram

    grey = np.asarray(Image.open(BytesIO(read_diagram(problem.diagram))))
    return grey if problem.task == "calculation" else np.repeat(grey[..., None], 3, axis=2)


def load_geoformer(
    weights: str, *, resnet: str | None = None, dropout: float = 0.1, vision_bn: BatchNorm = "eval"
) -> Geoformer:
    """Return Geoformer with weights of plain T5 or of the authors.

    Args:
        weights: a folder with weights, spiece.model and, for other sizes than T5-base, config.json.
        resnet: weights of torchvision's ResNet-101, where the folder's have none.
        dropout: of every residual branch.
        vision_bn: what the ResNet's batch norms do in training.

    Raises:
        WeightsError: something is missing or does not fit.
    """
    folder = Path(weights)
    if any((folder / name).is_file() for name in ("latest.json", "model.json")):
        path, told = open_checkpoint(folder)  # a run of ours goes on from its weights
        if told.get("preset") != "geoformer":
            raise WeightsError(f"{folder} is {told.get('preset')}, expected geoformer")
        model = reload_geoformer(told, checkpoint.read_weights(path), weights)
        model.vision_bn = vision_bn
        return model
    state_file = next((folder / name for name in _STATES if (folder / name).is_file()), None)
    if state_file is None or not list(folder.glob("*piece*")) + list(folder.glob("tokenizer.json")):
        raise WeightsError(NEEDS, hint="save T5-base there with save_pretrained")
    model = Geoformer(_sizes(folder, dropout), vision_bn=vision_bn)
    state = read_state(state_file)
    if resnet is not None:
        state |= _resnet_names(read_state(Path(resnet)))
    try:
        missing = model.take(state)
    except (ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise WeightsError(f"{state_file} does not fit geoformer: {reason}") from error
    if any(name.startswith("resnet.") for name in missing):
        raise WeightsError(
            f"{state_file} has no weights of the ResNet-101",
            hint="--resnet resnet101.safetensors (torchvision, ImageNet)",
        )
    if any(".block." in name for name in missing):
        raise WeightsError(f"{state_file} lacks {missing[0]}", hint=NEEDS)
    model.vocabulary = tokenizer(folder, len(model.shared.weight))
    return model


def reload_geoformer(told: Mapping[str, Any], state: Mapping[str, Tensor], name: str) -> Geoformer:
    """Return the model of a checkpoint of ours, in evaluation mode.

    Args:
        told: its model.json; names the folder of the tokeniser.
        state: its weights.
        name: for messages.

    Raises:
        WeightsError: they do not fit, or the tokeniser is gone.
    """
    try:
        model = Geoformer(Sizes(**told["sizes"]))
        model.take(state)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise WeightsError(f"{name} does not fit geoformer: {reason}") from error
    model.vocabulary = tokenizer(Path(told["tokenizer"]), len(model.shared.weight))
    return model.eval()


def _sizes(folder: Path, dropout: float) -> Sizes:
    """Return the sizes of a folder's config.json, of T5-base without one."""
    import json

    from qr_cli.geo.geoformer import PIECES

    path = folder / "config.json"
    if not path.is_file():
        return Sizes(PIECES, dropout=dropout)
    told = json.loads(path.read_text("utf-8"))
    try:
        return Sizes(
            PIECES, told["d_model"], told["d_kv"], told["d_ff"], told["num_layers"],
            told["num_heads"], dropout,
        )  # fmt: skip
    except KeyError as error:
        raise WeightsError(f"{path} is no T5: it has no {error}", hint=NEEDS) from error


def tokenizer(folder: Path, size: int) -> Pieces:
    """Return T5's tokeniser of a folder.

    Raises:
        WeightsError: transformers cannot read it.
    """
    from transformers import AutoTokenizer

    try:
        known: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).partition("\n")[0]
        raise WeightsError(f"{folder}: its tokeniser cannot be read: {reason}") from error
    return Pieces(known, size, str(folder.resolve()))


def read_state(path: Path) -> dict[str, Tensor]:
    """Return weights of a file, safetensors or a `.pth` of plain tensors.

    Raises:
        WeightsError: it cannot be read safely.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state: Any = load_torch(path)
    except NO_TENSORS as error:
        raise WeightsError(
            f"{path}: cannot be read safely; save it again as safetensors",
            hint=str(error).partition("\n")[0][:80],
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"{path}: holds no weights by name")
    return dict(state)


def _resnet_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return torchvision's names as those of the authors' sequence."""
    place = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
    found = {}
    for name, value in state.items():
        first, _, rest = name.partition(".")
        if first in place:
            found[f"resnet.{place[first]}.{rest}"] = value
    return found
