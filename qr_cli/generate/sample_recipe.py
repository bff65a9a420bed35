"""The recipe of `qr generate`: prompts, base, adapter, sampling. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from qr_cli.engine.recipe import Recipe, Section, Seed

Eta = Annotated[float, Field(ge=0, le=2)]


class Prompts(Section):
    """What is drawn."""

    prompt: Annotated[
        tuple[str, ...],
        Field(description="What to draw.", json_schema_extra={"argument": "PROMPT"}),
    ] = ()
    prompts: Annotated[
        str | None, Field(description="Prompts: FILE, one a line or .jsonl; - is stdin.")
    ] = None
    negative: Annotated[str, Field(description="What to keep out of the picture.")] = ""
    num_images: Annotated[int, Field(ge=1, description="Pictures per prompt.")] = 1
    seed: Annotated[Seed, Field(description="Seed of the first picture's noise.")] = 0

    @property
    def source(self) -> str | None:
        """Return the file the prompts stand in, "-" for stdin, or None for a PROMPT."""
        return "-" if self.prompt == ("-",) else self.prompts


class Model(Section):
    """What draws it."""

    base: Annotated[
        str, Field(min_length=1, description="Base: tiny, or a diffusers folder of SD 1.x / 2.x.")
    ] = "tiny"
    adapter: Annotated[
        str | None, Field(description="Adapter: tiny, none, FOLDER, run or .pt.")
    ] = None
    eta: Annotated[
        float | None,
        Field(ge=0, le=2, description="Share of the adapted embedding; default: adapter's."),
    ] = None
    attention_axis: Annotated[
        Literal["token", "batch", "none"] | None,
        Field(description="What step 1 attends along; default: adapter's."),
    ] = None
    strict: Annotated[bool, Field(description="Refuse an adapter made for another base.")] = False

    @property
    def adapter_name(self) -> str | None:
        """Return the adapter: what was asked for, else the one that ships with the tiny base."""
        if self.adapter == "none":
            return None
        return self.adapter or ("tiny" if self.base == "tiny" else None)


class Sampling(Section):
    """How it is drawn."""

    steps: Annotated[
        int | None, Field(ge=1, le=1000, description="Denoising steps; default: base's, or 50.")
    ] = None
    guidance: Annotated[
        float | None, Field(ge=0, description="Guidance scale; default: base's, or 7.5.")
    ] = None
    scheduler: Annotated[
        Literal["keep", "ddim", "dpm++", "euler"], Field(description="Solver:")
    ] = "keep"
    height: Annotated[int | None, Field(ge=8, description="Pixels; default: base's.")] = None
    width: Annotated[int | None, Field(ge=8, description="Pixels; default: base's.")] = None
    clip_skip: Annotated[int, Field(ge=0, description="Text layers left out at the end.")] = 0
    batch_size: Annotated[int, Field(ge=1, description="Pictures drawn at once.")] = 1
    safety_checker: Annotated[bool, Field(description="Keep the base's safety checker.")] = True


class Compare(Section):
    """With and without the adapter."""

    compare: Annotated[bool, Field(description="Draw each picture without it, too.")] = False
    sweep_eta: Annotated[
        tuple[Eta, ...], Field(description="Draw each picture at several etas.")
    ] = ()
    grid: Annotated[bool, Field(description="Also write all pictures as grid.png.")] = False


class Job(Section):
    """Where it runs, what is written."""

    out: Annotated[str, Field(min_length=1, description="Folder of the pictures.")] = "generated"
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"], Field(description="Where to compute:")
    ] = "auto"
    precision: Annotated[
        Literal["fp32", "bf16", "fp16"], Field(description="Arithmetic of the base:")
    ] = "fp32"
    num_processes: Annotated[
        int, Field(ge=1, le=1024, description="Processes that share the batches.")
    ] = 1


class Generate(Recipe):
    """Everything `qr generate` can be told."""

    task: Literal["generate"] = "generate"
    prompts: Prompts = Prompts()
    model: Model = Model()
    sampling: Sampling = Sampling()
    compare: Compare = Compare()
    job: Job = Job()

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.prompts.prompt and self.prompts.prompts:
            raise ValueError("--prompts: cannot go with a PROMPT")
        return self

    @model_validator(mode="after")
    def _something_to_compare(self) -> Self:
        asked = [
            flag
            for flag, given in (
                ("--compare", self.compare.compare),
                ("--sweep-eta", bool(self.compare.sweep_eta)),
                ("--eta", self.model.eta is not None),
            )
            if given
        ]
        if asked and self.model.adapter_name is None:
            raise ValueError(f"{', '.join(asked)}: no --adapter is given")
        if self.compare.compare and self.compare.sweep_eta:
            raise ValueError("--compare: cannot go with --sweep-eta; an eta of 0 is the bare base")
        if len(set(self.compare.sweep_eta)) != len(self.compare.sweep_eta):
            raise ValueError("--sweep-eta: values must differ")
        return self
