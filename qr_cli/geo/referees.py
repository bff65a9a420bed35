"""Who answers when `qr eval geo` asks: rules, network, both, the gold, and two that do not read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from qr_cli.geo import metrics
from qr_cli.geo.examined import Examined, Look, looked
from qr_cli.geo.givens import ProofProblem
from qr_cli.geo.metrics import Candidate
from qr_cli.geo.opinion import opinion
from qr_cli.geo.proof import write_proof
from qr_cli.geo.prover import prove
from qr_cli.geo.recipe import Examined as Asked
from qr_cli.geo.records import Problem
from qr_cli.geo.solver import Options, solve
from qr_cli.geo.work import ANSWERED

PRIOR = 4000  # generated problems whose programs make the prior


@dataclass
class Heard:
    """What a solver said of every problem.

    Attributes:
        candidates: best first.
        statuses: that the rules give, where they were asked.
        confidences: of the network's vote, with the option it names; of calculations.
    """

    candidates: list[list[Candidate]]
    statuses: list[str] = field(default_factory=list)
    confidences: list[tuple[float, int | None]] = field(default_factory=list)


def ask(
    solver: str, task: str, items: Sequence[Examined], parsed: Sequence[ProofProblem],
    asked: Asked, look: Look,
) -> Heard:  # fmt: skip
    """Return what a solver says of problems of one task."""
    problems = [item.problem for item in items]
    if solver == "gold":
        return Heard([[Candidate(p.proof or p.program)] for p in problems])
    if task == "proving" and solver in ("label", "prior"):
        return Heard([[] for _ in problems])
    if solver == "label":
        return _label(problems)
    if solver == "prior":
        programs = prior()
        return Heard([programs.get(len(p.numbers or ()), []) for p in problems])
    rules = _rules(task, problems, parsed, asked) if solver in ("rules", "both") else None
    if solver == "rules":
        assert rules is not None
        return rules
    network = _network(task, items, asked, look)
    if rules is None:
        return network
    first = 1 if task == "calculation" else asked.most
    joined = [[*r[:first], *n] for r, n in zip(rules.candidates, network.candidates, strict=True)]
    return Heard(joined, rules.statuses)


def _label(problems: Sequence[Problem]) -> Heard:
    """Return the option that is right most often, for every problem."""
    labels = Counter(p.label for p in problems if p.label is not None).most_common(1)
    index = int(labels[0][0] or 0) if labels else 0
    found = []
    for problem in problems:
        options = metrics.numbers_of(problem.choices) or []
        found.append([Candidate(value=options[index] if index < len(options) else None)])
    return Heard(found)


@lru_cache(maxsize=1)
def prior() -> dict[int, list[Candidate]]:
    """Return the generator's programs by count of numbers, the most frequent first."""
    from qr_cli.geo.synth import make

    counts: dict[int, Counter[str]] = {}
    for sample in make(PRIOR, seed=0, mix={"calculation": 1.0}, image=False):
        numbers, program = sample.problem.numbers, sample.problem.program
        counts.setdefault(len(numbers or ()), Counter())[program or ""] += 1
    return {
        n: [Candidate(p) for p, _ in sorted(some.items(), key=lambda row: (-row[1], row[0]))]
        for n, some in counts.items()
    }


def _rules(
    task: str, problems: Sequence[Problem], parsed: Sequence[ProofProblem], asked: Asked
) -> Heard:
    if task == "proving":
        return Heard(
            [
                [Candidate(write_proof(f.steps, q.elements)) for f in prove(q)] if q.elements
                else []
                for q in parsed
            ]
        )  # fmt: skip
    found, statuses = [], []
    for problem in problems:
        answer = solve(problem, options=Options(seed=asked.seed))
        statuses.append(answer.status)
        program = answer.record["program"] if answer.record["program_confirmed"] else None
        answered = answer.status in ANSWERED
        found.append([Candidate(program, answer.value)] if answered else [])
    return Heard(found, statuses)


def _network(task: str, items: Sequence[Examined], asked: Asked, look: Look) -> Heard:
    from qr_cli.geo.network import load_network  # torch

    network = load_network(asked.checkpoint)
    said = network.say(
        [item.problem for item in items], beams=asked.most, longest=asked.max_length,
        pictures=looked(items, look), select="vote", truncate=True, strange=True,
    )  # fmt: skip
    found = [[Candidate(g.text) for g in one.guesses] for one in said]
    if task == "proving":
        return Heard(found)
    confidences: list[tuple[float, int | None]] = []
    for item, one in zip(items, said, strict=True):
        options = metrics.numbers_of(item.problem.choices)
        vote: Any = opinion(one.guesses, one.numbers, options, tau=network.tau)
        confidences.append((vote.confidence, vote.index))
    return Heard(found, [], confidences)
