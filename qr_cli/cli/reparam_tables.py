"""What `qr reparam` shows on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qr_cli.cli.output import out
from qr_cli.reparam.recipe import Reparam

Record = Mapping[str, Any]
MANY = 40  # rows of a plan; a longer one is told by kind unless --verbose


def show(found: Mapping[str, Sequence[Record]]) -> None:
    """Print the tables of what there is: costs, plan, comparison, files, times."""
    if found.get("approx"):
        out.table(
            "gates held at their mean (drop of top-1 in points, 95 % interval)",
            ["gate", "S>", "drop>", "interval>"],
            [_held(row) for row in found["approx"]],
        )
    if found.get("plan"):
        _plan(found["plan"])
    for check in found.get("verify", []):
        _verify(check)
    if found.get("export"):
        rows = [[r["file"], _bytes(r["bytes"]), str(r["nodes"]["all"]),
                 str(r["nodes"]["BatchNormalization"]), str(r["nodes"]["Sigmoid"]),
                 f"{max(r['parity'].values()):.0e}"] for r in found["export"]]  # fmt: skip
        out.table(
            "exported, read back and compared with the original",
            ["file", "size>", "nodes>", "bn>", "sigmoid>", "error>"],
            rows,
        )
    for timing in found.get("latency", []):
        out.table(
            f"{timing['text']}; batch {timing['batch']}, {timing['threads']} thread(s)",
            ["network", "ms>", "iqr>"],
            [[n, f"{ms:.2f}", f"{timing['iqr_ms'][n]:.2f}"] for n, ms in timing["ms"].items()],
        )


def show_summary(found: Mapping[str, Sequence[Record]], recipe: Reparam) -> None:
    """Print what came of it, and what to type next."""
    place = recipe.place
    if not found.get("summary"):
        folds = sum(row["status"] == "fold" for row in found.get("plan", []))
        out.value(str(folds))
        out.hint(f"qr reparam {place} --out DIR folds {folds} of {len(found.get('plan', []))}")
        return
    (summary,) = found["summary"]
    if summary.get("params"):
        rows = [[name, f"{count:,}"] for name, count in summary["params"].items()]
        out.table("parameters", ["form", "count>"], rows)
    for warning in summary["warnings"]:
        out.say(f"note: {warning}") if not out.quiet and not out.as_json else None
    out.value(str(recipe.output.out))
    if summary.get("strict"):
        out.hint(f"plain weights load into {summary['strict']} with strict=True")
    if summary["folded"] and summary.get("level"):
        out.hint(f"open {recipe.output.out}/report.html")


def _plan(rows: Sequence[Record]) -> None:
    folds = [row for row in rows if row["status"] == "fold"]
    kept = [row for row in rows if row["status"] != "fold"]
    if len(rows) > MANY and not out.verbose:
        gates = [row for row in folds if row["what"] != "bn"]
        norms = len(folds) - len(gates)
        shown = gates[:MANY]
        more = [f"and {len(gates) - MANY} like these"] if len(gates) > MANY else []
        more += [f"and {norms} batch norms into their convolutions"] if norms else []
        title = f"plan: {len(folds)} fold, {len(kept)} stay (--verbose: all rows)"
        cells = [_row(row) for row in [*shown, *kept[:MANY]]]
        cells += [[text, "", "", "", ""] for text in more]
    else:
        title = f"plan: {len(folds)} fold, {len(kept)} stay"
        cells = [_row(row) for row in [*folds, *kept]]
    out.table(title, ["module", "what", "rule", "into, or why not", "dead>"], cells)


def _row(row: Record) -> list[str]:
    return [
        row["module"] or "(top)",
        row["what"],
        row["rule"] or "stays",
        row["into"] or row["reason"],
        row["dead_units"] or "",
    ]


def _verify(check: Record) -> None:
    dtype = next(name for name in ("float32", "float16", "bfloat16", "float64") if name in check
                 and f"{name}_limit" in check)  # fmt: skip
    rows = [
        ["float64, whole network", _error(check["float64"]), "1e-10"],
        [f"{dtype}, whole network", _error(check[dtype]), f"{check[f'{dtype}_limit']:.0e}"],
        ["1 - cosine", _error(check["one_minus_cosine"]), "1e-06"],
        ["answers that differ beyond the margin", str(check["top1_flips"]), "0"],
    ]
    if check["sites"]:
        rows.insert(1, [f"float64, {check['sites']} sites", _error(check["site_max"]), "1e-12"])
    word = "equal" if check["ok"] else "NOT EQUAL"
    out.table(
        f"{word} to the original ({check['level']} check, {check['inputs']} inputs)",
        ["max|a-b| / max|a|", "found>", "limit>"],
        rows,
    )


def _held(row: Record) -> list[str]:
    s = row.get("S")
    return [
        row["module"],
        "-" if s is None else f"{s:.3f}",
        f"{row['drop_points']:.2f}",
        f"[{row['drop_low_points']:.2f}, {row['drop_high_points']:.2f}]",
    ]


def _error(value: float | None) -> str:
    return "not run" if value is None else f"{value:.0e}"


def _bytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
