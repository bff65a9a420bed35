"""The whole of `qr reparam`: load, plan, fold, verify, export, time, write.

The input is not touched. Nothing is written before everything is equal; the folder then appears at
once.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qr_cli.attention.backbones.create import create_backbone
from qr_cli.engine.accelerator import check_device
from qr_cli.engine.files import write_text
from qr_cli.engine.folder import appearing, usable
from qr_cli.errors import EnvironmentFault, UsageError
from qr_cli.reparam import approx, exporting, folder, latency, outcome
from qr_cli.reparam.folding import Result, fold
from qr_cli.reparam.keys import fold_keys
from qr_cli.reparam.planning import Step, plan
from qr_cli.reparam.recipe import Reparam
from qr_cli.reparam.reload import require_equal_files
from qr_cli.reparam.report import write_report
from qr_cli.reparam.source import Source, open_source, sha256
from qr_cli.reparam.verifying import require, verify

Record = dict[str, Any]
Doing = Callable[[str, str], None]
IMAGES = 256  # real ones that the full check looks at


def reparam(recipe: Reparam, doing: Doing = lambda subject, job: None) -> Iterator[Record]:
    """Yield the records of one call: plan rows, "verify", "export"s, "latency", "summary".

    Args:
        recipe: what is folded, how it is checked, where it goes.
        doing: is told what is about to be done.

    Raises:
        UsageError: flags that cannot be meant together, or a network they do not fit.
        WeightsError: the source cannot be used.
        DataError: the data cannot be used.
        MissingExtra: ONNX without its packages; told before any work.
        RunFailed: not equal, not finite, or a drop over the limit; nothing is written.
    """
    if recipe.place is None:
        raise UsageError("no network is named", hint="qr reparam runs/attention/asr-r20 --dry-run")
    for format in recipe.output.export:
        exporting.require(format)
    out = None
    if not recipe.output.dry_run:
        out = usable(recipe.output.out, overwrite=recipe.output.overwrite)
    name = Path(recipe.place).name
    doing(name, "reading")
    source = open_source(recipe.source)
    if source.model is None:
        yield from _keys(recipe, source, out)
        return
    model = source.model.to(_device(recipe.check.device))
    _require_size(model, source)
    costs: list[Record] = []
    if recipe.fold.approx_stripe is not None:
        doing(name, "mean gates")
        model, costs = _held(model, recipe)
        yield from costs
    if out is None:
        yield from (step.record() for step in
                    plan(model, source.example, keep_bn=recipe.fold.keep_bn))  # fmt: skip
        return
    doing(name, "folding")
    result = fold(model, source.example, keep_bn=recipe.fold.keep_bn)
    yield from (step.record() for step in result.steps)
    if not result.folded:
        yield _copied(recipe, source, out, result.steps)
        return
    yield from _proven(recipe, source, model, result, costs, out, doing)


def _proven(
    recipe: Reparam,
    source: Source,
    model: nn.Module,
    result: Result,
    costs: list[Record],
    out: Path,
    doing: Doing,
) -> Iterator[Record]:
    """Verify, export, time and write a folded network."""
    name = Path(source.place).name
    records = [*costs, *(step.record() for step in result.steps)]

    def told(record: Record) -> Record:
        records.append(record)
        return record

    doing(name, "comparing")
    check = verify(
        model, result, source.example, full=recipe.check.verify, images=_images(recipe, source)
    )
    yield told(check.record())
    require(check)
    if recipe.check.verify and check.float64 is None:
        raise EnvironmentFault(
            "--verify: not enough memory for the float64 copies of the whole network",
            hint="leave out --verify, or a machine with more memory",
        )
    backbone = _backbone(source, result)
    with appearing(out) as hidden:
        for format in recipe.output.export:
            doing(name, f"exporting to {format}")
            path = hidden / exporting.FILES[format]
            yield told(exporting.export(result.model, format, path, source.example, against=model))
        if recipe.check.repeats:
            doing(name, "timing")
            yield told(_latency(recipe, source, model, result, backbone))
        card = outcome.card(source, result, check, bool(costs))
        folder.save(result.model.state_dict(), hidden / "model.safetensors")
        write_text(hidden / "model.json", json.dumps(card, indent=1) + "\n")
        has_plain = result.plain_state is not None and not recipe.fold.keep_bn
        if has_plain and result.plain_state is not None:
            folder.save(result.plain_state, hidden / "plain.safetensors")
        if recipe.check.verify:
            require_equal_files(model, hidden, backbone, source.example)
        summary = told(outcome.summary(recipe, source, model, result, check, backbone, hidden))
        summary["approximate"] = bool(costs)
        write_report(hidden, recipe, source, model, result, check, records)
    yield summary


def _keys(recipe: Reparam, source: Source, out: Path | None) -> Iterator[Record]:
    """Fold a file by its key names."""
    folded = fold_keys(source.tensors, eps=recipe.source.bn_eps, pairs=recipe.source.pairs)
    yield from (step.record() for step in folded.steps)
    if out is None:
        return
    done = [step for step in folded.steps if step.status == "fold"]
    if not done:
        yield _copied(recipe, source, out, folded.steps)
        return
    worst = max(folded.errors.values(), default=None)
    with appearing(out) as hidden:
        folder.save(folded.tensors, hidden / "model.safetensors")
        sha = sha256(source.file)
        card = {"task": "reparam", "arch": "keys", "bn_eps": recipe.source.bn_eps,
                "folded": [step.module for step in done], "source_sha256": sha}  # fmt: skip
        write_text(hidden / "model.json", json.dumps(card, indent=1) + "\n")
        summary = {
            "event": "summary",
            "folded": len(done),
            "kept": len(folded.steps) - len(done),
            "whole_network": "not run",
            "bn_eps": recipe.source.bn_eps,
            "float64": worst,
            "blocks_compared": len(folded.errors),
            "params": {
                "original": outcome.floats(source.tensors),
                "bare": outcome.floats(folded.tensors),
            },
            "approximate": False,
            **outcome.files(source, hidden),
            "warnings": source.notes,
        }
        _write_plain_report(hidden, recipe, [s.record() for s in folded.steps], summary)
    yield summary


def _copied(recipe: Reparam, source: Source, out: Path, steps: list[Step]) -> Record:
    """Copy a network in which there is nothing to fold, byte for byte."""
    with appearing(out) as hidden:
        name = "model.safetensors" if source.file.suffix == ".safetensors" else source.file.name
        shutil.copyfile(source.file, hidden / name)
        for other in ("model.json", "plain.safetensors"):
            if Path(source.place).is_dir() and (path := source.file.with_name(other)).is_file():
                shutil.copyfile(path, hidden / other)
        found = sorted({step.module.rpartition(".")[2] for step in steps
                        if step.reason == "already folded"})  # fmt: skip
        note = f"nothing to fold{': ' + ', '.join(found) + ' found' if found else ''}; copied"
        summary = {
            "event": "summary",
            "folded": 0,
            "kept": len(steps),
            "approximate": False,
            **outcome.files(source, hidden, name),
            "warnings": [*source.notes, note],
        }
        _write_plain_report(hidden, recipe, [s.record() for s in steps], summary)
    return summary


def _write_plain_report(
    hidden: Path, recipe: Reparam, records: list[Record], summary: Record
) -> None:
    from qr_cli.engine.run import dump_yaml

    write_text(hidden / "recipe.yaml", dump_yaml(recipe))
    report = {"plan": records, "summary": summary}
    write_text(hidden / "report.json", json.dumps(report, indent=1) + "\n")


def _backbone(source: Source, result: Result) -> nn.Module | None:
    """Return the plain network of the library with the plain weights, loaded strictly."""
    card = source.card
    if result.plain_state is None or card.get("task") != "attention":
        return None
    net = create_backbone(card["arch"], num_classes=card["num_classes"])
    example = next(iter(result.plain_state.values()))
    if set(net.state_dict()) != set(result.plain_state):
        return None
    net.load_state_dict(result.plain_state, strict=True)
    return net.to(example.device, next(result.model.parameters()).dtype).eval()


def _latency(
    recipe: Reparam, source: Source, model: nn.Module, result: Result, backbone: nn.Module | None
) -> Record:
    contestants: dict[str, nn.Module] = {} if backbone is None else {"backbone": backbone}
    contestants["original"] = model
    if not recipe.fold.keep_bn:
        contestants["bare"] = result.model
    if result.plain is not None:
        contestants["plain"] = result.plain
    elif recipe.fold.keep_bn:
        contestants["plain"] = result.model
    return latency.measure(
        contestants,
        source.input_size,
        batch=recipe.check.bench_batch,
        repeats=recipe.check.repeats,
    )


def _held(model: nn.Module, recipe: Reparam) -> tuple[nn.Module, list[Record]]:
    chosen = recipe.fold
    return approx.hold(
        model,
        str(chosen.approx_stripe),
        images=chosen.calib_images,
        max_drop=chosen.max_drop,
        blocks=chosen.stripe_blocks,
        test_data=chosen.test_data,
    )


def _images(recipe: Reparam, source: Source) -> Tensor | None:
    """Return up to 256 real images for the full check."""
    if recipe.check.data is None:
        return None
    net: Any = source.model
    if not hasattr(net, "card"):
        raise UsageError(
            "--data: this network says not how its images are normalised",
            hint="a run of ours, or leave --data out",
        )
    size = net.card["evaluation"]["image_size"]
    parts = approx.split(recipe.check.data, images=approx.LEAST, image_size=size)
    first = approx.rows(parts.test, slice(0, IMAGES))
    return torch.cat([images for images, _ in approx.batches(net, first)])


def _require_size(model: nn.Module, source: Source) -> None:
    weight = next(model.parameters())
    x = source.example.to(weight.device, weight.dtype)
    try:
        with torch.no_grad():
            model.eval()(x)
    except (RuntimeError, ValueError, AssertionError) as error:
        size = "x".join(map(str, source.input_size))
        reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else ""
        raise UsageError(
            f"the model refuses an input of {size}: {reason}", hint="--input-size C,H,W"
        ) from error


def _device(wish: str) -> torch.device:
    if wish != "auto":
        check_device(wish, "fp32")
        return torch.device(wish)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
