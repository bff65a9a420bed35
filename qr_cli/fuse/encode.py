"""From physical values to stored ones: type, scale, offset, nodata."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qr_cli.fuse.raster import Raster


@dataclass(frozen=True, eq=False)
class Encoding:
    """How an output is stored.

    Attributes:
        dtype: of the stored values.
        scale: value = stored * scale + offset.
        offset: added after the factor.
        nodata: stored where there is no data.
        declared: whether the HSI had a nodata value, so that the output has it in any case.
    """

    dtype: np.dtype
    scale: float | NDArray
    offset: float | NDArray
    nodata: float
    declared: bool

    def stored(self, values: NDArray, valid: NDArray[np.bool_]) -> NDArray:
        """Return stored values of (h, w, L), rounded and clipped to the type."""
        kind = values.dtype if values.dtype.kind == "f" else np.dtype(np.float64)
        out = (values - np.asarray(self.offset, kind)) / np.asarray(self.scale, kind)
        if self.dtype.kind in "ui":
            info = np.iinfo(self.dtype)
            out = np.clip(np.rint(out), info.min, info.max)
            if self.declared:  # no value may look like nodata
                out[out == self.nodata] = self.nodata + (1 if self.nodata < info.max else -1)
        out = out.astype(self.dtype)
        out[~valid] = self.nodata
        return out


def encoding(hsi: Raster, dtype: str) -> Encoding:
    """Return how the output of a HSI is stored; "same": as the HSI, else as 32-bit floats."""
    declared = hsi.nodata is not None
    if dtype == "float32":
        fill = float(hsi.nodata) if declared and hsi.nodata is not None else float("nan")
        return Encoding(np.dtype(np.float32), 1.0, 0.0, fill, declared)
    kind = np.dtype(hsi.dtype.newbyteorder("="))
    if kind.kind == "b":
        kind = np.dtype(np.uint8)
    if hsi.nodata is not None:
        fill = float(hsi.nodata)
    else:
        fill = float("nan") if kind.kind == "f" else 0.0
    return Encoding(kind, hsi.scale, hsi.offset, fill, declared)
