"""What `qr solve-geo` and `qr eval geo` can be told. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from qr_cli.engine.recipe import Recipe, Report, Section, Seed

Solver = Literal["rules", "network", "both"]
Referee = Literal["rules", "network", "both", "gold", "label", "prior"]
Look = Literal["on", "off", "shuffled"]
Checkpoint = Annotated[str, Field(description="Of the network: a shipped name, run or checkpoint.")]
Beams = Annotated[int, Field(ge=1, le=100, description="Beams of the network.")]


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
        str | None, Field(description="Its picture; the network looks at it, the rules do not.")
    ] = None
    points: Annotated[str | None, Field(description="JSON file of coordinates, for proofs.")] = None
    task: Annotated[
        Literal["auto", "calculation", "proving"], Field(description="What is asked:")
    ] = "auto"


class How(Section):
    """How it is solved."""

    solver: Annotated[Solver, Field(description="Who solves:")] = "both"
    checkpoint: Checkpoint = "geoformer-tiny"
    select: Annotated[
        Literal["vote", "first"],
        Field(description="How beams choose; first is the authors' rule:"),
    ] = "vote"
    beams: Beams = 10
    max_length: Annotated[int, Field(ge=1, description="Words of the network's answers.")] = 72
    batch_size: Annotated[
        int, Field(ge=1, description="Problems the network reads at once; 1: line by line.")
    ] = 16
    allow_truncation: Annotated[
        bool, Field(description="Let the network read 200 words of a longer text.")
    ] = False
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
            description="JSON lines with answers, or synth:seen|unseen|diagram.",
            json_schema_extra={"argument": "FILE"},
        ),
    ] = ()
    solver: Annotated[
        tuple[Referee, ...],
        Field(description="Who: rules, network, both, gold (the file's), label, prior."),
    ] = ("rules",)
    checkpoint: Checkpoint = "geoformer-tiny"
    samples: Annotated[
        int, Field(ge=1, description="Generated problems of each kind (synth:).")
    ] = 1000
    diagram_input: Annotated[
        tuple[Look, ...],
        Field(description="Diagrams the network sees: on, off, shuffled."),
    ] = ("on",)
    predictions: Annotated[
        str | None, Field(description='Score these: lines of {"id", "beams": [...]}.')
    ] = None
    beams: Annotated[
        tuple[Annotated[int, Field(ge=1)], ...], Field(description="Candidates that count (k).")
    ] = (1, 10)
    by: Annotated[
        Literal["all", "category", "family"],
        Field(description="One line, or one per category or family (synth:):"),
    ] = "all"
    max_length: Annotated[
        int, Field(ge=1, description="Words of a target over which it is counted.")
    ] = 72
    seed: Annotated[
        Seed, Field(description="Seed of the figures that are built, and of synth:.")
    ] = 0

    @property
    def most(self) -> int:
        """Return the most candidates that count."""
        return max(self.beams)


class GeoEval(Recipe):
    """Evaluation on files with answers."""

    task: Literal["geo"] = "geo"
    examined: Examined = Examined(files=("-",))
    report: Report = Report()
