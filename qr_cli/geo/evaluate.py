"""`qr eval geo`: figures of rules and network, of the gold itself, of given predictions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qr_cli.engine.folder import free_for_report
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


@dataclass(frozen=True)
class Part:
    """What one solver said of the problems of one task in one data set."""

    data: str
    solver: str
    look: Look
    task: str
    items: Sequence[Examined]
    parsed: Sequence[ProofProblem]
    heard: Heard


def evaluate(recipe: GeoEval, doing: Doing) -> Iterator[Record]:
    """Yield one record per data set, solver, look, task, category and k, of statuses, the report.

    Raises:
        UsageError: the folder of --out is taken, or there is no such set.
        DataError: problems or predictions cannot be used.
        WeightsError: the network cannot be used.
    """
    report = free_for_report(recipe.report)
    parts: list[Part] = []
    found: list[Record] = []
    for record in _records(recipe, doing, parts):
        found.append(record)
        yield record
    if report is None:
        return
    from qr_cli.geo.eval_report import write  # matplotlib

    doing("report", "pages of cases")
    yield write(report, recipe, found, parts)


def _records(recipe: GeoEval, doing: Doing, parts: list[Part]) -> Iterator[Record]:
    """Yield the records and add what they were made from to `parts`."""
    asked = recipe.examined
    for name in asked.files:
        items = examined(name, count=asked.samples, seed=asked.seed, by=asked.by)
        solvers = ["predictions"] if asked.predictions else list(asked.solver)
        for solver in solvers:
            for task in ("calculation", "proving"):
                held = [item for item in items if item.problem.task == task]
                drawn = any(item.picture is not None for item in held)
                sees = drawn and solver in ("network", "both")
                looks: tuple[Look, ...] = asked.diagram_input if sees else ("off",)
                for look in looks if held else ():
                    doing(f"{Path(name).name}: {solver}", task)
                    part = _heard(recipe, name, solver, look, task, held)
                    parts.append(part)
                    yield from _of_task(recipe, part)


def records(recipe: GeoEval) -> list[Record]:
    """Return all records at once."""
    return list(evaluate(recipe, lambda what, task: None))


def _heard(
    recipe: GeoEval, data: str, solver: str, look: Look, task: str, items: list[Examined]
) -> Part:
    asked, problems = recipe.examined, [item.problem for item in items]
    parsed = [_parsed(p) for p in problems] if task == "proving" else []
    if solver == "predictions":
        heard = Heard(_predictions(Path(asked.predictions or ""), problems))
    else:
        heard = ask(solver, task, items, parsed, asked, look)
    return Part(data, solver, look, task, items, parsed, heard)


def _of_task(recipe: GeoEval, part: Part) -> Iterator[Record]:
    asked, task, items, heard = recipe.examined, part.task, part.items, part.heard
    problems = [item.problem for item in items]
    groups = [("all", list(range(len(problems))))]
    if asked.by != "all":
        names = [
            item.group or "other" if asked.by == "family" else metrics.pooled(item.group, task)
            for item in items
        ]
        groups += [(g, [i for i, n in enumerate(names) if n == g]) for g in sorted(set(names))]
    shown = part.look != "off" and any(item.picture is not None for item in items)
    for category, chosen in groups:
        for k in asked.beams:
            some = [problems[i] for i in chosen]
            given = [heard.candidates[i] for i in chosen]
            if task == "calculation":
                figures = metrics.calculation(some, given, k)
                targets = [p.program for p in some]
            else:
                figures = metrics.proving(some, [part.parsed[i] for i in chosen], given, k)
                targets = [p.proof for p in some]
            if heard.confidences:
                votes = [heard.confidences[i] for i in chosen]
                right = [index == p.label for (_, index), p in zip(votes, some, strict=True)]
                figures["vote"] = sum(right) / len(right)
                figures["ece"] = metrics.ece([c for c, _ in votes], right)
            yield {
                "event": "eval", "data": part.data, "solver": part.solver, "k": k, "task": task,
                "category": category, "n": len(some), **figures,
                "over_limit": metrics.over_limit(targets, asked.max_length),
                "diagrams": part.look if shown else False, "convention": metrics.CONVENTION,
            }  # fmt: skip
    if heard.statuses:
        yield from _statuses(part.data, part.solver, problems, heard.candidates, heard.statuses)


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
