"""`qr eval geo`: figures of the rules, of the gold itself, or of predictions from elsewhere."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from qr_cli.errors import DataError
from qr_cli.geo import metrics
from qr_cli.geo.givens import ProofProblem, read_problem
from qr_cli.geo.metrics import Candidate
from qr_cli.geo.proof import write_proof
from qr_cli.geo.prover import prove
from qr_cli.geo.recipe import GeoEval
from qr_cli.geo.records import Problem, read
from qr_cli.geo.solver import Options, solve

Record = dict[str, Any]
Doing = Callable[[str, str], None]


def evaluate(recipe: GeoEval, doing: Doing) -> Iterator[Record]:
    """Yield one record per file, solver, task, category and k, and one of statuses per file."""
    asked = recipe.examined
    for name in asked.files:
        problems = _problems(Path(name))
        solvers = ["predictions"] if asked.predictions else list(asked.solver)
        for solver in solvers:
            for task in ("calculation", "proving"):
                held = [p for p in problems if p.task == task]
                if held:
                    doing(f"{Path(name).name}: {solver}", task)
                    yield from _of_task(recipe, name, solver, task, held)


def _problems(path: Path) -> list[Problem]:
    found = []
    for item in read(path):
        if isinstance(item, tuple):
            raise DataError(f"{path}, problem {item[0]}: {item[1].message}", hint=item[1].hint)
        found.append(item)
    if not found:
        raise DataError(f"{path}: no problem in it")
    return found


def _of_task(
    recipe: GeoEval, data: str, solver: str, task: str, problems: list[Problem]
) -> Iterator[Record]:
    asked = recipe.examined
    parsed = (
        [read_problem(p.text, elements=p.elements) for p in problems] if task == "proving" else []
    )
    statuses: list[str] = []
    if solver == "predictions":
        candidates = _predictions(Path(asked.predictions or ""), problems)
    elif task == "proving":
        candidates = [_proofs(solver, p, q) for p, q in zip(problems, parsed, strict=True)]
    else:
        label = Counter(p.label for p in problems if p.label is not None).most_common(1)
        answers = [_answer(solver, p, label, asked.seed) for p in problems]
        candidates, statuses = [c for c, _ in answers], [s for _, s in answers]
    groups = [("all", list(range(len(problems))))]
    if asked.by == "category":
        names = [metrics.pooled(p.category, task) for p in problems]
        groups += [(g, [i for i, n in enumerate(names) if n == g]) for g in sorted(set(names))]
    for category, chosen in groups:
        for k in asked.beams:
            some = [problems[i] for i in chosen]
            given = [candidates[i] for i in chosen]
            if task == "calculation":
                figures = metrics.calculation(some, given, k)
                targets = [p.program for p in some]
            else:
                figures = metrics.proving(some, [parsed[i] for i in chosen], given, k)
                targets = [p.proof for p in some]
            yield {
                "event": "eval", "data": data, "solver": solver, "k": k, "task": task,
                "category": category, "n": len(some), **figures,
                "over_limit": metrics.over_limit(targets, asked.max_length),
                "diagrams": False, "convention": metrics.CONVENTION,
            }  # fmt: skip
    if statuses:
        yield from _statuses(data, solver, problems, candidates, statuses)


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


def _answer(
    solver: str, problem: Problem, label: list[tuple[Any, int]], seed: int
) -> tuple[list[Candidate], str]:
    """Return a solver's candidates and the status it gives them."""
    if solver == "gold":
        return [Candidate(problem.program)], "gold"
    if solver == "label":
        options = metrics.numbers_of(problem.choices) or []
        index = label[0][0] if label else 0
        value = options[index] if index < len(options) else None
        return [Candidate(value=value)], "label"
    answer = solve(problem, options=Options(seed=seed))
    if answer.status not in ("verified", "determined-by-options"):
        return [], answer.status
    program = answer.record["program"] if answer.record["program_confirmed"] else None
    return [Candidate(program, answer.value)], answer.status


def _proofs(solver: str, problem: Problem, parsed: ProofProblem) -> list[Candidate]:
    if solver == "gold":
        return [Candidate(problem.proof)]
    if solver == "label" or not parsed.elements:
        return []
    return [Candidate(write_proof(f.steps, parsed.elements)) for f in prove(parsed)]


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
