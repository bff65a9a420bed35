"""What can be named in this room. Imports no torch, numpy or scipy."""

from __future__ import annotations

from qr_cli.errors import UsageError, near
from qr_cli.registry import Entry, Registry

_HOME = "qr_cli.fuse.methods"
METHODS = Registry(
    kind="fusion method",
    entries={
        "auto": Entry(f"{_HOME}.auto:fit", "noise-aware regression, local, back-projected (ours)"),
        "adasr": Entry(f"{_HOME}.adasr:fit", "ADASR: the published networks, or fast and blind"),
        "udaln": Entry(f"{_HOME}.udaln:fit", "UDALN: its parent, three stages, unsupervised"),
        "ridge": Entry(f"{_HOME}.ridge:fit_ridge", "linear regression, penalty by leave-one-out"),
        "glp": Entry(f"{_HOME}.ridge:fit_glp", "regression plus residual (GLP-HS, SFIM-HS)"),
        "fuse": Entry(f"{_HOME}.sylvester:fit", "Gaussian prior, Sylvester equation (Wei 2015)"),
        "cnmf": Entry(f"{_HOME}.cnmf:fit", "coupled non-negative factorisation (Yokoya 2012)"),
        "hysure": Entry(f"{_HOME}.hysure:fit", "subspace and total variation (Simoes 2015)"),
        "bicubic": Entry(f"{_HOME}.bicubic:fit", "the HSI on the fine grid, no fusion"),
    },
    group="qr_cli.fuse.methods",
    listing="qr list methods",
)
AUGMENTORS = ("adversarial", "official", "pointnet", "none")


def near_method(name: str) -> str:
    """Return the name if it can be one.

    Raises:
        UsageError: it is neither in the table nor ``package.module:Class``.
    """
    if ":" in name or name in METHODS:
        return name
    raise UsageError(f"unknown fusion method {name!r}{near(name, METHODS)}")
