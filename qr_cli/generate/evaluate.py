"""Does an adapter help? Pictures with and without it from the same noise, judged independently.

Several adapters are training seeds of one: figures are means over them and over the noise seeds;
intervals and tests are over prompts, whose seeds are averaged first. gap_closed is
(adapter - base) / (keyword - base): 1 means that a sentence is drawn as well as its keywords.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from qr_cli.engine.accelerator import check_device
from qr_cli.engine.folder import free_for_report
from qr_cli.errors import UsageError
from qr_cli.generate.adapter import SURAdapter
from qr_cli.generate.base import base_folder, load_base, wishes
from qr_cli.generate.diagnose import diagnose, embed, mean_figures
from qr_cli.generate.eval_recipe import GenerateEval
from qr_cli.generate.folder import find_adapter
from qr_cli.generate.measure import Cell, Found, Look, accuracies, make_judges, run_conditions
from qr_cli.generate.metrics import gap_closed, interval, paired
from qr_cli.generate.studio import DTYPES, device_of
from qr_cli.generate.suites import load_suite

log = logging.getLogger(__name__)
Record = dict[str, Any]
Row = dict[str, Any]
_FEW = 10  # prompts, below which there is no interval


def evaluate(
    recipe: GenerateEval, doing: Callable[[str, str], None] = lambda subject, job: None
) -> Iterator[Record]:
    """Yield "embedding", "eval", "compare" and "dial" records, then "report".

    Args:
        recipe: what is evaluated and asked.
        doing: is told of which subject what is about to be done.

    Raises:
        UsageError: the suite has not what a judge needs, or adapters that do not belong together.
        DataError: suite or base cannot be read.
        WeightsError: base, adapter, judge or CLIP folder cannot be used.
    """
    ask, target = recipe.question, recipe.target
    check_device(recipe.sampling.device, recipe.sampling.precision)
    report = free_for_report(recipe.report)
    rows = load_suite(ask.suite)
    judges = make_judges(ask.judges, rows) if ask.images else {}
    clip = _clip(ask.clip)
    adapters = {
        name: find_adapter(name, eta=target.eta, attention_axis=target.attention_axis)
        for name in target.adapter
    }
    eta = _eta(recipe, adapters)
    etas = list(dict.fromkeys((eta, *ask.sweep_eta)))
    folder = base_folder(target.base)
    device = device_of(recipe.sampling.device)
    pipe = load_base(target.base, device=device, dtype=DTYPES[recipe.sampling.precision])
    if len(rows) < _FEW:
        log.warning("%s has %d prompts: too few for intervals", ask.suite, len(rows))
    shared = {"suite": ask.suite, "n": len(rows), "adapters": len(adapters)}
    records: list[Record] = []

    def told(found: Iterator[Record]) -> Iterator[Record]:
        for record in found:
            records.append(record)
            yield record

    if "prompt" in rows[0]:
        doing("embeddings", f"{len(rows)} prompts")
        yield from told(_embeddings(pipe, rows, adapters, etas, shared))
    found = Found()
    if ask.images:
        wished = wishes(folder)
        how = recipe.sampling
        found = run_conditions(
            pipe, rows, adapters, etas, Look(judges, clip),
            seeds=ask.seeds,
            steps=how.steps or wished.steps,
            guidance=wished.guidance if how.guidance is None else how.guidance,
            batch_size=how.batch_size, strict=target.strict, doing=doing,
        )  # fmt: skip
        shared["noise_seeds"] = list(ask.seeds)
        right = accuracies(found.measures(), judges)
        yield from told(_accuracies(found, right, rows, shared, ask.resamples))
        yield from told(_comparisons(found, right, etas, shared, ask.resamples))
        if ask.sweep_eta:
            yield from told(_dials(found, right, etas, shared))
    if report is not None:
        from qr_cli.generate.eval_report import Evaluated, write

        doing("report", str(report))
        yield write(report, recipe, records, Evaluated(pipe, rows, adapters, found, eta))


def _clip(folder: str | None) -> Any:
    if folder is None:
        return None
    from qr_cli.generate.vqa import Clip

    return Clip(folder)


def _eta(recipe: GenerateEval, adapters: dict[str, SURAdapter]) -> float:
    """Return the eta of this evaluation, the adapters' own unless one is given."""
    if not adapters:
        raise UsageError("--adapter: none is named", hint="--adapter tiny")
    if recipe.target.eta is not None:
        return recipe.target.eta
    own = {float(adapter.config["eta"]) for adapter in adapters.values()}
    if len(own) > 1:
        values = ", ".join(f"{value:g}" for value in sorted(own))
        raise UsageError(f"--adapter: their etas differ ({values})", hint="--eta 1")
    return own.pop()


def _embeddings(
    pipe: Any, rows: Sequence[Row], adapters: dict[str, SURAdapter], etas: Sequence[float],
    shared: Record,
) -> Iterator[Record]:  # fmt: skip
    texts = embed(pipe, rows)
    found = [(0.0, diagnose(texts, None, 0.0))]
    for eta in etas:
        found.append((eta, mean_figures([diagnose(texts, a, eta) for a in adapters.values()])))
    for eta, conditions in found:
        for condition, figures in conditions.items():
            yield {"event": "embedding", "condition": condition, "eta": eta, **figures, **shared}


def _accuracies(
    found: Found, right: Sequence[str], rows: Sequence[Row], shared: Record, resamples: int
) -> Iterator[Record]:
    """Yield the share of right pictures per cell and judge, overall and per category."""
    names = sorted({str(row.get("category")) for row in rows})
    groups: dict[str | None, list[int]] = {None: list(range(len(rows)))}
    if len(names) > 1:
        for name in names:
            groups[name] = [i for i, row in enumerate(rows) if str(row.get("category")) == name]
    for cell in found.scores:
        for judge in right:
            values = found.per_prompt(cell, judge)
            for category, members in groups.items():
                some = values[members]
                low, high = (
                    interval(some, resamples=resamples) if len(some) >= _FEW else (None, None)
                )
                yield {
                    "event": "eval", "condition": cell.condition, "eta": cell.eta, "judge": judge,
                    "category": category, "accuracy": float(some.mean()), "low": low,
                    "high": high, **shared, "n": len(some),
                }  # fmt: skip


def _comparisons(
    found: Found, right: Sequence[str], etas: Sequence[float], shared: Record, resamples: int
) -> Iterator[Record]:
    """Yield adapter against base, and keywords through the adapter against keywords without."""
    for eta in etas:
        for treated, control in (("adapter", "base"), ("keyword+adapter", "keyword")):
            one, other = Cell(treated, eta), Cell(control, 0.0)
            if one not in found.scores or other not in found.scores:
                continue
            for measure in found.measures():
                control_mean = found.per_prompt(other, measure)
                result = paired(found.per_prompt(one, measure), control_mean, resamples=resamples)
                apart = [
                    float((values - control_mean).mean())
                    for values in found.per_adapter(one, measure)
                ]
                keyword = Cell("keyword", 0.0)
                closed = None
                if measure in right and treated == "adapter" and keyword in found.scores:
                    closed = gap_closed(
                        float(found.per_prompt(one, measure).mean()),
                        float(control_mean.mean()),
                        float(found.per_prompt(keyword, measure).mean()),
                    )
                yield {
                    "event": "compare", "treated": treated, "control": control, "eta": eta,
                    "measure": measure, **result._asdict(), "gap_closed": closed,
                    "seed_range": [min(apart), max(apart)] if len(apart) > 1 else None, **shared,
                }  # fmt: skip


def _dials(
    found: Found, right: Sequence[str], etas: Sequence[float], shared: Record
) -> Iterator[Record]:
    """Yield per judge the largest eta at which keywords lose no more than one point."""
    for judge in right:
        plain = Cell("keyword", 0.0)
        if plain not in found.scores:
            return
        whole = float(found.per_prompt(plain, judge).mean())
        means = {e: float(found.per_prompt(Cell("keyword+adapter", e), judge).mean()) for e in etas}
        harmless = [e for e, mean in means.items() if mean >= whole - 0.01 - 1e-9]
        best = max(harmless, default=0.0)
        told = float(found.per_prompt(Cell("adapter", best), judge).mean()) if best else None
        yield {
            "event": "dial", "judge": judge, "eta": best, "keyword": whole,
            "keyword_adapter": means.get(best, whole), "adapter": told, **shared,
        }  # fmt: skip
