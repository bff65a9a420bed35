"""A run folder as one page: `report.html`, with every picture inside it and nothing fetched.

The page needs no network, script or font of its own, follows its reader's light or dark setting,
and prints. A figure stands in a `<data value="...">` element that holds the very value of
`metrics.jsonl`, and a table names the record it is from: each can be found there.
"""

import json
import math
import shlex
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape as _e
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from matplotlib.figure import Figure

from qr_cli.engine.damage import damaged
from qr_cli.engine.figures import DARK, LIGHT, Theme, render
from qr_cli.engine.files import write_bytes
from qr_cli.engine.run import flatten

Record = dict[str, Any]
SHARES = ("top1", "top5", "accuracy")  # shown in per cent
UNITS = {"seconds": "s", "images_per_s": "images/s"}
SPLITS = {"train": "training split", "val": "validation split", "test": "test split"}
NAMES = {"top1": "top-1 accuracy", "top5": "top-5 accuracy", "ce": "cross-entropy",
         "aux": "auxiliary loss", "lr": "learning rate", "images_per_s": "speed",
         "seconds": "time", "data_seconds": "time waiting for data"}  # fmt: skip


@dataclass(frozen=True)
class Plot:
    """A picture: the title says what is seen, the caption how it was got."""

    name: str
    title: str
    caption: str
    draw: Callable[[Theme], Figure]


class Link(NamedTuple):
    """A cell of a table that opens a file of the report's folder."""

    text: str
    href: str


@dataclass(frozen=True)
class Table:
    """A table of a task: numbers stand at the right; None and not-a-number are a dash."""

    title: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | int | float | Link | None]]


class Value(NamedTuple):
    """A figure of a record and the convention under which it was got."""

    event: str
    key: str
    raw: Any
    convention: str

    def name(self) -> str:
        """Return what the figure is, in words."""
        lead, _, rest = self.key.partition("_")
        key = rest if lead in (*SPLITS, "last", "best") else self.key
        words = f"{lead if key != self.key else ''} {NAMES.get(key, key.replace('_', ' '))}".strip()
        return _e(words[:1].upper() + words[1:])

    def html(self) -> str:
        """Return the figure as it is shown, with its exact value."""
        return f'<data value="{_e(json.dumps(self.raw))}">{_shown(self.raw, self.key)}</data>'


def write_report(
    folder: Path, *, title: str, lead: str, figures: Sequence[Plot],
    tables: Sequence[Table] = (), defaults: Mapping[str, Any] | None = None,
    again: bool = True,
) -> Path:  # fmt: skip
    """Write `plots/<name>.png` and `report.html` of a run folder; return the page's path.

    `recipe.yaml`, `run.json` and `metrics.jsonl` are read from the folder; each may be missing.
    With `defaults`, nested like `recipe.yaml`, the values that differ from them are marked.
    `again`: whether the page says how to train the same once more.
    """
    with damaged(folder / "run.json"):
        run = dict(json.loads(_text(folder / "run.json") or "{}"))
    with damaged(folder / "recipe.yaml"):
        recipe = dict(yaml.safe_load(_text(folder / "recipe.yaml")) or {})
    with damaged(folder / "metrics.jsonl"):
        records, unread = _records(_text(folder / "metrics.jsonl"))
    task = str(run.get("task") or recipe.get("task") or "")
    (folder / "plots").mkdir(exist_ok=True)
    for plot in figures:
        picture = render(plot.draw(LIGHT), "png", title=plot.title)
        write_bytes(folder / "plots" / f"{plot.name}.png", picture)
    over = " · ".join(str(word) for word in ("qr", task, run.get("status")) if word)
    body = [
        f'<header><small>{_e(over)}</small><h1>{_e(title)}</h1><p class="lead">{_e(lead)}</p>',
        *(f'<p class="note">{_e(note)}</p>' for note in _notes(records, unread)),
        f"</header>{_headline(_values(records))}",
        _section("Curves", f'<div class="plots">{"".join(map(_picture, figures))}</div>', figures),
        _section("Final figures", _final(_values(records)), _values(records)),
        *(_section(table.title, _table(table), table.rows) for table in tables),
        _section("Recipe", _recipe(recipe, defaults), recipe),
        _section("Run again", _commands(task, folder), again and task and "runs" not in run),
        _section("Facts", _pairs(flatten(run)), run),
    ]
    page = PAGE.format(title=_e(title), style=_style(), body="\n".join(filter(None, body)))
    write_bytes(folder / "report.html", page.encode())
    return folder / "report.html"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _records(text: str) -> tuple[list[Record], int]:
    """Return the records, and how many lines are none (a killed run may leave half a line)."""
    records, unread = [], 0
    for line in filter(str.strip, text.splitlines()):
        try:
            records.append(dict(json.loads(line)))
        except (ValueError, TypeError):
            unread += 1
    return records, unread


def _last(records: list[Record], event: str) -> Record:
    return next((r for r in reversed(records) if r.get("event") == event), {})


def _notes(records: list[Record], unread: int) -> list[str]:
    """Return what must be known before the figures are read."""
    notes, epoch = [], _last(records, "epoch").get("epoch")
    if not records:
        notes.append("Nothing is recorded: metrics.jsonl is missing or empty.")
    elif not _last(records, "result") and {"epoch", "step"} & {r.get("event") for r in records}:
        seen = f"The figures are those of epoch {epoch}, the last one recorded; they are not final."
        seen = seen if epoch is not None else "No epoch was completed."
        notes.append(f"This run did not finish: it has no result record. {seen}")
    if unread:
        notes.append(f"Lines of metrics.jsonl that are not whole and were left out: {unread}.")
    return notes


def _values(records: list[Record]) -> list[Value]:
    """Return the figures of the result, then those of the last epoch, with their conventions."""
    result, epoch = _last(records, "result"), _last(records, "epoch")
    turn, values = epoch.get("epoch", result.get("epoch")), []
    when = f"last epoch ({turn})" if result else f"epoch {turn}, unfinished run"
    chosen = f"selected on {result.get('best_selected_on') or 'an unnamed split'}"
    best = f"best epoch ({result.get('best_epoch')})"
    for key, raw in result.items():
        lead, _, metric = key.partition("_")
        split = metric.partition("_")[0]
        if split not in SPLITS:
            split = "val" if f"val_{metric}" in epoch and f"test_{metric}" not in epoch else "test"
        if lead == "best" and metric not in ("epoch", "selected_on"):
            values.append(Value("result", key, raw, f"{best}, {SPLITS[split]}, {chosen}, 1 seed"))
        elif lead == "last":
            values.append(Value("result", key, raw, f"{when}, {SPLITS[split]}, 1 seed"))
    values.sort(key=lambda value: value.key.startswith("best"))
    for key, raw in epoch.items():
        if key not in ("event", "epoch", "step"):
            split = SPLITS.get(key.partition("_")[0], "training")
            values.append(Value("epoch", key, raw, f"{when}, {split}, 1 seed"))
    return values


def _headline(values: list[Value]) -> str:
    """Return the four figures one looks for first: last, best, then training and loss."""
    first = [v for v in values if v.event == "result"]
    first = first or [v for v in values if v.key.startswith(("test_", "val_"))][:2]
    more = [v for v in values if v.key.startswith("train_") or v.key.endswith("_loss")]
    tiles = (
        f"<div><dt>{v.name()}</dt><dd>{v.html()}<small>{_e(v.convention)}</small></dd></div>"
        for v in [*first, *(v for v in more if v not in first)][:4]
    )
    return f'<dl class="headline">{"".join(tiles)}</dl>' if values else ""


def _final(values: list[Value]) -> str:
    rows = [
        [v.name(), v.html(), _e(v.convention), f"<code>{_e(v.event)}.{_e(v.key)}</code>"]
        for v in values
    ]
    return _grid(["Figure", "Value", "Convention", "Record"], rows, {1})


def _table(table: Table) -> str:
    columns = range(len(table.columns))
    numeric = {i for i in columns if any(isinstance(row[i], int | float) for row in table.rows)}
    rows = [[_shown(cell, "") for cell in row] for row in table.rows]
    return f"{_grid(table.columns, rows, numeric)}<p><small>{_e(table.caption)}</small></p>"


def _grid(columns: Sequence[str], rows: list[list[str]], numeric: set[int]) -> str:
    """Return a table that scrolls in its own box; cells are HTML."""
    marks = [' class="n"' if i in numeric else "" for i in range(len(columns))]
    head = "".join(f"<th{m}>{_e(name)}</th>" for m, name in zip(marks, columns, strict=True))
    lines = ("".join(f"<td{m}>{c}</td>" for m, c in zip(marks, row, strict=True)) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="scroll" tabindex="0"><table><tr>{head}</tr>{body}</table></div>'


def _picture(plot: Plot) -> str:
    """Return a plot in both themes; the style shows one (`<picture>` would print the dark one)."""
    title, caption = _e(plot.title), _e(plot.caption)
    images = ""
    for theme in (LIGHT, DARK):
        data = b64encode(render(plot.draw(theme), "svg")).decode()
        source = f"data:image/svg+xml;base64,{data}"
        images += f'<img class="{theme.name}" alt="{title}. {caption}" src="{source}">'
    return f"<figure><h3>{title}</h3>{images}<figcaption>{caption}</figcaption></figure>"


def _recipe(recipe: Mapping[str, Any], defaults: Mapping[str, Any] | None) -> str:
    """Return a table per section; a value that differs is bold, its default beside it."""
    usual, values = flatten(dict(defaults or {})), flatten(recipe)
    marks = {path: usual[path] for path in values if path in usual and usual[path] != values[path]}
    blocks: dict[str, dict[str, Any]] = {}
    for path, value in values.items():
        blocks.setdefault(path.rpartition(".")[0], {})[path] = value
    lead = f"<p>Values that differ from the defaults: {len(marks)}, in bold.</p>"
    tables = (
        f"<div><h3>{_e(name or 'general')}</h3>{_pairs(block, marks, skip=name)}</div>"
        for name, block in blocks.items()
    )
    return f'{"" if defaults is None else lead}<div class="columns">{"".join(tables)}</div>'


def _pairs(leaves: Record, marks: Record | None = None, skip: str = "") -> str:
    rows = ""
    for path, value in leaves.items():
        cell = _e(_plain(value))
        if marks and path in marks:
            cell = f"<b>{cell}</b> <small>default {_e(_plain(marks[path]))}</small>"
        name = _e(path.removeprefix(f"{skip}.").replace("_", " "))
        rows += f'<tr><th scope="row">{name}</th><td>{cell}</td></tr>'
    return f'<table class="pairs">{rows}</table>'


def _plain(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return shlex.join(value)
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def _commands(task: str, folder: Path) -> str:
    """Return the commands as they work where the run was started; its recipe may name paths."""
    name, run = shlex.quote(task), shlex.quote(folder.as_posix())
    again = f"qr train {name} --recipe {run}/recipe.yaml --name {shlex.quote(folder.name)}-again"
    lead = "<p>Where the run was started: the same training once more, and its evaluation.</p>"
    return f"{lead}<pre>{_e(again)}\nqr eval {_e(name)} {_e(run)}</pre>"


def _section(title: str, html: str, given: Any) -> str:
    return f"<section><h2>{_e(title)}</h2>{html}</section>" if given else ""


def _shown(value: Any, key: str) -> str:
    """Return a value for the page: shares in per cent, other floats with four digits."""
    if isinstance(value, Link):
        return f'<a href="{_e(value.href)}">{_e(value.text)}</a>'
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _e(_plain(value))
    if key.endswith(SHARES):
        return f"{100 * value:.2f}\u202f%"
    unit = next((f"\u202f{unit}" for end, unit in UNITS.items() if key.endswith(end)), "")
    return (f"{value:,}" if isinstance(value, int) else f"{value:.4g}") + unit


def _style() -> str:
    light, dark = (
        f":root{{--paper:{t.paper};--ink:{t.ink};--muted:{t.muted};--rule:{t.rule};"
        f"--accent:{t.colors[0]};--warn:{t.colors[1]}}}" for t in (LIGHT, DARK)
    )  # fmt: skip
    swap = "img.light{display:none}img.dark{display:block}"
    return f"{light}{CSS}@media screen and (prefers-color-scheme:dark){{{dark}{swap}}}"


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width,initial-scale=1"><style>{style}</style></head>
<body><main>
{body}
</main></body></html>
"""
CSS = """
*{box-sizing:border-box}
:root{color-scheme:light dark}
body{margin:0;background:var(--paper);color:var(--ink);overflow-wrap:break-word;
 font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
 font-variant-numeric:tabular-nums;-webkit-text-size-adjust:100%}
main{max-width:66rem;margin:0 auto;padding:clamp(1.5rem,5vw,4rem) clamp(1rem,4vw,2.5rem)}
h1{font-size:clamp(1.75rem,5vw,2.5rem);line-height:1.15;letter-spacing:-.02em;margin:.25rem 0 .5rem}
h2{font-size:1.25rem;letter-spacing:-.01em;margin:0 0 1rem}
h3{font-size:1rem;line-height:1.35;margin:0 0 .5rem}
p{margin:0 0 1rem;max-width:44rem}
small,figcaption,table,pre,dt{font-size:.875rem}
small,figcaption,.lead,section>p,.pairs th{color:var(--muted)}.pairs th{white-space:nowrap}
.lead{font-size:1.125rem}
section{border-top:1px solid var(--rule);padding-top:1.5rem;margin-top:2.5rem}
.note{border-left:3px solid var(--warn);padding:.125rem 0 .125rem .875rem}
.headline{display:grid;grid-template-columns:1.5fr repeat(3,1fr);gap:1.5rem 2rem;margin:2.5rem 0 0}
.headline div{border-top:2px solid var(--rule);padding-top:.75rem}
dt{font-weight:600}dd{margin:0}dd small{display:block;line-height:1.4;margin-top:.375rem}
dd data{display:block;font-size:1.75rem;line-height:1.2;font-weight:600;letter-spacing:-.02em}
.headline div:first-child{border-color:var(--accent)}
div:first-child>dd data{font-size:3rem;line-height:1.05;color:var(--accent)}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));
 gap:2.5rem 3rem}figure{margin:0;max-width:34rem}
img{display:block;width:100%;height:auto}img.dark{display:none}
figcaption{line-height:1.45;margin-top:.5rem}
.scroll{overflow-x:auto;margin-bottom:.5rem}.scroll td,.scroll th,.n{white-space:nowrap}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:baseline;padding:.375rem 1.5rem .375rem 0;
 border-bottom:1px solid var(--rule);font-weight:400}
.scroll th{font-weight:600}.n{text-align:right}.scroll :last-child{padding-right:0}
code,pre{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
pre{border:1px solid var(--rule);border-radius:.375rem;padding:.875rem 1rem;overflow-x:auto}
section>.pairs{max-width:44rem}.columns{columns:19rem 3;column-gap:3rem}
.columns div{break-inside:avoid;margin-bottom:1.5rem}
.pairs td{text-align:right;padding-right:0;overflow-wrap:anywhere}
@media(max-width:44rem){.headline{grid-template-columns:1fr 1fr}
 .headline div:first-child{grid-column:1/-1}}
@media print{main{max-width:none;padding:0}figure,tr,pre{break-inside:avoid}h2,h3{break-after:avoid}
 .plots{grid-template-columns:1fr 1fr}.scroll td{white-space:normal}}
"""
