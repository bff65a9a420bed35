"""GeoTIFF and whatever else GDAL reads by windows (JP2, VRT), through rasterio."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qr_cli.engine.files import publish, sibling
from qr_cli.errors import DataError, EnvironmentFault, MissingExtra, UsageError
from qr_cli.fuse.raster import Array, Raster, Transform, Window, nanometres

NUMBER = re.compile(r"(\d+(?:\.\d+)?)\s*(nm|nanometers?|um|µm|micrometers?)", re.IGNORECASE)
BLOCK = 256
CACHE_MB = "128"


def require_rasterio() -> Any:
    """Return the package.

    Raises:
        MissingExtra: it is not installed.
    """
    os.environ.setdefault("GDAL_CACHEMAX", CACHE_MB)  # else 5 % of the machine's memory
    try:
        import rasterio
    except ModuleNotFoundError as error:
        raise MissingExtra("rasterio", "fuse") from error
    return rasterio


def open_tiff(path: Path) -> Raster:
    """Return the raster of a file that GDAL reads.

    Raises:
        DataError: it cannot be read.
        MissingExtra: rasterio is not installed.
    """
    rasterio = require_rasterio()
    with _faults(path), _quiet(rasterio):
        file = rasterio.open(path, driver=_driver(path))
    _check_size(file, path)
    if np.dtype(file.dtypes[0]).kind == "c":
        raise DataError(f"{path} holds complex numbers; an image is real")
    notes: list[str] = []
    wave, width = _bands(file, path.name, notes)
    placed = file.crs is not None or file.transform != rasterio.Affine.identity()
    transform: Transform | None = tuple(file.transform)[:6] if placed else None
    nodata = file.nodatavals[0] if file.nodatavals[0] is not None else None
    masked = any("per_dataset" in [flag.name for flag in flags] for flags in file.mask_flag_enums)

    def window(where: Window) -> NDArray:
        place = rasterio.windows.Window(
            where[2], where[0], where[3] - where[2], where[1] - where[0]
        )
        with _faults(path):
            values = file.read(window=place)
            if masked:
                values = np.where(file.dataset_mask(window=place)[None] > 0, values, np.nan)
        return values.transpose(1, 2, 0)

    scales, offsets = np.array(file.scales), np.array(file.offsets)
    return Raster(
        str(path), (file.height, file.width, file.count), np.dtype(file.dtypes[0]), window, wave,
        width, transform, file.crs.to_wkt() if file.crs else None, nodata,
        float(scales[0]) if (scales == scales[0]).all() else scales,
        float(offsets[0]) if (offsets == offsets[0]).all() else offsets,
        notes=notes,
    )  # fmt: skip


DRIVERS = {  # by suffix: GDAL tries every other one on any file, and some open the network
    ".jp2": "JP2OpenJPEG",
    ".vrt": "VRT",
    ".img": "HFA",
}
ELSEWHERE = re.compile(
    rb"/vsi(?!mem|zip|tar|gzip)|://|<PixelFunctionLanguage>|<SourceTransferType>"
)
UNFOLD, FREE = 2000, 64 * 2**20  # what a byte can unfold into, and bytes that are never too many


def _driver(path: Path) -> str:
    """Return which of GDAL's drivers reads a file.

    Raises:
        DataError: it is a VRT that names sources beyond this machine, or code.
    """
    if path.suffix.lower() == ".vrt":
        found = ELSEWHERE.search(path.read_bytes())
        if found:
            raise DataError(
                f"{path} names {found[0].decode()!r}; a VRT of files on this machine is read",
                hint="fetch its sources and write it again (gdalbuildvrt)",
            )
    return DRIVERS.get(path.suffix.lower(), "GTiff")


def _check_size(file: Any, path: Path) -> None:
    """Refuse a header that says far more than the file can hold."""
    if path.suffix.lower() == ".vrt":
        return
    needed = file.width * file.height * sum(np.dtype(kind).itemsize for kind in file.dtypes)
    size = path.stat().st_size
    if needed > max(FREE, UNFOLD * size):
        raise DataError(f"{path} is said to hold {needed:,} bytes in {size:,}; it is damaged")


@contextmanager
def _quiet(rasterio: Any) -> Iterator[None]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        yield


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    rasterio = require_rasterio()
    try:
        yield
    except (rasterio.errors.RasterioError, rasterio._err.CPLE_BaseError) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise EnvironmentFault(
            f"cannot write {path}: {reason}; is the disk full?",
            hint="make room, or write elsewhere: --out",
        ) from error


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    rasterio = require_rasterio()
    try:
        yield
    except (rasterio.errors.RasterioIOError, rasterio.errors.RasterioError) as error:
        raise DataError(f"{path} cannot be read: {' '.join(str(error).split())}") from error


def _bands(file: Any, name: str, notes: list[str]) -> tuple[Any, Any]:
    """Return wavelengths and widths from tags, the IMAGERY domain, or band descriptions."""
    wave, width = [], []
    for band in range(1, file.count + 1):
        tags = file.tags(band)
        imagery = file.tags(band, ns="IMAGERY")
        text = file.descriptions[band - 1] or ""
        found = NUMBER.search(text)
        if "wavelength" in tags:
            unit = tags.get("wavelength_units")
            wave.append(nanometres(float(tags["wavelength"]), unit, name)[0][0])
            width.append(float(tags["fwhm"]) if "fwhm" in tags else np.nan)
        elif "CENTRAL_WAVELENGTH_UM" in imagery:
            wave.append(1000 * float(imagery["CENTRAL_WAVELENGTH_UM"]))
            width.append(1000 * float(imagery.get("FWHM_UM", "nan")))
        elif found:
            factor = 1 if found[2].lower().startswith("n") else 1000
            wave.append(float(found[1]) * factor)
            width.append(np.nan)
        else:
            return None, None
    return np.array(wave), np.array(width) if np.isfinite(width).all() else None


def open_stack(paths: list[Path]) -> Raster:
    """Return several single-band files of one size as one raster."""
    parts = [open_tiff(path) for path in paths]
    first = parts[0]
    for part in parts[1:]:
        if part.shape[:2] != first.shape[:2]:
            raise DataError(
                f"{part.path} is {part.shape[0]} x {part.shape[1]}, {first.path} is "
                f"{first.shape[0]} x {first.shape[1]}",
                hint="give files of one size, or resample them first",
            )

    def window(where: Window) -> NDArray:
        return np.concatenate([part.window(where) for part in parts], -1)

    waves = [part.wavelength_nm for part in parts if part.wavelength_nm is not None]
    known: Array | None = np.concatenate(waves) if len(waves) == len(parts) else None
    bands = sum(part.shape[2] for part in parts)
    return Raster(
        ",".join(map(str, paths)), (*first.shape[:2], bands), first.dtype, window, known, None,
        first.transform, first.crs, first.nodata, first.scale, first.offset,
    )  # fmt: skip


def reproject(raster: Raster, to: Raster, ratio_hint: float | None = None) -> Raster:
    """Return the raster on the CRS of another one, cubic; its pixel size stays about the same.

    Raises:
        DataError: either has no CRS.
        UsageError: it is not a file that GDAL reads.
    """
    rasterio = require_rasterio()
    from rasterio.vrt import WarpedVRT

    if raster.crs is None or to.crs is None:
        raise DataError("--reproject: both images need a CRS")
    with _faults(Path(raster.path)):
        source = _source(rasterio, raster)
        vrt = WarpedVRT(
            source, crs=to.crs, resampling=rasterio.enums.Resampling.cubic,
            src_nodata=raster.nodata, nodata=raster.nodata if raster.nodata is not None else None,
        )  # fmt: skip

    def window(where: Window) -> NDArray:
        place = rasterio.windows.Window(
            where[2], where[0], where[3] - where[2], where[1] - where[0]
        )
        with _faults(Path(raster.path)):
            return vrt.read(window=place).transpose(1, 2, 0)

    return Raster(
        raster.path, (vrt.height, vrt.width, raster.shape[2]), raster.dtype, window,
        raster.wavelength_nm, raster.fwhm_nm, tuple(vrt.transform)[:6], to.crs, raster.nodata,
        raster.scale, raster.offset, raster.picked, raster.bad,
    )  # fmt: skip


def _source(rasterio: Any, raster: Raster) -> Any:
    """Return the raster as an open data set; what GDAL does not read is copied into memory."""
    if Path(raster.path).suffix.lower() in TIFF_LIKE:
        return rasterio.open(raster.path, driver=_driver(Path(raster.path)))
    from rasterio.io import MemoryFile

    values = raster.window((0, raster.shape[0], 0, raster.shape[1]))
    memory = MemoryFile().open(
        driver="GTiff", height=values.shape[0], width=values.shape[1], count=values.shape[2],
        dtype=values.dtype, crs=raster.crs, transform=rasterio.Affine(*(raster.transform or ())),
        nodata=raster.nodata,
    )  # fmt: skip
    memory.write(values.transpose(2, 0, 1))
    return memory


TIFF_LIKE = (".tif", ".tiff", ".jp2", ".vrt", ".hdr", ".img")


class TiffWriter:
    """Writes windows into a hidden sibling; the file appears when it is closed."""

    def __init__(
        self,
        path: Path,
        shape: tuple[int, int, int],
        dtype: np.dtype,
        about: dict[str, Any],
        *,
        compress: str = "deflate",
    ) -> None:
        rasterio = require_rasterio()
        self.path = path
        self.hidden = sibling(path)
        if dtype.name not in rasterio.dtypes.dtype_rev and dtype.name != "bool":
            raise UsageError(f"--dtype: GeoTIFF holds no {dtype}", hint="--dtype float32")
        self.file: Any = None
        begun = False
        try:
            self._open(shape, dtype, about, compress)
            begun = True
        finally:
            if not begun:  # Ctrl-C while GDAL makes the file
                self.abandon()

    def _open(
        self, shape: tuple[int, int, int], dtype: np.dtype, about: dict[str, Any], compress: str
    ) -> None:
        rasterio = require_rasterio()
        rows, columns, bands = shape
        place = about.get("transform")
        extra = {} if compress == "none" else {"predictor": 3 if dtype.kind == "f" else 2}
        tiled = min(rows, columns) >= 16
        block = about.get("block", BLOCK)
        side = {"blockxsize": block, "blockysize": block} if tiled else {}
        with _refusals(self.path), _quiet(rasterio):
            self.file = rasterio.open(
                self.hidden, "w", driver="GTiff", height=rows, width=columns, count=bands,
                dtype=dtype.name, crs=about.get("crs"), tiled=tiled, compress=compress,
                BIGTIFF="IF_SAFER", nodata=about.get("nodata"), interleave="band",
                transform=rasterio.Affine(*place) if place else None, **side, **extra,
            )  # fmt: skip
        self._describe(about, bands)

    def _describe(self, about: dict[str, Any], bands: int) -> None:
        wave, width = about.get("wavelength_nm"), about.get("fwhm_nm")
        for band in range(1, bands + 1):
            if wave is not None:
                at = float(wave[band - 1])
                self.file.set_band_description(band, f"band {band} ({at:.1f} nm)")
                tags = {"wavelength": f"{at:.6g}", "wavelength_units": "nanometers"}
                imagery = {"CENTRAL_WAVELENGTH_UM": f"{at / 1000:.6g}"}
                if width is not None:
                    tags["fwhm"] = f"{float(width[band - 1]):.6g}"
                    imagery["FWHM_UM"] = f"{float(width[band - 1]) / 1000:.6g}"
                self.file.update_tags(band, **tags)
                self.file.update_tags(band, ns="IMAGERY", **imagery)
        scale, offset = about.get("scale", 1.0), about.get("offset", 0.0)
        self.file.scales = np.broadcast_to(scale, bands).tolist()
        self.file.offsets = np.broadcast_to(offset, bands).tolist()

    def write(self, row: int, column: int, values: NDArray) -> None:
        """Write stored values (h, w, B) at a place."""
        from rasterio.windows import Window as Place

        h, w = values.shape[:2]
        with _refusals(self.path):
            self.file.write(values.transpose(2, 0, 1), window=Place(column, row, w, h))

    def close(self, nodata: float | None) -> None:
        """Finish the file and give it its name."""
        if nodata is not None and self.file.nodata is None:
            self.file.nodata = nodata
        with _refusals(self.path):
            self.file.close()
            self._require_whole()
        publish(self.hidden, self.path)

    def _require_whole(self) -> None:
        """Raise where a block is missing: GDAL does not say that a disk was full as it closed."""
        size = self.hidden.stat().st_size
        rasterio = require_rasterio()
        with _quiet(rasterio), rasterio.open(self.hidden) as file:
            for band in file.indexes:
                for (row, column), _ in file.block_windows(band):
                    place = f"{column}_{row}"
                    ends = [
                        int(file.get_tag_item(f"BLOCK_{what}_{place}", "TIFF", bidx=band) or -1)
                        for what in ("OFFSET", "SIZE")
                    ]
                    if min(ends) < 0 or sum(ends) > size:
                        raise rasterio.errors.RasterioIOError(
                            f"block {place} of band {band} is missing"
                        )

    def abandon(self) -> None:
        """Delete what was begun."""
        if self.file is not None:
            self.file.close()
        self.hidden.unlink(missing_ok=True)
