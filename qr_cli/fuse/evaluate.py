"""Figures of fused images: against a reference, without one, or of methods on a simulated pair."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qr_cli.errors import DataError, UsageError
from qr_cli.fuse import degradation as degrade
from qr_cli.fuse import known, metrics, task
from qr_cli.fuse.formats.read import Reading, open_raster
from qr_cli.fuse.grid import Array
from qr_cli.fuse.metrics import Peak
from qr_cli.fuse.raster import Raster, from_array
from qr_cli.fuse.recipe import Fuse, FuseEval
from qr_cli.fuse.scene import Scene, lay, meet, scaled
from qr_cli.fuse.selftest import assembled, self_test
from qr_cli.fuse.simulate import Pair, kernel, simulate

Record = dict[str, Any]
Doing = Callable[[str, str], None]


def evaluate(recipe: FuseEval, doing: Doing = lambda subject, job: None) -> Iterator[Record]:
    """Yield the records that answer a recipe's question.

    Raises:
        UsageError: too little is given.
        DataError: an image cannot be used, or shapes differ.
    """
    q = recipe.question
    if not q.answerable:
        raise UsageError(
            "nothing to evaluate: give --reference and --fused, or --hsi, --msi and --fused, or "
            "--cube, or --hsi, --msi and --self-test",
            hint="qr eval fuse --reference ref.tif --fused fused.tif --ratio 5",
        )
    if q.cube is not None:
        yield from _simulated(recipe, doing)
    elif q.reference is not None:
        yield from _against(recipe)
    elif q.self_test and q.fused is None:
        yield from _self_tests(recipe, doing)
    else:
        yield _without(recipe, doing)


def _against(recipe: FuseEval) -> Iterator[Record]:
    q = recipe.question
    assert q.reference is not None and q.fused is not None
    reference, fused = open_raster(q.reference), open_raster(q.fused)
    if reference.shape != fused.shape:
        raise DataError(f"shapes differ: reference {reference.shape}, fused {fused.shape}")
    ratio = q.ratio or _ratio_beside(Path(q.fused))
    if ratio is None:
        raise DataError("ERGAS needs the ratio of the pixel sizes", hint="--ratio 5")
    a, b = reference.read(), fused.read()
    yield {
        "event": "eval",
        "fused": q.fused,
        **_figures(recipe, a, b, ratio),
        "reference": q.reference,
    }
    if recipe.conventions.per_band:
        yield from _per_band(recipe, a, b, ratio, reference)


def _ratio_beside(path: Path) -> float | None:
    import json

    try:
        return float(json.loads(path.with_suffix(".json").read_text("utf-8"))["ratio"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _figures(recipe: FuseEval, a: Array, b: Array, ratio: float) -> Record:
    how = recipe.conventions
    valid = np.ones(a.shape[:2], bool)
    if how.border:
        valid[: how.border] = valid[-how.border :] = False
        valid[:, : how.border] = valid[:, -how.border :] = False
    peak: Peak = how.psnr_peak if how.psnr_peak in ("band", "cube") else float(how.psnr_peak)  # type: ignore[assignment]
    return metrics.evaluate(
        a, b, ratio=ratio, valid=valid, peak=peak, sam_zero=how.sam_zero,
        data_range=how.data_range, with_uiqi=how.uiqi,
    )  # fmt: skip


def _per_band(
    recipe: FuseEval, a: Array, b: Array, ratio: float, reference: Raster
) -> Iterator[Record]:
    for band in range(a.shape[2]):
        part = (a[..., band : band + 1], b[..., band : band + 1])
        wave = reference.wavelength_nm
        yield {
            "event": "band",
            "band": band,
            "wavelength_nm": None if wave is None else round(float(wave[band]), 2),
            "psnr_db": metrics.number(metrics.psnr_db(*part)),
            "rmse": metrics.rmse(*part),
            "cc": metrics.number(metrics.cc(*part)),
            "ssim": metrics.number(metrics.ssim(*part)),
        }


def _simulated(recipe: FuseEval, doing: Doing) -> Iterator[Record]:
    """Yield a record per method on a pair made from the cube."""
    q = recipe.question
    pair, raster = simulated(recipe)
    base: Record = {"job": recipe.job}
    for method in q.methods:
        doing(method, "fusing")
        settings: Record = {**base, "method": {"method": method}}
        if recipe.simulation.psf_given:
            settings["sensors"] = {"psf": "official"}
        one = Fuse.model_validate(settings)
        began = time.process_time()
        hsi = from_array(pair.y, wavelength_nm=raster.wavelength_nm)
        fusion = task.fit(one, hsi, from_array(pair.z))
        image = assembled(fusion)
        seconds = time.process_time() - began
        snr = recipe.simulation.snr
        yield {
            "event": "eval",
            "method": method,
            **_figures(recipe, pair.reference, image, round(pair.psf.ratio[0])),
            "consistency_hsi_rel": round(fusion.sums.hsi_rel, 6),
            "consistency_msi_rel": round(fusion.sums.msi_rel, 6),
            "cpu_seconds": round(seconds, 2),
            "snr_hsi_db": snr[0] if snr else None,
            "snr_msi_db": snr[1] if snr else None,
            "psf": "given" if recipe.simulation.psf_given else "estimated",
            "seed": recipe.job.seed,
            "reference": q.cube,
        }


def simulated(recipe: FuseEval) -> tuple[Pair, Raster]:
    """Return the pair that a recipe describes, and the cube it is from."""
    q = recipe.question
    assert q.cube is not None
    raster = open_raster(q.cube, Reading(key=q.key))
    cube = filled(raster, raster.read())
    ratio = round(q.ratio or 5)
    bands = raster.shape[2]
    srf, _ = known.read_srf(
        recipe.simulation.srf, wavelength_nm=raster.wavelength_nm,
        shape=(bands, _columns(recipe.simulation.srf, bands)), raw=False,
    )  # fmt: skip
    snr = recipe.simulation.snr
    level = (snr[0], snr[1]) if snr else None
    return simulate(cube, srf, kernel(ratio), snr_db=level, seed=recipe.job.seed), raster


def filled(raster: Raster, values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the cube, or raise where it has holes: a truth must be whole."""
    if not np.isfinite(values).all():
        share = float((~np.isfinite(values).all(-1)).mean())
        raise DataError(f"{raster.path}: {share:.1%} of pixels have no data; a truth must be whole")
    return values.astype(np.float64)


def _columns(source: str, bands: int) -> int:
    """Return how many MSI bands an SRF has, before it is read for a shape."""
    from qr_cli.fuse import sensors

    if not Path(source).suffix:
        return len(sensors.sensor(source))
    table = known.numbers(Path(source), "--srf")
    if table.ndim == 2 and table.shape[0] == bands:
        return int(table.shape[1])
    return int(table.shape[0])


def _pair_scene(recipe: FuseEval) -> tuple[Scene, Raster, Raster]:
    q = recipe.question
    assert q.hsi is not None and q.msi is not None
    hsi = open_raster(q.hsi, Reading(key=q.hsi_key))
    msi = open_raster(q.msi, Reading(key=q.msi_key))
    scene = scaled(meet(hsi, msi, lay(hsi, msi, ratio=q.ratio)), seed=recipe.job.seed)
    return scene, hsi, msi


def _without(recipe: FuseEval, doing: Doing) -> Record:
    """Return the figures that need no reference."""
    q = recipe.question
    assert q.fused is not None
    scene, _, msi = _pair_scene(recipe)
    fused = open_raster(q.fused)
    if fused.shape[:2] != msi.shape[:2] or fused.shape[2] != scene.hsi.shape[2]:
        raise DataError(
            f"{q.fused} is {fused.shape}, expected {(*msi.shape[:2], scene.hsi.shape[2])}"
        )
    doing(Path(q.fused).name, "point spread and spectral response")
    blocks, _ = scene.sample(seed=recipe.job.seed, most=10_000, side=32, count=9)
    found = degrade.estimate(blocks)
    block = scene.whole()
    r, c = scene.high_start
    values = fused.read((r, r + scene.rows.high, c, c + scene.columns.high)) / scene.q_y
    valid = np.isfinite(values).all(-1) & block.high
    held = np.where(valid[..., None], values, 0)
    block.high &= valid
    low = block.blur(held, found.psf)
    zl = block.blur(block.z, found.psf)
    used = block.usable(found.psf)
    made = held @ found.srf + found.offset
    y = np.where(used[..., None], block.y, np.nan)
    f = np.where(valid[..., None], values, np.nan)
    return {
        "event": "eval",
        "fused": q.fused,
        "consistency_hsi_rel": float(
            np.linalg.norm((low - block.y)[used]) / np.linalg.norm(block.y[used])
        ),
        "consistency_msi_rel": float(
            np.linalg.norm((made - block.z)[valid]) / np.linalg.norm(block.z[valid])
        ),
        "d_lambda": metrics.number(metrics.d_lambda(f, y, seed=recipe.job.seed)),
        "d_s": metrics.number(
            metrics.d_s(f, y, np.where(valid[..., None], block.z, np.nan),
                        np.where(used[..., None], zl, np.nan))
        ),
        "psf": found.record["psf"],
        "valid_fraction": float(valid.mean()),
        "reference": None,
    }  # fmt: skip


def _self_tests(recipe: FuseEval, doing: Doing) -> Iterator[Record]:
    q = recipe.question
    hsi = open_raster(str(q.hsi), Reading(key=q.hsi_key))
    msi = open_raster(str(q.msi), Reading(key=q.msi_key))
    one = Fuse.model_validate({"pair": {"ratio": q.ratio}, "job": recipe.job,
                               "method": {"method": "bicubic"}})  # fmt: skip
    doing("pair", "point spread and spectral response")
    yield from self_test(task.fit(one, hsi, msi), q.methods)
