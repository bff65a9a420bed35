"""The recipe of a training: an image classifier with attention.

Defaults are those of ours for `shapes` (short runs on a CPU); the authors' are in recipe files.
Imports no torch.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from qr_cli.attention.backbones.names import check_arch
from qr_cli.attention.grammar import check_module
from qr_cli.attention.srp.names import check_srp
from qr_cli.engine.recipe import Loader, Optim, Run, Schedule, Section, TrainRecipe
from qr_cli.errors import UsageError

STAGES = r"auto|all|last|last2|\d+(,\d+)*"


def checked(value: str, check: object) -> str:
    """Return what `check` makes of a value; its fault in the words of a recipe."""
    try:
        return str(check(value))  # type: ignore[operator]
    except UsageError as error:
        raise ValueError(error.message.removeprefix("--arch: ")) from error


def matches(value: str, pattern: str, words: str) -> str:
    """Return a value that fits a pattern, which `words` tell."""
    if not re.fullmatch(pattern, value):
        raise ValueError(f"should be {words}, got {value}")
    return value


class Model(Section):
    """The network."""

    arch: Annotated[
        str,
        AfterValidator(lambda v: checked(v, check_arch)),
        Field(description="Backbone: resnet20, torchvision:resnet50, ..", validate_default=True),
    ] = "resnet20"
    module: Annotated[
        str,
        AfterValidator(lambda v: checked(v, check_module)),
        Field(description="Attention: none, se, lsas(se,order=2), .."),
    ] = "se"
    stages: Annotated[
        str,
        AfterValidator(lambda v: matches(v, STAGES, "auto, all, last, last2 or stages as 1,3")),
        Field(description="Stages with attention: auto, all, last, last2 or 1,3."),
    ] = "auto"
    blocks: Annotated[
        str | None,
        AfterValidator(lambda v: v and matches(v, "[01 ,]+", "one 0 or 1 per block")),
        Field(description="Blocks with attention: one 0 or 1 each."),
    ] = None
    place: Annotated[
        Literal["auto", "branch", "stage-end"], Field(description="Where in a stage:")
    ] = "auto"
    srp: Annotated[
        str | None,
        AfterValidator(lambda v: v and checked(v, check_srp)),
        Field(description="Blocks for 3x3 convolutions: repvgg, dbb, mobileone(..), .."),
    ] = None
    srp_at: Annotated[
        Literal["blocks", "all"], Field(description="Where: blocks, or all (the stem too):")
    ] = "blocks"
    srp_init: Annotated[
        Literal["auto", "official", "preserve"],
        Field(description="Start of blocks; preserve keeps the function:"),
    ] = "auto"
    identity_start: Annotated[
        Literal["auto", "yes", "no"],
        Field(description="Attention starts as the identity; auto: on weights:"),
    ] = "auto"
    replace: Annotated[bool, Field(description="Replace attention that is there.")] = False
    weights: Annotated[
        str | None,
        Field(description="Start from torchvision, timm, FILE or official:FILE."),
    ] = None
    checkpoint: Annotated[
        str | None, Field(description="Start from the weights of a run of ours.")
    ] = None
    reset_head: Annotated[bool, Field(description="Do not load the classifier.")] = False
    num_classes: Annotated[
        int | None, Field(ge=2, description="Classes; default: those of the data.")
    ] = None
    freeze: Annotated[Literal["none", "backbone"], Field(description="What is not trained:")] = (
        "none"
    )

    @model_validator(mode="after")
    def _blocks(self) -> Self:
        for flag, value in (("srp-at", self.srp_at), ("srp-init", self.srp_init)):
            if self.srp is None and value not in ("blocks", "auto"):
                raise ValueError(f"--{flag}: belongs to --srp, got {value}")
        return self


class Data(Section):
    """The images."""

    data: Annotated[
        str, Field(min_length=1, description="Source: shapes, cifar10, npz:F, folder:D, PATH.")
    ] = "shapes"
    test_data: Annotated[
        str | None, Field(description="Source of the test images; default: its own.")
    ] = None
    val: Annotated[str | None, Field(description="Share of the training images, or a source.")] = (
        None
    )
    data_root: Annotated[
        str | None, Field(description="Folder of downloads; default: $QR_DATA or cache.")
    ] = None
    download: Annotated[bool, Field(description="Fetch what is missing.")] = False
    image_size: Annotated[int | None, Field(ge=8, description="Side in pixels.")] = None
    augment: Annotated[
        Literal["auto", "crop-flip", "flip", "none", "imagenet"],
        Field(description="Changes to training images; auto: by source:"),
    ] = "auto"
    normalize: Annotated[
        Literal["auto", "cifar", "imagenet", "half", "data"],
        Field(description="Mean and deviation; auto: by source:"),
    ] = "auto"
    limit_train: Annotated[int | None, Field(ge=1, description="Use so many training images.")] = (
        None
    )
    label_noise: Annotated[
        float, Field(ge=0, lt=1, description="Share of training labels to make wrong.")
    ] = 0.0
    memory_limit: Annotated[
        float, Field(gt=0, description="GiB of decoded images kept in memory.")
    ] = 4.0
    skip_bad: Annotated[bool, Field(description="Count damaged files and go on.")] = False


class Loss(Section):
    """What is minimised."""

    aux_weight: Annotated[
        Literal["auto"] | Annotated[float, Field(ge=0)],
        Field(description="Weight of auxiliary losses; auto: 0.1 if any."),
    ] = "auto"
    label_smoothing: Annotated[float, Field(ge=0, lt=1, description="Label smoothing.")] = 0.0


class AttentionOptim(Optim):
    """How the weights are updated."""

    attn_lr_scale: Annotated[
        Literal["auto"] | Annotated[float, Field(gt=0)],
        Field(description="Rate factor of attention; auto: 1, or 10 on weights."),
    ] = "auto"


class Gates(Section):
    """What is noted of the gates at the start and after each epoch."""

    probe: Annotated[
        bool, Field(description="Mean gate per stage, q_0 of spem (512 test images).")
    ] = False
    stripes: Annotated[
        bool, Field(description="How far gates depend on the image (1,024 images).")
    ] = False


class Attention(TrainRecipe):
    """An image classifier with an attention module."""

    task: Literal["attention"] = "attention"
    model: Model = Model()
    data: Data = Data()
    loss: Loss = Loss()
    optim: AttentionOptim = AttentionOptim()
    schedule: Schedule = Schedule()
    loader: Loader = Loader()
    gates: Gates = Gates()
    run: Run = Run()

    @model_validator(mode="after")
    def _gates(self) -> Self:
        for flag in ("probe", "stripes"):
            if getattr(self.gates, flag) and self.model.module == "none":
                raise ValueError(f"--{flag}: --module none has no gate to look at")
        return self

    @property
    def run_name(self) -> str:
        """Return the run folder's name: ``--name``, or the module and the seed."""
        parts = (*filter(None, (self.model.srp,)), self.model.module)
        words = ("".join(c if c.isalnum() or c in "._" else "-" for c in p) for p in parts)
        return self.run.name or "-".join((*(w.strip("-") for w in words), f"s{self.run.seed}"))
