"""`qr fuse`: one pair from files to files, with its run folder, and what is printed of it."""

from __future__ import annotations

import logging
import platform
import shutil
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qr_cli import __version__
from qr_cli.engine.run import RunFolder
from qr_cli.errors import DataError, Interrupted, UsageError
from qr_cli.fuse import inputs, task
from qr_cli.fuse.formats.write import check_out
from qr_cli.fuse.raster import Raster
from qr_cli.fuse.recipe import Fuse
from qr_cli.fuse.save import write
from qr_cli.fuse.selftest import self_test
from qr_cli.fuse.tiling import tiles_of

log = logging.getLogger(__name__)
Record = dict[str, Any]
Say = Callable[[Record], None]
COMPARED = ("auto", "glp", "ridge", "bicubic")


def run_folder(recipe: Fuse) -> Path:
    """Return the run folder of a fusion: that of its output's name."""
    return Path(recipe.output.runs) / "fuse" / Path(recipe.output.out or "fused").stem


def check(recipe: Fuse, *, overwrite: bool) -> Path:
    """Return the output's path, or raise where it cannot be written."""
    if not recipe.output.out:
        raise UsageError("--out is missing", hint="--out fused.tif")
    path = Path(recipe.output.out)
    check_out(path, overwrite=overwrite)
    if recipe.output.uncertainty:
        check_out(Path(recipe.output.uncertainty), overwrite=overwrite)
    if recipe.output.report:
        run = RunFolder(run_folder(recipe))
        run.check(recipe, resume=False, overwrite=overwrite)
    return path


def fuse_files(
    recipe: Fuse,
    *,
    command: str,
    overwrite: bool = False,
    resume: bool = False,
    say: Say = lambda record: None,
    step: Callable[[str], None] = lambda what: None,
    tick: Callable[[int, int], None] = lambda done, total: None,
    listener: Any = None,
) -> Record:
    """Fuse one pair and write everything; returns the "fused" record.

    Args:
        recipe: what is asked.
        command: what was typed, for run.json.
        overwrite: replace an earlier output and run folder.
        resume: networks go on from their checkpoint.
        say: takes every record.
        step: is told what is being done.
        tick: is told how many tiles are done.
        listener: of training.
    """
    path = check(recipe, overwrite=overwrite or resume)
    hsi, msi = inputs.open_pair(recipe)
    run = RunFolder(run_folder(recipe))
    with _recorded(run, recipe, command, resume=resume) as keep:

        def note(record: Record) -> None:
            keep(record)
            say(record)

        context = {"run": run if recipe.output.report else None, "resume": resume,
                   "listener": listener, "out": path}  # fmt: skip
        fusion = task.fit(recipe, hsi, msi, say=note, step=step, context=context)
        step("writing")
        written = write(fusion, path, tick=tick)
        if recipe.output.self_test:
            step("self-test")
            methods = dict.fromkeys((recipe.method.method, *COMPARED))
            for record in self_test(fusion, list(methods)):
                fusion.records.append(record)
                note(record)
        note(written.record)
        if recipe.output.quicklook or recipe.output.report:
            step("pictures")
            from qr_cli.fuse import report

            if recipe.output.quicklook:
                report.quicklook(fusion, written.preview, path.with_suffix(".png"))
            if recipe.output.report:
                run.facts(status="done")
                report.write(fusion, written, run.path)
    return written.record


@contextmanager
def _recorded(run: RunFolder, recipe: Fuse, command: str, *, resume: bool) -> Any:
    """Open the run folder and keep run.json true; yields what takes records.

    Where the input is refused before anything is made, a new folder is taken away again.
    """
    if not recipe.output.report:
        yield lambda record: None
        return
    resumed = run.open(recipe, resume=resume)
    if resumed:
        (run.path / "metrics.jsonl").unlink(missing_ok=True)
    began = time.time()
    status = "failed"
    run.facts(
        task="fuse", qr=__version__, command=command, python=platform.python_version(),
        processor=platform.processor() or platform.machine(), status="running",
    )  # fmt: skip
    handler = run.log_handler()
    package = logging.getLogger("qr_cli")
    package.addHandler(handler)
    try:
        yield run.record
        status = "done"
    except (Interrupted, KeyboardInterrupt):
        status = "interrupted"
        raise
    except (UsageError, DataError):
        status = "refused"
        raise
    finally:
        package.removeHandler(handler)
        handler.close()
        made = Path(str(recipe.output.out)).exists() or any(run.path.rglob("checkpoints"))
        if status == "refused" and not (resumed or made):
            shutil.rmtree(run.path)  # so that the mended call finds nothing in its way
        else:
            run.facts(status=status, seconds=round(time.time() - began, 1))


def plan(recipe: Fuse) -> Record:
    """Return what a call would do, from headers only.

    Raises:
        QrError: what the call itself would refuse before it reads values.
    """
    hsi, msi = inputs.prepared(recipe, *inputs.open_pair(recipe))
    scene = inputs.scene_of(recipe, hsi, msi)
    bands = scene.hsi.shape[2]
    size = scene.rows.high * scene.columns.high * bands

    class _Any:
        tiled = recipe.method.method not in task.WHOLE
        margin = 16

    tiles = len(tiles_of(scene, _Any(), recipe.job.tile))  # type: ignore[arg-type]
    held = size * 8 * 3 if tiles == 1 else int(600e6)
    return {
        "event": "plan",
        "method": recipe.method.method,
        "hsi": _grid(hsi),
        "msi": _grid(msi),
        "ratio": round(scene.ratio, 6),
        "overlap_hsi_px": [scene.rows.low, scene.columns.low],
        "output": [*msi.shape[:2], bands],
        "output_mib": round(size * hsi.dtype.itemsize / 2**20, 1),
        "tiles": tiles,
        "memory_mib": round(held / 2**20),
        "out": recipe.output.out,
        "run": str(run_folder(recipe)) if recipe.output.report else None,
    }


def _grid(raster: Raster) -> Record:
    wave = raster.wavelength_nm
    return {
        "path": raster.path,
        "shape": list(raster.shape),
        "dtype": str(raster.dtype),
        "crs": raster.crs and raster.crs.split('"')[1 if '"' in raster.crs else 0],
        "wavelengths_nm": None
        if wave is None
        else [round(float(wave[0]), 1), round(float(wave[-1]), 1)],
    }
