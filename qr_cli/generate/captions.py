"""Narratives for pictures, and how well both agree, by models from local folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from qr_cli.engine.pictures import decoded
from qr_cli.errors import WeightsError
from qr_cli.generate.metrics import clip_score

_BATCH = 8


def caption(folder: str, pictures: Sequence[Path]) -> list[str]:
    """Return a caption of each picture by BLIP."""
    model, processor = _loaded(folder, "BlipForConditionalGeneration")
    said: list[str] = []
    for start in range(0, len(pictures), _BATCH):
        images = [decoded(p) for p in pictures[start : start + _BATCH]]
        with torch.no_grad():
            ids = model.generate(**processor(images=images, return_tensors="pt"), max_new_tokens=40)
        said += [text.strip() for text in processor.batch_decode(ids, skip_special_tokens=True)]
    return said


def scores(folder: str, pictures: Sequence[Path], texts: Sequence[str]) -> list[float]:
    """Return the CLIPScore of each picture and its text, 0 to 100."""
    model, processor = _loaded(folder, "CLIPModel")
    found: list[float] = []
    for start in range(0, len(pictures), _BATCH):
        cut = slice(start, start + _BATCH)
        images = [decoded(path) for path in pictures[cut]]
        inputs = processor(
            text=list(texts[cut]), images=images, return_tensors="pt", padding=True, truncation=True
        )
        with torch.no_grad():
            outputs = model(**inputs)
        found += clip_score(outputs.image_embeds, outputs.text_embeds).tolist()
    return found


def _loaded(folder: str, kind: str) -> tuple[Any, Any]:
    """Return a model of transformers and its processor from a local folder.

    Raises:
        WeightsError: it is none of this kind.
    """
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        model = getattr(transformers, kind)
        if not issubclass(model.config_class, type(config)):
            raise WeightsError(f"{folder} holds a {config.model_type} model, not a {kind}")
        loaded = model.from_pretrained(folder, local_files_only=True).eval()
        processor = transformers.AutoProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{folder} holds no {kind}: {reason}") from error
    return loaded, processor
