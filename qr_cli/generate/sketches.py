"""Pictures of prompts of one's own while an adapter is trained: a grid each time it is validated.

`validation/align-000500.png` stands in the run's folder: a row per prompt, drawn by the base and by
the base through the adapter as it is after 500 updates, from the same noise every time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qr_cli.engine.figures import LIGHT
from qr_cli.engine.run import RunFolder
from qr_cli.errors import DataError
from qr_cli.generate.adapter import SURAdapter
from qr_cli.generate.attach import attach
from qr_cli.generate.base import base_folder, load_base, wishes
from qr_cli.generate.draw import draw, noise, picture_size
from qr_cli.generate.grid import ROWS, Row, grid_figure, write_png
from qr_cli.generate.prompts import Prompt, from_file
from qr_cli.generate.recipe import SurTrain


class Sketches:
    """Draws the prompts of a file.

    Args:
        base: diffusers folder, or "tiny".
        file: prompts, as `qr generate --prompts` reads them; the first 12 are drawn.
        device: where they are drawn.

    Raises:
        DataError: a prompt cannot be drawn, or there is none.
    """

    def __init__(self, base: str, file: str, device: torch.device) -> None:
        self.prompts = _prompts(file)
        self.pipe = load_base(base, device=device)
        self.wished = wishes(base_folder(base))
        height, width = picture_size(self.pipe, None, None)
        seeds = [prompt.number if prompt.seed is None else prompt.seed for prompt in self.prompts]
        self.latents = noise(self.pipe, seeds, height=height, width=width)
        self.plain = self._drawn()

    @torch.no_grad()
    def write(self, adapter: SURAdapter, path: Path) -> None:
        """Draw with an adapter as it is now and write the grid."""
        was = adapter.training
        adapter.eval()
        with attach(self.pipe, adapter):
            now = self._drawn()
        adapter.train(was)
        rows = [
            Row(prompt.text, (before, after))
            for prompt, before, after in zip(
                self.prompts, self.plain.numpy(), now.numpy(), strict=True
            )
        ]
        write_png(path, grid_figure(LIGHT, ("base", f"adapter, {path.stem}"), rows))

    def _drawn(self) -> Tensor:
        pictures = [
            draw(
                self.pipe, [prompt.text], [prompt.negative or ""], latents[None],
                steps=prompt.steps or self.wished.steps,
                guidance=self.wished.guidance if prompt.guidance is None else prompt.guidance,
            ).pictures
            for prompt, latents in zip(self.prompts, self.latents, strict=True)
        ]  # fmt: skip
        return torch.cat(pictures)


def place_of(folder: RunFolder, recipe: SurTrain) -> Path:
    """Return where the pictures of the validation that is now go, named after phase and updates."""
    aligns = bool(folder.phase) or not recipe.diffusion.diffusion_steps
    most = recipe.schedule.steps if aligns else recipe.diffusion.diffusion_steps
    before = sum(record["event"] == "epoch" for record in folder.records())
    step = min((before + 1) * recipe.schedule.validate_every, most)
    run = folder.path.parent.parent if folder.phase else folder.path
    return run / "validation" / f"{'align' if aligns else 'diffusion'}-{step:06d}.png"


def _prompts(file: str) -> list[Prompt]:
    found: list[Any] = []
    for prompt in from_file(file, "--validation-prompts"):
        if prompt.fault is not None:
            raise prompt.fault
        found.append(prompt)
        if len(found) == ROWS:
            break
    if not found:
        raise DataError(f"--validation-prompts: {file} holds no prompt", hint="one prompt a line")
    return found
