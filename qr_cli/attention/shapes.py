"""Ten shapes on textures that betray them in training only: a generated data set.

One object per image on a textured background with clutter. The texture agrees with the class with
probability `context` in the training split and is independent of it in the test split, so that a
network may take the short cut (the background) or learn the object. Every image has an exact box.
The generator is ours; it belongs to no paper.

    image = mean over 2x2 sub-pixels of (background | strokes | object) + 0.04 Z, in 256 steps

All draws come from three Philox streams per (seed, split), row by row: the first n images do not
depend on n. As every layer is `base` plus a scalar field times a colour vector, the fields alone
are drawn at twice the resolution; colours are mixed after the 2x2 mean, which is the same sum.
Shapes: N images, S side in pixels, T = 2S sub-pixels a side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import cos, pi, radians, sin
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qr_cli.attention.boxes import Boxes
from qr_cli.attention.data import ImageSet, Settings
from qr_cli.attention.grammar import Node, canonical
from qr_cli.errors import DataError, UsageError, near

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
Split = Literal["train", "test", "test_context"]

CLASSES = (
    *("disk", "ring", "square", "triangle", "star"),
    *("cross", "crescent", "ell", "tee", "bar"),
)
TEXTURES = 10
_SPLITS = {"train": 0, "test": 1, "test_context": 2}
_CHUNK = 16  # images drawn at once: the fields of a chunk stay in the cache
_CONTEXT = 0.6


def shapes(
    n: int,
    *,
    split: Split = "train",
    context: float | None = None,
    size: int = 32,
    seed: int = 0,
    rows: Sequence[int] | None = None,
) -> ImageSet:
    """Draw the first `n` images of a split.

    Args:
        n: number of images; image i has class i mod 10.
        split: which streams of random numbers.
        context: probability that the texture is that of the class; None is 0.6, and 0 for "test".
        size: side S in pixels, at least 8.
        seed: of the data, independent of the seed of a run.
        rows: ascending numbers of the images to return; the others are skipped, not drawn.

    Returns:
        images uint8 (N, 3, S, S), labels (N,), one integer half-open box each, texture ids (N,).

    Source: ours.
    """
    if context is None:
        context = 0.0 if split == "test" else _CONTEXT
    wanted = np.arange(n) if rows is None else np.asarray(rows, dtype=np.int64)
    images = np.empty((len(wanted), 3, size, size), np.uint8)
    boxes = np.empty((len(wanted), 4), np.int64)
    textures = np.empty(len(wanted), np.int64)
    done = 0
    for draws in _draws(n, seed=seed, split=_SPLITS[split], size=size, wanted=wanted):
        here = slice(done, done := done + len(draws.y))
        images[here], boxes[here], textures[here] = _draw(draws, context, size)
    labels = torch.from_numpy(wanted % len(CLASSES))
    found = [
        Boxes(box[None], label[None])
        for box, label in zip(torch.from_numpy(boxes).float(), labels, strict=True)
    ]
    return ImageSet(
        torch.from_numpy(images),
        labels,
        CLASSES,
        boxes=tuple(found),
        textures=torch.from_numpy(textures),
    )


class Shapes:
    """The data source ``shapes(context=.6,train=10000,test=2000,size=32,seed=0)``."""

    augment = "crop-flip"
    normalize = "shapes"
    named = True
    exact_names = True
    classes = CLASSES
    defaults: Mapping[str, float] = {
        "context": _CONTEXT,
        "train": 10_000,
        "test": 2_000,
        "size": 32,
        "seed": 0,
    }

    def __init__(self, place: str | None, options: Mapping[str, Any], settings: Settings) -> None:
        if place is not None:
            raise UsageError(f"shapes takes no path, got {place!r}", hint="--data shapes")
        given = {**self.defaults, **options}
        for key, value in options.items():
            _check_option(key, value, self.defaults)
        self.context = float(given["context"])
        self.seed = int(given["seed"])
        self.side = int(settings.image_size or given["size"])
        if self.side < 8:
            raise DataError(f"shapes of {self.side} pixels are too small", hint="size=8 or more")
        test = int(given["test"])
        self.counts = {"train": int(given["train"]), "test": test, "test_context": test}
        self.size = (self.side, self.side)
        changed = sorted(k for k, v in given.items() if v != self.defaults[k])
        self.name = canonical(Node("shapes", options=tuple((k, given[k]) for k in changed)))

    def labels(self, split: str) -> Tensor:
        """Return the classes of a split, int64 (N,)."""
        return torch.arange(self.counts[split]) % len(CLASSES)

    def load(self, split: Any, rows: Tensor | None = None) -> ImageSet:
        """Draw the images of a split, or only those of `rows`."""
        return shapes(
            self.counts[split],
            split=split,
            context=0.0 if split == "test" else self.context,
            size=self.side,
            seed=self.seed,
            rows=None if rows is None else rows.tolist(),
        )


def _check_option(key: str, value: object, defaults: Mapping[str, float]) -> None:
    if key not in defaults:
        raise UsageError(
            f"shapes has no option {key!r}{near(key, defaults)}",
            hint=f"options: {', '.join(defaults)}",
        )
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or value < 0 or (key == "context" and value > 1):  # type: ignore[operator]
        raise UsageError(f"shapes({key}=...): {value!r} is not possible", hint="--data shapes")
    if key != "context" and not isinstance(value, int):
        raise UsageError(f"shapes({key}=...): a whole number is needed, got {value!r}")


class _Draws(NamedTuple):
    """Random numbers of a chunk: y (N,), u (N, 64), z (N, S, S, 3), g (N, 12, 12)."""

    y: Ints
    u: Floats
    z: NDArray[np.float32]
    g: Floats


def _draws(n: int, *, seed: int, split: int, size: int, wanted: Ints) -> Iterator[_Draws]:
    """Yield the draws of the `wanted` images chunk by chunk; the streams are read in order."""
    uniform, noise, coarse = (
        np.random.Generator(np.random.Philox(key=np.array([seed, split + add], np.uint64)))
        for add in (0, 1000, 2000)
    )
    for start in range(0, n, _CHUNK):
        count = min(_CHUNK, n - start)
        u = uniform.random((count, 64))
        z = noise.standard_normal((count, size, size, 3), dtype=np.float32)
        g = coarse.random((count, 12, 12))
        first, last = np.searchsorted(wanted, (start, start + count))
        if first == last:
            continue
        rows = wanted[first:last] - start
        yield _Draws((start + rows) % len(CLASSES), u[rows], z[rows], g[rows])


def _draw(draws: _Draws, context: float, size: int) -> tuple[NDArray[np.uint8], Ints, Ints]:
    """Draw a chunk: images (N, 3, S, S) uint8, boxes (N, 4), texture ids (N,)."""
    y, u, z, g = draws
    axis = (np.arange(2 * size) + 0.5) / 2  # sub-pixel centres, in pixels
    kind = np.where(u[:, 0] < context, y, np.floor(TEXTURES * u[:, 1])).astype(np.int64)
    contrast = 0.30 + 0.15 * u[:, 13]

    inside, wave = _objects(y, u, axis, size)
    strokes = [_stroke(u, 16 + 8 * j, axis, size) for j in range(3)]
    fields = [inside.astype(np.float64), wave]
    colours = [
        contrast[:, None] * _direction(u, 14, 15),
        0.10 * u[:, 44, None] * _direction(u, 45, 46),
    ]
    covered = inside.copy()
    for j in (2, 1, 0):  # later strokes lie over earlier ones
        fields.append((strokes[j] & ~covered).astype(np.float64))
        colours.append(contrast[:, None] * _direction(u, 21 + 8 * j, 22 + 8 * j))
        covered |= strokes[j]
    texture = _textures(kind, u, g, axis, size)
    fields.append(np.where(covered, 0.0, 2 * texture - 1))
    colours.append((0.05 + 0.07 * u[:, 10, None]) * _direction(u, 11, 12))

    means = np.stack([_halve(f) for f in fields], axis=1)  # (N, 6, S, S)
    vectors = np.stack(colours, axis=2)  # (N, 3, 6)
    base = 0.25 + 0.5 * u[:, 7:10]
    image = (vectors @ means.reshape(len(y), len(fields), -1)).reshape(len(y), 3, size, size)
    image += base[:, :, None, None]
    image += 0.04 * z.transpose(0, 3, 1, 2).astype(np.float64)
    pixels = np.clip(np.rint(255 * image), 0, 255).astype(np.uint8)
    return pixels, _tight(means[:, 0] >= 0.5), kind


def _direction(u: Floats, a: int, b: int) -> Floats:
    """Return a random unit vector in RGB from columns a and b, (N, 3)."""
    v, phi = 2 * u[:, a] - 1, 2 * pi * u[:, b]
    flat = np.sqrt(1 - v * v)
    return np.stack([flat * np.cos(phi), flat * np.sin(phi), v], axis=1)


def _halve(field: Floats) -> Floats:
    """Average 2x2 sub-pixels, (N, T, T) -> (N, S, S)."""
    rows = field[:, 0::2] + field[:, 1::2]
    return (rows[:, :, 0::2] + rows[:, :, 1::2]) / 4


def _tight(mask: Mask) -> Ints:
    """Return the tight half-open boxes x0, y0, x1, y1 of masks (N, S, S)."""
    side = mask.shape[-1]
    columns, rows = (np.logical_or.reduce(mask, axis=a) for a in (1, 2))
    low = [line.argmax(1) for line in (columns, rows)]
    high = [side - line[:, ::-1].argmax(1) for line in (columns, rows)]
    return np.stack([*low, *high], axis=1)


def _stroke(u: Floats, b: int, axis: Floats, size: int) -> Mask:
    """Where a stroke with draws b .. b+4 lies, bool (N, T, T)."""
    angle = pi * u[:, b + 2]
    half_length = size * (0.1 + 0.15 * u[:, b + 3])
    half_width = (0.6 + 0.9 * u[:, b + 4]) * size / 32
    dx = axis - size * u[:, b, None]
    dy = axis - size * u[:, b + 1, None]
    ca, sa = np.cos(angle)[:, None], np.sin(angle)[:, None]
    along = (dx * ca)[:, None, :] + (dy * sa)[:, :, None]
    across = (dx * -sa)[:, None, :] + (dy * ca)[:, :, None]
    near_axis = np.abs(across) <= half_width[:, None, None]
    return near_axis & (np.abs(along) <= half_length[:, None, None])


def _objects(y: Ints, u: Floats, axis: Floats, size: int) -> tuple[Mask, Floats]:
    """Where the objects lie, bool (N, T, T), and their grating inside, float (N, T, T)."""
    radius = size * (0.16 + 0.14 * u[:, 40])
    cx, cy = (radius + (size - 2 * radius) * u[:, k] for k in (41, 42))
    turn = radians(30) * (2 * u[:, 43] - 1)
    dx, dy = axis - cx[:, None], axis - cy[:, None]
    ct, st = (np.cos(turn) / radius)[:, None], (np.sin(turn) / radius)[:, None]
    p = (dx * ct)[:, None, :] + (dy * st)[:, :, None]
    q = (dx * -st)[:, None, :] + (dy * ct)[:, :, None]
    inside = np.empty(p.shape, bool)
    for k in np.unique(y):
        inside[y == k] = _INSIDE[k](p[y == k], q[y == k])

    tilt, length = pi * u[:, 48], (3 + 2 * u[:, 47]) * size / 32
    step = 2 * pi / length
    px = axis * (step * np.cos(tilt))[:, None]
    py = axis * (step * np.sin(tilt))[:, None]
    wave = np.zeros(p.shape)
    n, row, column = np.nonzero(inside)
    wave[n, row, column] = np.sin(px[n, column] + py[n, row])
    return inside, wave


def _cross(p: Floats, q: Floats) -> Mask:
    p, q = np.abs(p), np.abs(q)
    return ((p <= 0.28) & (q <= 0.9)) | ((q <= 0.28) & (p <= 0.9))


def _triangle(p: Floats, q: Floats) -> Mask:
    sides = [p * cos(radians(a)) + q * sin(radians(a)) for a in (270, 30, 150)]
    return np.maximum(np.maximum(sides[0], sides[1]), sides[2]) <= 0.475


def _star(p: Floats, q: Floats) -> Mask:
    inner = 0.42
    bx, by = inner * cos(pi / 5), inner * sin(pi / 5)
    a = np.abs(np.mod(np.arctan2(q, p) + pi / 5, 2 * pi / 5) - pi / 5)
    r = np.sqrt(p * p + q * q)
    return (bx - 0.95) * (r * np.sin(a)) - by * (r * np.cos(a) - 0.95) >= 0


def _ring(p: Floats, q: Floats) -> Mask:
    r = np.sqrt(p * p + q * q)
    return (r >= 0.5) & (r <= 0.92)


def _crescent(p: Floats, q: Floats) -> Mask:
    return (np.sqrt(p * p + q * q) <= 0.9) & ((p - 0.4) ** 2 + q * q >= 0.65**2)


def _ell(p: Floats, q: Floats) -> Mask:
    stem = (p >= -0.6) & (p <= -0.1) & (np.abs(q) <= 0.85)
    return stem | ((np.abs(p) <= 0.6) & (q >= 0.35) & (q <= 0.85))


def _tee(p: Floats, q: Floats) -> Mask:
    roof = (np.abs(p) <= 0.75) & (q >= -0.85) & (q <= -0.35)
    return roof | ((np.abs(p) <= 0.25) & (np.abs(q) <= 0.85))


_INSIDE = (
    lambda p, q: np.sqrt(p * p + q * q) <= 0.85,
    _ring,
    lambda p, q: np.maximum(np.abs(p), np.abs(q)) <= 0.72,
    _triangle,
    _star,
    _cross,
    _crescent,
    _ell,
    _tee,
    lambda p, q: (np.abs(p) <= 0.92) & (np.abs(q) <= 0.3),
)


def _textures(kind: Ints, u: Floats, g: Floats, axis: Floats, size: int) -> Floats:
    """Return the background field t in [0, 1], (N, T, T)."""
    t = np.empty((len(u), len(axis), len(axis)))
    for k in np.unique(kind):
        some = kind == k
        t[some] = _texture(int(k), u[some], g[some], axis, size)
    return t


def _texture(k: int, u: Floats, g: Floats, axis: Floats, size: int) -> Floats:
    length = (4 + 4 * u[:, 2]) * size / 32
    p, p2 = 2 * pi * u[:, 3], 2 * pi * u[:, 4]
    if k <= 3:  # gratings
        a, step = radians(45 * k), (2 * pi / length)[:, None]
        x, y = axis * cos(a) * step + p[:, None], axis * sin(a) * step
        return 0.5 + np.sin(x[:, None, :] + y[:, :, None]) / 2
    if k == 4:  # a chequered product
        x, y = (np.sin(2 * pi * axis / length[:, None] + q[:, None]) for q in (p, p2))
        return 0.5 + x[:, None, :] * y[:, :, None] / 2
    if k == 5:  # dots
        dx, dy = (np.mod(axis / length[:, None] + u[:, c, None], 1) - 0.5 for c in (3, 4))
        return ((dx * dx)[:, None, :] + (dy * dy)[:, :, None] < 0.09).astype(np.float64)
    if k == 6:  # rings
        dx, dy = (axis - size * u[:, c, None] for c in (5, 6))
        r = np.sqrt((dx * dx)[:, None, :] + (dy * dy)[:, :, None])
        return 0.5 + np.sin(2 * pi * r / length[:, None, None] + p[:, None, None]) / 2
    if k <= 8:  # clouds, coarse and fine
        q = 4 if k == 7 else 12
        weights = _bilinear(q, len(axis))
        return weights @ g[:, :q, :q] @ weights.T
    x, y = ((axis - size / 2) / size * f(p)[:, None] for f in (np.cos, np.sin))
    return np.clip(0.5 + x[:, None, :] + y[:, :, None], 0, 1)  # a ramp


def _bilinear(q: int, side: int) -> Floats:
    """Return the matrix (T, q) that spreads q grid values over T sub-pixels."""
    c = (np.arange(side) + 0.5) / side * (q - 1)
    cell = np.minimum(np.floor(c).astype(np.int64), q - 2)
    weights = np.zeros((side, q))
    weights[np.arange(side), cell] = 1 - (c - cell)
    weights[np.arange(side), cell + 1] = c - cell
    return weights
