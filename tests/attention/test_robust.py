"""Disturbed pixels and wrong labels."""

import json
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import qr_cli
from qr_cli.attention.attacks import DEFAULTS, Attack, parse_attacks
from qr_cli.attention.backbones.create import create_backbone
from qr_cli.attention.data import read
from qr_cli.attention.label_noise import relabel, sha256
from qr_cli.attention.robust import disturb, noise, study
from qr_cli.attention.robust_plots import robust_plots
from qr_cli.engine.figures import DARK, LIGHT, render
from qr_cli.errors import UsageError

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
PIXELS = torch.rand(30, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(30) % 4
ATTACKS = ("noise:0.05", "noise:0.3", "fgsm:2/255", "fgsm:0.1")


class Plain(nn.Module):
    """A classifier that is not linear, without batch statistics."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.a = nn.Parameter(torch.randn(16, 192, generator=generator) / 10)
        self.b = nn.Parameter(torch.randn(4, 16, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x.flatten(1) @ self.a.t()) @ self.b.t()


@pytest.fixture
def net() -> Plain:
    return Plain()


def normalised(pixels: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (pixels - mean) / std


def batches(size: int, labels: Tensor = LABELS) -> list[tuple[Tensor, Tensor]]:
    return list(zip(normalised(PIXELS).split(size), labels.split(size), strict=True))


def disturbed(net, size, attacks=ATTACKS):
    return disturb(net, batches(size), attacks, mean=MEAN, std=STD)


def by_hand(net, attack: Attack, index: int) -> bool:
    """One image at a time, from the equations."""
    x, y = PIXELS[index : index + 1].clone(), LABELS[index : index + 1]
    if attack.kind == "noise":
        step = noise(index, (1, 3, 8, 8))
    else:
        x.requires_grad_()
        F.cross_entropy(net(normalised(x)), y).backward()
        step = x.grad.sign()
    moved = torch.clip(x.detach() + attack.strength * step, 0, 1)
    return bool(net(normalised(moved)).argmax(1) == y)


def test_every_image_answers_as_the_equations_say(net):
    found = disturbed(net, 7)
    assert torch.equal(found.clean, net(normalised(PIXELS)).argmax(1) == LABELS)
    for attack in parse_attacks(ATTACKS):
        expected = [by_hand(net, attack, index) for index in range(30)]
        assert found.disturbed[str(attack)].tolist() == expected


@pytest.mark.parametrize("size", [1, 4, 30])
def test_the_size_of_a_batch_changes_nothing(net, size):
    one, other = disturbed(net, 7), disturbed(net, size)
    for attack in ATTACKS:
        assert torch.equal(one.disturbed[attack], other.disturbed[attack])


def test_noise_belongs_to_an_image_and_a_seed():
    whole = noise(0, (20, 3, 8, 8))
    assert torch.equal(whole[7:9], noise(7, (2, 3, 8, 8)))
    assert not torch.equal(whole[0], whole[1])
    assert not torch.equal(whole, noise(0, (20, 3, 8, 8), seed=1))
    assert whole.mean().abs() < 0.05 and whole.std() == pytest.approx(1, abs=0.05)


def test_one_step_against_the_network_costs_more_than_noise_of_that_size(net):
    right = net(normalised(PIXELS)).argmax(1)  # labels that the network has right
    found = disturb(net, batches(30, right), ("noise:0.1", "fgsm:0.1"), mean=MEAN, std=STD)
    assert found.clean.all()
    assert found.disturbed["fgsm:0.1"].sum() < found.disturbed["noise:0.1"].sum()


def test_nothing_is_left_behind(net):
    net.train()
    disturbed(net, 7)
    assert net.training
    assert all(p.grad is None for p in net.parameters())


def test_images_are_attacked_alone_whatever_their_company():
    """Evaluation mode: batch statistics would tie the gradients of a batch together."""
    net = create_backbone("resnet8", num_classes=4, module="srm", seed=0)
    one, other = (disturbed(net, size, ("fgsm:0.1",)) for size in (5, 30))
    assert torch.equal(one.disturbed["fgsm:0.1"], other.disturbed["fgsm:0.1"])


def test_records_say_how_they_were_got(net):
    records = list(study(net, batches(7), ATTACKS, mean=MEAN, std=STD, run="r", which="best"))
    assert [f"{r['attack']}:{r['eps']}" for r in records] == list(ATTACKS)
    for record in records:
        assert record["top1_low"] <= record["top1"] <= record["top1_high"]
        assert record["images"] == 30 and "pixels in [0, 1], best epoch" in record["convention"]
    assert records[2]["strength"] == 2 / 255
    assert len({record["clean"] for record in records}) == 1


def test_a_plot_per_kind_is_drawn(net):
    records = list(study(net, batches(7), ATTACKS, mean=MEAN, std=STD, run="r"))
    plots = robust_plots(records)
    assert [plot.name for plot in plots] == ["robust-noise", "robust-fgsm"]
    for theme in (LIGHT, DARK):
        assert all(render(plot.draw(theme), "png").startswith(b"\x89PNG") for plot in plots)
    assert robust_plots([]) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["noise:0.05", "0.1", "fgsm:2/255"], ("noise:0.05", "noise:0.1", "fgsm:2/255")),
        (["FGSM"], tuple(f"fgsm:{e}" for e in DEFAULTS["fgsm"])),
        (["noise", "noise:0.1"], tuple(f"noise:{s}" for s in DEFAULTS["noise"])),
    ],
)
def test_what_is_typed_is_a_list_of_attacks(words, expected):
    assert tuple(map(str, parse_attacks(words))) == expected
    assert tuple(map(str, parse_attacks(expected))) == expected


# -- wrong labels ----------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.1, 0.333, 0.9])
@pytest.mark.parametrize("classes", [2, 7])
def test_exactly_the_share_is_replaced_by_other_classes(share, classes):
    labels = torch.arange(1000) % classes
    noisy = relabel(labels, classes, share=share, seed=3)
    assert int((noisy != labels).sum()) == round(1000 * share)
    assert 0 <= int(noisy.min()) and int(noisy.max()) < classes
    assert torch.equal(labels, torch.arange(1000) % classes)  # a copy
    assert torch.equal(noisy, relabel(labels, classes, share=share, seed=3))


def test_the_other_classes_are_equally_likely():
    noisy = relabel(torch.zeros(60_000, dtype=torch.long), 4, share=0.5, seed=0)
    counts = noisy.bincount(minlength=4)[1:].double()
    assert float((counts - 10_000).abs().max()) < 4 * math.sqrt(30_000 * 2 / 9)  # 4 sigma


def test_another_seed_replaces_others():
    labels = torch.zeros(100, dtype=torch.long)
    assert not torch.equal(*(relabel(labels, 5, share=0.3, seed=s) for s in (0, 1)))


def test_one_class_has_no_other():
    with pytest.raises(UsageError, match="no other label among 1 classes"):
        relabel(torch.zeros(4, dtype=torch.long), 1, share=0.5, seed=0)


def test_a_run_notes_its_wrong_labels_and_tests_on_right_ones(tmp_path):
    data = "shapes(train=64,test=40,size=16)"
    settings = {"arch": "resnet8", "data": data, "epochs": 1, "device": "cpu", "seed": 5}
    runs = [
        qr_cli.run("train", "attention", **settings, label_noise=p, name=f"p{i}", out=str(tmp_path))
        for i, p in enumerate((0.25, 0))
    ]
    facts, plain = (json.loads((run.folder / "run.json").read_text("utf-8")) for run in runs)
    labels = read(data, splits=("train",)).train.labels
    assert facts["label_noise"] == 0.25
    assert facts["labels_sha256"] == sha256(relabel(labels, 10, share=0.25, seed=5))
    assert "labels_sha256" not in plain
    assert runs[0].result["data_sha256"] == runs[1].result["data_sha256"]
    assert "25 % of the training labels are wrong" in (runs[0].folder / "report.html").read_text()
