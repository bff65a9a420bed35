"""Base, adapter and folder of one call of `qr generate`: draws, writes and describes pictures.

A picture's name is its prompt's number and its seed, ``00017-3.png``; with several variants the
variant too, ``00017-3-base.png``, ``00017-3-eta0.25.png``. All variants start from the same noise.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from qr_cli.engine.accelerator import process_state
from qr_cli.engine.launch import is_child
from qr_cli.errors import EnvironmentFault, QrError, UsageError
from qr_cli.generate.attach import attach
from qr_cli.generate.base import base_folder, load_base, set_solver, wishes
from qr_cli.generate.draw import draw, noise, picture_size
from qr_cli.generate.encode import tokenize
from qr_cli.generate.folder import find_adapter
from qr_cli.generate.prompts import Prompt
from qr_cli.generate.sample_recipe import Generate
from qr_cli.generate.sidecar import Facts, matches, write_picture

log = logging.getLogger(__name__)
Record = dict[str, Any]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Variant(NamedTuple):
    """How a picture is drawn: with how much of the adapter, under which name."""

    name: str
    eta: float
    suffix: str


@dataclass(frozen=True)
class Picture:
    """A picture to be: of which prompt, from which noise, how."""

    prompt: Prompt
    negative: str
    seed: int
    steps: int
    guidance: float

    def path(self, folder: Path, variant: Variant) -> Path:
        """Return where it goes."""
        return folder / f"{self.prompt.number:05d}-{self.seed}{variant.suffix}.png"


Batch = list[Picture]


class Studio:
    """Base, adapter and folder: makes the pictures of a batch."""

    def __init__(self, recipe: Generate, *, overwrite: bool = False, resume: bool = False) -> None:
        model, how = recipe.model, recipe.sampling
        self.recipe, self.overwrite, self.resume = recipe, overwrite, resume
        folder = base_folder(model.base)
        wished = wishes(folder)
        self.steps = how.steps or wished.steps
        self.guidance = wished.guidance if how.guidance is None else how.guidance
        self.pipe = load_base(
            model.base, device=device_of(recipe.job.device), dtype=DTYPES[recipe.job.precision]
        )
        if not how.safety_checker:
            self.pipe.safety_checker = None
        set_solver(self.pipe, how.scheduler)
        self.height, self.width = picture_size(self.pipe, how.height, how.width)
        self.attached = None
        if model.adapter_name:
            adapter = find_adapter(
                model.adapter_name, eta=model.eta, attention_axis=model.attention_axis
            )
            self.attached = attach(self.pipe, adapter, eta=model.eta, strict=model.strict)
        self.variants = _variants(recipe, None if self.attached is None else self.attached.eta)
        self.facts = Facts(recipe, self.pipe, self.attached, (self.height, self.width))
        self.out = Path(recipe.job.out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.too_long = 0

    def pictures(self, prompt: Prompt) -> Iterator[Picture]:
        """Yield the pictures of a prompt: what it says for itself, else what the call says."""
        asked = self.recipe.prompts
        first = (
            asked.seed + prompt.number * asked.num_images if prompt.seed is None else prompt.seed
        )
        for k in range(asked.num_images):
            yield Picture(
                prompt,
                asked.negative if prompt.negative is None else prompt.negative,
                first + k,
                self.steps if prompt.steps is None else prompt.steps,
                self.guidance if prompt.guidance is None else float(prompt.guidance),
            )

    def check_free(self, prompts: Iterable[Prompt]) -> None:
        """Raise `UsageError` where a picture is there and may be neither replaced nor kept."""
        if self.overwrite or self.resume:
            return
        pictures = (picture for prompt in prompts for picture in self.pictures(prompt))
        for picture in pictures:
            for variant in self.variants:
                self._check_free(picture.path(self.out, variant))

    def make(self, batch: Batch) -> list[Record]:
        """Draw, write and describe a batch; a fault is the answer of each of its pictures.

        Raises:
            EnvironmentFault: the machine refuses, which is no fault of a prompt.
        """
        try:
            if batch[0].prompt.fault:
                raise batch[0].prompt.fault
            return self._make(batch)
        except EnvironmentFault:
            raise
        except QrError as error:
            fault = {"message": error.message, "hint": error.hint, "exit_code": error.exit_code}
            return [{"id": picture.prompt.id, "error": fault} for picture in batch]

    def count(self, record: Record) -> None:
        """Count pictures of prompts that were cut."""
        self.too_long += bool(record.get("truncated"))

    def warn(self) -> None:
        """Say once how many there were."""
        if self.too_long:
            limit = self.pipe.tokenizer.model_max_length
            log.warning("%d pictures: the prompt is cut after %d tokens", self.too_long, limit)

    def _make(self, batch: Batch) -> list[Record]:
        texts = [picture.prompt.text for picture in batch]
        lengths = tokenize(self.pipe.tokenizer, texts).lengths.tolist()
        latents = noise(
            self.pipe, [picture.seed for picture in batch], height=self.height, width=self.width
        )
        made: list[list[Record]] = [[] for _ in batch]
        for variant in self.variants:
            wanted = [
                self.facts.sidecar(picture, variant, length)
                for picture, length in zip(batch, lengths, strict=True)
            ]
            paths = [picture.path(self.out, variant) for picture in batch]
            kept = self.resume and all(map(matches, paths, wanted))
            if not kept:
                self._draw(batch, variant, latents, wanted, paths)
            for record, picture, path, facts in zip(made, batch, paths, wanted, strict=True):
                record.append(_record(picture, path, facts, kept=kept))
        return [record for part in made for record in part]

    def _draw(
        self, batch: Batch, variant: Variant, latents: torch.Tensor, wanted: list[Record],
        paths: list[Path],
    ) -> None:  # fmt: skip
        """Draw a batch in one variant and write it."""
        if not (self.overwrite or self.resume):
            for path in paths:
                self._check_free(path)
        if self.attached is not None:
            self.attached.eta = variant.eta
        done = draw(
            self.pipe,
            [picture.prompt.text for picture in batch],
            [picture.negative for picture in batch],
            latents,
            steps=batch[0].steps,
            guidance=batch[0].guidance,
            clip_skip=self.recipe.sampling.clip_skip,
        )
        for pixels, flagged, facts, path in zip(*done, wanted, paths, strict=True):
            facts["flagged"] = flagged
            write_picture(path, pixels.numpy(), facts)

    def _check_free(self, path: Path) -> None:
        if path.exists():
            raise UsageError(
                f"--out: {path} is there already",
                hint="--overwrite replaces it, --resume keeps it, --out names another folder",
            )


def _variants(recipe: Generate, eta: float | None) -> list[Variant]:
    if eta is None:
        return [Variant("base", 0.0, "")]
    if recipe.compare.sweep_eta:
        return [Variant(f"eta{e:g}", e, f"-eta{e:g}") for e in recipe.compare.sweep_eta]
    own = Variant("adapter", eta, "")
    return [Variant("base", 0.0, "-base"), own] if recipe.compare.compare else [own]


def _record(picture: Picture, path: Path, facts: Record, *, kept: bool) -> Record:
    record = {
        "event": "picture",
        "id": picture.prompt.id,
        "prompt": picture.prompt.text,
        "variant": facts["variant"],
        "eta": facts["eta"],
        "seed": picture.seed,
        "image": path.as_posix(),
        "steps": picture.steps,
        "guidance": picture.guidance,
        "flagged": facts["flagged"],
        "prompt_tokens": facts["prompt_tokens"],
        "truncated": facts["truncated"],
    }
    return record | ({"kept": True} if kept else {})


def device_of(name: str) -> torch.device:
    """Return the device of this process: the one named, or the best there is."""
    if is_child():
        return process_state(name).device
    if name != "auto":
        return torch.device(name)
    return torch.device(
        "cuda"
        if torch.cuda.is_available()
        else "mps"
        if torch.backends.mps.is_available()
        else "cpu"
    )
