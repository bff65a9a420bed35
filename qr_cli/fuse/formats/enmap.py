"""EnMAP and DESIS L2A: a GeoTIFF and its metadata; gains, wavelengths, quality masks.

The paths in the metadata are those of the products' documentation, checked on generated files only.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as Xml
from dataclasses import replace
from pathlib import Path

import numpy as np

from qr_cli.errors import DataError
from qr_cli.fuse.formats.geotiff import open_tiff
from qr_cli.fuse.raster import Raster

NODATA = -32768.0


def metadata_of(path: Path) -> Path | None:
    """Return the metadata beside a spectral image, if it is one."""
    if "SPECTRAL_IMAGE" not in path.name.upper():
        return None
    head = re.split("SPECTRAL_IMAGE", path.name, flags=re.IGNORECASE)[0]
    return next(iter(sorted(path.parent.glob(f"{head}METADATA*.[xX][mM][lL]"))), None)


def open_enmap(path: Path, metadata: Path) -> Raster:
    """Return the spectral image with what its metadata says."""
    raster = open_tiff(path)
    try:
        root = Xml.parse(metadata).getroot()
    except (Xml.ParseError, OSError) as error:
        raise DataError(f"{metadata} cannot be read: {error}") from error
    bands = [item for item in root.iter() if _name(item) == "bandID"]
    if not bands:
        bands = [item for item in root.iter() if _name(item) == "band"]
    table = [[_number(b, n) for n in _FIELDS] for b in bands]
    if len(table) != raster.shape[2]:
        raise DataError(f"{metadata} describes {len(table)} bands, {path} has {raster.shape[2]}")
    wave, width, gain, offset = (np.array(column, float) for column in zip(*table, strict=True))
    known = np.isfinite(gain).all()
    return replace(
        raster,
        wavelength_nm=wave if np.isfinite(wave).all() else None,
        fwhm_nm=width if np.isfinite(width).all() else None,
        scale=gain if known else raster.scale,
        offset=np.nan_to_num(offset) if known else raster.offset,
        nodata=NODATA if raster.nodata is None else raster.nodata,
    )


def quality_masks(path: Path) -> list[Path]:
    """Return the quality layers beside a spectral image that mark cloud, shadow, haze, snow."""
    head = re.split("SPECTRAL_IMAGE", path.name, flags=re.IGNORECASE)[0]
    words = ("CLOUD", "CLOUDSHADOW", "HAZE", "CIRRUS", "SNOW")
    found = (p for word in words for p in path.parent.glob(f"{head}QL_QUALITY_{word}.[tT][iI][fF]"))
    return sorted(set(found))


_FIELDS = ("wavelengthCenterOfBand", "FWHMOfBand", "GainOfBand", "OffsetOfBand")
_ALSO = {
    "wavelengthCenterOfBand": "wavelengthCentreOfBand",
    "FWHMOfBand": "wavelengthWidthOfBand",
    "GainOfBand": "gainOfBand",
    "OffsetOfBand": "offsetOfBand",
}


def _name(item: Xml.Element) -> str:
    return item.tag.rpartition("}")[2]


def _number(band: Xml.Element, field: str) -> float:
    for item in band.iter():
        if _name(item) in (field, _ALSO[field]) and item.text:
            return float(item.text)
    return np.nan
