"""The recipe of this room: training a SUR-adapter. Imports no torch.

Defaults are ours. `--compat official` presets what the authors' code does; a value that is given
beside it wins, and the saved recipe holds what came out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from qr_cli.engine.recipe import Loader, Optim, Run, Section, TrainRecipe


class Data(Section):
    """Narratives, keyword prompts and pictures."""

    data: Annotated[
        str, Field(description='SURD folder, metadata.jsonl, or "tiny" (built in).')
    ] = "tiny"
    max_samples: Annotated[int | None, Field(ge=1, description="Use so many rows at most.")] = None
    skip_missing: Annotated[bool, Field(description="Leave out rows that cannot be used.")] = False
    resolution: Annotated[
        int, Field(ge=8, description="Side of a picture in pixels, after the crop.")
    ] = 512
    flip: Annotated[bool, Field(description="Mirror half of the pictures.")] = False
    validation_prompts: Annotated[
        str | None, Field(description="Draw the prompts of this file at each validation.")
    ] = None
    cache: Annotated[
        str | None, Field(description="Folder of embeddings and latents; default: of the user.")
    ] = None
    cache_dtype: Annotated[
        Literal["float32", "float16"], Field(description="Numbers in the cache:")
    ] = "float32"


class Model(Section):
    """The base it is for, and the adapter."""

    base: Annotated[str, Field(description='Diffusers folder, or "tiny" (built in).')] = "tiny"
    eta: Annotated[float, Field(ge=0, le=2, description="Share of the adapted embedding.")] = 0.1
    attention_axis: Annotated[
        Literal["token", "batch", "none"],
        Field(description="What the encoder attends along; batch: as released:"),
    ] = "token"
    ffn: Annotated[int, Field(ge=1, description="Inner width of the encoder's layers.")] = 2048
    depth: Annotated[int, Field(ge=1, description="Layers of the encoder.")] = 2
    heads: Annotated[int, Field(ge=1, description="Heads of the encoder.")] = 8
    dropout: Annotated[float, Field(ge=0, lt=1, description="Dropout of the encoder.")] = 0.1


class Teacher(Section):
    """The language model that is distilled."""

    teacher: Annotated[
        str, Field(description="Name (none, minilm, smollm2), model folder, or vectors.")
    ] = "none"
    teacher_layer: Annotated[
        str, Field(pattern=r"^(-?\d+|embed)$", description="Block, from 0 or from the end.")
    ] = "-1"
    teacher_pool: Annotated[
        Literal["auto", "mean", "last", "first"], Field(description="How tokens become one vector:")
    ] = "auto"
    llm_loss: Annotated[
        Literal["nce", "kl", "none"], Field(description="Its loss; kl: as released:")
    ] = "nce"
    llm_weight: Annotated[
        float | None, Field(ge=0, description="Its weight; default: 0.5, kl 1e-5.")
    ] = None
    llm_temperature: Annotated[float, Field(gt=0, description="Temperature of nce.")] = 0.1


class Loss(Section):
    """What the adapter is taught besides."""

    compat: Annotated[
        Literal["fixed", "official"], Field(description="Presets; official: as released:")
    ] = "fixed"
    prompt_loss: Annotated[
        Literal["nce", "mse", "kl"],
        Field(description="Towards the keywords; nce: with mse, kl: as released:"),
    ] = "nce"
    prompt_loss_on: Annotated[
        Literal["out", "z"], Field(description="Where that loss looks; z: before Nov 2023:")
    ] = "out"
    prompt_weight: Annotated[float, Field(ge=0, description="Weight of kl.")] = 1e-5
    mse_weight: Annotated[float, Field(ge=0, description="Weight of the squared error.")] = 1.0
    nce_weight: Annotated[float, Field(ge=0, description="Weight of the cross-entropy.")] = 1.0
    nce_temperature: Annotated[float, Field(gt=0, description="Temperature of nce.")] = 0.05
    temperature: Annotated[float, Field(gt=0, description="Temperature of kl.")] = 1.0
    identity_share: Annotated[
        float, Field(ge=0, le=1, description="Rows that map keywords to themselves.")
    ] = 0.25
    empty_share: Annotated[
        float, Field(ge=0, le=1, description="Rows of the empty prompt (align phase).")
    ] = 0.05

    @model_validator(mode="after")
    def _shares(self) -> Self:
        if self.identity_share + self.empty_share > 1:
            raise ValueError(
                f"--identity-share {self.identity_share:g} and --empty-share {self.empty_share:g} "
                "are more than 1 together"
            )
        return self


class Diffusion(Section):
    """The frozen U-Net as a teacher."""

    diffusion_steps: Annotated[
        int, Field(ge=0, description="Updates with its loss after --steps; 0: none.")
    ] = 0
    joint: Annotated[bool, Field(description="One phase: its loss beside all others.")] = False
    diffusion_weight: Annotated[float, Field(ge=0, description="Weight of its loss.")] = 10.0
    diffusion_align_weight: Annotated[
        float, Field(ge=0, description="Factor on the other losses meanwhile.")
    ] = 0.5
    diffusion_lr: Annotated[float, Field(gt=0, description="Peak learning rate meanwhile.")] = 3e-4
    diffusion_warmup_steps: Annotated[
        int, Field(ge=0, description="Updates of its linear warm-up.")
    ] = 20
    diffusion_gradient: Annotated[
        Literal["on", "off"], Field(description="Into the adapter; off: cut, as released:")
    ] = "on"
    snr_gamma: Annotated[
        float | None, Field(gt=0, description="Weight steps by min(snr, gamma).")
    ] = None
    noise_offset: Annotated[float, Field(ge=0, description="Noise shared by all pixels.")] = 0.0


class SurOptim(Optim):
    """How the weights are updated."""

    optimizer: Annotated[Literal["sgd", "adam", "adamw"], Field(description="Update rule:")] = (
        "adamw"
    )
    lr: Annotated[float, Field(gt=0, description="Peak learning rate.")] = 2e-3
    weight_decay: Annotated[float, Field(ge=0, description="Weight decay.")] = 0.01
    clip_norm: Annotated[float, Field(ge=0, description="Clip the gradient norm; 0: off.")] = 1.0


class Steps(Section):
    """How long to train, and how the learning rate moves."""

    steps: Annotated[int, Field(ge=0, description="Updates of the align phase.")] = 2500
    warmup_steps: Annotated[int, Field(ge=0, description="Updates of the linear warm-up.")] = 200
    schedule: Annotated[
        Literal["cosine", "constant"], Field(description="Course of the learning rate:")
    ] = "cosine"
    floor: Annotated[
        float, Field(ge=0, le=1, description="Share of the rate at the cosine's end.")
    ] = 0.02
    validate_every: Annotated[
        int, Field(ge=1, description="Updates between validations and checkpoints.")
    ] = 500


class SurLoader(Loader):
    """How rows become batches."""

    batch_size: Annotated[int, Field(ge=1, description="Rows per step over all processes.")] = 32
    eval_batch_size: Annotated[int, Field(ge=1, description="Rows per evaluation step.")] = 256


_OFFICIAL: dict[str, dict[str, Any]] = {  # what the authors' code does
    "model": {"attention_axis": "batch", "dropout": 0.1, "eta": 0.1},
    "teacher": {"llm_loss": "kl"},
    "loss": {"prompt_loss": "kl", "identity_share": 0.0, "empty_share": 0.0},
    "diffusion": {
        "joint": True,
        "diffusion_weight": 1.0,
        "diffusion_align_weight": 1.0,
        "diffusion_gradient": "off",
    },
    "optim": {"lr": 1e-5},
    "schedule": {"steps": 5000, "warmup_steps": 0, "schedule": "constant"},
    "loader": {"batch_size": 1, "accumulate": 4},
}


class SurTrain(TrainRecipe):
    """A SUR-adapter for one base model."""

    task: Literal["generate"] = "generate"
    data: Data = Data()
    model: Model = Model()
    teacher: Teacher = Teacher()
    loss: Loss = Loss()
    diffusion: Diffusion = Diffusion()
    optim: SurOptim = SurOptim()
    schedule: Steps = Steps()
    loader: SurLoader = SurLoader()
    run: Run = Run(channels_last=False)

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, values: Any) -> Any:
        """Fill in what --compat official stands for and nobody gave."""
        if not isinstance(values, Mapping) or not isinstance(values.get("loss", {}), Mapping):
            return values
        if values.get("loss", {}).get("compat") != "official":
            return values
        filled = dict(values)
        for section, preset in _OFFICIAL.items():
            given = filled.get(section, {})
            if isinstance(given, Mapping):
                filled[section] = preset | dict(given)
        return filled

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        loss, each = self.loss, self.loader.batch_size // self.run.num_processes
        if each < 2 and loss.prompt_loss == "nce" and loss.nce_weight:
            raise ValueError(
                f"--batch-size: nce needs at least 2 samples per process, got {each}; "
                "--prompt-loss kl needs one"
            )
        if each < 2 and self.distils and self.teacher.llm_loss == "nce":
            raise ValueError(
                f"--batch-size: --llm-loss nce needs at least 2 samples per process, got {each}"
            )
        if self.teacher.llm_weight and self.teacher.teacher == "none":
            raise ValueError(
                f"--llm-weight: {self.teacher.llm_weight:g}, but there is no teacher to distil; "
                "give --teacher"
            )
        if self.diffusion.joint and self.diffusion.diffusion_steps:
            raise ValueError("--diffusion-steps: with --joint all updates are --steps")
        if not self.schedule.steps and not self.diffusion.diffusion_steps:
            raise ValueError("--steps: 0, and --diffusion-steps is 0 too: nothing to train")
        return self

    @property
    def distils(self) -> bool:
        """Tell whether a language model takes part."""
        teacher = self.teacher
        return teacher.teacher != "none" and teacher.llm_loss != "none" and self.llm_weight > 0

    @property
    def llm_weight(self) -> float:
        """Return the weight of the language model's loss."""
        given = self.teacher.llm_weight
        return (
            given if given is not None else {"nce": 0.5, "kl": 1e-5}.get(self.teacher.llm_loss, 0.0)
        )

    @property
    def needs_pictures(self) -> bool:
        """Tell whether any phase computes the diffusion loss."""
        joint = self.diffusion.joint and self.diffusion.diffusion_weight > 0
        return bool(joint or self.diffusion.diffusion_steps)

    @property
    def run_name(self) -> str:
        """Return the run folder's name: ``--name``, or base, teacher and seed."""
        if self.run.name:
            return self.run.name
        parts = [PurePath(self.model.base).name or "base"]
        if self.distils:
            parts.append(PurePath(self.teacher.teacher).stem)
        if self.loss.compat == "official":
            parts.append("official")
        name = "".join(c if c.isalnum() or c in "._" else "-" for c in "-".join(parts))
        return f"sur-{name}-s{self.run.seed}"

    @property
    def limits(self) -> dict[str, Any]:
        """Return when the main phase stops; an epoch ends where it is validated."""
        steps = self.diffusion.diffusion_steps or self.schedule.steps
        return {"epochs": -(-steps // self.schedule.validate_every), "max_steps": steps}
