"""A raster: shape, values by window, and what is known about its bands and its place.

Every reader returns a `Raster`. `read` gives physical values (value = DN * scale + offset), NaN
where there is no data. A transform is (a, b, c, d, e, f), at pixel corners:
x = a column + b row + c, y = d column + e row + f.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qr_cli.engine.damage import damaged
from qr_cli.errors import DataError

Window = tuple[int, int, int, int]  # first row, end row, first column, end column
Transform = tuple[float, float, float, float, float, float]
Array = NDArray[Any]  # of floats


@dataclass(frozen=True, eq=False)
class Raster:
    """An image that is read by windows.

    Attributes:
        path: where it is from, for messages.
        shape: rows, columns, bands.
        dtype: of the stored values.
        window: reads stored values of a window, (rows, columns, bands of the file).
        wavelength_nm: centre of each band.
        fwhm_nm: width of each band.
        transform: of its georeference.
        crs: as WKT.
        nodata: stored value that means no data.
        scale: factor of the stored values; one, or one per band.
        offset: added after the factor.
        picked: indices of the file's bands that count; None: all.
        bad: bands that the file itself calls bad, indices of the file.
        notes: what a reader had to decide.
        in_memory: how much of it is in memory already.
    """

    path: str
    shape: tuple[int, int, int]
    dtype: np.dtype
    window: Callable[[Window], NDArray]
    wavelength_nm: Array | None = None
    fwhm_nm: Array | None = None
    transform: Transform | None = None
    crs: str | None = None
    nodata: float | None = None
    scale: float | Array = 1.0
    offset: float | Array = 0.0
    picked: NDArray[np.intp] | None = None
    bad: Sequence[int] = ()
    notes: Sequence[str] = ()
    in_memory: bool = False
    extra: dict[str, object] = field(default_factory=dict)

    def read(self, window: Window | None = None) -> Array:
        """Return physical values of a window, NaN where there is no data."""
        where = window or (0, self.shape[0], 0, self.shape[1])
        with damaged(self.path):
            raw = self.window(where)
        if self.picked is not None:
            raw = raw[..., self.picked]
        values: Array = raw.astype(np.float64 if self.small else np.float32)
        missing = ~np.isfinite(values)
        if self.nodata is not None and np.isfinite(self.nodata):
            missing |= raw == self.nodata
        if not (np.isscalar(self.scale) and self.scale == 1):
            values *= np.asarray(self.scale, values.dtype)
        if not (np.isscalar(self.offset) and self.offset == 0):
            values += np.asarray(self.offset, values.dtype)
        values[missing] = np.nan
        return values

    @property
    def small(self) -> bool:
        """Tell whether double precision is affordable."""
        return int(np.prod(self.shape)) <= 40_000_000

    def pick(self, bands: Sequence[int] | NDArray[np.intp]) -> Raster:
        """Return the raster with some of its bands, in this order."""
        chosen = np.asarray(bands, np.intp)
        held = chosen if self.picked is None else self.picked[chosen]

        def part(values: float | Array | None) -> float | Array | None:
            return values[chosen] if isinstance(values, np.ndarray) and values.ndim else values

        return replace(
            self,
            shape=(*self.shape[:2], len(chosen)),
            picked=held,
            wavelength_nm=part(self.wavelength_nm),  # type: ignore[arg-type]
            fwhm_nm=part(self.fwhm_nm),  # type: ignore[arg-type]
            scale=part(self.scale),  # type: ignore[arg-type]
            offset=part(self.offset),  # type: ignore[arg-type]
        )

    @property
    def north_up(self) -> bool:
        """Tell whether rows run south and columns east."""
        t = self.transform
        return t is not None and t[1] == 0 and t[3] == 0 and t[0] > 0 and t[4] < 0

    def extent(self) -> tuple[float, float, float, float]:
        """Return left, bottom, right, top."""
        assert self.transform is not None
        a, _, c, _, e, f = self.transform
        return c, f + e * self.shape[0], c + a * self.shape[1], f


def from_array(
    values: ArrayLike,
    *,
    path: str = "array",
    wavelength_nm: ArrayLike | None = None,
    fwhm_nm: ArrayLike | None = None,
    scale: float = 1.0,
    nodata: float | None = None,
    transform: Transform | None = None,
    crs: str | None = None,
    notes: Sequence[str] = (),
) -> Raster:
    """Return a raster of an array (H, W, B), or (H, W) for one band.

    Raises:
        DataError: it is no real image.
    """
    array = np.asarray(values)
    if array.ndim == 2:
        array = array[..., None]
    check_array(array, path)
    wave = None if wavelength_nm is None else np.asarray(wavelength_nm, np.float64).ravel()
    width = None if fwhm_nm is None else np.asarray(fwhm_nm, np.float64).ravel()

    def window(where: Window) -> NDArray:
        return array[where[0] : where[1], where[2] : where[3]]

    height, columns, bands = array.shape
    return Raster(
        path, (height, columns, bands), array.dtype, window, wave, width, transform, crs, nodata,
        scale, notes=notes, in_memory=True,
    )  # fmt: skip


def check_array(array: NDArray, path: str) -> None:
    """Raise `DataError` for what cannot be an image."""
    if array.dtype.kind == "c":
        raise DataError(f"{path} holds complex numbers; an image is real")
    if array.dtype.kind not in "buif":
        raise DataError(f"{path} holds {array.dtype}, not numbers")
    if array.ndim != 3:
        raise DataError(f"{path} holds an array of {array.ndim} dimensions, expected 3")
    if not array.size:
        raise DataError(f"{path} holds an empty array {array.shape}")


def nanometres(
    values: ArrayLike, units: str | None, path: str
) -> tuple[NDArray[np.float64], list[str]]:
    """Return wavelengths in nanometres and what was done; no units and below 100: micrometres."""
    wave = np.asarray(values, np.float64).ravel()
    word = (units or "").strip().lower()
    micro = word in ("micrometers", "micrometer", "um", "µm", "microns", "micrometres")
    if micro or (not word and wave.size and np.nanmax(wave) < 100):
        return wave * 1000, [f"{path}: wavelengths in micrometres, converted"]
    return wave, []
