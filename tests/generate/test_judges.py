"""Judges on real digits painted anew; figures by hand and against scipy."""

import math

import numpy as np
import pytest
import torch

from qr_cli.errors import UsageError
from qr_cli.generate import judges, metrics
from qr_cli.generate.digits import load_digits, paint, tint_table
from qr_cli.generate.measure import Look, make_judges
from qr_cli.generate.world import TINTS


@pytest.fixture(scope="module")
def painted():
    """Pictures of the generator's digits, which no judge was trained on, in all tints."""
    grey, labels = load_digits("generator")
    tints = torch.arange(len(labels)) % len(TINTS)
    return paint(grey, tint_table()[tints]), labels, tints


@pytest.mark.parametrize(
    ("judge", "bar"), [(judges.CnnJudge, 0.97), (judges.KnnJudge, 0.97)], ids=["cnn", "knn"]
)
def test_a_judge_of_digits_reads_handwriting_it_has_not_seen(judge, bar, painted):
    pictures, labels, _ = painted
    assert (judge().read(pictures) == labels).double().mean() >= bar


def test_the_judge_of_tints_is_never_wrong_on_painted_digits(painted):
    pictures, _, tints = painted
    assert torch.equal(judges.TintJudge().read(pictures), tints)


@pytest.mark.parametrize("judge", [judges.CnnJudge, judges.KnnJudge, judges.TintJudge])
def test_a_judge_sees_the_same_in_an_enlarged_picture(judge, painted):
    small = painted[0][:32]
    large = small.repeat_interleave(8, 2).repeat_interleave(8, 3)
    assert torch.equal(judge().read(small), judge().read(large))


def test_the_majority_of_three_wins_and_the_nearest_breaks_a_tie(monkeypatch):
    known = torch.eye(64).view(64, 8, 8)[:3]
    for labels, said in ((torch.tensor([4, 7, 7]), 7), (torch.tensor([4, 7, 9]), 4)):
        monkeypatch.setattr(judges, "load_digits", lambda share, n=labels: (known, n))
        picture = torch.zeros(1, 3, 8, 8)
        picture[0, :, 0, :3] = torch.tensor([1.0, 0.4, 0.3])
        assert judges.KnnJudge().read(picture).item() == said


def test_a_judge_is_asked_only_what_the_rows_answer():
    rows = [{"text": "x", "label": {"digit": 1}}]
    assert list(make_judges((), rows)) == ["digit-cnn", "digit-knn"]
    with pytest.raises(UsageError, match="tint needs label.tint"):
        make_judges(("tint",), rows)
    with pytest.raises(UsageError, match="unknown judge"):
        make_judges(("digits-cnn",), rows)


def test_both_is_right_where_digit_and_tint_are(painted):
    pictures, labels, tints = painted
    pixels = (255 * pictures[:12]).round().to(torch.uint8).permute(0, 2, 3, 1)
    names = list(TINTS)
    rows = [
        {"text": "x", "label": {"digit": int(d), "tint": names[(int(t) + (i % 3 == 0)) % 6]}}
        for i, (d, t) in enumerate(zip(labels[:12], tints[:12], strict=True))
    ]
    found = Look(make_judges((), rows))(pixels, rows)
    assert torch.equal(found["both"], found["digit-cnn"] * found["tint"])
    assert found["tint"].mean() == pytest.approx(8 / 12)


def test_the_network_learns_digits():
    network = judges.train_digit_cnn(1, steps=60)
    grey, labels = load_digits("generator")
    with torch.no_grad():
        right = (network(grey[:300, None]).argmax(1) == labels[:300]).double().mean()
    assert right > 0.8


# comparisons ---------------------------------------------------------------------------------


def test_the_interval_of_a_constant_is_the_constant():
    assert metrics.interval(torch.full((20,), 0.25)) == (0.25, 0.25)


def test_the_interval_of_two_values_is_that_of_a_binomial():
    scipy = pytest.importorskip("scipy.stats")
    values = torch.tensor([0.0] * 40 + [1.0] * 60)
    low, high = metrics.interval(values, resamples=20_000)
    expected = scipy.binom(100, 0.6).ppf([0.025, 0.975]) / 100
    np.testing.assert_allclose([low, high], expected, atol=0.011)  # one count


def test_a_comparison_by_hand():
    treated = torch.tensor([1.0, 1, 1, 0, 1, 0, 0, 1, 1, 1])
    control = torch.tensor([0.0, 0, 1, 0, 0, 1, 0, 0, 1, 0])
    found = metrics.paired(treated, control)
    assert (found.win, found.tie, found.loss) == (5, 4, 1)
    assert found.difference == pytest.approx(0.4)
    assert found.sign_p == pytest.approx(2 * (1 + 6) / 64)
    assert found.low < 0.4 < found.high
    few = metrics.paired(treated[:9], control[:9])
    assert (few.low, few.high) == (None, None)


@pytest.mark.parametrize(("win", "loss"), [(0, 0), (1, 0), (7, 2), (30, 30), (300, 10)])
def test_the_sign_test_is_that_of_scipy(win, loss):
    scipy = pytest.importorskip("scipy.stats")
    expected = scipy.binomtest(win, win + loss).pvalue if win + loss else 1.0
    assert metrics.sign_test(win, loss) == pytest.approx(expected)


def test_no_gap_is_closed_where_there_is_none():
    assert metrics.gap_closed(0.6, 0.1, 0.9) == pytest.approx(0.625)
    assert metrics.gap_closed(0.6, 0.58, 0.62) is None


# pictures ------------------------------------------------------------------------------------


def test_a_flat_picture_is_neither_sharp_nor_colourful():
    flat = torch.full((2, 3, 8, 8), 0.5)
    assert metrics.sharpness(flat).abs().max() < 1e-18
    assert metrics.colourfulness(flat).abs().max() < 1e-12
    assert metrics.clipped(flat).tolist() == [0, 0]


def test_sharpness_of_one_bright_pixel_by_hand():
    picture = torch.zeros(1, 3, 5, 5)
    picture[..., 2, 2] = 1 / 255  # Laplacian: -4 once, 1 four times, 0 four times; mean 0
    assert metrics.sharpness(picture).item() == pytest.approx((16 + 4) / 9)


def test_colourfulness_of_red_and_cyan_by_hand():
    picture = torch.zeros(1, 3, 1, 2)
    picture[0, 0, 0, 0] = 1  # red: rg 255, yb 127.5
    picture[0, 1:, 0, 1] = 1  # cyan: rg -255, yb -127.5
    expected = math.hypot(255, 127.5) + 0.3 * 0
    assert metrics.colourfulness(picture).item() == pytest.approx(expected)


def test_half_of_the_values_are_clipped():
    picture = torch.full((1, 3, 2, 2), 0.5)
    picture[0, :, 0] = torch.tensor([0.0, 1.0])
    assert metrics.clipped(picture).item() == 0.5


def test_clip_score_is_a_hundred_for_the_same_and_zero_for_opposites():
    features = torch.randn(3, 16)
    torch.testing.assert_close(
        metrics.clip_score(features, 2 * features), torch.full((3,), 100.0, dtype=torch.float64)
    )
    assert metrics.clip_score(features, -features).max() == 0


# embeddings ----------------------------------------------------------------------------------


def test_retrieval_is_perfect_on_the_keywords_and_counts_equal_words():
    keywords = torch.randn(6, 4, 8)
    keywords[5] = keywords[4]
    prompts = ["a", "b", "c", "d", "e", "e"]
    assert metrics.retrieval(keywords, keywords, prompts) == 1
    assert metrics.retrieval(keywords.roll(1, 0), keywords, prompts) == pytest.approx(1 / 6)


def test_the_nearest_label_is_read_from_the_first_five_positions():
    candidates = torch.randn(7, 9, 4)
    embedded = candidates[[3, 0, 6]].clone()
    embedded[:, 5:] = 99
    assert metrics.nearest_labels(embedded, candidates).tolist() == [3, 0, 6]


def test_cosine_and_distance_stop_at_the_end_token():
    target = torch.ones(2, 4, 3)
    embedded = target.clone()
    embedded[:, 2:] = -1
    lengths = torch.tensor([2, 4])
    assert metrics.cosine(embedded, target, lengths) == pytest.approx((1 + 0) / 2)
    assert metrics.distance(embedded, target, lengths) == pytest.approx(12**0.5 / 4)


def test_the_norm_ratio_shows_how_much_eta_shrinks():
    x = torch.randn(2, 3, 8)
    assert metrics.norm_ratio(0.9 * x, x) == pytest.approx(0.9)
