"""The product of a gate and a big map, with a backward pass that reads the map once [ours].

For out = gate * f, gate = G(s), s = S(f) and the upstream gradient r, autograd's own backward walks
over the big map several times. Here it is

    gg_bc  = sum over H, W of r f             one product, no temporary of the map's size
    gs     = back through the small graph of G, by autograd
    grad_f = gate r + Z(gs)                   one pass; Z is the adjoint of the squeeze

    mean      Z = gs / HW
    mean_std  Z = gs_m / HW + gs_d (f - mean) / ((HW - 1) d),  d = sqrt(unbiased variance + 1e-5)
    max_min   Z = gs at the position the reduction returned, 0 elsewhere
    mean_max  the sum of the two above, for the maximum alone
    grid      Z = gs of the cells a pixel lies in, each over the cell's size, summed over the grids
    dct       Z = gs D, D the (C, H, W) weights of the squeeze

Two autograd nodes share one record: the product's backward leaves (r, gate) there, the squeeze's
backward, which autograd runs after G's, takes them. G itself is an ordinary graph, so that hooks,
frozen parameters, a state handed to the next block and `retain_graph` need no special care.
A gate that is a constant of the map (asr) needs the first line alone: `constant_product`.
Double backward raises. Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

SMALLEST = 2**21  # elements of f; below it autograd's own path is as fast or faster [measured]
GRIDS = (1, 2, 4)
STD_EPS = 1e-5


def worthwhile(f: Tensor, backward: Literal["auto", "single", "autograd"]) -> bool:
    """Return whether the single pass is to be used for `f`."""
    if backward == "autograd" or not torch.is_grad_enabled():
        return False
    if backward == "auto" and f.numel() < SMALLEST:
        return False
    return not (
        type(f) is not Tensor
        or torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or torch._C._are_functorch_transforms_active()
    )


def single_pass(
    f: Tensor, kind: str, gate_from: Callable[[Tensor], Tensor], basis: Tensor | None = None
) -> Tensor:
    """Return gate_from(squeeze(f)) * f, (B, C, H, W) -> (B, C, H, W).

    Args:
        f: the map.
        kind: a squeeze kind other than "none".
        gate_from: statistics -> gate (B, C), ordinary differentiable code.
        basis: the weights of the squeeze for kind "dct".
    """
    record: dict[str, Any] = {}
    s = _Squeeze.apply(f, basis, kind, record)
    out: Tensor = _Product.apply(f, s, gate_from(s), record)
    return out


class _Squeeze(torch.autograd.Function):
    """s = S(f); its backward is the whole gradient of f."""

    @staticmethod
    def forward(
        ctx: Any, f: Tensor, basis: Tensor | None, kind: str, record: dict[str, Any]
    ) -> Tensor:
        s: Tensor
        s, saved = _KINDS[kind][0](f, basis)
        ctx.save_for_backward(f, *saved)
        ctx.kind, ctx.record = kind, record
        return s

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gs: Tensor) -> Any:
        f, *saved = ctx.saved_tensors
        task, r, gate = ctx.record.pop("upstream", (None, None, None))
        if task != torch._C._current_graph_task_id():  # only s was used, not the product
            r, gate = torch.zeros_like(f), f.new_zeros(*f.shape[:2], 1, 1)
        return _KINDS[ctx.kind][1](f, gs, saved, r, gate), None, None, None


class _Product(torch.autograd.Function):
    """out = gate * f; its backward gives the gate's gradient and leaves the rest to `_Squeeze`."""

    @staticmethod
    def forward(ctx: Any, f: Tensor, s: Tensor, gate: Tensor, record: dict[str, Any]) -> Tensor:
        small = gate[:, :, None, None].to(f.dtype)
        ctx.save_for_backward(f, s, small)
        ctx.record, ctx.gate_dtype = record, gate.dtype
        return f * small

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, r: Tensor) -> Any:
        f, s, gate = ctx.saved_tensors
        gg = product_sum(r, f).to(ctx.gate_dtype) if ctx.needs_input_grad[2] else None
        if not ctx.needs_input_grad[1]:
            return None, None, gg, None
        ctx.record["upstream"] = (torch._C._current_graph_task_id(), r, gate)
        return None, torch.zeros_like(s), gg, None  # the zero makes autograd visit `_Squeeze`


def constant_product(f: Tensor, gate: Tensor) -> Tensor:
    """Return gate * f for a gate that does not depend on f, (B, C, H, W) and (1, C, 1, 1)."""
    out: Tensor = _ConstantProduct.apply(f, gate)
    return out


class _ConstantProduct(torch.autograd.Function):
    """out = gate * f; its backward reads the map once for the gate's gradient."""

    @staticmethod
    def forward(ctx: Any, f: Tensor, gate: Tensor) -> Tensor:
        ctx.save_for_backward(f, gate)
        return f * gate

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, r: Tensor) -> Any:
        f, gate = ctx.saved_tensors
        gf = r * gate if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return gf, None
        return gf, product_sum(r, f).sum(0)[None, :, None, None].to(gate.dtype)


def product_sum(r: Tensor, f: Tensor) -> Tensor:
    """Return sum over H, W of r f, (B, C, H, W) x 2 -> (B, C), accumulated in float32 at least."""
    b, c, h, w = f.shape
    plain = r.is_contiguous() and f.is_contiguous() and r.dtype == f.dtype
    if plain and f.dtype in (torch.float32, torch.float64) and h * w <= 1024:
        return torch.bmm(r.view(b * c, 1, h * w), f.view(b * c, h * w, 1)).view(b, c)
    return (r * f).sum((2, 3), dtype=accumulator(f))


def accumulator(f: Tensor) -> torch.dtype:
    """Return float64 for float64 maps, float32 for all others."""
    return torch.float64 if f.dtype == torch.float64 else torch.float32


def spatial_mean(f: Tensor) -> Tensor:
    """Return the mean over H, W, (B, C, H, W) -> (B, C), in float32 at least."""
    return f.mean((2, 3), dtype=accumulator(f))


def spatial_mean_std(f: Tensor) -> Tensor:
    """Return [mean, sqrt(unbiased variance + 1e-5)], (B, C, H, W) -> (B, 2, C)."""
    variance, mean = torch.var_mean(f.to(accumulator(f)), (2, 3), correction=1)
    return torch.stack([mean, (variance + STD_EPS).sqrt()], 1)


def spatial_max_min(f: Tensor) -> Tensor:
    """Return [max, min] over H, W, (B, C, H, W) -> (B, 2, C); a tie is settled by the index."""
    flat = f.flatten(2)
    return torch.stack([flat.max(-1).values, flat.min(-1).values], 1).to(accumulator(f))


def spatial_mean_max(f: Tensor) -> Tensor:
    """Return [mean, max] over H, W, (B, C, H, W) -> (B, 2, C)."""
    top = f.flatten(2).max(-1).values
    return torch.stack([spatial_mean(f), top.to(accumulator(f))], 1)


def spatial_grids(f: Tensor) -> Tensor:
    """Return averages over grids of 1, 4, 16 cells, channel-major, (B, C, H, W) -> (B, 21 C)."""
    f = f.to(accumulator(f))
    return torch.cat([F.adaptive_avg_pool2d(f, side).flatten(1) for side in GRIDS], 1)


def pool_matrix(side: int, length: int, like: Tensor) -> Tensor:
    """Return the (side, length) matrix of an adaptive average pool along one axis."""
    eye = torch.eye(length, dtype=like.dtype, device=like.device)
    return F.adaptive_avg_pool1d(eye, side).t()


def weighted_sum(f: Tensor, basis: Tensor) -> Tensor:
    """Return sum over H, W of f D, (B, C, H, W) and (C, H, W) -> (B, C), in float32 at least."""
    dtype = accumulator(f)
    flat = f.to(dtype).flatten(2).transpose(0, 1)  # (C, B, HW)
    return torch.bmm(flat, basis.to(dtype).flatten(1)[:, :, None])[:, :, 0].t()


_Saved = tuple[Tensor, ...]


def _mean_forward(f: Tensor, basis: Tensor | None) -> tuple[Tensor, _Saved]:
    return spatial_mean(f), ()


def _mean_backward(f: Tensor, gs: Tensor, saved: _Saved, r: Tensor, gate: Tensor) -> Tensor:
    z = (gs / f[0, 0].numel())[:, :, None, None].to(r.dtype)
    return torch.addcmul(z, r, gate)


def _mean_std_forward(f: Tensor, basis: Tensor | None) -> tuple[Tensor, _Saved]:
    mean = spatial_mean(f)
    centred = f - mean[:, :, None, None]
    variance = product_sum(centred, centred) / (f[0, 0].numel() - 1)
    std = (variance + STD_EPS).sqrt()
    return torch.stack([mean, std], 1), (mean, std)


def _mean_std_backward(f: Tensor, gs: Tensor, saved: _Saved, r: Tensor, gate: Tensor) -> Tensor:
    mean, std = saved
    size = f[0, 0].numel()
    slope = gs[:, 1] / ((size - 1) * std)
    start = gs[:, 0] / size - slope * mean
    grad = torch.addcmul(
        start[:, :, None, None].to(r.dtype), f, slope[:, :, None, None].to(r.dtype)
    )
    return grad.addcmul_(r, gate)


def _max_min_forward(f: Tensor, basis: Tensor | None) -> tuple[Tensor, _Saved]:
    flat = f.flatten(2)
    top, low = flat.max(-1), flat.min(-1)
    s = torch.stack([top.values, low.values], 1).to(accumulator(f))
    return s, (top.indices, low.indices)


def _max_min_backward(f: Tensor, gs: Tensor, saved: _Saved, r: Tensor, gate: Tensor) -> Tensor:
    grad = r * gate
    for j, index in enumerate(saved):
        _add_at(grad, index, gs[:, j])
    return grad


def _add_at(grad: Tensor, index: Tensor, value: Tensor) -> Tensor:
    """Add (B, C) values in place at one position of each channel, whatever the memory layout."""
    value = value.to(grad.dtype)
    if grad.is_contiguous():
        grad.view(*grad.shape[:2], -1).scatter_add_(2, index[:, :, None], value[:, :, None])
        return grad
    batch = torch.arange(grad.shape[0], device=grad.device)[:, None]
    channel = torch.arange(grad.shape[1], device=grad.device)
    width = grad.shape[3]
    place = (batch, channel, index // width, index % width)
    return grad.index_put_(place, value, accumulate=True)


def _mean_max_forward(f: Tensor, basis: Tensor | None) -> tuple[Tensor, _Saved]:
    top = f.flatten(2).max(-1)
    s = torch.stack([spatial_mean(f), top.values.to(accumulator(f))], 1)
    return s, (top.indices,)


def _mean_max_backward(f: Tensor, gs: Tensor, saved: _Saved, r: Tensor, gate: Tensor) -> Tensor:
    grad = _mean_backward(f, gs[:, 0], (), r, gate)
    return _add_at(grad, saved[0], gs[:, 1])


def _grid_forward(f: Tensor, basis: Tensor | None) -> tuple[Tensor, _Saved]:
    h, w = f.shape[2:]
    if h % 4 or w % 4:
        return spatial_grids(f), ()
    cells = f.view(*f.shape[:2], 4, h // 4, 4, w // 4)
    fine = cells.mean((3, 5), dtype=accumulator(f))
    return spatial_grids(fine), ()  # cells of equal size: the mean of means is the mean


def _grid_backward(f: Tensor, gs: Tensor, saved: _Saved, r: Tensor, gate: Tensor) -> Tensor:
    b, c, h, w = f.shape
    parts = torch.split(gs, [c * side * side for side in GRIDS], 1)
    maps = [p.view(b, c, side, side) for p, side in zip(parts, GRIDS, strict=True)]
    if h % 4 or w % 4:
        z = torch.zeros_like(f, dtype=gs.dtype)
        for m, side in zip(maps, GRIDS, strict=True):
            z += pool_matrix(side, h, gs).t() @ m @ pool_matrix(side, w, gs)
        return torch.addcmul(z.to(r.dtype), r, gate)
    fine = gs.new_zeros(b, c, 4, 4)
    for m, side in zip(maps, GRIDS, strict=True):
        spread = m.repeat_interleave(4 // side, 2).repeat_interleave(4 // side, 3)
        fine.add_(spread, alpha=side * side / (h * w))
    r = r.view(b, c, 4, h // 4, 4, w // 4)
    z = fine[:, :, :, None, :, None].to(r.dtype)
    return torch.addcmul(z, r, gate[:, :, :, :, None, None]).flatten(4).flatten(2, 3)


def _dct_forward(f: Tensor, basis: Tensor | None) -> tuple[Tensor, _Saved]:
    assert basis is not None  # kind "dct" without weights is a programming fault
    return weighted_sum(f, basis), (basis,)


def _dct_backward(f: Tensor, gs: Tensor, saved: _Saved, r: Tensor, gate: Tensor) -> Tensor:
    grad = r * gate
    return grad.addcmul_(gs[:, :, None, None].to(grad.dtype), saved[0].to(grad.dtype))


_KINDS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "mean": (_mean_forward, _mean_backward),
    "mean_std": (_mean_std_forward, _mean_std_backward),
    "max_min": (_max_min_forward, _max_min_backward),
    "mean_max": (_mean_max_forward, _mean_max_backward),
    "grid": (_grid_forward, _grid_backward),
    "dct": (_dct_forward, _dct_backward),
}
