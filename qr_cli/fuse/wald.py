"""`qr data hsi`: simulate a pair, look into a file, make a response, convert."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from qr_cli.engine.damage import damaged
from qr_cli.engine.files import whole, write_text
from qr_cli.errors import UsageError
from qr_cli.fuse import known, noise, sensors
from qr_cli.fuse.block import Block
from qr_cli.fuse.encode import encoding
from qr_cli.fuse.evaluate import filled, simulated
from qr_cli.fuse.formats.read import Reading, open_raster
from qr_cli.fuse.formats.write import check_out, open_writer
from qr_cli.fuse.grid import Array, Axis
from qr_cli.fuse.raster import Raster
from qr_cli.fuse.recipe import FuseEval, Job, Question, Simulation
from qr_cli.fuse.simulate import kernel, simulate

Record = dict[str, Any]
FORMATS = ("npz", "tif", "mat", "hdr")
MOST = 512  # rows and columns that `info` looks at


def simulate_files(
    cube: str,
    *,
    out: Path,
    key: str | None,
    ratio: int,
    srf: str,
    snr: tuple[float, float] | None,
    seed: int,
    fwhm: float | None,
    shift: tuple[float, float],
    suffix: str,
    overwrite: bool,
) -> Record:
    """Write hsi, msi and reference, truth.json, psf.npy and srf.csv; return what they are.

    Raises:
        UsageError: the folder is not empty, or the format is unknown.
        DataError: the cube cannot be used.
    """
    if suffix not in FORMATS:
        raise UsageError(f"--format: one of {', '.join(FORMATS)}, got {suffix}")
    if out.exists() and any(out.iterdir()) and not overwrite:
        raise UsageError(f"--out: {out} is not empty", hint="--overwrite replaces the pair")
    raster = open_raster(cube, Reading(key=key))
    recipe = FuseEval(
        question=Question(cube=cube, key=key, ratio=ratio),
        simulation=Simulation(srf=srf, snr=snr or ()),
        job=Job(seed=seed),
    )
    if fwhm is None and shift == (0.0, 0.0):
        pair, _ = simulated(recipe)
    else:
        table, _ = known.read_srf(
            srf, wavelength_nm=raster.wavelength_nm,
            shape=(raster.shape[2], len(sensors.sensor(srf))), raw=False,
        )  # fmt: skip
        values = filled(raster, raster.read())
        pair = simulate(values, table, kernel(ratio, fwhm, shift), snr_db=snr, seed=seed)
    out.mkdir(parents=True, exist_ok=True)
    wave = raster.wavelength_nm
    for name, values, at in (
        ("hsi", pair.y, wave),
        ("msi", pair.z, None),
        ("reference", pair.reference, wave),
    ):
        save_array(out / f"{name}.{suffix}", values.astype(np.float32), wavelength_nm=at)
    with whole(out / "psf.npy") as hidden:
        np.save(hidden, np.asarray(pair.psf.taps), allow_pickle=False)
    write_text(out / "srf.csv", csv(pair.srf))
    truth = {
        "event": "simulated",
        "cube": cube,
        "ratio": ratio,
        "srf": srf,
        "snr_db": list(snr) if snr else None,
        "seed": seed,
        "psf_fwhm_hr_px": fwhm or ratio,
        "psf_shift_hr_px": list(shift),
        "hsi": list(pair.y.shape),
        "msi": list(pair.z.shape),
        "out": str(out),
    }
    write_text(out / "truth.json", json.dumps(truth, indent=1) + "\n")
    return truth


def save_array(path: Path, values: Array, *, wavelength_nm: Array | None = None) -> None:
    """Write an array in the format of a suffix."""
    shape = (values.shape[0], values.shape[1], values.shape[2])
    writer = open_writer(path, shape, values.dtype, {"wavelength_nm": wavelength_nm})
    writer.write(0, 0, values)
    writer.close(None)


def csv(table: Array) -> str:
    """Return a table as lines of numbers."""
    return "\n".join(",".join(f"{value:.9g}" for value in row) for row in table) + "\n"


def info(source: str, *, key: str | None = None) -> Record:
    """Return what is known about a file, and its estimated noise."""
    raster = open_raster(source, Reading(key=key))
    wave = raster.wavelength_nm
    values = raster.read((0, min(raster.shape[0], MOST), 0, min(raster.shape[1], MOST)))
    valid = np.asarray(np.isfinite(values).all(-1))
    snr = None
    if valid.sum() >= 64 and raster.shape[2] >= 4:
        y = values[valid].astype(np.float64)
        ratio = (y**2).mean(0) / np.maximum(noise.hsi_variance(y), 1e-300)
        snr = round(float(np.median(10 * np.log10(np.maximum(ratio, 1e-30)))), 2)
    elif valid.sum() >= 64:
        one = Axis(valid.shape[0], valid.shape[0], 1.0), Axis(valid.shape[1], valid.shape[1], 1.0)
        block = Block(values, values, *one, valid, valid)
        power = (values[valid].astype(np.float64) ** 2).mean(0)
        ratio = power / np.maximum(noise.msi_variance([block], power), 1e-300)
        snr = round(float(np.median(10 * np.log10(ratio))), 2)
    return {
        "event": "info",
        "path": source,
        "shape": list(raster.shape),
        "dtype": str(raster.dtype),
        "wavelengths_nm": None if wave is None else [round(float(w), 2) for w in wave],
        "crs": raster.crs,
        "transform": raster.transform and list(raster.transform),
        "nodata": raster.nodata,
        "scale": raster.scale if np.isscalar(raster.scale) else "per band",
        "bad_bands": len(raster.bad),
        "valid_fraction": round(float(valid.mean()), 6),
        "min": float(np.nanmin(values)) if valid.any() else None,
        "max": float(np.nanmax(values)) if valid.any() else None,
        "snr_db": snr,
    }


def response_file(sensor: str, wavelengths: Path, out: Path, *, overwrite: bool) -> Record:
    """Write the responses of a sensor at the wavelengths of a text file."""
    if out.exists() and not overwrite:
        raise UsageError(f"--out: {out} exists", hint="--overwrite replaces it")
    with damaged(f"--wavelengths: {wavelengths}"):
        with wavelengths.open(encoding="utf-8") as lines:
            at = np.loadtxt(lines, delimiter="," if wavelengths.suffix == ".csv" else None).ravel()
    table = sensors.response(at, sensors.sensor(sensor))
    write_text(out, csv(table))
    return {"event": "srf", "sensor": sensor, "shape": list(table.shape), "out": str(out)}


def convert(source: str, target: Path, *, key: str | None, overwrite: bool) -> Record:
    """Copy an image into another format, by strips, with what is known about it."""
    check_out(target, overwrite=overwrite)
    raster: Raster = open_raster(source, Reading(key=key))
    how = encoding(raster, "same")
    rows, columns, bands = raster.shape
    facts = {
        "transform": raster.transform, "crs": raster.crs, "wavelength_nm": raster.wavelength_nm,
        "fwhm_nm": raster.fwhm_nm, "scale": how.scale, "offset": how.offset,
        "nodata": raster.nodata,
    }  # fmt: skip
    writer = open_writer(target, raster.shape, how.dtype, facts)
    done = False
    try:
        for row in range(0, rows, 256):
            values = raster.read((row, min(row + 256, rows), 0, columns))
            writer.write(row, 0, how.stored(values, np.asarray(np.isfinite(values).all(-1))))
        writer.close(raster.nodata)
        done = True
    finally:
        if not done:
            writer.abandon()
    return {
        "event": "converted",
        "path": source,
        "out": str(target),
        "shape": [rows, columns, bands],
    }
