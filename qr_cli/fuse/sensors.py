"""Spectral response functions: by the name of a sensor, as centres and widths.

    r(lambda) = exp(-ln 2 |2 (lambda - c) / w|^6), below 1e-3 set to 0, column sum 1      (ours)
The centres are those of the sensors; widths are full widths at half maximum in nanometres.
"""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qr_cli.errors import UsageError, near

log = logging.getLogger(__name__)
Array = NDArray[np.float64]

SENSORS: dict[str, tuple[tuple[float, float], ...]] = {
    "sentinel2a-10": (
        (492.4, 66), (559.8, 36), (664.6, 31), (704.1, 15), (740.5, 15), (782.8, 20),
        (832.8, 106), (864.7, 21), (1613.7, 91), (2202.4, 175),
    ),
    "sentinel2a": (
        (442.7, 21), (492.4, 66), (559.8, 36), (664.6, 31), (704.1, 15), (740.5, 15),
        (782.8, 20), (832.8, 106), (864.7, 21), (945.1, 20), (1373.5, 31), (1613.7, 91),
        (2202.4, 175),
    ),
    "worldview2": (
        (425, 50), (480, 60), (545, 70), (605, 40), (660, 60), (725, 40), (832.5, 125), (950, 180),
    ),
    "ali": (
        (442, 20), (485, 70), (567, 80), (660, 60), (790, 30), (867.5, 45), (1250, 100),
        (1650, 200), (2215, 270),
    ),
    "rgb": ((460, 70), (540, 90), (620, 80)),
}  # fmt: skip


def response(wavelength_nm: ArrayLike, bands: ArrayLike) -> Array:
    """Return R (L, l) of bands given as rows (centre, width) in nanometres.

    A band that covers no wavelength is dropped with a warning.
    """
    at = np.asarray(wavelength_nm, np.float64)[:, None]
    center, width = np.asarray(bands, np.float64).T
    table = np.exp(-np.log(2) * np.abs(2 * (at - center) / width) ** 6)
    table[table < 1e-3] = 0
    total = table.sum(0)
    for index in np.flatnonzero(total == 0):
        log.warning("the band at %g nm covers no band of the HSI: dropped", center[index])
    return table[:, total > 0] / total[total > 0]


def sensor(name: str) -> tuple[tuple[float, float], ...]:
    """Return the bands of a sensor as (centre, width).

    Raises:
        UsageError: the name is unknown.
    """
    if name not in SENSORS:
        raise UsageError(
            f"--srf: unknown sensor {name!r}{near(name, SENSORS)}",
            hint=f"one of {', '.join(SENSORS)}, or a .csv, .npy or .mat file",
        )
    return SENSORS[name]
