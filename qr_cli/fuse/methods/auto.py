"""Noise-aware regression with back-projection, the default method (ours).

A1 Wiener-shrunk detail of the MSI (`detail`), A2-A4 global and local regression of HSI on MSI bands
with errors in the regressors, the local part chosen by leave-one-out (`regression`), A5 shrunk
residuals put back (`backproject`), A6 no negative values where the inputs have none. Every constant
was chosen with a reference in view on two scenes (Jasper Ridge, Samson).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from qr_cli.fuse.block import Block
from qr_cli.fuse.cells import Cells
from qr_cli.fuse.degradation import Degradation
from qr_cli.fuse.grid import ALL, PAD, Array, Part, along, linear_matrix
from qr_cli.fuse.methods import backproject, regression
from qr_cli.fuse.methods.backproject import BackProjection
from qr_cli.fuse.methods.detail import REACH, detail
from qr_cli.fuse.methods.regression import CUT, Choice, Global, LowPiece
from qr_cli.fuse.noise import Noise
from qr_cli.fuse.psf import Psf

SPLINE_REACH = 8  # LR pixels after which the spline prefilter has decayed to 3e-5
assert SPLINE_REACH <= PAD


@dataclass(frozen=True, eq=False)
class Auto:
    """The fitted method; `predict` works on any block of the scene.

    Attributes:
        psf: P.
        noise: of both images.
        fitted: the global regression.
        choice: the local part.
        back: the back-projection.
        floor: 0 where negative values are clipped, else None.
        record: how it was chosen.
    """

    psf: Psf
    noise: Noise
    fitted: Global
    choice: Choice
    back: BackProjection
    floor: float | None
    record: list[dict[str, Any]]

    tiled = True

    @property
    def margin(self) -> int:
        """Return how many LR pixels around a tile its values depend on."""
        footprint = int(np.ceil((self.psf.reach + 1) / min(self.psf.ratio)))
        passes = len(self.back.passes)
        window = int(CUT * self.choice.sigma + 0.5)
        detail_reach = int(np.ceil(REACH / min(self.psf.ratio))) + SPLINE_REACH
        return passes * (SPLINE_REACH + footprint) + window + footprint + detail_reach + 1

    def _piece(self, block: Block, zd: Array) -> LowPiece:
        piece = _piece(block, zd, self.psf)
        return replace(piece, e0=self.fitted.left(block, zd, piece.zl, self.psf))

    def predict(self, block: Block, *, phase: tuple[int, int] = (0, 0), part: Part = ALL) -> Array:
        """Return the fused block (H, W, L), or a part of it."""
        zd = detail(block, self.psf, self.noise.v_z, phase=phase).astype(block.y.dtype)
        piece = self._piece(block, zd)
        e, coef = _low_residual(block, zd, piece, self)
        rest = self.back.residual(e, piece.used, block, self.psf)
        inner = zd[part]
        out = self.fitted.predict(inner).astype(zd.dtype)
        if coef is not None:
            features = self.fitted.features(inner)
            out += Cells(block.rows, block.columns, part).contract(features, coef)
        out += block.up(rest.astype(zd.dtype), part)
        if self.floor is not None:
            np.maximum(out, self.floor, out=out)
        return out

    def uncertainty(
        self, block: Block, *, phase: tuple[int, int] = (0, 0), part: Part = ALL
    ) -> Array:
        """Return U (H, W, L), the expected absolute size of the error, in the units of y."""
        zd = detail(block, self.psf, self.noise.v_z, phase=phase)
        piece = self._piece(block, zd)
        sigma, lam = self.choice.sigma, self.choice.lam
        windows = regression.Windows(piece, self.fitted, sigma) if sigma else None
        loo = np.zeros_like(piece.y)
        loo[piece.used] = regression.leave_one_out(piece, self.fitted, windows, [lam])[0]
        weight = regression.smooth(piece.used[..., None].astype(np.float64), 2.0)
        spread = regression.smooth(loo**2, 2.0) / np.maximum(weight, 1e-12)
        low = np.maximum(spread - self.noise.v_y, 0.05 * spread)
        high = along(linear_matrix(block.rows)[part[0]], low, linear_matrix(block.columns)[part[1]])
        passed = np.einsum("al,a,al->l", self.fitted.w, self.noise.v_z / 4, self.fitted.w)
        return np.sqrt(high / np.sqrt(self.psf.energy) + passed)


def fit(
    blocks: Sequence[Block],
    degradation: Degradation,
    noise: Noise,
    *,
    back_projection: int = 2,
    clip: Literal["auto", "none", "zero"] = "auto",
    phases: Sequence[tuple[int, int]] | None = None,
) -> Auto:
    """Fit on sample blocks.

    Args:
        blocks: of the scene, scaled.
        degradation: P and R; R is not used.
        noise: of both images.
        back_projection: passes of A5.
        clip: A6; "auto": if no valid input is negative.
        phases: HR coordinates of each block's first pixel.
    """
    details, pieces = prepared(blocks, degradation, noise, phases)
    fitted = regression.fit_global(pieces, noise)
    return finish(
        fitted, blocks, details, pieces, degradation.psf, noise,
        back_projection=back_projection, clip=clip,
    )  # fmt: skip


def prepared(
    blocks: Sequence[Block],
    degradation: Degradation,
    noise: Noise,
    phases: Sequence[tuple[int, int]] | None,
) -> tuple[list[Array], list[LowPiece]]:
    """Return Zd and the LR side of every block (A1)."""
    starts = phases or [(0, 0)] * len(blocks)
    details = [
        detail(block, degradation.psf, noise.v_z, phase=phase)
        for block, phase in zip(blocks, starts, strict=True)
    ]
    pieces = [_piece(block, zd, degradation.psf) for block, zd in zip(blocks, details, strict=True)]
    return details, pieces


def finish(
    fitted: Global,
    blocks: Sequence[Block],
    details: Sequence[Array],
    pieces: Sequence[LowPiece],
    psf: Psf,
    noise: Noise,
    *,
    back_projection: int,
    clip: Literal["auto", "none", "zero"],
    method: str = "auto",
) -> Auto:
    """Return the method, local part and back-projection fitted on what M0 leaves (A3-A6)."""
    known = [
        replace(piece, e0=fitted.left(block, zd, piece.zl, psf))
        for block, zd, piece in zip(blocks, details, pieces, strict=True)
    ]
    choice = regression.choose(known, fitted, noise)
    made = Auto(
        psf, noise, fitted, choice, BackProjection([]), _floor(blocks, clip),
        _records(choice, method),
    )  # fmt: skip
    residuals = [
        (_low_residual(block, zd, piece, made)[0], piece.used, block)
        for block, zd, piece in zip(blocks, details, known, strict=True)
    ]
    return replace(made, back=backproject.fit(residuals, noise, psf, passes=back_projection))


def _piece(block: Block, zd: Array, psf: Psf) -> LowPiece:
    zl = block.blur(zd, psf)
    used = block.usable(psf)
    zl[~block.low_cover(psf)] = block.z_fill
    return LowPiece(block.y, zl, used)


def _low_residual(
    block: Block, zd: Array, piece: LowPiece, method: Auto
) -> tuple[Array, Array | None]:
    """Return E = Y - P M0 with the local part (h, w, L), and coef."""
    e = piece.left()
    sigma, lam = method.choice.sigma, method.choice.lam
    if not sigma:
        return e, None
    coef = regression.Windows(piece, method.fitted, sigma).coefficients(lam).astype(zd.dtype)
    features = method.fitted.features(zd)
    if not block.whole:
        features = np.where(block.high[..., None], features, 0)
    terms = method.psf.terms(block.rows, block.columns)
    local = regression.blurred_local(features, coef, terms, (block.rows, block.columns))
    if not block.whole:
        local = local / np.maximum(block.cover(method.psf), 1e-6)[..., None]
    return (e - local).astype(zd.dtype), coef


def _floor(blocks: Sequence[Block], clip: str) -> float | None:
    if clip == "none":
        return None
    lowest = min(
        min(float(b.y[b.low].min(initial=0.0)), float(b.z[b.high].min(initial=0.0))) for b in blocks
    )
    return 0.0 if clip == "zero" or lowest >= 0 else None


def _records(choice: Choice, method: str) -> list[dict[str, Any]]:
    return [
        {
            "event": "candidate",
            "method": method,
            "local_sigma_px": sigma or None,
            "local_lambda": lam or None,
            "loo_score_db": round(score, 3),
            "chosen": (sigma, lam) == (choice.sigma, choice.lam),
        }
        for sigma, lam, score in choice.scores
    ]
