"""Exported files: read back, two batch sizes, against the original; node counts."""

import json
from pathlib import Path

import pytest
import torch

from qr_cli.cli.app import run
from qr_cli.errors import RunFailed
from qr_cli.reparam import exporting
from qr_cli.reparam.exporting import export
from qr_cli.reparam.folding import fold
from tests.reparam.nets import checkpoint, small

X = torch.zeros(2, 3, 32, 32)


@pytest.mark.parametrize("format", ["torch.export", "onnx"])
def test_an_exported_file_computes_what_the_original_does(tmp_path, format: str) -> None:
    if format == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    net = small("asr(se)", srp="repvgg")
    result = fold(net, X)
    record = export(result.model, format, tmp_path / "file", X, against=net)
    limit = {"torch.export": 1e-6, "onnx": 1e-5}[format]
    assert set(record["parity"]) == {"batch1", "batch3"}
    assert max(record["parity"].values()) <= limit
    nodes = record["nodes"]
    assert (nodes["Conv"], nodes["BatchNormalization"], nodes["Sigmoid"], nodes["Mul"]) == (
        9, 0, 0, 0,
    )  # fmt: skip
    assert record["bytes"] == (tmp_path / "file").stat().st_size
    assert record["opset"] is None if format == "torch.export" else record["opset"] >= 17


def test_a_file_that_differs_from_the_original_is_refused(tmp_path) -> None:
    net = small()
    result = fold(net, X)
    result.model.fc.bias.data += 0.1
    with pytest.raises(RunFailed, match="not equal to the original at batch 1"):
        export(result.model, "torch.export", tmp_path / "file", X, against=net)


def test_the_plain_form_exports_the_operations_of_the_backbone() -> None:
    from collections import Counter

    from qr_cli.attention.backbones.create import create_backbone

    def operations(net):
        program = torch.export.export(net.eval(), (torch.zeros(2, 3, 32, 32),))
        return Counter(str(n.target) for n in program.graph.nodes if n.op == "call_function")

    for srp in (None, "repvgg"):
        result = fold(small("asr(se)", srp=srp), X, keep_bn=True)
        assert operations(result.model) == operations(create_backbone("resnet8", num_classes=10))


def test_without_the_extra_nothing_is_begun(tmp_path, monkeypatch, capsys) -> None:
    checkpoint(tmp_path / "run")
    real = exporting.find_spec
    monkeypatch.setattr(
        exporting, "find_spec", lambda name: None if name == "onnxscript" else real(name)
    )
    assert run(["reparam", "run", "--out", "out", "--export", "onnx"]) == 5
    told = capsys.readouterr()
    assert "pip install 'qr-cli[onnx]'" in told.err and not told.out
    assert not Path("out").exists()


@pytest.mark.slow
def test_both_formats_in_one_call(tmp_path, capsys) -> None:
    pytest.importorskip("onnxruntime")
    checkpoint(tmp_path / "run")
    words = ["--export", "torch.export", "--export", "onnx", "--repeats", "0"]
    assert run(["reparam", "run", "--out", "out", *words]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [r["file"] for r in found if r["event"] == "export"] == ["model.pt2", "model.onnx"]
    assert Path("out/model.pt2").is_file() and Path("out/model.onnx").is_file()
