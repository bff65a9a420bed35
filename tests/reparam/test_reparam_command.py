"""`qr reparam` from end to end: records, files, tables, and what must not be there."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import load_file

import qr_cli as qr
from qr_cli.attention.backbones.create import create_backbone
from qr_cli.cli.app import run
from qr_cli.reparam import algebra, folder
from tests.reparam.nets import checkpoint, distance, drawn

X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(5))
ROOT = Path(__file__).parents[2]


def records(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def call(*words: str) -> int:
    return run(["reparam", *words])


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_trained_network_becomes_the_plain_backbone(tmp_path, capsys) -> None:
    net = checkpoint(tmp_path / "run")
    before = sha(tmp_path / "run/model.safetensors")
    assert call("run", "--out", "out", "--verify", "--repeats", "2") == 0
    found = records(capsys)
    summary = found[-1]
    assert summary["event"] == "summary"
    assert (summary["gates"], summary["norms"], summary["kept"]) == (3, 9, 0)
    assert summary["strict"] == "qr:resnet8" and summary["flops_equal_to_plain"] is True
    plain = create_backbone("resnet8", num_classes=10).eval()
    count = sum(p.numel() for p in plain.parameters())
    norms = [m for m in plain.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert summary["params"]["plain"] == count
    assert summary["params"]["bare"] == count - sum(m.num_features for m in norms)
    assert summary["float64"] <= 1e-10 and summary["float32"] <= 1e-5
    assert summary["input_sha256"] == before == sha(tmp_path / "run/model.safetensors")
    assert summary["output_sha256"] == sha(tmp_path / "out/model.safetensors")
    plain.load_state_dict(load_file("out/plain.safetensors"), strict=True)
    assert distance(net, plain, X) <= 1e-5
    again = qr.load("out")
    assert distance(net, again, X) <= 1e-5
    assert again.card["form"]["name"] == "bare" and again.card["approximate"] is False
    assert {path.name for path in Path("out").iterdir()} >= {
        "model.safetensors", "model.json", "plain.safetensors", "report.json", "report.html",
        "plots", "recipe.yaml",
    }  # fmt: skip
    report = json.loads(Path("out/report.json").read_text())
    assert report["summary"]["input_sha256"] == before
    assert report["latency"]["ms"].keys() >= {"original", "bare", "plain", "backbone"}
    assert max(report["verify"]["sites"].values()) <= 1e-12
    assert "conv+bn&gt;gate" in Path("out/report.html").read_text()


def test_a_second_run_on_its_own_output_changes_no_byte(tmp_path, capsys) -> None:
    checkpoint(tmp_path / "run", srp="repvgg")
    for options in ((), ("--keep-bn",)):
        assert call("run", "--out", "one", "--overwrite", "--repeats", "0", *options) == 0
        assert call("one", "--out", "two", "--overwrite", "--repeats", "0", *options) == 0
        summary = records(capsys)[-1]
        assert summary["folded"] == 0 and "nothing to fold" in summary["warnings"][-1]
        assert sha(Path("one/model.safetensors")) == sha(Path("two/model.safetensors"))
        assert distance(qr.load("one"), qr.load("two"), X) == 0
        assert Path("two/plain.safetensors").exists() is (options == ())


def test_the_same_input_gives_the_same_bytes(tmp_path) -> None:
    checkpoint(tmp_path / "run", srp="dbb")
    for name in ("a", "b"):
        assert call("run", "--out", name, "--repeats", "0") == 0
    for name in ("model.safetensors", "plain.safetensors", "model.json"):
        assert sha(Path("a") / name) == sha(Path("b") / name)


def test_keep_bn_writes_the_plain_form_only(tmp_path, capsys) -> None:
    net = checkpoint(tmp_path / "run")
    assert call("run", "--out", "out", "--keep-bn", "--repeats", "0") == 0
    assert not Path("out/plain.safetensors").exists()
    plain = create_backbone("resnet8", num_classes=10).eval()
    plain.load_state_dict(load_file("out/model.safetensors"), strict=True)
    assert distance(net, plain, X) <= 1e-5


def test_attention_that_stays_is_named_and_the_folder_loads(tmp_path, capsys) -> None:
    net = checkpoint(tmp_path / "run", module="asr(se)+se")
    assert call("run", "--out", "out", "--repeats", "0", "--verify") == 0
    summary = records(capsys)[-1]
    assert summary["kept"] == 3 and "plain" not in summary["params"]
    assert any("no plain.safetensors" in note for note in summary["warnings"])
    again = qr.load("out")
    assert again.card["module"] == "se" and set(again.card["kept"].values()) == {"se"}
    assert distance(net, again, X) <= 1e-5


def test_a_dry_run_writes_nothing_and_needs_no_place(tmp_path, capsys) -> None:
    checkpoint(tmp_path / "run")
    assert call("run", "--dry-run") == 0
    found = records(capsys)
    assert {r["event"] for r in found} == {"plan"}
    gates = [r for r in found if r["what"] == "asr(se)"]
    assert len(gates) == 3 and all(r["rule"] == "conv+bn>gate" for r in gates)
    assert gates[0]["dead_units"] in ("0/1", "1/1")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]


def test_a_deployed_folder_is_evaluated_like_a_run(tmp_path, capsys) -> None:
    data = "shapes(size=32,test=40,train=40)"
    checkpoint(tmp_path / "run", data=data)
    assert call("run", "--out", "out", "--repeats", "0", "--verify", "--data", data) == 0
    capsys.readouterr()
    assert run(["eval", "attention", "run"]) == run(["eval", "attention", "out"]) == 0
    first, second = records(capsys)
    assert first["top1"] == second["top1"] and second["module"] == "none"


BLOCKS = ("repvgg", "acnet", "dbb", "mobileone", "orepa")
HEAVY = [pytest.param(s, marks=pytest.mark.slow) for s in BLOCKS]


@pytest.mark.parametrize("srp", [None, *HEAVY])
def test_torchvisions_resnet18_loads_the_plain_file_strictly(tmp_path, srp, capsys) -> None:
    block = f',srp="{srp}"' if srp else ""
    arch = f'torchvision:resnet18(module="asr(se)"{block})'
    net = drawn(create_backbone(arch, num_classes=5))
    torch.save({"state_dict": net.state_dict(), "epoch": 3}, "net.pth")
    words = ("net.pth", "--arch", arch, "--input-size", "3,32,32", "--repeats", "0")
    assert call(*words, "--out", "out") == 0
    plain = torchvision.models.resnet18(num_classes=5).eval()
    plain.load_state_dict(load_file("out/plain.safetensors"), strict=True)
    assert distance(net, plain, X) <= 1e-5
    assert distance(net, qr.load("out"), X) <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["torchvision:resnet50", "timm:resnet18", "timm:resnet50"])
def test_bigger_networks_load_the_plain_weights_strictly(arch: str) -> None:
    net = drawn(create_backbone(arch, num_classes=1000, module="asr(se)"))
    x = torch.randn(2, 3, 64, 64)
    result = qr.reparam.fold(net, x)
    check = qr.reparam.verify(net, result, x)
    assert check.ok and check.float64 <= 1e-10 and check.native <= 1e-5
    plain = create_backbone(arch, num_classes=1000).eval()
    plain.load_state_dict(result.plain_state, strict=True)
    assert distance(net, plain, x) <= 1e-5
    counts = {"torchvision:resnet50": (28_103_128, 25_557_032, 25_530_472)}.get(arch)
    nets = (net, result.plain, result.model)
    if counts:
        assert tuple(sum(p.numel() for p in m.parameters()) for m in nets) == counts


def test_a_fold_that_is_not_equal_writes_nothing(tmp_path, monkeypatch, capsys) -> None:
    checkpoint(tmp_path / "run")
    right = algebra.conv_norm
    monkeypatch.setattr(
        algebra,
        "conv_norm",
        lambda w, b, n, **k: right(w, b, algebra.Norm(n.gamma, n.beta, n.mean, n.var, 0.0), **k),
    )
    assert call("run", "--out", "out", "--repeats", "0") == 6
    told = capsys.readouterr().err
    assert "not equal" in told and "first site" in told and "nothing was written" in told
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]


def test_an_error_while_writing_leaves_the_old_folder(tmp_path, monkeypatch) -> None:
    checkpoint(tmp_path / "run")
    assert call("run", "--out", "out", "--repeats", "0") == 0
    before = sha(Path("out/model.safetensors"))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder, "save_tensors", full)
    assert call("run", "--out", "out", "--repeats", "0", "--overwrite") == 5
    assert sha(Path("out/model.safetensors")) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "run"]


@pytest.mark.slow
def test_killed_while_writing_there_is_no_half_folder(tmp_path) -> None:
    checkpoint(tmp_path / "run")
    slow = (
        "import sys, time; from qr_cli.reparam import folder\n"
        "def wait(*a, save=folder.save_tensors):\n"
        " save(*a); print('saving', flush=True); time.sleep(60)\n"
        "folder.save_tensors = wait\n"
        "from qr_cli.cli.app import run; run(sys.argv[1:])"
    )
    command = [sys.executable, "-c", slow, "reparam", "run", "--out", "out", "--repeats", "0"]
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    while b"saving" not in child.stdout.readline():
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not Path("out").exists()
    assert call("run", "--out", "out", "--repeats", "0") == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "run"]


def test_attention_in_the_brackets_of_an_arch_is_gone_after_the_fold(tmp_path, capsys) -> None:
    net = checkpoint(tmp_path / "run")
    card = json.loads(Path("run/model.json").read_text())
    card |= {"arch": 'qr:resnet8(module="asr(se)")', "module": "none"}
    Path("run/model.json").write_text(json.dumps(card))
    assert call("run", "--out", "out", "--repeats", "0") == 0
    assert records(capsys)[-1]["strict"] == "qr:resnet8"
    assert distance(net, qr.load("out"), X) <= 1e-5


def test_the_best_checkpoint_is_labelled(tmp_path, capsys) -> None:
    checkpoint(tmp_path / "run/checkpoints/epoch-0001")
    for pointer in ("latest.json", "best.json"):
        (tmp_path / "run" / pointer).write_text('{"checkpoint": "checkpoints/epoch-0001"}')
    assert call("run", "--which", "best", "--out", "out", "--repeats", "0") == 0
    assert "chosen on test data" in records(capsys)[-1]["warnings"]
