"""Optimisers and schedules against values computed by hand."""

import json
import math

import pytest
import torch
from torch import nn

from qr_cli.engine.checkpoint import _plain
from qr_cli.engine.optim import build_optimizer, build_schedule

LR = 0.4
COURSES = ["onecycle", "cosine", "linear", "multistep", "constant"]


def optimizer(name="sgd", **options):
    return build_optimizer(name, [nn.Parameter(torch.ones(2, 2))], lr=LR, **options)


def schedule(name, **options):
    steps = {"total_steps": 12, "epoch_steps": 3}
    return build_schedule(name, optimizer(), **steps | options)


def rates(course, steps=12):
    """Return the rate of each update."""
    found = []
    for _ in range(steps):
        found.append(course.optimizer.param_groups[0]["lr"])
        course.optimizer.step()
        course.step()
    return found


@pytest.mark.parametrize(
    ("course", "expected"),
    [
        (schedule("constant"), [LR] * 12),
        (schedule("linear"), [LR * (1 - step / 12) for step in range(12)]),
        (schedule("cosine"), [LR * (1 + math.cos(math.pi * s / 12)) / 2 for s in range(12)]),
        (schedule("multistep", milestones=(1, 3)), [0.4] * 3 + [0.04] * 6 + [0.004] * 3),
        (schedule("multistep", milestones=(2,), gamma=0.5), [0.4] * 6 + [0.2] * 6),
        (schedule("constant", warmup_epochs=1), [0.1, 0.2, 0.3] + [LR] * 9),
        (
            schedule("linear", warmup_epochs=1),
            [0.1, 0.2, 0.3, *(LR * (1 - step / 9) for step in range(9))],
        ),
        (
            schedule("multistep", milestones=(1,), warmup_epochs=1 / 3),
            [0.2, 0.4, 0.4] + [0.04] * 9,
        ),
    ],
    ids=lambda value: "" if isinstance(value, list) else type(value).__name__,
)
def test_a_course_has_the_rates_computed_by_hand(course, expected):
    assert rates(course) == pytest.approx(expected, rel=1e-12)  # float64, order of products


def test_onecycle_rises_from_a_tenth_and_falls_to_a_ten_thousandth():
    course = build_schedule("onecycle", optimizer(), total_steps=21, epoch_steps=7)
    found = rates(course, 20) + [course.optimizer.param_groups[0]["lr"]]
    top = 0.2 * 21 - 1  # between two updates
    rise = [LR * (0.55 - 0.45 * math.cos(math.pi * step / top)) for step in range(4)]
    fall = [
        1e-4 * LR + (LR - 1e-4 * LR) * (1 + math.cos(math.pi * (step - top) / (20 - top))) / 2
        for step in range(4, 21)
    ]
    assert found == pytest.approx(rise + fall, rel=1e-9)  # torch interpolates in another order


def test_onecycle_cycles_momentum_against_the_rate():
    course = build_schedule("onecycle", optimizer(), total_steps=11, epoch_steps=11)
    group = course.optimizer.param_groups[0]
    momenta = []
    for _ in range(11):
        momenta.append(group["momentum"])
        course.optimizer.step()
        course.step()
    assert (momenta[0], momenta[10]) == pytest.approx((0.95, 0.95))
    assert min(momenta) == pytest.approx(0.85, abs=0.01)  # the trough lies between two updates


@pytest.mark.parametrize("name", COURSES)
def test_the_state_of_a_course_survives_json_and_goes_on_alike(name):
    options = {"milestones": (1, 2), "warmup_epochs": 0 if name == "onecycle" else 0.5}
    straight = rates(schedule(name, **options))
    stopped = schedule(name, **options)
    first = rates(stopped, 5)
    state = json.loads(json.dumps(_plain(stopped.state_dict())))
    resumed = schedule(name, **options)
    resumed.load_state_dict(state)
    resumed.optimizer.load_state_dict(stopped.optimizer.state_dict())
    assert first + rates(resumed, 7) == straight


@pytest.mark.parametrize("name", COURSES)
def test_a_run_of_one_update_has_a_course(name):
    assert rates(schedule(name, total_steps=1, epoch_steps=1), 1)[0] > 0


@pytest.mark.parametrize(("decay", "expected"), [("all", [0.1, 0.1]), ("weights", [0.1, 0.0])])
def test_weight_decay_spares_vectors_where_asked(decay, expected):
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    built = build_optimizer("adamw", model.parameters(), lr=1, weight_decay=0.1, decay=decay)
    decays = {id(p): g["weight_decay"] for g in built.param_groups for p in g["params"]}
    assert len(decays) == 4
    assert [decays[id(model[0].weight)], decays[id(model[0].bias)]] == expected
    assert decays[id(model[1].weight)] == expected[1]


def test_scaled_parameters_have_their_own_rate_also_under_a_course():
    slow, fast = (nn.Parameter(torch.ones(1, 1)) for _ in range(2))
    built = build_optimizer("sgd", [slow], lr=LR, scaled=[fast], scale=10)
    course = build_schedule("linear", built, total_steps=4, epoch_steps=4)
    built.step()
    course.step()
    assert [group["lr"] for group in built.param_groups] == pytest.approx([0.3, 3.0])


def test_one_step_of_sgd_is_that_of_the_equation():
    weight = nn.Parameter(torch.tensor([[2.0]], dtype=torch.float64))
    built = build_optimizer("sgd", [weight], lr=0.1, momentum=0.9, weight_decay=0.5)
    for expected in (2 - 0.1 * 1.9 * 4, None):  # g = 3 + 0.5 * 2; Nesterov: g + 0.9 g
        weight.grad = torch.full_like(weight, 3.0)
        built.step()
        if expected:
            assert weight.item() == pytest.approx(expected, rel=1e-12)  # float64


def test_sgd_without_momentum_is_not_nesterov():
    assert optimizer(momentum=0.0).defaults["nesterov"] is False
