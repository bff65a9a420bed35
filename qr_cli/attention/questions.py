"""The questions `qr eval attention` can ask of a run besides accuracy: one function each.

A question takes a subject and the recipe and answers with records and the plots they allow, in
float32 whatever the run's precision. Its check takes the network alone, so that what cannot be
answered is refused before anything is measured.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import nn

from qr_cli.attention import bias, freeze, robust, stiffness, stripes, tickets
from qr_cli.attention.cam import find_layer
from qr_cli.attention.control import untrained
from qr_cli.attention.eval_recipe import AttentionEval
from qr_cli.attention.insert import residual_blocks
from qr_cli.attention.load import load
from qr_cli.attention.modules.sem import SEM
from qr_cli.attention.subject import Subject, open_subject
from qr_cli.attention.switches import sem_switches
from qr_cli.attention.trace import seats
from qr_cli.errors import UsageError

if TYPE_CHECKING:
    from qr_cli.engine.report import Plot

Record = dict[str, Any]
CALIBRATION = 2_000  # training images over which mean gates are taken
MOST_UNDEFINED = 0.2  # share of heat maps above which the figures deserve a warning

log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """Records of one question about one run, and their plots."""

    records: list[Record]
    plots: list[Plot]


def check(place: str, net: nn.Module, recipe: AttentionEval) -> None:
    """Refuse what is asked of a network that cannot answer it.

    Args:
        place: the run or weights, as they were named.
        net: its network.
        recipe: what is asked.

    Raises:
        UsageError: no attention, no switch, no gate to hold, no such layer or number of blocks, or
            a reference with another number of stages.
        WeightsError: the reference cannot be loaded.
    """
    for question in asked(recipe):
        question.check(place, net, recipe)


def asked(recipe: AttentionEval) -> list[Question]:
    """Return the questions that the recipe asks, in the order of its options."""
    return [question for question in QUESTIONS if question.asked(recipe)]


def _check_bias(place: str, net: nn.Module, recipe: AttentionEval) -> None:
    find_layer(net, recipe.bias.cam_layer)


def _check_stiffness(place: str, net: nn.Module, recipe: AttentionEval) -> None:
    stages = residual_blocks(net)[-1].stage
    if recipe.blocks.reference is None:
        return
    theirs = residual_blocks(load(recipe.blocks.reference))[-1].stage
    if theirs != stages:
        raise UsageError(
            f"--reference: {recipe.blocks.reference} has {theirs} stages, {place} has {stages}",
            hint="--reference RUN of a network of the same family",
        )


def _check_stripes(place: str, net: nn.Module, recipe: AttentionEval) -> None:
    flag = "--stripes-drop" if recipe.blocks.stripes_drop else "--stripes"
    _require_attention(flag, place, net, to_hold=recipe.blocks.stripes_drop)


def _check_switches(place: str, net: nn.Module, recipe: AttentionEval) -> None:
    if not any(isinstance(module, SEM) for module in net.modules()):
        raise UsageError(
            f"--switches: {place} has no sem, so there is no switch to read",
            hint='qr train attention --module "sem(fc,eca,ie)"',
        )


def _check_ticket(place: str, net: nn.Module, recipe: AttentionEval) -> None:
    text = str(recipe.blocks.ticket)
    count = _require_attention("--ticket", place, net, to_hold=True)
    if text != "sweep" and int(text) > count:
        raise UsageError(
            f"--ticket: {text} is more than the {count} blocks with attention of {place}",
            hint=f"--ticket {count}, or any number from 0",
        )


def _no_check(place: str, net: nn.Module, recipe: AttentionEval) -> None:
    """Any network can be asked."""


def _require_attention(flag: str, place: str, net: nn.Module, *, to_hold: bool) -> int:
    """Return how many modules there are; refuse none, and one without a gate `to_hold`."""
    found = seats(net)
    if not found:
        raise UsageError(
            f"{flag}: {place} has no attention, so there is no gate to look at or to drop",
            hint="name a run with attention, or train one: qr train attention --module se",
        )
    closed = [seat for seat in found if not seat.has_gate] if to_hold else []
    if closed:
        raise UsageError(
            f"{flag}: {closed[0].name} of {place} is a foreign module and shows no gate to hold",
            hint="--stripes says what can be seen of it; qr list modules names those with a gate",
        )
    return len(found)


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
    name = subject.name
    undefined = int(found.bias.undefined.sum()) / max(1, int((~found.bias.dropped).sum()))
    if undefined > MOST_UNDEFINED:
        log.warning("%s: %.0f %% of the heat maps are constant, undefined", name, 100 * undefined)
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
        place = recipe.blocks.reference
        other = open_subject(place, load(place), recipe)
        reference = stiffness.collect(other.net, other.probe(recipe.blocks.probe_images), at=at)
    records = list(stiffness.records(passages, start, run=subject.name, at=at, reference=reference))
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
    records = list(stripes.records(found, start, run=subject.name, drops=drops))
    return Answer(records, stripes_plots(records, found))


def _switches(subject: Subject, recipe: AttentionEval) -> Answer:
    """Which operator does sem select?"""
    from qr_cli.attention.block_plots import operators_plot

    probe = subject.probe(recipe.blocks.probe_images)
    records = [{"run": subject.name} | r for r in sem_switches(subject.net, probe)]
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
            run=subject.name,
            keep="sweep" if text == "sweep" else int(text),
            orders=recipe.blocks.ticket_order,
        )
    )
    plot = tickets_plot(records)
    return Answer(records, [plot] if plot else [])


def _robust(subject: Subject, recipe: AttentionEval) -> Answer:
    """How does accuracy fall when pixels are disturbed?"""
    from qr_cli.attention.robust_plots import robust_plots

    net: Any = subject.net
    records = list(
        robust.study(
            net,
            subject.probe(len(subject.images)),
            recipe.robust.robust,
            mean=net.mean,
            std=net.std,
            run=subject.name,
            which=recipe.target.which if recipe.target.runs else None,
        )
    )
    return Answer(records, robust_plots(records))


class Question(NamedTuple):
    """A question: its name, whether it is asked, whether it can be, and its answer."""

    name: str
    asked: Callable[[AttentionEval], bool]
    check: Callable[[str, nn.Module, AttentionEval], None]
    answer: Callable[[Subject, AttentionEval], Answer]


QUESTIONS = (
    Question("bias", lambda recipe: recipe.bias.bias is not None, _check_bias, _bias),
    Question("stiffness", lambda recipe: recipe.blocks.stiffness, _check_stiffness, _stiffness),
    Question(
        "stripes",
        lambda recipe: recipe.blocks.stripes or recipe.blocks.stripes_drop,
        _check_stripes,
        _stripes,
    ),
    Question("switches", lambda recipe: recipe.blocks.switches, _check_switches, _switches),
    Question("ticket", lambda recipe: recipe.blocks.ticket is not None, _check_ticket, _ticket),
    Question("robust", lambda recipe: bool(recipe.robust.robust), _no_check, _robust),
)
