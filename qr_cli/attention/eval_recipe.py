"""The recipe of an evaluation: what is looked at, and what is asked of it. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from qr_cli.attention.attacks import parse_attacks
from qr_cli.attention.backbones.names import check_arch
from qr_cli.attention.grammar import check_module
from qr_cli.attention.recipe import STAGES, checked, matches
from qr_cli.engine.recipe import Recipe, Report, Section


class Target(Section):
    """What is evaluated."""

    runs: Annotated[
        tuple[str, ...],
        Field(
            description="Run folders or checkpoints.",
            json_schema_extra={"argument": "RUN"},
        ),
    ] = ()
    which: Annotated[Literal["last", "best"], Field(description="Which checkpoint of a run:")] = (
        "last"
    )
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"],
        Field(description="Arithmetic; auto: that of the run:"),
    ] = "auto"
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"], Field(description="Where to compute:")
    ] = "auto"
    eval_batch_size: Annotated[
        int | None, Field(ge=1, description="Images per step; default: that of the run.")
    ] = None


class Bare(Section):
    """Weights without a run, evaluated in its place."""

    weights: Annotated[
        str | None, Field(description="Evaluate torchvision, timm, FILE or official:FILE.")
    ] = None
    arch: Annotated[
        str | None,
        AfterValidator(lambda v: v and checked(v, check_arch)),
        Field(description="Their backbone: resnet20(shortcut=pad), timm:NAME, .."),
    ] = None
    module: Annotated[
        str,
        AfterValidator(lambda v: checked(v, check_module)),
        Field(description="Their attention."),
    ] = "none"
    stages: Annotated[
        str,
        AfterValidator(lambda v: matches(v, STAGES, "auto, all, last, last2 or stages as 1,3")),
        Field(description="Stages with attention: auto, all, last, last2 or 1,3."),
    ] = "auto"
    normalize: Annotated[
        Literal["auto", "cifar", "imagenet", "half", "data"],
        Field(description="Mean and deviation; auto: the weights', or the data's:"),
    ] = "auto"

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.weights is not None and self.arch is None:
            raise ValueError("--weights: needs --arch, the network that they are of")
        if self.weights is None and self != type(self).model_construct():
            raise ValueError("--weights: needed with --arch, --module, --stages and --normalize")
        return self


class EvalData(Section):
    """The images."""

    data: Annotated[
        str | None, Field(description="Source of the images; default: that of the run.")
    ] = None
    test_data: Annotated[
        str | None, Field(description="Source of the test images; default: its own.")
    ] = None
    data_root: Annotated[str | None, Field(description="Folder of downloads.")] = None
    download: Annotated[bool, Field(description="Fetch what is missing.")] = False
    image_size: Annotated[
        int | None, Field(ge=8, description="Side in pixels; default: that of the run.")
    ] = None


class Compare(Section):
    """Several runs side by side."""

    baseline: Annotated[
        str | None, Field(description="Module or run the others are compared with.")
    ] = None
    latency: Annotated[bool, Field(description="Time one forward pass per group.")] = True
    latency_batch: Annotated[int, Field(ge=1, description="Images in that pass.")] = 1
    repeats: Annotated[int, Field(ge=2, description="Rounds of timing.")] = 20


class Bias(Section):
    """Where the network looks (Grad-CAM and boxes; definitions ours)."""

    bias: Annotated[
        str | None, Field(description="Where it looks: boxes (of the data), or a box file.")
    ] = None
    label_map: Annotated[
        str | None, Field(description="CSV theirs,ours for labels of the box file.")
    ] = None
    cam_layer: Annotated[
        str | None, Field(description="Layer of the maps; default: the last block.")
    ] = None
    cam_target: Annotated[
        Literal["label", "predicted"], Field(description="Class the maps explain:")
    ] = "label"
    tau: Annotated[float, Field(ge=0, le=1, description="Threshold of the focus.")] = 0.5
    eps_pos: Annotated[
        float, Field(ge=0, lt=1, description="Precision up to which it looks beside.")
    ] = 0.0
    eps_range: Annotated[
        float, Field(ge=0, lt=1, description="Focus outside that is still unbiased.")
    ] = 0.05

    @model_validator(mode="after")
    def _asked(self) -> Self:
        if self.label_map is not None and self.bias in (None, "boxes"):
            raise ValueError("--label-map: belongs to --bias FILE, a file of boxes")
        if self.cam_layer is not None and self.bias is None:
            raise ValueError("--cam-layer: belongs to --bias")
        return self


class Blocks(Section):
    """What the blocks do with their attention."""

    stiffness: Annotated[bool, Field(description="Relative step size per block (NSI).")] = False
    at: Annotated[Literal["relu", "pre-act"], Field(description="Where a block ends:")] = "relu"
    reference: Annotated[str | None, Field(description="Run whose profile to compare with.")] = None
    stripes: Annotated[bool, Field(description="How far gates depend on the image.")] = False
    stripes_drop: Annotated[
        bool, Field(description="Hold gates at their mean, print what it costs.")
    ] = False
    switches: Annotated[bool, Field(description="Which operator sem selects per block.")] = False
    ticket: Annotated[
        str | None,
        Field(pattern=r"^(sweep|\d+)$", description="Keep K blocks' attention, or sweep 0..T."),
    ] = None
    ticket_order: Annotated[
        tuple[Literal["step", "nsi", "random"], ...],
        Field(description="Which blocks are kept first."),
    ] = ("step", "nsi", "random")
    probe_images: Annotated[
        int, Field(ge=2, description="Test images looked at for these questions.")
    ] = 1024

    @model_validator(mode="after")
    def _asked(self) -> Self:
        if self.reference is not None and not self.stiffness:
            raise ValueError("--reference: belongs to --stiffness")
        return self


class Robust(Section):
    """How accuracy falls when pixels are disturbed (measured, no claim)."""

    robust: Annotated[
        tuple[str, ...],
        AfterValidator(lambda words: tuple(map(str, parse_attacks(words)))),
        Field(description="Disturb pixels: noise:0.05,0.1, fgsm:2/255, noise,fgsm."),
    ] = ()


class ReportBeside(Report):
    """Where the report goes."""

    out: Annotated[
        str | None, Field(description="Folder of the report; default: beside the runs.")
    ] = None


class AttentionEval(Recipe):
    """Evaluation of trained image classifiers."""

    task: Literal["attention"] = "attention"
    target: Target = Target()
    bare: Bare = Bare()
    data: EvalData = EvalData()
    compare: Compare = Compare()
    bias: Bias = Bias()
    blocks: Blocks = Blocks()
    robust: Robust = Robust()
    report: ReportBeside = ReportBeside()

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        runs = self.target.runs
        if self.bare.weights is not None and runs:
            raise ValueError(f"--weights: cannot go with a run, got {self.bare.weights}, {runs[0]}")
        if self.bare.weights is not None and self.data.data is None:
            raise ValueError("--weights: needs --data, the images to evaluate them on")
        if self.compare.baseline is not None and len(runs) < 2:
            raise ValueError(f"--baseline: needs several runs, got {len(runs)}")
        if self.target.which == "best" and len(runs) > 1:
            raise ValueError(
                f"--which: best is for one run, got {len(runs)}; their comparison is of last "
                "epochs and its table has the best ones too"
            )
        return self

    @property
    def places(self) -> tuple[str, ...]:
        """Return what is evaluated: the runs, or the weights."""
        return self.target.runs or ((self.bare.weights,) if self.bare.weights else ())

    @property
    def calibrates(self) -> bool:
        """Tell whether training images are needed, to take mean gates over."""
        return self.blocks.stripes_drop or self.blocks.ticket is not None

    @property
    def asks(self) -> bool:
        """Tell whether more than accuracy is asked of each run."""
        blocks = self.blocks
        flags = (blocks.stiffness, blocks.stripes, blocks.stripes_drop, blocks.switches)
        others = (self.bias.bias, blocks.ticket, self.robust.robust or None)
        return any(flags) or any(other is not None for other in others)
