"""Problems of files seen anew: other letters, Elements in another order."""

from __future__ import annotations

import re
from dataclasses import replace
from string import ascii_uppercase

import numpy as np

from qr_cli.geo.records import Problem

_POINT = re.compile(r"(?<![A-Za-z_\\])[A-Z](?:[A-Z′']*(?![a-z_]))")


def renamed(problem: Problem, rng: np.random.Generator, *, letters: bool = True) -> Problem:
    """Return a problem with its letters permuted consistently and its Elements shuffled.

    Args:
        problem: of a file.
        rng: where the order comes from.
        letters: rename them; not where a diagram shows the old ones.
    """
    new = rng.permutation(list(ascii_uppercase)) if letters else ascii_uppercase
    table = str.maketrans(ascii_uppercase, "".join(new))

    def change(text: str | None) -> str | None:
        if text is None:
            return None
        return _POINT.sub(lambda found: found[0].translate(table), text)

    text, slot_text = change(problem.text), change(problem.slot_text)
    elements = _elements(problem)
    if not elements:
        return replace(problem, text=text or "", slot_text=slot_text)
    order = rng.permutation(len(elements)).tolist()
    place = {old: new for new, old in enumerate(order)}
    proof = re.sub(r"\bE_(\d+)", lambda found: f"E_{place[int(found[1])]}", problem.proof or "")
    shuffled = tuple(change(elements[i]) or "" for i in order)
    body = (text or "").partition("(Elements:")[0].strip()
    return replace(problem, text=body, slot_text=None, elements=shuffled, proof=proof or None)


def _elements(problem: Problem) -> list[str]:
    if problem.task != "proving":
        return []
    listed = problem.text.partition("(Elements:")[2]
    return list(problem.elements or [e for e in listed.strip(" )").split(",") if e.strip()])
