"""Whether gates depend on the image, and what holding them costs."""

import pytest
import torch
from test_stiffness import BATCHES, IMAGES, network
from torch import nn

from qr_cli.attention.control import untrained
from qr_cli.attention.freeze import ALL, Means, drops, frozen, paired_drop
from qr_cli.attention.modules.contract import ChannelAttention
from qr_cli.attention.stripe_plots import stripes_plots
from qr_cli.attention.stripes import (
    Stripes,
    collect,
    dead_units,
    histogram,
    share_within,
    study,
)
from qr_cli.attention.trace import Seat, seats
from qr_cli.engine.figures import DARK, LIGHT, render
from qr_cli.errors import UsageError

LABELS = torch.arange(24) % 3
LABELLED = [(IMAGES[i : i + 10], LABELS[i : i + 10]) for i in range(0, 24, 10)]
SEAT = Seat("layer1.0.attn", "layer1.0", 1, 0, nn.Identity())


def oracle() -> torch.Tensor:
    n, c = torch.meshgrid(torch.arange(6), torch.arange(5), indexing="ij")
    return torch.sigmoid(torch.sin(0.7 * n + 0.3 * c.double()))


def test_sigma_and_S_of_the_oracle():
    expected = [0.11206668, 0.12907283, 0.15129152, 0.17021165, 0.18129527]
    found = Stripes(SEAT, oracle(), oracle())
    assert found.sigma().tolist() == pytest.approx(expected, abs=1e-8)
    summary = found.summary()
    assert summary["S"] == pytest.approx(0.96568410, abs=1e-8) == summary["S_input"]
    assert summary["sigma_mean"] == pytest.approx(sum(expected) / 5)
    assert summary["sigma_max"] == pytest.approx(expected[-1])


def test_a_gate_that_is_constant_per_channel_has_S_zero():
    v = torch.linspace(0.1, 0.9, 8).expand(20, 8).double()
    assert share_within(v) == pytest.approx(0, abs=1e-15)
    assert Stripes(SEAT, v, v).summary()["sigma_max"] == pytest.approx(0, abs=1e-15)


def test_a_gate_whose_channels_agree_has_S_one():
    assert share_within(torch.linspace(0.1, 0.9, 20)[:, None].expand(20, 8).double()) == 1


def test_a_gate_that_never_varies_has_no_S():
    assert share_within(torch.full((20, 8), 0.5, dtype=torch.float64)) is None


def test_logits_follow_the_gate_where_it_is_one():
    inside = Stripes(SEAT, oracle(), oracle()).summary()
    z = torch.logit(oracle())
    assert inside["S_logit"] == pytest.approx(share_within(z))
    assert inside["sigma_logit"] == pytest.approx(float(z.std(0, correction=0).mean()))
    assert Stripes(SEAT, 1 + oracle(), oracle()).summary()["S_logit"] is None  # bam


def test_the_histogram_counts_every_channel_once():
    counts = histogram(torch.tensor([0.0, 0.005, 0.015, 0.499, 0.7]))
    assert len(counts) == 50 and sum(counts) == 5
    assert counts[0] == 2 and counts[1] == 1 and counts[-1] == 2


def test_what_is_collected_is_the_gate_and_the_pooled_map():
    net = network()
    found = collect(net, IMAGES)
    assert list(found) == [seat.block for seat in seats(net)]
    se = seats(net)[0].module
    first = found["layer1.0"]
    assert first.v.shape == (24, 16)
    torch.testing.assert_close(first.v, se.gate_from(first.u.float()).double(), rtol=0, atol=1e-6)


def test_records_have_the_keys_of_the_format():
    net = network()
    row = next(study(net, untrained(net), BATCHES, run="se-s0", epoch=15))
    format = ["event", "epoch", "block", "stage", "channels", "images", "gate_mean", "sigma_mean",
              "S", "S_logit", "S_input", "before", "drop_if_frozen", "dead_units"]  # fmt: skip
    assert set(format) <= set(row) and row["event"] == "stripes" and row["epoch"] == 15
    assert row["before"]["S"] == row["S"]  # the network is its own start
    assert "note" not in row


def test_a_spatial_gate_is_averaged_and_a_foreign_one_says_there_is_none():
    assert next(study(network("sge"), None, BATCHES, run="r"))["sigma_mean"] is not None
    row = next(study(network("timm:ecam"), None, BATCHES, run="r"))
    assert row["note"] == "no channel gate" and row["S"] is None and row["S_input"] is not None


def test_a_network_without_attention_is_refused():
    with pytest.raises(UsageError, match="no attention"):
        list(study(network("none"), None, BATCHES, run="r"))


def test_a_constant_module_has_perfect_stripes_and_costs_nothing():
    net = network("asr(se)")
    costs = drops(net, LABELLED, LABELLED)
    rows = list(study(net, None, BATCHES, run="r", drops=costs))
    assert all(row["sigma_mean"] == 0 and row["drop_if_frozen"] == 0 for row in rows[:-1])
    assert rows[-1]["event"] == "stripes_total" and rows[-1]["drop"] == 0


def test_dead_units_are_counted_inside_asr_alone():
    assert dead_units(seats(network("se"))[0].module) is None
    assert dead_units(seats(network("asr(se,alive=true)"))[0].module) == 0
    module = seats(network("asr(se)", "resnet8"))[2].module
    psi, se = module.psi[0], module.inner[0]
    assert dead_units(module) == int((se.fc1(psi) <= 0).sum())


def test_a_fresh_start_of_asr_keeps_its_units_alive():
    net = network("asr(se,alive=true)")
    del net.card
    assert {dead_units(seat.module) for seat in seats(untrained(net))} == {0}


class Held(ChannelAttention):
    """A gate held by hand."""

    def __init__(self, value):
        super().__init__(value.numel())
        self.value = value

    def forward(self, f, ctx=None):
        return f * self.value[None, :, None, None]


@torch.no_grad()
def test_the_drop_when_frozen_is_that_of_folding_by_hand():
    net = network(seed=3)
    for seat in seats(net):
        seat.module.fc2.weight.mul_(40)  # a gate that looks at the image
    costs = drops(net, LABELLED, LABELLED)
    right = [net(IMAGES).argmax(1) == LABELS]
    found = collect(net, LABELLED)
    for seat in seats(net):
        net.get_submodule(seat.block).attn = Held(found[seat.block].v.mean(0).float())
    right.append(net(IMAGES).argmax(1) == LABELS)
    assert costs[ALL]["top1"] == float(right[0].double().mean())
    assert costs[ALL]["top1_frozen"] == float(right[1].double().mean())
    assert costs[ALL]["drop"] == pytest.approx(float((right[0].float() - right[1].float()).mean()))


@pytest.mark.parametrize("module", ["se", "dia", "bam", "cbam", "share(eca)"])
def test_a_network_is_itself_again_when_its_gates_are_let_go(module):
    net = network(module)
    before, modules = net(IMAGES), [*net.modules()]
    with frozen(net, Means(net, LABELLED).gate):
        held = net(IMAGES)
        assert not seats(net) or all(type(s.module).__name__ == "Frozen" for s in seats(net))
    assert torch.equal(net(IMAGES), before) and [*net.modules()] == modules
    assert held.shape == before.shape


def test_the_paired_interval_by_hand():
    before = torch.tensor([True] * 60 + [False] * 40)
    after = torch.tensor([False] * 10 + [True] * 50 + [True] * 2 + [False] * 38)
    found = paired_drop(before, after)  # l = 10, w = 2: .08 +- 1.959964 sqrt(12 - .64) / 100
    assert found["drop"] == pytest.approx(0.08)
    assert found["drop_high"] - found["drop"] == pytest.approx(0.0660598, abs=1e-6)


def test_the_plots_are_drawn():
    net = network(seed=1)
    plots = stripes_plots(list(study(net, network(), BATCHES, run="r")), collect(net, BATCHES))
    assert [plot.name for plot in plots] == ["stripes", "sigma", "stripes-stage1", "stripes-stage2",
                                             "stripes-stage3"]  # fmt: skip
    assert all(render(plot.draw(DARK), "png").startswith(b"\x89PNG") for plot in plots)


@pytest.mark.parametrize("module", ["asr(se)", "bam", "timm:ecam"])
def test_plots_of_gates_without_every_figure_are_drawn(module):
    net = network(module)
    for plot in stripes_plots(list(study(net, None, BATCHES, run="r")), collect(net, BATCHES)):
        assert render(plot.draw(LIGHT), "png")
