"""What is learnt of the two sensors: PSF, SRF, shift, noise; known ones from files."""

import logging

import numpy as np
import pytest
from fuse.conftest import block_of, made_pair, real_pair

from qr_cli.errors import DataError, UsageError
from qr_cli.fuse import known, noise, register, sensors
from qr_cli.fuse.degradation import estimate
from qr_cli.fuse.psf import FWHM, Psf, gaussian_taps
from qr_cli.fuse.simulate import kernel


def tap_error(found, true):
    side = max(len(found), len(true))
    a, b = (np.pad(taps, (side - len(taps)) // 2) for taps in (found, true))
    return np.abs(a - b).max() / true.max()


@pytest.mark.data
@pytest.mark.parametrize("snr", [None, (30, 40)])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.8, -1.3)])
def test_the_true_psf_is_found_from_the_pair_alone(snr, shift):
    sigma = (5 / FWHM, 5 / FWHM)
    taps = gaussian_taps(5 if shift == (0.0, 0.0) else 11, sigma, shift)
    pair = real_pair("samson", snr, Psf("given", (5, 5), taps))
    found = estimate([block_of(pair)])
    assert (found.psf.family, len(found.psf.taps)) == ("gaussian", len(taps))
    assert tap_error(found.psf.taps, taps) <= (0.002 if snr is None else 0.015)
    np.testing.assert_allclose(found.psf.moments()[1], shift, atol=0.06)
    assert found.psf.taps.sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.data
def test_free_taps_win_where_the_footprint_is_no_gaussian():
    taps = np.zeros((11, 11))
    taps[2:5, 3:6] = taps[7:9, 6:9] = 1
    pair = real_pair("samson", None, Psf("given", (5, 5), taps / taps.sum()))
    found = estimate([block_of(pair)])
    assert (found.psf.family, len(found.psf.taps)) == ("taps", 11)
    assert tap_error(found.psf.taps, taps / taps.sum()) < 0.15


@pytest.mark.data
@pytest.mark.parametrize(("name", "level"), [("samson", 20), ("samson", 40), ("jasper_ridge", 30)])
def test_noise_levels_are_recovered(name, level):
    found = noise.estimate([block_of(real_pair(name, (level, level)))])
    assert found.snr_hsi_db == pytest.approx(level, abs=1)
    assert found.snr_msi_db == pytest.approx(level, abs=3)


def test_noise_with_few_pixels_is_regressed_on_neighbouring_bands():
    generator = np.random.default_rng(0)
    base = generator.random((40, 3)) @ generator.random((3, 60)) + 1
    found = noise.hsi_variance(base + 0.01 * generator.standard_normal(base.shape))
    assert 5e-5 < np.median(found) < 3e-4  # neighbours are noisy too


def moved(image, rows):
    return np.concatenate([image[:1].repeat(rows, 0), image[:-rows]], 0)


def test_an_msi_moved_down_by_a_row_has_a_shift_of_plus_one():
    pair = made_pair(side=80)
    block = block_of(pair)
    block.z = moved(block.z, 1)
    shift, inside = register.fine_shift([block])
    assert inside
    np.testing.assert_allclose(shift, (1, 0), atol=0.1)


def test_a_gross_shift_is_found_in_lr_pixels():
    pair = made_pair(side=96)
    block = block_of(pair)
    block.z = moved(block.z, 8)
    found = register.gross_shift(block)
    np.testing.assert_allclose(found.shift, (2, 0), atol=0.3)


def test_resampling_undoes_a_shift():
    from scipy.ndimage import gaussian_filter, shift

    from qr_cli.fuse.raster import from_array

    image = gaussian_filter(np.random.default_rng(1).random((40, 40)), 2)
    raster = from_array(shift(image, (0.5, -0.25), order=3, mode="nearest"))
    back = register.shifted(raster, (0.5, -0.25)).read()
    inner = (slice(4, -4), slice(4, -4), 0)
    np.testing.assert_allclose(back[inner], image[4:-4, 4:-4], atol=2e-3)
    assert np.isnan(back[-1]).all()  # moved in from outside


def test_sensors_see_what_they_should():
    wave = np.linspace(401, 889, 156)
    table = sensors.response(wave, sensors.sensor("worldview2"))
    assert table.shape == (156, 8)
    ranges = [(int(np.flatnonzero(c)[0]), int(np.flatnonzero(c)[-1])) for c in table.T]
    assert ranges[:3] == [(0, 19), (12, 39), (30, 62)]
    np.testing.assert_allclose(table.sum(0), 1)


def test_an_unknown_sensor_and_a_blind_band_are_told(caplog):
    with pytest.raises(UsageError, match="did you mean 'worldview2'"):
        sensors.sensor("worldview")
    with caplog.at_level(logging.WARNING):
        assert sensors.response(np.linspace(400, 700, 50), [(550, 40), (2200, 100)]).shape[1] == 1
    assert "covers no band" in caplog.text


@pytest.mark.parametrize(
    ("taps", "said"),
    [
        (np.ones((4, 4)), "even number|odd number"),
        (-np.ones((5, 5)), "negative"),
        (np.zeros((5, 5)), "sum to 0"),
        (np.ones((5, 4)), "expected k x k"),
    ],
)
def test_a_psf_file_that_cannot_be_is_refused(taps, said, tmp_path):
    np.save(tmp_path / "psf.npy", taps)
    with pytest.raises(DataError, match=said):
        known.read_psf(tmp_path / "psf.npy", (5.0, 5.0))


def test_a_psf_that_does_not_sum_to_one_is_normalised_and_said(tmp_path, caplog):
    np.save(tmp_path / "psf.npy", np.ones((5, 5)))
    with caplog.at_level(logging.WARNING):
        assert known.read_psf(tmp_path / "psf.npy", (5.0, 5.0)).taps.sum() == pytest.approx(1)
    assert "normalised" in caplog.text


def test_responses_of_a_file_are_checked(tmp_path, caplog):
    table = np.random.default_rng(2).random((30, 4))
    np.save(tmp_path / "r.npy", table)
    read = {"wavelength_nm": None, "shape": (30, 4), "raw": False}
    got, used = known.read_srf(str(tmp_path / "r.npy"), **read)
    np.testing.assert_allclose(got, table / table.sum(0))
    assert used.all()
    np.savetxt(tmp_path / "t.csv", table.T, delimiter=",")
    with caplog.at_level(logging.WARNING):
        turned, _ = known.read_srf(str(tmp_path / "t.csv"), **read)
    np.testing.assert_allclose(turned, got)
    assert "transposed" in caplog.text
    with pytest.raises(DataError, match=r"expected \(30, 5\), got \(30, 4\)"):
        known.read_srf(str(tmp_path / "r.npy"), **{**read, "shape": (30, 5)})
    table[:, 1] = 0
    np.save(tmp_path / "z.npy", table)
    _, used = known.read_srf(str(tmp_path / "z.npy"), **read)
    assert used.tolist() == [True, False, True, True]


@pytest.mark.data
@pytest.mark.parametrize(
    "name", ["Sentinel2A_191_13.mat", "chikusei_128_4.mat", "wv2_on_houston18.csv", "NikonD700.npy"]
)
def test_real_response_files_are_read(name):
    from fuse.conftest import DATA

    if not DATA.is_dir():
        pytest.skip("the real responses are not here")
    path = DATA / "srf" / name
    shape = known.numbers(path, "--srf").shape
    table, _ = known.read_srf(str(path), wavelength_nm=None, shape=shape, raw=False)
    np.testing.assert_allclose(table.sum(0), 1)


def test_a_shifted_kernel_carries_its_shift():
    width, shift = kernel(5, 6.0, (0.8, -1.3)).moments()
    np.testing.assert_allclose(shift, (0.8, -1.3), atol=0.05)
    np.testing.assert_allclose(width, 6, rtol=0.05)
