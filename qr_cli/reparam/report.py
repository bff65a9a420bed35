"""The report of a fold: recipe.yaml, run.json, metrics.jsonl, report.json, plots, report.html."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import nn

from qr_cli.engine.files import write_text
from qr_cli.engine.report import Table
from qr_cli.engine.report import write_report as write_page
from qr_cli.engine.run import RunFolder, dump_yaml, to_json
from qr_cli.reparam.folding import Result
from qr_cli.reparam.plots import plots
from qr_cli.reparam.recipe import Reparam
from qr_cli.reparam.source import Source
from qr_cli.reparam.verifying import Check

Record = dict[str, Any]


def write_report(
    folder: Path,
    recipe: Reparam,
    source: Source,
    model: nn.Module,
    result: Result,
    check: Check,
    records: list[Record],
) -> None:
    """Write everything but the weights into `folder`."""
    write_text(folder / "recipe.yaml", dump_yaml(recipe))
    write_text(folder / "metrics.jsonl", "".join(to_json(r) + "\n" for r in records))
    run = RunFolder(folder)
    run.facts(task="reparam", runs=1)
    by_event: dict[str, list[Record]] = {}
    for record in records:
        by_event.setdefault(record["event"], []).append(record)
    summary = by_event["summary"][0]
    report = {
        "plan": by_event["plan"],
        "approx": by_event.get("approx", []),
        "verify": {**by_event["verify"][0], "sites": check.sites},
        "export": by_event.get("export", []),
        "latency": by_event.get("latency", [None])[0],
        "summary": summary,
    }
    write_text(folder / "report.json", json.dumps(report, indent=1) + "\n")
    write_page(
        folder,
        title="reparam: folded network",
        lead=_lead(source, result, check, by_event),
        figures=plots(model, result, check, by_event),
        tables=list(_tables(by_event, summary)),
        defaults=json.loads(Reparam().model_dump_json()),
    )


def _lead(source: Source, result: Result, check: Check, events: dict[str, list[Record]]) -> str:
    error = "" if check.float64 is None else f" Float64 error {check.float64:.0e},"
    summary = events["summary"][0]
    params = " → ".join(f"{name} {count:,}" for name, count in summary["params"].items())
    inexact = " Approximate: ordinary gates are held at their mean." if events.get("approx") else ""
    return (
        f"{source.arch}: {len(result.folded)} folded, {summary['kept']} kept.{error} "
        f"{check.dtype} error {check.native:.0e} ({check.level} check). Parameters: {params}."
        f"{inexact}"
    )


def _tables(events: dict[str, list[Record]], summary: Record) -> Any:
    rows = sorted(events["plan"], key=lambda row: row["status"] != "fold")
    yield Table(
        "Plan",
        "Folded first, then what was kept and why. Dead units: hidden units of ASR without a "
        "gradient.",
        ("module", "what", "rule", "into", "status", "reason", "dead units"),
        [[r["module"], r["what"], r["rule"], r["into"], r["status"], r["reason"], r["dead_units"]]
         for r in rows],
    )  # fmt: skip
    if events.get("approx"):
        yield Table(
            "Gates held at their mean",
            "Drop of top-1 in points on the test split, paired 95 % interval.",
            ("gate", "S", "drop", "low", "high", "images"),
            [[r["module"], r.get("S"), r["drop_points"], r["drop_low_points"],
              r["drop_high_points"], r["images"]] for r in events["approx"]],
        )  # fmt: skip
    if events.get("export"):
        yield Table(
            "Exported files",
            "Read back from disk and compared with the original: max|a - b| / max|a|.",
            ("file", "opset", "convolutions", "batch norms", "sigmoids", "products", "all nodes",
             "error at batch 1", "at batch 3"),
            [[r["file"], r["opset"], r["nodes"]["Conv"], r["nodes"]["BatchNormalization"],
              r["nodes"]["Sigmoid"], r["nodes"]["Mul"], r["nodes"]["all"],
              r["parity"]["batch1"], r["parity"]["batch3"]] for r in events["export"]],
        )  # fmt: skip
    if events.get("latency"):
        timing = events["latency"][0]
        yield Table(
            "Time of a forward pass",
            f"{timing['text']}. Batch {timing['batch']}, {timing['threads']} thread(s), "
            f"{timing['clock']} time, {timing['rounds']} rounds, medians.",
            ("network", "ms", "IQR ms"),
            [[name, ms, timing["iqr_ms"][name]] for name, ms in timing["ms"].items()],
        )
    if summary["warnings"]:
        yield Table("Notes", "What to know before it is used.", ("note",),
                    [[note] for note in summary["warnings"]])  # fmt: skip
    yield Table(
        "Hashes",
        "SHA-256 of the weights files.",
        ("file", "sha256", "bytes"),
        [["input", summary["input_sha256"], summary["bytes"][0]],
         ["model.safetensors", summary["output_sha256"], summary["bytes"][1]]],
    )  # fmt: skip
