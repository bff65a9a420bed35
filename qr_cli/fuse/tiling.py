"""Fuse a scene of any size: fitted on a sample, applied tile by tile in constant memory.

A tile is read with the margin on which its values depend; only its middle is kept. Tiles are made
by threads and handed out in order. What is worth knowing of the whole result is summed on the way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from qr_cli.fuse.block import Block, Mask
from qr_cli.fuse.degradation import Degradation
from qr_cli.fuse.grid import Array, Part
from qr_cli.fuse.scene import Scene

AT_ONCE = 256 * 2**20  # bytes of output up to which the whole scene is one tile


class Fitted(Protocol):
    """A fitted method."""

    tiled: bool

    @property
    def margin(self) -> int:
        """LR pixels around a tile on which its values depend."""

    def predict(self, block: Block, *, phase: tuple[int, int], part: Part) -> Array:
        """Return the fused block, or a part of it (H, W, L)."""


@dataclass(frozen=True)
class Tile:
    """LR pixels i0..i1, j0..j1 of the scene."""

    i0: int
    i1: int
    j0: int
    j1: int


class Piece(NamedTuple):
    """A finished tile.

    Attributes:
        row: of its first HR pixel in the scene.
        column: likewise.
        values: (H, W, L), in the units of the HSI.
        valid: (H, W).
        extra: what else was asked for.
    """

    row: int
    column: int
    values: Array
    valid: Mask
    extra: Array | None


@dataclass
class Sums:
    """Sums over tiles: how well the result explains both inputs."""

    y_gap: float = 0.0
    y_all: float = 0.0
    z_gap: float = 0.0
    z_all: float = 0.0
    low: dict[tuple[int, int], Array] = field(default_factory=dict)

    @property
    def hsi_rel(self) -> float:
        """Return norm(P F - Y) / norm(Y)."""
        return float(np.sqrt(self.y_gap / self.y_all)) if self.y_all else float("nan")

    @property
    def msi_rel(self) -> float:
        """Return norm(F R + o - Z) / norm(Z)."""
        return float(np.sqrt(self.z_gap / self.z_all)) if self.z_all else float("nan")


def tiles_of(scene: Scene, fitted: Fitted, side: int) -> list[Tile]:
    """Return the tiles of a scene: one if it is small or the method needs it whole."""
    h, w = scene.rows.low, scene.columns.low
    size = scene.rows.high * scene.columns.high * scene.hsi.shape[2] * 8
    if not fitted.tiled or (side >= max(h, w)) or (side == 64 and size <= AT_ONCE):
        return [Tile(0, h, 0, w)]
    starts = [[*range(0, n, side)] for n in (h, w)]
    return [Tile(i, min(i + side, h), j, min(j + side, w)) for i in starts[0] for j in starts[1]]


def run(
    scene: Scene,
    fitted: Fitted,
    degradation: Degradation,
    *,
    side: int,
    threads: int,
    sums: Sums,
    extra: Callable[[Block, tuple[int, int], Part], Array] | None = None,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Piece]:
    """Yield the tiles of the fused scene in order.

    Args:
        scene: scaled.
        fitted: the method.
        degradation: for the sums.
        side: of a tile in LR pixels.
        threads: that make tiles.
        sums: is added to.
        extra: also computed per tile, in scaled units.
        tick: is told how many tiles are done, of how many.
    """
    tiles = tiles_of(scene, fitted, side)

    def make(tile: Tile) -> tuple[Piece, Sums]:
        return _tile(scene, fitted, degradation, tile, extra)

    with ThreadPoolExecutor(max(threads, 1)) as pool:
        waiting: deque[Future[tuple[Piece, Sums]]] = deque()
        ahead = iter(tiles)
        done = 0
        for tile in ahead:
            waiting.append(pool.submit(make, tile))
            if len(waiting) < max(threads, 1) + 1:
                continue
            yield _finished(waiting.popleft(), sums)
            done += 1
            tick(done, len(tiles))
        while waiting:
            yield _finished(waiting.popleft(), sums)
            done += 1
            tick(done, len(tiles))


def _finished(future: Future[tuple[Piece, Sums]], sums: Sums) -> Piece:
    piece, part = future.result()
    for key in ("y_gap", "y_all", "z_gap", "z_all"):
        setattr(sums, key, getattr(sums, key) + getattr(part, key))
    sums.low.update(part.low)
    return piece


def _tile(
    scene: Scene,
    fitted: Fitted,
    degradation: Degradation,
    tile: Tile,
    extra: Callable[[Block, tuple[int, int], Part], Array] | None,
) -> tuple[Piece, Sums]:
    h, w = scene.rows.low, scene.columns.low
    edge = fitted.margin
    i0, i1 = max(tile.i0 - edge, 0), min(tile.i1 + edge, h)
    j0, j1 = max(tile.j0 - edge, 0), min(tile.j1 + edge, w)
    block, phase = scene.block(i0, i1, j0, j1)
    spans = [
        (0 if first == 0 else span[0], axis.high if last == axis.low else span[1])
        for axis, first, last, span in (
            (scene.rows, tile.i0, tile.i1, scene.rows.span(tile.i0, tile.i1)),
            (scene.columns, tile.j0, tile.j1, scene.columns.span(tile.j0, tile.j1)),
        )
    ]
    (u0, u1), (v0, v1) = spans
    part = (slice(u0 - phase[0], u1 - phase[0]), slice(v0 - phase[1], v1 - phase[1]))
    values = fitted.predict(block, phase=phase, part=part)
    owner = [
        np.clip(axis.owner()[piece], 0, axis.low - 1)
        for axis, piece in ((block.rows, part[0]), (block.columns, part[1]))
    ]
    valid = block.high[part] & block.low[owner[0][:, None], owner[1][None, :]]
    sums = _sums(block, values, part, valid, tile, (i0, j0), (h, w), degradation)
    more = None if extra is None else extra(block, phase, part) * scene.q_y
    return Piece(u0, v0, values * values.dtype.type(scene.q_y), valid, more), sums


def _sums(
    block: Block,
    values: Array,
    part: Part,
    valid: NDArray[np.bool_],
    tile: Tile,
    start: tuple[int, int],
    shape: tuple[int, int],
    degradation: Degradation,
) -> Sums:
    """Return the sums of a tile; LR pixels whose footprint leaves it do not count."""
    sums = Sums()
    made = values @ degradation.srf.astype(values.dtype) + degradation.offset.astype(values.dtype)
    z = block.z[part]
    sums.z_gap = float(((made - z)[valid].astype(np.float64) ** 2).sum())
    sums.z_all = float((z[valid].astype(np.float64) ** 2).sum())
    a, b = tile.i0 - start[0], tile.j0 - start[1]
    n, m = tile.i1 - tile.i0, tile.j1 - tile.j0
    rows, u0, u1 = block.rows.window(a, a + n)
    columns, v0, v1 = block.columns.window(b, b + m)
    if (u1 - u0, v1 - v0) != values.shape[:2]:
        return sums  # grids that are not aligned: tiles do not end where LR pixels do
    inner = Block(
        block.y[a : a + n, b : b + m], values, rows, columns, block.low[a : a + n, b : b + m], valid
    )
    psf = degradation.psf
    used = inner.usable(psf)
    ring = int(np.ceil(psf.reach / min(psf.ratio)))
    if ring:
        used[: ring if tile.i0 else 0] = False
        used[:, : ring if tile.j0 else 0] = False
        if tile.i1 < shape[0]:
            used[-ring:] = False
        if tile.j1 < shape[1]:
            used[:, -ring:] = False
    if used.any():
        low = inner.blur(values, psf)
        gap = (low - inner.y)[used].astype(np.float64)
        sums.y_gap = float((gap**2).sum())
        sums.y_all = float((inner.y[used].astype(np.float64) ** 2).sum())
        error = np.sqrt((np.where(used[..., None], low - inner.y, 0) ** 2).mean(-1))
        sums.low[tile.i0, tile.j0] = np.where(used, error, np.nan).astype(np.float32)
    return sums
