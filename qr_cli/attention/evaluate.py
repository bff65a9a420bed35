"""Figures of trained networks, from their checkpoints alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qr_cli.attention.compare import Measured, compare, read_run
from qr_cli.attention.questions import ask
from qr_cli.attention.recipe import AttentionEval
from qr_cli.attention.subject import Subject, open_subject
from qr_cli.engine.run import RunFolder, dump_yaml, to_json, write_text
from qr_cli.errors import UsageError

if TYPE_CHECKING:
    from qr_cli.engine.report import Plot

Record = dict[str, Any]


def evaluate(recipe: AttentionEval) -> Iterator[Record]:
    """Yield an "eval" record per run, the answers to what is asked of it, then the comparison.

    A report is written when several runs are compared or more than accuracy is asked; its place is
    the last record, "report".

    Raises:
        UsageError: no run is named, or runs that cannot be compared.
        WeightsError: a checkpoint cannot be used.
        DataError: the data cannot be used, or has other classes than the network.
    """
    if not recipe.target.runs:
        raise UsageError("no run is named", hint="qr eval attention runs/attention/se-s0")
    folders = [Path(run) for run in recipe.target.runs]
    report = report_folder(recipe)
    if len(folders) > 1 and recipe.target.which == "best":
        raise UsageError(
            "--which best: a comparison is of last epochs; its table has the best ones too",
            hint="leave --which out, or name one run",
        )
    records: list[Record] = []
    plots: list[Plot] = []
    measured: list[Measured] = []
    for folder in folders:
        subject = open_subject(folder, recipe)
        found = [subject.record(recipe.target.which)]
        yield found[0]
        if len(folders) > 1:
            measured.append(_measured(subject))
        for answer in ask(subject, recipe):
            yield from answer.records
            found += answer.records
            plots += _named(answer.plots, folder.name if len(folders) > 1 else "")
        records += found
    if measured:
        from qr_cli.attention.compare_plots import comparison_plots

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
        yield write(report, recipe, records, plots)


def report_folder(recipe: AttentionEval) -> Path | None:
    """Return where the report goes, or None where none is called for.

    Without ``--out`` the name is made from the recipe: the same question is answered in the same
    place, and an earlier answer to it is replaced.

    Raises:
        UsageError: something is in the folder of ``--out``, and --overwrite was not asked.
    """
    runs = [Path(run) for run in recipe.target.runs]
    if recipe.report.out is None:
        if len(runs) == 1 and not recipe.asks:
            return None
        mark = hashlib.sha256(dump_yaml(recipe).encode()).hexdigest()[:8]
        return runs[0].parent / f"compare-{mark}" if len(runs) > 1 else runs[0] / f"eval-{mark}"
    folder = Path(recipe.report.out)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        ours = (folder / "recipe.yaml").is_file() and not (folder / "checkpoints").exists()
        if not (recipe.report.overwrite and ours):
            raise UsageError(
                f"{folder} exists and is not empty",
                hint="--overwrite replaces an earlier report, --out names another folder",
            )
    return folder


def write(folder: Path, recipe: AttentionEval, records: list[Record], plots: list[Plot]) -> Record:
    """Write recipe.yaml, metrics.jsonl, plots and report.html; return the "report" record."""
    from qr_cli.attention.compare_plots import report_table
    from qr_cli.engine.report import write_report

    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "metrics.jsonl", "".join(to_json(r) + "\n" for r in records))
    write_text(folder / "recipe.yaml", dump_yaml(recipe))
    RunFolder(folder).facts(task=recipe.task, runs=len(recipe.target.runs))
    groups = [r for r in records if r["event"] == "compare"]
    names = ", ".join(Path(run).name for run in recipe.target.runs)
    page = write_report(
        folder,
        title="attention: evaluation",
        lead=f"Last and best figures, and what was asked of {names}.",
        figures=plots,
        tables=[report_table(groups)] if groups else [],
        defaults=json.loads(AttentionEval().model_dump_json()),
    )
    return {"event": "report", "report": str(page), "plots": len(plots)}


def _measured(subject: Subject) -> Measured:
    sha256 = subject.images.sha256()
    recipe, best = read_run(subject.folder, data_sha256=sha256)
    net: Any = subject.net
    figures, right = subject.measured
    return Measured(
        folder=subject.folder,
        recipe=recipe,
        right=right,
        top5=figures.get("top5"),
        best=best,
        classes=net.classes,
        input_size=net.input_size,
        data=subject.source,
        data_sha256=sha256,
        data_note=subject.images.note,
    )


def _named(plots: list[Plot], run: str) -> list[Plot]:
    """Return plots whose file names tell the run they are of."""
    return [replace(plot, name=f"{run}-{plot.name}") for plot in plots] if run else plots
