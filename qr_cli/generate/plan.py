"""What `qr train sur-adapter --dry-run` shows: from configs and rows, without encoding a word."""

from __future__ import annotations

from typing import Any

import torch

from qr_cli.generate.adapter import SURAdapter
from qr_cli.generate.parts import check_heads
from qr_cli.generate.recipe import SurTrain
from qr_cli.generate.surd import Row, read_surd, split_rows


def plan(recipe: SurTrain) -> dict[str, Any]:
    """Return rows, parameters and updates.

    Raises:
        DataError: the data or the base cannot be used.
    """
    width = check_heads(recipe.model.base, recipe.model.heads)
    if recipe.data.data == "tiny":
        from qr_cli.generate.world import surd_rows

        rows = [Row((row["text"],), (row["prompt"],), None, row) for row in surd_rows("train")]
    else:
        rows = read_surd(recipe.data.data, pictures=False, skip_missing=recipe.data.skip_missing)
    train, val = split_rows(rows)
    with torch.device("meta"):
        adapter = SURAdapter(
            width,
            num_layers=recipe.model.depth,
            num_heads=recipe.model.heads,
            ffn_dim=recipe.model.ffn,
        )
    diffusion = recipe.diffusion
    return {
        "event": "plan",
        "rows": len(train[: recipe.data.max_samples]),
        "val_rows": len(val),
        "text_width": width,
        "parameters": sum(p.numel() for p in adapter.parameters()),
        "teacher": recipe.teacher.teacher if recipe.distils else "none",
        "steps": recipe.schedule.steps,
        "diffusion_steps": recipe.schedule.steps if diffusion.joint else diffusion.diffusion_steps,
        "loads_unet": recipe.needs_pictures,
    }
