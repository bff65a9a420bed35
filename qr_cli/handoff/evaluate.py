"""Figures of handoff models on labelled dialogues, at several operating points.

Runs of one system are seeds of it: figures are means over them, intervals are of the mean over
draws of dialogues. Trivial policies and, with sentiment labels, an oracle stand beside.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from qr_cli.engine.folder import free_for_report
from qr_cli.errors import DataError, UsageError, WeightsError, near
from qr_cli.handoff.calibrate import cost_threshold, matched, sigmoid
from qr_cli.handoff.decide import MISSING, MISSING_HINT
from qr_cli.handoff.eval_recipe import POINTS, HandoffEval
from qr_cli.handoff.load import Model, load
from qr_cli.handoff.metrics import (
    area_under_curve,
    average_precision,
    bootstrap,
    confusion,
    gt_scores,
)
from qr_cli.handoff.metrics import evaluate as figures_of
from qr_cli.handoff.mhch import Dialogue, digest, read_jsonl
from qr_cli.handoff.operating import crossfit
from qr_cli.handoff.policies import policies

log = logging.getLogger(__name__)
Record = dict[str, Any]
Array = np.ndarray
COMPARED = ("f1", "macro_f1", "gt1", "gt2", "gt3", "cost_per_dialogue")


@dataclass
class Seed:
    """One run: what it says of each dialogue.

    Attributes:
        model: the run.
        odds: log-odds per dialogue.
        p: calibrated probabilities, by the run's own calibration.
    """

    model: Model
    odds: list[Array]
    p: list[Array]


@dataclass
class Decisions:
    """What one seed decides at one operating point, and the probabilities that go with it."""

    predicted: list[Array]
    p: list[Array]
    threshold: float | None


def evaluate(
    recipe: HandoffEval, doing: Callable[[str, str], None] = lambda subject, job: None
) -> Iterator[Record]:
    """Yield a record per system and operating point, then policies and comparisons.

    Raises:
        UsageError: no run or no data are named.
        DataError: the data cannot be used.
        WeightsError: a run cannot be used, or lacks what the threshold needs.
    """
    if not recipe.target.runs:
        raise UsageError("no run is named", hint="qr eval handoff runs/handoff/NAME --data FILE")
    if recipe.data.data is None:
        raise UsageError("--data: no dialogues are named", hint="--data dev.jsonl")
    report = free_for_report(recipe.report)
    dialogues, dropped = _read(recipe)
    labels = [_labels(d) for d in dialogues]
    if recipe.target.calibrate:
        yield from _calibrate(recipe, dialogues, doing)
        return
    systems: dict[str, list[Seed]] = {}
    for run in recipe.target.runs:
        which = None if recipe.target.which == "auto" else recipe.target.which
        model = load(run, which=which)
        doing(model.name, f"{len(dialogues)} dialogues")
        odds = [np.asarray(s.odds, float) for s in _scores(model, dialogues)]
        seed = Seed(model, odds, [model.probability(d) for d in odds])
        systems.setdefault(str(model.card.get("system", model.name)), []).append(seed)
    _same_roles(systems)
    labels = _trained_roles(labels, dialogues, next(iter(systems.values()))[0].model)
    _both_classes(labels, str(recipe.data.data))
    same = digest(dialogues)
    for seeds in systems.values():
        for seed in seeds:
            if seed.model.calibration is not None and seed.model.calibration.data == same:
                log.warning("%s was calibrated on these very dialogues", seed.model.name)
    shared = {
        "data": str(recipe.data.data),
        "data_sha256": same,
        "max_turns": recipe.data.max_turns,
        "positives_dropped": dropped,
    }
    records: list[Record] = []
    made: dict[tuple[str, str], list[Decisions]] = {}
    for system, seeds in systems.items():
        for point in _points(recipe, seeds):
            decisions = [_decide(recipe, point, seed, labels) for seed in seeds]
            made[system, point] = decisions
            record = _row(recipe, system, point, seeds, decisions, labels, dialogues) | shared
            records.append(record)
            yield record
    if recipe.points.policies:
        for name, predicted in policies(dialogues):
            found = figures_of(labels, predicted, **_costs(recipe))
            record = {"event": "eval", "system": name, "operating_point": None, **found, **shared}
            records.append(record)
            yield record
    for record in _comparisons(recipe, systems, made, labels):
        records.append(record)
        yield record
    if report is not None:
        from qr_cli.handoff.eval_report import write

        yield write(report, recipe, records, systems, labels)


def _scores(model: Model, dialogues: Sequence[Dialogue]) -> Sequence[Any]:
    """Score dialogues; a model that looks ahead can only do so as a whole."""
    if model.card.get("lookahead") != "released":
        return model.scores(dialogues)
    from qr_cli.handoff.build import predict
    from qr_cli.handoff.corpus import Corpus
    from qr_cli.handoff.runner import network

    return predict(network(model), Corpus(dialogues, model.encoder))


def _read(recipe: HandoffEval) -> tuple[list[Dialogue], int]:
    """Return the dialogues, cut, and how many positives the cut drops."""
    data = recipe.data
    dialogues = read_jsonl(
        str(data.data), label_base=data.label_base, soft_labels=data.soft_labels,
        proxy=data.proxy, warn=log.warning,
    )  # fmt: skip
    dropped = 0
    if data.max_turns is not None:
        for dialogue in dialogues:
            rest = dialogue.utterances[data.max_turns :]
            dropped += sum(u.handoff is not None and u.handoff >= 0.5 for u in rest)
            dialogue.utterances = dialogue.utterances[: data.max_turns]
        if dropped:
            log.info("--max-turns %d drops %d transfers", data.max_turns, dropped)
    return dialogues, dropped


def _labels(dialogue: Dialogue) -> Array:
    return np.array(
        [np.nan if u.handoff is None else u.handoff for u in dialogue.utterances], dtype=float
    )


def _same_roles(systems: dict[str, list[Seed]]) -> None:
    roles = {s.model.card.get("label_roles", "both") for seeds in systems.values() for s in seeds}
    if len(roles) > 1:
        raise UsageError(
            f"runs with labels of different roles cannot be compared: {sorted(roles)}",
            hint="evaluate them one by one",
        )


def _trained_roles(labels: list[Array], dialogues: Sequence[Dialogue], model: Model) -> list[Array]:
    """Take away labels of the role that a model has no probability for."""
    role = model.card.get("label_roles", "both")
    if role == "both":
        return labels
    return [
        np.where([u.role == role for u in d.utterances], y, np.nan)
        for d, y in zip(dialogues, labels, strict=True)
    ]


def _both_classes(labels: Sequence[Array], path: str) -> None:
    flat = np.concatenate(list(labels))
    flat = flat[~np.isnan(flat)]
    positives = int((flat >= 0.5).sum())
    if not 0 < positives < len(flat):
        raise DataError(
            f"{path} has {positives} transfers among {len(flat)} labelled turns; both classes are "
            "needed",
            hint="--proxy negative-customer, if it has sentiment",
        )


def _points(recipe: HandoffEval, seeds: Sequence[Seed]) -> list[str]:
    """Return the operating points; those that need a calibration are left out of "all"."""
    asked = recipe.points.threshold
    calibrated = all(seed.model.calibration is not None for seed in seeds)
    if asked != "all":
        if asked in ("validated", "cost") and not calibrated:
            raise WeightsError(MISSING.format(asked), hint=MISSING_HINT)
        return [asked]
    return [p for p in POINTS if calibrated or p not in ("validated", "cost")]


def _decide(recipe: HandoffEval, point: str, seed: Seed, labels: Sequence[Array]) -> Decisions:
    """Return what a run decides at an operating point."""
    raw = [sigmoid(d) for d in seed.odds]
    calibration = seed.model.calibration
    if point == "default":
        return Decisions([p >= 0.5 for p in raw], raw, 0.5)
    if point == "validated":
        threshold = calibration.validated if calibration else None
        threshold = 0.5 if threshold is None else threshold
        return Decisions([p >= threshold for p in raw], seed.p, threshold)
    if point == "cost":
        threshold = cost_threshold(recipe.points.cost_false, recipe.points.cost_miss)
        return Decisions([p >= threshold for p in seed.p], seed.p, threshold)
    if point == "matched":
        flat, label = np.concatenate(raw), np.concatenate(list(labels))
        raised = matched(np.where(np.isnan(label), -1, flat), label)
        ends = np.cumsum([len(p) for p in raw])[:-1]
        return Decisions(np.split(raised, ends), raw, None)
    if point == "crossfit":
        kind = recipe.points.calibration
        thresholds, p = crossfit(seed.odds, labels, folds=recipe.points.folds, kind=kind)
        predicted = [x >= t for x, t in zip(raw, thresholds, strict=True)]
        return Decisions(predicted, p, float(np.mean(thresholds)))
    return Decisions([p >= float(point) for p in seed.p], seed.p, float(point))


def _costs(recipe: HandoffEval) -> dict[str, Any]:
    points = recipe.points
    return {
        "lam": points.lam, "cost_false": points.cost_false, "cost_miss": points.cost_miss,
    }  # fmt: skip


def _row(
    recipe: HandoffEval,
    system: str,
    point: str,
    seeds: Sequence[Seed],
    decisions: Sequence[Decisions],
    labels: Sequence[Array],
    dialogues: Sequence[Dialogue],
) -> Record:
    """Return the figures of a system at a point: means over seeds, and their range for F1."""
    each = [figures_of(labels, d.predicted, d.p, **_costs(recipe)) for d in decisions]
    mean = {
        k: float(np.mean([e[k] for e in each])) if isinstance(v, float) else v
        for k, v in each[0].items()
    }
    for name in ("false_transfers", "missed_transfers"):
        mean[name] = float(np.mean([e[name] for e in each])) if len(each) > 1 else each[0][name]
    roles = np.concatenate([[u.is_customer for u in d.utterances] for d in dialogues])
    label = np.concatenate(list(labels))
    # Areas are of the scores themselves: p of crossfit has another scale in each fold.
    everybody = np.ones_like(roles)
    for name, chosen in (("", everybody), ("_customer", roles), ("_agent", ~roles)):
        keep = chosen & ~np.isnan(label)
        flats = [np.concatenate(s.odds)[keep] for s in seeds]
        for key, area in (("auc", area_under_curve), ("ap", average_precision)):
            areas = [area(flat, label[keep] >= 0.5) for flat in flats]
            mean[f"{key}{name}"] = float(np.mean(areas))
    record: Record = {
        "event": "eval",
        "system": system,
        "operating_point": point,
        "threshold": _mean([d.threshold for d in decisions]),
        **mean,
        "seeds": len(seeds),
        "labels": seeds[0].model.card.get("proxy", "none") != "none" and "proxy" or "gold",
        "calibrated_on": seeds[0].model.calibration.data if seeds[0].model.calibration else None,
    }
    if len(seeds) > 1:
        record |= {"f1_least": min(e["f1"] for e in each), "f1_most": max(e["f1"] for e in each)}
    if recipe.points.bootstrap:
        table = np.stack([_counts(labels, d.predicted) for d in decisions])
        for k, name in enumerate(("f1", "macro_f1")):

            def drawn(draw: Array, k: int = k) -> float:
                return float(np.mean([_f(t[draw].sum(0))[k] for t in table]))

            low, high = bootstrap(drawn, len(labels), draws=recipe.points.bootstrap)
            record |= {f"{name}_low": low, f"{name}_high": high}
    return record


def _comparisons(
    recipe: HandoffEval,
    systems: dict[str, list[Seed]],
    made: dict[tuple[str, str], list[Decisions]],
    labels: Sequence[Array],
) -> Iterator[Record]:
    """Yield paired differences of each system and the baseline, at each point."""
    base = recipe.target.baseline
    if base is None:
        return
    if base not in systems:
        raise UsageError(f"--baseline: no run is of system {base!r}{near(base, systems)}")
    for (system, point), decisions in made.items():
        if system == base or (base, point) not in made:
            continue
        record: Record = {
            "event": "compare", "system": system, "baseline": base, "operating_point": point,
        }  # fmt: skip
        tables = [
            [_figures(recipe, labels, d.predicted) for d in group]
            for group in (decisions, made[base, point])
        ]

        def difference(draw: Array, name: str, tables: Any = tables) -> float:
            ours, theirs = (np.mean([_drawn(t, draw)[name] for t in group]) for group in tables)
            return float(ours - theirs)

        everything = np.arange(len(labels))
        for name in COMPARED:
            record[name] = difference(everything, name)
            if recipe.points.bootstrap:
                low, high = bootstrap(
                    partial(difference, name=name), len(labels), draws=recipe.points.bootstrap
                )
                record |= {f"{name}_low": low, f"{name}_high": high}
        yield record


def _figures(recipe: HandoffEval, labels: Sequence[Array], predicted: Sequence[Array]) -> Record:
    """Return per dialogue what a draw of dialogues sums up."""
    known = [~np.isnan(y) for y in labels]
    gold = [(y >= 0.5) & k for y, k in zip(labels, known, strict=True)]
    alarms = [p & k for p, k in zip(predicted, known, strict=True)]
    return {
        "counts": _counts(labels, predicted),
        "gt": np.stack(gt_scores(gold, alarms, recipe.points.lam), axis=1),
        "cost": (recipe.points.cost_false, recipe.points.cost_miss),
    }


def _drawn(table: Record, draw: Array) -> dict[str, float]:
    total, gt = table["counts"][draw].sum(0), table["gt"][draw].mean(0)
    f1, macro = _f(total)
    cost = (table["cost"][0] * total[1] + table["cost"][1] * total[2]) / len(draw)
    found = (f1, macro, *gt, cost)
    return dict(zip(COMPARED, map(float, found), strict=True))


def _counts(labels: Sequence[Array], predicted: Sequence[Array]) -> Array:
    """Return (dialogues, 4): true positives, false, missed, true negatives."""
    return np.array(
        [
            confusion(y[~np.isnan(y)] >= 0.5, p[~np.isnan(y)])
            for y, p in zip(labels, predicted, strict=True)
        ]
    )


def _f(counts: Array) -> tuple[float, float]:
    """Return F1 and Macro-F1 of summed counts; both classes occur."""
    hit, false, missed, rest = (float(c) for c in counts)
    one = 2 * hit / (2 * hit + false + missed) if hit else 0.0
    zero = 2 * rest / (2 * rest + false + missed) if rest else 0.0
    return one, (one + zero) / 2


def _calibrate(
    recipe: HandoffEval, dialogues: Sequence[Dialogue], doing: Callable[[str, str], None]
) -> Iterator[Record]:
    """Fit calibration, thresholds and quantiles on the dialogues, for each run."""
    from qr_cli.engine.files import write_text
    from qr_cli.handoff.corpus import Corpus
    from qr_cli.handoff.operating import fit_on

    for run in recipe.target.runs:
        model = load(run, which=None if recipe.target.which == "auto" else recipe.target.which)
        doing(model.name, "calibration")
        corpus = Corpus(dialogues, model.encoder)
        role = model.card.get("label_roles", "both")
        if role != "both":
            corpus.mask_role("customer" if role == "agent" else "agent")
        found = fit_on(recipe.points.calibration, _scores(model, dialogues), corpus)
        file = model.home / "calibration.json"
        write_text(file, json.dumps(found.to_json(), indent=1) + "\n")
        yield {
            "event": "calibrate", "run": str(run), "file": str(file), "kind": found.kind,
            "n": found.n, "ece_before": found.ece_before, "ece_after": found.ece_after,
            "validated": found.validated, "data_sha256": found.data,
        }  # fmt: skip


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None
