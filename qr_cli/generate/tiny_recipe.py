"""The recipe of `qr data tiny-sd build`: how the tiny base is trained. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from qr_cli.engine.recipe import Recipe, Section, Seed


class Tiny(Section):
    """How the U-Net is trained."""

    steps: Annotated[int, Field(ge=1, description="Updates.")] = 1200
    batch_size: Annotated[int, Field(ge=1, description="Pictures per update.")] = 64
    lr: Annotated[float, Field(gt=0, description="Peak learning rate of AdamW.")] = 2e-3
    weight_decay: Annotated[float, Field(ge=0, description="Weight decay.")] = 0.01
    warmup: Annotated[int, Field(ge=0, description="Updates of the linear rise.")] = 100
    floor: Annotated[
        float, Field(ge=0, le=1, description="Share of the rate at the end of the cosine.")
    ] = 0.02
    clip_norm: Annotated[float, Field(gt=0, description="Clip the gradient norm.")] = 1.0
    empty_share: Annotated[
        float, Field(ge=0, lt=1, description="Share of empty prompts, for guidance.")
    ] = 0.1
    ema_decay: Annotated[
        float, Field(ge=0, lt=1, description="Decay of the mean of the weights.")
    ] = 0.998
    seed: Annotated[Seed, Field(description="Seed of weights, batches and noise.")] = 0


class Build(Section):
    """What becomes of it."""

    out: Annotated[str | None, Field(description="Folder to write.")] = None
    check: Annotated[bool, Field(description="Judge it beside the one that ships.")] = False
    overwrite: Annotated[bool, Field(description="Replace the folder.")] = False


class TinySd(Recipe):
    """The tiny base."""

    task: Literal["generate"] = "generate"
    tiny: Tiny = Tiny()
    build: Build = Build()

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if self.tiny.warmup >= self.tiny.steps:
            raise ValueError(f"--warmup: {self.tiny.warmup} is not below --steps {self.tiny.steps}")
        return self
