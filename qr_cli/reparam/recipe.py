"""The recipe of `qr reparam`: what is folded, how it is checked, what is written.

Imports no torch.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from qr_cli.engine.recipe import Recipe, Section
from qr_cli.errors import UsageError, near
from qr_cli.reparam.names import KEYS, check_arch

FORMATS = ("torch.export", "onnx")
MAX_DROP = 0.2  # points of top-1


def _arch(value: str | None) -> str | None:
    try:
        return value and check_arch(value)
    except UsageError as error:
        raise ValueError(error.message.removeprefix("--arch: ")) from error


def _format(value: str) -> str:
    if value not in FORMATS:
        guess = near(value, FORMATS)
        raise ValueError(f"should be torch.export or onnx, got {value!r}{guess}")
    return value


def _size(value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)+", value):
        raise ValueError(f"should be C,H,W such as 3,224,224, got {value!r}")
    return value


def _pair(value: str) -> str:
    if not re.fullmatch(r"[^:]+:[^:]+", value):
        raise ValueError(f"should be CONV:BN such as conv:bn, got {value!r}")
    return value


class Source(Section):
    """The network."""

    source: Annotated[
        tuple[str, ...],
        Field(
            max_length=1,
            description="Run, checkpoint or weights file.",
            json_schema_extra={"argument": "SOURCE"},
        ),
    ] = ()
    arch: Annotated[
        str | None,
        AfterValidator(_arch),
        Field(description="Of a weights file: torchvision:resnet50, keys, .."),
    ] = None
    num_classes: Annotated[
        int | None, Field(ge=1, description="Classes; default: read off the file.")
    ] = None
    which: Annotated[Literal["last", "best"], Field(description="Which checkpoint of a run:")] = (
        "last"
    )
    weights_key: Annotated[
        str | None, Field(description="Entry of the file; default: state_dict, ..")
    ] = None
    ignore: Annotated[
        tuple[str, ...], Field(description="Drop keys of the file that match, as aux.*, ..")
    ] = ()
    input_size: Annotated[
        str | None, AfterValidator(_size), Field(description="C,H,W; default: the network's.")
    ] = None
    bn_eps: Annotated[float, Field(gt=0, lt=1, description="Eps of batch norms (--arch keys).")] = (
        1e-5
    )
    pairs: Annotated[
        tuple[Annotated[str, AfterValidator(_pair)], ...],
        Field(description="Siblings to fold too: conv:bn (--arch keys)."),
    ] = ()


class Folding(Section):
    """What is folded."""

    keep_bn: Annotated[bool, Field(description="Leave batch norms; write the plain form only.")] = (
        False
    )
    approx_stripe: Annotated[
        str | None, Field(description="Also fold ordinary gates, at their mean on DATA.")
    ] = None
    test_data: Annotated[
        str | None, Field(description="Measure that on it; default: DATA's test split.")
    ] = None
    max_drop: Annotated[
        float, Field(ge=0, le=100, description="Most top-1 that may cost, in points.")
    ] = MAX_DROP
    calib_images: Annotated[
        int, Field(ge=2, description="Training images the means are taken over.")
    ] = 2048
    stripe_blocks: Annotated[
        Literal["all", "auto"], Field(description="Gates to hold; auto: as many as cost little:")
    ] = "all"


class Checking(Section):
    """How it is checked."""

    verify: Annotated[bool, Field(description="Check more inputs, every site, every file.")] = False
    data: Annotated[str | None, Field(description="Images to check on, with --verify.")] = None
    repeats: Annotated[int, Field(ge=0, description="Rounds of timing; 0: none.")] = 20
    bench_batch: Annotated[int, Field(ge=1, description="Images per timed pass.")] = 1
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"], Field(description="Where to compare and time:")
    ] = "auto"


class Output(Section):
    """What is written."""

    out: Annotated[str | None, Field(description="Folder of the folded network.")] = None
    export: Annotated[
        tuple[Annotated[str, AfterValidator(_format)], ...],
        Field(description="Also write: torch.export, onnx; may be repeated."),
    ] = ()
    overwrite: Annotated[bool, Field(description="Replace a folder that is there.")] = False
    dry_run: Annotated[bool, Field(description="Show the plan; write nothing.")] = False


class Reparam(Recipe):
    """Folding a network for deployment."""

    task: Literal["reparam"] = "reparam"
    source: Source = Source()
    fold: Folding = Folding()
    check: Checking = Checking()
    output: Output = Output()

    @model_validator(mode="after")
    def _belongs(self) -> Self:
        asked = self.fold.model_fields_set
        if self.fold.approx_stripe is None:
            for flag in ("test_data", "max_drop", "calib_images", "stripe_blocks"):
                if flag in asked and getattr(self.fold, flag) != Folding.model_fields[flag].default:
                    raise ValueError(f"--{flag.replace('_', '-')}: needs --approx-stripe DATA")
        if self.source.arch == KEYS:
            given = {
                "--export": self.output.export,
                "--data": self.check.data,
                "--approx-stripe": self.fold.approx_stripe,
            }
            for flag, value in given.items():
                if value:
                    raise ValueError(f"{flag}: --arch keys has no architecture to run")
        elif self.source.pairs:
            raise ValueError("--pairs: belongs to --arch keys")
        if self.check.data is not None and not self.check.verify:
            raise ValueError("--data: belongs to --verify")
        return self

    @property
    def place(self) -> str | None:
        """Return what is folded."""
        return self.source.source[0] if self.source.source else None
