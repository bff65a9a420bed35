"""Pictures as training reads them: short side resized, centre crop, values in [-1, 1]."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from qr_cli.engine.pictures import decoded


def load_picture(path: Path, resolution: int, *, flip: bool = False) -> Tensor:
    """Return a picture as ``(3, resolution, resolution)``, mirrored where `flip`.

    Raises:
        DataError: it cannot be read.
    """
    image = decoded(path)
    scale = resolution / min(image.size)
    size = (
        max(resolution, round(image.width * scale)),
        max(resolution, round(image.height * scale)),
    )
    if size != image.size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (image.width - resolution) // 2, (image.height - resolution) // 2
    image = image.crop((left, top, left + resolution, top + resolution))
    pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 127.5 - 1
    return pixels.flip(2) if flip else pixels
