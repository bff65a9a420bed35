"""Each row of the table of bad input: exit code, sentence, hint, nothing written."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from qr_cli.attention.backbones.create import create_backbone
from qr_cli.cli.app import run
from tests.reparam.nets import checkpoint, drawn


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A checkpoint of asr(se), and weights files of its kind."""
    folder = tmp_path_factory.mktemp("made")
    net = checkpoint(folder / "run")
    torch.save(net.state_dict(), folder / "asr.pth")
    plain = drawn(create_backbone("resnet8", num_classes=10))
    torch.save(plain.state_dict(), folder / "plain.pth")
    torch.save({"net": nn.Linear(2, 2)}, folder / "pickle.pth")
    (folder / "short.pth").write_bytes((folder / "plain.pth").read_bytes()[:3000])
    (folder / "short.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{}")
    (folder / "pointer.pth").write_text("version https://git-lfs.github.com/spec/v1\noid 1\n")
    (folder / "full").mkdir()
    (folder / "full/file").touch()
    for name, key, value in (
        ("nan.pth", "layer1.0.bn1.running_mean", float("nan")),
        ("negative.pth", "layer1.0.bn1.running_var", -1.0),
        ("inf.pth", "fc.bias", float("inf")),
    ):
        state = {k: v.clone() for k, v in plain.state_dict().items()}
        state[key][0] = value
        torch.save(state, folder / name)
    return folder


ASR = "qr:resnet8(module=asr(se))"
ROWS = [
    ("--arch resnt8 plain.pth", 2, "did you mean"),
    ("--arch repvgg-a9 plain.pth", 2, "did you mean 'repvgg-a2'"),
    ("run --out new --export onxx", 2, "did you mean 'onnx'"),
    ("plain.pth --out new", 2, "--arch torchvision:resnet50"),
    ("run", 2, "--out DIR"),
    ("run --out full", 2, "--overwrite"),
    ("", 2, "no network is named"),
    ("run run --dry-run", 2, "at most 1 item"),
    ("run --arch resnet8 --dry-run", 2, "says itself which network"),
    ("run --dry-run --max-drop 1", 2, "needs --approx-stripe"),
    ("run --dry-run --data shapes", 2, "belongs to --verify"),
    ("plain.pth --arch keys --out new --export onnx", 2, "no architecture to run"),
    ("plain.pth --arch keys --out new --verify --data shapes", 2, "no architecture to run"),
    ("plain.pth --arch resnet8 --dry-run --pairs conv:bn", 2, "belongs to --arch keys"),
    ("plain.pth --arch resnet8 --dry-run --approx-stripe shapes", 2, "nothing to freeze"),
    ("run --dry-run --input-size 3x32x32", 2, "should be C,H,W"),
    ("run --dry-run --input-size 5,32,32", 2, "refuses an input of 5x32x32"),
    ("nothing.pth --arch resnet8 --dry-run", 4, "no run, checkpoint or weights file"),
    ("plain.pth --arch resnet20 --dry-run", 4, "missing"),
    ("plain.pth --arch repvgg-a0 --dry-run", 4, "no classifier linear"),
    ("plain.pth --arch resnet8 --num-classes 5 --dry-run", 4, "--num-classes"),
    ("plain.pth --arch resnet8 --ignore fc.* --num-classes 10 --dry-run", 4, "2 missing"),
    ("asr.pth --arch resnet8 --dry-run", 4, "attn.psi"),
    ("pickle.pth --arch resnet8 --dry-run", 4, "only tensors are read"),
    ("short.pth --arch resnet8 --dry-run", 4, "cannot be read"),
    ("short.safetensors --arch resnet8 --dry-run", 4, "no safetensors file"),
    ("pointer.pth --arch resnet8 --dry-run", 4, "git lfs pull"),
    ("nan.pth --arch resnet8 --dry-run", 4, "layer1.0.bn1.running_mean holds values"),
    ("inf.pth --arch resnet8 --dry-run", 4, "fc.bias holds values"),
    ("negative.pth --arch resnet8 --dry-run", 4, "layer1.0.bn1.running_var is negative"),
    ("plain.pth --arch resnet8 --weights-key ema --dry-run", 4, "holds no weights"),
    ("run --out new --verify --data npz:nowhere --repeats 0", 3, "nowhere"),
    ("run --out new --verify --data shapes(test=8,train=8) --repeats 0", 3, "fewer than 16"),
    ("run --dry-run --device cuda", 5, "cuda"),
]


@pytest.mark.parametrize(("words", "code", "told"), ROWS, ids=[row[0] or "-" for row in ROWS])
def test_wrong_input_is_told_in_a_sentence(made, monkeypatch, words, code, told, capsys) -> None:
    if "cuda" in words and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    monkeypatch.chdir(made)
    before = sorted(path.name for path in made.iterdir())
    assert run(["reparam", *words.split()]) == code
    err = capsys.readouterr().err
    assert told in err and "qr: error" in err and "Traceback" not in err
    assert sorted(path.name for path in made.iterdir()) == before


@pytest.mark.parametrize("inner", ["ras", "srm", "cbam", "stepnet"])
def test_what_cannot_stand_inside_asr_is_refused_with_its_reason(inner: str, capsys) -> None:
    assert run(["train", "attention", "--module", f"asr({inner})", "--dry-run"]) == 2
    assert f"{inner} cannot stand inside asr" in capsys.readouterr().err


def test_a_network_without_a_3x3_convolution_takes_no_blocks(capsys) -> None:
    words = ["--arch", "timm:mixer_s16_224", "--srp", "dbb", "--module", "none", "--dry-run"]
    pytest.importorskip("timm")
    assert run(["train", "attention", *words]) == 2
    assert "finds no 3x3 convolution with a batch norm" in capsys.readouterr().err
    assert run(["train", "attention", "--srp", "dbbb", "--dry-run"]) == 2
    assert "did you mean 'dbb'" in capsys.readouterr().err


def test_nothing_to_fold_is_no_fault(made, monkeypatch, tmp_path, capsys) -> None:
    save_file({"a": torch.ones(3)}, tmp_path / "a.safetensors")
    monkeypatch.chdir(tmp_path)
    assert run(["reparam", "a.safetensors", "--arch", "keys", "--out", "out"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["folded"] == 0 and summary["bytes"][0] == summary["bytes"][1]
    assert load_file("out/model.safetensors").keys() == {"a"}


def test_an_original_that_is_not_finite_proves_nothing(tmp_path, monkeypatch, capsys) -> None:
    checkpoint(tmp_path / "run")
    state = load_file("run/model.safetensors")
    state["fc.weight"].mul_(3e38)
    save_file(state, "run/model.safetensors")
    assert run(["reparam", "run", "--out", "out", "--repeats", "0"]) == 6
    assert "not finite" in capsys.readouterr().err and not Path("out").exists()
