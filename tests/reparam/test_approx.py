"""Ordinary gates at their mean: what it costs, what is refused, what it equals."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

import qr_cli as qr
from qr_cli.attention.backbones.create import create_backbone
from qr_cli.cli.app import run
from qr_cli.reparam import approx
from qr_cli.reparam.approx import hold
from tests.reparam.nets import checkpoint, distance

DATA = "shapes(size=32,test=60,train=80)"
X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(5))


def call(*words: str) -> int:
    return run(["reparam", "run", "--out", "out", "--repeats", "0",
                "--approx-stripe", DATA, "--calib-images", "40", *words])  # fmt: skip


def constant_se(folder: Path) -> nn.Module:
    """Make every SE of a checkpoint a constant: W2 = 0."""
    net = qr.load(folder)
    for name, p in net.named_parameters():
        if name.endswith("fc2.weight"):
            p.data.zero_()
    save_file(net.state_dict(), folder / "model.safetensors")
    return net


def test_gates_that_are_constant_cost_nothing_and_equal_their_fold(tmp_path, capsys) -> None:
    checkpoint(tmp_path / "run", module="se")
    net = constant_se(tmp_path / "run")
    assert call("--max-drop", "0") == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    total = next(r for r in found if r.get("module") == "all held")
    assert (total["drop_points"], total["gates"], total["of"]) == (0.0, 3, 3)
    assert found[-1]["approximate"] is True and found[-1]["float64"] <= 1e-10
    assert qr.load("out").card["approximate"] is True
    assert distance(net, qr.load("out"), X) <= 1e-5
    plain = create_backbone("resnet8", num_classes=10)
    assert found[-1]["params"]["plain"] == sum(p.numel() for p in plain.parameters())
    report = json.loads(Path("out/report.json").read_text())
    assert len(report["approx"]) == 4


def test_a_drop_over_the_limit_writes_nothing(tmp_path, monkeypatch, capsys) -> None:
    checkpoint(tmp_path / "run", module="se")
    answers = iter([torch.ones(60, dtype=torch.bool)] + [torch.arange(60) > 2] * 9)
    monkeypatch.setattr(approx, "correct", lambda net, batches: next(answers))
    assert call() == 6
    told = capsys.readouterr().err
    assert "costs 5.00 points" in told and "over --max-drop 0.2" in told
    assert "layer3.0.attn" in told
    assert not Path("out").exists()


def test_auto_holds_gates_in_the_order_of_their_stripes(tmp_path, monkeypatch) -> None:
    checkpoint(tmp_path / "run", module="se")
    net = qr.load("run")
    good, bad = torch.ones(60, dtype=torch.bool), torch.arange(60) > 2
    answers = iter([good, good, bad] + [good] * 20)  # intact, one gate, two gates
    monkeypatch.setattr(approx, "correct", lambda net, batches: next(answers))
    held, records = hold(net, DATA, images=40, max_drop=0.2, blocks="auto")
    total = records[-1]
    assert total["gates"] == 1
    by_s = sorted(records[:-1], key=lambda r: r["S"])
    assert total["chosen"] == [by_s[0]["module"]]
    kinds = {type(held.get_submodule(r["module"])).__name__ for r in by_s}
    assert kinds == {"Held", "SE"}


def test_some_gates_held_and_the_rest_left_still_loads(tmp_path, monkeypatch) -> None:
    checkpoint(tmp_path / "run", module="se")
    good, bad = torch.ones(60, dtype=torch.bool), torch.arange(60) > 2
    answers = iter([good, good, bad] + [good] * 20)
    monkeypatch.setattr(approx, "correct", lambda net, batches: next(answers))
    assert call("--stripe-blocks", "auto", "--verify") == 0
    again = qr.load("out")
    assert len(again.card["kept"]) == 2 and again.card["form"]["gone"]


def test_data_of_one_split_is_cut_in_two(tmp_path, monkeypatch) -> None:
    read = approx.read

    def one(*args, **options):
        from dataclasses import replace

        return replace(read(*args, **options), train=None)

    monkeypatch.setattr(approx, "read", one)
    parts = approx.split(DATA, images=20, image_size=None)
    assert len(parts.test) == 30 and len(parts.calibration) == 20
    everything = read(DATA).test
    assert torch.equal(parts.test.labels, everything.labels[1::2])
    assert torch.equal(parts.calibration.labels, everything.labels[0::2][:20])
