"""Grad-CAM heat maps (Selvaraju et al. 2017, arXiv 1610.02391).

    alpha_k = mean over i, j of dS_y / dA_kij       S_y: logit of class y, before the softmax
    H = ReLU(sum_k alpha_k A_k)                     at the size of the layer
    H := bilinear to the size of the image, then (H - min) / (max - min)

The network runs without gradients up to the layer and with them from there, so that a map costs
one forward pass and the backward pass of what follows the layer; no parameter gets a gradient.
Shapes: B batch, C channels, K classes, H height, W width, h, w size of the layer's map.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qr_cli.attention.insert import residual_blocks
from qr_cli.attention.modules.contract import precise
from qr_cli.errors import UsageError


def grad_cam(
    model: nn.Module, images: Tensor, labels: Tensor, *, layer: str | None = None
) -> Tensor:
    """Return a heat map per image, scaled to [0, 1].

    Args:
        model: gives logits (B, K); runs in evaluation mode and is left as it was.
        images: (B, 3, H, W), normalised as the network expects.
        labels: int64 (B,), the class y that each map explains.
        layer: name of the module whose output is A; None is the last residual block.

    Returns:
        float32 (B, H, W); NaN throughout where the map is constant, hence undefined.

    Raises:
        UsageError: no such layer, or its output is no map that the logits depend on.
    """
    return explain(model, images, labels, layer=find_layer(model, layer)).maps


class Explained(NamedTuple):
    """Heat maps (B, H, W) as `grad_cam` returns them, and the logits (B, K) of the same pass."""

    maps: Tensor
    logits: Tensor


def explain(model: nn.Module, images: Tensor, labels: Tensor | None, *, layer: str) -> Explained:
    """Return heat maps and logits of one pass.

    Args:
        model: as in `grad_cam`, like `images`.
        images: as in `grad_cam`.
        labels: the class that each map explains; None is the predicted one.
        layer: name of a module, from `find_layer`.

    Raises:
        UsageError: the layer's output is no map that the logits depend on.
    """
    held: list[Tensor] = []

    def begin(module: nn.Module, inputs: Any, output: Any) -> Tensor:
        if not isinstance(output, Tensor) or output.ndim != 4:
            raise UsageError(
                f"--cam-layer: {layer} gives no map of channels, height and width",
                hint="name a convolution, a normalisation or a block",
            )
        torch.set_grad_enabled(True)  # until the surrounding no_grad ends
        held[:] = [output.detach().requires_grad_()]
        return held[0].clone()  # what follows may work in place

    hook = model.get_submodule(layer).register_forward_hook(begin)
    try:
        with _frozen(model), precise(images):
            logits = model(images)
            classes = logits.argmax(1) if labels is None else labels
            score = logits.gather(1, classes[:, None]).sum()
            gradient = None
            if held and score.requires_grad:
                (gradient,) = torch.autograd.grad(score, held, allow_unused=True)
            if gradient is None:
                raise UsageError(
                    f"--cam-layer: the logits do not depend on the output of {layer}",
                    hint="name a layer before the classifier",
                )
            maps = _heat(held[0].detach(), gradient, images.shape[2:])
            return Explained(maps, logits.detach())
    finally:
        hook.remove()


def find_layer(model: nn.Module, layer: str | None = None) -> str:
    """Return the name of the layer a map is taken from; None is the last residual block.

    Raises:
        UsageError: there is no module of this name, or no residual block.
    """
    if layer is None:
        try:
            return residual_blocks(model)[-1].name
        except UsageError as error:
            raise UsageError(
                f"{type(model).__name__} has no residual block that is known here",
                hint="--cam-layer NAME, the last layer that still gives a map",
            ) from error
    names = [name for name, _ in model.named_modules() if name]
    if layer not in names:
        close = get_close_matches(layer, names, n=5, cutoff=0.5) or names[-5:]
        raise UsageError(
            f"--cam-layer: {type(model).__name__} has no layer {layer!r}",
            hint=f"near names: {', '.join(close)}",
        )
    return layer


def _heat(maps: Tensor, gradient: Tensor, size: torch.Size) -> Tensor:
    """Return (B, H, W) from the maps A and dS/dA, both (B, C, h, w)."""
    alpha = gradient.float().mean((2, 3))  # (B, C)
    small = torch.einsum("bc,bchw->bhw", alpha, maps.float()).relu()
    heat = F.interpolate(small[:, None], tuple(size), mode="bilinear", align_corners=False)[:, 0]
    low, high = heat.amin((1, 2)), heat.amax((1, 2))
    # Rounding makes a constant map vary once it is interpolated: look at it before, too.
    flat = (small.amax((1, 2)) == small.amin((1, 2))) | (high == low)
    scaled = (heat - low[:, None, None]) / (high - low)[:, None, None]
    return scaled.masked_fill_(flat[:, None, None], torch.nan)


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Run in evaluation mode without gradients; afterwards each module is in its own mode."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode(False), torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training
