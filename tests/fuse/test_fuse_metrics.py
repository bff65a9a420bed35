"""Figures by hand, against libraries, and on images that are no images."""

import math

import numpy as np
import pytest

from qr_cli.fuse import metrics

REFERENCE = np.array([[[1.0, 2, 4], [2, 0, 1]], [[3, 1, 2], [0, 1, 1]]])
FUSED = REFERENCE + np.array([[[0.1, 0, -0.2], [0, 0.1, 0]], [[-0.1, 0.2, 0], [0, 0, 0.1]]])


def test_figures_of_two_by_two_pixels_by_hand():
    mse = np.array([0.02, 0.05, 0.05]) / 4
    peak = np.array([3.0, 2, 4])
    psnr = np.mean(10 * np.log10(peak**2 / mse))
    assert metrics.psnr_db(REFERENCE, FUSED) == pytest.approx(psnr, abs=1e-12)
    mean = np.array([1.5, 1, 2])
    assert metrics.ergas(REFERENCE, FUSED, ratio=5) == pytest.approx(
        100 / 5 * math.sqrt(np.mean(mse / mean**2)), abs=1e-12
    )
    assert metrics.rmse(REFERENCE, FUSED) == pytest.approx(math.sqrt(0.12 / 12), abs=1e-12)
    angles = []
    for a, b in zip(REFERENCE.reshape(-1, 3), FUSED.reshape(-1, 3), strict=True):
        norm = math.sqrt(sum(a * a)) * math.sqrt(sum(b * b))
        angles.append(math.degrees(math.acos(sum(a * b) / (norm + 1e-7))))
    assert metrics.sam_deg(REFERENCE, FUSED) == pytest.approx(np.mean(angles), abs=1e-9)
    pearson = [
        np.corrcoef(REFERENCE[..., b].ravel(), FUSED[..., b].ravel())[0, 1] for b in range(3)
    ]
    assert metrics.cc(REFERENCE, FUSED) == pytest.approx(np.mean(pearson), abs=1e-12)


def test_ssim_agrees_with_scikit_image():
    peer = pytest.importorskip("skimage.metrics").structural_similarity
    generator = np.random.default_rng(0)
    a = generator.random((30, 28, 2))
    b = a + 0.1 * generator.standard_normal(a.shape)
    want = []
    for band in range(2):
        _, full = peer(
            a[..., band], b[..., band], data_range=a[..., band].max(), gaussian_weights=True,
            sigma=1.5, use_sample_covariance=False, full=True,
        )  # fmt: skip
        want.append(full[5:-5, 5:-5].mean())
    assert metrics.ssim(a, b) == pytest.approx(np.mean(want), abs=1e-6)


def test_uiqi_of_one_window_by_hand():
    generator = np.random.default_rng(1)
    x, y = generator.random((8, 8)) + 1, generator.random((8, 8)) + 1
    vxy = np.mean(x * y) - x.mean() * y.mean()
    want = 4 * vxy * x.mean() * y.mean() / ((x.var() + y.var()) * (x.mean() ** 2 + y.mean() ** 2))
    assert metrics.uiqi(x, y) == pytest.approx(want, abs=1e-12)
    assert metrics.uiqi(np.ones((9, 9)), np.ones((9, 9))) == 1  # zero denominator


def test_an_image_is_perfect_on_itself():
    x = np.random.default_rng(2).random((24, 24, 4)) + 0.1
    found = metrics.evaluate(x, x, ratio=4, with_uiqi=True)
    assert found["psnr_db"] is None  # infinite
    assert found["sam_deg"] < 0.1
    assert (found["ergas"], found["rmse"]) == (0, 0)
    assert found["cc"] == pytest.approx(1) and found["ssim"] == pytest.approx(1)
    assert found["uiqi"] == pytest.approx(1)


def test_zero_pixels_count_ninety_degrees_or_are_skipped():
    a, b = np.ones((2, 2, 3)), np.ones((2, 2, 3))
    b[0, 0] = 0
    assert metrics.sam_zero_pixels(a, b) == 1
    assert metrics.sam_deg(a, b) == pytest.approx(22.5, abs=0.05)
    assert metrics.sam_deg(a, b, zero="skip") < 0.05


def test_integers_do_not_wrap_and_float32_gives_no_nan():
    a = np.array([[[10, 20, 30]]], np.uint16)
    b = np.array([[[20, 10, 30]]], np.uint16)
    assert metrics.rmse(a, b) == pytest.approx(math.sqrt(200 / 3))
    x = np.full((3, 3, 5), 1 / 3, np.float32)
    assert math.isfinite(metrics.sam_deg(x, x))


def test_invalid_pixels_and_constant_bands_give_defined_figures():
    generator = np.random.default_rng(3)
    a = generator.random((26, 26, 3))
    b = a + 0.01
    b[3, 4] = np.nan
    a[..., 2] = 0
    found = metrics.evaluate(a, b, ratio=4, with_uiqi=True)
    assert found["valid_fraction"] == pytest.approx(1 - 1 / 676)
    assert all(v is None or not isinstance(v, float) or math.isfinite(v) for v in found.values())


@pytest.mark.parametrize(("peak", "top"), [("band", None), ("cube", 4.0), (10.0, 10.0)])
def test_the_peak_of_psnr_is_named(peak, top):
    mse = ((REFERENCE - FUSED) ** 2).mean((0, 1))
    tops = np.array([3.0, 2, 4]) if top is None else np.full(3, top)
    want = np.mean(10 * np.log10(tops**2 / mse))
    assert metrics.psnr_db(REFERENCE, FUSED, peak=peak) == pytest.approx(want)
    assert "peak" in metrics.evaluate(REFERENCE, FUSED, ratio=2, peak=peak)["psnr_convention"]


def test_figures_without_a_reference_are_zero_for_scaled_copies():
    y = np.random.default_rng(4).random((20, 20, 4))
    assert metrics.d_lambda(y, y) == 0
    assert metrics.d_s(y, y, y[..., :2], y[..., :2]) == 0
    turned = y[..., ::-1]
    assert metrics.d_lambda(np.cumsum(turned, 2), y) > 0.01
