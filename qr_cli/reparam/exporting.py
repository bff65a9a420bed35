"""Write a folded network as a program of its own, and compare the file with the original.

``torch.export``: `model.pt2`. ``onnx``: `model.onnx`, through the dynamo exporter. The batch is
free, the spatial size fixed. The file is read back from disk and run at batch 1 and 3 against the
*original* network; an ONNX file is compared only where onnxruntime is installed, and says so.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qr_cli.errors import MissingExtra, RunFailed, UsageError
from qr_cli.reparam.verifying import SINGLE, outputs, relative

FILES = {"torch.export": "model.pt2", "onnx": "model.onnx"}
BATCHES = (1, 3)
_HALF = 2e-2  # relative error allowed to a network in half precision
_REFUSALS = (RuntimeError, ValueError, TypeError, NotImplementedError, AssertionError, LookupError)
_COUNTED = {  # name in records -> operations of a .pt2, operators of ONNX
    "Conv": ("conv2d", "Conv"),
    "BatchNormalization": ("batch_norm", "BatchNormalization"),
    "Sigmoid": ("sigmoid", "Sigmoid"),
    "Mul": ("mul", "Mul"),
}
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def require(format: str) -> None:
    """Raise MissingExtra when a format needs packages that are not installed."""
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if format == "onnx" and missing:
        raise MissingExtra(missing[0], "onnx")


def export(
    model: nn.Module,
    format: str,
    path: Path | str,
    example: Tensor,
    *,
    against: nn.Module | None = None,
) -> dict[str, Any]:
    """Write `model` and return the "export" record.

    Args:
        model: the folded network; it stays as it is.
        format: "torch.export" or "onnx".
        path: of the file.
        example: an input it accepts, (B, ...).
        against: the original, to compare the file with; default: `model`.

    Raises:
        UsageError: another format.
        MissingExtra: ONNX without its packages.
        RunFailed: it cannot be exported, or the file does not compute what the original does.
    """
    if format not in FILES:
        raise UsageError(f"unknown format {format!r}", hint=f"one of {', '.join(FILES)}")
    require(format)
    path = Path(path)
    own = deepcopy(model).cpu().eval()
    weight = next(own.parameters())
    shape = tuple(example.shape[1:])
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((2, *shape), generator=generator).to(weight.dtype)
    with _quiet(), torch.no_grad():
        write = _write_pt2 if format == "torch.export" else _write_onnx
        try:
            program = write(own, path, x)
        except _REFUSALS as error:
            reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else ""
            raise RunFailed(
                f"the network cannot be exported to {format}: {type(error).__name__}: {reason}",
                hint="leave out --export; the folded weights are not affected",
            ) from error
        nodes, opset, run = _read_pt2(path) if format == "torch.export" else _read_onnx(path)
        del program
        parity = _parity(run, against or model, shape, format)
    return {
        "event": "export",
        "format": format,
        "file": path.name,
        "bytes": path.stat().st_size,
        "opset": opset,
        "nodes": nodes,
        "parity": parity,
    }


def _parity(
    run: Callable[[Tensor], list[Tensor]], original: nn.Module, shape: tuple[int, ...], format: str
) -> dict[str, float]:
    reference = deepcopy(original).cpu().eval()
    dtype = next(reference.parameters()).dtype
    limit = SINGLE if dtype == torch.float32 else _HALF
    generator = torch.Generator().manual_seed(1)
    parity = {}
    for batch in BATCHES:
        x = torch.randn((batch, *shape), generator=generator).to(dtype)
        pairs = zip(outputs(reference(x)), run(x), strict=True)
        error = max(relative(a, b) for a, b in pairs)
        if not error <= limit:
            raise RunFailed(
                f"the exported {FILES[format]} is not equal to the original at batch {batch}: "
                f"{error:.1e} over {limit:.0e}",
                hint="leave out --export; nothing was written",
            )
        parity[f"batch{batch}"] = error
    return parity


def _write_pt2(model: nn.Module, path: Path, x: Tensor) -> Any:
    program = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    held = io.BytesIO()  # torch's writer of files ends the process on a full disk
    torch.export.save(program, held)
    path.write_bytes(held.getbuffer())
    return program


def _read_pt2(path: Path) -> tuple[dict[str, int], None, Callable[[Tensor], list[Tensor]]]:
    program = torch.export.load(path)
    names = Counter(str(node.target) for node in program.graph.nodes if node.op == "call_function")
    nodes = {
        kind: sum(n for name, n in names.items() if f"aten.{word}" in name)
        for kind, (word, _) in _COUNTED.items()
    }
    module = program.module()
    return {**nodes, "all": sum(names.values())}, None, lambda x: outputs(module(x))


def _write_onnx(model: nn.Module, path: Path, x: Tensor) -> Any:
    program = torch.onnx.export(
        model,
        (x,),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        external_data=False,
        verbose=False,
    )
    assert program is not None
    program.save(str(path), external_data=False)
    return program


def _read_onnx(path: Path) -> tuple[dict[str, int], int, Callable[[Tensor], list[Tensor]]]:
    import onnx
    import onnxruntime

    model = onnx.load(str(path))
    onnx.checker.check_model(model)
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    names = Counter(node.op_type for node in model.graph.node)
    nodes = {kind: names[word] for kind, (_, word) in _COUNTED.items()}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(x: Tensor) -> list[Tensor]:
        return [torch.from_numpy(out) for out in session.run(None, {name: x.numpy()})]

    return {**nodes, "all": sum(names.values())}, int(opset), run


@contextmanager
def _quiet() -> Any:
    """Keep the exporters' chatter out of the way."""
    levels = {n: logging.getLogger(n).level for n in ("torch.onnx", "torch.export", "onnxscript")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in levels:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
