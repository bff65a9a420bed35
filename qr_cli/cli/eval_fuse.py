"""`qr eval fuse`."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from qr_cli.cli.options import Call, recipe_app
from qr_cli.cli.output import out
from qr_cli.cli.status import Status
from qr_cli.fuse.recipe import FuseEval

SHOWN = (
    ("psnr_db", "PSNR dB>"), ("sam_deg", "SAM deg>"), ("ergas", "ERGAS>"), ("ssim", "SSIM>"),
    ("rmse", "RMSE>"), ("consistency_hsi_rel", "left HSI>"), ("consistency_msi_rel", "left MSI>"),
    ("d_lambda", "D_lambda>"), ("d_s", "D_S>"), ("cpu_seconds", "CPU s>"),
)  # fmt: skip


def command(call: Call[FuseEval]) -> None:
    """Stream records; on a terminal show them as a table."""
    found: list[dict[str, Any]] = []
    with ExitStack() as stack:
        stack.callback(_show, found)
        status = stack.enter_context(Status(out))
        from qr_cli.fuse.evaluate import evaluate

        for record in evaluate(call.recipe, status.doing):
            out.record(record)
            if record.get("psnr_db") is not None:
                out.value(str(record["psnr_db"]))
            found.append(record)


def _show(records: list[dict[str, Any]]) -> None:
    for event, name in (("eval", "figures"), ("self_test", "self-test"), ("band", "bands")):
        rows = [r for r in records if r["event"] == event]
        if not rows:
            continue
        used = [(k, n) for k, n in SHOWN if any(r.get(k) is not None for r in rows)]
        head = [str(r.get("method") or r.get("fused") or r.get("wavelength_nm")) for r in rows]
        cells = [[h, *(_cell(r.get(k)) for k, _ in used)] for h, r in zip(head, rows, strict=True)]
        at = rows[0].get("at")
        out.table(f"{name} at {at}" if at else name, ["", *(n for _, n in used)], cells)
        if "psnr_convention" in rows[0] and not (out.streams or out.quiet):
            out.say(f"PSNR: {rows[0]['psnr_convention']}", style="dim")


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if abs(value) < 1 else f"{value:.3f}"


app = recipe_app(
    FuseEval,
    command,
    task="fuse",
    command="qr eval fuse",
    help="Score fused images, with or without a reference, and compare methods.",
    examples=[
        "qr eval fuse --reference ref.tif --fused fused.tif --ratio 5",
        "qr eval fuse --hsi a.mat --msi b.tif --fused fused.tif",
        "qr eval fuse --cube X.mat --ratio 5 --snr 30,40 --methods auto,glp",
    ],
    writes_runs=False,
)
