"""What the user knows of the sensors: PSF and SRF from names and files."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qr_cli.engine.arrays import load_npy
from qr_cli.engine.damage import damaged
from qr_cli.errors import DataError, UsageError
from qr_cli.fuse import sensors
from qr_cli.fuse.formats.mat import read_arrays
from qr_cli.fuse.grid import Array
from qr_cli.fuse.psf import Psf

log = logging.getLogger(__name__)


def read_psf(path: Path, ratio: tuple[float, float]) -> Psf:
    """Return the taps of a file.

    Raises:
        DataError: they are no PSF for this ratio.
    """
    taps = numbers(path, "--psf")
    side = round(ratio[0])
    if ratio != (side, side):
        raise DataError(f"--psf: {path} holds taps, but the ratio {ratio[0]:g} is not whole")
    if taps.ndim != 2 or taps.shape[0] != taps.shape[1]:
        raise DataError(f"--psf: {path} holds {taps.shape}, expected k x k taps")
    if len(taps) % 2 != side % 2:
        kinds = ["even", "odd"]
        raise DataError(
            f"--psf: {path} has {len(taps)} x {len(taps)} taps; the ratio {side} needs an "
            f"{kinds[side % 2]} number"
        )
    if not np.isfinite(taps).all() or (taps < 0).any():
        at = np.argwhere(~(taps >= 0))[0].tolist()
        raise DataError(f"--psf: {path} is negative or not finite at {at}")
    total = float(taps.sum())
    if total == 0:
        raise DataError(f"--psf: the taps of {path} sum to 0")
    if abs(total - 1) > 1e-6:
        log.warning("--psf: the taps of %s sum to %.6g: normalised", path, total)
    return Psf("given", (float(side), float(side)), taps / total)


def read_srf(
    source: str, *, wavelength_nm: Array | None, shape: tuple[int, int], raw: bool
) -> tuple[Array, NDArray[np.bool_]]:
    """Return R (L, l') and which MSI bands it covers (l).

    Args:
        source: name of a sensor, or a file of (L, l) responses or of l rows "centre, fwhm".
        wavelength_nm: of the HSI.
        shape: L and l.
        raw: leave columns as they are, else they sum to 1.

    Raises:
        UsageError: the name is unknown.
        DataError: the table does not fit.
    """
    if not Path(source).suffix:
        table = _needs(wavelength_nm, source, np.asarray(sensors.sensor(source)))
        full = _all_columns(table, wavelength_nm)
    else:
        full = numbers(Path(source), "--srf")
        if full.ndim != 2:
            raise DataError(f"--srf: {source} holds {full.shape}, expected a table")
        if full.shape == (shape[1], 2) and shape[0] != shape[1]:
            full = _all_columns(_needs(wavelength_nm, source, full), wavelength_nm)
    if full.shape == shape[::-1] and shape[0] != shape[1]:
        log.warning("--srf: %s is %s, transposed to %s", source, full.shape, shape)
        full = full.T
    if full.shape != shape:
        raise DataError(f"--srf: expected {shape}, got {full.shape}")
    if not np.isfinite(full).all() or (full < 0).any():
        raise DataError(f"--srf: {source} holds negative or not finite responses")
    total = full.sum(0)
    used = total > 0
    for band in np.flatnonzero(~used):
        log.warning("--srf: MSI band %d sees no band of the HSI: left out", band)
    if not used.any():
        raise DataError(f"--srf: {source} sees no band of the HSI")
    kept = full[:, used]
    return (kept if raw else kept / total[used]), used


def _all_columns(bands: NDArray, wavelength_nm: Array | None) -> Array:
    """Return responses with columns of zeros for bands that see nothing."""
    assert wavelength_nm is not None
    columns = []
    for band in bands:
        made = sensors.response(wavelength_nm, band[None])
        columns.append(made[:, 0] if made.shape[1] else np.zeros(len(wavelength_nm)))
    return np.stack(columns, 1)


def _needs(wavelength_nm: Array | None, source: str, bands: NDArray) -> NDArray:
    if wavelength_nm is None:
        raise DataError(
            f"--srf: {source} needs the wavelengths of the HSI, which are not known",
            hint="give a table of responses (.csv or .npy)",
        )
    return bands


def numbers(path: Path, flag: str) -> Array:
    """Return the array of a .csv, .npy or .mat file."""
    suffix = path.suffix.lower()
    if not path.is_file():
        raise DataError(f"{flag}: {path}: no such file")
    if suffix not in (".csv", ".txt", ".npy", ".mat"):
        raise UsageError(f"{flag}: cannot read {path}", hint="a .csv, .npy or .mat file")
    with damaged(f"{flag}: {path}"):
        if suffix == ".npy":
            return np.asarray(load_npy(path), np.float64)
        if suffix in (".csv", ".txt"):
            return np.loadtxt(path, delimiter=",", ndmin=2)
    tables = {k: v for k, v in read_arrays(path).items() if v.ndim == 2 and min(v.shape) > 1}
    if "R" not in tables and len(tables) != 1:
        raise DataError(f"{flag}: {path} holds no table R; it holds {', '.join(tables) or 'none'}")
    return np.asarray(tables.get("R", next(iter(tables.values()))), np.float64)
