"""One fusion: a recipe and two rasters in; records, a fitted method and its tiles out."""

from __future__ import annotations

import logging
import os
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qr_cli.engine.wording import ranges
from qr_cli.errors import DataError, EnvironmentFault, UsageError
from qr_cli.fuse import degradation as degrade
from qr_cli.fuse import inputs, noise, register, tiling
from qr_cli.fuse.block import Block
from qr_cli.fuse.degradation import Degradation
from qr_cli.fuse.grid import Array
from qr_cli.fuse.names import METHODS
from qr_cli.fuse.noise import Noise
from qr_cli.fuse.raster import Raster
from qr_cli.fuse.recipe import Fuse
from qr_cli.fuse.scene import Scene, scaled

log = logging.getLogger(__name__)
Record = dict[str, Any]
GROSS_SIDE = 256  # LR pixels of the block that registration looks at
LEAST_LIKE = 0.5  # correlation of P Z and Y R below which a pair is doubted
SMALL_SHIFT = 0.3  # HR pixels, above which --register off warns
COVER_NM = 50.0


@dataclass
class Fusion:
    """A fitted fusion and what is known about it.

    Attributes:
        recipe: as asked.
        scene: scaled.
        degradation: PSF and SRF.
        noise: of both images.
        fitted: the method.
        records: in the order they were made.
        warnings: for the report.
        started: wall and CPU time.
    """

    recipe: Fuse
    scene: Scene
    degradation: Degradation
    noise: Noise
    fitted: Any
    records: list[Record]
    warnings: list[str]
    started: tuple[float, float]
    sums: tiling.Sums = field(default_factory=tiling.Sums)
    bands: list[Record] = field(default_factory=list)

    def pieces(
        self,
        *,
        extra: Callable[..., Array] | None = None,
        tick: Callable[[int, int], None] = lambda done, total: None,
    ) -> Iterator[tiling.Piece]:
        """Yield the tiles of the result; the sums are those of the last pass."""
        self.sums = tiling.Sums()
        job = self.recipe.job
        return tiling.run(
            self.scene, self.fitted, self.degradation, side=job.tile,
            threads=job.threads or os.cpu_count() or 1, sums=self.sums, extra=extra, tick=tick,
        )  # fmt: skip

    def final(self, out: str | None) -> Record:
        """Return the "fused" record, after all pieces were taken."""
        scene = self.scene
        wall, cpu = self.started
        uncovered = [row for row in self.bands if row["covered"] is False]
        return {
            "event": "fused",
            "out": out,
            "method": self.recipe.method.method,
            "shape": [*scene.msi.shape[:2], scene.hsi.shape[2]],
            "ratio": round(scene.ratio, 6),
            "consistency_hsi_rel": _rounded(self.sums.hsi_rel),
            "consistency_msi_rel": _rounded(self.sums.msi_rel),
            "uncovered_bands": len(uncovered),
            "cpu_seconds": round(time.process_time() - cpu, 2),
            "seconds": round(time.time() - wall, 2),
            "max_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }


def _rounded(value: float) -> float | None:
    return round(value, 6) if np.isfinite(value) else None


def fit(
    recipe: Fuse,
    hsi: Raster,
    msi: Raster,
    *,
    say: Callable[[Record], None] = lambda record: None,
    step: Callable[[str], None] = lambda what: None,
    context: Mapping[str, Any] | None = None,
) -> Fusion:
    """Register, estimate what is not known, and fit the method.

    Args:
        recipe: what is asked.
        hsi: LR raster.
        msi: HR raster.
        say: takes records as they are made.
        step: is told what is being done.
        context: for methods that train: where their run folder is, who listens.

    Raises:
        DataError: the pair cannot be fused, or --strict refuses it.
        EnvironmentFault: the method needs more memory than is allowed.
    """
    started = (time.time(), time.process_time())
    records: list[Record] = []
    warned: list[str] = []

    def note(record: Record) -> None:
        records.append(record)
        say(record)

    step("reading")
    hsi, msi = inputs.prepared(recipe, hsi, msi)
    same = recipe.adasr.schedule == "official" or recipe.adasr.targets == "oracle"
    scene = scaled(inputs.scene_of(recipe, hsi, msi), seed=recipe.job.seed, same=same)
    scene, table, allowed = inputs.given_srf(recipe, scene)
    step("registration")
    scene, registration = _register(recipe, scene, same=same)
    note(registration)
    _doubts(recipe, registration, warned)
    step("point spread and spectral response")
    psf: Any = inputs.given_psf(recipe, scene)
    blocks, _ = scene.sample(seed=recipe.job.seed, most=10_000, side=32, count=9)
    found = degrade.estimate(
        blocks, psf=psf, srf=table, allowed=allowed, offset=recipe.sensors.srf_offset,
        sum_one=recipe.sensors.srf_sum == "one", shifted=recipe.sensors.registration == "psf",
    )  # fmt: skip
    scene, found = _seeing(scene, found)
    if recipe.pair.trim_uncovered:
        scene, found = _trimmed(scene, found)
    gain = found.srf.sum(0) * scene.q_z / scene.q_y
    note(
        {
            "event": "degradation",
            **found.record,
            "srf_gain": [round(float(g), 4) for g in gain],
        }
    )
    step("noise")
    blocks, phases = scene.sample(seed=recipe.job.seed)
    levels = noise.estimate(blocks, snr_hsi=recipe.sensors.snr_hsi, snr_msi=recipe.sensors.snr_msi)
    note(
        {
            "event": "noise",
            "snr_hsi_db": round(levels.snr_hsi_db, 2),
            "snr_msi_db": round(levels.snr_msi_db, 2),
        }
    )
    step(recipe.method.method)
    fitted = _method(recipe, scene, blocks, phases, found, levels, context or {})
    for record in getattr(fitted, "record", []):
        note(record)
    found = getattr(fitted, "degradation", None) or found
    fusion = Fusion(recipe, scene, found, levels, fitted, records, warned, started)
    fusion.bands = band_table(fusion)
    _band_doubts(fusion)
    for text in warned:
        log.warning("%s", text)
    return fusion


def _register(recipe: Fuse, scene: Scene, *, same: bool) -> tuple[Scene, Record]:
    """Return the scene, re-laid where a shift is gross, and the registration record."""
    mode = recipe.sensors.registration
    h, w = scene.rows.low, scene.columns.low
    i0, j0 = max((h - GROSS_SIDE) // 2, 0), max((w - GROSS_SIDE) // 2, 0)
    block, _ = scene.block(i0, min(i0 + GROSS_SIDE, h), j0, min(j0 + GROSS_SIDE, w))
    gross = register.gross_shift(block)
    used = mode != "off" and max(abs(d) for d in gross.shift) >= 1
    start = (0.0, 0.0)
    if used:
        start = tuple(  # type: ignore[assignment]
            round(d * axis.ratio) if axis.aligned else d * axis.ratio
            for d, axis in zip(gross.shift, (scene.rows, scene.columns), strict=True)
        )
        scene = _laid(recipe, scene, scene.msi, start, same=same)
    blocks, _ = scene.sample(seed=recipe.job.seed, most=register.MOST, side=32, count=6)
    shift, inside = register.fine_shift(blocks)
    remaining = shift
    if mode == "msi":
        moved = register.shifted(scene.msi, shift)
        scene = _laid(recipe, scene, moved, start, same=same)
        blocks, _ = scene.sample(seed=recipe.job.seed, most=register.MOST, side=32, count=6)
        remaining, _ = register.fine_shift(blocks)
    best = max(gross.correlation, default=0.0)
    record = {
        "event": "registration",
        "gross_shift_lr_px": [round(d, 3) for d in gross.shift],
        "gross_used": used,
        "shift_hr_px": [round(d, 3) for d in shift],
        "remaining_hr_px": [round(d, 3) for d in (remaining if mode == "msi" else shift)],
        "correlation": round(best, 4),
        "peak": round(gross.peak, 4),
        "mode": mode,
        "inside_bounds": inside,
        "trusted": bool(inside and best >= LEAST_LIKE),
    }
    return scene, record


def _laid(
    recipe: Fuse, scene: Scene, msi: Raster, shift: tuple[float, float], *, same: bool
) -> Scene:
    fresh = inputs.scene_of(recipe, scene.hsi, msi, shift=shift)
    return scaled(fresh, seed=recipe.job.seed, same=same)


def _doubts(recipe: Fuse, record: Record, warned: list[str]) -> None:
    """Collect warnings about the registration; with --strict they are faults."""
    doubts = []
    if record["correlation"] < LEAST_LIKE:
        doubts.append("the images do not look like the same place or time")
    if not record["inside_bounds"]:
        doubts.append("the shift estimate is at its bound of one LR pixel")
    if doubts and recipe.job.strict:
        raise DataError(doubts[0], hint="without --strict this is a warning")
    warned += doubts
    if record["mode"] == "off" and max(abs(d) for d in record["shift_hr_px"]) > SMALL_SHIFT:
        shown = ", ".join(f"{d:+.2f}" for d in record["shift_hr_px"])
        warned.append(f"the MSI seems shifted by ({shown}) HR pixels, which --register off ignores")


def _seeing(scene: Scene, found: Degradation) -> tuple[Scene, Degradation]:
    """Return both without MSI bands whose response came out as zero."""
    seen = found.srf.sum(0) > 0
    if seen.all():
        return scene, found
    if not seen.any():
        raise DataError("no MSI band can be explained by the HSI bands")
    for band in np.flatnonzero(~seen):
        log.warning("MSI band %d is explained by no HSI band: left out", band)
    chosen = np.flatnonzero(seen)
    assert scene.fill_z is not None
    scene = replace(scene, msi=scene.msi.pick(chosen), fill_z=scene.fill_z[chosen])
    return scene, replace(found, srf=found.srf[:, chosen], offset=found.offset[chosen])


def _trimmed(scene: Scene, found: Degradation) -> tuple[Scene, Degradation]:
    """Return both without HSI bands that the MSI does not see."""
    covered = covered_bands(scene, found)
    if covered is None:
        raise UsageError("--trim-uncovered: the HSI has no wavelengths", hint="--bands 3-50,60-")
    if covered.all():
        return scene, found
    log.info("left out %d bands that the MSI does not see", int((~covered).sum()))
    chosen = np.flatnonzero(covered)
    assert scene.fill_y is not None
    scene = replace(scene, hsi=scene.hsi.pick(chosen), fill_y=scene.fill_y[chosen])
    return scene, replace(found, srf=found.srf[chosen])


OPTIONS = {  # of each method, and the recipe leaves they are
    "auto": {"back_projection": "method.back_projection", "clip": "method.clip"},
    "glp": {"glp_mode": "method.glp_mode"},
    "fuse": {"dimensions": "method.subspace"},
    "hysure": {"dimensions": "method.subspace"},
    "cnmf": {"endmembers": "method.endmembers"},
}
TRAINED = ("adasr", "udaln")
WHOLE = ("fuse", "hysure", "cnmf", "udaln")


def _method(
    recipe: Fuse,
    scene: Scene,
    blocks: list[Block],
    phases: list[tuple[int, int]],
    found: Degradation,
    levels: Noise,
    context: Mapping[str, Any],
) -> Any:
    name = recipe.method.method
    fit_method = METHODS.load(name)
    official = name == "adasr" and recipe.adasr.schedule == "official"
    if name in WHOLE or official:
        _check_memory(recipe, scene, name)
        blocks, phases = [scene.whole()], [(0, 0)]
    options: dict[str, Any] = {
        key: getattr(getattr(recipe, leaf.split(".")[0]), leaf.split(".")[1])
        for key, leaf in OPTIONS.get(name, {}).items()
    }
    if name in TRAINED:
        options = {"recipe": recipe, "context": context}
    if name in ("auto", "adasr"):
        options["phases"] = phases
    return fit_method(blocks, found, levels, **options)


def _check_memory(recipe: Fuse, scene: Scene, name: str) -> None:
    """Raise before a method that holds the scene outgrows the limit."""
    pixels = scene.rows.high * scene.columns.high
    need = pixels * 8 * (3 * scene.hsi.shape[2] + 12 * 20)
    if need > recipe.job.memory_bytes:
        raise EnvironmentFault(
            f"{name} holds the whole scene and needs about {need / 2**30:.1f} GiB, over "
            f"--max-memory {recipe.job.max_memory}",
            hint="--method auto, or --crop R0,R1,C0,C1",
        )


def band_table(fusion: Fusion) -> list[Record]:
    """Return a row per HSI band: wavelength, SNR, held-out R^2, whether the MSI sees it."""
    scene = fusion.scene
    wave = scene.hsi.wavelength_nm
    covered = covered_bands(scene, fusion.degradation)
    choice = getattr(fusion.fitted, "choice", None)
    rows = []
    variance = None
    if choice is not None:
        blocks, _ = scene.sample(seed=fusion.recipe.job.seed)
        variance = np.concatenate([b.y[b.low] for b in blocks]).var(0)
    for band in range(scene.hsi.shape[2]):
        row: Record = {
            "band": band,
            "wavelength_nm": None if wave is None else round(float(wave[band]), 2),
            "snr_db": round(float(fusion.noise.snr_y[band]), 2),
            "covered": None if covered is None else bool(covered[band]),
        }
        if choice is not None and variance is not None:
            row["r2_loo"] = round(1 - float(choice.residual[band] / variance[band]), 4)
        rows.append(row)
    return rows


def covered_bands(scene: Scene, found: Degradation) -> NDArray[np.bool_] | None:
    """Return the HSI bands inside, or within 50 nm of, the half-maximum range of an MSI band."""
    wave = scene.hsi.wavelength_nm
    if wave is None:
        return None
    covered = np.zeros(len(wave), bool)
    for column in found.srf.T:
        inside = wave[column >= column.max() / 2]
        for at in inside:
            covered |= np.abs(wave - at) <= COVER_NM
    return covered


def _band_doubts(fusion: Fusion) -> None:
    rows = fusion.bands
    weak = [r["band"] for r in rows if r.get("r2_loo", 1.0) < 0.5]
    if weak:
        fusion.warnings.append(
            f"{len(weak)} bands are hardly predicted by the MSI (R2 below 0.5): {ranges(weak)}"
        )
    unseen = [r["band"] for r in rows if r["covered"] is False]
    if len(unseen) > 0.3 * len(rows):
        fusion.warnings.append(
            f"{len(unseen)} of {len(rows)} bands lie outside the MSI's bands: {ranges(unseen)}"
        )
