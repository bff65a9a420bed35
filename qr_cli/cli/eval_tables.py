"""The records of `qr eval attention` as tables of a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any, NamedTuple

from qr_cli.attention.compare_tables import comparison_table, conventions, count
from qr_cli.cli.output import out

Record = dict[str, Any]
WIDTH = 78  # of notes


class Layout(NamedTuple):
    """A table: its title, and the key and header of each column (">" at its end: right)."""

    title: str
    columns: Sequence[tuple[str, str]]


LAYOUTS: dict[str, Layout] = {
    "eval": Layout(
        "test split",
        [("run", "run"), ("module", "module"), ("parameters", "param>"), ("top1", "top-1 %>"),
         ("top5", "top-5 %>"), ("loss", "loss>")],
    ),
    "bias": Layout(
        "bias: shares of images in per cent (definitions ours)",
        [("subset", "images"), ("images", "n>"), ("position", "beside>"), ("range", "range>"),
         ("unbiased", "unbiased>"), ("energy", "energy>"), ("chance_energy", "chance>"),
         ("pointing", "pointing>")],
    ),
    "stiffness": Layout(
        "stiffness: step size NSI, mean over images",
        [("block", "block"), ("nsi_mean", "NSI>"), ("nsi_std", "std>"),
         ("control_mean", "untrained>"), ("rho_gate_nsi", "rho with gate>"),
         ("reference_r", "r with reference>")],
    ),
    "stripes": Layout(
        "stripes: S = 0: the gate does not depend on the image",
        [("block", "block"), ("sigma_mean", "sigma>"), ("S", "S>"), ("S_before", "untrained>"),
         ("S_input", "S of input>"), ("drop_if_frozen", "drop if held>")],
    ),
    "switch": Layout(
        "switches of sem: omega, mean over images",
        [("block", "block"), ("operator", "operator"), ("omega_mean", "omega>"),
         ("omega_std", "std>")],
    ),
    "ticket": Layout(
        "blocks kept, the others held at their mean gate (post-hoc)",
        [("order", "order"), ("keep", "kept>"), ("mask", "mask"), ("top1", "top-1 %>"),
         ("drop", "drop>"), ("interval", "95 %>")],
    ),
    "robust": Layout(
        "disturbed pixels in [0, 1] (measured, no claim)",
        [("attack", "attack"), ("eps", "strength>"), ("clean", "clean %>"), ("top1", "top-1 %>"),
         ("interval", "95 %>")],
    ),
}  # fmt: skip
QUESTIONS = ("bias", "stiffness", "stripes", "switch", "ticket", "robust")
BRIEF = ("all", "right", "wrong")  # subsets a terminal shows; records have them all
POINTS = ("drop", "drop_if_frozen")  # differences of shares, in per cent with their sign
SHARES = ("position", "range", "unbiased", "energy", "chance_energy", "pointing")
TOP = ("top1", "top5", "clean", "top1_low", "top1_high")


def show(found: Mapping[str, list[Record]]) -> None:
    """Print the tables of records by event, how they were got, and what to open."""
    if out.streams or out.quiet:
        return
    _table("eval", "", [{**r, "run": Path(r["run"]).name} for r in found.get("eval", [])])
    for event in QUESTIONS:
        rows = [row for kind in (event, f"{event}_total") for row in _rows(found.get(kind, []))]
        for run in dict.fromkeys(row["run"] for row in rows):
            _table(event, run, [row for row in rows if row["run"] == run])
    if groups := found.get("compare", []):
        out.table("comparison", *comparison_table(groups))
        for line in wrap(conventions(groups), WIDTH):
            out.say(line, style="dim")
    for note in {r["data_note"] for r in found.get("eval", []) if r["data_note"]}:
        out.hint(note)
    for record in found.get("report", []):
        out.hint(f"open {record['report']}")


def _table(event: str, run: str, rows: Sequence[Record]) -> None:
    """Print one table; columns without any value are left out."""
    if not rows:
        return
    title, columns = LAYOUTS[event]
    used = [(key, name) for key, name in columns if any(row.get(key) is not None for row in rows)]
    cells = [[_cell(key, row.get(key)) for key, _ in used] for row in rows]
    out.table(f"{run}: {title}" if run else title, [name for _, name in used], cells)


def _rows(records: Sequence[Record]) -> Iterator[Record]:
    """Yield records as rows of a table, with what it shows of their lists and controls."""
    for record in records:
        row = dict(record)
        match record["event"]:
            case "bias" if record["control"]:
                if record["subset"] != "all":
                    continue
                row["subset"] = "untrained"
            case "bias" if record["subset"] not in BRIEF:
                continue
            case "stripes":
                row["S_before"] = (record["before"] or {}).get("S")
            case "stripes_total":
                row |= {"block": "all held", "drop_if_frozen": record["drop"]}
            case "stiffness_total":
                tns, start = record["tns"], record["control_tns"]
                row |= {"block": "mean, TNS", "nsi_mean": tns, "control_mean": start}
            case "ticket":
                if "draw" in record:
                    row["order"] = f"random {record['draw'] + 1}"
                ends = (_cell("drop", record[f"drop_{end}"]) for end in ("low", "high"))
                row["interval"] = " to ".join(ends)
            case "robust":
                ends = (_cell(key, record[key]) for key in ("top1_low", "top1_high"))
                row["interval"] = " to ".join(ends)
        yield row


def _cell(key: str, value: Any) -> str:
    if value is None:
        return "-"
    if key in POINTS:
        return f"{100 * value:+.2f}"
    if key in SHARES:
        return f"{100 * value:.1f}"
    if key == "parameters":
        return count(value)
    if key in TOP:
        return f"{100 * value:.2f}"
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
