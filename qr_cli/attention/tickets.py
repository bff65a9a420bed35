"""Which blocks need attention that looks at the image: gates held at their mean [ours].

The gate of a dropped block is replaced by its mean over calibration images (the first 2,000 of the
training split), not by 1: the scale of the branch would jump. One pass of the intact network gives
the means and the orders in which blocks are kept:

    step      largest mean over channels of the gate's standard deviation over images first
    nsi       largest mean NSI first (`stiffness`); blocks that change the shape come last
    random    three permutations, seed 0

That few blocks of a network need their attention (a lottery ticket in self-attention) is others'
hypothesis; the orders are ours. This is the post-hoc experiment. Training from scratch with a mask
(``qr train attention --blocks MASK``) is another one, and the two are never mixed.
Shapes: B batch, C channels, H height, W width, N images, T blocks with attention.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import nn

from qr_cli.attention.backbones.records import residual_blocks
from qr_cli.attention.freeze import Means, correct, frozen, gated, paired_drop
from qr_cli.attention.trace import Batch, Seat, batched
from qr_cli.errors import UsageError

Record = dict[str, Any]
Order = Literal["step", "nsi", "random"]
ORDERS: tuple[Order, ...] = ("step", "nsi", "random")
DRAWS = 3  # permutations of the random order


def study(
    net: nn.Module,
    calibration_batches: Iterable[Batch],
    test_batches: Iterable[Batch],
    *,
    run: str,
    keep: int | Literal["sweep"],
    orders: Sequence[Order] = ORDERS,
) -> Iterator[Record]:
    """Yield a "ticket" record per order and number of blocks kept (and draw of random).

    Accuracies are shares in [0, 1] over all test images; `drop` is that of the intact network minus
    this one, with its paired 95 % interval. `mask` is what ``--blocks`` takes.

    Args:
        net: a trained network; it is left as it was.
        calibration_batches: the first 2,000 training images, not augmented.
        test_batches: the test split; re-readable.
        run: the run's name.
        keep: how many of the T blocks keep their gate, or "sweep" for 0..T.
        orders: which blocks are kept first.

    Raises:
        UsageError: no attention, a module without a gate, `keep` over T, an unknown order.
    """
    test_batches = batched(test_batches)
    count = len(gated(net))
    if keep != "sweep" and not 0 <= keep <= count:
        raise UsageError(f"--ticket: {keep} of {count} blocks", hint=f"--ticket 0 to {count}")
    if unknown := [order for order in orders if order not in ORDERS]:
        raise UsageError(
            f"--ticket-order: must be of {', '.join(ORDERS)}, got {unknown[0]!r}",
            hint=f"--ticket-order {','.join(ORDERS)}",
        )
    means = Means(net, calibration_batches)
    intact = correct(net, test_batches)
    known = {mask_of(net, means.seats): intact}
    for order in orders:
        for draw, ranking in enumerate(ranked(means, order)):
            for number in range(count + 1) if keep == "sweep" else [keep]:
                mask = mask_of(net, ranking[:number])
                if mask not in known:
                    dropped = {seat.name: means.gate[seat.name] for seat in ranking[number:]}
                    with frozen(net, dropped):
                        known[mask] = correct(net, test_batches)
                yield {
                    "event": "ticket",
                    "run": run,
                    "experiment": "post-hoc",
                    "order": order,
                    **({"draw": draw} if order == "random" else {}),
                    "keep": number,
                    "mask": mask,
                    "top1": float(known[mask].double().mean()),
                    **paired_drop(intact, known[mask]),
                    "images": len(intact),
                }


def ranked(means: Means, order: Order) -> list[list[Seat]]:
    """Return the seats, the one kept longest first: one list, `DRAWS` of the random order."""
    if order == "random":
        generator = torch.Generator().manual_seed(0)
        drawn = [torch.randperm(len(means.seats), generator=generator) for _ in range(DRAWS)]
        return [[means.seats[i] for i in permutation.tolist()] for permutation in drawn]
    if order == "step":
        return [sorted(means.seats, key=lambda seat: -means.step[seat.name])]
    return [sorted(means.seats, key=lambda seat: -means.nsi.get(seat.block, -1.0))]


def mask_of(net: nn.Module, kept: Iterable[Seat]) -> str:
    """Return a 1 per block that keeps its gate, stages apart: ``"101 010 010"``."""
    places = {(seat.stage, seat.index) for seat in kept}
    digits: dict[int, str] = {}
    for block in residual_blocks(net):
        mark = "1" if (block.stage, block.index) in places else "0"
        digits[block.stage] = digits.get(block.stage, "") + mark
    return " ".join(digits.values())
