"""Cases of an evaluation that are worth a look: the worst, and some drawn at random."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO

from PIL import Image

from qr_cli.geo import metrics
from qr_cli.geo.answer_record import LETTERS
from qr_cli.geo.checker import check
from qr_cli.geo.diagrams import read_diagram
from qr_cli.geo.evaluate import Part
from qr_cli.geo.examined import Examined, looked
from qr_cli.geo.inputs import Picture
from qr_cli.geo.work import ANSWERED

EACH = 10
SURE = {"refuted": 1.0, "wrong-goal": 0.8, "syntax": 0.6}  # how bad a first proof is


@dataclass(frozen=True)
class Case:
    """A problem, who answered it and what.

    Attributes:
        item: the problem.
        shown: what the solver saw of its diagram.
        solver: who answered.
        said: the option chosen, or the checker's verdict on the first proof.
        wanted: the right option, or "verified".
        right: whether it was right.
        sure: in [0, 1]: the network's vote, 1 for an answer of the rules.
        why: "worst" or "random".
    """

    item: Examined
    shown: Picture | None
    solver: str
    said: str
    wanted: str
    right: bool
    sure: float
    why: str = "random"

    @property
    def png(self) -> bytes | None:
        """Return the diagram as the bytes of a PNG: the file's, or what was drawn."""
        if self.item.problem.diagram:
            return read_diagram(self.item.problem.diagram)
        if self.shown is None:
            return None
        out = BytesIO()
        Image.fromarray(self.shown).save(out, "PNG")
        return out.getvalue()


def choose(parts: Sequence[Part], *, each: int = EACH, seed: int = 0) -> list[Case]:
    """Return the worst cases, wrong and surest of it first, then others drawn at random.

    Only of solvers whose answer can be shown again: rules, network, both.
    """
    cases = [c for p in parts if p.solver in ("rules", "network", "both") for c in _cases(p)]
    wrong = sorted((c for c in cases if not c.right and c.sure > 0), key=lambda c: -c.sure)[:each]
    taken = set(map(id, wrong))
    rest = [c for c in cases if id(c) not in taken]
    drawn = random.Random(seed).sample(rest, min(each, len(rest)))
    return [replace(c, why="worst") for c in wrong] + drawn


def _cases(part: Part) -> Iterator[Case]:
    seen = looked(part.items, part.look)
    for i, (item, shown) in enumerate(zip(part.items, seen, strict=True)):
        given = part.heard.candidates[i]
        if part.task == "calculation":
            index = metrics.chosen(item.problem, given, 1)
            said, wanted = _letter(index), _letter(item.problem.label)
            sure = _sure(part, i) if index is not None else 0.0
            right = index is not None and index == item.problem.label
        else:
            proof = given[0].program if given else None
            said = check(part.parsed[i], proof).verdict if proof else "no proof"
            wanted, right = "verified", said in ("verified", "needs-diagram")
            sure = SURE.get(said, 0.0)
        yield Case(item, shown, part.solver, said, wanted, right, sure)


def _sure(part: Part, i: int) -> float:
    if part.heard.confidences:
        return part.heard.confidences[i][0]
    return 1.0 if part.heard.statuses and part.heard.statuses[i] in ANSWERED else 0.5


def _letter(index: int | None) -> str:
    return "–" if index is None else LETTERS[index]
