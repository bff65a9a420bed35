"""UDALN (Li, Zheng, Liu, Li, Jia 2022): the networks of ADASR in three stages, without an
augmentor.

S1  L1(SpeD Y, SpaD Z), lr 1e-3        S2  L1(SpeU(SpaD Z), Y), lr 1e-3
S3  all nets, lr 6e-5: S1 + S2 + L1(SpeD(SpeU Z), Z) + L1(SpaD(SpeU Z), Y)
`constrained` (default; ours): PSF >= 0 with sum 1 and SRF >= 0 after every step. The original
leaves the sum free, a gain error of 1.5 % in its runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from qr_cli.engine.task import Update
from qr_cli.fuse.block import Block
from qr_cli.fuse.degradation import Degradation
from qr_cli.fuse.methods.adasr import image_of
from qr_cli.fuse.methods.adasr_official import (
    EPOCHS,
    UDALN_RATES,
    UDALN_STARTS,
    UDALN_STEPS,
    l1,
    networks,
    trained_image,
)
from qr_cli.fuse.methods.phase import Phase, adam, official_decay, train
from qr_cli.fuse.methods.whole import Whole, whole_block
from qr_cli.fuse.noise import Noise
from qr_cli.fuse.recipe import Fuse


def fit(
    blocks: Sequence[Block],
    degradation: Degradation,
    noise: Noise,
    *,
    recipe: Fuse,
    context: Mapping[str, Any],
) -> Whole:
    """Train the three stages on the whole scene."""
    block = whole_block(blocks, "udaln")
    given = recipe.adasr.iterations
    steps = [*given, *UDALN_STEPS[len(given) :]]
    nets = networks(block, degradation, recipe.job.seed)
    y, z = image_of(block.y), image_of(block.z)
    curves = {}
    for number in range(3):
        phase = _stage(number, nets, y, z, steps[number], recipe)
        name = f"stage-{number + 1}"
        curves[name] = train(phase, name, context, device=recipe.job.device, keep_best=False)
    return trained_image(nets, "udaln", {"iterations": list(steps)}, curves)


def _stage(
    number: int, nets: nn.ModuleDict, y: Tensor, z: Tensor, steps: int, recipe: Fuse
) -> Phase:
    spa, spe, up = nets["spa_d"], nets["spe_d"], nets["spe_u"]

    def low(yy: Tensor, zz: Tensor) -> Tensor:
        return l1(spe(yy), spa(zz))

    def fit_up(yy: Tensor, zz: Tensor) -> Tensor:
        return l1(up(spa(zz)), yy)

    def everything(yy: Tensor, zz: Tensor) -> Tensor:
        fine = up(zz)
        return low(yy, zz) + fit_up(yy, zz) + l1(spe(fine), zz) + l1(spa(fine), yy)

    losses: list[Callable[[Tensor, Tensor], Tensor]] = [low, fit_up, everything]
    trained = [[spa, spe], [up], [spa, spe, up]][number]

    def step(index: int) -> Iterator[Update]:
        if recipe.adasr.constrained and number != 1:
            spa.project()  # type: ignore[operator]
            spe.project()  # type: ignore[operator]
        device = next(up.parameters()).device
        yield Update(losses[number](y.to(device), z.to(device)), {})

    def measure() -> float:
        if recipe.adasr.constrained and number != 1:
            spa.project()  # type: ignore[operator]
            spe.project()  # type: ignore[operator]
        device = next(up.parameters()).device
        with torch.no_grad():
            return float(losses[number](y.to(device), z.to(device)))

    optimizer = adam([p for net in trained for p in net.parameters()], UDALN_RATES[number])
    start = int(steps / UDALN_STARTS[number])
    return Phase(
        nets, {"main": optimizer}, step, measure, steps=steps, every=max(steps // EPOCHS, 1),
        schedules={"main": official_decay(optimizer, steps, start)}, seed=recipe.job.seed,
    )  # fmt: skip
