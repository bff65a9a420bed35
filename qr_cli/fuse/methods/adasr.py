"""ADASR, blind and fast (schedule `fast`; ours), or as published (`official`, see
`adasr_official`).

F0  PSF, SRF, noise, Zd, W as `auto` has them.
F1  unless the augmentor is `none`: PSF = softmax over the taps of F0, SRF = max(R, 0), trained on
    L1(SpeD Y, SpaD Z) + weight * loss_adv, the augmentor raising loss_adv. The state with the least
    held-out L1 is kept, and replaces F0's only if it is better by more than 1 %.
F2  x(z) = closed form + sd(Y) f((z - mean)/sd), f a small network that starts at zero, trained on
    L1(x(zl + noise), Y) + 0.3 L1(x(Zd) R, Zd); the best held-out state, step 0 included, is kept.
F3, F4  local part, back-projection and floor of `auto`, on what x leaves.
Held out: blocks of 2 x 2 LR pixels with (i//2 + 2 (j//2)) mod 5 == 0.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qr_cli.engine.task import Update
from qr_cli.fuse.block import Block
from qr_cli.fuse.degradation import Degradation
from qr_cli.fuse.grid import Array
from qr_cli.fuse.methods import auto, regression
from qr_cli.fuse.methods.augment import AUGMENTORS, inside, sampled
from qr_cli.fuse.methods.nets import FreeSensors, Pixels, Residual
from qr_cli.fuse.methods.phase import Phase, adam, linear_to_zero, train
from qr_cli.fuse.methods.regression import Global, LowPiece
from qr_cli.fuse.noise import Noise
from qr_cli.fuse.psf import Psf
from qr_cli.fuse.recipe import Fuse

log = logging.getLogger(__name__)
F1_STEPS, F1_CONSTANT, F1_EVERY = 400, 100, 20
F2_STEPS, F2_EVERY, F2_PATIENCE = 1500, 50, 10
PSF_RATE, SRF_RATE, ADVERSARY_RATE, NET_RATE = 8e-3, 8e-5, 1e-3, 1e-3
LR_PIXELS, HR_PIXELS, DATA_WEIGHT = 4096, 256, 0.3
PREFERENCE = 0.99


@dataclass(frozen=True, eq=False)
class WithNet(Global):
    """The global prediction with a network in it; P M0 needs M0 on the HR grid.

    Attributes:
        net: maps MSI pixels to HSI pixels.
        closed: whether the net adds to the closed form, whose P M0 is cheap.
    """

    net: nn.Module = None  # type: ignore[assignment]
    closed: bool = True

    def predict(self, z: Array) -> Array:
        """Return M0 for MSI values (..., l)."""
        flat = torch.from_numpy(np.ascontiguousarray(z, np.float32)).reshape(-1, z.shape[-1])
        with torch.no_grad():
            if self.closed:
                more = torch.cat([self.net.residual(part) for part in flat.split(65536)])  # type: ignore[operator]
            else:
                more = torch.cat([self.net(part) for part in flat.split(65536)])
        made = more.numpy().reshape(*z.shape[:-1], -1).astype(z.dtype)
        return super().predict(z) + made if self.closed else made

    def left(self, block: Block, zd: Array, zl: Array, psf: Psf) -> Array:
        """Return Y - P M0 (h, w, L)."""
        return block.y - block.blur(self.predict(zd), psf)


@dataclass(frozen=True, eq=False)
class Trained(auto.Auto):
    """The fitted method, with PSF and SRF as they were trained.

    Attributes:
        degradation: PSF and SRF.
        curves: records of each phase.
    """

    degradation: Degradation = None  # type: ignore[assignment]
    curves: Mapping[str, list[dict[str, Any]]] = None  # type: ignore[assignment]

    @property
    def plots(self) -> list[Any]:
        """Return the figures of training."""
        from qr_cli.fuse.train_plots import training_plots

        return training_plots(self.curves)


def fit(
    blocks: Sequence[Block],
    degradation: Degradation,
    noise: Noise,
    *,
    recipe: Fuse,
    context: Mapping[str, Any],
    phases: Sequence[tuple[int, int]] | None = None,
) -> Any:
    """Train as the schedule says."""
    if recipe.adasr.schedule == "official":
        from qr_cli.fuse.methods.adasr_official import fit_official

        return fit_official(blocks, degradation, recipe=recipe, context=context)
    steps = [*recipe.adasr.iterations, *(F1_STEPS, F2_STEPS)[len(recipe.adasr.iterations) :]]
    curves: dict[str, list[dict[str, Any]]] = {}
    source = "closed form"
    if recipe.adasr.augmentor != "none" and degradation.psf.taps is not None:
        degradation, source = refine_sensors(blocks, degradation, recipe, context, steps[0], curves)
    details, pieces = auto.prepared(blocks, degradation, noise, phases)
    start = regression.fit_global(pieces, noise)
    net, best = fit_net(
        start, details, pieces, degradation, noise, recipe, context, steps[1], curves
    )
    closed = isinstance(net, Residual)
    zero = closed and best == 0
    fitted = start if zero else WithNet(**vars(start), net=net, closed=closed)
    made = auto.finish(
        fitted, blocks, details, pieces, degradation.psf, noise,
        back_projection=recipe.method.back_projection, clip=recipe.method.clip, method="adasr",
    )  # fmt: skip
    note = {
        "event": "training", "method": "adasr", "augmentor": recipe.adasr.augmentor,
        "degradation_source": source, "best_step": best,
    }  # fmt: skip
    return Trained(
        **{**vars(made), "record": [note, *made.record]}, degradation=degradation, curves=curves
    )


def held_out(shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the LR pixels (h, w) that are held out of training."""
    i, j = np.indices(shape)
    return (i // 2 + 2 * (j // 2)) % 5 == 0


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let torch draw from this seed inside, and leave the global state alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def image_of(values: Array) -> Tensor:
    """Return (h, w, B) as (1, B, h, w)."""
    return torch.from_numpy(np.ascontiguousarray(values, np.float32)).permute(2, 0, 1)[None]


def _mask(values: NDArray[np.bool_]) -> Tensor:
    """Return (h, w) as (1, 1, h, w) of numbers."""
    return torch.from_numpy(values)[None, None].float()


def refine_sensors(
    blocks: Sequence[Block],
    degradation: Degradation,
    recipe: Fuse,
    context: Mapping[str, Any],
    steps: int,
    curves: dict[str, list[dict[str, Any]]],
) -> tuple[Degradation, str]:
    """Return F1's PSF and SRF if they are better on held-out pixels by more than 1 %, else F0's."""
    psf = degradation.psf
    assert psf.taps is not None
    ratio = round(psf.ratio[0])
    bands = blocks[0].y.shape[2]
    with seeded(recipe.job.seed):
        nets = nn.ModuleDict(
            {
                "sensors": FreeSensors(
                    torch.from_numpy(psf.taps), torch.from_numpy(degradation.srf),
                    torch.from_numpy(degradation.offset), ratio,
                ),
                "augmentor": AUGMENTORS[recipe.adasr.augmentor](bands),
            }
        )  # fmt: skip
    phase = sensors_phase(blocks, degradation, nets, recipe, steps)
    curves["sensors"] = train(phase, "sensors", context, device=recipe.job.device, keep_best=True)
    sensors: FreeSensors = nets["sensors"]  # type: ignore[assignment]
    best = min(r["held_out"] for r in curves["sensors"] if r["event"] == "epoch")
    if not best < PREFERENCE * phase.start:
        return degradation, "closed form"
    with torch.no_grad():
        taps = sensors.taps().double().numpy()
        srf = sensors.response().double().numpy()
    trained = replace(psf, taps=taps / taps.sum(), sigma=None, family="taps")
    return replace(degradation, psf=trained, srf=srf), "trained"


def sensors_phase(
    blocks: Sequence[Block],
    degradation: Degradation,
    nets: nn.ModuleDict,
    recipe: Fuse,
    steps: int,
) -> Phase:
    """Return the training of PSF and SRF (F1)."""
    sensors: FreeSensors = nets["sensors"]  # type: ignore[assignment]
    augmentor = nets["augmentor"]
    psf = degradation.psf
    ratio = round(psf.ratio[0])
    oracle = recipe.adasr.targets == "oracle"
    data = []
    for block in blocks:
        used = block.usable(psf)
        out = held_out((used.shape[0], used.shape[1]))
        held = {
            "y": image_of(block.y),
            "z": image_of(block.z),
            "train": _mask(used & ~out),
            "test": _mask(used & out),
            "low": _mask(block.low),
            "high": _mask(block.high),
        }
        if oracle:
            held["a"] = image_of(block.y @ degradation.srf + degradation.offset)
            held["b"] = image_of(block.blur(block.z, psf))
        data.append(held)

    def here(d: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: value.to(sensors.omega.device) for name, value in d.items()}

    def gap(d: dict[str, Tensor], mask: Tensor) -> Tensor:
        a, b = sensors.spe_d(d["y"]), sensors.spa_d(d["z"])
        if not oracle:
            return ((a - b).abs() * mask).sum() / (mask.sum() * a.shape[1]).clamp(min=1)
        total = ((a - d["a"]).abs() + (b - d["b"]).abs()) * mask
        return total.sum() / (mask.sum() * a.shape[1]).clamp(min=1)

    def transformed(d: dict[str, Tensor]) -> Tensor:
        return adversarial_loss(sensors, augmentor, d, ratio, oracle=oracle)

    sign = 1.0 if augmentor.lowers else -1.0

    def step(number: int) -> Iterator[Update]:
        d = here(data[number % len(data)])
        raised = transformed(d)
        yield Update(sign * torch.log(raised.clamp(min=1e-12)), {}, "augmentor")
        loss = gap(d, d["train"])
        adversary = transformed(d)
        yield Update(
            loss + recipe.adasr.adv_weight * adversary, {"adversary": adversary.detach()}, "main"
        )

    def measure() -> float:
        with torch.no_grad():
            return float(np.mean([float(gap(d, d["test"])) for d in map(here, data)]))

    groups = [
        {"params": [sensors.omega], "lr": PSF_RATE},
        {"params": [sensors.srf], "lr": SRF_RATE},
    ]
    main = adam(groups, PSF_RATE)
    other = adam(augmentor.parameters(), ADVERSARY_RATE)
    return Phase(
        nets, {"main": main, "augmentor": other}, step, measure, steps=steps, every=F1_EVERY,
        schedules={"main": linear_to_zero(main, steps, min(F1_CONSTANT, steps // 4))},
        seed=recipe.job.seed,
    )  # fmt: skip


def adversarial_loss(
    sensors: FreeSensors,
    augmentor: nn.Module,
    d: dict[str, Tensor],
    ratio: int,
    *,
    oracle: bool = False,
) -> Tensor:
    """Return the loss under the augmentor's transform: mean over valid LR pixels and bands."""
    t = augmentor(d["y"])
    size = (d["y"].shape[2], d["y"].shape[3])
    mask = inside(t, d["low"], d["high"], ratio).to(d["y"].dtype)
    a = sensors.spe_d(sampled(d["y"], t, size))
    b = sensors.spa_d(sampled(d["z"], t, size))
    gap = (a - b).abs()
    if oracle:
        gap = (a - sampled(d["a"], t, size)).abs() + (b - sampled(d["b"], t, size)).abs()
    return (gap * mask).sum() / (mask.sum() * a.shape[1]).clamp(min=1)


def fit_net(
    start: Global,
    details: Sequence[Array],
    pieces: Sequence[LowPiece],
    degradation: Degradation,
    noise: Noise,
    recipe: Fuse,
    context: Mapping[str, Any],
    steps: int,
    curves: dict[str, list[dict[str, Any]]],
) -> tuple[nn.Module, int]:
    """Return the network from MSI to HSI pixels and the step of its best state (F2)."""
    masks = [(piece.used, held_out(piece.used.shape)) for piece in pieces]

    def pixels(name: str, out: bool) -> Tensor:
        held = [
            getattr(piece, name)[used & (test if out else ~test)]
            for piece, (used, test) in zip(pieces, masks, strict=True)
        ]
        return torch.from_numpy(np.concatenate(held).astype(np.float32))

    y, zl = pixels("y", False), pixels("zl", False)
    y_out, zl_out = pixels("y", True), pixels("zl", True)
    zd = torch.from_numpy(
        np.concatenate([d.reshape(-1, d.shape[2]) for d in details]).astype(np.float32)
    )
    r = torch.from_numpy(degradation.srf.astype(np.float32))
    offset = torch.from_numpy(degradation.offset.astype(np.float32))
    jitter = torch.from_numpy(np.sqrt(noise.v_z).astype(np.float32))
    with seeded(recipe.job.seed):
        if recipe.adasr.up_net == "official":
            net: nn.Module = Pixels(zl.shape[1], y.shape[1])
        else:
            sd_y = np.concatenate([p.y[p.used] for p in pieces]).std(0)
            held = (start.mean_y, start.mean_z, sd_y, start.sd, start.w)
            net = Residual(*(torch.from_numpy(np.asarray(v)) for v in held))
    tensors = {"y": y, "zl": zl, "y_out": y_out, "zl_out": zl_out, "zd": zd, "r": r,
               "offset": offset, "jitter": jitter}  # fmt: skip

    def on(device: torch.device) -> dict[str, Tensor]:
        return {k: v.to(device) for k, v in tensors.items()}

    def step(number: int) -> Iterator[Update]:
        t = on(next(net.parameters()).device)
        device = t["y"].device
        chosen = slice(None)
        if len(y) > LR_PIXELS:
            chosen = torch.randperm(len(y), device=device)[:LR_PIXELS]  # type: ignore[assignment]
        inputs = t["zl"][chosen]
        inputs = inputs + torch.randn_like(inputs) * t["jitter"]
        fine = t["zd"][torch.randint(len(zd), (HR_PIXELS,), device=device)]
        loss = (net(inputs) - t["y"][chosen]).abs().mean()
        data = (net(fine) @ t["r"] + t["offset"] - fine).abs().mean()
        yield Update(loss + DATA_WEIGHT * data, {"fit": loss.detach(), "data": data.detach()})

    def measure() -> float:
        t = on(next(net.parameters()).device)
        with torch.no_grad():
            return float((net(t["zl_out"]) - t["y_out"]).abs().mean())

    optimizer = adam(net.parameters(), NET_RATE)
    phase = Phase(
        net, {"main": optimizer}, step, measure, steps=steps, every=F2_EVERY,
        schedules={"main": linear_to_zero(optimizer, steps)}, seed=recipe.job.seed,
    )  # fmt: skip
    curves["net"] = train(
        phase, "net", context, device=recipe.job.device, patience=F2_PATIENCE, keep_best=True
    )
    epochs = [r for r in curves["net"] if r["event"] == "epoch"]
    return net, int(min(epochs, key=lambda r: r["held_out"])["step"])
