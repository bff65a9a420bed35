"""ENVI headers with their binary file, memory-mapped; bsq, bil and bip."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qr_cli.engine.files import publish, sibling
from qr_cli.errors import DataError, MissingExtra
from qr_cli.fuse.raster import Raster, Transform, Window, nanometres


def open_envi(path: Path) -> Raster:
    """Return the image of an ENVI header.

    Raises:
        DataError: the header or the file beside it cannot be used.
        MissingExtra: the package spectral is not installed.
    """
    try:
        import spectral.io.envi as envi
        from spectral.io.spyfile import FileNotFoundError as NoImage
    except ModuleNotFoundError as error:
        raise MissingExtra("spectral", "fuse") from error
    try:
        image = envi.open(str(path))
        header = image.metadata
        stored = image.open_memmap(interleave="bip", writable=False)
    except (envi.EnviException, NoImage, OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if stored is None:
        raise DataError(f"{path}: its binary file is not there or is cut off")
    if stored.dtype.kind == "c":
        raise DataError(f"{path} holds complex numbers; an image is real")
    rows, columns, bands = stored.shape
    notes: list[str] = []
    wave = header.get("wavelength")
    wavelengths = None
    unit = header.get("wavelength units")
    if wave:
        wavelengths, said = nanometres([float(v) for v in wave], _known(unit), path.name)
        notes += said
    fwhm = header.get("fwhm")
    width = None if not fwhm else nanometres([float(v) for v in fwhm], _known(unit), "")[0]
    factor = header.get("reflectance scale factor")
    nodata = header.get("data ignore value")
    bad = [i for i, v in enumerate(header.get("bbl", [])) if float(v) == 0]
    transform, crs = _place(header)

    def window(where: Window) -> NDArray:
        return np.asarray(stored[where[0] : where[1], where[2] : where[3]])

    return Raster(
        str(path), (rows, columns, bands), stored.dtype.newbyteorder("="), window, wavelengths,
        width, transform, crs, None if nodata is None else float(nodata),
        1 / float(factor) if factor else 1.0, bad=bad, notes=notes,
    )  # fmt: skip


def _known(unit: Any) -> str | None:
    word = str(unit or "").strip().lower()
    return None if word in ("", "unknown", "index") else word


def _place(header: dict[str, Any]) -> tuple[Transform | None, str | None]:
    info = header.get("map info")
    if not info:
        return None, None
    words = [str(word).strip() for word in info]
    x0, y0, east, north, dx, dy = map(float, words[1:7])
    if any(word.lower().startswith("rotation") and _rotation(word) for word in words):
        return (dx, 1e-12, east, 1e-12, -dy, north), None
    transform = (dx, 0.0, east - (x0 - 1) * dx, 0.0, -dy, north + (y0 - 1) * dy)
    text = header.get("coordinate system string")
    if isinstance(text, list):
        text = ",".join(text)
    crs = str(text) if text else None
    if crs is None and words[0].lower() == "utm" and len(words) > 8:
        south = words[8].lower().startswith("s")
        crs = f"EPSG:{32700 + int(words[7]) if south else 32600 + int(words[7])}"
    return transform, crs


def _rotation(word: str) -> float:
    return float(word.partition("=")[2] or 0)


TYPES = {"uint8": 1, "int16": 2, "int32": 3, "float32": 4, "float64": 5, "uint16": 12, "uint32": 13}


class EnviWriter:
    """Writes bsq by windows into hidden siblings; they appear when it is closed."""

    def __init__(
        self, path: Path, shape: tuple[int, int, int], dtype: np.dtype, about: dict[str, Any]
    ) -> None:
        self.path, self.image = path, path.with_suffix(".img")
        self.hidden = [sibling(p) for p in (path, self.image)]
        self.shape, self.dtype, self.about = shape, dtype, about
        rows, columns, bands = shape
        with self.hidden[1].open("wb") as file:  # a map of a file without room would be a bus error
            size = rows * columns * bands * dtype.itemsize
            file.truncate(size)
            if hasattr(os, "posix_fallocate"):  # not on macOS
                os.posix_fallocate(file.fileno(), 0, size)
        self.stored = np.memmap(self.hidden[1], dtype, "r+", shape=(bands, rows, columns))

    def write(self, row: int, column: int, values: NDArray) -> None:
        """Write stored values (h, w, B) at a place."""
        h, w = values.shape[:2]
        self.stored[:, row : row + h, column : column + w] = values.transpose(2, 0, 1)

    def close(self, nodata: float | None) -> None:
        """Finish both files and give them their names."""
        self.stored.flush()
        del self.stored
        self.hidden[0].write_text(self._header(nodata), "utf-8")
        publish(self.hidden[1], self.image)
        publish(self.hidden[0], self.path)

    def abandon(self) -> None:
        """Delete what was begun."""
        for path in self.hidden:
            path.unlink(missing_ok=True)

    def _header(self, nodata: float | None) -> str:
        rows, columns, bands = self.shape
        about = self.about
        lines = [
            "ENVI", "description = {fused by qr}", f"samples = {columns}", f"lines = {rows}",
            f"bands = {bands}", "header offset = 0", "file type = ENVI Standard",
            f"data type = {TYPES[self.dtype.name]}", "interleave = bsq", "byte order = 0",
        ]  # fmt: skip
        if about.get("wavelength_nm") is not None:
            lines += [
                "wavelength units = Nanometers",
                f"wavelength = {_list(about['wavelength_nm'])}",
            ]
        if about.get("fwhm_nm") is not None:
            lines.append(f"fwhm = {_list(about['fwhm_nm'])}")
        scale = about.get("scale", 1.0)
        if isinstance(scale, float) and scale != 1:
            lines.append(f"reflectance scale factor = {1 / scale:.12g}")
        if nodata is not None:
            lines.append(f"data ignore value = {nodata:.12g}")
        if about.get("transform") is not None:
            a, _, c, _, e, f = about["transform"]
            lines.append(f"map info = {{{_projection(about)}, 1, 1, {c!r}, {f!r}, {a!r}, {-e!r}}}")
        if about.get("crs"):
            lines.append(f"coordinate system string = {{{about['crs']}}}")
        return "\n".join(lines) + "\n"


def _projection(about: dict[str, Any]) -> str:
    return "Geographic Lat/Lon" if str(about.get("crs", "")).startswith("GEOG") else "Arbitrary"


def _list(values: Any) -> str:
    return "{" + ", ".join(json.dumps(round(float(v), 6)) for v in values) + "}"
