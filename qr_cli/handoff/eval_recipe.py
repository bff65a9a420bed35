"""The recipe of `qr eval handoff`: runs, labelled dialogues, operating points. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from qr_cli.engine.recipe import Recipe, Report, Section

POINTS = ("default", "validated", "cost", "matched", "crossfit")


def check_threshold(value: str) -> str:
    """Return the name of an operating point or a number in [0, 1], as text."""
    if value in (*POINTS, "all"):
        return value
    try:
        number = float(value)
    except ValueError as error:
        raise ValueError(f"should be {'|'.join(POINTS)} or a number, got {value}") from error
    if not 0 <= number <= 1:
        raise ValueError(f"should be a number from 0 to 1, got {value}")
    return value


class Target(Section):
    """What is evaluated."""

    runs: Annotated[
        tuple[str, ...],
        Field(description="Runs or checkpoints.", json_schema_extra={"argument": "RUN"}),
    ] = ()
    which: Annotated[
        Literal["auto", "best", "last"], Field(description="Which checkpoint; auto: best if any:")
    ] = "auto"
    baseline: Annotated[
        str | None, Field(description="System the others are compared with, as gru.")
    ] = None
    calibrate: Annotated[
        bool, Field(description="Fit calibration on --data, write it into the runs.")
    ] = False


class EvalData(Section):
    """The dialogues."""

    data: Annotated[str | None, Field(description="Labelled dialogues, JSON lines.")] = None
    max_turns: Annotated[
        int | None, Field(ge=1, description="Score the first turns only; default: all.")
    ] = None
    soft_labels: Annotated[
        bool, Field(description="Take labels from votes; 1 from a share of 0.5.")
    ] = False
    proxy: Annotated[
        Literal["none", "negative-customer"],
        Field(description="Labels from sentiment where handoff has none:"),
    ] = "none"
    label_base: Annotated[
        Literal["auto", "0", "1"], Field(description="What sentiment and satisfaction start at:")
    ] = "auto"


class Points(Section):
    """Operating points and costs."""

    threshold: Annotated[
        str,
        AfterValidator(check_threshold),
        Field(description="Point: all, default, validated, cost, crossfit or X."),
    ] = "all"
    folds: Annotated[int, Field(ge=2, description="Folds of crossfit, by dialogue.")] = 5
    cost_false: Annotated[float, Field(ge=0, description="Cost of a false transfer.")] = 1.0
    cost_miss: Annotated[float, Field(ge=0, description="Cost of a missed transfer.")] = 3.0
    lam: Annotated[
        float,
        Field(
            gt=-1, lt=1, description="GT: above 0 punishes late transfers more.",
            json_schema_extra={"flag": "--lambda"},
        ),
    ] = 0.0  # fmt: skip
    calibration: Annotated[
        Literal["platt", "temperature", "isotonic", "none"], Field(description="Map to fit:")
    ] = "platt"
    bootstrap: Annotated[
        int, Field(ge=0, description="Draws of dialogues for intervals; 0: none.")
    ] = 1000
    policies: Annotated[bool, Field(description="Show trivial policies beside the models.")] = True

    @model_validator(mode="after")
    def _costs(self) -> Self:
        if self.cost_false + self.cost_miss <= 0:
            raise ValueError("--cost-false, --cost-miss: both are 0")
        return self


class HandoffEval(Recipe):
    """Evaluation of handoff models."""

    task: Literal["handoff"] = "handoff"
    target: Target = Target()
    data: EvalData = EvalData()
    points: Points = Points()
    report: Report = Report()
