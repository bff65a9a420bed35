"""Prove that a folded network computes the same function as the original.

    rel(a, b) = max|a - b| / max|a|        a the original's output, worst of all outputs and inputs

| check | limit |
| --- | --- |
| float64, whole network (a site) | rel <= 1e-10 (1e-12) |
| float32 | rel <= 1e-5 |
| float16, bfloat16 | rel <= max(2e-3, 1e-2, 2 x the original's own distance from its float32 run) |
| cosine, in float64 and float32 | >= 1 - 1e-6 |
| top-1 | equal wherever the original's margin exceeds 2 max|a - b| |

Never a sum, never an absolute limit alone. What is not finite fails. An input at which max|a| is
under 1e-6 tells nothing; if all are such, the check fails. Inputs: N(0, 1) twice, zeros, ones,
10 x N(0, 1); with `full` also an odd size, another batch, and real images where there are any.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from qr_cli.errors import RunFailed
from qr_cli.reparam.folding import Result, Site

EXACT, SITE, SINGLE = 1e-10, 1e-12, 1e-5
HALF = {torch.float16: 2e-3, torch.bfloat16: 1e-2}
COSINE = 1e-6
LEAST = 1e-6  # max|a| below which an input tells nothing


@dataclass(frozen=True)
class Check:
    """What the comparison found.

    Attributes:
        ok: whether every check held.
        level: "quick" or "full".
        float64: worst rel in float64; None when it was not run (memory).
        native: worst rel in the network's own precision, of which `dtype` is the name.
        dtype: ``float32``, ``float16`` or ``bfloat16``.
        native_limit: the limit that `native` is held to.
        cosine: 1 - the worst cosine.
        flips: answers that differ although the margin says they should not.
        inputs: how many inputs told something.
        uninformative: how many did not.
        sites: name -> rel in float64, with `full` or after a failure.
        first_bad: the first site over its limit.
        notes: what was not checked, and why.
        faults: what did not hold, in words.
    """

    ok: bool
    level: str
    float64: float | None
    native: float | None
    dtype: str
    native_limit: float
    cosine: float
    flips: int
    inputs: int
    uninformative: int
    sites: dict[str, float] = field(default_factory=dict)
    first_bad: str | None = None
    notes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """Return the "verify" record."""
        return {
            "event": "verify",
            "ok": self.ok,
            "level": self.level,
            "float64": self.float64,
            self.dtype: self.native,
            f"{self.dtype}_limit": self.native_limit,
            "one_minus_cosine": self.cosine,
            "top1_flips": self.flips,
            "inputs": self.inputs,
            "uninformative": self.uninformative,
            "sites": len(self.sites),
            "site_max": max(self.sites.values(), default=None),
            "first_bad": self.first_bad,
            "notes": list(self.notes),
        }


def verify(
    model: nn.Module,
    result: Result,
    example: Tensor,
    *,
    full: bool = False,
    images: Tensor | None = None,
) -> Check:
    """Compare a folded network with its original; neither is changed.

    Args:
        model: the original.
        result: of `fold`.
        example: an input it accepts; only its shape matters.
        full: look at more inputs and at every site.
        images: real inputs, normalised, looked at with `full`.
    """
    notes: list[str] = []
    original = deepcopy(model).eval().requires_grad_(False)
    inputs = list(_inputs(example))
    if full:
        inputs += _more(original, example, images, notes)
    seen = _Seen()
    native = _native_dtype(original)
    own = _compare(original, result.model, inputs, native, seen)
    limit = SINGLE
    if native in HALF:
        limit = max(HALF[native], 2 * _own_distance(original, inputs, native))
    exact = None
    sites: dict[str, float] = {}
    try:
        double = deepcopy(original).cpu().double()
        exact = _compare(double, result.exact, [x.cpu() for x in inputs], torch.float64, seen)
        if full or exact > EXACT or own > limit:
            sites = _sites(double, result.exact, result.sites, inputs[0].cpu())
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "allocate" not in str(error):
            raise
        notes.append("float64 of the whole network was not run: not enough memory")
    first_bad = next((name for name, error in sites.items() if not error <= SITE), None)
    faults = list(_faults(seen, exact, own, limit, str(native), first_bad))
    return Check(
        ok=not faults,
        level="full" if full else "quick",
        float64=exact,
        native=own,
        dtype=str(native).removeprefix("torch."),
        native_limit=limit,
        cosine=seen.cosine,
        flips=seen.flips,
        inputs=len(inputs) - len(seen.silent),
        uninformative=len(seen.silent),
        sites=sites,
        first_bad=first_bad,
        notes=tuple(notes),
        faults=tuple(faults),
    )


def require(check: Check) -> None:
    """Raise RunFailed if a check did not hold."""
    if check.ok:
        return
    where = f"; first site over {SITE:g}: {check.first_bad}" if check.first_bad else ""
    bad = f" ({check.sites[check.first_bad]:.1e})" if check.first_bad else ""
    raise RunFailed(
        f"the folded network is not equal: {'; '.join(check.faults)}{where}{bad}; "
        "nothing was written",
        hint="this is a fault of the fold or of the network, not of a setting; keep the original",
    )


def relative(a: Tensor, b: Tensor) -> float:
    """Return max|a - b| / max|a| in float64; infinite where either is not finite."""
    a, b = a.double(), b.double()
    if a.shape != b.shape or not (torch.isfinite(a).all() and torch.isfinite(b).all()):
        return float("inf")
    return float((a - b).abs().max() / a.abs().max().clamp(min=torch.finfo(torch.float64).tiny))


def outputs(out: Any) -> list[Tensor]:
    """Return the floating tensors of an output, whatever it is."""
    return [t for t in tree_leaves(out) if isinstance(t, Tensor) and t.is_floating_point()]


@dataclass
class _Seen:
    """What the comparisons of one call have in common."""

    cosine: float = 0.0
    flips: int = 0
    finite: bool = True
    silent: set[int] = field(default_factory=set)
    inputs: int = 0


@torch.no_grad()
def _compare(
    original: nn.Module, folded: nn.Module, inputs: list[Tensor], dtype: torch.dtype, seen: _Seen
) -> float:
    """Return the worst rel over all inputs that tell something."""
    worst = 0.0
    device = next(original.parameters()).device
    seen.inputs = len(inputs)
    for number, x in enumerate(inputs):
        x = x.to(device, dtype)
        before, after = outputs(original(x)), outputs(folded(x))
        for a, b in zip(before, after, strict=True):
            a, b = a.double(), b.double()
            seen.finite &= bool(torch.isfinite(a).all())
            if a.abs().max() < LEAST:
                seen.silent.add(number)
                continue
            error = relative(a, b)
            worst = max(worst, error)
            if error == float("inf"):
                continue
            if dtype in (torch.float64, torch.float32):
                cosine = nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0)
                seen.cosine = max(seen.cosine, 1 - float(cosine))
            if a.ndim == 2 and a.shape[1] > 1:
                seen.flips += _flips(a, b)
    return worst


def _flips(a: Tensor, b: Tensor) -> int:
    """Return how many answers differ although the margin exceeds 2 max|a - b|."""
    top = a.topk(2, dim=1).values
    sure = top[:, 0] - top[:, 1] > 2 * (a - b).abs().max()
    return int((sure & (a.argmax(1) != b.argmax(1))).sum())


def _faults(
    seen: _Seen, exact: float | None, own: float, limit: float, native: str, first_bad: str | None
) -> Iterator[str]:
    if not seen.finite:
        yield "the original's own output is not finite, so nothing can be verified"
        return
    if len(seen.silent) >= seen.inputs:
        yield f"every input gives outputs under {LEAST:g}, so nothing can be verified"
        return
    if exact is not None and not exact <= EXACT:
        yield f"float64 error {exact:.1e} over {EXACT:g}"
    if not own <= limit:
        yield f"{native.removeprefix('torch.')} error {own:.1e} over {limit:.1g}"
    if seen.cosine > COSINE:
        yield f"1 - cosine {seen.cosine:.1e} over {COSINE:g}"
    if seen.flips:
        yield f"{seen.flips} answers differ beyond their margin"
    if first_bad:
        yield f"site {first_bad} differs"


def _native_dtype(model: nn.Module) -> torch.dtype:
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)


def _inputs(example: Tensor) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (2, *example.shape[1:])
    for _ in range(2):
        yield torch.randn(shape, generator=generator)
    yield torch.zeros(shape)
    yield torch.ones(shape)
    yield 10 * torch.randn(shape, generator=generator)


@torch.no_grad()
def _more(
    original: nn.Module, example: Tensor, images: Tensor | None, notes: list[str]
) -> list[Tensor]:
    """Return the further inputs of the full check."""
    generator = torch.Generator().manual_seed(1)
    more = [torch.randn((3, *example.shape[1:]), generator=generator)]
    if example.ndim == 4:
        odd = [side + 1 + side % 2 for side in example.shape[2:]]
        x = torch.randn((2, example.shape[1], *odd), generator=generator)
        weight = next(original.parameters())
        try:
            original(x.to(weight.device, weight.dtype))
            more.append(x)
        except (RuntimeError, ValueError, AssertionError):
            notes.append("not checked: one size only, the original refuses another")
    if images is not None:
        more += [part.cpu().float() for part in images.split(64)]
    return more


@torch.no_grad()
def _own_distance(original: nn.Module, inputs: list[Tensor], dtype: torch.dtype) -> float:
    """Return how far the original in half precision is from its own float32 run."""
    single = deepcopy(original).float()
    device = next(original.parameters()).device
    worst = 0.0
    for x in inputs:
        x = x.to(device)
        for a, b in zip(outputs(single(x)), outputs(original(x.to(dtype))), strict=True):
            if a.abs().max() >= LEAST:
                error = relative(a, b)
                worst = worst if error == float("inf") else max(worst, error)
    return worst


@torch.no_grad()
def _sites(
    original: nn.Module, folded: nn.Module, sites: tuple[Site, ...], x: Tensor
) -> dict[str, float]:
    """Return the error of each site on the input it has in the original, float64."""
    kept: dict[str, Tensor] = {}
    handles = []

    def enter(name: str) -> Any:
        return lambda module, args: kept.__setitem__(f"> {name}", args[0].clone())

    def leave(name: str) -> Any:
        def hook(module: nn.Module, args: Any, out: Any) -> None:
            if isinstance(out, Tensor):
                kept[f"< {name}"] = out.clone()

        return hook

    for name in dict.fromkeys(site.entry for site in sites):
        handles.append(original.get_submodule(name).register_forward_pre_hook(enter(name)))
    for name in dict.fromkeys(site.exit for site in sites):
        handles.append(original.get_submodule(name).register_forward_hook(leave(name)))
    try:
        original(x.double())
    finally:
        for handle in handles:
            handle.remove()
    found: dict[str, float] = {}
    for site in sites:
        if f"> {site.entry}" not in kept or f"< {site.exit}" not in kept:
            continue
        y = kept[f"> {site.entry}"]
        for part in site.parts:
            y = folded.get_submodule(part)(y)
        found[site.name] = relative(kept[f"< {site.exit}"], y)
    return found
