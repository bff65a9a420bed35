"""Problems that are evaluated: of files, or generated (`synth:seen`, `synth:unseen`, ...)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from qr_cli.errors import DataError, UsageError, near
from qr_cli.geo.diagrams import read_diagram
from qr_cli.geo.inputs import Picture, picture
from qr_cli.geo.records import Problem, read
from qr_cli.geo.slotting import slots

Look = Literal["on", "off", "shuffled"]
SYNTH = "synth:"
SETS = {  # name -> split and kinds of the generator
    "seen": ("seen", ("calculation", "proof")),
    "unseen": ("unseen", ("calculation", "proof")),
    "diagram": ("seen", ("diagram",)),
}


@dataclass(frozen=True)
class Examined:
    """A problem with answer.

    Attributes:
        problem: the record, its numbers known.
        picture: its diagram, if there is one.
        group: what figures may be told by: its category, or the generator's family.
        family: the generator's family, of a generated one.
    """

    problem: Problem
    picture: Picture | None
    group: str | None
    family: str | None = None


def examined(name: str, *, count: int, seed: int, by: str) -> list[Examined]:
    """Return the problems of a file, or so many generated ones of each kind of a set.

    Raises:
        DataError: a problem cannot be used, or there is none.
        UsageError: there is no such set.
    """
    if name.startswith(SYNTH):
        return _generated(name.removeprefix(SYNTH), count, seed, by)
    found = []
    for item in read(Path(name)):
        if isinstance(item, tuple):
            raise DataError(f"{name}, problem {item[0]}: {item[1].message}", hint=item[1].hint)
        seen = picture(read_diagram(item.diagram)) if item.diagram else None
        found.append(Examined(_numbered(item), seen, item.category))
    if not found:
        raise DataError(f"{name}: no problem in it")
    return found


def _numbered(problem: Problem) -> Problem:
    """Return a calculation with its numbers, read from the text where the record has none."""
    if problem.task == "proving" or problem.numbers is not None:
        return problem
    return replace(problem, numbers=tuple(slots(problem.text).numbers))


def _generated(name: str, count: int, seed: int, by: str) -> list[Examined]:
    from qr_cli.geo.synth import make

    if name not in SETS:
        raise UsageError(
            f"there is no set {SYNTH}{name}{near(name, SETS)}", hint="synth:seen, synth:unseen"
        )
    split, kinds = SETS[name]
    return [
        Examined(s.problem, s.image, s.family if by == "family" else s.problem.category, s.family)
        for kind in kinds
        for s in make(count, seed, split, {kind: 1.0})
    ]


def looked(items: Sequence[Examined], look: Look) -> list[Picture | None]:
    """Return what is shown with each problem: its diagram, none, or another problem's.

    Another problem's is one of the same group, the next one in order.
    """
    if look == "off":
        return [None] * len(items)
    if look == "on":
        return [item.picture for item in items]
    held: dict[str | None, list[int]] = {}
    for i, item in enumerate(items):
        held.setdefault(item.group, []).append(i)
    found: list[Picture | None] = [None] * len(items)
    for places in held.values():
        for i, other in zip(places, places[1:] + places[:1], strict=True):
            found[i] = items[other].picture
    return found
