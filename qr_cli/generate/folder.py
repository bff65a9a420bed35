"""Where adapters are kept, and how one is found.

config.json  diffusion_pytorch_model.safetensors     what `SURAdapter.from_pretrained` reads
README.md                                            the card: base, data, losses, figures
training/state.safetensors                           projection, means; not needed for use
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from qr_cli.engine.checkpoint import read_card, read_weights, resolve
from qr_cli.engine.folder import appearing, usable
from qr_cli.engine.tensors import save_tensors
from qr_cli.errors import UsageError, WeightsError
from qr_cli.generate.adapter import Axis, SURAdapter
from qr_cli.generate.official import NOTE, load_official

CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
CARD = "README.md"
TINY = Path(__file__).parent / "assets" / "tiny-sur"


def save_adapter(
    adapter: SURAdapter,
    folder: Path,
    *,
    card: str,
    training: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write an adapter folder; what was there is replaced when the new one is whole.

    Args:
        adapter: what to write.
        folder: where.
        card: README.md.
        training: tensors that only training needs.
        dtype: of the weights in the file.
    """
    state = {k: v.detach().to("cpu", dtype).contiguous() for k, v in adapter.state_dict().items()}
    with appearing(folder) as hidden:
        adapter.save_config(hidden)
        save_tensors(state, hidden / WEIGHTS, metadata={"format": "pt"})
        (hidden / CARD).write_text(card, encoding="utf-8")
        if training:
            (hidden / "training").mkdir()
            kept = {k: v.detach().cpu().contiguous() for k, v in training.items()}
            save_tensors(kept, hidden / "training" / "state.safetensors")


def find_adapter(
    name: str | Path, *, eta: float | None = None, attention_axis: Axis | None = None
) -> SURAdapter:
    """Return an adapter in float32 and eval mode.

    Args:
        name: an adapter folder, a run or checkpoint of `qr train sur-adapter`, "tiny", or an
            official ``.pt`` file.
        eta: of an official file, which does not say; elsewhere the configured one stays.
        attention_axis: instead of the configured one.

    Raises:
        WeightsError: there is no adapter, or its weights do not fit.
        UsageError: an official file, and eta stands nowhere.
    """
    path = TINY if name == "tiny" else Path(name)
    if path.suffix in (".pt", ".pth", ".bin") and not path.is_dir():
        return load_official(path, eta, attention_axis or "batch")
    if (path / "adapter" / CONFIG).is_file():
        path = path / "adapter"
    adapter = _from_folder(path) if (path / CONFIG).is_file() else _from_run(path)
    if attention_axis is not None:
        adapter.register_to_config(attention_axis=attention_axis)
    return adapter


def convert(
    source: str,
    out: str,
    *,
    eta: float | None = None,
    attention_axis: str | None = None,
    half: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write the folder of an official file, a run or a folder; return the record.

    Raises:
        UsageError: eta stands nowhere, or `out` is taken.
        WeightsError: the weights do not fit.
    """
    if attention_axis is not None and attention_axis not in get_args(Axis):
        raise UsageError(f"--attention-axis: {attention_axis!r} is none of {get_args(Axis)}")
    folder = usable(out, overwrite=overwrite)
    adapter = find_adapter(source, eta=eta, attention_axis=cast(Axis | None, attention_axis))
    if eta is not None:
        adapter.register_to_config(eta=eta)
    config = adapter.config
    card = (
        f"# SUR-adapter\n\nConverted from {Path(source).name}; eta {config.eta:g}, attention axis "
        f"{config.attention_axis}. Mind: {NOTE}.\n"
    )
    for known in (Path(source) / "adapter" / CARD, Path(source) / CARD):
        if known.is_file():
            card = known.read_text("utf-8")
            break
    dtype = torch.float16 if half else torch.float32
    save_adapter(adapter, folder, card=card, dtype=dtype)
    return {
        "event": "convert",
        "source": source,
        "width": config.hidden_size,
        "layers": config.num_layers,
        "eta": config.eta,
        "attention_axis": config.attention_axis,
        "parameters": sum(p.numel() for p in adapter.parameters()),
        "dtype": "float16" if half else "float32",
        "out": str(folder),
    }


def load(path: str | Path, *, which: str = "last") -> SURAdapter:
    """Return the adapter of a run or checkpoint of `qr train sur-adapter`."""
    return _from_run(Path(path), which)


def _from_folder(path: Path) -> SURAdapter:
    try:
        config = json.loads((path / CONFIG).read_text("utf-8"))
        state = load_file(path / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise WeightsError(f"{path} holds no adapter: {error}") from error
    return _loaded(config, state, path)


def _from_run(path: Path, which: str = "last") -> SURAdapter:
    if not path.exists():
        raise WeightsError(f"there is no adapter {path}", hint="--adapter tiny, a folder, a .pt")
    try:
        folder = resolve(path, which)
    except WeightsError as error:
        raise WeightsError(
            f"{path} holds no adapter (no {CONFIG}, no checkpoint)", hint="qr train sur-adapter"
        ) from error
    card = read_card(folder)
    if card.get("task") != "sur-adapter":
        raise WeightsError(f"{path} is a checkpoint of {card.get('task')!r}, not of an adapter")
    state = {
        key.removeprefix("adapter."): tensor
        for key, tensor in read_weights(folder).items()
        if key.startswith("adapter.")
    }
    return _loaded(card["adapter"], state, path)


def _loaded(config: Mapping[str, Any], state: Mapping[str, Tensor], path: Path) -> SURAdapter:
    try:
        if dict(config).get("num_layers", 0) > len(state):  # a layer holds several tensors
            raise ValueError(f"{config['num_layers']} layers of {len(state)} tensors")
        with torch.device("meta"):
            adapter = cast(SURAdapter, SURAdapter.from_config(dict(config)))
        adapter.load_state_dict(state, assign=True)
    except (RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise WeightsError(f"the weights of {path} do not fit its config: {reason}") from error
    return adapter.float().eval()
