"""Parameters, operations, times and start gates."""

import pytest
import torch
from torch import nn

from qr_cli.attention import cost
from qr_cli.attention.backbones.create import create_backbone

SIZE = (3, 32, 32)


def on_meta(arch="qr:resnet8", **options) -> nn.Module:
    with torch.device("meta"):
        return create_backbone(arch, num_classes=10, **options)


@pytest.mark.parametrize(
    ("module", "every", "attention", "operations"),
    [
        ("none", 272_474, 0, 81_626_368),
        ("se", 274_847, 2_373, 81_630_400),
        ("lsas", 274_598, 2_124, 81_629_440),
        ("spem", 273_836, 1_362, 81_626_368),
    ],
)
def test_a_resnet20_costs_what_its_equations_say(module, every, attention, operations):
    net = on_meta("resnet20", module=module)
    assert cost.parameters(net) == (every, attention)
    assert cost.flops(net, SIZE) == operations


def test_shared_attention_counts_once():
    every, attention = cost.parameters(on_meta("qr:resnet14", module="share(se)"))
    plain, _ = cost.parameters(on_meta("qr:resnet14"))
    one_per_stage = cost.parameters(on_meta("qr:resnet8", module="se"))[1]
    assert (every - plain, attention) == (one_per_stage, one_per_stage)


def test_operations_are_counted_by_hand():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net.append(nn.Linear(4, 2))
    assert cost.flops(net, (3, 5, 5)) == 2 * (3 * 9) * 4 * 9 + 2 * 4 * 2


def test_measuring_leaves_every_part_in_its_mode():
    net = create_backbone("qr:resnet8", num_classes=10, module="ras")
    net.bn1.eval()
    modes = [part.training for part in net.modules()]
    before = {key: value.clone() for key, value in net.state_dict().items()}
    cost.flops(net, (3, 8, 8))
    cost.latency({"ras": net}, (3, 8, 8), rounds=2, warmup=0)
    assert [part.training for part in net.modules()] == modes
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


class Order(nn.Module):
    """Notes its name and batch at every pass."""

    def __init__(self, name, passes):
        super().__init__()
        self.name, self.passes = name, passes
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        self.passes.append((self.name, tuple(images.shape), self.training))
        return self.weight

    def __deepcopy__(self, memo):
        return Order(f"copy of {self.name}", self.passes)


def test_rounds_alternate_and_include_a_copy_of_the_first():
    passes = []
    models = {name: Order(name, passes) for name in "ab"}
    cost.latency(models, (3, 4, 4), batch=2, rounds=2, warmup=1)
    turn = ["a", "b", "copy of a"]
    assert [name for name, *_ in passes] == [*turn, *turn, *reversed(turn)]
    assert {(shape, training) for _, shape, training in passes} == {((2, 3, 4, 4), False)}


def test_times_are_medians_and_ratios_are_taken_within_a_round(monkeypatch):
    # seconds per round of a, b and the copy; the machine is ten times slower in the last round
    seconds = [[1, 2, 1], [1, 2, 1.1], [2, 5, 2], [10, 20, 11]]
    queue = [row[::-1] if turn % 2 else row for turn, row in enumerate(seconds)]
    rounds = iter(value / 1000 for row in queue for value in row)
    monkeypatch.setattr(cost, "_pass", lambda model, images, clock: next(rounds))
    models = {name: Order(name, []) for name in "ab"}
    timing = cost.latency(models, (3, 4, 4), rounds=4, warmup=0)
    assert timing.models["a"].ms == pytest.approx(1.5)
    assert timing.models["a"].iqr_ms == pytest.approx(4.0 - 1.0)
    assert timing.models["b"].ratio == pytest.approx(2.0)
    assert timing.noise == pytest.approx(1.05)
    assert (timing.threads, timing.clock) == (torch.get_num_threads(), "process")


def test_latency_needs_a_model_and_two_rounds():
    for models, rounds in (({}, 20), ({"a": nn.Linear(1, 1)}, 1)):
        with pytest.raises(ValueError, match="two rounds"):
            cost.latency(models, SIZE, rounds=rounds)


@pytest.mark.parametrize(
    ("spec", "gate"),
    [("none", 1.0), ("ras(init=paper)", 0.26894142), ("spem", 0.03205860), ("sge", 0.73105858)],
)
def test_start_gates_that_do_not_depend_on_chance(spec, gate):
    assert cost.start_gate(spec, 64) == pytest.approx(gate, abs=1e-7)


@pytest.mark.parametrize(
    ("spec", "gate"),
    [("se", 0.5), ("lsas(se,order=2)", 0.0606), ("bam", 1.5), ("stepnet", 0.5), ("dia", 0.25)],
)
def test_start_gates_on_average(spec, gate):
    assert cost.start_gate(spec, 128) == pytest.approx(gate, rel=0.03)


def test_a_black_box_shows_no_start_gate():
    assert cost.start_gate("torch.nn:BatchNorm2d", 16) is None


def test_the_start_gate_of_a_network_is_the_mean_over_its_places():
    net = on_meta("qr:resnet14", module="se")
    by_hand = sum(cost.start_gate("se", channels) for channels in (16, 32, 64)) / 3
    assert cost.mean_start_gate(net, "se") == pytest.approx(by_hand, abs=1e-12)
    assert cost.mean_start_gate(on_meta(), "none") == 1.0
