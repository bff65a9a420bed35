"""Figures of trained networks, from their checkpoints alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qr_cli.attention.compare import Measured, compare
from qr_cli.attention.eval_recipe import AttentionEval
from qr_cli.attention.eval_report import report_folder, write
from qr_cli.attention.questions import asked, check
from qr_cli.attention.runs import Run, grouped, named, read_run
from qr_cli.attention.subject import Subject, open_network, open_subject, short_name
from qr_cli.errors import UsageError

if TYPE_CHECKING:
    from qr_cli.engine.report import Plot

Record = dict[str, Any]


def evaluate(
    recipe: AttentionEval, doing: Callable[[str, str], None] = lambda subject, job: None
) -> Iterator[Record]:
    """Yield an "eval" record per run, the answers to what is asked of it, then the comparison.

    What the files of the runs alone rule out is refused before anything is measured. A report is
    written when several runs are compared or more than accuracy is asked; its place is the last
    record, "report".

    Args:
        recipe: what is evaluated and asked.
        doing: is told of which subject what is about to be done, in words.

    Raises:
        UsageError: no run is named, or runs that cannot be compared or asked this.
        WeightsError: a checkpoint cannot be used.
        DataError: the data cannot be used, or has other classes than the network.
        EnvironmentFault: the report cannot be written.
    """
    if not recipe.places:
        raise UsageError("no run is named", hint="qr eval attention runs/attention/se-s0")
    several = len(recipe.places) > 1
    report = report_folder(recipe)
    runs = _comparable(recipe) if several else []
    nets = [open_network(place, recipe) for place in recipe.places]
    for place, net in zip(recipe.places, nets, strict=True):
        check(place, net, recipe)
    records: list[Record] = []
    plots: list[Plot] = []
    measured: list[Measured] = []
    for number, (place, net) in enumerate(zip(recipe.places, nets, strict=True)):
        name = short_name(place)
        doing(name, "accuracy")
        subject = open_subject(place, net, recipe)
        found = [subject.record(recipe.target.which)]
        yield found[0]
        if several:
            measured.append(_measured(subject, runs[number]))
        for question in asked(recipe):
            doing(name, question.name)
            answer = question.answer(subject, recipe)
            yield from answer.records
            found += answer.records
            plots += _named(answer.plots, name if several else "")
        records += found
    if measured:
        from qr_cli.attention.compare_plots import comparison_plots

        doing("comparison", "parameters, FLOPs, latency")
        chosen = recipe.compare
        groups = list(
            compare(
                measured,
                baseline=chosen.baseline,
                rounds=chosen.repeats if chosen.latency else None,
                latency_batch=chosen.latency_batch,
            )
        )
        yield from groups
        records += groups
        plots = [*comparison_plots(groups), *plots]
    if report is not None:
        doing("report", str(report))
        yield write(report, recipe, records, plots)


def _comparable(recipe: AttentionEval) -> list[Run]:
    """Return the runs; refuse an unfinished one, one given twice, an unknown baseline."""
    runs = [read_run(Path(place)) for place in recipe.places]
    groups = grouped(runs)
    if recipe.compare.baseline is not None:
        named(recipe.compare.baseline, groups)
    return runs


def _measured(subject: Subject, run: Run) -> Measured:
    sha256 = subject.images.sha256()
    net: Any = subject.net
    figures, right = subject.measured
    return Measured(
        folder=run.folder,
        recipe=run.recipe,
        right=right,
        top5=figures.get("top5"),
        best=run.best(sha256),
        classes=net.classes,
        input_size=subject.input_size,
        data=subject.source,
        data_sha256=sha256,
        data_note=subject.images.note,
    )


def _named(plots: list[Plot], run: str) -> list[Plot]:
    """Return plots whose file names tell the run they are of."""
    return [replace(plot, name=f"{run}-{plot.name}") for plot in plots] if run else plots
