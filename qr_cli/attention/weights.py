"""Read weights from a file, torchvision, timm or an official repository, and load them strictly.

Nothing is unpickled but tensors: files are safetensors or ``torch.load(weights_only=True)``. In a
dict of several things the weights are the first of `CONTAINERS`, else the dict itself. ``module.``
and ``_orig_mod.`` are stripped as a prefix of every key only. A CIFAR ResNet whose classifier is
called ``linear`` is read as ours; batch-norm counters (``num_batches_tracked``) may be missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from qr_cli.attention.backbones.names import Arch, parse_arch
from qr_cli.attention.backbones.records import residual_blocks
from qr_cli.attention.official import translate
from qr_cli.engine.damage import FAULTS
from qr_cli.engine.tensors import NO_TENSORS, load_torch
from qr_cli.errors import EnvironmentFault, MissingExtra, UsageError, WeightsError

SHOWN = 20  # keys of each kind in a message
CONTAINERS = ("state_dict_ema", "model_ema", "ema", "state_dict", "model", "params")

_LFS = b"version https://git-lfs"
_PREFIXES = ("module.", "_orig_mod.")
_COUNTER = "num_batches_tracked"
_BRANCHES = {"rbr_dense", "square_conv", "dbb_origin", "rbr_conv", "weight_orepa_origin"}


@dataclass(frozen=True)
class Weights:
    """Tensors by key, and in words where they come from."""

    tensors: dict[str, Tensor]
    source: str


def load_weights(
    model: nn.Module, spec: str, *, reset_head: bool = False, download: bool = False
) -> str:
    """Load weights into `model`, in place, and return in words what was loaded.

    Args:
        model: a network; for "torchvision" and "timm" one made by `create_backbone`.
        spec: "torchvision", "timm", ``official:FILE``, or a file.
        reset_head: leave the classifier as it is drawn, whatever the file holds.
        download: whether weights that are not on this machine are fetched.

    Raises:
        WeightsError: no such file, not a file of tensors, or keys or shapes that do not fit.
        EnvironmentFault: the weights are not on this machine and `download` is off, or it fails.
    """
    weights = read_weights(model, spec, download=download)
    load_state(model, weights, reset_head=reset_head)
    return weights.source


def read_weights(model: nn.Module, spec: str, *, download: bool = False) -> Weights:
    """Return the weights `spec` stands for, under the names of `model`; see `load_weights`."""
    if spec == "torchvision":
        return _of_torchvision(_arch(model, "torchvision"), download)
    if spec == "timm":
        return _of_timm(_arch(model, "timm"), download)
    if spec.startswith("official:"):
        path = Path(spec.removeprefix("official:"))
        tensors, found = read_file(path)
        tensors, family = translate(tensors)
        tensors = _at_places(model, tensors)
        return Weights(tensors, f"{path.name}{found}, official {family}")
    tensors, found = read_file(Path(spec))
    return Weights(_read_linear_as_fc(model, tensors), f"{Path(spec).name}{found}")


def read_file(path: Path, entry: str | None = None) -> tuple[dict[str, Tensor], str]:
    """Return the tensors of a weights file, prefixes stripped, and which entry they were.

    Args:
        path: the file.
        entry: of a file with several things, the one to take; default: see `CONTAINERS`.

    Raises:
        WeightsError: no such file, or not a file of tensors.
    """
    if not path.is_file():
        raise WeightsError(
            f"{path}: no such file",
            hint="--weights FILE, torchvision, timm, official:FILE",
        )
    with path.open("rb") as file:
        if file.read(len(_LFS)) == _LFS:
            raise WeightsError(
                f"{str(path)!r} is a Git LFS pointer, not the weights", hint="git lfs pull"
            )
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    tensors, found = _entry(content, path, entry)
    return strip_prefixes(tensors), f" ({found})" if found else ""


def strip_prefixes(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take ``module.`` and ``_orig_mod.`` off as long as every key begins with it."""
    for prefix in _PREFIXES:
        if tensors and all(key.startswith(prefix) for key in tensors):
            return strip_prefixes({k.removeprefix(prefix): v for k, v in tensors.items()})
    return dict(tensors)


def holds_attention(model: nn.Module, tensors: Mapping[str, Tensor]) -> bool:
    """Whether weights hold attention that the plain network `model` does not have."""
    own = model.state_dict()
    return any(
        key not in own and (key.startswith("shared.") or {"attn", "se"} & set(key.split(".")))
        for key in tensors
    )


def holds_blocks(tensors: Mapping[str, Tensor]) -> bool:
    """Whether weights hold re-parameterization blocks, by the names of their main branches."""
    return any(part in _BRANCHES for key in tensors for part in key.split("."))


def load_state(model: nn.Module, weights: Weights, *, reset_head: bool = False) -> None:
    """Load strictly, batch-norm counters excepted; raises WeightsError naming what does not fit."""
    own = model.state_dict()
    given = weights.tensors
    heads = head_names(model)
    if reset_head:
        given = {key: tensor for key, tensor in given.items() if not _below(key, heads)}
    missing = [
        key
        for key in own
        if key not in given
        and not key.endswith(_COUNTER)
        and not (reset_head and _below(key, heads))
    ]
    unexpected = [key for key in given if key not in own]
    shapes = [key for key in own if key in given and own[key].shape != given[key].shape]
    if missing or unexpected or shapes:
        parts = [
            _listed("missing", missing),
            _listed("unexpected", unexpected),
            _listed(
                "of another shape",
                [f"{k} {tuple(given[k].shape)} for {tuple(own[k].shape)}" for k in shapes],
            ),
        ]
        raise WeightsError(
            f"{weights.source} does not fit {_shown(model)}: {'; '.join(filter(None, parts))}",
            hint=_hint(model, missing, unexpected, shapes, heads),
        )
    model.load_state_dict(given, strict=False)


def head_names(model: nn.Module) -> tuple[str, ...]:
    """Return the path or paths of the classifier."""
    config = getattr(model, "pretrained_cfg", None)
    if isinstance(config, Mapping) and config.get("classifier"):
        names = config["classifier"]
        return (names,) if isinstance(names, str) else tuple(names)
    if hasattr(model, "fc"):
        return ("fc",)
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return tuple(linear[-1:])


def _hint(
    model: nn.Module,
    missing: list[str],
    unexpected: list[str],
    shapes: list[str],
    heads: tuple[str, ...],
) -> str:
    wrong = [*missing, *unexpected, *shapes]
    if all(_below(key, heads) for key in wrong):
        return "only the classifier differs: add --reset-head to start it anew"
    text = getattr(model, "arch", None)
    arch = parse_arch(text) if isinstance(text, str) else None
    if arch and arch.family == "qr":
        if all(".downsample." in key or _below(key, heads) for key in missing) and missing:
            return f"a shortcut without weights: --arch '{_with_shortcut(arch, 'pad')}'"
        if all(".downsample." in key or _below(key, heads) for key in unexpected) and unexpected:
            return f"a shortcut with weights: --arch '{_with_shortcut(arch, 'conv')}'"
    if any({"attn", "se", "shared"} & set(key.split(".")) for key in unexpected):
        return "the weights hold attention: name it with --module, and its --stages"
    return "check --arch, --module and --stages against what the weights were trained with"


def _with_shortcut(arch: Arch, shortcut: Literal["conv", "pad"]) -> Arch:
    kept = {key: value for key, value in arch.options.items() if key != "shortcut"}
    return Arch(arch.family, arch.name, kept if shortcut == "conv" else {**kept, "shortcut": "pad"})


def _listed(word: str, keys: list[str]) -> str:
    if not keys:
        return ""
    more = ", ..." if len(keys) > SHOWN else ""
    return f"{len(keys)} {word}: {', '.join(keys[:SHOWN])}{more}"


def _below(key: str, names: tuple[str, ...]) -> bool:
    return any(key.startswith(f"{name}.") for name in names)


def _shown(model: nn.Module) -> str:
    return getattr(model, "arch", None) or type(model).__name__


def _at_places(model: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename ``layerS.i.attn`` to where `attach` puts it in torchvision's and timm's blocks."""
    places = {}
    for block in residual_blocks(model):
        child = {"torchvision": f"{block.last_norm}.attn", "timm resnet": "se"}.get(block.kind)
        if child:
            places[f"{block.name}.attn."] = f"{block.name}.{child}."
    return {
        next((key.replace(a, b, 1) for a, b in places.items() if key.startswith(a)), key): tensor
        for key, tensor in tensors.items()
    }


def _read_linear_as_fc(model: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the classifier ``linear`` of common CIFAR checkpoints to ``fc``."""
    own = model.state_dict()
    if "fc.weight" in tensors or "fc.weight" not in own or "linear.weight" in own:
        return tensors
    return {
        f"fc.{key.removeprefix('linear.')}" if key.startswith("linear.") else key: tensor
        for key, tensor in tensors.items()
    }


def _read_safetensors(path: Path) -> Any:
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except NO_TENSORS as error:
        raise WeightsError(f"{str(path)!r} is no safetensors file: {error}") from error


def _read_torch(path: Path) -> Any:
    try:
        return load_torch(path)
    except FAULTS as error:
        raise WeightsError(  # torch's own words advise to unpickle
            f"{str(path)!r} cannot be read as a file of tensors ({type(error).__name__})",
            hint="only tensors are read, nothing else is unpickled; save model.state_dict()",
        ) from error


def _entry(content: Any, path: Path, wanted: str | None) -> tuple[dict[str, Tensor], str]:
    """Return the weights in a file's content and the name of the entry, "" for the content."""
    if wanted is not None and isinstance(content, Mapping):
        inner = content.get(wanted)
        if isinstance(inner, Mapping) and _all_tensors(inner):
            return dict(inner), wanted
    elif isinstance(content, Mapping):
        for name in CONTAINERS:
            inner = content.get(name)
            if isinstance(inner, Mapping) and _all_tensors(inner):
                return dict(inner), name
        if _all_tensors(content):
            return dict(content), ""
    found = (
        sorted(map(str, content))[:5] if isinstance(content, Mapping) else type(content).__name__
    )
    raise WeightsError(
        f"{str(path)!r} holds no weights; it holds {found}",
        hint=f"expected a dict of tensors, or one under {', '.join(CONTAINERS)}",
    )


def _all_tensors(content: Mapping[Any, Any]) -> bool:
    return bool(content) and all(isinstance(value, Tensor) for value in content.values())


def _arch(model: nn.Module, family: str) -> Arch:
    text = getattr(model, "arch", None)
    arch = parse_arch(text) if isinstance(text, str) else None
    if arch is None or arch.family != family:
        raise UsageError(
            f"--weights {family} is for networks of {family}, got {_shown(model)}",
            hint=f"--arch {family}:resnet18 --weights {family}",
        )
    return arch


def _of_torchvision(arch: Arch, download: bool) -> Weights:
    import torchvision

    weights = torchvision.models.get_model_weights(arch.name).DEFAULT
    held = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    if not download and not held.is_file():
        raise _not_here(str(weights), f"looked at {str(held)!r}")
    try:
        tensors = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except OSError as error:
        raise _no_download(str(weights), error) from error
    return Weights(dict(tensors), f"torchvision {weights}")


def _of_timm(arch: Arch, download: bool) -> Weights:
    """Take the weights from a second network that timm fills itself, classifier included."""
    from qr_cli.attention.backbones.timm import import_timm

    timm = import_timm()
    name = f"timm {arch.name}"
    if not download and not _held_by_timm(timm.models.get_pretrained_cfg(arch.name)):
        raise _not_here(name, "looked in the caches of the Hugging Face and PyTorch hubs")
    try:
        with torch.random.fork_rng(devices=[]):
            source = timm.create_model(arch.name, pretrained=True, **arch.options)
    except OSError as error:
        raise _no_download(name, error) from error
    except RuntimeError as error:  # timm: no pretrained weights exist
        raise WeightsError(f"{name} has no pretrained weights: {error}") from error
    return Weights(source.state_dict(), name)


def _held_by_timm(config: Any) -> bool:
    """Whether the file that timm's configuration of a network names is in a cache."""
    if getattr(config, "file", None):
        return Path(config.file).is_file()
    if getattr(config, "hf_hub_id", None):
        try:
            from huggingface_hub import try_to_load_from_cache
        except ModuleNotFoundError as error:
            raise MissingExtra("huggingface_hub", "timm") from error

        names = ("model.safetensors", "pytorch_model.bin")
        return any(isinstance(try_to_load_from_cache(config.hf_hub_id, n), str) for n in names)
    url = getattr(config, "url", None) or ""
    return (
        bool(url) and (Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]).is_file()
    )


def _not_here(name: str, where: str) -> EnvironmentFault:
    return EnvironmentFault(
        f"the weights {name} are not on this machine; {where}", hint="add --download"
    )


def _no_download(name: str, error: OSError) -> EnvironmentFault:
    return EnvironmentFault(
        f"the weights {name} could not be downloaded: {error}",
        hint="fetch the file elsewhere and give it as --weights FILE",
    )
