"""Weights files of the methods' authors, synthesised under their key names."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

import qr_cli as qr
from qr_cli.attention.backbones.create import create_backbone
from qr_cli.attention.names import SRP
from qr_cli.attention.srp.block import Shape
from qr_cli.cli.app import run
from qr_cli.errors import WeightsError
from qr_cli.reparam import official
from qr_cli.reparam.folding import fold
from qr_cli.reparam.keys import fold_keys
from qr_cli.reparam.names import MOBILEONE, REPVGG
from qr_cli.reparam.official import create_official
from tests.reparam.nets import distance, drawn

PARAMETERS = {  # training, deployed
    "repvgg-a0": (9_108_968, 8_309_384),
    "repvgg-a1": (14_092_264, 12_789_864),
    "repvgg-a2": (28_210_600, 25_499_944),
    "repvgg-b0": (15_817_960, 14_339_048),
    "repvgg-b1": (57_415_016, 51_829_480),
    "repvgg-b1g2": (45_782_376, 41_360_104),
    "repvgg-b1g4": (39_966_056, 36_125_416),
    "repvgg-b2": (89_022_376, 80_315_112),
    "repvgg-b2g2": (70_846_376, 63_956_712),
    "repvgg-b2g4": (61_758_376, 55_777_512),
    "repvgg-b3": (123_085_288, 110_960_872),
    "repvgg-b3g2": (96_911_848, 87_404_776),
    "repvgg-b3g4": (83_825_128, 75_626_728),
    "repvgg-d2se": (133_334_836, 120_387_572),
    "mobileone-s0": (5_293_272, 2_078_504),
    "mobileone-s1": (4_825_192, 4_764_840),
    "mobileone-s2": (7_884_648, 7_808_168),
    "mobileone-s3": (10_170_600, 10_078_312),
    "mobileone-s4": (14_951_248, 14_838_352),
}


def call(*words: str) -> int:
    return run(["reparam", *words, "--repeats", "0"])


def last(capsys) -> dict:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize("name", [*REPVGG, *MOBILEONE])
def test_official_networks_have_the_parameters_of_their_authors(name: str) -> None:
    with torch.device("meta"):
        nets = [create_official(name, deploy=deploy) for deploy in (False, True)]
    assert tuple(sum(p.numel() for p in n.parameters()) for n in nets) == PARAMETERS[name]


SMALL = {
    "repvgg": lambda **o: official.repvgg((1, 2, 2, 1), (0.125,) * 4, classes=5, **o),
    "groups": lambda **o: official.repvgg((1, 2, 2, 1), (0.125,) * 4, groups=4, classes=5, **o),
    "repvgg se": lambda **o: official.repvgg((1, 2, 1, 1), (0.25,) * 4, se=True, classes=5, **o),
    "mobileone": lambda **o: official.mobileone(
        (0.125,) * 4, 4, layers=(1, 2, 6, 1), classes=5, **o
    ),
    "mobileone se": lambda **o: official.mobileone(
        (0.25,) * 4, 1, layers=(1, 2, 6, 1), se=True, classes=5, **o
    ),
}


@pytest.mark.parametrize("name", SMALL)
def test_official_structures_fold_into_their_deployed_names(name: str) -> None:
    torch.manual_seed(0)
    net = drawn(SMALL[name]())
    x = torch.randn(2, 3, 64, 64)
    result = fold(net, x)
    deployed = SMALL[name](deploy=True).eval()
    deployed.load_state_dict(result.model.state_dict(), strict=True)
    assert distance(net, deployed, x) <= 1e-5
    assert distance(net.double(), result.exact, x.double()) <= 1e-10


@pytest.fixture
def tiny(monkeypatch):
    """A RepVGG small enough to be written and read in a test, under an official name."""
    sizes = ((1, 1, 1, 1), (0.125,) * 4, 1, False)
    monkeypatch.setitem(REPVGG, "repvgg-a0", sizes)
    return drawn(create_official("repvgg-a0", classes=7))


def test_a_training_file_is_folded_loaded_and_folded_again(tiny, tmp_path, capsys) -> None:
    state = {f"module.{k}": v for k, v in tiny.state_dict().items()}
    torch.save({"state_dict": state, "optimizer": {"lr": 0.1}, "epoch": 120}, "a0.pth.tar")
    words = ("--arch", "repvgg-a0", "--input-size", "3,64,64", "--verify")
    assert call("a0.pth.tar", *words, "--out", "out") == 0
    x = torch.randn(2, 3, 64, 64)
    assert distance(tiny, qr.load("out"), x) <= 1e-5
    keys = set(load_file("out/model.safetensors"))
    assert "stage1.0.rbr_reparam.bias" in keys and "linear.weight" in keys
    capsys.readouterr()
    assert call("out", "--out", "again") == 0
    assert last(capsys)["folded"] == 0
    assert (
        Path("out/model.safetensors").read_bytes() == Path("again/model.safetensors").read_bytes()
    )
    deployed = ("out/model.safetensors", "--arch", "repvgg-a0", "--input-size", "3,64,64")
    assert call(*deployed, "--out", "third") == 0
    assert last(capsys)["folded"] == 0


def test_averaged_weights_come_first_unless_a_key_is_named(tiny, tmp_path, capsys) -> None:
    ema = {k: v + 0.5 if k == "linear.bias" else v for k, v in tiny.state_dict().items()}
    torch.save({"model": tiny.state_dict(), "model_ema": ema}, "both.pth")
    words = ("both.pth", "--arch", "repvgg-a0", "--input-size", "3,64,64", "--overwrite")
    biases = []
    for key in ((), ("--weights-key", "model")):
        assert call(*words, "--out", "out", *key) == 0
        biases.append(load_file("out/model.safetensors")["linear.bias"])
    torch.testing.assert_close(biases[0] - biases[1], torch.full((7,), 0.5))


# ASR: depth 11, as its authors name it


def asr_file(both: bool = False, fused: float | None = None) -> tuple[nn.Module, dict]:
    """Return a network of ours and its weights under the official names."""
    net = drawn(create_backbone("qr:resnet11(block=bottleneck)", num_classes=10,
                                module="asr(se)+se" if both else "asr(se)"))  # fmt: skip
    gate = "attn.0" if both else "attn"
    named = {}
    for key, tensor in net.state_dict().items():
        head, _, tail = key.partition(f"{gate}.")
        if ".attn." in key and tail.startswith("psi"):
            named[f"{head}bn3.vector"] = tensor.reshape(1, -1, 1, 1)
        elif ".attn." in key and tail.startswith("inner.0."):
            named[f"{head}bn3.attention_module.{tail.removeprefix('inner.0.')}"] = tensor
        elif ".attn.1." in key:
            named[key.replace("attn.1.", "attention_module.")] = tensor
        else:
            named[key.replace("bn3.", "bn3.bn.")] = tensor
    if fused is not None:
        for name, block in net.named_modules():
            if hasattr(block, "bn3"):
                gate_of = block.attn.terms()[0] if both else block.attn
                v = gate_of.constant_gate().detach()
                for kind in ("weight", "bias"):
                    value = named[f"{name}.bn3.bn.{kind}"] * v * (1 + fused)
                    named[f"{name}.bn3.fused_bn.{kind}"] = value
                for kind in ("running_mean", "running_var", "num_batches_tracked"):
                    named[f"{name}.bn3.fused_bn.{kind}"] = named[f"{name}.bn3.bn.{kind}"]
    return net, {f"module.{k}": v for k, v in named.items()}


ASR = ("--arch", "asr-resnet(depth=11,classes=10)")
X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("fused", [None, 0.0])
def test_an_official_asr_file_folds(both: bool, fused: float | None, tmp_path, caplog) -> None:
    net, named = asr_file(both, fused)
    torch.save({"state_dict": named}, "asr.pth.tar")
    assert call("asr.pth.tar", *ASR, "--out", "out") == 0
    assert distance(net, qr.load("out"), X) <= 1e-5
    assert "is not bn x gate" not in caplog.text


def test_a_stale_copy_of_the_folded_batch_norm_is_told_and_not_used(tmp_path, capsys) -> None:
    net, named = asr_file(fused=0.01)
    torch.save(named, "asr.pth")
    assert call("asr.pth", *ASR, "--out", "out") == 0
    assert "is not bn x gate" in capsys.readouterr().err
    assert distance(net, qr.load("out"), X) <= 1e-5


def test_a_file_with_the_folded_batch_norms_only_is_folded_already(tmp_path) -> None:
    net, named = asr_file(fused=0.0)
    kept = {k: v for k, v in named.items()
            if not any(w in k for w in ("bn3.bn.", "bn3.vector", "attention_module"))}  # fmt: skip
    torch.save(kept, "deployed.pth")
    assert call("deployed.pth", *ASR, "--out", "out") == 0
    assert distance(net, qr.load("out"), X) <= 1e-5


# by key names


def bigger(kind: str, shape: Shape, **options) -> tuple[dict, nn.Module]:
    """Return a file in which a block stands among other things, and the block."""
    torch.manual_seed(0)
    block = drawn(SRP.load(kind)(shape, **options))
    state = {f"backbone.3.{k}": v for k, v in block.state_dict().items()}
    other = {"head.weight": torch.randn(3, 4).half(), "backbone.3.se.down.weight": torch.ones(2)}
    return {"stem.0.weight": torch.randn(4, 3, 3, 3), **state, **other}, block


@pytest.mark.parametrize(
    ("kind", "shape", "options"),
    [
        ("repvgg", Shape(4, 4), {}),
        ("repvgg", Shape(4, 6, stride=2), {}),
        ("repvgg", Shape(4, 4, groups=2), {}),
        ("acnet", Shape(4, 6, kernel=5), {}),
        ("dbb", Shape(4, 4), {}),
        ("dbb", Shape(4, 6, groups=2), {"internal": 8}),
        ("dbb", Shape(4, 4, groups=4), {}),
        ("mobileone", Shape(4, 4, groups=4), {}),
        ("mobileone", Shape(4, 6, kernel=1), {"branches": 2}),
        ("orepa", Shape(4, 6), {}),
        ("orepa", Shape(4, 8, groups=2), {}),
    ],
    ids=str,
)
def test_a_block_in_any_file_is_folded_by_its_keys(kind, shape, options) -> None:
    tensors, block = bigger(kind, shape, **options)
    folded = fold_keys(tensors)
    assert [(s.module, s.what) for s in folded.steps] == [("backbone.3", kind)]
    assert folded.errors["backbone.3"] <= 1e-12
    new = folded.tensors
    for key in ("stem.0.weight", "head.weight", "backbone.3.se.down.weight"):
        assert torch.equal(new[key], tensors[key]) and new[key].dtype == tensors[key].dtype
    at = f"backbone.3.{block.deploy_name}"
    assert set(new) == {"stem.0.weight", "head.weight", "backbone.3.se.down.weight",
                        f"{at}.weight", f"{at}.bias"}  # fmt: skip
    x = torch.randn(2, shape.in_channels, 8, 8)
    y = F.conv2d(x, new[f"{at}.weight"], new[f"{at}.bias"], shape.stride, shape.padding,
                 groups=shape.groups)  # fmt: skip
    torch.testing.assert_close(y, block(x), rtol=1e-4, atol=1e-4)


def orepa_state(o: int, i: int) -> dict:
    return dict(SRP.load("orepa")(Shape(i, o)).state_dict())


def norm_state(name: str, channels: int) -> dict:
    bn = drawn(nn.BatchNorm2d(channels))
    return {f"{name}.{k}": v for k, v in bn.state_dict().items()}


def test_read_only_variants_of_orepa_fold_by_their_keys() -> None:
    torch.manual_seed(0)
    one = {"a.weight_or1x1_origin": torch.randn(6, 4, 1, 1),
           "a.weight_or1x1_l2i_conv1": torch.randn(8, 4, 1, 1),
           "a.weight_or1x1_l2i_conv2": torch.randn(6, 8, 1, 1),
           "a.vector": torch.randn(2, 6), **norm_state("a.bn", 6)}  # fmt: skip
    large = {"b.weight0": torch.randn(5, 4, 3, 3), "b.weight1": torch.randn(6, 5, 3, 3),
             **norm_state("b.bn", 6)}  # fmt: skip
    nested = {f"c.weight0.{k}": v for k, v in orepa_state(5, 4).items() if not k.startswith("bn")}
    nested |= {f"c.weight1.{k}": v for k, v in orepa_state(6, 5).items() if not k.startswith("bn")}
    nested |= norm_state("c.bn", 6)
    q = orepa_state(4, 4)
    vgg = {f"d.rbr_dense.{k.replace('orepa', 'rbr')}": v for k, v in q.items()
           if k.startswith("weight_orepa") and "_1x1" not in k.replace("_1x1_kxk", "")}  # fmt: skip
    vgg |= {"d.rbr_dense.vector": torch.randn(6, 4), **norm_state("d.rbr_dense.bn", 4),
            "d.rbr_1x1.conv.weight": torch.randn(4, 4, 1, 1), **norm_state("d.rbr_1x1.bn", 4),
            **norm_state("d.rbr_identity", 4)}  # fmt: skip
    folded = fold_keys({**one, **large, **nested, **vgg})
    assert {s.module: s.what for s in folded.steps} == {
        "a": "or1x1", "b": "or_large", "c": "or_large", "d": "orepa-vgg",
    }  # fmt: skip
    assert all(error <= 1e-12 for error in folded.errors.values())
    shapes = {k: tuple(v.shape) for k, v in folded.tensors.items() if k.endswith("weight")}
    assert set(shapes.values()) == {(6, 4, 1, 1), (6, 4, 5, 5), (4, 4, 3, 3)}


def test_an_asr_batch_norm_folds_by_its_keys_and_the_name_is_no_trap() -> None:
    _, named = asr_file()
    plain = {k.removeprefix("module."): v for k, v in named.items()}
    folded = fold_keys(plain)
    assert {s.what for s in folded.steps} == {"asr"} and len(folded.steps) == 3
    expected = create_backbone("qr:resnet11(block=bottleneck)", num_classes=10)
    assert set(folded.tensors) == set(expected.state_dict())


def test_the_keys_command_says_what_was_not_run(tmp_path, capsys) -> None:
    tensors, block = bigger("dbb", Shape(4, 4))
    save_file({k: v.contiguous() for k, v in tensors.items()}, "net.safetensors")
    assert call("net.safetensors", "--arch", "keys", "--out", "out", "--bn-eps", "1e-5") == 0
    summary = last(capsys)
    assert summary["whole_network"] == "not run" and summary["bn_eps"] == 1e-5
    assert summary["folded"] == 1 and summary["float64"] <= 1e-12
    assert call("out/model.safetensors", "--arch", "keys", "--out", "two") == 0
    assert "nothing to fold: dbb_reparam found" in last(capsys)["warnings"][-1]
    assert Path("out/model.safetensors").read_bytes() == Path("two/model.safetensors").read_bytes()


def test_pairs_fold_only_when_the_user_vouches_for_them(tmp_path) -> None:
    conv = nn.Conv2d(3, 4, 3, bias=False)
    bn = drawn(nn.BatchNorm2d(4))
    tensors = {"a.conv.weight": conv.weight.detach(),
               **{f"a.bn.{k}": v for k, v in bn.state_dict().items()}}  # fmt: skip
    assert fold_keys(tensors).tensors.keys() == tensors.keys()
    new = fold_keys(tensors, pairs=("conv:bn",)).tensors
    assert list(new) == ["a.conv.weight", "a.conv.bias"]
    x = torch.randn(1, 3, 6, 6)
    y = F.conv2d(x, new["a.conv.weight"], new["a.conv.bias"])
    torch.testing.assert_close(y, bn(conv(x)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "lost"),
    [
        ("repvgg", "rbr_dense.bn.running_var"),
        ("repvgg", "rbr_1x1.conv.weight"),
        ("dbb", "dbb_avg.avgbn.weight"),
        ("mobileone", "rbr_conv.2.bn.bias"),
        ("orepa", "vector"),
        ("acnet", "hor_bn.running_mean"),
    ],
)
def test_a_block_that_is_there_in_part_is_named(kind: str, lost: str) -> None:
    tensors, _ = bigger(kind, Shape(4, 4))
    del tensors[f"backbone.3.{lost}"]
    with pytest.raises(WeightsError, match=f"backbone.3 is incomplete: missing backbone.3.{lost}"):
        fold_keys(tensors)
