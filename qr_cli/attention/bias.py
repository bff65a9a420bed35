"""Attention bias: does a network look at the object, at more than it, or elsewhere?

"Attention bias" and its two kinds are words of LSAS (Zhong et al. 2023, arXiv 2305.05200): position
bias, where a network attends to label-independent regions only, and range bias, where the attended
region is not contained in the ideal one. All definitions and thresholds below are ours. With the
heat map H in [0, 1] and the region G of an image (the boxes of its class):

    focus F = {H >= tau}    precision a = |F n G| / |F|    coverage r = |F n G| / |G|
    position-biased: a <= eps_pos    range-biased: eps_pos < a < 1 - eps_range    else unbiased
    energy = sum_G H / sum H         pointing: arg max H in G         IoU = |F n G| / |F u G|
    chance = |G| / image, the energy of a uniform map       missing range: r < 1/2, not position

An image whose region is under 1 % of it is dropped, one whose map is constant undefined; shares are
over the others. Shapes: n images, B of them in a batch, H height, W width.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from qr_cli.attention.augment import Fetch
from qr_cli.attention.boxes import Boxes
from qr_cli.attention.cam import explain, find_layer
from qr_cli.attention.data import ImageSet
from qr_cli.attention.intervals import discordant, mcnemar
from qr_cli.errors import DataError, UsageError

log = logging.getLogger(__name__)

Target = Literal["label", "predicted"]

VERDICTS = ("position", "range", "unbiased")
SWEEP = tuple(round(0.1 * k, 1) for k in range(2, 9))
AREA_BINS = ((0.0, 0.1), (0.1, 0.25), (0.25, 0.5), (0.5, 1.0))
SMALLEST_REGION = 0.01  # of the image
RESAMPLES = 1_000
_DRAWS = 4_000_000  # random numbers held at once


@dataclass(frozen=True, eq=False)
class Bias:
    """Values per image, all (n,), float64 in [0, 1]; NaN where dropped or undefined.

    Attributes:
        area: |G| / image, known for every image; over defined ones its mean is the chance energy.
        precision, coverage, energy, pointing, iou: see above; pointing is 0 or 1.
        dropped: bool, region under 1 % of the image.
        undefined: bool, not dropped, and the map is NaN or nowhere reaches tau.
        tau, eps_pos, eps_range: the thresholds.
    """

    area: Tensor
    precision: Tensor
    coverage: Tensor
    energy: Tensor
    pointing: Tensor
    iou: Tensor
    dropped: Tensor
    undefined: Tensor
    tau: float
    eps_pos: float
    eps_range: float

    def __len__(self) -> int:
        return len(self.area)

    @property
    def defined(self) -> Tensor:
        """Which images have a verdict, bool (n,)."""
        return ~(self.dropped | self.undefined)

    @property
    def position(self) -> Tensor:
        """Which images are position-biased, bool (n,)."""
        return self.precision <= self.eps_pos  # false for NaN

    @property
    def range(self) -> Tensor:
        """Which images are range-biased, bool (n,)."""
        return (self.precision > self.eps_pos) & (self.precision < 1 - self.eps_range)

    @property
    def unbiased(self) -> Tensor:
        """Which images are neither, bool (n,)."""
        return (self.precision > self.eps_pos) & (self.precision >= 1 - self.eps_range)

    def select(self, chosen: Tensor) -> Bias:
        """Return the values of some images; `chosen` is an index or a mask over n."""
        return replace(self, **{name: value[chosen] for name, value in self.values().items()})

    def values(self) -> dict[str, Any]:
        """Return the tensors by name."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in found.items() if isinstance(value, Tensor)}

    def summary(self) -> dict[str, float | int | None]:
        """Return counts, shares and means over the defined images, null where there is none.

        `images` counts those with a region, hence the undefined ones too, but not the dropped
        ones. `position_low` and `position_high`: bootstrap 95 % interval (see `interval`).
        """
        some = self.select(self.defined)
        position = some.position.double()
        low, high = interval(position)
        figures = {
            "position": _mean(position),
            "position_low": low,
            "position_high": high,
            "range": _mean(some.range),
            "unbiased": _mean(some.unbiased),
            "precision": _mean(some.precision),
            "coverage": _mean(some.coverage),
            "energy": _mean(some.energy),
            "chance_energy": _mean(some.area),
            "pointing": _mean(some.pointing),
            "iou": _mean(some.iou),
            "missing_range": _mean(some.coverage[~some.position] < 0.5),
        }
        return {
            "images": int((~self.dropped).sum()),
            "undefined": int(self.undefined.sum()),
            "dropped": int(self.dropped.sum()),
            **{key: None if math.isnan(value) else value for key, value in figures.items()},
            "tau": self.tau,
            "eps_pos": self.eps_pos,
            "eps_range": self.eps_range,
        }


def bias(
    cam: Tensor, masks: Tensor, *, tau: float = 0.5, eps_pos: float = 0.0, eps_range: float = 0.05
) -> Bias:
    """Return how each heat map lies to its region. Source: ours.

    Args:
        cam: (B, H, W) in [0, 1], NaN where undefined, as `grad_cam` returns it.
        masks: bool (B, H, W), the regions, as `region_masks` returns them.
        tau: threshold of the focus, in [0, 1]; at 0 it is the whole image.
        eps_pos: precision up to which an image counts as position-biased.
        eps_range: how far below 1 the precision of an unbiased image may lie.

    Raises:
        UsageError: a threshold outside [0, 1]. ValueError: shapes that differ.
    """
    for flag, value in (("--tau", tau), ("--eps-pos", eps_pos), ("--eps-range", eps_range)):
        if not 0 <= value <= 1:
            raise UsageError(f"{flag}: should be from 0 to 1, got {value:g}")
    if cam.shape != masks.shape or cam.ndim != 3:
        raise ValueError(f"maps {tuple(cam.shape)} and masks {tuple(masks.shape)} differ")
    inside, focus = _focus(cam, masks, tau)
    region = masks.sum((1, 2)).double()
    area = region / (cam.shape[1] * cam.shape[2])
    highest = cam.flatten(1).argmax(1, keepdim=True)
    peak = cam.amax((1, 2))
    known = (peak >= tau) & (peak > 0)  # false for NaN
    dropped = area < SMALLEST_REGION
    empty = dropped | ~known
    values = {
        "precision": inside / focus,
        "coverage": inside / region,
        "energy": (cam * masks).sum((1, 2), dtype=torch.float64)
        / cam.sum((1, 2), dtype=torch.float64),
        "pointing": masks.flatten(1).gather(1, highest)[:, 0].double(),
        "iou": inside / (focus + region - inside),
    }
    return Bias(
        area=area,
        **{name: value.masked_fill(empty, torch.nan) for name, value in values.items()},
        dropped=dropped,
        undefined=~known & ~dropped,
        tau=tau,
        eps_pos=eps_pos,
        eps_range=eps_range,
    )


def region_masks(
    boxes: Sequence[Boxes | None], labels: Tensor, size: tuple[int, int] | torch.Size
) -> Tensor:
    """Return the region of each image: the pixels whose centre lies in a box of its class.

    A box without a class (-1) counts for every class.

    Args:
        boxes: per image, in its pixels.
        labels: int64 (B,).
        size: H and W.

    Returns:
        bool (B, H, W). Source: ours.
    """
    masks = torch.zeros(len(boxes), *size, dtype=torch.bool)
    for mask, found, label in zip(masks, boxes, labels.tolist(), strict=True):
        if found is None:
            continue
        own = found.xyxy[(found.labels == label) | (found.labels < 0)]
        edges = (own - 0.5).ceil().long().clamp(min=0)  # centre k + 1/2 in [x0, x1)
        for x0, y0, x1, y1 in edges.tolist():
            mask[y0:y1, x0:x1] = True
    return masks


@dataclass(frozen=True, eq=False)
class Examined:
    """What was found about the images of a set that have boxes.

    Attributes:
        bias: values per image at the chosen tau.
        sweep: precision (n,) for each tau of `SWEEP`.
        rows: int64 (n,), numbers of the images in the set.
        labels, predicted: int64 (n,).
        classes: names.
        layer, target: how the maps were got.
    """

    bias: Bias
    sweep: Mapping[float, Tensor]
    rows: Tensor
    labels: Tensor
    predicted: Tensor
    classes: tuple[str, ...]
    layer: str
    target: Target

    def subsets(self) -> Iterator[tuple[str, Tensor]]:
        """Yield name and mask (n,) of all images, right and wrong ones, classes, area bins."""
        right = self.predicted == self.labels
        yield "all", torch.ones_like(right)
        yield "right", right
        yield "wrong", ~right
        for number, name in enumerate(self.classes):
            yield f"class:{name}", self.labels == number
        for low, high in AREA_BINS:
            below = self.bias.area <= high if high == 1 else self.bias.area < high
            yield f"area:{low:g}-{high:g}", (self.bias.area >= low) & below


@torch.no_grad()
def examine(
    net: nn.Module,
    images: ImageSet,
    fetch: Fetch,
    *,
    layer: str | None = None,
    target: Target = "label",
    tau: float = 0.5,
    eps_pos: float = 0.0,
    eps_range: float = 0.05,
    batch_size: int = 500,
    device: torch.device | str = "cpu",
) -> Examined:
    """Return the values of every image that has boxes, in file order.

    Args:
        net: gives logits; moved to `device`.
        images: the set that `fetch` reads, with `boxes`; where they are None nothing is known of
            the image, and it is left out.
        fetch: gives their evaluation view (``train=False``), boxes included.
        layer: as in `grad_cam`.
        target: the class that a map explains; the region is that of the label either way.
        tau: threshold of the focus, as in `bias`.
        eps_pos: as in `bias`.
        eps_range: as in `bias`.
        batch_size: images per pass.
        device: where to compute.

    Raises:
        DataError: no image has boxes. UsageError: no such layer, or a threshold outside [0, 1].
    """
    rows = _with_boxes(images)
    name = find_layer(net, layer)
    net.to(device)
    parts: list[Bias] = []
    sweeps: list[Tensor] = []  # each (len(SWEEP), B)
    predicted: list[Tensor] = []
    for batch in rows.split(batch_size):
        pixels, labels = fetch(batch, 0)
        aim = labels.to(device) if target == "label" else None
        maps, logits = explain(net, pixels.to(device), aim, layer=name)
        maps = maps.cpu()
        masks = region_masks(fetch.boxes(batch), labels, maps.shape[1:])
        part = bias(maps, masks, tau=tau, eps_pos=eps_pos, eps_range=eps_range)
        counts = (_focus(maps, masks, at) for at in SWEEP)
        ratios = torch.stack([inside / focus for inside, focus in counts])
        sweeps.append(ratios.masked_fill(~part.defined, torch.nan))
        parts.append(part)
        predicted.append(logits.argmax(1).cpu())
    sweep = dict(zip(SWEEP, torch.cat(sweeps, 1), strict=True))
    return Examined(
        _joined(parts), sweep, rows, images.labels[rows], torch.cat(predicted), images.classes,
        name, target,
    )  # fmt: skip


def records(found: Examined, *, run: str, control: bool = False) -> Iterator[dict[str, Any]]:
    """Yield a `bias` record per subset that has images and a `bias_sweep` record per tau."""
    how = {"cam_layer": found.layer, "cam_target": found.target, "definition": "ours"}
    for subset, chosen in found.subsets():
        if chosen.any():
            figures = found.bias.select(chosen).summary()
            named = {"event": "bias", "run": run, "subset": subset}
            yield {**named, **figures, **how, "control": control}
    for tau, precision in found.sweep.items():
        at = replace(found.bias, precision=precision, tau=tau).select(found.bias.defined)
        shares = {verdict: _mean(getattr(at, verdict)) for verdict in VERDICTS}
        shares["precision"] = _mean(at.precision)
        yield {
            "event": "bias_sweep",
            "run": run,
            "tau": tau,
            **{key: None if math.isnan(value) else value for key, value in shares.items()},
            "control": control,
        }


def compare(first: Bias, second: Bias) -> dict[str, float]:
    """Return the exact McNemar p of each verdict for two runs on the same images.

    Counted over the images that are defined in both.

    Raises:
        ValueError: another number of images.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} images cannot be compared in pairs")
    both = first.defined & second.defined
    a, b = first.select(both), second.select(both)
    pairs = {v: discordant(getattr(a, v), getattr(b, v)) for v in VERDICTS}
    return {verdict: mcnemar(*counts) for verdict, counts in pairs.items()}


def interval(values: Tensor, *, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
    """Return the bootstrap 95 % interval of a mean over images: percentiles 2.5 and 97.5.

    Args:
        values: (n,), one per image, without NaN.
        resamples: how often n images are drawn with replacement.
        seed: of the draws, so that two calls on as many images draw the same ones.

    Returns:
        Low and high, NaN for no image.
    """
    n = len(values)
    if not n:
        return math.nan, math.nan
    one = values.double().numpy()
    generator = np.random.Generator(np.random.Philox(seed))
    at_once = max(1, _DRAWS // n)
    means = [
        one[generator.integers(n, size=(min(at_once, resamples - start), n))].mean(1)
        for start in range(0, resamples, at_once)
    ]
    low, high = np.percentile(np.concatenate(means), (2.5, 97.5))
    return float(low), float(high)


def _focus(cam: Tensor, masks: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    """Return |F n G| and |F|, float64 (B,)."""
    focus = cam >= tau
    return (focus & masks).sum((1, 2)).double(), focus.sum((1, 2)).double()


def _with_boxes(images: ImageSet) -> Tensor:
    """Return the numbers of the images of which boxes are known."""
    known = [i for i, boxes in enumerate(images.boxes or ()) if boxes is not None]
    if not known:
        raise DataError(
            f"none of the {len(images)} images has boxes", hint="--data shapes, or --bias FILE"
        )
    if len(known) < len(images):
        log.info("%d of %d images have boxes; the others are left out", len(known), len(images))
    return torch.tensor(known)


def _joined(parts: Sequence[Bias]) -> Bias:
    """Return the values of several batches as one."""
    values = [part.values() for part in parts]
    names = values[0]
    joined: dict[str, Any] = {name: torch.cat([v[name] for v in values]) for name in names}
    return replace(parts[0], **joined)


def _mean(values: Tensor) -> float:
    """Return the mean in float64, NaN for no value."""
    return float(values.double().mean())
