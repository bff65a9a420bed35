"""The maps between the grids: against loops, against themselves, at borders and holes."""

import numpy as np
import pytest
from fuse.conftest import block_of, made_pair
from reference import fuse as slow

from qr_cli.fuse.block import Block
from qr_cli.fuse.cells import Cells
from qr_cli.fuse.grid import Axis, linear_matrix, up
from qr_cli.fuse.methods.backproject import again
from qr_cli.fuse.methods.regression import blurred_local
from qr_cli.fuse.nnls import nnls
from qr_cli.fuse.psf import FWHM, Psf, gaussian_taps, official_taps
from qr_cli.fuse.simulate import kernel, simulate


def given(taps, ratio):
    return Psf("given", (ratio, ratio), taps)


@pytest.mark.parametrize(("ratio", "size"), [(5, 5), (5, 11), (4, 4), (4, 10), (3, 9), (8, 8)])
def test_blur_and_decimate_agree_with_the_loop(ratio, size):
    generator = np.random.default_rng(0)
    image = generator.random((3 * ratio, 4 * ratio, 2))
    taps = generator.random((size, size))  # no product of two rows
    taps /= taps.sum()
    fast = given(taps, ratio).apply(image, Axis(3, 3 * ratio, ratio), Axis(4, 4 * ratio, ratio))
    np.testing.assert_allclose(fast, slow.blur(image, taps, ratio), rtol=0, atol=1e-13)


def test_the_two_degradations_commute():
    generator = np.random.default_rng(1)
    x, r = generator.random((20, 20, 7)), generator.random((7, 3))
    axis = Axis(4, 20, 5)
    psf = given(gaussian_taps(11, (2, 3), (0.4, -0.7)), 5)
    np.testing.assert_allclose(
        psf.apply(x @ r, axis, axis), psf.apply(x, axis, axis) @ r, atol=1e-13
    )


@pytest.mark.parametrize("ratio", [4, 5, 8])
def test_the_official_simulation_agrees_with_the_loop(ratio):
    cube = np.random.default_rng(2).random((5 * ratio + 3, 4 * ratio + 2, 3))
    pair = simulate(cube, np.eye(3)[:, :2], kernel(ratio))
    y, x, h = slow.official_pair(cube, ratio)
    np.testing.assert_allclose(pair.y, y, atol=1e-12)
    np.testing.assert_allclose(pair.reference, x, atol=0)
    np.testing.assert_allclose(pair.psf.taps, h, atol=1e-15)


def test_the_official_kernel_has_its_figures():
    taps = official_taps(5)
    assert taps[2, 2] == pytest.approx(0.060266, abs=1e-6)
    assert taps[0, 0] == pytest.approx(0.024817, abs=1e-6)
    assert (taps**2).sum() == pytest.approx(0.0426232, abs=1e-7)
    sums = [(official_taps(s) ** 2).sum() for s in (3, 4, 8, 10)]
    np.testing.assert_allclose(sums, [0.116292, 0.066234, 0.016746, 0.010732], atol=1e-6)


def test_invalid_pixels_weigh_nothing():
    generator = np.random.default_rng(3)
    image, taps = generator.random((20, 20, 2)), gaussian_taps(9, (2, 2))
    high = np.ones((20, 20), bool)
    high[7:9, 3:12] = False
    axis = Axis(4, 20, 5)
    spoilt = np.where(high[..., None], image, 1e9)
    block = Block(np.zeros((4, 4, 1)), spoilt, axis, axis, np.ones((4, 4), bool), high)
    psf = given(taps, 5)
    got = block.blur(spoilt, psf)
    above = psf.apply(np.where(high[..., None], image, 0), axis, axis)
    np.testing.assert_allclose(got, above / block.cover(psf)[..., None], rtol=1e-12)
    assert not block.usable(psf)[1, 1]
    assert block.usable(psf)[3, 3]


def test_any_ratio_is_the_same_gaussian_where_the_ratio_is_whole():
    image = np.random.default_rng(4).random((60, 60, 1))
    axis = Axis(12, 60, 5)
    sigma = 5 / FWHM
    free = Psf("gaussian", (5, 5), None, (sigma, sigma), (0.3, -0.2))
    taps = Psf("gaussian", (5, 5), gaussian_taps(15, (sigma, sigma), (0.3, -0.2)))
    a, b = free.apply(image, axis, axis), taps.apply(image, axis, axis)
    np.testing.assert_allclose(a[2:-2, 2:-2], b[2:-2, 2:-2], atol=1e-12)


def test_a_ratio_that_is_not_whole_keeps_constants_and_sums_to_one():
    axis = Axis(7, 20, 2.7, 0.4)
    psf = Psf("gaussian", (2.7, 2.7), None, (1.2, 1.2))
    np.testing.assert_allclose(psf.apply(np.ones((20, 20, 1)), axis, axis), 1, atol=1e-12)


def test_up_is_the_spline_of_scikit_image():
    transform = pytest.importorskip("skimage.transform")
    low = np.random.default_rng(5).random((9, 7, 2))
    fast = up(low, Axis(9, 45, 5), Axis(7, 35, 5))
    peer = transform.resize(low, (45, 35, 2), order=3, mode="edge", anti_aliasing=False, clip=False)
    np.testing.assert_allclose(fast, peer, atol=1e-6)  # the prefilter ends after 12 pixels


def test_blur_after_up_on_the_lr_grid_is_the_same():
    low = np.random.default_rng(6).random((10, 10, 3))
    block = block_of(made_pair())
    psf = given(gaussian_taps(10, (2, 3), (0.5, 0.2)), 4)
    both = psf.apply(block.up(low), block.rows, block.columns)
    np.testing.assert_allclose(again(low, block, psf), both, atol=1e-10)


def test_cells_multiply_by_bilinear_matrices():
    generator = np.random.default_rng(7)
    rows, columns = Axis(4, 13, 3.2, 0.1), Axis(3, 12, 4)
    features, matrices = generator.random((13, 12, 5)), generator.random((4, 3, 5, 2))
    a, b = linear_matrix(rows).toarray(), linear_matrix(columns).toarray()
    full = np.einsum("uh,vw,hwab->uvab", a, b, matrices)
    want = np.einsum("uva,uvab->uvb", features, full)
    np.testing.assert_allclose(Cells(rows, columns).contract(features, matrices), want, atol=1e-12)
    part = (slice(2, 9), slice(5, 12))
    some = Cells(rows, columns, part).contract(features[part], matrices)
    np.testing.assert_allclose(some, want[part], atol=1e-12)


@pytest.mark.parametrize("size", [4, 10])
def test_the_blurred_local_part_needs_no_hr_image(size):
    generator = np.random.default_rng(8)
    axis = Axis(6, 24, 4)
    a, coef = generator.random((24, 24, 3)), generator.random((6, 6, 3, 5))
    taps = generator.random((size, size))
    psf = given(taps / taps.sum(), 4)
    direct = psf.apply(Cells(axis, axis).contract(a, coef), axis, axis)
    fast = blurred_local(a, coef, psf.terms(axis, axis), (axis, axis))
    np.testing.assert_allclose(fast, direct, atol=1e-12)


def test_nonnegative_least_squares_agree_with_scipy():
    from scipy.optimize import nnls as peer

    generator = np.random.default_rng(9)
    for _ in range(20):
        rows, b = generator.standard_normal((30, 12)), generator.standard_normal(30)
        start = generator.random(12) - 0.5
        found = nnls(rows.T @ rows, rows.T @ b, start)
        np.testing.assert_allclose(found, peer(rows, b)[0], atol=1e-9)
