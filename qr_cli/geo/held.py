"""Held-out problems of a training run and the figures on them, greedy and cheap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qr_cli.geo import metrics
from qr_cli.geo.checker import check
from qr_cli.geo.corpus import problems_of
from qr_cli.geo.givens import read_problem
from qr_cli.geo.inputs import words
from qr_cli.geo.metrics import Candidate
from qr_cli.geo.network import Question, predict
from qr_cli.geo.readers import Reader
from qr_cli.geo.records import Problem
from qr_cli.geo.synth import FAMILIES, make
from qr_cli.geo.train_recipe import GeoTrain

SEED = 1_000_000  # generated problems to choose by: no stream of training has this seed


@dataclass(frozen=True)
class Held:
    """Problems of one kind.

    Attributes:
        name: of the figure: ``acc_<name>`` or ``valid_<name>``.
        proving: whether they are proofs.
        problems: with their answers.
        questions: as the network takes them.
    """

    name: str
    proving: bool
    problems: Sequence[Problem]
    questions: Sequence[Question]


def sets(recipe: GeoTrain, reader: Reader) -> list[Held]:
    """Return the held-out problems of a recipe, read as its preset does."""
    if recipe.data.val == ("synth",):
        return _generated(recipe)
    problems = problems_of(recipe.data.val)
    found = []
    for task, name in (("calculation", "val"), ("proving", "val_proof")):
        some = [p for p in problems if p.task == task]
        if some:
            asked = [
                Question(reader.words(p, "compound"), task == "proving", reader.picture(p))
                for p in some
            ]
            found.append(Held(name, task == "proving", some, asked))
    return found


def _generated(recipe: GeoTrain) -> list[Held]:
    n, families = recipe.loader.eval_samples, list(recipe.data.families) or None
    found = []
    for name, split, kind in (
        ("seen", "seen", "calculation"), ("unseen", "unseen", "calculation"),
        ("diagram", "seen", "diagram"), ("proof", "unseen", "proof"),
    ):  # fmt: skip
        known = [f for f, row in FAMILIES.items() if row.kind == kind]
        if families:
            known = [f for f in families if f in known]
        if not known or not recipe.data.shares[kind]:
            continue
        samples = make(n, SEED, split, {kind: 1.0}, families=known)
        asked = [
            Question(
                words(s.problem, longest=None), kind == "proof",
                s.image if kind == "diagram" and recipe.vision.vision else None,
            )
            for s in samples
        ]  # fmt: skip
        found.append(Held(name, kind == "proof", [s.problem for s in samples], asked))
    return found


def figures(
    model: Any, held: Sequence[Held], *, longest: int, batch_size: int, grammatical: bool = True
) -> dict[str, Any]:
    """Return acc@1 and exact@1 of calculations, valid@1 and exact@1 of proofs, and their mean.

    `figure` is the mean over the sets of acc@1 or valid@1; the best epoch is chosen by it, or by
    `bleu`, over all sets.
    """
    record: dict[str, Any] = {"figure": math.nan, "bleu": math.nan}
    shares, pairs = [], []
    for some in held:
        said = predict(
            model, some.questions, beams=1, longest=longest, batch_size=batch_size,
            grammatical=grammatical,
        )  # fmt: skip
        shown = [[Candidate(g.text) for g in guesses] for guesses in said]
        if some.proving:
            parsed = [
                read_problem(
                    p.text, elements=p.elements, points=dict(p.points) if p.points else None,
                    collinear=p.collinear,
                )
                for p in some.problems
            ]  # fmt: skip
            good = sum(
                bool(c) and check(q, c[0].program or "").verdict in ("verified", "needs-diagram")
                for q, c in zip(parsed, shown, strict=True)
            )
            record[f"valid_{some.name}"] = share = good / len(shown)
        else:
            found = metrics.calculation(some.problems, shown, 1)
            record[f"acc_{some.name}"] = share = found["acc"]
        exact = sum(
            bool(c) and c[0].program == (p.proof if some.proving else p.program)
            for p, c in zip(some.problems, shown, strict=True)
        )
        record[f"exact_{some.name}"] = exact / len(shown)
        shares.append(share)
        golds = [(p.proof if some.proving else p.program) or "" for p in some.problems]
        pairs += [
            (gold.split(), (c[0].program or "").split() if c else [])
            for gold, c in zip(golds, shown, strict=True)
        ]
    if shares:
        record["figure"] = sum(shares) / len(shares)
        record["bleu"] = metrics.bleu(pairs)
    return record
