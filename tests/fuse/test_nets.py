"""The networks of ADASR and its augmentors: sizes, gradients, schedules, what each step does."""

import numpy as np
import pytest
import torch
from fuse.conftest import block_of, made_pair
from scipy.ndimage import gaussian_filter
from torch.nn import functional as F

from qr_cli.fuse import fuse
from qr_cli.fuse.degradation import Degradation
from qr_cli.fuse.methods import adasr, adasr_official
from qr_cli.fuse.methods.augment import (
    AUGMENTORS,
    Transform,
    inside,
    rotation,
    sampled,
    turned,
)
from qr_cli.fuse.methods.nets import FreeSensors, Residual, SpaD, SpeD, spe_u
from qr_cli.fuse.methods.phase import adam, official_decay
from qr_cli.fuse.recipe import Fuse
from qr_cli.fuse.simulate import kernel, simulate


def size(net):
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(
    ("bands_z", "bands_y", "count"),
    [(10, 198, 49178), (8, 156, 31244), (8, 46, 2206), (8, 110, 9950), (9, 128, 12872), (3, 31,
    1195)],
)  # fmt: skip
def test_spe_u_has_the_published_size(bands_z, bands_y, count):
    assert size(spe_u(bands_z, bands_y)) == count


def test_the_down_nets_have_the_published_sizes():
    ranges = [(0, 4), (3, 8), (7, 13), (13, 17), (16, 21), (21, 25), (26, 36), (32, 45)]
    assert size(SpeD(ranges)) == 59
    assert size(SpaD(5)) == 25


@pytest.mark.parametrize(("bands", "count"), [(46, 14656769), (156, 14846849), (198, 14919425)])
def test_the_official_augmentor_has_the_published_size(bands, count):
    assert size(AUGMENTORS["official"](bands)) == count


def test_our_augmentor_is_small():
    assert size(AUGMENTORS["adversarial"](198)) == 35012


def test_spa_d_starts_as_a_block_mean_and_spe_d_as_weighted_means():
    x = torch.rand(1, 6, 8, 8)
    np.testing.assert_allclose(SpaD(4)(x).detach(), F.avg_pool2d(x, 4), atol=1e-6)
    net = SpeD([(0, 2), (3, 5)])
    want = torch.stack([sum(net.table(6)[b, m] * x[0, b] for b in range(6)) for m in range(2)])
    np.testing.assert_allclose(net(x)[0].detach(), want, atol=1e-6)


def test_spe_u_is_a_function_of_one_pixel_by_a_loop():
    net = spe_u(2, 9)
    z = torch.rand(1, 2, 3, 2)
    out = net(z)
    value = z[0, :, 1, 1]
    layers = [m for m in net if isinstance(m, torch.nn.Conv2d)]
    for layer in layers:
        value = F.leaky_relu(layer.weight[:, :, 0, 0] @ value + layer.bias, 0.2)
    np.testing.assert_allclose(out[0, :, 1, 1].detach(), value.detach(), atol=1e-6)


@pytest.mark.parametrize("name", list(AUGMENTORS))
def test_gradients_reach_every_parameter_of_an_augmentor(name):
    torch.manual_seed(0)
    net = AUGMENTORS[name](10)
    y, z = torch.rand(1, 10, 20, 20), torch.rand(1, 3, 80, 80)
    t = net(y)
    loss = sampled(z, t, (20, 20)).square().sum()
    loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
    assert any(p.grad.abs().sum() > 0 for p in net.parameters())


def test_the_identity_transform_changes_nothing():
    nothing = Transform(torch.zeros(()), torch.zeros(2), torch.zeros(()))
    for image in (torch.rand(1, 3, 12, 9), torch.rand(1, 2, 48, 36)):
        np.testing.assert_allclose(sampled(image, nothing, (12, 9)), image, atol=1e-5)
        np.testing.assert_allclose(turned(image, torch.zeros(())), image, atol=1e-5)


def test_a_quarter_turn_keeps_its_angle_on_a_rectangle():
    image = torch.zeros(1, 1, 21, 41)
    image[0, 0, 10, 25] = 1  # five to the right of the centre
    quarter = sampled(image, rotation(torch.tensor(np.pi / 2)), (21, 41), "bilinear")
    at = np.unravel_index(int(quarter.argmax()), (21, 41))
    assert at in ((5, 20), (15, 20))  # five above or below


def setting(seed=0):
    torch.manual_seed(seed)
    pair = made_pair(side=48)
    block = block_of(pair)
    found = Degradation(pair.psf, pair.srf, np.zeros(4))
    sensors = FreeSensors(
        torch.from_numpy(pair.psf.taps), torch.from_numpy(pair.srf), torch.zeros(4), 4
    )
    d = {"y": adasr.image_of(block.y), "z": adasr.image_of(block.z)}
    d |= {"low": torch.ones(1, 1, 12, 12), "high": torch.ones(1, 1, 48, 48)}
    return block, found, sensors, d


def test_corners_do_not_enter_the_transformed_loss():
    _, _, sensors, d = setting()
    t = Transform(torch.tensor(0.6), torch.tensor([0.3, -0.2]), torch.tensor(0.05))

    def loss(edge):
        y, z = d["y"].clone(), d["z"].clone()
        wide = F.pad(y, [4] * 4, value=edge), F.pad(z, [16] * 4, value=edge)
        low, high = F.pad(d["low"], [4] * 4), F.pad(d["high"], [16] * 4)
        mask = inside(t, low, high, 4)
        gap = (
            sensors.spe_d(sampled(wide[0], t, (20, 20)))
            - sensors.spa_d(sampled(wide[1], t, (20, 20)))
        ).abs()
        return (gap * mask).sum() / mask.sum()

    assert inside(t, d["low"], d["high"], 4).any()
    with torch.no_grad():
        assert float(loss(1e6)) == pytest.approx(float(loss(0.0)), rel=1e-3)


@pytest.mark.parametrize(
    ("name", "up", "steps", "draws"), [("adversarial", True, 12, 8), ("official", False, 4, 1)]
)
def test_ours_raises_the_loss_and_the_published_one_lowers_it(name, up, steps, draws):
    _, _, sensors, d = setting(3)
    wide = {**d, "y": F.interpolate(d["y"], 20), "z": F.interpolate(d["z"], 80),
            "low": torch.ones(1, 1, 20, 20), "high": torch.ones(1, 1, 80, 80)}  # fmt: skip
    net = AUGMENTORS[name](30)
    optimizer = adam(net.parameters(), 1e-3)
    sign = 1.0 if net.lowers else -1.0

    def mean():
        with torch.no_grad():
            torch.manual_seed(7)
            values = [float(adasr.adversarial_loss(sensors, net, wide, 4)) for _ in range(draws)]
        return np.mean(values)

    before = mean()
    for _ in range(steps):
        optimizer.zero_grad()
        (sign * torch.log(adasr.adversarial_loss(sensors, net, wide, 4))).backward()
        optimizer.step()
    assert (mean() > before) == up


def test_a_residual_network_starts_as_the_closed_form():
    w, mean_y, mean_z = torch.rand(4, 9), torch.rand(9), torch.rand(4)
    net = Residual(mean_y, mean_z, torch.rand(9) + 1, torch.rand(4) + 1, w)
    z = torch.rand(50, 4)
    assert torch.equal(net(z), mean_y + (z - mean_z) @ w)


def test_the_published_rates_fall_as_in_the_code():
    parameter = torch.nn.Parameter(torch.zeros(1))
    rates = {}
    for skips in (False, True):
        optimizer = adam([parameter], 8e-4, official=True)
        schedule = official_decay(optimizer, 300, 75, skips_hundreds=skips)
        rates[skips] = []
        for _ in range(300):
            rates[skips].append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
    step = 8e-4 / (300 - 75 + 1)
    assert rates[False][75] == pytest.approx(8e-4)
    assert rates[False][76] == pytest.approx(8e-4 - step)
    assert rates[False][299] == pytest.approx(8e-4 - 224 * step)
    assert rates[True][100] == rates[True][99]  # no fall after iteration 100
    assert rates[True][299] == pytest.approx(8e-4 - (224 - 2) * step)
    group = adam([parameter], 1e-3, official=True).param_groups[0]
    assert (group["eps"], group["weight_decay"]) == (1e-16, 1e-16)


def official_recipe(**more):
    section = {"schedule": "official", "iterations": (3, 20), **more}
    return Fuse.model_validate({"method": {"method": "adasr"}, "adasr": section,
                                "job": {"device": "cpu"}})  # fmt: skip


@pytest.mark.parametrize(
    "augmentor", [pytest.param("official", marks=pytest.mark.slow), "adversarial", "none"]
)
def test_both_published_stages_lower_their_losses(augmentor):
    pair = made_pair(side=80)
    block = block_of(pair)
    found = Degradation(pair.psf, pair.srf, np.zeros(4))
    made = adasr_official.fit_official(
        [block], found, recipe=official_recipe(augmentor=augmentor), context={}
    )
    assert made.predict(block).shape == pair.reference.shape
    for name in ("stage-1", "stage-2"):
        figures = [r["held_out"] for r in made.curves[name] if r["event"] == "epoch"]
        assert figures[-1] < figures[0]


def test_trained_sensors_replace_the_estimate_only_where_they_are_better():
    block, found, _, _ = setting()
    recipe = Fuse.model_validate({"method": {"method": "adasr"}, "job": {"device": "cpu"}})
    kept, source = adasr.refine_sensors([block], found, recipe, {}, 20, {})
    assert source == "closed form" and kept is found
    poor = Degradation(found.psf, 0.5 * found.srf, found.offset)
    curves = {}
    better, source = adasr.refine_sensors([block], poor, recipe, {}, 60, curves)
    held = [r["held_out"] for r in curves["sensors"] if r["event"] == "epoch"]
    assert source == "trained" and min(held) < 0.99 * held[0]
    assert better.psf.taps.sum() == pytest.approx(1) and (better.srf >= 0).all()


def test_a_network_learns_what_a_line_cannot_follow():
    """Spectra bend with brightness; held-out error falls below that of the closed form."""
    generator = np.random.default_rng(0)
    field = gaussian_filter(generator.standard_normal((64, 64, 2)), (8, 8, 0))
    field = (field - field.min()) / np.ptp(field)
    x = np.stack([field[..., i % 2] ** (1 + i // 2) for i in range(10)], -1)
    pair = simulate(x, np.eye(10)[:, :2], kernel(4))
    taught = fuse(
        pair.y, pair.z, method="adasr", augmentor="none", psf="official", iterations=(1, 400),
        threads=1, device="cpu",
    )  # fmt: skip
    curve = [r["held_out"] for r in taught.fusion.fitted.curves["net"] if r["event"] == "epoch"]
    assert min(curve) < 0.5 * curve[0]
    note = next(r for r in taught.records if r["event"] == "training")
    assert note["best_step"] > 0
