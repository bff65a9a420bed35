"""Thresholds and calibrations: exact where they can be, better where they must be."""

import numpy as np
import pytest

from qr_cli.errors import UsageError, WeightsError
from qr_cli.handoff import calibrate
from qr_cli.handoff.decide import Counters, decide, policy
from qr_cli.handoff.metrics import f1_scores
from qr_cli.handoff.operating import crossfit


@pytest.fixture
def drawn():
    """Log-odds twice too steep, and labels that follow the right ones."""
    rng = np.random.RandomState(0)
    true = rng.randn(4000) * 1.5 - 1
    return 2 * true + 1, (rng.rand(4000) < calibrate.sigmoid(true)).astype(float)


def test_platt_finds_the_curve_and_lowers_the_error(drawn):
    odds, label = drawn
    found = calibrate.fit("platt", odds, label)
    assert found.a == pytest.approx(0.5, abs=0.03) and found.b == pytest.approx(-0.5, abs=0.1)
    assert found.ece_after < 0.02 < found.ece_before


def test_platt_equals_an_unregularised_regression_of_scikit_learn(drawn):
    linear = pytest.importorskip("sklearn.linear_model")
    odds, label = drawn
    peer = linear.LogisticRegression(C=1e9, tol=1e-10).fit(odds[:, None], label)
    found = calibrate.fit("platt", odds, label)
    assert found.a == pytest.approx(peer.coef_[0, 0], abs=2e-3)


def test_temperature_and_isotonic_lower_the_error(drawn):
    odds, label = drawn
    for kind in ("temperature", "isotonic"):
        if kind == "isotonic":
            pytest.importorskip("sklearn")
        found = calibrate.fit(kind, odds, label)
        assert found.ece_after < found.ece_before
        again = calibrate.Calibration.from_json(found.to_json(), "x")
        assert np.array_equal(again(odds), found(odds))


def test_the_best_threshold_is_the_best_of_all_midpoints():
    rng = np.random.RandomState(1)
    for _ in range(30):
        p, y = rng.randint(1, 10, 25) / 10, rng.rand(25) < 0.3
        found = calibrate.best_threshold(p, y)
        marks = np.unique(np.concatenate([[0.0], p, [1.0]]))
        every = (marks[1:] + marks[:-1]) / 2
        scores = [f1_scores(y, p >= t)["macro_f1"] for t in every]
        assert f1_scores(y, p >= found)["macro_f1"] == pytest.approx(max(scores))
        assert found == pytest.approx(max(t for t, s in zip(every, scores, strict=True)
                                          if s == max(scores)))  # fmt: skip


def test_the_cost_point_costs_less_than_one_half_on_held_out_folds(drawn):
    odds, label = drawn
    dialogues = list(odds.reshape(-1, 20)), list(label.reshape(-1, 20))
    _, p = crossfit(*dialogues, folds=5)
    p, y = np.concatenate(p), label >= 0.5

    def cost(threshold):
        return ((p >= threshold) & ~y).sum() + 3 * ((p < threshold) & y).sum()

    assert calibrate.cost_threshold(1, 3) == 0.25
    assert cost(0.25) < cost(0.5)


def test_a_budget_raises_at_most_its_share():
    highest = np.linspace(0, 1, 40)
    for share in (0.05, 0.5, 1.0):
        raised = (highest >= calibrate.budget_threshold(highest, share)).mean()
        assert raised <= share
        assert raised > share - 0.03


def test_matched_raises_as_many_as_there_are():
    score, label = np.array([0.1, 0.9, 0.5, 0.5]), np.array([0, 1, 1, 0])
    assert calibrate.matched(score, label).tolist() == [False, True, True, False]


def test_points_that_need_a_calibration_say_so():
    for settings in ({"point": "cost"}, {"point": "validated"}, {"budget": 0.1}):
        with pytest.raises(WeightsError, match="calibration.json"):
            policy(None, **settings)
    assert policy(None, threshold=0.4).threshold == 0.4
    assert policy(None, point="default").raw


@pytest.mark.parametrize("costs", [(-1, 3), (0, 0)])
def test_impossible_costs_are_refused(costs):
    with pytest.raises(UsageError, match="--cost-false"):
        calibrate.cost_threshold(*costs)


def test_one_class_cannot_be_calibrated():
    with pytest.raises(UsageError, match="both classes"):
        calibrate.fit("platt", np.zeros(3), np.zeros(3))


def test_hysteresis_minimum_turns_review_and_requests():
    rule = policy(None, threshold=0.5, hysteresis=2, min_turns=2, review=0.3)
    counters, seen = Counters(), []
    for value in (0.6, 0.6, 0.4, 0.7, 0.8):
        counters.customer_turns += 1
        seen.append(decide(rule, counters, value, requested=False)[0])
    assert seen == ["review", "transfer", "handed_off", "handed_off", "handed_off"]
    counters = Counters(customer_turns=1)
    assert decide(rule, counters, 0.0, requested=True)[0] == "transfer"
    with pytest.raises(UsageError, match="--review"):
        policy(None, threshold=0.5, review=0.5)
