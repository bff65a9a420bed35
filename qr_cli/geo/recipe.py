"""What `qr solve-geo` and `qr eval geo` can be told. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from qr_cli.engine.recipe import Recipe, Section, Seed

Solver = Literal["rules"]
Referee = Literal["rules", "gold", "label"]


class Source(Section):
    """What is solved."""

    files: Annotated[
        tuple[str, ...],
        Field(
            description="JSON lines, one problem each; - reads stdin.",
            json_schema_extra={"argument": "FILE|-"},
        ),
    ] = ()
    text: Annotated[str | None, Field(description="One problem, as a sentence.")] = None
    choices: Annotated[
        str | None,
        Field(description="Its options, by commas (by ; if a comma is a decimal)."),
    ] = None
    diagram: Annotated[
        str | None, Field(description="A picture to show beside it; it is not read.")
    ] = None
    points: Annotated[str | None, Field(description="JSON file of coordinates, for proofs.")] = None
    task: Annotated[
        Literal["auto", "calculation", "proving"], Field(description="What is asked:")
    ] = "auto"


class How(Section):
    """How it is solved."""

    solver: Annotated[Solver, Field(description="Who solves:")] = "rules"
    mode: Annotated[
        Literal["strict", "official"],
        Field(description="Option rule; official is that of the UniGeo authors:"),
    ] = "strict"
    slots: Annotated[
        Literal["compound", "official"], Field(description="Whether 2√3 is one number or two:")
    ] = "compound"
    exact: Annotated[bool, Field(description="Give closed forms.")] = True
    guess: Annotated[bool, Field(description="Choose an option even when unsure.")] = False
    numeric: Annotated[bool, Field(description="Test proof steps on the coordinates.")] = False
    seed: Annotated[Seed, Field(description="Seed of the figures that are built.")] = 0


class Put(Section):
    """What is written."""

    render: Annotated[
        Literal["text", "html", "svg", "png"], Field(description="Pages or drawings, into --out:")
    ] = "text"
    out: Annotated[str | None, Field(description="Folder of the pages.")] = None
    overwrite: Annotated[bool, Field(description="Replace pages of the same name.")] = False
    fail_fast: Annotated[bool, Field(description="Stop at the first bad line.")] = False


class GeoSolve(Recipe):
    """Solving plane geometry."""

    task: Literal["geo"] = "geo"
    source: Source = Source()
    how: How = How()
    put: Put = Put()

    @model_validator(mode="after")
    def _something(self) -> Self:
        given = self.source
        if given.text is not None and not given.text.strip():
            raise ValueError("--text: is empty")
        if given.text is None and not given.files:
            raise ValueError("nothing to solve: give FILE, - or --text")
        if given.text is not None and given.files:
            raise ValueError(f"--text: cannot go with a file, got {given.files[0]}")
        if given.text is None:
            for flag in ("choices", "diagram", "points"):
                if getattr(given, flag) is not None:
                    raise ValueError(f"--{flag}: goes with --text; a file has it in its records")
        if self.put.render != "text" and self.put.out is None:
            raise ValueError(f"--render {self.put.render}: needs --out, the folder to write to")
        return self


class Examined(Section):
    """What is evaluated."""

    files: Annotated[
        tuple[str, ...],
        Field(
            min_length=1,
            description="JSON lines with labels, programs or proofs.",
            json_schema_extra={"argument": "FILE"},
        ),
    ] = ()
    solver: Annotated[
        tuple[Referee, ...],
        Field(description="Who answers: rules, gold (the file's own), label."),
    ] = ("rules",)
    predictions: Annotated[
        str | None, Field(description='Score these: lines of {"id", "beams": [...]}.')
    ] = None
    beams: Annotated[
        tuple[Annotated[int, Field(ge=1)], ...], Field(description="Candidates that count (k).")
    ] = (1, 10)
    by: Annotated[
        Literal["all", "category"], Field(description="One line, or one per category:")
    ] = "all"
    max_length: Annotated[
        int, Field(ge=1, description="Words of a target over which it is counted.")
    ] = 72
    seed: Annotated[Seed, Field(description="Seed of the figures that are built.")] = 0


class GeoEval(Recipe):
    """Evaluation on files with answers."""

    task: Literal["geo"] = "geo"
    examined: Examined = Examined(files=("-",))
