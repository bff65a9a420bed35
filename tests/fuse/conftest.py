"""A generated scene that fuses exactly, and the real cubes where they are."""

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from qr_cli.fuse import sensors
from qr_cli.fuse.block import Block
from qr_cli.fuse.grid import Axis
from qr_cli.fuse.simulate import kernel, simulate

DATA = Path(__file__).parents[3] / "shared" / "data" / "hsi"


def made_pair(side=40, bands=30, colors=4, ratio=4, snr=None, seed=0):
    """3 endmembers, smooth abundances: every LR spectrum lies in the span of the MSI."""
    generator = np.random.default_rng(5)
    spectra = gaussian_filter(generator.uniform(0.1, 1, (3, bands)), (0, 2))
    weights = np.stack(
        [
            gaussian_filter(generator.standard_normal((side, side)), 3, mode="wrap")
            for _ in range(3)
        ],
        -1,
    )
    weights = np.exp(weights / weights.std())
    weights /= weights.sum(-1, keepdims=True)
    srf = np.abs(generator.standard_normal((bands, colors)))
    srf = gaussian_filter(srf, (2, 0))
    return simulate(weights @ spectra, srf / srf.sum(0), kernel(ratio), snr_db=snr, seed=seed)


def block_of(pair):
    ratio = round(pair.psf.ratio[0])
    (h, w), (height, width) = pair.y.shape[:2], pair.z.shape[:2]
    masks = np.ones((h, w), bool), np.ones((height, width), bool)
    return Block(pair.y, pair.z, Axis(h, height, ratio), Axis(w, width, ratio), *masks)


@pytest.fixture(scope="session")
def pair():
    return made_pair()


@pytest.fixture
def block(pair):
    return block_of(pair)


def real_pair(name, snr=None, psf=None, seed=0):
    if not DATA.is_dir():
        pytest.skip("the real cubes are not here")
    held = np.load(DATA / f"{name}.npz")
    sensor = {"jasper_ridge": "sentinel2a-10", "samson": "worldview2"}[name]
    srf = sensors.response(held["wavelength_nm"], sensors.sensor(sensor))
    return simulate(held["cube"].astype(float), srf, psf or kernel(5), snr_db=snr, seed=seed)


@pytest.fixture
def files(tmp_path, pair):
    """The pair as files with a georeference; returns a function of the two suffixes."""
    from qr_cli.fuse.formats.write import open_writer

    wave = np.linspace(420, 900, pair.y.shape[2])
    place = {"crs": "EPSG:32631"}

    def write(low="tif", high="tif", **about):
        out = []
        for name, values, suffix, step, more in (
            ("hsi", pair.y, low, 40.0, {"wavelength_nm": wave}),
            ("msi", pair.z, high, 10.0, {}),
        ):
            path = tmp_path / f"{name}.{suffix}"
            transform = (step, 0.0, 5e5, 0.0, -step, 5e6)
            stored = np.rint(values * 10000).astype(np.uint16)
            facts = {**place, "transform": transform, "scale": 1e-4, **more, **about}
            writer = open_writer(path, values.shape, stored.dtype, facts)
            writer.write(0, 0, stored)
            writer.close(None)
            out.append(str(path))
        return out

    return write
