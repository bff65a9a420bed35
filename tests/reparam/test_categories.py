"""The classes of foreign weights have the names that their library tells, or numbers."""

import json

import pytest
import torch
from safetensors.torch import save_file

from qr_cli.attention.backbones.create import create_backbone
from qr_cli.attention.backbones.names import parse_arch
from qr_cli.reparam.categories import categories
from qr_cli.reparam.recipe import Source
from qr_cli.reparam.source import open_source

SHUFFLE = parse_arch("torchvision:shufflenet_v2_x0_5")
TINY = "timm:test_efficientnet"


@pytest.fixture
def folder(tmp_path):
    """Weights of a small timm network of three classes, as the hub lays them out."""
    pytest.importorskip("timm")
    net = create_backbone(TINY, num_classes=3)
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, tmp_path / "w.safetensors")
    return tmp_path


def classes(folder):
    settings = Source(source=[str(folder / "w.safetensors")], arch=TINY)
    return open_source(settings).card["classes"]


def test_a_file_of_torchvision_is_known_by_its_hash(tmp_path):
    found = categories(SHUFFLE, tmp_path / "mine.pth", "f707e7126e" + 54 * "0", 1000)
    assert found[:2] == ("tench", "goldfish") and len(found) == 1000
    assert categories(SHUFFLE, tmp_path / "mine.pth", 64 * "0", 1000) is None
    assert categories(SHUFFLE, tmp_path / "mine.pth", "f707e7126e" + 54 * "0", 10) is None


def test_label_names_beside_weights_of_timm_are_taken(folder):
    assert classes(folder) == ["0", "1", "2"]
    names = ["cat", "dog", "emu"]
    (folder / "config.json").write_text(json.dumps({"num_classes": 3, "label_names": names}))
    assert classes(folder) == names
    (folder / "config.json").write_text(json.dumps({"label_names": names[:2]}))
    assert classes(folder) == ["0", "1", "2"]


def test_a_thousand_classes_of_timm_are_imagenets_and_damage_says_nothing(tmp_path):
    pytest.importorskip("timm")
    file = tmp_path / "w.safetensors"
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"num_classes": 1000, "pretrained_cfg": {}}))
    assert categories(parse_arch(TINY), file, "", 1000)[0].startswith("tench")
    config.write_text("{")
    assert categories(parse_arch(TINY), file, "", 1000) is None


def test_a_network_whose_own_attention_gave_way_is_read_back(tmp_path):
    pytest.importorskip("timm")
    import qr_cli

    trained = qr_cli.run(
        "train", "attention", arch=TINY, module="asr(se)", replace=True, epochs=1, device="cpu",
        data="shapes(test=8,train=16)", batch_size=8, out=str(tmp_path),
    ).folder  # fmt: skip
    net = qr_cli.load(trained)
    assert net.card["replace"] is True
    from qr_cli.cli.app import run

    assert run(["reparam", str(trained), "--out", "folded", "--repeats", "0"]) == 0
    x = torch.randn(2, *net.input_size)
    with torch.no_grad():
        torch.testing.assert_close(qr_cli.load("folded")(x), net(x), rtol=1e-4, atol=1e-5)
