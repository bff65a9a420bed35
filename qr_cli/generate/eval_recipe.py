"""The recipe of `qr eval generate`: base, adapters, prompts, judges. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from qr_cli.engine.recipe import Recipe, Report, Section, Seed
from qr_cli.generate.sample_recipe import Eta


class Target(Section):
    """What is evaluated."""

    base: Annotated[
        str, Field(min_length=1, description="Base: tiny, or a diffusers folder of SD 1.x / 2.x.")
    ] = "tiny"
    adapter: Annotated[
        tuple[str, ...], Field(description="Adapters; several are training seeds of one.")
    ] = ("tiny",)
    eta: Annotated[
        float | None,
        Field(ge=0, le=2, description="Share of the adapted embedding; default: adapter's."),
    ] = None
    attention_axis: Annotated[
        Literal["token", "batch", "none"] | None,
        Field(description="What step 1 attends along; default: adapter's."),
    ] = None
    strict: Annotated[bool, Field(description="Refuse an adapter made for another base.")] = False


class Question(Section):
    """What is asked of it."""

    suite: Annotated[
        str, Field(min_length=1, description="Prompts: a name, dpg:FOLDER or a .jsonl file.")
    ] = "tiny/recombined"
    judges: Annotated[
        tuple[str, ...], Field(description="Who looks; default: all that fit the suite.")
    ] = ()
    clip: Annotated[str | None, Field(description="CLIP folder for CLIPScore; default: none.")] = (
        None
    )
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1, description="Seeds of the noise.")] = (
        0,
    )
    sweep_eta: Annotated[
        tuple[Eta, ...], Field(description="Ask all of it at several etas, too.")
    ] = ()
    images: Annotated[bool, Field(description="Draw pictures.")] = True
    resamples: Annotated[
        int, Field(ge=100, le=1_000_000, description="Bootstrap draws of prompts.")
    ] = 10_000


class EvalSampling(Section):
    """How it is drawn."""

    steps: Annotated[
        int | None, Field(ge=1, le=1000, description="Denoising steps; default: base's, or 50.")
    ] = None
    guidance: Annotated[
        float | None, Field(ge=0, description="Guidance scale; default: base's, or 7.5.")
    ] = None
    batch_size: Annotated[int, Field(ge=1, description="Pictures drawn at once.")] = 60
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"], Field(description="Where to compute:")
    ] = "auto"
    precision: Annotated[
        Literal["fp32", "bf16", "fp16"], Field(description="Arithmetic of the base:")
    ] = "fp32"


class GenerateEval(Recipe):
    """Evaluation of SUR-adapters."""

    task: Literal["generate"] = "generate"
    target: Target = Target()
    question: Question = Question()
    sampling: EvalSampling = EvalSampling()
    report: Report = Report()

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for flag, values in (
            ("--seeds", self.question.seeds),
            ("--sweep-eta", self.question.sweep_eta),
            ("--adapter", self.target.adapter),
        ):
            if len(set(values)) != len(values):
                raise ValueError(f"{flag}: must differ, got {','.join(map(str, values))}")
        return self
