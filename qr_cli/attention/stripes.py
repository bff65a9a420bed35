"""Is a gate in fact a constant per channel? Statistics of the Stripe Observation.

v_nc is the gate of image n in channel c (a spatial gate is averaged over positions), u_nc the mean
over H, W of the map it scales, z = log(v / (1 - v)). All variances are population variances.

    sigma_c = std_n(v_nc)
    W = mean_c sigma_c^2,   B = var_c(mean_n v_nc),   S(v) = W / (W + B)
    S_logit = S(z),   sigma_logit = mean_c std_n(z_nc),   S_input = S(u)

S is in [0, 1]: 0 perfect stripes (nothing depends on the image), 1 none, None when W + B < 1e-12.
The figure (a heat map, and the deviation per channel) is that of the ASR paper (Zhong et al. 2023,
arXiv 2304.06345); the formulas are ours. Stripes are largely there before training, so every value
stands beside the same value of the untrained control, and a small S alone proves nothing: the
decisive figure is the loss of accuracy when the gate is held at its mean (`freeze.drops`).
Shapes: B batch, C channels, H height, W width, N images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qr_cli.attention.control import is_settled, settle
from qr_cli.attention.freeze import ALL
from qr_cli.attention.modules.asr import ASR
from qr_cli.attention.modules.gate import spatial_mean
from qr_cli.attention.modules.se import SE
from qr_cli.attention.trace import Batch, Gate, Seat, batched, run, seats, watch
from qr_cli.errors import UsageError

Record = dict[str, Any]
BINS = 50  # of the histogram of sigma_c, on [0, 0.5]: a gate in [0, 1] deviates no further
LEAST = 1e-12  # W + B below which there is no S
NO_GATE = "no channel gate"


@dataclass(frozen=True)
class Stripes:
    """The gates of one attention module on N images.

    Args:
        seat: where it sits.
        v: the gate, float64 (N, C); None when it shows none per channel.
        u: the pooled input, float64 (N, C).
    """

    seat: Seat
    v: Tensor | None
    u: Tensor

    def sigma(self) -> Tensor | None:
        """Return sigma_c, float64 (C,)."""
        return None if self.v is None else self.v.std(0, correction=0)

    def summary(self) -> Record:
        """Return the statistics of the legend above; None for what a gate does not allow.

        Logits of gates outside [0, 1] are None; gates that round to 0 or 1 count as 2^-24 from it.
        """
        names = ("gate_mean", "sigma_mean", "sigma_median", "sigma_p90", "sigma_max", "S")
        record: Record = dict.fromkeys((*names, "S_logit", "sigma_logit", "sigma_histogram"))
        record["S_input"] = share_within(self.u)
        sigma = self.sigma()
        if self.v is None or sigma is None:
            return record
        quantiles = torch.quantile(sigma, sigma.new_tensor([0.5, 0.9]))
        values = (self.v.mean(), sigma.mean(), *quantiles, sigma.max())
        record |= dict(zip(names, map(float, values), strict=False))
        record["S"] = share_within(self.v)
        record["sigma_histogram"] = histogram(sigma)
        if 0 <= float(self.v.min()) and float(self.v.max()) <= 1:
            z = self.v.clamp(2**-24, 1 - 2**-24).logit()
            record["S_logit"] = share_within(z)
            record["sigma_logit"] = float(z.std(0, correction=0).mean())
        return record


def share_within(v: Tensor) -> float | None:
    """Return S = W / (W + B) in [0, 1], (N, C); None when W + B < 1e-12."""
    within = float(v.var(0, correction=0).mean())
    between = float(v.mean(0).var(correction=0))
    return within / (within + between) if within + between >= LEAST else None


def histogram(sigma: Tensor) -> list[int]:
    """Return how many channels deviate by how much, 50 bins on [0, 0.5], (C,); more counts last."""
    return torch.histc(sigma.clamp(max=0.5), BINS, 0, 0.5).int().tolist()


def collect(net: nn.Module, images: Tensor | Iterable[Batch]) -> dict[str, Stripes]:
    """Return gates and inputs of every attention module, by block, from one pass.

    Args:
        net: a network with attention; looked at in evaluation mode.
        images: (N, 3, H, W), normalised as the network expects, or batches.

    Raises:
        UsageError: the network has no attention.
    """
    found = seats(net)
    if not found:
        raise UsageError("the network has no attention: there is no gate to look at")
    v: dict[str, list[Tensor]] = {seat.name: [] for seat in found}
    u: dict[str, list[Tensor]] = {seat.name: [] for seat in found}

    def on_gate(gate: Gate) -> None:
        value = gate.per_channel()
        if value is not None:
            v[gate.seat.name].append(value.double().cpu())
        u[gate.seat.name].append(spatial_mean(gate.f).double().cpu())

    with watch(net, gate=on_gate):
        run(net, batched(images))
    return {
        seat.block: Stripes(
            seat, torch.cat(v[seat.name]) if v[seat.name] else None, torch.cat(u[seat.name])
        )
        for seat in found
    }


def study(
    net: nn.Module,
    control: nn.Module | None,
    batches: Tensor | Iterable[Batch],
    *,
    run: str,
    epoch: int | None = None,
    drops: Mapping[str, Record] | None = None,
) -> Iterator[Record]:
    """Yield a "stripes" record per attention module, and a "stripes_total" when `drops` is given.

    Args:
        net: the network.
        control: its start (`control.untrained`), settled on the batches if it is not yet; None
            leaves `before` empty.
        batches: the probe, re-readable: the first 1,024 test images.
        run: the run's name.
        epoch: of the weights.
        drops: what `freeze.drops` returned.

    Raises:
        UsageError: the network has no attention.
    """
    batches = batched(batches)
    if control is not None and not is_settled(control):
        settle(control, batches)
    start = None if control is None else collect(control, batches)
    yield from records(collect(net, batches), start, run=run, epoch=epoch, drops=drops)


def records(
    stripes: Mapping[str, Stripes],
    start: Mapping[str, Stripes] | None,
    *,
    run: str,
    epoch: int | None = None,
    drops: Mapping[str, Record] | None = None,
) -> Iterator[Record]:
    """Yield the records of `study` from what `collect` returned."""
    for block, found in stripes.items():
        yield {
            "event": "stripes",
            "run": run,
            "epoch": epoch,
            "block": block,
            "stage": found.seat.stage,
            "channels": found.u.shape[1],
            "images": len(found.u),
            **found.summary(),
            "before": None if start is None else start[block].summary(),
            "drop_if_frozen": None if drops is None else drops[block]["drop"],
            "dead_units": dead_units(found.seat.module),
            **({"note": NO_GATE} if found.v is None else {}),
        }
    if drops is not None:
        yield {"event": "stripes_total", "run": run, "blocks": len(stripes), **drops[ALL]}


def dead_units(module: nn.Module) -> int | None:
    """Return how many hidden units of SE inside ``asr`` are not positive at psi; None without any.

    Such a unit receives no gradient from any image.
    """
    counts = [
        int((part.fc1(psi) <= 0).sum())
        for asr in module.modules()
        if isinstance(asr, ASR)
        for psi, inner in zip(asr.psi, asr.inner, strict=True)
        for part in inner.modules()
        if isinstance(part, SE)
    ]
    return sum(counts) if counts else None
