"""How far each residual block moves the features: the normalised step of a trajectory.

    NSI_t(x) = ||x_{t+1} - x_t||_2 / max(||x_t||_2, 1e-12)                          per image
    TNS = mean over the inner blocks of the mean NSI

over all channels and positions; x_t enters the block, x_{t+1} leaves it, after the final ReLU
(`at="relu"`) or before it (`at="pre-act"`: x_t + gate * f). An inner block has an identity
shortcut: a trajectory never crosses a change of shape. The formula of NSI is the one two
third-party code bases use, believed to be that of the StepNet paper (Huang et al. 2023, arXiv
2308.09939); all the rest is ours. NSI is no eigenvalue. It means something only beside the
untrained control: a gate near 0.5 halves f and lowers NSI without any training.
Shapes: B batch, C channels, H height, W width, N images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qr_cli.attention.backbones.records import residual_blocks
from qr_cli.attention.control import is_settled, settle
from qr_cli.attention.correlation import pearson, spearman
from qr_cli.attention.trace import At, Batch, Gate, Step, batched, run, watch
from qr_cli.errors import UsageError

Record = dict[str, Any]
LEAST = 1e-12  # norm of x_t below which it counts as this


@dataclass(frozen=True)
class Passage:
    """What N images did in one inner block.

    Args:
        block: its path.
        stage: number of its stage, from 1, of `stages`.
        index: its number in the stage, from 0.
        nsi: float64 (N,), >= 0.
        gate: the mean gate of each image, float64 (N,); None without a gate per channel.
        step_std: mean over channels of the gate's standard deviation over images; None as `gate`.
    """

    block: str
    stage: int
    stages: int
    index: int
    nsi: Tensor
    gate: Tensor | None
    step_std: float | None

    @property
    def rho(self) -> float | None:
        """Spearman's correlation of gate and NSI over images, in [-1, 1]; None when constant."""
        return None if self.gate is None else spearman(self.gate, self.nsi)


def nsi(x: Tensor, y: Tensor) -> Tensor:
    """Return ||y - x|| / max(||x||, 1e-12) per image, (B, ...) x 2 -> float64 (B,), >= 0."""
    moved, size = (
        torch.linalg.vector_norm(v.flatten(1), dim=1, dtype=torch.float64) for v in (y - x, x)
    )
    return moved / size.clamp(min=LEAST)


def stiffness(model: nn.Module, images: Tensor, *, at: At = "relu") -> dict[str, Tensor]:
    """Return the NSI of every image in every inner block, {name: float64 (B,)}.

    Args:
        model: a network of `load`, `create_backbone` or `attach`; looked at in evaluation mode.
        images: (B, 3, H, W), normalised as the network expects.
        at: take the block's output after its final ReLU ("relu") or before ("pre-act").

    Raises:
        UsageError: the network has no inner block.
    """
    return {passage.block: passage.nsi for passage in collect(model, images, at=at)}


def collect(net: nn.Module, batches: Tensor | Iterable[Batch], *, at: At = "relu") -> list[Passage]:
    """Return what the images do in each inner block, in network order, from one pass.

    Raises:
        UsageError: the network has no inner block.
    """
    steps: dict[str, list[Tensor]] = {}
    gates: dict[str, list[Tensor]] = {}
    blocks = {}

    def on_step(step: Step) -> None:
        blocks[step.block.name] = step.block
        steps.setdefault(step.block.name, []).append(nsi(step.x, step.y).cpu())

    def on_gate(gate: Gate) -> None:
        value = gate.per_channel()
        if value is not None:
            gates.setdefault(gate.seat.block, []).append(value.double().cpu())

    with watch(net, step=on_step, gate=on_gate, at=at):
        run(net, batched(batches))
    if not steps:
        raise UsageError(
            "no block has an identity shortcut: a trajectory has no step to measure",
            hint="a deeper network, such as --arch resnet20",
        )
    stages = residual_blocks(net)[-1].stage
    found = []
    for name, block in blocks.items():
        gate = torch.cat(gates[name]) if name in gates else None  # (N, C)
        mean = None if gate is None else gate.mean(1)
        spread = None if gate is None else float(gate.std(0, correction=0).mean())
        step = torch.cat(steps[name])
        found.append(Passage(name, block.stage, stages, block.index, step, mean, spread))
    return found


def study(
    net: nn.Module,
    control: nn.Module,
    batches: Tensor | Iterable[Batch],
    *,
    run: str,
    at: At = "relu",
    reference: Sequence[Passage] | None = None,
) -> Iterator[Record]:
    """Yield a "stiffness" record per inner block and one "stiffness_total".

    Args:
        net: the trained network.
        control: its start (`control.untrained`), settled on the batches if it is not yet.
        batches: the probe, re-readable: the first 1,024 test images.
        run: the run's name.
        at: as in `stiffness`.
        reference: what `collect` returned of another network, at the same `at`.

    Raises:
        UsageError: no inner block, or a reference with another number of stages.
    """
    batches = batched(batches)
    if not is_settled(control):
        settle(control, batches)
    passages, start = (collect(each, batches, at=at) for each in (net, control))
    yield from records(passages, start, run=run, at=at, reference=reference)


def records(
    passages: Sequence[Passage],
    control: Sequence[Passage],
    *,
    run: str,
    at: At,
    reference: Sequence[Passage] | None = None,
) -> Iterator[Record]:
    """Yield the records of `study` from what `collect` returned."""
    for passage, start in zip(passages, control, strict=True):
        yield {
            "event": "stiffness",
            "run": run,
            "block": passage.block,
            "stage": passage.stage,
            "index": passage.index,
            "nsi_mean": float(passage.nsi.mean()),
            "nsi_std": float(passage.nsi.std(correction=0)),
            "control_mean": float(start.nsi.mean()),
            "step_std": passage.step_std,
            "rho_gate_nsi": passage.rho,
            "at": at,
            "images": len(passage.nsi),
        }
    pairs = [(p.gate, p.nsi) for p in passages if p.gate is not None]
    yield {
        "event": "stiffness_total",
        "run": run,
        "tns": fmean(float(p.nsi.mean()) for p in passages),
        "control_tns": fmean(float(p.nsi.mean()) for p in control),
        "contrast": [contrast(profile) for profile in _profiles(passages)],
        "rho_gate_nsi": spearman(*map(torch.cat, zip(*pairs, strict=True))) if pairs else None,
        "reference_r": None if reference is None else likeness(passages, reference),
    }


def contrast(profile: Sequence[float]) -> float | None:
    """Return max / median of the mean NSI of a stage, >= 1; None for an empty or still stage."""
    middle = float(np.median(profile)) if len(profile) else 0.0
    return max(profile) / middle if middle else None


def likeness(passages: Sequence[Passage], reference: Sequence[Passage]) -> float | None:
    """Return the Pearson correlation of two profiles of mean NSI, in [-1, 1].

    Stage by stage the reference is stretched to the number of blocks here, by linear interpolation.
    None when a stage of either has fewer than two inner blocks, or a profile is flat.

    Raises:
        UsageError: another number of stages.
    """
    ours, theirs = _profiles(passages), _profiles(reference)
    if len(ours) != len(theirs):
        raise UsageError(
            f"--reference: has {len(theirs)} stages where the run has {len(ours)}",
            hint="--reference with a network of the same family",
        )
    if min(map(len, (*ours, *theirs))) < 2:
        return None
    stretched = [
        np.interp(np.linspace(0, 1, len(a)), np.linspace(0, 1, len(b)), b)
        for a, b in zip(ours, theirs, strict=True)
    ]
    return pearson(np.concatenate(ours), np.concatenate(stretched))


def _profiles(passages: Sequence[Passage]) -> list[list[float]]:
    """Return the mean NSI of the inner blocks of every stage, from stage 1 to the last."""
    stages: list[list[float]] = [[] for _ in range(passages[0].stages)]
    for passage in passages:
        stages[passage.stage - 1].append(float(passage.nsi.mean()))
    return stages
