"""Answers to calculation problems by rules: read, construct, measure, find a program."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from qr_cli.geo import finder
from qr_cli.geo.answer_record import guessed, picture, record
from qr_cli.geo.both import Said, with_network
from qr_cli.geo.construct import construct
from qr_cli.geo.facts import read
from qr_cli.geo.families import family
from qr_cli.geo.lexicon import phrase
from qr_cli.geo.picture import Picture
from qr_cli.geo.program import Abort, Mode, execute, matches
from qr_cli.geo.reading import Reading
from qr_cli.geo.records import Problem
from qr_cli.geo.slotting import SlotMode, option
from qr_cli.geo.slotting import slots as take_slots
from qr_cli.geo.work import ANSWERED, CONTRADICTION, FOREIGN, Work

CHANGES = ((1.031, 0.973, 1.017, 0.984), (0.968, 1.023, 0.989, 1.041), (1.012, 1.044, 0.962, 1.019))
LENGTHS = ("length", "radius", "diameter", "distance", "perimeter", "area")
TRIED = 24  # programs whose confirmation is tried


def solve_calculation(
    problem: Problem,
    *,
    mode: Mode = "strict",
    slots: SlotMode = "compound",
    exact: bool = True,
    guess: bool = False,
    seed: int = 0,
    said: Said | None = None,
    alone: bool = False,
) -> tuple[dict[str, Any], Picture | None]:
    """Return the record of a calculation problem, and the figure it was measured on.

    Args:
        problem: the record.
        mode: executor and option rule.
        slots: what counts as one number.
        exact: give closed forms too.
        guess: choose an option in any case.
        seed: of the figures that are built.
        said: what the network wrote, where it was asked.
        alone: the rules only read; the network answers.
    """
    slotted = take_slots(problem.text, mode=slots)
    options = None if problem.choices is None else [option(c)[0] for c in problem.choices]
    work = Work(problem, slotted, options, Reading())
    if _foreign(problem.text):
        work.notes.append(FOREIGN)
    else:
        work.reading = read(slotted.text, slotted.numbers)
        if not alone:
            _decide(work, seed)
    if work.status in ANSWERED or work.status == "no-match":
        _explain(work, seed)
    told = record(work, mode=mode, exact=exact)
    if said is not None:
        told = with_network(work, told, said, alone=alone, mode=mode, exact=exact)
    if guess:
        guessed(told, work)
    return told, picture(work)


def _foreign(text: str) -> bool:
    """Tell whether a text is in a language that is not read."""
    letters = re.findall(r"[^\W\d_]", text)
    strange = [c for c in letters if not ("a" <= c.lower() <= "z" or "α" <= c.lower() <= "ω")]
    return len(strange) > len(letters) / 4


# what the status is ------------------------------------------------------------------------------


def _decide(work: Work, seed: int) -> None:
    reading = work.reading
    if reading.needs_diagram:
        work.status, work.notes = "needs-diagram", list(reading.needs_diagram)
        return
    if reading.asked:
        work.construction = construct(reading, seed=seed)
    values = work.construction.values
    if work.construction.value is None and _by_family(work):
        return
    if reading.asked is None:
        work.notes.append("the question is not understood")
        return
    if not values:
        work.notes.append(CONTRADICTION)
        return
    work.candidates = list(values)
    if work.construction.value is not None:
        _unique(work, work.construction.value)
    else:
        _several(work, seed)


def _by_family(work: Work) -> bool:
    numbers = work.slotted.numbers
    found = family(phrase(work.slotted.text), len(numbers))
    if found is None:
        return False
    run = execute(found.program, numbers)
    if run.value is None or isinstance(run.error, Abort):
        return False
    work.family, work.program, work.confirmed = found, found.program, True
    work.reading.not_understood = []
    _settle(work, float(run.value), "verified")
    return True


def _unique(work: Work, value: float) -> None:
    """All figures agree; words that were not understood keep the answer from being verified."""
    work.assumed = list(work.reading.assumed)
    if not work.reading.not_understood:
        _settle(work, _tidy(value), "verified")
    elif work.options and len(matches(value, work.options)) == 1:
        _settle(work, _tidy(value), "determined-by-options")
    else:
        work.status = "unsolved"
        work.notes.append("part of the text was not understood; all figures of the rest agree")


def _several(work: Work, seed: int) -> None:
    """Figures differ: the options decide, or how such figures are usually drawn, or nothing."""
    work.assumed = list(work.reading.assumed)
    if work.options and not work.reading.not_understood:
        hits = sorted({i for v in work.candidates for i in matches(v, work.options)})
        if len(hits) == 1:
            value = next(v for v in work.candidates if hits[0] in matches(v, work.options))
            work.notes.append("several figures fit the text; one option is among their values")
            _settle(work, _tidy(value), "determined-by-options")
            return
        work.hits = hits
    if work.reading.soft and not work.reading.not_understood:
        usual = construct(work.reading, soft=True, seed=seed)
        if usual.value is not None:
            work.construction = usual
            work.assumed += [c.text for c in work.reading.soft]
            _settle(work, _tidy(usual.value), "verified")
            return
    work.status = "ambiguous" if len(work.hits) > 1 else "needs-diagram"
    work.notes.append("the text leaves the figure open")


def _settle(work: Work, value: float, status: str) -> None:
    """Take a value; with options exactly one of them must fit."""
    work.value, work.status = value, status
    if work.options is None or all(o is None for o in work.options):
        if work.options:
            work.status = "no-match"
            work.notes.append("no option is a number")
        return
    work.hits = matches(value, work.options)
    if not work.hits:
        work.status = "no-match"
        nearest = min((o for o in work.options if o is not None), key=lambda o: abs(o - value))
        work.notes.append(f"the nearest option is {nearest:g}, {abs(nearest - value):.3g} away")
    elif len(work.hits) > 1:
        work.status = "ambiguous"
        work.notes.append("several options have this value")


def _tidy(value: float) -> float:
    """Return a measured value without the last digits of the construction's error."""
    rounded = round(value, 6)
    return rounded if abs(rounded - value) <= 1e-7 * max(1.0, abs(value)) else value


# programs ----------------------------------------------------------------------------------------


def _explain(work: Work, seed: int) -> None:
    """Find a program that gives the value and go on giving it when the numbers change."""
    if work.program is not None or work.value is None or work.reading.asked is None:
        return
    numbers = work.slotted.numbers
    asked = work.reading.asked
    kinds = {t.quantity.kind for t in asked.terms if t.quantity}
    programs = finder.find(
        work.value,
        numbers,
        angles=asked.is_angle,
        area=bool(kinds & {"circle area", "circumference"}),
        degrees=_slots_of(work, ("angle", "arc")),
        lengths=_slots_of(work, LENGTHS),
    )
    tests: list[tuple[list[float], float]] | None = None
    for program in islice(programs, TRIED):
        work.program = work.program or program
        tests = list(_changed(work, seed)) if tests is None else tests
        if tests and all(finder.gives(program, changed, value) for changed, value in tests):
            work.program, work.confirmed = program, True
            break
    if work.program is None:
        return
    run = execute(work.program or "", numbers)
    if work.confirmed and run.value is not None:
        work.value = float(run.value)


def _slots_of(work: Work, kinds: tuple[str, ...]) -> set[int]:
    """Return the slots that give quantities of some kinds."""
    found: set[int] = set()
    for c in work.reading.conditions:
        given = {t.quantity.kind for t in c.terms if t.quantity}
        if c.kind == "linear" and given and given <= set(kinds):
            found |= {int(i) for i in re.findall(r"N_(\d+)", c.text)}
    return found


def _changed(work: Work, seed: int) -> Iterator[tuple[list[float], float]]:
    """Yield numbers changed by some per cent, and the value that figures built from them have."""
    soft = any(c.text in work.assumed for c in work.reading.soft)
    for change in CHANGES:
        numbers = [
            n if n in (90.0, 45.0, 180.0, 360.0) else n * change[i % len(change)]
            for i, n in enumerate(work.slotted.numbers)
        ]
        reading = read(work.slotted.text, numbers)
        built = construct(reading, soft=soft, seed=seed + 1, starts=16)
        if built.value is not None:
            yield numbers, built.value
        elif built.values and work.status == "determined-by-options" and work.value is not None:
            yield numbers, min(built.values, key=lambda v: abs(v - float(work.value or 0.0)))
