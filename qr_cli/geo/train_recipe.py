"""What `qr train geo` can be told. Imports no torch.

Defaults are those of `geoformer-tiny`; the authors' values for `geoformer` stand in the recipes
`geo/unigeo-mep` and `geo/unigeo-official`.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from qr_cli.engine.recipe import Loader, Optim, Run, Schedule, Section, TrainRecipe

Share = Annotated[float, Field(ge=0)]
PhaseName = Literal["look", "mep", "unified"]


class Model(Section):
    """The network."""

    preset: Annotated[
        Literal["geoformer-tiny", "geoformer"], Field(description="Which Geoformer:")
    ] = "geoformer-tiny"
    weights: Annotated[
        str | None,
        Field(description="Start from: a run or shipped name (tiny), a T5-base folder."),
    ] = None
    resnet: Annotated[
        str | None, Field(description="ResNet-101 weights of geoformer, .safetensors or .pth.")
    ] = None
    dropout: Annotated[float, Field(ge=0, lt=1, description="Dropout.")] = 0.1


class Data(Section):
    """What is learnt from."""

    train: Annotated[
        tuple[str, ...],
        Field(min_length=1, description="Files of problems, or synth for generated ones."),
    ] = ("synth",)
    val: Annotated[
        tuple[str, ...], Field(description="Problems to choose the best epoch by; files or synth.")
    ] = ("synth",)
    samples: Annotated[
        int, Field(ge=1, description="Generated problems in all, none twice (synth).")
    ] = 600_000
    mix: Annotated[
        tuple[Share, Share, Share],
        Field(description="Shares of proofs, calculations, diagrams (synth)."),
    ] = (2.0, 2.0, 1.0)
    families: Annotated[
        tuple[str, ...], Field(description="Only these families (synth); default: all.")
    ] = ()
    max_text: Annotated[int, Field(ge=1, description="Words of a text that are read.")] = 200
    max_length: Annotated[
        int | None,
        Field(ge=1, description="Words of a target; default 72, of geoformer 200 pieces."),
    ] = None
    allow_truncation: Annotated[bool, Field(description="Cut texts and targets over it.")] = False
    augment: Annotated[bool, Field(description="Rename letters, shuffle Elements (files).")] = True
    word_drop: Annotated[
        float, Field(ge=0, lt=1, description="Chance that a plain word is read as unknown.")
    ] = 0.02
    phases: Annotated[tuple[PhaseName, ...], Field(description="What is trained, in order:")] = (
        "mep",
        "unified",
    )
    look_share: Annotated[
        float, Field(ge=0, lt=1, description="Share of samples for phase look (patches).")
    ] = 0.15

    @model_validator(mode="after")
    def _kinds(self) -> Self:
        if not any(self.mix):
            raise ValueError("--mix: one share must be above 0")
        order = [("look", "mep", "unified").index(phase) for phase in self.phases]
        if not order or order != sorted(set(order)) or self.phases[-1] == "look":
            told = ",".join(self.phases)
            raise ValueError(f"--phases: should be look,mep,unified or a part of it, got {told}")
        return self

    @property
    def shares(self) -> dict[str, float]:
        """Return the share of each kind."""
        return dict(zip(("proof", "calculation", "diagram"), self.mix, strict=True))


class Mep(Section):
    """Mathematical expression pre-training."""

    share: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="Share of the samples.",
            json_schema_extra={"flag": "--mep-share"},
        ),
    ] = 0.1
    epochs: Annotated[
        int,
        Field(ge=1, description="Passes over files.", json_schema_extra={"flag": "--mep-epochs"}),
    ] = 20
    solving: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="Chance of expressions, else denoising.",
            json_schema_extra={"flag": "--mep-mix"},
        ),
    ] = 0.5
    mask_ratio: Annotated[float, Field(gt=0, lt=1, description="Share of words masked.")] = 0.3
    redraw: Annotated[
        Literal["epoch", "once"],
        Field(
            description="Draw coin and mask anew each epoch, or once:",
            json_schema_extra={"flag": "--mep-redraw"},
        ),
    ] = "epoch"
    cut: Annotated[
        Literal["none", "official"],
        Field(
            description="Solutions without their mark; official loses a character:",
            json_schema_extra={"flag": "--mep-cut"},
        ),
    ] = "none"


class Loss(Section):
    """What is minimised."""

    aux: Annotated[
        float, Field(ge=0, description="Weight of the figure's class (tiny, synth).")
    ] = 0.3
    marks: Annotated[
        float, Field(ge=0, description="Weight of what stands in each patch (tiny, synth).")
    ] = 0.3
    smoothing: Annotated[float, Field(ge=0, lt=1, description="Label smoothing.")] = 0.05


class Vision(Section):
    """The diagrams."""

    vision: Annotated[bool, Field(description="Read diagrams at all.")] = True
    drop: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="Share shown without diagram.",
            json_schema_extra={"flag": "--vision-drop"},
        ),
    ] = 0.15
    drop_text: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="The same where the text suffices (synth).",
            json_schema_extra={"flag": "--vision-drop-text"},
        ),
    ] = 0.15
    bn: Annotated[
        Literal["eval", "official"],
        Field(
            description="ResNet's batch norms; official lets them drift:",
            json_schema_extra={"flag": "--vision-bn"},
        ),
    ] = "eval"


class Decode(Section):
    """How answers are written in evaluation."""

    length_penalty: Annotated[
        float, Field(ge=0, description="Exponent of the length; 0: sum, 1: mean.")
    ] = 0.0
    grammar: Annotated[bool, Field(description="Write what parses only.")] = True
    best: Annotated[
        Literal["figure", "bleu"],
        Field(description="What chooses the best epoch: acc@1 and valid@1, or BLEU:"),
    ] = "figure"


class GeoOptim(Optim):
    """How the weights are updated (AdamW)."""

    optimizer: Annotated[Literal["adamw"], Field(description="Update rule:")] = "adamw"
    lr: Annotated[float, Field(gt=0, description="Peak learning rate.")] = 1.5e-3
    beta2: Annotated[float, Field(ge=0, lt=1, description="Decay of squared gradients.")] = 0.98
    eps: Annotated[float, Field(gt=0, description="Added to their root.")] = 1e-8
    weight_decay: Annotated[float, Field(ge=0, description="Weight decay.")] = 0.01
    decay_norms: Annotated[bool, Field(description="Decay norm weights too, as the authors.")] = (
        False
    )
    clip_norm: Annotated[float, Field(ge=0, description="Clip the gradient norm; 0: off.")] = 1.0


class GeoSchedule(Schedule):
    """How long to train, and how the learning rate moves."""

    epochs: Annotated[
        int, Field(ge=1, description="Evaluations (synth) or passes over the files.")
    ] = 20
    schedule: Annotated[
        Literal["linear", "constant"], Field(description="Course of the learning rate:")
    ] = "linear"
    warmup: Annotated[
        float,
        Field(ge=0, description="Warm-up: updates, or below 1 a share of all."),
    ] = 500.0
    floor: Annotated[
        float, Field(ge=0, le=1, description="Share of --lr that is left at the end.")
    ] = 0.03
    ema: Annotated[float, Field(ge=0, lt=1, description="Decay of averaged weights; 0: off.")] = (
        0.999
    )


class GeoLoader(Loader):
    """How problems become batches."""

    batch_size: Annotated[int, Field(ge=1, description="Problems per step.")] = 48
    eval_batch_size: Annotated[int, Field(ge=1, description="Problems per evaluation step.")] = 16
    eval_samples: Annotated[
        int, Field(ge=1, description="Generated problems of each evaluation (synth).")
    ] = 120


class GeoTrain(TrainRecipe):
    """A Geoformer: problem and diagram in, program or proof out."""

    task: Literal["geo"] = "geo"
    model: Model = Model()
    data: Data = Data()
    mep: Mep = Mep()
    loss: Loss = Loss()
    vision: Vision = Vision()
    decode: Decode = Decode()
    optim: GeoOptim = GeoOptim()
    schedule: GeoSchedule = GeoSchedule()
    loader: GeoLoader = GeoLoader()
    run: Run = Run(device="cpu")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for flag, files in (("--train", self.data.train), ("--val", self.data.val)):
            if "synth" in files and len(files) > 1:
                raise ValueError(f"{flag}: synth stands alone, got {','.join(files)}")
        if self.model.preset == "geoformer":
            if self.data.train == ("synth",):
                raise ValueError("--train: geoformer learns from files, name them")
            if self.model.weights is None:
                raise ValueError(
                    "--weights: geoformer needs DIR with model.safetensors and spiece.model"
                )
        elif self.model.resnet is not None:
            raise ValueError("--resnet: belongs to --preset geoformer")
        if "look" in self.data.phases and self.data.train != ("synth",):
            raise ValueError("--phases: look needs --train synth")
        return self

    @property
    def limit(self) -> int:
        """Return the most words or pieces of a target."""
        return self.data.max_length or (72 if self.model.preset == "geoformer-tiny" else 200)

    @property
    def run_name(self) -> str:
        """Return the run folder's name: ``--name``, or the preset and the seed."""
        return self.run.name or f"{self.model.preset}-s{self.run.seed}"
