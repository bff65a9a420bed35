"""Open a file by its suffix and content; apply what the user says of scale, nodata and bands."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from qr_cli.engine.damage import damaged
from qr_cli.errors import DataError, UsageError
from qr_cli.fuse import generated
from qr_cli.fuse.formats import enmap, envi, geotiff, mat, netcdf, npz, prisma
from qr_cli.fuse.raster import Raster

log = logging.getLogger(__name__)
SUFFIXES = (
    *(".tif", ".tiff", ".jp2", ".vrt", ".hdr", ".img"),
    *(".mat", ".npz", ".npy", ".nc", ".he5", ".h5"),
)
WATER_NM = ((1340, 1460), (1790, 1960), (2450, 1e9))


@dataclass(frozen=True)
class Reading:
    """How one of the two files is read.

    Attributes:
        key: name of the cube inside the file.
        shape: rows and columns of a 2-D array of pixels.
        scale: replaces that of the file.
        offset: replaces that of the file.
        nodata: replaces that of the file.
        overlap: which PRISMA sensor counts where both see.
    """

    key: str | None = None
    shape: tuple[int, int] | None = None
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None
    overlap: Literal["vnir", "swir"] = "vnir"


def open_raster(source: str, how: Reading = Reading()) -> Raster:  # noqa: B008  frozen
    """Return the raster of a file, or of several single-band files joined by commas.

    Where there is no file "generated", that is a scene of ours.

    Raises:
        UsageError: its suffix is unknown.
        DataError: there is no such file, or it cannot be used.
    """
    if source == generated.NAME and not Path(source).exists():
        return generated.scene()
    names = [name for name in source.split(",") if name]
    paths = [Path(name) for name in names]
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: no such file")
        if path.is_dir():
            raise DataError(f"{path} is a folder, not an image")
    with damaged(source):
        raster = geotiff.open_stack(paths) if len(paths) > 1 else _open(paths[0], how)
    changes: dict[str, object] = {
        key: value
        for key in ("scale", "offset", "nodata")
        if (value := getattr(how, key)) is not None
    }
    raster = replace(raster, **changes)  # type: ignore[arg-type]
    for note in raster.notes:
        log.info("%s", note)
    return in_order(raster)


def _open(path: Path, how: Reading) -> Raster:
    suffix = path.suffix.lower()
    if suffix in (".npz", ".npy"):
        return npz.open_npz(path, key=how.key)
    if suffix == ".mat":
        return mat.open_mat(path, key=how.key, shape=how.shape)
    if suffix == ".hdr":
        return envi.open_envi(path)
    if suffix == ".img" and path.with_suffix(".hdr").is_file():
        return envi.open_envi(path.with_suffix(".hdr"))
    if suffix in (".he5", ".h5") and prisma.is_prisma(path):
        return prisma.open_prisma(path, overlap=how.overlap)
    if suffix in (".nc", ".he5", ".h5"):
        return netcdf.open_netcdf(path, key=how.key)
    if suffix in (".tif", ".tiff", ".jp2", ".vrt", ".img"):
        metadata = enmap.metadata_of(path)
        return enmap.open_enmap(path, metadata) if metadata else geotiff.open_tiff(path)
    raise UsageError(
        f"{path} has the suffix {suffix or 'none'!r}, which is not known",
        hint=f"one of {' '.join(SUFFIXES)}",
    )


def in_order(raster: Raster) -> Raster:
    """Return the raster with ascending wavelengths.

    Raises:
        DataError: it has more or fewer wavelengths than bands.
    """
    wave = raster.wavelength_nm
    if wave is None:
        return raster
    if len(wave) != raster.shape[2]:
        raise DataError(f"{raster.path} has {raster.shape[2]} bands and {len(wave)} wavelengths")
    if (np.diff(wave) >= 0).all():
        return raster
    log.info("%s: wavelengths sorted", Path(raster.path).name)
    return raster.pick(np.argsort(wave, kind="stable"))


def choose_bands(raster: Raster, bands: Sequence[str], *, drop_water: bool) -> Raster:
    """Return the raster without bad, unwanted and water bands.

    Args:
        raster: with ascending wavelengths.
        bands: ranges of band numbers from 0, "3-50", "60-", "7".
        drop_water: leave out 1340-1460, 1790-1960 and above 2450 nm.

    Raises:
        UsageError: a range cannot be meant.
    """
    count = raster.shape[2]
    keep = np.zeros(count, bool) if bands else np.ones(count, bool)
    for text in bands:
        first, dash, last = text.partition("-")
        if not (first or last) or not (first + last).isdigit():
            raise UsageError(f"--bands: cannot read {text!r}", hint="--bands 3-50,60-")
        start = int(first or 0)
        stop = (int(last) if last else count - 1) if dash else start
        if start >= count or stop < start:
            raise UsageError(f"--bands: {text} is outside 0-{count - 1}")
        keep[start : stop + 1] = True
    places = np.arange(count) if raster.picked is None else raster.picked
    bad = np.isin(places, list(raster.bad))
    if (keep & bad).any():
        log.info("left out %d bands that the file calls bad", int((keep & bad).sum()))
    keep &= ~bad
    if drop_water:
        if raster.wavelength_nm is None:
            raise UsageError("--drop-water: the HSI has no wavelengths", hint="--bands 3-50,60-")
        for low, high in WATER_NM:
            keep &= ~((raster.wavelength_nm >= low) & (raster.wavelength_nm <= high))
    if not keep.any():
        raise UsageError("--bands: no band is left")
    return raster if keep.all() else raster.pick(np.flatnonzero(keep))
