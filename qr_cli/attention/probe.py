"""What a training run notes of its gates besides accuracy: ``--probe`` and ``--stripes``.

Both look at the first test images in evaluation mode, at the end of every epoch and once at the
start ("epoch 0"). A network that was never trained has batch statistics of nothing: the start is
looked at in a copy whose statistics are those of the probe (`control.settle`), which is why every
stripe statistic stands beside the same value before training.

    gate_mean, gate_std   over images, channels and blocks of a stage, population; None: no gate
    spem_q0               q_0 of every SPEM block of the stage, in order (see `modules.spem`)

Records of `--stripes` are those of `stripes`. Shapes: C channels, N images.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from qr_cli.attention import stripes
from qr_cli.attention.control import is_settled, settle
from qr_cli.attention.insert import iter_attention
from qr_cli.attention.modules.spem import SPEM
from qr_cli.attention.stripes import Stripes
from qr_cli.attention.trace import Batches

Record = dict[str, Any]

PROBED, STRIPED = 512, 1024  # first test images of either look
VANISHED = 1e-10  # p_0^2 + p_1^2 below which rounding and eps begin to decide SPEM's mix

log = logging.getLogger(__name__)


class Probe:
    """Looks at the gates of a run; keeps its start until the first look.

    Args:
        net: the network before training.
        batches: the first test images, `PROBED` of them, or `STRIPED` with `striped`.
        run: the run's name.
        probed: yield "probe" records.
        striped: yield "stripes" records.
    """

    def __init__(
        self, net: nn.Module, batches: Batches, *, run: str, probed: bool, striped: bool
    ) -> None:
        self.batches, self.run = batches, run
        self.probed, self.striped = probed, striped
        self._start: nn.Module | None = deepcopy(net)
        self._before: Mapping[str, Stripes] = {}

    def records(self, net: nn.Module, *, first: bool) -> Iterator[Record]:
        """Yield the records of an epoch; before those of the first one, the records of epoch 0.

        Args:
            net: the network, on its device.
            first: whether this is the end of the first epoch. A resumed run looks at the start
                again, to compare with, and does not record it twice.
        """
        if self._start is not None and (first or self.striped):
            start = self._start.to(next(net.parameters()).device)
            if not is_settled(start):
                settle(start, self.batches)
            self._before = stripes.collect(start, self.batches)
            if first:
                for record in self._look(start, self._before, None):
                    yield record | {"epoch": 0}
        self._start = None
        with _uncompiled(net):
            found = stripes.collect(net, self.batches)
        yield from self._look(net, found, self._before)

    def _look(
        self, net: nn.Module, found: Mapping[str, Stripes], before: Mapping[str, Stripes] | None
    ) -> Iterator[Record]:
        if self.probed:
            yield from stage_records(net, found)
        if self.striped:
            for record in stripes.records(found, before, run=self.run):
                yield {key: value for key, value in record.items() if key != "epoch"}


def stage_records(net: nn.Module, found: Mapping[str, Stripes]) -> Iterator[Record]:
    """Yield a "probe" record per stage with attention, from `stripes.collect` of the network."""
    shares: dict[int, list[float]] = {}
    for _, stage, _, spem in _spems(net):
        shares.setdefault(stage, []).append(spem.shares()[0].item())
    for stage in sorted({one.seat.stage for one in found.values()}):
        gates = [
            one.v[:PROBED].flatten()
            for one in found.values()
            if one.seat.stage == stage and one.v is not None
        ]
        gate: Tensor | None = torch.cat(gates) if gates else None
        yield {
            "event": "probe",
            "stage": stage,
            "gate_mean": None if gate is None else float(gate.mean()),
            "gate_std": None if gate is None else float(gate.std(correction=0)),
            "spem_q0": shares.get(stage),
        }


def vanished(net: nn.Module) -> str | None:
    """Return what is to be said of the first SPEM block whose p has all but vanished, if any."""
    for name, _, _, spem in _spems(net):
        norm = spem.aux_loss().item()
        if norm < VANISHED:
            return (
                f"{name}: p_0^2 + p_1^2 of spem is {norm:.1g}, below {VANISHED:g}: its mix of "
                "maximum and minimum may jump (a lower --aux-weight keeps p away from 0)"
            )
    return None


@contextmanager
def _uncompiled(net: nn.Module) -> Iterator[None]:
    """Run `net` as it is written: a compiled pass would not call the hooks of its modules."""
    compiled, net._compiled_call_impl = net._compiled_call_impl, None
    try:
        yield
    finally:
        net._compiled_call_impl = compiled


def _spems(net: nn.Module) -> Iterator[tuple[str, int, int, SPEM]]:
    """Yield (name, stage, index, module) of every SPEM, also inside another module."""
    for name, stage, index, module in iter_attention(net):
        for part in module.modules():
            if isinstance(part, SPEM):
                yield name, stage, index, part
