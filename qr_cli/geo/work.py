"""What is known of one calculation problem while it is solved."""

from __future__ import annotations

from dataclasses import dataclass, field

from qr_cli.geo.construct import Construction
from qr_cli.geo.families import Family
from qr_cli.geo.reading import Reading
from qr_cli.geo.records import Problem
from qr_cli.geo.slotting import Slotted

ANSWERED = ("verified", "determined-by-options")
FOREIGN = "the text is not English; qr reads English only"
CONTRADICTION = "the givens contradict each other or were misread"


@dataclass
class Work:
    """A problem, how it was read, and what was found.

    Attributes:
        problem: the record.
        slotted: its text with the numbers taken out.
        options: the options as numbers; None for one that is no number.
        reading: what the text says.
        status: how far the answer is to be trusted.
        value: the answer.
        program: a program that gives the value.
        confirmed: it goes on giving the value when the numbers change.
        assumed: conventions that were used.
        notes: why the status is what it is.
        candidates: the asked quantity in every figure that was built.
        construction: those figures.
        family: the kind of problem that is solved without a figure.
        hits: the options that fit.
    """

    problem: Problem
    slotted: Slotted
    options: list[float | None] | None
    reading: Reading
    status: str = "unsolved"
    value: float | None = None
    program: str | None = None
    confirmed: bool = False
    assumed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    candidates: list[float] = field(default_factory=list)
    construction: Construction = Construction()
    family: Family | None = None
    hits: list[int] = field(default_factory=list)
