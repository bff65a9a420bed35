"""Methods at reduced resolution, against the HSI itself: Y decimated by t, P Z as its MSI.

t = s if min(h, w)/s >= 16, else the largest t >= 2 with min(h, w)/t >= 10. The figures are those at
the coarser scale: they rank methods, they do not tell the error at the fine one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from qr_cli.errors import QrError
from qr_cli.fuse.grid import Axis
from qr_cli.fuse.metrics import evaluate
from qr_cli.fuse.psf import Psf
from qr_cli.fuse.raster import from_array
from qr_cli.fuse.recipe import Fuse
from qr_cli.fuse.simulate import kernel
from qr_cli.fuse.task import Fusion, fit

log = logging.getLogger(__name__)
Record = dict[str, Any]
MOST = 200  # LR pixels of a side that take part


def reduced_ratio(shape: tuple[int, int], ratio: float) -> int | None:
    """Return t, or None where the image is too small."""
    side = min(shape)
    near = round(ratio)
    if side / ratio >= 16 and near >= 2:
        return near
    fitting = [t for t in range(2, side) if side / t >= 10]
    return fitting[-1] if fitting else None


def self_test(fusion: Fusion, methods: Sequence[str]) -> Iterator[Record]:
    """Yield a record per method."""
    scene = fusion.scene
    h, w = min(scene.rows.low, MOST), min(scene.columns.low, MOST)
    t = reduced_ratio((h, w), scene.ratio)
    if t is None:
        log.warning("self-test: an HSI of %d x %d is too small", h, w)
        return
    h, w = h // t * t, w // t * t
    i, j = (scene.rows.low - h) // 2, (scene.columns.low - w) // 2
    block, _ = scene.block(i, i + h, j, j + w)
    z = block.blur(block.z, fusion.degradation.psf)
    usable = block.usable(fusion.degradation.psf)
    psf: Psf = kernel(t)
    low = psf.apply(block.y, Axis(h // t, h, t), Axis(w // t, w, t))
    covered = usable.reshape(h // t, t, w // t, t).all((1, 3))
    low[~covered] = np.nan
    z = np.where(usable[..., None], z, np.nan)
    hsi = from_array(low, wavelength_nm=scene.hsi.wavelength_nm)
    for method in methods:
        recipe = Fuse.model_validate(
            {"sensors": {"psf": "official"}, "method": {"method": method}, "job": fusion.recipe.job}
        )
        try:
            one = fit(recipe, hsi, from_array(z))
        except QrError as error:
            log.warning("self-test: %s: %s", method, error.message)
            continue
        image = assembled(one)
        figures = evaluate(block.y, image, ratio=t, valid=usable & np.isfinite(image).all(-1))
        yield {
            "event": "self_test",
            "method": method,
            "at": f"reduced resolution, ratio {t}",
            **{k: figures[k] for k in ("psnr_db", "psnr_convention", "sam_deg", "ergas", "ssim")},
        }


def assembled(fusion: Fusion) -> np.ndarray:
    """Return the fused common area as an array, NaN where it is not valid."""
    scene = fusion.scene
    shape = (scene.rows.high, scene.columns.high, scene.hsi.shape[2])
    out: np.ndarray | None = None
    for piece in fusion.pieces():
        if out is None:
            out = np.full(shape, np.nan, piece.values.dtype)
        h, w = piece.values.shape[:2]
        values = piece.values
        if not piece.valid.all():
            values = np.where(piece.valid[..., None], values, np.nan)
        out[piece.row : piece.row + h, piece.column : piece.column + w] = values
    assert out is not None
    return out
