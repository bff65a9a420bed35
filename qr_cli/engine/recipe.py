"""What a run is made of: frozen, validated sections, the one source of flags, YAML keys and help.

A recipe is a `Recipe` whose fields are `Section`s. A leaf ``optim.lr`` is the key ``optim: {lr: }``
in YAML and the flag ``--lr``; a leaf with an ambiguous name carries its flag in
``json_schema_extra={"flag": "--optimizer"}``. Values are JSON-able; what is derived from them is a
property. Imports no torch: `qr ... --help` reads these classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Section(BaseModel):
    """A group of settings: frozen, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Recipe(Section):
    """All sections of one job; a subclass names its task and adds its own sections."""

    def changed(self, section: str, **values: object) -> Self:
        """Return a copy with other values in one section, not validated again."""
        old: Section = getattr(self, section)
        return self.model_copy(update={section: old.model_copy(update=values)})


class Report(Section):
    """Where the report goes."""

    out: Annotated[str | None, Field(description="Folder of a report; default: none.")] = None
    overwrite: Annotated[bool, Field(description="Replace a report that is there.")] = False


class Optim(Section):
    """How the weights are updated."""

    optimizer: Annotated[Literal["sgd", "adam", "adamw"], Field(description="Update rule:")] = "sgd"
    lr: Annotated[float, Field(gt=0, description="Peak learning rate.")] = 0.05
    momentum: Annotated[float, Field(ge=0, lt=1, description="Momentum of sgd.")] = 0.9
    nesterov: Annotated[bool, Field(description="Use Nesterov momentum (sgd).")] = True
    weight_decay: Annotated[float, Field(ge=0, description="Weight decay.")] = 5e-4
    decay: Annotated[
        Literal["all", "weights"], Field(description="Decay all, or only matrices and filters:")
    ] = "all"
    clip_norm: Annotated[float, Field(ge=0, description="Clip the gradient norm; 0: off.")] = 0.0


class Schedule(Section):
    """How long to train, and how the learning rate moves."""

    epochs: Annotated[int, Field(ge=1, description="Passes over the training data.")] = 10
    max_steps: Annotated[int | None, Field(ge=1, description="Stop after so many updates.")] = None
    schedule: Annotated[
        Literal["onecycle", "cosine", "linear", "multistep", "constant"],
        Field(description="Course of the learning rate:"),
    ] = "onecycle"
    milestones: Annotated[
        tuple[Annotated[int, Field(ge=0)], ...],
        Field(description="Epochs (from 0) at which multistep drops."),
    ] = (81, 122)
    gamma: Annotated[float, Field(gt=0, le=1, description="Factor of each drop.")] = 0.1
    warmup_epochs: Annotated[
        float, Field(ge=0, description="Linear warm-up, in epochs (not onecycle).")
    ] = 0.0
    ema: Annotated[float, Field(ge=0, lt=1, description="Decay of averaged weights; 0: off.")] = 0.0
    patience: Annotated[
        int, Field(ge=0, description="Stop after so many epochs without gain; 0: off.")
    ] = 0

    @model_validator(mode="after")
    def _milestones(self) -> Self:
        if self.schedule != "multistep":
            return self
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"--milestones: must increase, got {_listed(self.milestones)}")
        if self.milestones and self.milestones[-1] >= self.epochs:
            raise ValueError(
                f"--milestones: {self.milestones[-1]} is not below --epochs {self.epochs}"
            )
        return self

    @model_validator(mode="after")
    def _warmup(self) -> Self:
        if self.warmup_epochs and self.schedule == "onecycle":
            raise ValueError(
                "--warmup-epochs: onecycle has its own warm-up; use another --schedule"
            )
        if self.warmup_epochs > self.epochs:
            raise ValueError(
                f"--warmup-epochs: {self.warmup_epochs:g} is more than --epochs {self.epochs}"
            )
        return self


class Loader(Section):
    """How samples become batches."""

    batch_size: Annotated[int, Field(ge=1, description="Samples per step over all processes.")] = 64
    accumulate: Annotated[
        int, Field(ge=1, description="Batches whose gradients make one update.")
    ] = 1
    eval_batch_size: Annotated[int, Field(ge=1, description="Samples per evaluation step.")] = 500
    workers: Annotated[int, Field(ge=0, description="Processes that read files; 0: none.")] = 0
    drop_last: Annotated[bool, Field(description="Leave out an incomplete last batch.")] = False


class Run(Section):
    """Where it runs, what is kept."""

    name: Annotated[
        str | None,
        Field(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
            max_length=120,
            description="Name of the run folder; default: from the model.",
        ),
    ] = None
    out: Annotated[str, Field(description="Folder of all runs.")] = "runs"
    seed: Annotated[Seed, Field(description="Seed of weights, order and noise.")] = 0
    seeds: Annotated[
        tuple[Seed, ...], Field(description="Several seeds: one run folder each.")
    ] = ()
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"], Field(description="Where to compute:")
    ] = "auto"
    num_processes: Annotated[
        int, Field(ge=1, le=1024, description="Processes that share each batch.")
    ] = 1
    precision: Annotated[
        Literal["fp32", "bf16", "fp16"], Field(description="Arithmetic of the forward pass:")
    ] = "fp32"
    channels_last: Annotated[bool, Field(description="Keep images channels-last.")] = True
    compile: Annotated[bool, Field(description="Compile the model with torch.compile.")] = False
    deterministic: Annotated[
        bool, Field(description="Refuse operations that are not repeatable.")
    ] = False
    sync_bn: Annotated[bool, Field(description="Share batch statistics over processes.")] = True
    tracker: Annotated[
        Literal["none", "tensorboard", "trackio", "wandb", "mlflow"],
        Field(description="Also log to a tracker:"),
    ] = "none"
    log_steps: Annotated[
        int, Field(ge=1, description="Steps between checks of the loss and step records.")
    ] = 50
    save_steps: Annotated[
        int, Field(ge=0, description="Also save every N steps; 0: at epoch ends.")
    ] = 0
    keep: Annotated[int, Field(ge=1, description="Checkpoints kept besides the best.")] = 2

    @model_validator(mode="after")
    def _seeds(self) -> Self:
        if self.seeds and "seed" in self.model_fields_set and self.seed:
            raise ValueError("--seeds: cannot go with --seed")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"--seeds: must differ, got {_listed(self.seeds)}")
        return self


class TrainRecipe(Recipe):
    """A recipe of a training job. Subclasses list the sections, in the order of their help."""

    if TYPE_CHECKING:
        task: str
        optim: Optim
        schedule: Section
        loader: Loader
        run: Run

    @property
    def run_name(self) -> str:
        """Return the name of the run folder."""
        return self.run.name or f"run-s{self.run.seed}"

    @property
    def limits(self) -> dict[str, Any]:
        """Return when the main phase stops: epochs, max_steps, ema, patience of its schedule."""
        return self.schedule.model_dump(include={"epochs", "max_steps", "ema", "patience"})

    def per_seed(self) -> list[Self]:
        """Return one recipe per seed of --seeds, each with a run folder of its own."""
        if not self.run.seeds:
            return [self]
        name = self.run.name
        return [
            self.changed("run", seed=seed, seeds=(), name=name and f"{name}-s{seed}")
            for seed in self.run.seeds
        ]


def _listed(values: tuple[int, ...]) -> str:
    return ",".join(map(str, values))
