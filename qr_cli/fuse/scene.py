"""Two rasters over the same ground: where they meet, how their grids relate, pieces in memory.

Inside a method the HSI is divided by q_y and the MSI by q_z, the 99.99 % quantiles of a sample
(ours); results are multiplied back. Everything is read by windows.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qr_cli.errors import DataError
from qr_cli.fuse.block import Block
from qr_cli.fuse.grid import Array, Axis
from qr_cli.fuse.raster import Raster

log = logging.getLogger(__name__)
Mask = NDArray[np.bool_]
QUANTILE = 0.9999
SAMPLE = 20_000  # LR pixels; scenes up to this size are one block
SIDE, COUNT, RING = 64, 5, 3  # of sample blocks in LR pixels; RING is read around each
LEAST_RATIO, LEAST_PIXELS, LEAST_SIDE = 1.2, 64, 8
DIFFER = 0.01  # by which the ratios of rows and columns may differ


@dataclass(frozen=True, eq=False)
class Scene:
    """A pair of rasters and how they lie.

    Attributes:
        hsi: LR raster, bands chosen.
        msi: HR raster.
        rows: the grids along rows, over the common area.
        columns: the grids along columns.
        low_start: first row and column of the common area in the HSI.
        high_start: first row and column of the common area in the MSI.
        bad_low: pixels of the HSI that a mask calls bad.
        bad_high: pixels of the MSI that a mask calls bad.
        q_y: the scale of the HSI.
        q_z: the scale of the MSI.
        fill_y: mean of each HSI band, scaled.
        fill_z: mean of each MSI band, scaled.
    """

    hsi: Raster
    msi: Raster
    rows: Axis
    columns: Axis
    low_start: tuple[int, int]
    high_start: tuple[int, int]
    bad_low: Mask | None = None
    bad_high: Mask | None = None
    q_y: float = 1.0
    q_z: float = 1.0
    fill_y: Array | None = None
    fill_z: Array | None = None

    @property
    def ratio(self) -> float:
        """Return HR pixels per LR pixel, the mean of both axes."""
        return (self.rows.ratio + self.columns.ratio) / 2

    @property
    def small(self) -> bool:
        """Tell whether the scene is one block."""
        return self.rows.low * self.columns.low <= SAMPLE

    def read_low(self, i0: int, i1: int, j0: int, j1: int) -> tuple[Array, Mask]:
        """Return scaled HSI values of LR pixels, filled, and their mask."""
        r, c = self.low_start
        values = self.hsi.read((r + i0, r + i1, c + j0, c + j1))
        return self._filled(values, self.bad_low, (r + i0, c + j0), self.q_y, self.fill_y)

    def read_high(self, u0: int, u1: int, v0: int, v1: int) -> tuple[Array, Mask]:
        """Return scaled MSI values of HR pixels, filled, and their mask."""
        r, c = self.high_start
        values = self.msi.read((r + u0, r + u1, c + v0, c + v1))
        return self._filled(values, self.bad_high, (r + u0, c + v0), self.q_z, self.fill_z)

    def _filled(
        self,
        values: Array,
        bad: Mask | None,
        start: tuple[int, int],
        quantile: float,
        fill: Array | None,
    ) -> tuple[Array, Mask]:
        values = values / values.dtype.type(quantile)
        mask = np.asarray(np.isfinite(values).all(-1))
        if bad is not None:
            h, w = mask.shape
            mask &= ~bad[start[0] : start[0] + h, start[1] : start[1] + w]
        if not mask.all():
            if fill is None:
                some = values[mask]
                fill = some.mean(0) if len(some) else np.zeros(values.shape[2])
            values[~mask] = fill
        return values, mask

    def block(self, i0: int, i1: int, j0: int, j1: int) -> tuple[Block, tuple[int, int]]:
        """Return LR pixels i0..i1, j0..j1, the MSI over them, and where their HR part begins."""
        rows, u0, u1 = self.rows.window(i0, i1)
        columns, v0, v1 = self.columns.window(j0, j1)
        y, low = self.read_low(i0, i1, j0, j1)
        z, high = self.read_high(u0, u1, v0, v1)
        if y.dtype != z.dtype:
            kind = np.result_type(y, z)
            y, z = y.astype(kind), z.astype(kind)
        return Block(y, z, rows, columns, low, high), (u0, v0)

    def whole(self) -> Block:
        """Return the whole scene as one block."""
        return self.block(0, self.rows.low, 0, self.columns.low)[0]

    def sample(
        self, *, seed: int = 0, most: int = SAMPLE, side: int = SIDE, count: int = COUNT
    ) -> tuple[list[Block], list[tuple[int, int]]]:
        """Return blocks for fits: the whole scene if it is small, else seeded places.

        A sampled block carries a ring of pixels whose footprints leave it; fits do not use them.
        """
        h, w = self.rows.low, self.columns.low
        if h * w <= most:
            return [self.whole()], [(0, 0)]
        generator = np.random.default_rng(seed)
        places = [(i, j) for i in range(max(h // side, 1)) for j in range(max(w // side, 1))]
        blocks: list[Block] = []
        phases: list[tuple[int, int]] = []
        for index in generator.permutation(len(places))[: 4 * count]:
            i, j = (place * side for place in places[index])
            i0, i1 = max(i - RING, 0), min(i + side + RING, h)
            j0, j1 = max(j - RING, 0), min(j + side + RING, w)
            block, phase = self.block(i0, i1, j0, j1)
            if block.low.mean() < 0.5 or block.high.mean() < 0.5:
                continue
            inner = np.zeros(block.low.shape, bool)
            top, left = (0 if i0 == 0 else RING), (0 if j0 == 0 else RING)
            bottom = i1 - i0 if i1 == h else i1 - i0 - RING
            right = j1 - j0 if j1 == w else j1 - j0 - RING
            inner[top:bottom, left:right] = True
            block.inner = inner
            blocks.append(block)
            phases.append(phase)
            if len(blocks) == count:
                break
        if not blocks:
            raise DataError("no part of the scene has half of its pixels valid in both images")
        return blocks, phases


def lay(
    hsi: Raster, msi: Raster, *, ratio: float | None = None, shift: tuple[float, float] = (0, 0)
) -> tuple[Axis, Axis]:
    """Return how the whole grids lie, along rows and columns.

    Args:
        hsi: LR raster.
        msi: HR raster.
        ratio: for files without georeference, or to be checked against it.
        shift: of the HSI down and right, HR pixels, from the registration.

    Raises:
        DataError: the grids do not fit together.
    """
    if hsi.transform is not None and msi.transform is not None:
        axes = _from_transforms(hsi, msi)
    else:
        axes = _from_sizes(hsi, msi, ratio)
    for axis in axes:
        if axis.ratio < LEAST_RATIO:
            raise DataError(
                "the multispectral image must be the finer one: its pixels are "
                f"{1 / axis.ratio:.3g} of those of the hyperspectral one",
                hint="are --hsi and --msi swapped?",
            )
    if ratio is not None and abs(axes[0].ratio / ratio - 1) > DIFFER:
        raise DataError(f"--ratio: {ratio:g} given, but the grids say {axes[0].ratio:g}")
    first, second = axes
    if abs(first.ratio / second.ratio - 1) > DIFFER:
        raise DataError(
            f"rows and columns give ratios {first.ratio:.4g} and {second.ratio:.4g}",
            hint="--ratio R, or --crop R0,R1,C0,C1",
        )
    return tuple(  # type: ignore[return-value]
        replace(axis, offset=_snapped(axis.offset + d, 0.02))
        for axis, d in zip(axes, shift, strict=True)
    )


def _from_transforms(hsi: Raster, msi: Raster) -> tuple[Axis, Axis]:
    if hsi.crs and msi.crs and not same_crs(hsi.crs, msi.crs):
        raise DataError(
            f"{hsi.path} and {msi.path} have different coordinate systems", hint="--reproject hsi"
        )
    for raster in (hsi, msi):
        if not raster.north_up:
            raise DataError(f"{raster.path} has a rotated grid", hint="--reproject hsi")
    assert hsi.transform is not None and msi.transform is not None
    a, b = hsi.transform, msi.transform
    mine, other = hsi.extent(), msi.extent()
    if max(mine[0], other[0]) >= min(mine[2], other[2]) or max(mine[1], other[1]) >= min(
        mine[3], other[3]
    ):
        shown = [", ".join(f"{v:.8g}" for v in r.extent()) for r in (hsi, msi)]
        raise DataError(
            f"the images do not overlap: left, bottom, right, top of the HSI {shown[0]}, "
            f"of the MSI {shown[1]}"
        )
    rows = Axis(hsi.shape[0], msi.shape[0], _snapped(a[4] / b[4], 1e-3), (b[5] - a[5]) / -b[4])
    columns = Axis(hsi.shape[1], msi.shape[1], _snapped(a[0] / b[0], 1e-3), (a[2] - b[2]) / b[0])
    return rows, columns


def _from_sizes(hsi: Raster, msi: Raster, ratio: float | None) -> tuple[Axis, Axis]:
    axes = []
    for low, high in zip(hsi.shape[:2], msi.shape[:2], strict=True):
        side = high / low
        near = round(side)
        if ratio is not None:
            side = float(ratio)
        elif near >= 2 and abs(side / near - 1) <= DIFFER:
            side = float(near)
        axes.append(Axis(low, high, side))
    return axes[0], axes[1]


def _snapped(value: float, tolerance: float) -> float:
    near = round(value)
    return float(near) if abs(value - near) <= tolerance * max(abs(near), 1) else float(value)


def same_crs(a: str, b: str) -> bool:
    """Tell whether two coordinate systems are the same."""
    if a == b:
        return True
    try:
        from rasterio.crs import CRS
        from rasterio.errors import CRSError
    except ModuleNotFoundError:
        return False
    try:
        return bool(CRS.from_user_input(a) == CRS.from_user_input(b))
    except CRSError:
        return False


def meet(
    hsi: Raster,
    msi: Raster,
    axes: tuple[Axis, Axis],
    *,
    crop: tuple[int, int, int, int] | None = None,
    bad_low: Mask | None = None,
    bad_high: Mask | None = None,
) -> Scene:
    """Return the scene over the common area: LR pixels that lie wholly on the MSI.

    Raises:
        DataError: too little is left, or there are no more HSI than MSI bands.
    """
    if hsi.shape[2] <= msi.shape[2]:
        raise DataError(
            f"fusion needs more HSI than MSI bands, got {hsi.shape[2]} and {msi.shape[2]}"
        )
    spans = []
    for index, axis in enumerate(axes):
        edge = axis.offset + np.arange(axis.low + 1) * axis.ratio
        inside = (edge[:-1] >= -1e-6) & (edge[1:] <= axis.high + 1e-6)
        if crop is not None:
            keep = np.zeros(axis.low, bool)
            keep[crop[2 * index] : crop[2 * index + 1]] = True
            inside &= keep
        at = np.flatnonzero(inside)
        if len(at) < LEAST_SIDE:
            side = ("rows", "columns")[index]
            raise DataError(f"only {len(at)} {side} of the HSI lie on the MSI, needs {LEAST_SIDE}")
        spans.append((int(at[0]), int(at[-1]) + 1))
    (rows, u0, _), (columns, v0, _) = (
        axis.window(*span) for axis, span in zip(axes, spans, strict=True)
    )
    used = [span[1] - span[0] for span in spans]
    if used != list(hsi.shape[:2]):
        log.info("common area: %d x %d of %d x %d HSI pixels", *used, *hsi.shape[:2])
    return Scene(hsi, msi, rows, columns, (spans[0][0], spans[1][0]), (u0, v0), bad_low, bad_high)


def scaled(scene: Scene, *, seed: int = 0, same: bool = False) -> Scene:
    """Return the scene with its quantiles and fill values, without useless bands.

    Args:
        scene: as `meet` returns it.
        seed: of the sample.
        same: divide both images by the quantile of the HSI.

    Raises:
        DataError: too few valid pixels, or too few useful bands.
    """
    scene = _useful(scene, seed)
    blocks, _ = scene.sample(seed=seed)
    y = np.concatenate([block.y[block.low] for block in blocks])
    z = np.concatenate([block.z[block.high] for block in blocks])
    if len(y) < LEAST_PIXELS:
        raise DataError(f"only {len(y)} valid HSI pixels on the common area, needs {LEAST_PIXELS}")
    shares = [np.mean([b.low.mean() for b in blocks]), np.mean([b.high.mean() for b in blocks])]
    for name, share in zip(("HSI", "MSI"), shares, strict=True):
        if share < 0.5:
            raise DataError(f"over half of the {name} is invalid ({1 - share:.0%})")
    q_y = float(np.quantile(y, QUANTILE))
    q_z = q_y if same else float(np.quantile(z, QUANTILE))
    if q_y <= 0 or q_z <= 0:
        raise DataError("an image holds no positive values")
    return replace(
        scene,
        q_y=q_y,
        q_z=q_z,
        fill_y=y.mean(0, dtype=float) / q_y,
        fill_z=z.mean(0, dtype=float) / q_z,
    )


def _useful(scene: Scene, seed: int) -> Scene:
    """Return the scene without bands that are constant or have no data."""
    places = _probe(scene, seed)
    changes: dict[str, Raster] = {}
    for name in ("hsi", "msi"):
        raster: Raster = getattr(scene, name)
        values = np.concatenate([raster.read(p[name]).reshape(-1, raster.shape[2]) for p in places])
        seen = np.isfinite(values)
        empty = seen.sum(0) < 0.01 * max(seen.any(1).sum(), 1)
        low = np.where(seen, values, np.inf).min(0)
        high = np.where(seen, values, -np.inf).max(0)
        useless = empty | (low >= high)
        lost = float(1 - seen[:, ~useless].all(1).mean()) if (~useless).any() else 1.0
        if lost and raster.nodata is None:
            log.warning("%s: %.2g %% of pixels are not finite: no data", name.upper(), 100 * lost)
        if useless.any():
            shown = ", ".join(map(str, np.flatnonzero(useless)[:8]))
            log.warning("%s: bands %s are constant or have no data: left out", name.upper(), shown)
            if useless.all():
                raise DataError(f"no band of {raster.path} holds an image")
            changes[name] = raster.pick(np.flatnonzero(~useless))
    scene = replace(scene, **changes)  # type: ignore[arg-type]
    if scene.hsi.shape[2] <= scene.msi.shape[2]:
        raise DataError(
            f"fusion needs more HSI than MSI bands, got {scene.hsi.shape[2]} and "
            f"{scene.msi.shape[2]} useful ones"
        )
    return scene


def _probe(scene: Scene, seed: int) -> list[dict[str, tuple[int, int, int, int]]]:
    """Return windows of both rasters to look at: everything, or a few places."""
    h, w = scene.rows.low, scene.columns.low
    if scene.small:
        spots = [(0, h, 0, w)]
    else:
        generator = np.random.default_rng(seed)
        spots = []
        for _ in range(COUNT):
            i, j = generator.integers(max(h - SIDE, 1)), generator.integers(max(w - SIDE, 1))
            spots.append((int(i), min(int(i) + SIDE, h), int(j), min(int(j) + SIDE, w)))
    out = []
    for i0, i1, j0, j1 in spots:
        _, u0, u1 = scene.rows.window(i0, i1)
        _, v0, v1 = scene.columns.window(j0, j1)
        r, c = scene.low_start
        a, b = scene.high_start
        out.append(
            {
                "hsi": (r + i0, r + i1, c + j0, c + j1),
                "msi": (a + u0, a + u1, b + v0, b + v1),
            }
        )
    return out
