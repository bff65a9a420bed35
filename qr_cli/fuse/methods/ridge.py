"""Linear regression of HSI on MSI bands: `ridge`, and `glp` that adds the residual (closed forms).

`ridge`: z standardised over LR pixels, SVD U S V' of zl; per HSI band the penalty from
n {1e-10 ... 1} by leave-one-out:  res = y - U (f * U'y),  f = S^2/(S^2 + lam),
hat = U^2 f + 1/n,  loo = res/(1 - hat).  No residual step.
`glp` (generalised Laplacian pyramid, Aiazzi 2006; Selva 2015): I the prediction of one ridge,
lam = 1e-8 tr(G)/(l + 1), intercept included;  additive: up(Y) + I - up(P I);
multiplicative (SFIM, Liu 2000): up(Y) max(I, 1e-4)/max(up(P I), 1e-4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from qr_cli.fuse.block import Block
from qr_cli.fuse.degradation import Degradation
from qr_cli.fuse.grid import ALL, Array, Part
from qr_cli.fuse.methods.auto import SPLINE_REACH
from qr_cli.fuse.noise import Noise
from qr_cli.fuse.psf import Psf

PENALTIES = 10.0 ** np.arange(-10, 1)
LEAST = 1e-4  # of both sides of a quotient


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear map of MSI pixels, alone or as the detail that up(Y) lacks.

    Attributes:
        psf: P.
        weights: (l, L).
        constant: (L).
        residual: what is done with P of the prediction.
        record: how it was chosen.
    """

    psf: Psf
    weights: Array
    constant: Array
    residual: Literal["none", "additive", "multiplicative"]
    record: list[dict[str, Any]] = field(default_factory=list)

    tiled = True

    @property
    def margin(self) -> int:
        """Return how many LR pixels around a tile its values depend on."""
        footprint = int(np.ceil((self.psf.reach + 1) / min(self.psf.ratio)))
        return 1 if self.residual == "none" else SPLINE_REACH + footprint + 1

    def predict(self, block: Block, *, phase: tuple[int, int] = (0, 0), part: Part = ALL) -> Array:
        """Return the fused block (H, W, L)."""
        image = (block.z[part] @ self.weights + self.constant).astype(block.y.dtype)
        if self.residual == "none":
            return image
        low = block.blur(block.z, self.psf) @ self.weights + self.constant
        used = block.usable(self.psf)[..., None]
        if self.residual == "additive":  # up(Y) + I - up(P I); nothing is added where Y is unknown
            return image + block.up(np.where(used, block.y - low, 0).astype(image.dtype), part)
        lift = block.up(np.where(used, block.y, low), part), block.up(low, part)
        ends = float(low.min()), float(low.max())  # a spline overshoots; a quotient amplifies that
        above, below = (np.clip(image, *ends) for image in lift)
        return above * np.maximum(image, LEAST) / np.maximum(below, LEAST)


def _training(blocks: Sequence[Block], psf: Psf) -> tuple[Array, Array]:
    masks = [block.usable(psf) for block in blocks]
    y = np.concatenate([b.y[m] for b, m in zip(blocks, masks, strict=True)])
    zl = np.concatenate([b.blur(b.z, psf)[m] for b, m in zip(blocks, masks, strict=True)])
    return y.astype(np.float64), zl.astype(np.float64)


def fit_ridge(blocks: Sequence[Block], degradation: Degradation, noise: Noise) -> Linear:
    """Return the regression, its penalty chosen per band by leave-one-out."""
    y, zl = _training(blocks, degradation.psf)
    weights, constant, chosen = leave_one_out_ridge(y, zl)
    record = {"event": "candidate", "method": "ridge", "penalty_median": float(np.median(chosen))}
    return Linear(degradation.psf, weights, constant, "none", [record | {"chosen": True}])


def leave_one_out_ridge(y: Array, zl: Array) -> tuple[Array, Array, Array]:
    """Return weights (l, L), constant (L) and the penalty of each band over n."""
    count = len(y)
    mean_y, mean_z, sd = y.mean(0), zl.mean(0), zl.std(0)
    sd = np.where(sd > 0, sd, 1)
    left, size, right = np.linalg.svd((zl - mean_z) / sd, full_matrices=False)
    projected = left.T @ (y - mean_y)
    best = np.full(y.shape[1], np.inf)
    chosen, kept = np.zeros(y.shape[1]), np.zeros((len(size), y.shape[1]))
    for penalty in PENALTIES:
        share = size**2 / (size**2 + penalty * count)
        rest = (y - mean_y) - left @ (share[:, None] * projected)
        hat = (left**2) @ share + 1 / count
        error = ((rest / (1 - hat)[:, None]) ** 2).sum(0)
        better = error < best
        best[better], chosen[better] = error[better], penalty
        factor = size / (size**2 + penalty * count)
        kept[:, better] = (factor[:, None] * projected)[:, better]
    weights = (right.T @ kept) / sd[:, None]
    return weights, mean_y - mean_z @ weights, chosen


def fit_glp(
    blocks: Sequence[Block],
    degradation: Degradation,
    noise: Noise,
    *,
    glp_mode: Literal["additive", "multiplicative"] = "additive",
) -> Linear:
    """Return the regression with a fixed, tiny penalty, and its residual step."""
    y, zl = _training(blocks, degradation.psf)
    ones = np.concatenate([zl, np.ones((len(zl), 1))], 1)
    gram = ones.T @ ones
    penalty = 1e-8 * np.trace(gram) / len(gram)
    found = np.linalg.solve(gram + penalty * np.eye(len(gram)), ones.T @ y)
    return Linear(degradation.psf, found[:-1], found[-1], glp_mode)
