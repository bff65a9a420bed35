"""Least squares without negative weights, from normal equations.

    minimise x' A x / 2 - b' x   subject to x >= 0,   A symmetric and positive definite

Block principal pivoting (Portugal, Júdice and Vicente 1994): guess which weights are positive,
solve for them, exchange all that contradict the guess. Started from the solution of a similar
problem it needs a few small solves, where an active set built up from nothing needs one per weight.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve, cholesky, solve_triangular
from scipy.optimize import nnls as from_rows

Array = NDArray[Any]  # of floats
PATIENCE = 3  # full exchanges without progress before single ones
ROUNDS = 400


def nnls(a: Array, b: Array, start: Array | None = None) -> Array:
    """Return the weights, (m, m), (m) -> (m).

    Args:
        a: Gram matrix.
        b: right-hand side.
        start: weights of a similar problem.
    """
    size = len(b)
    free = np.zeros(size, bool) if start is None else start > 0
    tolerance = 1e-12 * max(float(np.abs(b).max(initial=0.0)), 1e-300)
    best, patience = size + 1, PATIENCE
    x = np.zeros(size)
    for _ in range(ROUNDS):
        x[:] = 0
        if free.any():
            try:
                x[free] = cho_solve(cho_factor(a[np.ix_(free, free)], check_finite=False), b[free])
            except LinAlgError:
                return _slow(a, b)
        slope = a @ x - b
        wrong = np.where(free, x < 0, slope < -tolerance)
        count = int(wrong.sum())
        if not count:
            return x
        if count < best:
            best, patience = count, PATIENCE
        elif patience:
            patience -= 1
        else:
            wrong[: np.flatnonzero(wrong)[-1]] = False
        free = free ^ wrong
    return _slow(a, b)


def _slow(a: Array, b: Array) -> Array:
    root = cholesky(a + 1e-14 * np.trace(a) * np.eye(len(b)), lower=False)
    return from_rows(root, solve_triangular(root, b, trans="T"))[0]
