"""What came of a fold, in records: the summary, model.json of the folded network, the files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from qr_cli.attention import cost
from qr_cli.attention.grammar import canonical, resolve_module
from qr_cli.attention.insert import iter_attention
from qr_cli.attention.modules.chain import Chain
from qr_cli.errors import UsageError
from qr_cli.reparam import health
from qr_cli.reparam.folding import Result, looks
from qr_cli.reparam.planning import described
from qr_cli.reparam.recipe import Reparam
from qr_cli.reparam.source import Source, sha256
from qr_cli.reparam.verifying import Check

Record = dict[str, Any]


def summary(
    recipe: Reparam,
    source: Source,
    model: nn.Module,
    result: Result,
    check: Check,
    backbone: nn.Module | None,
    hidden: Path,
) -> Record:
    """Return the "summary" record."""
    kept = [step for step in result.steps if step.status == "keep"]
    params = {"original": _parameters(model)}
    if result.plain is not None:
        params["plain"] = _parameters(result.plain)
    if not recipe.fold.keep_bn:
        params["bare"] = _parameters(result.model)
    same = None
    if backbone is not None and result.plain is not None:
        size = source.input_size
        same = cost.flops(result.plain, size) == cost.flops(backbone, size)
    notes = [*source.notes, *check.notes, *health.warnings(model, result.model)]
    if result.plain_reason is not None:
        notes.append(f"no plain.safetensors: {result.plain_reason}")
    dead = [step.dead_units for step in result.steps if step.dead_units]
    idle = [units for units in dead if units.split("/")[0] == units.split("/")[1]]
    if idle:
        notes.append(f"{len(idle)} of {len(dead)} ASR gates have no live unit: a free scale")
    if any(step.what == "bn" for step in kept) and not recipe.fold.keep_bn:
        count = sum(step.what == "bn" for step in kept)
        notes.append(f"{count} batch norms stay; the plan says why")
    return {
        "event": "summary",
        "folded": len(result.folded),
        "kept": len(kept),
        "gates": sum(s.rule is not None and "gate" in s.rule for s in result.folded),
        "blocks": sum(s.rule in ("branches", "own") for s in result.folded),
        "norms": sum(s.rule == "conv+bn" for s in result.folded),
        "params": params,
        "flops_equal_to_plain": same,
        "strict": source.arch if backbone is not None else None,
        "float64": check.float64,
        check.dtype: check.native,
        "level": check.level,
        "approximate": False,
        **files(source, hidden),
        "warnings": notes,
    }


def card(source: Source, result: Result, check: Check, approximate: bool) -> Record:
    """Return model.json of the folded network."""
    told = dict(source.card)
    form = {k: v for k, v in result.form.items() if v}
    old = getattr(source.model, "card", {}).get("form", {})
    form["norms"] = {**old.get("norms", {}), **result.form["norms"]}
    if "module" in told:
        told["module"] = _module_left(str(told["module"]), result.model)
        if told["module"] == "none":
            told |= {"blocks": None, "identity_start": False}
        told |= {"srp": None}
    if "options" in told:
        told["options"] = {**told["options"], "deploy": True}
        form = {}
    return {
        **told,
        "form": {**form, "name": "bare" if result.form["norms"] else "plain"},
        "folded": [step.module for step in result.folded],
        "kept": {
            name: described(module)
            for name, *_, module in _attention(result.model)
            if any(looks(part) for part in module.modules())
        },
        "approximate": approximate,
        "source_sha256": sha256(source.file),
        "verify": check.record(),
    }


def files(source: Source, hidden: Path, name: str = "model.safetensors") -> Record:
    """Return hashes and sizes of what was read and written."""
    written = sorted(p for p in hidden.iterdir() if p.suffix in (".safetensors", ".pt2", ".onnx"))
    before, after = source.file.stat().st_size, (hidden / name).stat().st_size
    return {
        "input_sha256": sha256(source.file),
        "output_sha256": sha256(hidden / name),
        "bytes": [before, after],
        "files": {path.name: path.stat().st_size for path in written},
    }


def floats(tensors: Mapping[str, Tensor]) -> int:
    """Return how many floating numbers a state dict holds."""
    return sum(t.numel() for t in tensors.values() if t.is_floating_point())


def _module_left(spec: str, net: nn.Module) -> str:
    """Return the module string of a folded network: the terms that were not constant."""
    if not any(looks(module) for module in net.modules()):
        return "none"
    terms = [node for node in resolve_module(spec) if node.name != "asr"]
    left = {len(list(_terms(m))) for *_, m in _attention(net)}
    return canonical(tuple(terms)) if left == {len(terms)} and terms else spec


def _terms(module: nn.Module) -> Iterator[nn.Module]:
    yield from module.terms() if isinstance(module, Chain) else [module]


def _attention(net: nn.Module) -> list[Any]:
    try:
        return list(iter_attention(net))
    except UsageError:  # a network of a kind that attention does not fit
        return []


def _parameters(model: nn.Module) -> int:
    return sum({id(p): p.numel() for p in model.parameters()}.values())
