"""What `qr train geo --dry-run` shows: from the recipe and the data, without training."""

from __future__ import annotations

from typing import Any

from qr_cli.geo.task import task_of
from qr_cli.geo.train_recipe import GeoTrain


def plan(recipe: GeoTrain) -> dict[str, Any]:
    """Return problems, words, parameters and updates.

    Raises:
        DataError: the data cannot be used.
        WeightsError: weights are missing.
    """
    task = task_of(recipe)
    return {"event": "plan", "preset": recipe.model.preset, **task.facts()}
