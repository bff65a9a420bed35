"""The recipe of `qr handoff`: input, operating point, sessions, pictures. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from qr_cli.engine.recipe import Recipe, Section
from qr_cli.handoff.eval_recipe import check_threshold


def _point(value: str) -> str:
    if value in ("matched", "crossfit", "all"):
        raise ValueError(f"{value} needs labels; it belongs to qr eval handoff")
    return check_threshold(value)


class Input(Section):
    """What is answered."""

    input: Annotated[
        tuple[str, ...],
        Field(
            description="JSON lines: events or dialogues; - is stdin.",
            json_schema_extra={"argument": "INPUT"},
        ),
    ] = ()
    checkpoint: Annotated[
        str, Field(min_length=1, description="Run, checkpoint folder, or embedded.")
    ] = "embedded"
    strict: Annotated[bool, Field(description="Stop at the first bad line.")] = False


class When(Section):
    """When to transfer."""

    threshold: Annotated[
        str,
        AfterValidator(_point),
        Field(description="Point: cost, validated, default, or a number."),
    ] = "cost"
    cost_false: Annotated[float, Field(ge=0, description="Cost of a false transfer.")] = 1.0
    cost_miss: Annotated[float, Field(ge=0, description="Cost of a missed transfer.")] = 3.0
    budget: Annotated[
        float | None, Field(gt=0, le=1, description="Raise this share of sessions instead.")
    ] = None
    review: Annotated[
        float | None, Field(ge=0, le=1, description="From here to the threshold: review.")
    ] = None
    min_turns: Annotated[
        int, Field(ge=0, description="Customer turns before which only requests transfer.")
    ] = 0
    hysteresis: Annotated[
        int, Field(ge=1, description="Turns in a row that must reach the threshold.")
    ] = 1
    request_rule: Annotated[
        Literal["on", "off"], Field(description="A request for a human always transfers:")
    ] = "on"
    after_transfer: Annotated[
        Literal["echo", "silent", "continue"], Field(description="What follows a transfer:")
    ] = "echo"

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.cost_false + self.cost_miss <= 0:
            raise ValueError("--cost-false, --cost-miss: both are 0")
        if self.budget is not None and self.threshold != "cost":
            raise ValueError(f"--budget: cannot go with --threshold {self.threshold}")
        return self


class Live(Section):
    """Conversations that are kept."""

    max_sessions: Annotated[
        int | None, Field(ge=1, description="Sessions kept; default: up to 10,000 in 512 MiB.")
    ] = None
    session_ttl: Annotated[
        float, Field(gt=0, description="Seconds after which a silent session goes.")
    ] = 3600.0
    evidence: Annotated[
        Literal["none", "attention", "occlusion"], Field(description="Name tokens behind p:")
    ] = "none"
    timing: Annotated[bool, Field(description="Add latency_ms to records.")] = False


class Look(Section):
    """Pictures and production."""

    trace: Annotated[str | None, Field(description="Draw dialogues into this folder.")] = None
    trace_format: Annotated[
        tuple[Literal["png", "html"], ...], Field(description="Kinds of traces.")
    ] = ("html",)
    only: Annotated[str | None, Field(description="Draw this session alone.")] = None
    export: Annotated[
        str | None, Field(description="Write the step function: FILE.onnx or FILE.pt2.")
    ] = None
    max_tokens: Annotated[int, Field(ge=1, le=512, description="Tokens of a turn in FILE.pt2.")] = (
        32
    )
    overwrite: Annotated[bool, Field(description="Replace files that are there.")] = False


class Ask(Recipe):
    """Decisions for messages as they come."""

    task: Literal["handoff"] = "handoff"
    input: Input = Input()
    when: When = When()
    live: Live = Live()
    look: Look = Look()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.input.input) > 1:
            raise ValueError(f"INPUT: give one file or -, got {len(self.input.input)}")
        if self.look.export and self.input.input:
            raise ValueError("--export: takes no INPUT")
        if self.look.only and not self.look.trace:
            raise ValueError("--only: belongs to --trace")
        if self.look.export and not self.look.export.endswith((".onnx", ".pt2")):
            raise ValueError(f"--export: should end in .onnx or .pt2, got {self.look.export}")
        return self
