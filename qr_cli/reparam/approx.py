"""Fold ordinary channel attention at its mean, if that costs little accuracy [ours].

Every gate that depends on the image but not on the position is replaced by its mean over training
images, all from one pass of the original. What that costs is measured on the test split, once, as a
drop of top-1 with its paired 95 % interval. With "auto" gates are held in the order of their stripe
statistic S, smallest first, as long as the drop on further training images stays small. Of data
with one split the even images calibrate and the odd ones measure.
Shapes: C channels, N images.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from qr_cli.attention.augment import Fetch
from qr_cli.attention.data import ImageSet, peek, read
from qr_cli.attention.freeze import Means, correct, frozen, paired_drop
from qr_cli.attention.modules.contract import ChannelAttention
from qr_cli.attention.stripes import collect, share_within
from qr_cli.attention.trace import Batches, seats
from qr_cli.errors import DataError, RunFailed, UsageError
from qr_cli.reparam.planning import described

Record = dict[str, Any]
BATCH = 256
LEAST = 16  # images


class Held(ChannelAttention):
    """A gate at its mean, (C,): a constant that folds."""

    squeeze_kind = "none"
    value: Tensor

    def __init__(self, value: Tensor, what: str) -> None:
        super().__init__(len(value))
        self.register_buffer("value", value)
        self.what = f"{what} at its mean"

    @property
    def name(self) -> str:
        """What stood here."""
        return self.what

    def constant_gate(self) -> Tensor:
        """Return the mean gate, (C,)."""
        return self.value

    def gate(self, f: Tensor, ctx: Any = None) -> Tensor:
        """Return the mean gate as (1, C, 1, 1)."""
        return self.value[None, :, None, None].to(f.dtype)


@dataclass(frozen=True)
class Split:
    """Images for one purpose each."""

    calibration: ImageSet
    choice: ImageSet
    test: ImageSet
    source: str


def split(data: str, *, images: int, image_size: int | None, test_data: str | None = None) -> Split:
    """Return the images to calibrate on, to choose on, and to measure on.

    Raises:
        DataError: absent, unreadable, or too few.
    """
    alone = test_data is None and _has_one_split(data)
    found = read(
        data,
        test_data=data if alone else test_data,
        splits=("test",) if alone else ("train", "test"),
        limit_train=2 * images,
        image_size=image_size,
    )
    if alone or found.train is None or not len(found.train):
        train, test = rows(found.test, slice(0, None, 2)), rows(found.test, slice(1, None, 2))
    else:
        train, test = found.train, found.test
    for part, name in ((train, "training"), (test, "test")):
        if len(part) < LEAST:
            raise DataError(
                f"{found.source} has {len(part)} {name} images, fewer than {LEAST}",
                hint="--approx-stripe another DATA",
            )
    half = min(images, len(train))
    rest = rows(train, slice(half, None))
    choice = rest if len(rest) >= LEAST else rows(train, slice(0, half))
    return Split(rows(train, slice(0, half)), choice, test, found.source)


def _has_one_split(data: str) -> bool:
    try:
        peek(data)
    except DataError as error:
        return "no test part" in error.message
    return False


def rows(images: ImageSet, part: slice) -> ImageSet:
    """Return some of the images."""
    return replace(
        images,
        images=images.images[part],
        labels=images.labels[part],
        boxes=images.boxes and images.boxes[part],
        names=images.names and images.names[part],
        textures=None if images.textures is None else images.textures[part],
        original=None if images.original is None else images.original[part],
    )


def batches(net: nn.Module, images: ImageSet) -> Batches:
    """Return images as the network expects them, not augmented."""
    known: Any = net
    size = known.card["evaluation"]["image_size"]
    fetch = Fetch(images, mean=known.mean, std=known.std, train=False, image_size=size)
    return Batches(fetch, len(images), batch_size=BATCH)


@torch.no_grad()
def hold(
    model: nn.Module,
    data: str,
    *,
    images: int,
    max_drop: float,
    blocks: Literal["all", "auto"],
    test_data: str | None = None,
) -> tuple[nn.Module, list[Record]]:
    """Return a copy whose channel gates are `Held`, and the records of what it costs.

    Args:
        model: a network with its card (see `attention.load`).
        data: a source, as in ``--data``.
        images: training images the means are taken over.
        max_drop: most points of top-1 that it may cost.
        blocks: which gates.
        test_data: a source to measure on; default: the test split of `data`.

    Raises:
        UsageError: there is no gate to hold.
        DataError: the data cannot be used.
        RunFailed: it costs more; the message lists the blocks.
    """
    net: Any = deepcopy(model).eval()
    if not any(isinstance(m, ChannelAttention) for m in net.modules()):
        raise UsageError(
            "--approx-stripe: nothing to freeze, the network has no channel attention",
            hint="leave it out",
        )
    if not hasattr(net, "mean"):
        raise UsageError(
            "--approx-stripe: this network says not how its images are normalised",
            hint="a run of ours, or a network of torchvision or timm",
        )
    size = net.card["evaluation"]["image_size"]
    parts = split(data, images=images, image_size=size, test_data=test_data)
    if len(parts.test.classes) != len(net.classes):
        raise DataError(
            f"{parts.source} has {len(parts.test.classes)} classes and the network "
            f"{len(net.classes)}",
            hint="--approx-stripe the data it was trained on",
        )
    calibration, test = batches(net, parts.calibration), batches(net, parts.test)
    means = Means(net, calibration)
    gates = {
        seat.name: means.gate[seat.name]
        for seat in means.seats
        if means.gate[seat.name].shape[2:] == (1, 1) and means.gate[seat.name].shape[1] > 1
        and not hasattr(seat.module, "constant_gate")
    }  # fmt: skip
    if not gates:
        raise UsageError(
            "--approx-stripe: nothing to freeze, no gate depends on the image alone",
            hint="leave it out",
        )
    stripes = {s.seat.name: share_within(s.v) for s in collect(net, calibration).values()
               if s.v is not None}  # fmt: skip
    order = sorted(gates, key=lambda name: (stripes[name] is None, stripes[name] or 0.0))
    chosen = order
    if blocks == "auto":
        chosen = _choose(net, gates, order, batches(net, parts.choice), max_drop)
    intact = correct(net, test)
    table = [_single(net, name, gates[name], stripes[name], intact, test) for name in gates]
    with frozen(net, {name: gates[name] for name in chosen}):
        cost = paired_drop(intact, correct(net, test))
    total = {
        "event": "approx",
        "module": "all held",
        "gates": len(chosen),
        "of": len(gates),
        "chosen": list(chosen),
        **_points(cost),
        "max_drop_points": max_drop,
        "images": len(intact),
        "top1": float(intact.double().mean()),
        "calibration_images": len(parts.calibration),
        "data": parts.source,
        "convention": "top-1 on the test split, drop in points, paired 95 % interval",
    }
    if total["drop_points"] > max_drop:
        raise RunFailed(
            _too_much(total, table), hint="--stripe-blocks auto, or a higher --max-drop"
        )
    for seat in seats(net):
        if seat.name in chosen:
            value = gates[seat.name].flatten().to(next(net.parameters()))
            net.set_submodule(seat.name, Held(value, described(seat.module)))
    return net, [*table, total]


def _choose(
    net: nn.Module, gates: dict[str, Tensor], order: Sequence[str], images: Batches, most: float
) -> list[str]:
    """Return the gates that can be held together, taken in order while the drop stays small."""
    intact = correct(net, images)
    chosen: list[str] = []
    for name in order:
        with frozen(net, {n: gates[n] for n in [*chosen, name]}):
            drop = paired_drop(intact, correct(net, images))["drop"]
        if 100 * drop > most:
            break
        chosen.append(name)
    return chosen


def _single(
    net: nn.Module, name: str, gate: Tensor, s: float | None, intact: Tensor, test: Batches
) -> Record:
    with frozen(net, {name: gate}):
        cost = paired_drop(intact, correct(net, test))
    return {"event": "approx", "module": name, "S": s, **_points(cost), "images": len(intact)}


def _points(cost: dict[str, float]) -> Record:
    return {f"{key}_points": round(100 * value, 6) for key, value in cost.items()}


def _too_much(total: Record, table: list[Record]) -> str:
    lines = [
        f"holding {total['gates']} gates at their mean costs {total['drop_points']:.2f} points of "
        f"top-1 [{total['drop_low_points']:.2f}, {total['drop_high_points']:.2f}] on "
        f"{total['images']} images, over --max-drop {total['max_drop_points']:g}; "
        "nothing was written",
        f"{'gate':24} {'S':>7} {'alone':>7}",
    ]
    for row in table:
        s = "-" if row["S"] is None else f"{row['S']:.3f}"
        lines.append(f"{row['module']:24} {s:>7} {row['drop_points']:>7.2f}")
    return "\n".join(lines)
