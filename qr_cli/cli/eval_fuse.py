"""`qr eval fuse`."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from qr_cli.cli.options import Call, recipe_app
from qr_cli.cli.output import out
from qr_cli.cli.status import Status
from qr_cli.fuse.recipe import FuseEval

SHOWN = (  # key, column, format
    ("psnr_db", "PSNR dB>", ".2f"),
    ("sam_deg", "SAM deg>", ".3f"),
    ("ergas", "ERGAS>", ".3f"),
    ("ssim", "SSIM>", ".4f"),
    ("rmse", "RMSE>", ".4f"),
    ("consistency_hsi_rel", "left HSI>", ".4f"),
    ("consistency_msi_rel", "left MSI>", ".4f"),
    ("d_lambda", "D_lambda>", ".4f"),
    ("d_s", "D_S>", ".4f"),
    ("cpu_seconds", "CPU s>", ".1f"),
)


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
        used = [column for column in SHOWN if any(r.get(column[0]) is not None for r in rows)]
        head = [str(r.get("method") or r.get("fused") or r.get("wavelength_nm")) for r in rows]
        cells = [
            [h, *("-" if r.get(key) is None else format(r[key], form) for key, _, form in used)]
            for h, r in zip(head, rows, strict=True)
        ]
        at = rows[0].get("at")
        out.table(f"{name} at {at}" if at else name, ["", *(name for _, name, _ in used)], cells)
        if "psnr_convention" in rows[0] and not (out.streams or out.quiet):
            out.say(f"PSNR: {rows[0]['psnr_convention']}", style="dim")


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
