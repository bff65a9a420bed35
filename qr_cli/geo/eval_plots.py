"""Plots of an evaluation: whether confidences hold, how long targets are, what the checker says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from qr_cli.engine import reliability
from qr_cli.engine.figures import SMALL, Theme, new_figure
from qr_cli.engine.report import Plot
from qr_cli.geo.checker import check
from qr_cli.geo.evaluate import Part
from qr_cli.geo.reasons import REASONS

LEVELS = ("refuted", "needs the diagram", "verified")  # as the checker numbers them


def plots(parts: Sequence[Part], limit: int) -> list[Plot]:
    """Return the figures of the report; one without content is left out."""
    found = [_reliability(parts), _lengths(parts, limit), _verdicts(parts)]
    return [plot for plot in found if plot is not None]


def _reliability(parts: Sequence[Part]) -> Plot | None:
    curves = []
    for part in (p for p in parts if p.heard.confidences):
        right = [
            index is not None and index == item.problem.label
            for (_, index), item in zip(part.heard.confidences, part.items, strict=True)
        ]
        name = f"{Path(part.data).stem.split(':')[-1]}\n{part.look}"
        sure = [confidence for confidence, _ in part.heard.confidences]
        curves.append(reliability.curve(name, sure, right))
    curves = [c for c in curves if len(c.share) > 1]
    if not curves:
        return None
    return Plot(
        "reliability",
        "How often the vote is right when it says p",
        "Share of right options in bins of the vote's share, bins of five and more problems.",
        partial(reliability.draw, curves, "share right"),
    )


def _lengths(parts: Sequence[Part], limit: int) -> Plot | None:
    seen: dict[str, list[int]] = {}
    for part in {(p.data, p.task): p for p in parts}.values():
        targets = (i.problem.program or i.problem.proof for i in part.items)
        seen.setdefault(part.task, []).extend(len(t.split()) for t in targets if t)
    seen = {task: lengths for task, lengths in seen.items() if lengths}
    if not seen:
        return None
    return Plot(
        "lengths",
        "How long programs and proofs are",
        f"Words of the targets; the dotted line is the limit of {limit} words.",
        partial(_draw_lengths, seen, limit),
    )


def _draw_lengths(seen: dict[str, list[int]], limit: int, theme: Theme) -> Figure:
    figure, (axes,) = new_figure(theme)
    top = max(limit + 4, max(map(max, seen.values())))
    edges = [float(x) for x in np.linspace(0, top, 31)]
    for (task, lengths), color in zip(seen.items(), theme.colors, strict=False):
        axes.hist(lengths, edges, color=color, alpha=0.75, label=task)
    axes.axvline(limit, color=theme.muted, linewidth=1, linestyle=":")
    axes.set(xlabel="words", ylabel="problems", xlim=(0, top))
    axes.legend(frameon=False, fontsize=SMALL, labelcolor=theme.ink)
    return figure


def _verdicts(parts: Sequence[Part]) -> Plot | None:
    """Return bars per reason: what the checker says of the steps of first proofs."""
    proofs = [p for p in parts if p.task == "proving" and any(p.heard.candidates)]
    if not proofs:
        return None
    part = proofs[-1]
    counts: dict[int, Counter[int]] = {}
    for problem, given in zip(part.parsed, part.heard.candidates, strict=True):
        if given and given[0].program:
            for step in check(problem, given[0].program).steps:
                counts.setdefault(step.reason, Counter())[step.level] += 1
    if not counts:
        return None
    return Plot(
        "verdicts",
        "What the checker says of each reason",
        f"Steps of the first proof of {part.solver} on {Path(part.data).name}, up to the first "
        "that is refuted.",
        partial(_draw_verdicts, counts),
    )


def _draw_verdicts(counts: dict[int, Counter[int]], theme: Theme) -> Figure:
    order = sorted(counts, key=lambda reason: counts[reason].total())
    figure, (axes,) = new_figure(theme, height=max(2.0, 1.1 + 0.19 * len(order)))
    axes.set_position((0.5, axes.get_position().y0, 0.46, axes.get_position().height))
    left = np.zeros(len(order))
    places = np.arange(len(order))
    for level, color in ((2, theme.colors[0]), (1, theme.colors[4]), (0, theme.colors[1])):
        width = np.array([counts[reason][level] for reason in order], dtype=float)
        axes.barh(places, width, left=left, height=0.72, color=color, label=LEVELS[level])
        left += width
    axes.set_yticks(places, [REASONS[reason].name for reason in order])
    axes.set_ylim(-0.6, len(order) - 0.4)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=theme.rule, linewidth=0.8)
    axes.set_xlabel("steps")
    axes.legend(
        frameon=False, fontsize=SMALL, labelcolor=theme.ink, loc="lower right", ncols=3,
        bbox_to_anchor=(1.05, 1), borderaxespad=0.1, columnspacing=1.0, handlelength=1.2,
    )  # fmt: skip
    return figure
