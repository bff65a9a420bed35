"""Large models from local folders: BLIP answers questions, CLIP compares with text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import BlipForQuestionAnswering, BlipProcessor, CLIPModel, CLIPProcessor

from qr_cli.errors import UsageError, WeightsError
from qr_cli.generate.metrics import clip_score

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


class VqaJudge:
    """Asks the row's question of the picture; right if the answer is the row's.

    Equal after lower-casing, without articles, number words as digits.

    Raises:
        WeightsError: the folder holds no BlipForQuestionAnswering.
    """

    needs = "question"

    def __init__(self, folder: str) -> None:
        if not folder:
            raise UsageError("--judges: vqa needs a folder", hint="--judges vqa:FOLDER")
        self.model, self.processor = _loaded(folder, BlipForQuestionAnswering, BlipProcessor)

    @torch.no_grad()
    def __call__(self, pictures: Tensor, rows: Sequence[Mapping[str, Any]]) -> list[bool]:
        """(N, 3, H, W) in [0, 1] and N rows -> N verdicts."""
        asked = self.processor(
            images=list(pictures.float()), text=[row["question"] for row in rows],
            padding=True, do_rescale=False, return_tensors="pt",
        )  # fmt: skip
        said = self.processor.batch_decode(self.model.generate(**asked), skip_special_tokens=True)
        pairs = zip(said, rows, strict=True)
        return [plain_answer(answer) == plain_answer(str(row["answer"])) for answer, row in pairs]


def plain_answer(text: str) -> str:
    """Return an answer without case, articles, punctuation and number words."""
    words = [w for w in re.findall(r"[a-z0-9]+", text.lower()) if w not in ("a", "an", "the")]
    return " ".join(str(_NUMBERS.index(w)) if w in _NUMBERS else w for w in words)


class Clip:
    """CLIPScore of pictures against texts: 100 max(cos, 0).

    Raises:
        WeightsError: the folder holds no CLIPModel.
    """

    def __init__(self, folder: str) -> None:
        self.model, self.processor = _loaded(folder, CLIPModel, CLIPProcessor)

    @torch.no_grad()
    def __call__(self, pictures: Tensor, texts: Sequence[str]) -> Tensor:
        """(N, 3, H, W) in [0, 1] and N texts -> (N,)."""
        seen = self.processor(
            images=list(pictures.float()), text=list(texts), padding=True, truncation=True,
            do_rescale=False, return_tensors="pt",
        )  # fmt: skip
        pixels = seen.pop("pixel_values")
        image = self.model.get_image_features(pixel_values=pixels)
        text = self.model.get_text_features(**seen)
        return clip_score(*(_features(found) for found in (image, text)))


def _features(found: Any) -> Tensor:
    """Return the projected features; since transformers 5 they are a field of an output object."""
    return found if isinstance(found, Tensor) else found.pooler_output


def _loaded(folder: str, kind: type[Any], processor: type[Any]) -> tuple[Any, Any]:
    """Return the model and the processor of a local folder, refusing another class."""
    path = Path(folder)
    try:
        config = json.loads((path / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{folder} holds no {kind.__name__}: no readable config.json") from error
    found = (config.get("architectures") or ["nothing named"])[0]
    if found != kind.__name__:
        raise WeightsError(f"{folder} holds {found}, not {kind.__name__}")
    try:
        model = kind.from_pretrained(path, local_files_only=True).eval().requires_grad_(False)
        return model, processor.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise WeightsError(f"{folder} cannot be loaded: {reason}") from error
