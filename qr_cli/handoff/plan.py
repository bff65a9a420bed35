"""What `qr train handoff --dry-run` shows: from the data and the recipe, without training."""

from __future__ import annotations

from typing import Any

import numpy as np

from qr_cli.handoff.recipe import Handoff
from qr_cli.handoff.task import HandoffTask


def plan(recipe: Handoff) -> dict[str, Any]:
    """Return dialogues, turns, labels, vocabulary, parameters and steps.

    Raises:
        DataError: the data cannot be used.
    """
    task = HandoffTask(recipe)
    corpus, labels = task.corpus, task.corpus.handoff
    known = ~np.isnan(labels)
    steps = -(-len(corpus) // (recipe.loader.batch_size * recipe.loader.accumulate))
    return {
        "event": "plan",
        "system": recipe.system,
        "dialogues": len(corpus),
        "val_dialogues": len(task.val) if task.val is not None else 0,
        "utterances": len(labels),
        "labelled": int(known.sum()),
        "transfers": int((labels[known] >= 0.5).sum()),
        "vocabulary": len(task.encoder.vocabulary),
        "parameters": sum(p.numel() for p in task.model.parameters()),
        "steps": 0 if recipe.model.base == "lr" else steps * recipe.schedule.epochs,
    }
