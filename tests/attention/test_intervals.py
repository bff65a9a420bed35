"""Intervals and tests, against values worked out by hand or taken from printed tables."""

import math

import pytest
import torch

from qr_cli.attention.intervals import (
    Interval,
    discordant,
    mcnemar,
    paired_shares,
    paired_t,
    t_interval,
    t_quantile,
    welch_t,
    wilson,
)


@pytest.mark.parametrize(
    ("freedom", "value"),
    [
        (1, 12.7062047361747),  # tan(.475 pi)
        (2, 4.30265272974946),  # sqrt(2 p^2 / (1 - p^2)), p = .95
        (3, 3.18244630528371),
        (4, 2.77644510519779),
        (9, 2.26215716279820),
        (30, 2.04227245630124),
        (1000, 1.96233908082641),
    ],
)
def test_the_t_quantile_is_that_of_the_tables(freedom, value):
    assert t_quantile(0.975, freedom) == pytest.approx(value, rel=1e-13)


def test_the_t_quantile_of_one_and_two_degrees_has_a_closed_form():
    assert t_quantile(0.9, 1) == pytest.approx(math.tan(0.4 * math.pi), rel=1e-14)
    assert t_quantile(0.9, 2) == pytest.approx(0.8 * math.sqrt(2 / (1 - 0.8**2)), rel=1e-14)
    assert t_quantile(0.5, 7) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize(("p", "freedom"), [(0.4, 3), (1.0, 3), (0.9, 0)])
def test_the_t_quantile_refuses_what_has_none(p, freedom):
    with pytest.raises(ValueError, match="no t quantile"):
        t_quantile(p, freedom)


def test_a_t_interval_by_hand():
    # .90 .91 .95: mean .92, s^2 = (.0004 + .0001 + .0009) / 2 = .0007
    half = 4.302652729749464 * math.sqrt(0.0007 / 3)
    assert t_interval([0.90, 0.91, 0.95]) == pytest.approx((0.92 - half, 0.92 + half), abs=1e-15)


def test_one_value_has_no_t_interval():
    with pytest.raises(ValueError, match="two values"):
        t_interval([0.9])


def test_pairing_by_seed_removes_what_seeds_share():
    ours, theirs = [0.91, 0.85, 0.96], [0.90, 0.83, 0.95]  # differences .01 .02 .01
    half = 4.302652729749464 * math.sqrt(0.0001 / 3 / 3)
    paired, unpaired = paired_t(ours, theirs), welch_t(ours, theirs)
    assert paired == pytest.approx((0.04 / 3 - half, 0.04 / 3 + half), abs=1e-15)
    assert unpaired.holds(0) and unpaired.low < -0.1
    assert sum(paired) == pytest.approx(sum(unpaired), abs=1e-15)  # one centre


def test_welch_rounds_its_degrees_of_freedom_down():
    # variances .01 and .04 (n = 2 each): a = .005, b = .02, (a + b)^2 / (a^2 + b^2) = 1.47 -> 1
    ours, theirs = (
        [0.5 - math.sqrt(0.005), 0.5 + math.sqrt(0.005)],
        [0.3 - 0.02**0.5, 0.3 + 0.02**0.5],
    )
    half = math.tan(0.475 * math.pi) * math.sqrt(0.025)
    assert welch_t(ours, theirs) == pytest.approx((0.2 - half, 0.2 + half), abs=1e-13)
    assert welch_t([0.5, 0.5], [0.25, 0.25]) == (0.25, 0.25)
    with pytest.raises(ValueError, match="each side"):
        welch_t([0.5], [0.1, 0.2])


def test_wilson_by_hand():
    # 8 of 10, z^2 = 3.84146: (.8 + .192073 -+ 1.95996 sqrt(.016 + .0096036)) / 1.384146
    assert wilson(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-7)
    assert wilson(0, 10) == (0.0, pytest.approx(0.2775328, abs=1e-7))  # z^2 / (10 + z^2)
    assert wilson(10, 10) == (pytest.approx(0.7224672, abs=1e-7), 1.0)


@pytest.mark.parametrize(("successes", "trials"), [(3, 2), (-1, 2), (0, 0)])
def test_wilson_refuses_what_is_no_share(successes, trials):
    with pytest.raises(ValueError, match="no share"):
        wilson(successes, trials)


def test_discordant_images_are_counted_both_ways():
    ours = torch.tensor([1, 1, 1, 0, 0, 1], dtype=torch.bool)
    theirs = torch.tensor([1, 0, 0, 1, 0, 1], dtype=torch.bool)
    assert discordant(ours, theirs) == (2, 1)
    with pytest.raises(ValueError, match="not the same images"):
        discordant(ours, theirs[1:])


def test_a_paired_difference_of_shares_by_hand():
    half = 1.959963984540054 * math.sqrt(12 - 6**2 / 100) / 100
    assert paired_shares(9, 3, 100) == pytest.approx((0.06 - half, 0.06 + half), abs=1e-15)
    assert paired_shares(0, 0, 100) == (0, 0)


def test_the_exact_mcnemar_p_by_hand():
    assert mcnemar(9, 3) == 2 * (1 + 12 + 66 + 220) / 2**12
    assert mcnemar(3, 9) == mcnemar(9, 3)
    assert mcnemar(5, 5) == mcnemar(0, 0) == 1
    assert mcnemar(6, 0) == 2 / 64
    assert 0 < mcnemar(1200, 1000) < 1e-4  # whole numbers: nothing overflows


def test_both_ends_belong_to_an_interval():
    assert Interval(0.0, 1.0).holds(0.0) and Interval(-1.0, 0.0).holds(0.0)
    assert not Interval(0.1, 1.0).holds(0.0)
