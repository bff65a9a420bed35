"""A trace as one HTML page: no script, nothing fetched, every text escaped."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from qr_cli.handoff.trace import DECISIONS

if TYPE_CHECKING:
    from qr_cli.handoff.trace import Trace, Turn

WIDTH, HEIGHT, BAND, LEFT = 720, 150, 34, 34  # of the curve, in pixels
STATES = ("negative", "neutral", "positive")


def page(trace: Trace) -> str:
    """Return the page of a trace."""
    rows = "".join(_row(i, turn, trace.threshold) for i, turn in enumerate(trace.turns))
    legend = "".join(f'<span><i class="s{k}"></i>{name}</span>' for k, name in enumerate(STATES))
    gold = any(turn.gold is not None for turn in trace.turns)
    return PAGE.format(
        title=escape(trace.title),
        caption=escape(trace.caption),
        curve=_curve(trace),
        rows=rows,
        style=CSS,
        legend=legend,
        gold='<span><b class="gold">◆</b>labelled as a transfer</span>' if gold else "",
    )


def _row(index: int, turn: Turn, threshold: float) -> str:
    side = "customer" if turn.customer else "agent"
    text = escape(turn.text) or "<em>(empty)</em>"
    gold = ' <b class="gold" title="labelled as a transfer">◆</b>' if _is_gold(turn) else ""
    badge = (
        "" if turn.decision == "stay" else f"<strong>{escape(DECISIONS[turn.decision])}</strong>"
    )
    why = escape(" · ".join(turn.reasons))
    meter = "–"
    if turn.p is not None:
        meter = (
            f'<span class="meter"><span style="width:{100 * turn.p:.1f}%"></span>'
            f'<u style="left:{100 * threshold:.1f}%"></u></span>{turn.p:.2f}'
        )
    return (
        f'<li class="{side} {escape(turn.decision)}" id="t{index + 1}"><span class="n">{index + 1}'
        f'</span><div class="say"><small>{side}</small><p>{text}{gold}</p></div>'
        f'<div class="p">{meter}</div><div class="why">{badge} <small>{why}</small></div></li>'
    )


def _curve(trace: Trace) -> str:
    """Return the curve of p over turns, the bands of the user state below."""
    turns = trace.turns
    step = (WIDTH - LEFT) / max(1, len(turns))
    parts = []
    for tick in (0, 0.5, 1):
        y = _y(tick)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    y = _y(trace.threshold)
    parts.append(f'<path class="limit" d="M{LEFT} {y:.1f}H{WIDTH}"/>')
    for k, name in ((1, "base"), (0, "p")):
        points = [
            (LEFT + (i + 0.5) * step, _y(value))
            for i, turn in enumerate(turns)
            if (value := turn.base if k else turn.p) is not None
        ]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline class="{name}" points="{line}"/>')
    for i, turn in enumerate(turns):
        x = LEFT + (i + 0.5) * step
        if turn.decision == "transfer":
            top = _y(turn.p if turn.p is not None else 1.0)
            parts.append(f'<path class="mark" d="M{x:.1f} {HEIGHT}V{top:.1f}"/>')
            parts.append(f'<circle class="mark" cx="{x:.1f}" cy="{top:.1f}" r="5"/>')
        if _is_gold(turn):
            parts.append(f'<text class="gold" x="{x:.1f}" y="12" text-anchor="middle">◆</text>')
        bottom = 0.0
        for k, share in enumerate(turn.states or ()):
            edge = HEIGHT + 10 + bottom * BAND
            parts.append(
                f'<rect class="s{k}" x="{x - step / 2:.1f}" y="{edge:.1f}" '
                f'width="{step + 0.3:.1f}" height="{share * BAND:.1f}"/>'
            )
            bottom += share
    label = escape(trace.title)
    box = f"0 0 {WIDTH} {HEIGHT + BAND + 12}"
    return f'<svg viewBox="{box}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _y(value: float) -> float:
    return HEIGHT - 6 - value * (HEIGHT - 24)


def _is_gold(turn: Turn) -> bool:
    return turn.gold is not None and turn.gold >= 0.5


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width,initial-scale=1"><style>{style}</style></head>
<body><main><h1>{title}</h1><p class="lead">{caption}</p>
<figure>{curve}<figcaption><span><i class="lp"></i>p, calibrated</span>
<span><i class="lb"></i>before the correction, raw</span>
<span><i class="ll"></i>threshold</span>{legend}{gold}</figcaption></figure>
<ol>{rows}</ol></main></body></html>
"""
CSS = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--muted:#59626c;--rule:#dfe3e7;--p:#0072b2;
--warn:#b64f00;--soft:#f3f5f7;--mine:#e4f0f8;--s0:#c9563c;--s1:#b9c0c7;--s2:#3f9c7c}
@media screen and (prefers-color-scheme:dark){:root{--paper:#14181c;--ink:#e6e9ec;--muted:#9ba5af;
--rule:#323940;--p:#56b4e9;--warn:#f08a3c;--soft:#1f252b;--mine:#1b2f3d;--s0:#c9563c;--s1:#58616a;
--s2:#2f8f72}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:1rem/1.45 system-ui,-apple-system,
"Segoe UI",Roboto,"Helvetica Neue",Arial,"PingFang SC","Microsoft YaHei","Noto Sans CJK SC",
sans-serif;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
main{max-width:60rem;margin:0 auto;padding:clamp(1.25rem,4vw,3rem) clamp(1rem,4vw,2rem)}
h1{font-size:1.5rem;line-height:1.2;letter-spacing:-.01em;margin:0 0 .5rem}
.lead,small,figcaption,.n{color:var(--muted)}.lead{margin:0 0 1.5rem;max-width:46rem}
small,figcaption{font-size:.8125rem}figure{margin:0 0 1.5rem}svg{width:100%;height:auto}
svg text{font-size:11px;fill:var(--muted)}.grid{stroke:var(--rule);fill:none}
.limit{stroke:var(--warn);stroke-dasharray:5 4;fill:none}
.p,.base{stroke-linejoin:round}polyline{fill:none;stroke-width:2.5;stroke:var(--p)}
polyline.base{stroke:var(--muted);stroke-width:1.25;stroke-dasharray:2 3}
path.mark{stroke:var(--warn);stroke-width:1.5}circle.mark{fill:var(--warn)}
.s0{fill:var(--s0);background:var(--s0)}.s1{fill:var(--s1);background:var(--s1)}
.s2{fill:var(--s2);background:var(--s2)}.gold,svg .gold{color:var(--warn);fill:var(--warn)}
figcaption{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem}
figcaption i{display:inline-block;width:1rem;height:.625rem;margin-right:.375rem}
i.lp{border-top:3px solid var(--p);height:0;vertical-align:middle}
i.lb{border-top:2px dotted var(--muted);height:0;vertical-align:middle}
i.ll{border-top:2px dashed var(--warn);height:0;vertical-align:middle}
ol{list-style:none;margin:0;padding:0}
li{display:grid;grid-template-columns:2rem minmax(0,1fr) 7.5rem 11rem;gap:.25rem .75rem;
align-items:center;padding:.3rem 0;border-top:1px solid var(--rule)}
li.transfer{background:color-mix(in srgb,var(--warn) 12%,transparent)}
.n{font-size:.8125rem;text-align:right}.say{max-width:85%}.say p{margin:0}
.say small{display:block;line-height:1.1}
.agent .say{justify-self:end;text-align:left}
.say p{background:var(--soft);border-radius:.75rem;padding:.35rem .75rem;display:inline-block}
.customer .say p{background:var(--mine);border-bottom-left-radius:.2rem}
.agent .say p{border-bottom-right-radius:.2rem}
.meter{position:relative;display:inline-block;width:4.5rem;height:.5rem;background:var(--soft);
border-radius:.25rem;margin-right:.5rem;vertical-align:middle;overflow:hidden}
.meter span{display:block;height:100%;background:var(--p)}
.meter u{position:absolute;top:0;bottom:0;width:2px;background:var(--warn)}
.why strong{color:var(--warn)}
@media(max-width:44rem){li{grid-template-columns:1.5rem minmax(0,1fr) 7rem}
.why{grid-column:2/-1}}
@media print{li{break-inside:avoid}}
"""
