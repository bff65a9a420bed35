"""`qr eval geo`: figures of rules and network, of the gold itself, of given predictions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from qr_cli.errors import DataError
from qr_cli.geo import metrics
from qr_cli.geo.examined import Examined, Look, examined
from qr_cli.geo.givens import ProofProblem, read_problem
from qr_cli.geo.metrics import Candidate
from qr_cli.geo.recipe import GeoEval
from qr_cli.geo.records import Problem
from qr_cli.geo.referees import Heard, ask

Record = dict[str, Any]
Doing = Callable[[str, str], None]


def evaluate(recipe: GeoEval, doing: Doing) -> Iterator[Record]:
    """Yield one record per data set, solver, look, task, category and k, and one of statuses."""
    asked = recipe.examined
    for name in asked.files:
        items = examined(name, count=asked.samples, seed=asked.seed, by=asked.by)
        solvers = ["predictions"] if asked.predictions else list(asked.solver)
        for solver in solvers:
            looks: tuple[Look, ...] = (
                asked.diagram_input if solver in ("network", "both") else ("off",)
            )
            for look in looks:
                for task in ("calculation", "proving"):
                    held = [item for item in items if item.problem.task == task]
                    if held:
                        doing(f"{Path(name).name}: {solver}", task)
                        yield from _of_task(recipe, name, solver, look, task, held)


def records(recipe: GeoEval) -> list[Record]:
    """Return all records at once."""
    return list(evaluate(recipe, lambda what, task: None))


def _of_task(
    recipe: GeoEval, data: str, solver: str, look: Look, task: str, items: list[Examined]
) -> Iterator[Record]:
    asked, problems = recipe.examined, [item.problem for item in items]
    parsed = [_parsed(p) for p in problems] if task == "proving" else []
    if solver == "predictions":
        heard = Heard(_predictions(Path(asked.predictions or ""), problems))
    else:
        heard = ask(solver, task, items, parsed, asked, look)
    groups = [("all", list(range(len(problems))))]
    if asked.by != "all":
        names = [
            item.group or "other" if asked.by == "family" else metrics.pooled(item.group, task)
            for item in items
        ]
        groups += [(g, [i for i, n in enumerate(names) if n == g]) for g in sorted(set(names))]
    shown = look != "off" and any(item.picture is not None for item in items)
    for category, chosen in groups:
        for k in asked.beams:
            some = [problems[i] for i in chosen]
            given = [heard.candidates[i] for i in chosen]
            if task == "calculation":
                figures = metrics.calculation(some, given, k)
                targets = [p.program for p in some]
            else:
                figures = metrics.proving(some, [parsed[i] for i in chosen], given, k)
                targets = [p.proof for p in some]
            if heard.confidences:
                votes = [heard.confidences[i] for i in chosen]
                right = [index == p.label for (_, index), p in zip(votes, some, strict=True)]
                figures["vote"] = sum(right) / len(right)
                figures["ece"] = metrics.ece([c for c, _ in votes], right)
            yield {
                "event": "eval", "data": data, "solver": solver, "k": k, "task": task,
                "category": category, "n": len(some), **figures,
                "over_limit": metrics.over_limit(targets, asked.max_length),
                "diagrams": look if shown else False, "convention": metrics.CONVENTION,
            }  # fmt: skip
    if heard.statuses:
        yield from _statuses(data, solver, problems, heard.candidates, heard.statuses)


def _parsed(problem: Problem) -> ProofProblem:
    return read_problem(
        problem.text, elements=problem.elements,
        points=dict(problem.points) if problem.points else None, collinear=problem.collinear,
    )  # fmt: skip


def _statuses(
    data: str, solver: str, problems: Sequence[Problem],
    candidates: Sequence[Sequence[Candidate]], statuses: Sequence[str],
) -> Iterator[Record]:  # fmt: skip
    """Yield how often each status occurs, and how often it is right."""
    for status in dict.fromkeys(statuses):
        held = [i for i, s in enumerate(statuses) if s == status]
        hits = [metrics.chosen(problems[i], candidates[i], 1) for i in held]
        answered = [(i, h) for i, h in zip(held, hits, strict=True) if h is not None]
        yield {
            "event": "status", "data": data, "solver": solver, "status": status, "n": len(held),
            "answered": len(answered),
            "right": sum(h == problems[i].label for i, h in answered),
        }  # fmt: skip


def _predictions(path: Path, problems: Sequence[Problem]) -> list[list[Candidate]]:
    if not path.is_file():
        raise DataError(f"--predictions: no such file, got {path}")
    beams: dict[str, list[Candidate]] = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            beams[str(record["id"])] = [Candidate(str(b)) for b in record["beams"]]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise DataError(
                f'{path}, line {number}: should be {{"id": ..., "beams": [...]}}',
                hint='{"id": "1", "beams": ["g_half N_0"]}',
            ) from error
    missing = [p.id for p in problems if p.id not in beams]
    if missing:
        raise DataError(f"{path} has no prediction for {len(missing)} problems, first {missing[0]}")
    return [beams[p.id] for p in problems]
