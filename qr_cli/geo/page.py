# ruff: noqa: E501 -- a rule of the style stands on one line
"""An answer as a page of its own, or its figure as a drawing.

The page is one file without script or network. Each step shows its elements in the figure when it
is pointed at or linked to (`#step-2`).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from html import escape as _e
from typing import Any

from qr_cli.geo.draw import elements_in, svg
from qr_cli.geo.solver import Answer

WORDS = {
    "verified": "verified",
    "determined-by-options": "decided by the options",
    "network": "by the network alone",
    "needs-diagram": "needs the diagram",
    "ambiguous": "ambiguous",
    "no-match": "no option fits",
    "unsolved": "unsolved",
    "refuted": "refuted",
}
COLORS = {
    "verified": "#0b6e4f",
    "determined-by-options": "#0072b2",
    "network": "#7a3e9d",
    "refuted": "#a33b00",
}
OTHER = "#6b5200"
_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--muted:#59626c;--paper:#fff;--rule:#dfe3e7;--hot:#b64f00}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ec;--muted:#9ba5af;--paper:#14181c;--rule:#323940;--hot:#f08a3c}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:66rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.15rem;font-weight:600;margin:0 0 .6rem}h2{font-size:1rem;margin:1.4rem 0 .3rem}
.page{display:grid;grid-template-columns:minmax(16rem,27rem) 1fr;gap:2rem;align-items:start;margin-top:1rem}
@media(max-width:46rem){.page{grid-template-columns:1fr}}
.badge{display:inline-block;color:#fff;padding:.1rem .6rem;border-radius:1rem;font-size:.9rem}
.answer{font-size:1.5rem;margin:.2rem 0}figure{margin:0}figcaption,.note{color:var(--muted);font-size:.88rem}
figure img,.figure{width:100%;height:auto;max-height:28rem}
ol.steps{list-style:none;padding:0;margin:0}ol.steps li{padding:.35rem .6rem;border-left:3px solid var(--rule);margin:.25rem 0}
ol.steps li:hover,ol.steps li:target{border-left-color:var(--hot);background:color-mix(in srgb,var(--hot) 9%,transparent)}
ol.steps a{color:inherit;text-decoration:none}.why{color:var(--muted);font-size:.88rem;display:block}
table{border-collapse:collapse}td,th{padding:.15rem .8rem .15rem 0;text-align:left;border-bottom:1px solid var(--rule);font-weight:400}
th{color:var(--muted)}
.figure .line{stroke:var(--ink);stroke-width:1.5;fill:none}.figure .mark{stroke:var(--muted);stroke-width:1.2;fill:none}
.figure .dot{fill:var(--ink)}.figure text{fill:var(--ink);font:italic 15px Georgia,serif;text-anchor:middle;dominant-baseline:central}
.figure .size{font:13px system-ui,sans-serif;fill:var(--muted)}
.hl{opacity:0}.hl *{stroke:var(--hot);stroke-width:4;fill:none;stroke-linecap:round}.hl .area{fill:var(--hot);fill-opacity:.22;stroke-width:2}
.hl .angle{stroke-width:4}.hl .arm{stroke-width:1.6}
"""


def html(answer: Answer, text: str, diagram: bytes | None = None) -> str:
    """Return a solution page.

    Args:
        answer: what was found.
        text: the problem.
        diagram: the PNG that came with the problem; the drawn figure is shown below it.
    """
    record = answer.record
    lights = {step["n"]: elements_in(_spoken(step)) for step in record["steps"]}
    rules = "".join(
        f".page:has(#step-{n}:hover) .hl-{n},.page:has(#step-{n}:target) .hl-{n}{{opacity:1}}"
        for n in lights
    )
    figures = []
    if diagram:
        data = b64encode(diagram).decode()
        figures.append(
            f'<figure><img alt="the diagram of the problem" src="data:image/png;base64,{data}">'
            f"<figcaption>the diagram that came with the problem; {_reader(record)}</figcaption>"
            "</figure>"
        )
    if answer.picture and answer.picture.points:
        drawn = svg(answer.picture, lights)
        figures.append(
            f"<figure>{drawn}<figcaption>{_e(answer.picture.caption)}</figcaption></figure>"
        )
    left = (
        "".join(figures)
        or '<p class="note">no figure: the text needs none, or gives too little</p>'
    )
    title = f"Problem {record['id']}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{_e(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}{rules}</style>'
        f"<h1>{_e(text)}</h1>{_head(record)}"
        f'<div class="page"><div>{left}</div><div>{_steps(record)}{_below(record)}</div></div></html>\n'
    )


def _reader(record: Mapping[str, Any]) -> str:
    """Tell who looked at the diagram: the network does wherever it was asked."""
    return (
        "the network read it, the rules did not" if record.get("checkpoint") else "it was not read"
    )


def _head(record: Mapping[str, Any]) -> str:
    color = COLORS.get(record["status"], OTHER)
    badge = f'<span class="badge" style="background:{color}">{_e(WORDS[record["status"]])}</span>'
    return f'<p class="answer">{_e(answer_line(record))} {badge}</p>'


def answer_line(record: Mapping[str, Any]) -> str:
    """Return the answer in one line."""
    if record["task"] == "proving":
        shown = str(record["goal"])
        return f"To prove: {shown}" if record["steps"] else f"Not proved: {shown}"
    if record["value"] is None:
        return "No answer"
    value = f"{record['value']:.6g}"
    unit = {"deg": "°", None: ""}.get(record["unit"], f" {record['unit']}")
    form = record["pretty"]
    text = f"{form}{unit}" + ("" if form == value else f" ≈ {value}") if form else f"{value}{unit}"
    return f"{record['option']}: {text}" if record["option"] else text


def _steps(record: Mapping[str, Any]) -> str:
    if not record["steps"]:
        return ""
    rows = []
    for step in record["steps"]:
        why = step.get("reason") or ", ".join(step.get("args", ()))
        if record["task"] == "proving":
            why = " · ".join(filter(None, (why, ", ".join(step["uses"]), _assumes(step))))
        rows.append(
            f'<li id="step-{step["n"]}"><a href="#step-{step["n"]}">{step["n"]}. '
            f'{_e(step.get("statement") or step["text"])}</a><span class="why">{_e(why)}</span></li>'
        )
    return f"<h2>Steps</h2><ol class='steps'>{''.join(rows)}</ol>"


def _assumes(step: Mapping[str, Any]) -> str:
    return f"assumes that {step['assumes']}" if step.get("assumes") else ""


def _below(record: Mapping[str, Any]) -> str:
    parts = []
    for title, key in (("Read from the text", "facts"), ("Given", "givens"), ("Assumed", "assumed"),
                       ("Not understood", "not_understood"), ("Notes", "notes")):  # fmt: skip
        if rows := record.get(key):
            items = "".join(f"<li>{_e(str(row))}</li>" for row in rows)
            parts.append(f"<h2>{title}</h2><ul>{items}</ul>")
    if checks := record.get("checks"):
        rows = "".join(
            f"<tr><td>{_e(c['result'])}</td><td>{_e(c['text'])}</td></tr>" for c in checks
        )
        parts.append(f"<h2>Checks</h2><table>{rows}</table>")
    if numbers := record.get("numbers"):
        cells = "".join(f"<tr><th>N_{i}</th><td>{n:g}</td></tr>" for i, n in enumerate(numbers))
        parts.append(f"<h2>Numbers</h2><table>{cells}</table>")
    return "".join(parts)


def _spoken(step: Mapping[str, Any]) -> str:
    """Return the words of a step that name elements."""
    return str(step.get("statement") or " ".join(step.get("args", ())))


def svg_page(answer: Answer) -> str | None:
    """Return the figure alone as an SVG file, or None when there is none."""
    if not (answer.picture and answer.picture.points):
        return None
    style = _STYLE.replace("var(--ink)", "#1b1f24").replace("var(--muted)", "#59626c")
    drawn = svg(answer.picture)
    return drawn.replace(">", f"><style>{style[style.index('.figure') :]}</style>", 1)
