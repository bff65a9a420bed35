"""The report of a fusion and the picture beside its output."""

from __future__ import annotations

from pathlib import Path

from qr_cli.engine.figures import LIGHT, render
from qr_cli.engine.files import write_bytes
from qr_cli.engine.report import Plot, Table, write_report
from qr_cli.fuse import plots
from qr_cli.fuse.preview import Preview
from qr_cli.fuse.recipe import Fuse
from qr_cli.fuse.save import Written
from qr_cli.fuse.task import Fusion


def quicklook(fusion: Fusion, preview: Preview, path: Path) -> None:
    """Write HSI, MSI and fused image side by side."""
    write_bytes(path, render(plots.quicklook(LIGHT, preview), "png"))


def write(fusion: Fusion, written: Written, folder: Path) -> Path:
    """Write plots and report.html of a run folder."""
    figures = plots.fusion_plots(fusion, written.preview)
    figures += _error_plots(fusion, written)
    return write_report(
        folder,
        title=f"fuse: {Path(str(written.record['out'])).name}",
        lead=_lead(fusion),
        figures=figures,
        tables=_tables(fusion, written),
        defaults=Fuse.model_validate({}).model_dump(mode="json"),
        again=False,
    )


def _lead(fusion: Fusion) -> str:
    """Return what was estimated, what was given, and what to beware of."""
    sensors = fusion.recipe.sensors
    known = {
        "PSF": sensors.psf not in ("auto", "gaussian", "taps"),
        "SRF": bool(sensors.srf),
        "HSI noise": sensors.snr_hsi is not None,
        "MSI noise": sensors.snr_msi is not None,
    }
    given = [name for name, is_given in known.items() if is_given]
    found = [name for name, is_given in known.items() if not is_given]
    scene = fusion.scene
    words = [
        f"{scene.hsi.shape[2]} bands on {scene.msi.shape[0]} x {scene.msi.shape[1]} pixels, ratio "
        f"{scene.ratio:g}, by {fusion.recipe.method.method}.",
        f"Estimated from the images: {', '.join(found)}." if found else "",
        f"Given: {', '.join(given)}." if given else "",
        " ".join(f"Warning: {text}." for text in fusion.warnings),
        _overfit(fusion),
    ]
    return " ".join(filter(None, words))


def _overfit(fusion: Fusion) -> str:
    """Say so where the result explains the HSI better than its noise allows."""
    noise = 10 ** (-fusion.noise.snr_hsi_db / 20)
    left = fusion.sums.hsi_rel
    if left < 0.5 * noise and fusion.noise.snr_hsi_db < 45:
        return (
            f"Warning: the result leaves {100 * left:.2g} % of the HSI, less than its noise "
            f"({100 * noise:.2g} %): it fits noise."
        )
    return ""


def _tables(fusion: Fusion, written: Written) -> list[Table]:
    record = written.record
    registration = next(r for r in fusion.records if r["event"] == "registration")
    found = next(r for r in fusion.records if r["event"] == "degradation")
    rows = [
        ["consistency with the HSI, norm(P F - Y) / norm(Y)", record["consistency_hsi_rel"]],
        ["consistency with the MSI, norm(F R + o - Z) / norm(Z)", record["consistency_msi_rel"]],
        ["shift of the MSI, rows, HR pixels", registration["shift_hr_px"][0]],
        ["shift of the MSI, columns, HR pixels", registration["shift_hr_px"][1]],
        ["gross shift used", str(registration["gross_used"])],
        ["best correlation of P Z with Y R", registration["correlation"]],
        ["phase correlation peak", registration["peak"]],
        ["PSF family", str(found["psf"])],
        ["cross-validated error of the PSF", found["cv_error"]],
        ["SNR of the HSI, dB, median", round(fusion.noise.snr_hsi_db, 2)],
        ["SNR of the MSI, dB, median", round(fusion.noise.snr_msi_db, 2)],
    ]
    rows += [[f"gain of MSI band {b}", g] for b, g in enumerate(found["srf_gain"])]
    tables = [
        Table(
            "What was found", "Small consistency is necessary, not sufficient.", ["", "value"], rows
        )
    ]
    tests = [r for r in fusion.records if r["event"] == "self_test"]
    if tests:
        tables.append(
            Table(
                f"Self-test at {tests[0]['at']}",
                "Against the HSI itself, at the coarser scale: it ranks methods.",
                ["method", "PSNR, dB", "SAM, degrees", "ERGAS", "SSIM"],
                [[t["method"], t["psnr_db"], t["sam_deg"], t["ergas"], t["ssim"]] for t in tests],
            )
        )
    return tables


def _error_plots(fusion: Fusion, written: Written) -> list[Plot]:
    """Return the uncertainty as a map where it was written."""
    error = written.preview.error
    if error is None:
        return []
    return [
        Plot("uncertainty", "Where the result is to be trusted less",
             "Expected size of the error, root mean square over bands. Right in size within a "
             "factor of two; as a ranking useful on good data only.",
             lambda theme: plots.field(theme, error, "units of the HSI"))
    ]  # fmt: skip
