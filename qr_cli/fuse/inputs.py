"""From a recipe to a scene: files or arrays opened, bands chosen, grids laid, masks read."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qr_cli.engine.damage import damaged
from qr_cli.errors import DataError, UsageError
from qr_cli.fuse import known
from qr_cli.fuse.formats import enmap, geotiff, prisma
from qr_cli.fuse.formats.read import Reading, choose_bands, open_raster
from qr_cli.fuse.grid import Array
from qr_cli.fuse.psf import Psf
from qr_cli.fuse.raster import Raster
from qr_cli.fuse.recipe import Fuse
from qr_cli.fuse.scene import Scene, lay, meet

log = logging.getLogger(__name__)
Mask = NDArray[np.bool_]


def open_pair(recipe: Fuse) -> tuple[Raster, Raster]:
    """Return both rasters of a recipe, HSI bands chosen.

    Raises:
        UsageError: one is not named.
        DataError: one cannot be used.
    """
    pair = recipe.pair
    if not pair.hsi or not pair.msi:
        missing = "--hsi" if not pair.hsi else "--msi"
        raise UsageError(
            f"{missing} is missing", hint="qr fuse --hsi a.mat --msi b.tif --out fused.tif"
        )
    hsi = open_raster(
        pair.hsi,
        Reading(
            pair.hsi_key, pair.shape, pair.hsi_scale, pair.hsi_offset, pair.hsi_nodata, pair.overlap
        ),
    )
    if pair.msi == "same":
        with damaged(pair.hsi):
            msi = prisma.open_pan(Path(pair.hsi))
    else:
        how = Reading(pair.msi_key, pair.shape, pair.msi_scale, pair.msi_offset, pair.msi_nodata)
        msi = open_raster(pair.msi, how)
    return hsi, msi


def prepared(recipe: Fuse, hsi: Raster, msi: Raster) -> tuple[Raster, Raster]:
    """Return both rasters with the bands that count, on one CRS."""
    hsi = choose_bands(hsi, recipe.pair.bands, drop_water=recipe.pair.drop_water)
    if recipe.pair.reproject == "hsi":
        hsi = geotiff.reproject(hsi, msi)
    return hsi, msi


def masks(recipe: Fuse, hsi: Raster, msi: Raster) -> tuple[Mask | None, Mask | None]:
    """Return what masks call bad in each raster."""
    low: Mask | None = None
    high: Mask | None = None
    files = [recipe.pair.mask] if recipe.pair.mask else []
    if recipe.pair.quality_mask:
        found = enmap.quality_masks(Path(hsi.path))
        if not found:
            raise DataError(f"--quality-mask: no QL_QUALITY files beside {hsi.path}")
        files += [str(path) for path in found]
    for file in files:
        raster = open_raster(str(file))
        bad = np.nan_to_num(raster.read(), nan=1.0).any(-1)
        if bad.shape == hsi.shape[:2]:
            low = bad if low is None else low | bad
        elif bad.shape == msi.shape[:2]:
            high = bad if high is None else high | bad
        else:
            raise DataError(
                f"--mask: {file} is {bad.shape[0]} x {bad.shape[1]}, the HSI {hsi.shape[0]} x "
                f"{hsi.shape[1]}, the MSI {msi.shape[0]} x {msi.shape[1]}"
            )
    return low, high


def scene_of(
    recipe: Fuse, hsi: Raster, msi: Raster, *, shift: tuple[float, float] = (0.0, 0.0)
) -> Scene:
    """Return the scene over the common area; `shift` is a gross one, in HR pixels."""
    axes = lay(hsi, msi, ratio=recipe.pair.ratio, shift=shift)
    low, high = masks(recipe, hsi, msi)
    return meet(hsi, msi, axes, crop=recipe.pair.crop, bad_low=low, bad_high=high)


def given_psf(recipe: Fuse, scene: Scene) -> Psf | str:
    """Return the PSF of a file, or how to find it."""
    word = recipe.sensors.psf
    ratio = (scene.rows.ratio, scene.columns.ratio)
    whole = scene.rows.aligned and scene.columns.aligned and ratio[0] == ratio[1]
    if word not in ("auto", "gaussian") and not whole:
        raise DataError(
            f"--psf: {word} needs a whole ratio on aligned grids, got {ratio[0]:g}",
            hint="--psf gaussian",
        )
    if word.endswith((".npy", ".csv")):
        return known.read_psf(Path(word), ratio)
    return word


def given_srf(recipe: Fuse, scene: Scene) -> tuple[Scene, Array | None, Mask | None]:
    """Return the scene without MSI bands that see nothing, R in scaled units, and the ranges."""
    word = recipe.sensors.srf
    if word is None:
        return scene, None, None
    table, used = known.read_srf(
        word,
        wavelength_nm=scene.hsi.wavelength_nm,
        shape=(scene.hsi.shape[2], scene.msi.shape[2]),
        raw=recipe.sensors.srf_raw,
    )
    if not used.all():
        chosen = np.flatnonzero(used)
        fill = None if scene.fill_z is None else scene.fill_z[chosen]
        scene = replace(scene, msi=scene.msi.pick(chosen), fill_z=fill)
    if recipe.sensors.srf_use == "ranges":
        return scene, None, table > 0
    return scene, table * (scene.q_y / scene.q_z), None
