"""Write a fusion: the image in its format, what is beside it, the picture.

The image goes tile by tile into a hidden sibling and gets its name when all is done: a killed
process leaves nothing under the final name. Beside it: NAME.json with every record, PSF taps, SRF
and the table of bands.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qr_cli.engine.files import write_text
from qr_cli.fuse.encode import Encoding, encoding
from qr_cli.fuse.formats.geotiff import BLOCK
from qr_cli.fuse.formats.write import Writer, open_writer
from qr_cli.fuse.grid import Array
from qr_cli.fuse.preview import Preview
from qr_cli.fuse.scene import Scene
from qr_cli.fuse.task import Fusion
from qr_cli.fuse.tiling import Piece

Record = dict[str, Any]


@dataclass
class Written:
    """What was written and what was kept of it for pictures.

    Attributes:
        record: the "fused" record.
        preview: small copies of the images.
        points: values of the fused image at chosen HR pixels, (points, L).
        uncertainty: at the same pixels.
    """

    record: Record
    preview: Preview
    files: list[Path] = field(default_factory=list)


def about(fusion: Fusion, how: Encoding) -> dict[str, Any]:
    """Return what the output's format stores besides values."""
    hsi, msi = fusion.scene.hsi, fusion.scene.msi
    return {
        "transform": msi.transform,
        "crs": msi.crs or hsi.crs,
        "wavelength_nm": hsi.wavelength_nm,
        "fwhm_nm": hsi.fwhm_nm,
        "scale": how.scale if np.ndim(how.scale) else float(how.scale),
        "offset": how.offset if np.ndim(how.offset) else float(how.offset),
        "nodata": how.nodata if how.declared or np.isnan(how.nodata) else None,
        "block": _block(fusion.scene, fusion.recipe.job.tile),
    }


def _block(scene: Scene, side: int) -> int:
    """Return the side of a GeoTIFF's blocks: one that tiles fill whole, so that none waits."""
    whole = side * scene.rows.ratio
    aligned = scene.rows.aligned and scene.columns.aligned
    for block in range(512, 112, -16):
        if aligned and whole % block == 0 and not any(start % block for start in scene.high_start):
            return block
    return BLOCK


def write(
    fusion: Fusion,
    path: Path,
    *,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> Written:
    """Fuse and write; returns the final record and what pictures need."""
    output = fusion.recipe.output
    how = encoding(fusion.scene.hsi, output.dtype)
    shape = (*fusion.scene.msi.shape[:2], fusion.scene.hsi.shape[2])
    part = _outside(fusion)
    facts = about(fusion, how)
    if part and facts["nodata"] is None:
        facts["nodata"] = how.nodata
    preview = Preview.of(fusion.scene)
    holes = part
    done = False
    error = None
    writer = open_writer(path, shape, how.dtype, facts, compress=output.compress)
    try:
        error = _error_writer(fusion, path)
        if part and not isinstance(how.nodata, type(None)):
            _fill(writer, shape, how, fusion)
        for piece in fusion.pieces(extra=_uncertainty(fusion), tick=tick):
            holes = holes or not piece.valid.all()
            _place(writer, piece, how, fusion)
            if error is not None and piece.extra is not None:
                _place_error(error, piece, fusion)
            preview.take(piece)
        writer.close(how.nodata if holes or how.declared else None)
        if error is not None:
            error.close(float("nan"))
        done = True
    finally:
        if not done:
            writer.abandon()
            if error is not None:
                error.abandon()
    record = fusion.final(str(path))
    sidecar = path.with_suffix(".json")
    write_text(sidecar, json.dumps(sidecar_of(fusion, record), indent=1) + "\n")
    files = [path, sidecar]
    return Written(record, preview, files)


def _outside(fusion: Fusion) -> bool:
    """Tell whether the output holds pixels that are not on the common area."""
    scene = fusion.scene
    return (scene.rows.high, scene.columns.high) != scene.msi.shape[:2]


def _fill(writer: Writer, shape: tuple[int, int, int], how: Encoding, fusion: Fusion) -> None:
    """Write nodata where the common area does not reach, by strips."""
    scene = fusion.scene
    r0, c0 = scene.high_start
    r1, c1 = r0 + scene.rows.high, c0 + scene.columns.high
    for a0, a1, b0, b1 in (
        (0, r0, 0, shape[1]),
        (r1, shape[0], 0, shape[1]),
        (r0, r1, 0, c0),
        (r0, r1, c1, shape[1]),
    ):
        for row in range(a0, a1, 256):
            height = min(row + 256, a1) - row
            if height > 0 and b1 > b0:
                writer.write(row, b0, np.full((height, b1 - b0, shape[2]), how.nodata, how.dtype))


def _place(writer: Writer, piece: Piece, how: Encoding, fusion: Fusion) -> None:
    r0, c0 = fusion.scene.high_start
    writer.write(r0 + piece.row, c0 + piece.column, how.stored(piece.values, piece.valid))


def _uncertainty(fusion: Fusion) -> Callable[..., Array] | None:
    output = fusion.recipe.output
    if not output.uncertainty:
        return None

    def extra(block: Any, phase: tuple[int, int], part: Any) -> Array:
        u = fusion.fitted.uncertainty(block, phase=phase, part=part)
        if output.uncertainty_bands == "all":
            return u
        return np.sqrt((u**2).mean(-1, keepdims=True))

    return extra


def _error_writer(fusion: Fusion, path: Path) -> Writer | None:
    output = fusion.recipe.output
    if not output.uncertainty:
        return None
    bands = fusion.scene.hsi.shape[2] if output.uncertainty_bands == "all" else 1
    facts = about(fusion, encoding(fusion.scene.hsi, "float32"))
    facts |= {"nodata": float("nan"), "scale": 1.0, "offset": 0.0}
    if bands == 1:
        facts |= {"wavelength_nm": None, "fwhm_nm": None}
    shape = (*fusion.scene.msi.shape[:2], bands)
    return open_writer(Path(output.uncertainty), shape, np.dtype(np.float32), facts)


def _place_error(writer: Writer, piece: Piece, fusion: Fusion) -> None:
    r0, c0 = fusion.scene.high_start
    assert piece.extra is not None
    values = np.where(piece.valid[..., None], piece.extra, np.nan).astype(np.float32)
    writer.write(r0 + piece.row, c0 + piece.column, values)


def sidecar_of(fusion: Fusion, record: Record) -> Record:
    """Return what NAME.json holds."""
    psf = fusion.degradation.psf
    scene = fusion.scene
    factor = scene.q_z / scene.q_y
    return {
        **record,
        "warnings": fusion.warnings,
        "records": fusion.records,
        "psf_taps": None if psf.taps is None else _plain(psf.taps),
        "srf": _plain(fusion.degradation.srf * factor),
        "srf_offset": _plain(fusion.degradation.offset * scene.q_z),
        "bands": fusion.bands,
        "recipe": fusion.recipe.model_dump(mode="json"),
    }


def _plain(values: NDArray) -> list[Any]:
    return np.round(values, 9).tolist()
