"""The untrained control: the same network before training [ours].

Attention near 0.5 halves a branch, and a gate without training hardly varies: a figure of a trained
network means something only beside that of its start. The control is built anew from what the
checkpoint says of itself (``model.json``) and the run's seed. A run that started from foreign
weights gets a random start too: that is what "untrained" means here.

A fresh batch normalisation has statistics of nothing. `settle` gives it those of the probe images:
reset, then the cumulative average over batches of 128 in training mode, then evaluation mode.
Shapes: B batch, H height, W width.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from qr_cli.attention.load import network

BATCH = 128  # images per step while statistics settle

_CARRIED = ("card", "classes", "mean", "std", "input_size")

_log = logging.getLogger(__name__)


def untrained(net: nn.Module, batches: Iterable[tuple[Tensor, Tensor]] | None = None) -> nn.Module:
    """Return the start of `net`, in evaluation mode, on its device; `net` stays as it is.

    Args:
        net: a network of `load`. One without a card (weights of others) is copied and its layers
            are reset with seed 0, which is said once.
        batches: (images, labels) of the probe, to settle the batch normalisations. Without them
            call `settle` before the first look; the studies of this room do so themselves.

    Raises:
        UsageError: the card names something unknown here.
    """
    example = next(net.parameters())
    card: dict[str, Any] | None = getattr(net, "card", None)
    control: Any = _fresh(net) if card is None else network(card)
    for name in _CARRIED:
        if hasattr(net, name):
            setattr(control, name, getattr(net, name))
    control = control.to(example.device, example.dtype).eval()
    return control if batches is None else settle(control, batches)


def settle(control: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> nn.Module:
    """Give every batch normalisation of `control` the statistics of `batches`; return `control`.

    The images are dealt out anew in batches of 128, so that the size of the given batches does not
    matter; a last batch of one image, which has no variance, is left out. No dropout is drawn and
    no weight changes.
    """
    norms = _norms(control)
    momenta = [norm.momentum for norm in norms]
    device = next(control.parameters()).device
    control.eval()
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum, norm.training = None, True  # None: the average over all batches
        with torch.no_grad():
            for images in _dealt(images for images, _ in batches):
                control(images.to(device))
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum, norm.training = momentum, False
    return control


def is_settled(net: nn.Module) -> bool:
    """Whether every batch normalisation of `net` has seen a batch."""
    counts = [norm.num_batches_tracked for norm in _norms(net)]
    return all(count is not None and int(count) > 0 for count in counts)


def _fresh(net: nn.Module) -> nn.Module:
    """Return a copy with every layer drawn anew from seed 0."""
    _log.warning(
        "%s has no card: its control is a fresh start of its layers, seed 0", type(net).__name__
    )
    control = deepcopy(net)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        for layer in reversed(list(control.cpu().modules())):  # parts before what is made of them
            if callable(draw := getattr(layer, "reset_parameters", None)):
                draw()
    return control


def _norms(net: nn.Module) -> list[_BatchNorm]:
    """Return the batch normalisations that keep statistics."""
    return [m for m in net.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]


def _dealt(batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield the images of `batches` in order, `BATCH` at a time; a rest of one only if alone."""
    held: list[Tensor] = []
    count, yielded = 0, False
    for batch in batches:
        for part in batch.split(BATCH):
            held.append(part)
            count += len(part)
            if count >= BATCH:
                whole = torch.cat(held)
                yield whole[:BATCH]
                held, count, yielded = [whole[BATCH:]], count - BATCH, True
    if count > 1 or (count and not yielded):
        yield torch.cat(held)
