"""Small copies of a fusion for pictures: three bands of each image, one zoom, six spectra."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qr_cli.fuse.grid import Array
from qr_cli.fuse.scene import Scene
from qr_cli.fuse.tiling import Piece

TRUE_NM = (640.0, 550.0, 460.0)
LONGEST = 768  # pixels of the longer side of a picture
ZOOM = 64  # HR pixels of the zoom
POINTS = 6


@dataclass
class Preview:
    """Three-band copies on a thinned HR grid, and what was seen at some points.

    Attributes:
        scene: of the fusion.
        bands: HSI bands shown as red, green, blue.
        true_color: whether they are near 640, 550, 460 nm.
        step: HR pixels per picture pixel.
        fused: (H, W, 3), NaN where nothing is.
        corner: first HR pixel of the zoom.
        zoom: fused, (64, 64, 3).
        points: HR pixels whose spectra are kept.
        spectra: (points, L).
        error: uncertainty on the picture's grid, where it was computed.
    """

    scene: Scene
    bands: tuple[int, int, int]
    true_color: bool
    step: int
    fused: Array
    corner: tuple[int, int]
    zoom: Array
    points: list[tuple[int, int]]
    spectra: Array
    error: Array | None = None

    @classmethod
    def of(cls, scene: Scene) -> Preview:
        """Return an empty preview of a scene, its places chosen."""
        bands, true_color = shown_bands(scene)
        height, width = scene.rows.high, scene.columns.high
        step = max(1, -(-max(height, width) // LONGEST))
        shape = (-(-height // step), -(-width // step), 3)
        side = min(ZOOM, height, width)
        corner, points = _places(scene, side)
        return cls(
            scene, bands, true_color, step, np.full(shape, np.nan, np.float32), corner,
            np.full((side, side, 3), np.nan, np.float32), points,
            np.full((len(points), scene.hsi.shape[2]), np.nan),
        )  # fmt: skip

    def take(self, piece: Piece) -> None:
        """Take what a tile holds of the pictures."""
        values = piece.values[..., list(self.bands)].astype(np.float32)
        values[~piece.valid] = np.nan
        h, w = values.shape[:2]
        rows = np.arange(-(-piece.row // self.step) * self.step, piece.row + h, self.step)
        columns = np.arange(-(-piece.column // self.step) * self.step, piece.column + w, self.step)
        self.fused[(rows // self.step)[:, None], columns // self.step] = values[
            (rows - piece.row)[:, None], columns - piece.column
        ]
        if piece.extra is not None:
            if self.error is None:
                self.error = np.full(self.fused.shape[:2], np.nan, np.float32)
            spread = np.sqrt((piece.extra**2).mean(-1))
            self.error[(rows // self.step)[:, None], columns // self.step] = spread[
                (rows - piece.row)[:, None], columns - piece.column
            ]
        a, b = self.corner[0] - piece.row, self.corner[1] - piece.column
        side = len(self.zoom)
        r0, r1, c0, c1 = max(a, 0), min(a + side, h), max(b, 0), min(b + side, w)
        if r0 < r1 and c0 < c1:
            self.zoom[r0 - a : r1 - a, c0 - b : c1 - b] = values[r0:r1, c0:c1]
        for index, (u, v) in enumerate(self.points):
            if 0 <= u - piece.row < h and 0 <= v - piece.column < w:
                self.spectra[index] = piece.values[u - piece.row, v - piece.column]

    def hsi(self, zoom: bool = False) -> Array:
        """Return the HSI on the same picture grid, nearest pixels."""
        rows, columns = self._grid(zoom)
        scene = self.scene
        i = np.clip(scene.rows.owner()[rows], 0, scene.rows.low - 1)
        j = np.clip(scene.columns.owner()[columns], 0, scene.columns.low - 1)
        values, mask = scene.read_low(int(i[0]), int(i[-1]) + 1, int(j[0]), int(j[-1]) + 1)
        at = (i - i[0])[:, None], (j - j[0])[None, :]
        out = (values[..., list(self.bands)] * scene.q_y)[at]
        out[~mask[at]] = np.nan
        return out

    def msi(self, zoom: bool = False) -> Array:
        """Return three MSI bands on the same picture grid."""
        rows, columns = self._grid(zoom)
        scene = self.scene
        out = np.empty((len(rows), len(columns), 3))
        chosen = msi_bands(scene)
        for start in range(0, len(rows), 64):  # thinned by strips: never the whole image
            part = rows[start : start + 64]
            values, mask = scene.read_high(
                int(part[0]), int(part[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
            )
            at = (part - part[0])[:, None], (columns - columns[0])[None, :]
            piece = (values[..., chosen] * scene.q_z)[at]
            piece[~mask[at]] = np.nan
            out[start : start + 64] = piece
        return out

    def _grid(self, zoom: bool) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        if zoom:
            side = len(self.zoom)
            return self.corner[0] + np.arange(side), self.corner[1] + np.arange(side)
        scene = self.scene
        return np.arange(0, scene.rows.high, self.step), np.arange(0, scene.columns.high, self.step)


def shown_bands(scene: Scene) -> tuple[tuple[int, int, int], bool]:
    """Return the HSI bands of a picture, and whether they are true colour."""
    wave = scene.hsi.wavelength_nm
    count = scene.hsi.shape[2]
    if wave is not None and all(np.abs(wave - at).min() < 40 for at in TRUE_NM):
        found = [int(np.abs(wave - at).argmin()) for at in TRUE_NM]
        return (found[0], found[1], found[2]), True
    return (int(0.75 * (count - 1)), count // 2, count // 4), False


def msi_bands(scene: Scene) -> list[int]:
    """Return the MSI bands of a picture: those best explained by the shown HSI bands' order."""
    wave = scene.msi.wavelength_nm
    count = scene.msi.shape[2]
    if wave is not None and all(np.abs(wave - at).min() < 60 for at in TRUE_NM):
        return [int(np.abs(wave - at).argmin()) for at in TRUE_NM]
    if count >= 3:
        return [2, 1, 0]
    return [count - 1, 0, 0] if count == 2 else [0, 0, 0]


def _places(scene: Scene, side: int) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """Return the most structured window, and six points that differ (k-means of MSI pixels)."""
    height, width = scene.rows.high, scene.columns.high
    u0, v0 = max((height - 512) // 2, 0), max((width - 512) // 2, 0)
    u1, v1 = min(u0 + 512, height), min(v0 + 512, width)
    z, mask = scene.read_high(u0, u1, v0, v1)
    gray = np.where(mask, z.mean(-1), 0)
    energy = np.zeros(gray.shape)
    energy[:-1, :-1] = np.abs(np.diff(gray, axis=0))[:, :-1] + np.abs(np.diff(gray, axis=1))[:-1]
    table = np.zeros((gray.shape[0] + 1, gray.shape[1] + 1))
    table[1:, 1:] = energy.cumsum(0).cumsum(1)
    total = (
        table[side:, side:] - table[:-side, side:] - table[side:, :-side] + table[:-side, :-side]
    )
    i, j = np.unravel_index(int(total.argmax()), total.shape)
    corner = (u0 + int(i), v0 + int(j))
    rows, columns = np.nonzero(mask)
    pick = np.linspace(0, len(rows) - 1, min(len(rows), 4000)).astype(np.intp)
    pixels = z[rows[pick], columns[pick]].astype(np.float64)
    at = _distinct(pixels)
    return corner, [(u0 + int(rows[pick[k]]), v0 + int(columns[pick[k]])) for k in at]


def _distinct(pixels: Array) -> list[int]:
    """Return the pixels nearest to k-means centres, started from far apart; no randomness."""
    count = min(POINTS, len(pixels))
    scaled = pixels / np.maximum(pixels.std(0), 1e-12)
    chosen = [int(((scaled - scaled.mean(0)) ** 2).sum(1).argmin())]
    gap = ((scaled - scaled[chosen[0]]) ** 2).sum(1)
    while len(chosen) < count:
        chosen.append(int(gap.argmax()))
        gap = np.minimum(gap, ((scaled - scaled[chosen[-1]]) ** 2).sum(1))
    centers = scaled[chosen]
    for _ in range(20):
        distance = ((scaled[:, None] - centers[None]) ** 2).sum(2)
        owner = distance.argmin(1)
        centers = np.stack(
            [scaled[owner == k].mean(0) if (owner == k).any() else centers[k] for k in range(count)]
        )
    distance = ((scaled[:, None] - centers[None]) ** 2).sum(2)
    return sorted({int(k) for k in distance.argmin(0)})
