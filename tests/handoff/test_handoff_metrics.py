"""The worked examples of the metrics, by hand and against scikit-learn."""

import numpy as np
import pytest
from reference import handoff as slow

from qr_cli.errors import UsageError
from qr_cli.handoff import metrics

ROWS = {  # gold, predicted -> GT-I..III for lambda 0, .5, -.5
    ("0010", "0010"): [(1, 1, 1)] * 3,
    ("0010", "0001"): [(0.6065307204, 0.8824969136, 0.9459594724),
                       (0.3678795147, 0.7788008025, 0.8948393234),
                       (0.7165313583, 0.9200444223, 0.9636404467)],
    ("0010", "0100"): [(0.6065307204, 0.8824969136, 0.9459594724),
                       (0.7165313583, 0.9200444223, 0.9636404467),
                       (0.3678795147, 0.7788008025, 0.8948393234)],
    ("0010", "1000"): [(0.1353353374, 0.6065306900, 0.8007374148),
                       (0.2635972084, 0.7165313345, 0.8623033653),
                       (0.0183156535, 0.3678794780, 0.6411804074)],
    ("0000", "0000"): [(1, 1, 1)] * 3,
    ("0000", "0100"): [(0, 0, 0)] * 3,
    ("0100", "0000"): [(0, 0, 0)] * 3,
    ("10001", "00100"): [(0.1353353374, 0.6065306900, 0.8007374148),
                         (0.2635972084, 0.7165313345, 0.8623033653),
                         (0.2635972084, 0.7165313345, 0.8623033653)],
    ("01000", "11111"): [(0.4719011569, 0.7392354042, 0.8598374079),
                         (0.4205699873, 0.6344247902, 0.7735079286),
                         (0.4795590359, 0.7775486295, 0.8874628924)],
}  # fmt: skip
GOLD = [np.array(list(map(float, g))) for g in ("010", "000", "1001")]
SAID = [np.array(list(map(int, p))) == 1 for p in ("100", "000", "0001")]
SCORES = [np.array(s) for s in ([0.7, 0.4, 0.1], [0.2, 0.2, 0.3], [0.45, 0.3, 0.1, 0.8])]


@pytest.mark.parametrize("row", ROWS, ids="/".join)
def test_gt_equals_the_worked_examples_and_the_slow_version(row):
    gold, predicted = (np.array(list(map(int, text))) for text in row)
    for lam, expected in zip((0, 0.5, -0.5), ROWS[row], strict=True):
        for t, value in enumerate(expected, start=1):
            found = metrics.gt_score(gold, predicted, t, lam)
            assert found == pytest.approx(value, abs=1e-9)
            assert found == pytest.approx(slow.gt(gold, predicted, t, lam), abs=1e-12)


@pytest.mark.parametrize(("t", "lam"), [(0, 0), (1.5, 0), (1, 1), (1, -1)])
def test_gt_is_refused_where_it_is_not_defined(t, lam):
    with pytest.raises(UsageError):
        metrics.gt_score([1], [1], t, lam)


def test_the_figures_of_a_corpus_equal_the_worked_example():
    found = metrics.evaluate(GOLD, SAID, SCORES)
    expected = {
        "f1": 0.4, "macro_f1": 0.6, "macro_f1_dami": 0.6097560975, "f1_dami": 0.399999999936,
        "auc": 0.9047619048, "ap": 0.8055555556, "false_transfers": 1, "missed_transfers": 2,
        "cost_per_dialogue": 2.3333333333, "gt1": 0.8688435735, "gt2": 0.9608323045,
        "gt3": 0.9819864908,
    }  # fmt: skip
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-9), name
    late = metrics.evaluate(GOLD, SAID, SCORES, lam=0.5)
    assert late["gt1"] == pytest.approx(0.9055104528, abs=1e-9)
    early = metrics.evaluate(GOLD, SAID, SCORES, lam=-0.5)
    assert early["gt3"] == pytest.approx(0.9649464411, abs=1e-9)


def test_calibration_error_and_brier_equal_the_worked_example():
    p, y = np.array([0.05, 0.1, 0.2, 0.3, 0.35, 0.6, 0.7, 0.9]), np.array([0, 0, 0, 1, 0, 1, 0, 1])
    assert metrics.calibration_error(p, y) == pytest.approx(0.325, abs=1e-12)
    assert metrics.brier(p, y) == pytest.approx(0.165625, abs=1e-12)


def test_areas_and_f1_equal_scikit_learn_on_random_data_with_ties():
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.RandomState(0)
    for _ in range(20):
        y, score = rng.rand(60) < 0.3, rng.randint(0, 12, 60) / 12
        predicted = score > 0.6
        assert metrics.area_under_curve(score, y) == pytest.approx(sklearn.roc_auc_score(y, score))
        ap = sklearn.average_precision_score(y, score)
        assert metrics.average_precision(score, y) == pytest.approx(ap)
        found = metrics.f1_scores(y, predicted)
        assert found["f1"] == pytest.approx(sklearn.f1_score(y, predicted, zero_division=0))
        macro = sklearn.f1_score(y, predicted, average="macro", zero_division=0)
        assert found["macro_f1"] == pytest.approx(macro)
        assert metrics.log_loss(score, y) == pytest.approx(
            sklearn.log_loss(y, np.clip(score, 1e-12, 1 - 1e-12))
        )


def test_one_class_no_predictions_and_ragged_dialogues():
    nothing = metrics.evaluate([np.zeros(3), np.zeros(1)], [np.zeros(3), np.zeros(1)],
                               [np.full(3, 0.1), np.full(1, 0.2)])  # fmt: skip
    assert nothing["f1"] == 0 and nothing["macro_f1"] == 1 and nothing["gt1"] == 1
    assert np.isnan(nothing["auc"])


def test_gold_against_itself_is_perfect():
    found = metrics.evaluate(GOLD, [g == 1 for g in GOLD], GOLD)
    assert found["f1"] == found["macro_f1"] == found["gt1"] == found["auc"] == 1
    assert found["cost_per_dialogue"] == 0


def test_unlabelled_utterances_count_nowhere():
    gold = [np.array([np.nan, 1.0, 0.0])]
    found = metrics.evaluate(gold, [np.array([1, 1, 0])], [np.array([0.9, 0.8, 0.1])])
    assert (found["utterances"], found["false_transfers"], found["gt1"]) == (2, 0, 1)
