"""The record of a calculation's answer: steps, facts, checks, alternatives, and its figure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from qr_cli.geo import exact as closed
from qr_cli.geo import explain
from qr_cli.geo.picture import Picture, of_reading
from qr_cli.geo.program import Mode, matches, official_choice
from qr_cli.geo.reading import Asked
from qr_cli.geo.work import ANSWERED, Work

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# (right + 1) / (answered + 2) on the 377 problems the rules were written with: in-sample
CONFIDENCE = {"verified": 0.993, "determined-by-options": 0.974}  # 144 of 144, 36 of 36


def record(work: Work, *, mode: Mode, exact: bool) -> dict[str, Any]:
    """Return the record of an answer.

    Args:
        work: what was found.
        mode: the option rule.
        exact: give closed forms too.
    """
    sure = (*ANSWERED, "network")
    answered = work.status in (*sure, "no-match", "ambiguous")
    value = work.value if answered else None
    terms = _terms(work) if exact and value is not None else None
    form = closed.text(terms[-1]) if terms else None
    if terms and value is not None and closed.agrees(terms[-1], value):
        value = work.value = float(terms[-1])
    index = work.hits[0] if work.status in sure and len(work.hits) == 1 else None
    told: dict[str, Any] = {
        "id": work.problem.id,
        "task": "calculation",
        "status": work.status,
        "method": "rules",
        "value": value,
        "exact": form or (_plain(value) if exact else None),
        "pretty": closed.pretty(form or (_plain(value) if exact else None)),
        "unit": _unit(work),
        "option": None if index is None else LETTERS[index],
        "option_index": index,
        "confidence": CONFIDENCE.get(work.status),
        "program": work.program,
        "program_confirmed": work.confirmed if work.program else None,
        "numbers": work.slotted.numbers,
        "steps": _steps(work, terms),
        "facts": _facts(work),
        "assumed": list(dict.fromkeys(work.assumed)),
        "not_understood": list(dict.fromkeys(map(_words(work), work.reading.not_understood))),
        "checks": list(_checks(work, terms)),
        "alternatives": _alternatives(work),
        "notes": work.notes,
        "mode": mode,
    }
    if mode == "official" and value is not None:
        told["option_index"], fault = official_choice(value, work.options)
        if fault:
            told["choice_error"] = fault
        found = told["option_index"]
        told["option"] = None if found is None else LETTERS[found]
    return told


def _words(work: Work) -> Any:
    """Return what puts the numbers back into a stretch of text."""

    def words(text: str) -> str:
        def number(found: re.Match[str]) -> str:
            index = int(found[1])
            slots = work.slotted.slots
            return explain.shown(slots[index].value) if index < len(slots) else found[0]

        return re.sub(r"N_(\d+)", number, text)

    return words


def _terms(work: Work) -> Sequence[Any] | None:
    if not (work.program and work.confirmed):
        return None
    sympy = closed.load_sympy()
    numbers = [sympy.sympify(s.exact, rational=True) for s in work.slotted.slots]
    return closed.evaluate(work.program, numbers)


def _plain(value: float | None) -> str | None:
    """Return a value that is a whole number as text."""
    return str(round(value)) if value is not None and abs(value - round(value)) < 1e-9 else None


def _unit(work: Work) -> str | None:
    asked: Asked | None = work.reading.asked
    units = [s.unit for s in work.slotted.slots if s.unit and s.unit != "°"]
    if (asked and asked.is_angle) or (work.family and "angle" in work.family.asked):
        return "deg"
    kinds = {t.quantity.kind for t in asked.terms if t.quantity} if asked else set()
    area = kinds & {"area", "circle area"} or (work.family and "area" in work.family.asked)
    if (asked and asked.over) or kinds & {"sin", "cos", "tan"} or not units:
        return None
    unit = re.sub(r"\s*(?:\^?\{?[23²³]\}?)$", "", units[0])
    return f"{unit}²" if area else unit


def _steps(work: Work, terms: Sequence[Any] | None) -> list[dict[str, Any]]:
    if not (work.program and work.confirmed):
        return []
    names: dict[str, str] = {}
    for c in work.reading.conditions:
        found = re.findall(r"N_\d+", c.text)
        sized = [t.quantity for t in c.terms if t.quantity]
        if c.kind == "linear" and len(found) == 1 and len(sized) == 1:
            names[found[0]] = str(sized[0])
    if work.family:
        names = {f"N_{i}": role for i, role in enumerate(work.family.roles)}
    return explain.steps(work.program, work.slotted.numbers, terms=terms, names=names)


def _facts(work: Work) -> list[str]:
    words = _words(work)
    if work.family:
        roles = zip(work.family.roles, work.slotted.numbers, strict=True)
        return [f"{work.family.shape}: {role} {explain.shown(n)}" for role, n in roles]
    return list(dict.fromkeys(words(c.text) for c in work.reading.conditions if c.kind != "proper"))


def _checks(work: Work, terms: Sequence[Any] | None) -> Any:
    """Yield what was checked, each with its result in words."""
    if work.value is None:
        return
    if terms is not None:
        good = closed.agrees(terms[-1], work.value)
        yield _check("exact_agrees", good, "the closed form and the float are one number")
    if work.construction.values:
        count = len(work.construction.values)
        same = work.construction.value is not None
        words = f"{count} figures were built from random starts"
        yield _check("construction_agrees", same, f"{words}; {'all' if same else 'not all'} agree")
    if work.program:
        yield _check("program_confirmed", work.confirmed, "the program follows changed numbers")
        used = {n for n in work.program.split() if n.startswith("N_")}
        idle = [i for i in range(len(work.slotted.slots)) if f"N_{i}" not in used]
        text = (
            "every number is used" if not idle else f"not used: {', '.join(f'N_{i}' for i in idle)}"
        )
        yield _check("numbers_used", not idle, text)
    angle = _unit(work) == "deg"
    good = 0 < work.value <= 360 if angle else work.value > 0
    yield _check("range", good, "an angle in (0°, 360°]" if angle else "a positive size")


def _check(name: str, good: bool, text: str) -> dict[str, str]:
    return {"name": name, "result": "pass" if good else "fail", "text": text}


def _alternatives(work: Work) -> list[dict[str, Any]]:
    """Return the other values that figures of the text have, when the answer is not certain."""
    if work.status == "verified":
        return []
    values = sorted({float(np.round(v, 6)) for v in work.candidates})
    return [
        {"method": "rules", "value": v, "option": next(
            (LETTERS[i] for i in matches(v, work.options or [])), None)}
        for v in values[:6]
    ]  # fmt: skip


def guessed(told: dict[str, Any], work: Work) -> None:
    """Choose the best available option where there is none, and say that it is a guess."""
    options = work.options or []
    if told["option_index"] is not None or not options:
        return
    hits = work.hits or [i for v in work.candidates for i in matches(v, options)]
    hits = hits or [LETTERS.index(a["option"]) for a in told["alternatives"][:1] if a["option"]]
    if not hits and told["value"] is not None:
        known = [(abs(o - told["value"]), i) for i, o in enumerate(options) if o is not None]
        hits = [min(known)[1]] if known else []
    if hits:
        index = max(set(hits), key=hits.count)
        told |= {"option_index": index, "option": LETTERS[index], "guessed": True}


def picture(work: Work) -> Picture | None:
    """Return the figure an answer was measured on, with the sizes the text gives."""
    if not work.construction.figures:
        return None
    places = work.construction.values
    best = min(range(len(places)), key=lambda i: abs(places[i] - (work.value or places[i])))
    labels: dict[tuple[str, ...], str] = {}
    for c in work.reading.conditions:
        sized = [t.quantity for t in c.terms if t.quantity]
        plain = [t for t in c.terms if t.quantity is None]
        if c.kind == "linear" and len(sized) == len(plain) == 1 and c.terms[0].factor == 1:
            degree = "°" if sized[0].kind == "angle" else ""
            if sized[0].kind in ("angle", "length"):
                labels[sized[0].points] = explain.shown(-plain[0].factor) + degree
    if work.reading.asked and len(work.reading.asked.terms) == 1 and not work.reading.asked.over:
        q = work.reading.asked.terms[0].quantity
        if q and q.kind in ("angle", "length"):
            labels.setdefault(q.points, "?")
    return of_reading(
        work.reading, work.construction.figures[best], work.construction.radii[best], labels
    )
