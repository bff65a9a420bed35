"""The questions `qr eval attention` can ask of a run besides accuracy: one function each.

A question takes a subject and the recipe and answers with records and the plots they allow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from qr_cli.attention import bias, freeze, stiffness, stripes, tickets
from qr_cli.attention.control import untrained
from qr_cli.attention.recipe import AttentionEval
from qr_cli.attention.subject import Subject, open_subject
from qr_cli.attention.switches import sem_switches

if TYPE_CHECKING:
    from qr_cli.engine.report import Plot

Record = dict[str, Any]
CALIBRATION = 2_000  # training images over which mean gates are taken


class Answer(NamedTuple):
    """Records of one question about one run, and their plots."""

    records: list[Record]
    plots: list[Plot]


def ask(subject: Subject, recipe: AttentionEval) -> Iterator[Answer]:
    """Yield the answer to every question the recipe asks, in the order of its options."""
    for asked, question in QUESTIONS:
        if asked(recipe):
            yield question(subject, recipe)


def _bias(subject: Subject, recipe: AttentionEval) -> Answer:
    """Where does it look? Grad-CAM against boxes, beside the untrained control."""
    from qr_cli.attention.bias_plots import bias_plots, panel_plot

    chosen, fetch = recipe.bias, subject.fetch(subject.images)
    settings = {
        "layer": chosen.cam_layer,
        "target": chosen.cam_target,
        **chosen.model_dump(include={"tau", "eps_pos", "eps_range"}),
        "batch_size": subject.batch_size,
        "device": subject.accelerator.device,
    }
    found = bias.examine(subject.net, subject.images, fetch, **settings)
    start = untrained(subject.net, subject.probe(recipe.blocks.probe_images))
    control = bias.examine(start, subject.images, fetch, **settings)
    name = subject.folder.name
    records = [
        *bias.records(found, run=name),
        *bias.records(control, run=name, control=True),
    ]
    panel = panel_plot(subject.net, fetch, found, run=name)
    return Answer(records, [*([panel] if panel else []), *bias_plots(records)])


def _stiffness(subject: Subject, recipe: AttentionEval) -> Answer:
    """How far does each block move its input?"""
    from qr_cli.attention.block_plots import stiffness_plots

    at, probe = recipe.blocks.at, subject.probe(recipe.blocks.probe_images)
    passages = stiffness.collect(subject.net, probe, at=at)
    start = stiffness.collect(untrained(subject.net, probe), probe, at=at)
    reference = None
    if recipe.blocks.reference is not None:
        other = open_subject(Path(recipe.blocks.reference), recipe)
        reference = stiffness.collect(other.net, other.probe(recipe.blocks.probe_images), at=at)
    records = list(
        stiffness.records(passages, start, run=subject.folder.name, at=at, reference=reference)
    )
    return Answer(records, stiffness_plots(records, passages))


def _stripes(subject: Subject, recipe: AttentionEval) -> Answer:
    """Do the gates depend on the image, and what does it cost to hold them?"""
    from qr_cli.attention.stripe_plots import stripes_plots

    probe = subject.probe(recipe.blocks.probe_images)
    drops = None
    if recipe.blocks.stripes_drop:
        whole = subject.probe(len(subject.images))
        drops = freeze.drops(subject.net, subject.calibration(CALIBRATION), whole)
    found = stripes.collect(subject.net, probe)
    start = stripes.collect(untrained(subject.net, probe), probe)
    records = list(stripes.records(found, start, run=subject.folder.name, drops=drops))
    return Answer(records, stripes_plots(records, found))


def _switches(subject: Subject, recipe: AttentionEval) -> Answer:
    """Which operator does sem select?"""
    from qr_cli.attention.block_plots import operators_plot

    probe = subject.probe(recipe.blocks.probe_images)
    records = [{"run": subject.folder.name} | r for r in sem_switches(subject.net, probe)]
    plot = operators_plot(records)
    return Answer(records, [plot] if plot else [])


def _ticket(subject: Subject, recipe: AttentionEval) -> Answer:
    """Which blocks need their attention?"""
    from qr_cli.attention.block_plots import tickets_plot

    text = recipe.blocks.ticket or "sweep"
    records = list(
        tickets.study(
            subject.net,
            subject.calibration(CALIBRATION),
            subject.probe(len(subject.images)),
            run=subject.folder.name,
            keep="sweep" if text == "sweep" else int(text),
            orders=recipe.blocks.ticket_order,
        )
    )
    plot = tickets_plot(records)
    return Answer(records, [plot] if plot else [])


Question = Callable[[Subject, AttentionEval], Answer]
QUESTIONS: tuple[tuple[Callable[[AttentionEval], bool], Question], ...] = (
    (lambda recipe: recipe.bias.bias is not None, _bias),
    (lambda recipe: recipe.blocks.stiffness, _stiffness),
    (lambda recipe: recipe.blocks.stripes or recipe.blocks.stripes_drop, _stripes),
    (lambda recipe: recipe.blocks.switches, _switches),
    (lambda recipe: recipe.blocks.ticket is not None, _ticket),
)
