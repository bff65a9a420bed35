"""A comparison as tables: one for the page, one for a terminal of 80 columns, and its conventions.

All are made from `compare` records alone. Shares are shown in per cent, differences of shares in
points (hundredths).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qr_cli.engine.report import Table

Record = dict[str, Any]
BEST = {  # what a best figure is, by the split its epoch was selected on
    "test": "epoch selected on test, so not an unbiased figure (*)",
    "val": "epoch selected on val, reported on test",
}
NARROW = 13  # characters of a label on a terminal of 80 columns


def report_table(records: Sequence[Record]) -> Table:
    """Return all figures as a table of the page; a difference that includes 0 is "not shown"."""
    from qr_cli.engine.report import Table  # imports matplotlib

    columns = [
        *("group", "runs", "parameters", "of attention", "FLOPs", "ms", "x baseline", "start gate"),
        *("top-1 last", "95 %", "top-5 last", "top-1 best", "best - last", "difference", "p"),
    ]
    rows = [
        [
            *(record["group"], record["runs"], record["parameters"]),
            *(record["attention_parameters"], record["flops"]),
            *(record["latency_ms"], record["latency_ratio"], record["start_gate"]),
            *(_cent(record["last_top1"]), _span(record, "last", "{:.2f}")),
            *(_cent(record["last_top5"]), _best(record)),
            *(points(record["best_minus_last"]) or None, _difference(record), record["mcnemar_p"]),
        ]
        for record in records
    ]
    return Table("Comparison", conventions(records), columns, rows)


def comparison_table(records: Sequence[Record]) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows for a terminal of 80 columns; ">" ends a column of numbers.

    Accuracies are in per cent, differences in points. Latency has a column where it was measured.
    """
    timed = any(record["latency_ms"] is not None for record in records)
    columns = ["group", "n>", "param>", "MFLOP>", "ms>", "top-1 last\n95 %>", "best>", "delta>"]
    rows = [
        [
            _narrow(record["group"]),
            str(record["runs"]),
            count(record["parameters"]),
            f"{record['flops'] / 1e6:#.4g}".rstrip("."),
            *([f"{record['latency_ms']:.3g}"] if timed else []),
            f"{100 * record['last_top1']:.1f} {_span(record, 'last', '{:.1f}')}",
            _best(record, 1) or "-",
            points(record["delta"]) if record["delta_shown"] else _verdict(record),
        ]
        for record in records
    ]
    return [name for name in columns if timed or name != "ms>"], rows


def conventions(records: Sequence[Record]) -> str:
    """Return in sentences how the figures were got, for a caption or a hint."""
    if not records:
        return ""
    parts = [accuracy_words(records), latency_words(records[0])]
    parts += [f"FLOPs: one image, {records[0]['flops_counted']}.", records[0]["data_note"]]
    return " ".join(part for part in parts if part)


def accuracy_words(records: Sequence[Record]) -> str:
    """Return how accuracies, intervals and differences were got."""
    first = records[0]
    kinds = "; ".join(dict.fromkeys(record["interval"] for record in records))
    text = f"Top-1 of the last epoch on {first['images']:,} test images, 95 % intervals ({kinds})."
    if any(record["runs"] == 1 for record in records):
        text += " A single run says nothing of other seeds."
    if selected := _selected(records):
        text += f" Best: {'; '.join(BEST[split] for split in selected)}."
    hows = "; ".join(dict.fromkeys(r["delta_interval"] for r in records if r["delta_interval"]))
    if hows:
        text += f" Difference to {first['baseline']} ({hows}); not shown: its interval contains 0."
        if any(r["delta"] is not None and r["delta_low"] is None for r in records):
            text += " Untested: one run against several."
    return text


def latency_words(record: Record) -> str:
    """Return how latency was got, nothing where it was not measured."""
    if record["latency_ms"] is None:
        return ""
    return (
        f"Latency: {record['latency_clock']} time, batch {record['latency_batch']}, "
        f"{many(record['threads'], 'thread')}; a second copy of {record['baseline']} takes "
        f"{record['latency_noise']:.2f} x its time, which is the noise."
    )


def _selected(records: Sequence[Record]) -> list[str]:
    """Return the splits on which best epochs were selected, each once."""
    return sorted({r["best_selected_on"] for r in records if r["best_selected_on"]})


def _difference(record: Record) -> str:
    """Return the difference in points with its interval, or why there is none."""
    if not record["delta_shown"]:
        return _verdict(record)
    return f"{points(record['delta'])} ({_span(record, 'delta', '{:+.2f}', ' to ')})"


def _verdict(record: Record) -> str:
    """Return why a record has no difference to show."""
    if record["delta"] is None:
        return "baseline"
    return "untested" if record["delta_low"] is None else "not shown"


def _span(record: Record, key: str, form: str, between: str = "–") -> str:  # an end may be negative
    return between.join(form.format(100 * record[f"{key}_{end}"]) for end in ("low", "high"))


def _best(record: Record, digits: int = 2) -> str | None:
    """Return the best top-1, marked when it was selected on test."""
    mark = "*" if record["best_selected_on"] == "test" else ""
    best = _cent(record["best_top1"], digits)
    return best and best + mark


def _cent(share: float | None, digits: int = 2) -> str | None:
    return None if share is None else f"{100 * share:.{digits}f}"


def points(difference: float | None) -> str:
    """Return a difference of shares in hundredths, with its sign."""
    return "" if difference is None else f"{100 * difference:+.2f}"


def _narrow(label: str) -> str:
    """Break a long label where a module's text has a mark; blanks mean nothing there."""
    lines = [""]
    for part in re.findall(r"[^,+:(]*[,+:(]|[^,+:(]+", label.replace(", ", ",")):
        if lines[-1] and len(lines[-1] + part) > NARROW:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def count(number: int) -> str:
    """Return a number in at most five characters: 78.0k, 275k, 25.6M."""
    value, unit = (number / 1e6, "M") if number >= 999_500 else (number / 1e3, "k")
    return f"{value:#.3g}".rstrip(".") + unit


def many(number: int, noun: str) -> str:
    """Return "1 thread" or "2 threads"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
