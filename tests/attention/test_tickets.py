"""Gates dropped after training, in three orders."""

import pytest
import torch
from test_stiffness import IMAGES, network
from test_stripes import LABELLED

from qr_cli.attention.backbones.select import choose_blocks
from qr_cli.attention.block_plots import tickets_plot
from qr_cli.attention.freeze import Means, correct, frozen
from qr_cli.attention.stiffness import stiffness
from qr_cli.attention.stripes import collect
from qr_cli.attention.tickets import mask_of, ranked, study
from qr_cli.attention.trace import seats
from qr_cli.engine.figures import DARK, render
from qr_cli.errors import UsageError


def sweep(net, **options):
    return list(study(net, LABELLED, LABELLED, run="r", keep="sweep", **options))


def lively(module: str = "se", **options):
    """A network whose gates look at the image."""
    net = network(module, **options)
    with torch.no_grad():
        for seat in seats(net):
            seat.module.fc2.weight.mul_(40)
    return net


def test_records_have_the_keys_of_the_format():
    rows = sweep(lively(), orders=["nsi"])
    assert list(rows[0]) == ["event", "run", "experiment", "order", "keep", "mask", "top1", "drop",
                             "drop_low", "drop_high", "images"]  # fmt: skip
    assert [row["keep"] for row in rows] == list(range(7))
    assert rows[0]["experiment"] == "post-hoc" and rows[0]["images"] == 24


def test_random_is_three_permutations_that_a_second_call_repeats():
    net = lively()
    rows = sweep(net, orders=["random"])
    assert len(rows) == 21 and {row["draw"] for row in rows} == {0, 1, 2}
    assert [row["mask"] for row in rows] == [r["mask"] for r in sweep(net, orders=["random"])]
    assert len({tuple(r["mask"] for r in rows if r["draw"] == draw) for draw in range(3)}) == 3


@pytest.mark.parametrize("module", ["se", "dia", "cbam", "share(sge)", "bam"])
def test_keeping_all_gates_is_the_intact_network_bit_for_bit(module):
    net = network(module)
    before, right = net(IMAGES), correct(net, LABELLED)
    rows = list(study(net, LABELLED, LABELLED, run="r", keep=len(seats(net))))
    assert {row["top1"] for row in rows} == {float(right.double().mean())}
    assert {row["drop"] for row in rows} == {0.0}
    assert torch.equal(net(IMAGES), before)


@pytest.mark.parametrize("module", ["asr(se)", "asr(ie,delta=2)"])
def test_holding_a_constant_gate_drops_nothing(module):
    assert {row["drop"] for row in sweep(network(module))} == {0.0}


def test_the_mean_of_a_constant_gate_is_the_gate_itself():
    net = network("asr(se)")
    means = Means(net, LABELLED)
    for seat in means.seats:
        held = means.gate[seat.name].float().flatten()
        assert torch.equal(held, seat.module.constant_gate())


def test_a_printed_mask_is_what_blocks_takes():
    for row in sweep(lively()):
        if row["keep"]:
            assert sum(choose_blocks(row["mask"], [2, 2, 2])) == row["keep"]


def test_a_mask_has_a_digit_for_blocks_without_attention_too():
    net = network("lsas")
    assert mask_of(net, seats(net)[:1]) == "00 00 10"
    assert len(sweep(net, orders=["step"])) == 3


def test_step_keeps_the_gate_that_varies_most():
    net = lively()
    deviation = {b: float(s.sigma().mean()) for b, s in collect(net, LABELLED).items()}
    order = [seat.block for seat in ranked(Means(net, LABELLED), "step")[0]]
    assert order == sorted(deviation, key=lambda block: -deviation[block])


def test_nsi_keeps_the_longest_step_and_boundary_blocks_last():
    net = lively()
    mean = {block: float(values.mean()) for block, values in stiffness(net, IMAGES).items()}
    order = [seat.block for seat in ranked(Means(net, LABELLED), "nsi")[0]]
    assert order == [*sorted(mean, key=lambda block: -mean[block]), "layer2.0", "layer3.0"]


def test_the_gates_outside_the_mask_are_the_held_ones():
    net = lively(seed=3)
    means = Means(net, LABELLED)
    for row in sweep(net, orders=["step"]):
        kept = choose_blocks(row["mask"], [2, 2, 2]) if row["keep"] else [False] * 6
        held = {s.name: means.gate[s.name] for s, k in zip(means.seats, kept, strict=True) if not k}
        with frozen(net, held):
            assert row["top1"] == float(correct(net, LABELLED).double().mean())


def test_one_number_gives_one_record_per_order_and_draw():
    rows = list(study(lively(), LABELLED, LABELLED, run="r", keep=2))
    assert [row["order"] for row in rows] == ["step", "nsi", "random", "random", "random"]
    assert {row["mask"].count("1") for row in rows} == {2}
    assert tickets_plot(rows) is None


@pytest.mark.parametrize(
    ("module", "keep", "orders", "message"),
    [
        ("none", "sweep", ["nsi"], "nothing to drop"),
        ("se", 12, ["nsi"], "12 of 6 blocks"),
        ("se", -1, ["nsi"], "-1 of 6 blocks"),
        ("timm:ecam", 1, ["nsi"], "shows no gate"),
        ("se", 1, ["size"], "got 'size'"),
    ],
)
def test_what_cannot_be_dropped_is_refused(module, keep, orders, message):
    with pytest.raises(UsageError, match=message):
        list(study(network(module), LABELLED, LABELLED, run="r", keep=keep, orders=orders))


def test_the_plot_shows_the_masks():
    plot = tickets_plot(sweep(lively()))
    figure = plot.draw(DARK)
    assert len(figure.axes) == 3 and render(figure, "png").startswith(b"\x89PNG")
