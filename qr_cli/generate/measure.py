"""Pictures of a suite under several conditions, and what judges and measures say of each.

    base             narrative, no adapter          keyword          keywords, no adapter
    adapter          narrative, adapter             keyword+adapter  keywords, adapter

Every condition starts from the same noise per prompt and seed.
Shapes: N prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from qr_cli.errors import UsageError
from qr_cli.generate import metrics
from qr_cli.generate.adapter import SURAdapter
from qr_cli.generate.attach import attach, detach
from qr_cli.generate.draw import draw, noise, picture_size
from qr_cli.generate.names import JUDGES

Row = dict[str, Any]
Scores = dict[str, Tensor]
SIDE_EFFECTS: dict[str, Callable[[Tensor], Tensor]] = {
    "sharpness": metrics.sharpness,
    "colourfulness": metrics.colourfulness,
    "clipped": metrics.clipped,
}


class Condition(NamedTuple):
    """What is drawn: which text of a row, through the adapter or not."""

    name: str
    key: str
    adapted: bool


CONDITIONS = (
    Condition("base", "text", False),
    Condition("adapter", "text", True),
    Condition("keyword", "prompt", False),
    Condition("keyword+adapter", "prompt", True),
)


class Cell(NamedTuple):
    """A condition at an eta; without an adapter eta is 0."""

    condition: str
    eta: float


@dataclass
class Found:
    """What was measured.

    Attributes:
        scores: per cell, adapter and noise seed the measures, each (N,).
        pictures: of the first adapter and first noise seed, (N, H, W, 3) as uint8.
    """

    scores: dict[Cell, list[list[Scores]]] = field(default_factory=dict)
    pictures: dict[Cell, Tensor] = field(default_factory=dict)

    def per_prompt(self, cell: Cell, measure: str) -> Tensor:
        """Return a measure per prompt, (N,): the mean over adapters and noise seeds."""
        return torch.stack([self._seed(runs, measure) for runs in self.scores[cell]]).mean(0)

    def per_adapter(self, cell: Cell, measure: str) -> list[Tensor]:
        """Return a measure per prompt for each adapter: the mean over noise seeds."""
        return [self._seed(runs, measure) for runs in self.scores[cell]]

    def measures(self) -> list[str]:
        """Return what was measured."""
        return list(next(iter(self.scores.values()))[0][0])

    def _seed(self, runs: list[Scores], measure: str) -> Tensor:
        return torch.stack([run[measure].double() for run in runs]).mean(0)


class Look:
    """Judges and measures, asked of a batch of pictures.

    Args:
        judges: by name.
        clip: CLIPScore of pictures against texts.
    """

    def __init__(self, judges: Mapping[str, Any], clip: Any = None) -> None:
        self.judges, self.clip = judges, clip

    def __call__(self, pictures: Tensor, rows: Sequence[Row]) -> Scores:
        """(N, H, W, 3) as uint8 and N rows -> measures, each (N,)."""
        seen = pictures.permute(0, 3, 1, 2).float() / 255
        found = {
            name: torch.tensor(judge(seen, rows), dtype=torch.float64)
            for name, judge in self.judges.items()
        }
        if {"digit-cnn", "tint"} <= found.keys():
            found["both"] = found["digit-cnn"] * found["tint"]
        if self.clip is not None:
            for key in ("text", "prompt"):
                if key in rows[0]:
                    found[f"clip_{key}"] = self.clip(seen, [row[key] for row in rows])
        return found | {name: measure(seen) for name, measure in SIDE_EFFECTS.items()}


def accuracies(measures: Sequence[str], judges: Mapping[str, Any]) -> list[str]:
    """Return those of the measures that are shares of right pictures."""
    return [name for name in measures if name in judges or name == "both"]


def make_judges(names: Sequence[str], rows: Sequence[Row]) -> dict[str, Any]:
    """Return the judges, each checked against the rows; without names all that need no argument.

    Raises:
        UsageError: a name is unknown, or a judge lacks what it needs in a row.
        WeightsError: a judge's model cannot be used.
    """
    tiny = ("digit-cnn", "digit-knn", "tint")
    chosen = names or tuple(name for name in tiny if _has(rows, f"label.{name.split('-')[0]}"))
    judges = {}
    for name in chosen:
        kind, _, argument = name.partition(":")
        make = JUDGES.load(kind if kind in JUDGES else name)
        needs = make.needs
        if not _has(rows, needs):
            raise UsageError(
                f"--judges: {name} needs {needs}, which the suite does not have",
                hint="qr list generate",
            )
        judges[name] = make(argument) if kind in ("vqa", "classifier") or argument else make()
    return judges


def _has(rows: Sequence[Row], path: str) -> bool:
    """Tell whether every row has a key, or a key inside "label"."""
    head, _, tail = path.partition(".")
    if not tail:
        return all(row.get(head) for row in rows)
    return all(isinstance(r.get(head), dict) and tail in r[head] for r in rows)


def run_conditions(
    pipe: Any,
    rows: Sequence[Row],
    adapters: Mapping[str, SURAdapter],
    etas: Sequence[float],
    look: Look,
    *,
    seeds: Sequence[int],
    steps: int,
    guidance: float,
    batch_size: int,
    strict: bool = False,
    doing: Callable[[str, str], None] = lambda subject, job: None,
) -> Found:
    """Draw every condition and ask about every picture.

    Args:
        pipe: the base.
        rows: of the suite; without "prompt" the keyword conditions are left out.
        adapters: by name.
        etas: of the adapted conditions.
        look: what is asked.
        seeds: of the noise; prompt i starts from seed * N + i.
        steps: denoising steps.
        guidance: guidance scale.
        batch_size: pictures at once.
        strict: whether an adapter for another base is refused.
        doing: is told what is being drawn.
    """
    found = Found()

    def cell(condition: Condition, place: Cell) -> None:
        runs = []
        for seed in seeds:
            pictures, scores = [], []
            for part in _parts(len(rows), batch_size):
                some = [rows[i] for i in part]
                latents = noise(pipe, [seed * len(rows) + i for i in part], **size)
                drawn = draw(
                    pipe, [row[condition.key] for row in some], [""] * len(some), latents,
                    steps=steps, guidance=guidance,
                )  # fmt: skip
                pictures.append(drawn.pictures)
                scores.append(look(drawn.pictures, some))
            runs.append({key: torch.cat([part[key] for part in scores]) for key in scores[0]})
            if seed == seeds[0]:
                found.pictures.setdefault(place, torch.cat(pictures))
        found.scores.setdefault(place, []).append(runs)

    height, width = picture_size(pipe, None, None)
    size = {"height": height, "width": width}
    wanted = [c for c in CONDITIONS if c.key in rows[0]]
    for condition in wanted:
        if not condition.adapted:
            doing(condition.name, f"{len(rows)} prompts")
            cell(condition, Cell(condition.name, 0.0))
    for name, adapter in adapters.items():
        attached = attach(pipe, adapter, strict=strict)
        for eta in etas:
            for condition in wanted:
                if condition.adapted:
                    doing(f"{name}, eta {eta:g}", condition.name)
                    attached.eta = eta
                    cell(condition, Cell(condition.name, eta))
        detach(pipe)
    return found


def _parts(count: int, size: int) -> Iterator[range]:
    for start in range(0, count, size):
        yield range(start, min(start + size, count))
