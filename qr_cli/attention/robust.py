"""How accuracy falls when pixels are disturbed: Gaussian noise, and one step against the network.

x are pixels in [0, 1] before normalisation, y the label, S and E strengths in the same units:

    noise   x' = clip(x + S e, 0, 1),   e ~ N(0, 1) per pixel, drawn for each image by its number
    fgsm    x' = clip(x + E sign(d CE(net(norm(x)), y) / dx), 0, 1)

FGSM is that of Goodfellow et al. 2015 (arXiv 1412.6572): one step, so a lower bound of what an
attack can do. Evaluation mode, float32; no parameter gets a gradient. An early abstract of the ASR
paper (arXiv 2304.06345) claimed robustness and the final one does not: nothing is claimed here.
Shapes: B batch, K classes, H height, W width, N images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qr_cli.attention.attacks import parse_attacks
from qr_cli.attention.intervals import wilson
from qr_cli.attention.modules.contract import precise
from qr_cli.attention.trace import Batch, batched, watch

Record = dict[str, Any]
_STREAM = 1 << 34  # keeps this noise apart from the draws of data and augmentation
_HOW = {
    "noise": "Gaussian noise, seed {seed}",
    "fgsm": "single step along the sign of the gradient",
}


class Seen(NamedTuple):
    """Whether each image is classified right, bool (N,): as it is, and by attack."""

    clean: Tensor
    disturbed: dict[str, Tensor]


def study(
    net: nn.Module,
    images: Tensor | Iterable[Batch],
    attacks: Sequence[str],
    *,
    mean: Sequence[float],
    std: Sequence[float],
    run: str,
    which: str | None = None,
    seed: int = 0,
) -> Iterator[Record]:
    """Yield a "robust" record per attack, in the order given.

    Args:
        net: gives logits (B, K) for normalised images.
        images: batches of normalised images and labels, the same whatever their size.
        attacks: as `parse_attacks` returns them: ``("noise:0.1", "fgsm:2/255")``.
        mean: per channel, in units of the range [0, 1]: how the images were normalised.
        std: likewise.
        run: the run's name.
        which: "last" or "best" epoch, for the convention; None for weights of no run.
        seed: of the noise.
    """
    seen = disturb(net, images, attacks, mean=mean, std=std, seed=seed)
    epoch = f"{which} epoch, " if which else ""
    count = len(seen.clean)
    for attack in parse_attacks(attacks):
        right = seen.disturbed[str(attack)]
        low, high = wilson(int(right.sum()), count)
        yield {
            "event": "robust",
            "run": run,
            "attack": attack.kind,
            "eps": attack.text,
            "strength": attack.strength,
            "clean": float(seen.clean.double().mean()),
            "top1": float(right.double().mean()),
            "top1_low": low,
            "top1_high": high,
            "images": count,
            "convention": f"{_HOW[attack.kind].format(seed=seed)}, pixels in [0, 1], "
            f"{epoch}float32",
        }


def disturb(
    net: nn.Module,
    images: Tensor | Iterable[Batch],
    attacks: Sequence[str],
    *,
    mean: Sequence[float],
    std: Sequence[float],
    seed: int = 0,
) -> Seen:
    """Return which images are classified right, undisturbed and under each attack.

    The arguments are those of `study`. One draw of noise and one gradient serve all strengths.
    """
    wanted = parse_attacks(attacks)
    kinds = {attack.kind for attack in wanted}
    device = next(net.parameters()).device
    shift, scale = (torch.tensor(v, device=device).float().view(1, 3, 1, 1) for v in (mean, std))
    clean: list[Tensor] = []
    found: dict[str, list[Tensor]] = {str(attack): [] for attack in wanted}
    first = 0
    with watch(net):
        for batch, labels in batched(images):
            batch, labels = batch.to(device), labels.to(device)
            with precise(batch):
                pixels = (batch.float() * scale + shift).clamp(0, 1)
                step = {}
                if "noise" in kinds:
                    step["noise"] = noise(first, pixels.shape, seed=seed).to(device)
                if "fgsm" in kinds:
                    step["fgsm"] = _sign(net, pixels, labels, shift, scale)
                clean.append(_right(net, pixels, labels, shift, scale))
                for attack in wanted:
                    moved = (pixels + attack.strength * step[attack.kind]).clamp(0, 1)
                    found[str(attack)].append(_right(net, moved, labels, shift, scale))
            first += len(batch)
    return Seen(torch.cat(clean), {name: torch.cat(parts) for name, parts in found.items()})


def noise(first: int, shape: Sequence[int], *, seed: int = 0) -> Tensor:
    """Return standard normal noise float32 (B, 3, H, W) of the images number `first` and on.

    Each image has a stretch of the generator's counter of its own, so that its noise depends on
    the seed and its number only.
    """
    key = np.array([seed, _STREAM], np.uint64)
    drawn = np.empty(tuple(shape), np.float32)
    for row in range(shape[0]):
        counter = np.array([0, 0, 0, first + row], np.uint64)
        generator = np.random.Generator(np.random.Philox(key=key, counter=counter))
        generator.standard_normal(dtype=np.float32, out=drawn[row])
    return torch.from_numpy(drawn)


def _sign(net: nn.Module, pixels: Tensor, labels: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Return the sign of the gradient of the cross-entropy to the pixels, (B, 3, H, W)."""
    with torch.inference_mode(False), torch.enable_grad():
        x = pixels.detach().clone().requires_grad_()
        loss = F.cross_entropy(net((x - shift) / scale).float(), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x)
    return gradient.sign()


@torch.no_grad()
def _right(net: nn.Module, pixels: Tensor, labels: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Return whether each image is classified right, bool (B,)."""
    return (net((pixels - shift) / scale).argmax(1) == labels).cpu()
