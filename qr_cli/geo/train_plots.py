"""Plots of a training run: losses, held-out figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qr_cli.engine.report import Plot


def training_plots(records: Sequence[dict[str, Any]]) -> list[Plot]:
    """Return the figures of the report."""
    return []
