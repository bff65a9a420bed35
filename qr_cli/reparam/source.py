"""Read what is to be folded: a run, a checkpoint, a folded network, or a weights file.

Loading is strict: what is missing, unexpected or of another shape is listed. Nothing is unpickled
but tensors. What is not finite, or a negative running variance, is refused by name.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qr_cli.attention.augment import NORMALS
from qr_cli.attention.backbones.create import create_backbone
from qr_cli.attention.backbones.names import parse_arch as parse_backbone
from qr_cli.attention.load import load as load_attention
from qr_cli.attention.official import translate
from qr_cli.attention.weights import Weights, head_names, load_state, read_file
from qr_cli.engine.checkpoint import read_card, resolve
from qr_cli.errors import UsageError, WeightsError
from qr_cli.reparam.categories import categories
from qr_cli.reparam.load import build_foreign, build_reparam
from qr_cli.reparam.load import load as load_reparam
from qr_cli.reparam.names import ASR_RESNET, KEYS, OFFICIAL, parse_arch
from qr_cli.reparam.official import is_deployed
from qr_cli.reparam.recipe import Source as Settings

IMAGENET_SIZE, CIFAR_SIZE = (3, 224, 224), (3, 32, 32)
_log = logging.getLogger(__name__)


@dataclass
class Source:
    """What is to be folded.

    Attributes:
        place: as it was named.
        file: the weights file that was read.
        model: the network, in evaluation mode; None with ``--arch keys``.
        tensors: the weights as they were read.
        card: what its model.json will say, "form" excepted.
        input_size: (channels, height, width).
        arch: the canonical name of the network.
        notes: what a reader of the result must know.
    """

    place: str
    file: Path
    model: nn.Module | None
    tensors: Mapping[str, Tensor]
    card: dict[str, Any]
    input_size: tuple[int, ...]
    arch: str
    notes: list[str] = field(default_factory=list)

    @property
    def example(self) -> Tensor:
        """Return an input of batch 2."""
        return torch.zeros(2, *self.input_size)


def open_source(settings: Settings) -> Source:
    """Return the network that a recipe names.

    Raises:
        UsageError: no source, a weights file without its --arch, an --arch that does not fit.
        WeightsError: the file cannot be read, or its weights do not fit or are not finite.
    """
    path = Path(settings.source[0])
    found = _folder(path, settings) if path.is_dir() else _file(path, settings)
    if settings.input_size is not None:
        found.input_size = tuple(int(side) for side in settings.input_size.split(","))
    _require_sound(found.tensors)
    return found


def sha256(path: Path) -> str:
    """Return the hash of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for part in iter(lambda: file.read(1 << 20), b""):
            digest.update(part)
    return digest.hexdigest()


def _folder(path: Path, settings: Settings) -> Source:
    if settings.arch is not None:
        raise UsageError(
            f"--arch: {path} says itself which network it is", hint=f"qr reparam {path}"
        )
    folder = resolve(path, settings.which)
    card = read_card(folder)
    model: Any = (load_reparam if card.get("task") == "reparam" else load_attention)(folder)
    notes = []
    if settings.which == "best" and path != folder:
        notes.append("chosen on test data" if not _has_val(card) else "chosen on validation data")
    own = {k: v for k, v in card.items() if k not in ("form", "folded", "verify")}
    if card.get("task") == "attention":
        own = _unbracketed(own)
    file = folder / ("ema.safetensors" if (folder / "ema.safetensors").exists() else
                     "model.safetensors")  # fmt: skip
    size = tuple(card.get("input_size", CIFAR_SIZE))
    return Source(
        str(path), file, model, model.state_dict(), own, size, str(own.get("arch")), notes
    )


def _unbracketed(card: dict[str, Any]) -> dict[str, Any]:
    """Return a card that names attention and blocks beside the arch and not in its brackets."""
    arch = parse_backbone(str(card["arch"]))
    inside = {key: arch.options[key] for key in ("module", "srp") if key in arch.options}
    options = {key: value for key, value in arch.options.items() if key not in inside}
    return {**card, **inside, "arch": str(type(arch)(arch.family, arch.name, options))}


def _has_val(card: Mapping[str, Any]) -> bool:
    return bool(card.get("evaluation", {}).get("val"))


def _file(path: Path, settings: Settings) -> Source:
    if settings.arch is None and path.is_file():
        raise UsageError(
            f"{path} is a weights file: say which network it is of",
            hint="--arch torchvision:resnet50, or --arch keys to fold by key names",
        )
    if not path.is_file():
        raise WeightsError(f"no run, checkpoint or weights file {str(path)!r}")
    read, entry = read_file(path, settings.weights_key)
    if entry:
        _log.info("weights taken from the entry%s of %s", entry, path.name)
    ignored = [k for k in read if any(fnmatch(k, glob) for glob in settings.ignore)]
    tensors: Mapping[str, Tensor] = {k: v for k, v in read.items() if k not in ignored}
    notes = [f"ignored keys: {', '.join(ignored)}"] if ignored else []
    arch = parse_arch(str(settings.arch))
    text = str(settings.arch)
    if arch.name == KEYS:
        return Source(str(path), path, None, tensors, {}, IMAGENET_SIZE, KEYS, notes)
    if ":" in arch.name and "." in arch.name.partition(":")[0]:
        model = build_foreign(arch)
        card: dict[str, Any] = {"task": "reparam", "arch": text}
        load_state(model, Weights(dict(tensors), path.name))
        return Source(str(path), path, model.eval(), tensors, card, IMAGENET_SIZE, text, notes)
    model, card, tensors = _named(arch.name, dict(arch.options), text, tensors, settings, path.name)
    if ":" in arch.name:
        found = categories(parse_backbone(text), path, sha256(path), card["num_classes"])
        card["classes"] = list(found or card["classes"])
    known: Any = model.eval()
    known.card = card
    for name in ("classes", "mean", "std", "input_size"):
        setattr(known, name, tuple(card[name]))
    size = tuple(card["input_size"])
    return Source(str(path), path, model, tensors, card, size, card["arch"], notes)


def _named(
    name: str,
    options: dict[str, Any],
    text: str,
    tensors: Mapping[str, Tensor],
    settings: Settings,
    source: str,
) -> tuple[nn.Module, dict[str, Any], Mapping[str, Tensor]]:
    """Return network, card and weights of a named architecture."""
    given = options.pop("classes", None) or settings.num_classes
    if name in OFFICIAL and name != ASR_RESNET:
        classes = given or _outputs(tensors, ("linear",), source)
        options.setdefault("deploy", is_deployed(tensors))
        card = _card(name, classes, IMAGENET_SIZE) | {"task": "reparam", "options": options}
        model = build_reparam(card)
    elif name == ASR_RESNET:
        tensors, family = translate(tensors)
        module, tensors = _asr_module(tensors, bool(options.get("both")), family)
        classes = given or _outputs(tensors, ("fc",), source)
        depth = options.get("depth", 164)
        card = _card(f"qr:resnet{depth}(block=bottleneck)", classes, CIFAR_SIZE, module)
        model = create_backbone(card["arch"], num_classes=classes, module=module)
        card["arch"] = model.arch
    else:
        parsed = parse_backbone(text)
        plain = create_backbone(text, num_classes=given or 2)
        heads = head_names(plain)
        tensors = _linear_as_fc(plain, tensors)
        classes = given or _outputs(tensors, heads, source)
        inside = {k: parsed.options.get(k) for k in ("module", "srp")}
        size = _usual_size(parsed.family, plain)
        bare = {k: v for k, v in parsed.options.items() if k not in ("module", "srp", "classes")}
        card = _card(
            str(type(parsed)(parsed.family, parsed.name, bare)),
            classes, size, inside["module"] or "none", inside["srp"],
        )  # fmt: skip
        model = create_backbone(
            card["arch"], num_classes=classes, module=card["module"], srp=card["srp"]
        )
    _load(model, Weights(dict(tensors), source), given)
    return model, card, tensors


def _load(model: nn.Module, weights: Weights, given: int | None) -> None:
    try:
        load_state(model, weights)
    except WeightsError as error:
        if error.hint and "--reset-head" in error.hint:
            raise WeightsError(
                error.message, hint="only the classifier differs: check --num-classes"
            ) from error
        raise


def _asr_module(tensors: Mapping[str, Tensor], both: bool, family: str) -> tuple[str, Any]:
    """Return which attention the translated weights of an ASR network hold, and the weights."""
    if family not in ("asr", "se", "none"):
        raise WeightsError(
            f"these weights are of the official family {family}, not of asr",
            hint="qr train attention --weights official:FILE reads it",
        )
    if family != "asr":
        return ("none" if family == "none" else "se"), tensors
    has_psi = any(".psi" in key for key in tensors)
    chain = any(".attn.1." in key for key in tensors)
    if both and not chain:
        raise WeightsError("both=true, but the file holds no attention besides ASR")
    if has_psi:
        return ("asr(se)+se" if chain else "asr(se)"), tensors
    renamed = {key.replace(".attn.1.", ".attn."): t for key, t in tensors.items()}
    return ("se" if chain else "none"), renamed


def _card(
    arch: str,
    classes: int,
    size: tuple[int, ...],
    module: str = "none",
    srp: str | None = None,
) -> dict[str, Any]:
    """Return the model.json of a network that no run of ours has trained."""
    mean, std = NORMALS["cifar" if size == CIFAR_SIZE else "imagenet"]
    return {
        "task": "attention",
        "arch": arch,
        "module": module,
        "stages": "auto",
        "blocks": None,
        "place": "auto",
        "identity_start": False,
        "srp": srp,
        "num_classes": classes,
        "classes": [str(number) for number in range(classes)],
        "input_size": list(size),
        "mean": list(mean),
        "std": list(std),
        "seed": 0,
        "evaluation": {
            **dict.fromkeys(("data", "test_data", "val", "data_root", "image_size")),
            "skip_bad": False,
            "batch_size": 500,
            "precision": "fp32",
            "channels_last": False,
        },
    }


def _usual_size(family: str, model: nn.Module) -> tuple[int, ...]:
    if family == "qr":
        return CIFAR_SIZE
    config: Any = getattr(model, "pretrained_cfg", None)
    return tuple(config["input_size"]) if config else IMAGENET_SIZE


def _outputs(tensors: Mapping[str, Tensor], heads: tuple[str, ...], source: str) -> int:
    """Return how many classes the classifier in the weights has."""
    for name in heads:
        for part in ("bias", "weight"):
            if (tensor := tensors.get(f"{name}.{part}")) is not None:
                return len(tensor)
    raise WeightsError(
        f"{source} has no classifier {' or '.join(heads)}; its first keys: "
        f"{', '.join(list(tensors)[:5])}",
        hint="--arch as the weights were trained with, or --num-classes",
    )


def _linear_as_fc(model: nn.Module, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    own = model.state_dict()
    if "fc.weight" in tensors or "fc.weight" not in own:
        return tensors
    return {
        f"fc.{k.removeprefix('linear.')}" if k.startswith("linear.") else k: t
        for k, t in tensors.items()
    }


def _require_sound(tensors: Mapping[str, Tensor]) -> None:
    """Refuse what is not finite, and negative variances, by name."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise WeightsError(
                f"{name} holds values that are not finite", hint="another checkpoint"
            )
        if name.endswith("running_var") and bool((tensor < 0).any()):
            raise WeightsError(
                f"{name} is negative: {float(tensor.min()):.3g}", hint="another checkpoint"
            )
