"""ADASR's published schedule, and UDALN's three stages (arXiv 2310.07255 by its code; Li et al.
2022).

Stage 1, with A the low MSI made from Y and B the one made from Z (`--targets oracle`: by the true
PSF and SRF, which is why published figures are not blind; `consistency`: SpeD Y and SpaD Z meet
directly):
    augmentor:   2 log L1(SpeD(T Y), T A) + 2 log L1(SpaD(T Z), T B), minimised; targets detached
    SpaD, SpeD:  L1(SpeD Y, A) + L1(SpaD Z, B) + L1(SpeD T Y, T A) + L1(SpaD T Z, T B), T detached
Stage 2: SpeU:   L1(SpeU(SpaD Z), Y) + 0.3 L1(SpeD(SpeU Z), Z)
The augmentor steps first, then the down nets with the angle of before. Adam, eps and weight decay
1e-16. Differs from the code: the device is Accelerate's, and both images are divided by one number.
UDALN: S1 L1(SpeD Y, SpaD Z); S2 L1(SpeU(SpaD Z), Y); S3 all nets, both and the two cycles.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from qr_cli.engine.task import Update
from qr_cli.errors import DataError
from qr_cli.fuse.block import Block
from qr_cli.fuse.degradation import Degradation
from qr_cli.fuse.grid import Array
from qr_cli.fuse.methods.adasr import image_of, seeded
from qr_cli.fuse.methods.augment import AUGMENTORS, inside, sampled, turned
from qr_cli.fuse.methods.nets import SpaD, SpeD, spe_u
from qr_cli.fuse.methods.phase import Phase, adam, official_decay, train
from qr_cli.fuse.methods.whole import Whole, whole_block
from qr_cli.fuse.recipe import Fuse

STEPS = (40_000, 200_000)
STARTS = (4, 10)  # decay begins after N/4, N/10
RATES = (8e-4, 1e-4, 1.3e-3)  # down nets, augmentor, up net
DATA_WEIGHT = 0.3
UDALN_STEPS, UDALN_STARTS, UDALN_RATES = (20_000, 30_000, 15_000), (2, 1.5, 3), (1e-3, 1e-3, 6e-5)
SEEN = 0.01  # of a response's maximum: where a range begins and ends
EPOCHS = 20  # measurements of a stage


def l1(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean absolute difference."""
    return (a - b).abs().mean()


def ranges_of(srf: Array) -> list[tuple[int, int]]:
    """Return first and last HSI band of each response."""
    out = []
    for column in srf.T:
        seen = np.flatnonzero(column > SEEN * column.max())
        out.append((int(seen[0]), int(seen[-1])))
    return out


def networks(block: Block, degradation: Degradation, seed: int) -> nn.ModuleDict:
    """Return SpaD, SpeD and SpeU for a scene."""
    ratio = round(block.rows.ratio)
    if degradation.psf.taps is None or not block.rows.aligned:
        raise DataError("the published networks need a whole ratio on aligned grids",
                        hint="--schedule fast")  # fmt: skip
    with seeded(seed):
        return nn.ModuleDict(
            {
                "spa_d": SpaD(ratio),
                "spe_d": SpeD(ranges_of(degradation.srf)),
                "spe_u": spe_u(block.z.shape[2], block.y.shape[2]),
            }
        )


def fit_official(
    blocks: Sequence[Block],
    degradation: Degradation,
    *,
    recipe: Fuse,
    context: Mapping[str, Any],
) -> Whole:
    """Train both stages on the whole scene; the image is SpeU of the MSI."""
    block = whole_block(blocks, "adasr")
    given = recipe.adasr.iterations
    steps = [*given, *STEPS[len(given) :]]
    nets = networks(block, degradation, recipe.job.seed)
    y, z = image_of(block.y), image_of(block.z)
    oracle = None
    if recipe.adasr.targets == "oracle":
        oracle = (
            image_of(block.y @ degradation.srf + degradation.offset),
            image_of(block.blur(block.z, degradation.psf)),
        )
    kind = recipe.adasr.augmentor
    if kind != "none":
        if kind == "official" and min(block.y.shape[:2]) < 17:
            raise DataError(
                f"--augmentor: official needs 17 x 17 HSI pixels, got {block.y.shape[:2]}",
                hint="--augmentor adversarial",
            )
        with seeded(recipe.job.seed):
            nets["augmentor"] = AUGMENTORS[kind](block.y.shape[2])
    curves = {}
    first = stage_one(nets, y, z, oracle, steps[0], recipe.job.seed)
    curves["stage-1"] = train(first, "stage-1", context, device=recipe.job.device, keep_best=False)
    second = stage_two(nets, y, z, steps[1], recipe.job.seed)
    curves["stage-2"] = train(second, "stage-2", context, device=recipe.job.device, keep_best=False)
    return trained_image(nets, "adasr", {"iterations": list(steps)}, curves)


def trained_image(
    nets: nn.ModuleDict, method: str, about: dict[str, Any], curves: Mapping[str, Any]
) -> Whole:
    """Return the method: SpeU of every MSI pixel."""

    def image(block: Block) -> Array:
        with torch.no_grad():
            return nets["spe_u"](image_of(block.z))[0].permute(1, 2, 0).numpy().astype(np.float64)

    note = {"event": "training", "method": method, **about}
    return WithCurves(image, [note], curves)


class WithCurves(Whole):
    """A whole-scene method that was trained."""

    def __init__(self, image: Any, record: list[Any], curves: Mapping[str, Any]) -> None:
        super().__init__(image, record)
        object.__setattr__(self, "curves", curves)

    @property
    def plots(self) -> list[Any]:
        """Return the figures of training."""
        from qr_cli.fuse.train_plots import training_plots

        return training_plots(self.curves)  # type: ignore[attr-defined]


def stage_one(
    nets: nn.ModuleDict,
    y: Tensor,
    z: Tensor,
    oracle: tuple[Tensor, Tensor] | None,
    steps: int,
    seed: int,
) -> Phase:
    """Return the training of SpaD and SpeD, with or without an augmentor."""
    spa, spe = nets["spa_d"], nets["spe_d"]
    augmentor = nets["augmentor"] if "augmentor" in nets else None
    size = (y.shape[2], y.shape[3])

    def transform(image: Tensor, t: Any) -> Tensor:
        assert augmentor is not None
        return turned(image, t.angle) if augmentor.lowers else sampled(image, t, size)

    def pair_losses(a_y: Tensor, a_z: Tensor, a: Tensor | None, b: Tensor | None) -> list[Tensor]:
        low_y, low_z = spe(a_y), spa(a_z)
        if a is None or b is None:
            return [l1(low_y, low_z)]
        return [l1(low_y, a), l1(low_z, b)]

    def step(number: int) -> Iterator[Update]:
        device = next(spa.parameters()).device
        yy, zz = y.to(device), z.to(device)
        a, b = (t.to(device) for t in oracle) if oracle else (None, None)
        if augmentor is None:
            yield Update(sum(pair_losses(yy, zz, a, b), torch.zeros((), device=device)), {})
            return
        t = augmentor(yy)
        moved = [transform(image, t) for image in (yy, zz)]
        goals = [None if g is None else transform(g, t).detach() for g in (a, b)]
        if augmentor.lowers:
            terms = pair_losses(*moved, *goals)
            loss = sum((2 * torch.log(term.clamp(min=1e-12)) for term in terms),
                       torch.zeros((), device=device))  # fmt: skip
        else:
            ones = [image.new_ones(1, 1, *image.shape[2:]) for image in (yy, zz)]
            ratio = zz.shape[2] // yy.shape[2]
            mask = inside(t, ones[0], ones[1], ratio).to(yy.dtype)
            gap = (spe(moved[0]) - spa(moved[1])).abs() * mask
            loss = -torch.log(
                (gap.sum() / (mask.sum() * gap.shape[1]).clamp(min=1)).clamp(min=1e-12)
            )
        yield Update(loss, {"angle": t.angle.detach()}, "augmentor")
        terms = pair_losses(yy, zz, a, b) + pair_losses(*(m.detach() for m in moved), *goals)
        yield Update(sum(terms, torch.zeros((), device=device)), {}, "main")

    def measure() -> float:
        device = next(spa.parameters()).device
        with torch.no_grad():
            return float(l1(spe(y.to(device)), spa(z.to(device))))

    main = adam([*spa.parameters(), *spe.parameters()], RATES[0], official=True)
    optimizers: dict[str, Optimizer] = {"main": main}
    start = steps // STARTS[0]
    schedules: dict[str, LRScheduler] = {"main": official_decay(main, steps, start)}
    if augmentor is not None:
        optimizers["augmentor"] = adam(augmentor.parameters(), RATES[1], official=True)
        schedules["augmentor"] = official_decay(
            optimizers["augmentor"], steps, start, skips_hundreds=True
        )
    return Phase(
        nets, optimizers, step, measure, steps=steps, every=max(steps // EPOCHS, 1),
        schedules=schedules, seed=seed,
    )  # fmt: skip


def stage_two(nets: nn.ModuleDict, y: Tensor, z: Tensor, steps: int, seed: int) -> Phase:
    """Return the training of SpeU; SpaD Z is computed once."""
    spe, up = nets["spe_d"], nets["spe_u"]
    with torch.no_grad():
        low = nets["spa_d"].cpu()(z)

    def step(number: int) -> Iterator[Update]:
        device = next(up.parameters()).device
        fit = l1(up(low.to(device)), y.to(device))
        zz = z.to(device)
        data = l1(spe(up(zz)), zz)
        yield Update(fit + DATA_WEIGHT * data, {"fit": fit.detach(), "data": data.detach()})

    def measure() -> float:
        device = next(up.parameters()).device
        with torch.no_grad():
            return float(l1(up(low.to(device)), y.to(device)))

    optimizer = adam(up.parameters(), RATES[2], official=True)
    return Phase(
        nets, {"main": optimizer}, step, measure, steps=steps, every=max(steps // EPOCHS, 1),
        schedules={"main": official_decay(optimizer, steps, steps // STARTS[1])}, seed=seed,
    )  # fmt: skip
