"""Weights: which files are read, what is strict, what the messages say."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from qr_cli.attention import weights
from qr_cli.attention.backbones.create import create_backbone
from qr_cli.attention.insert import iter_attention
from qr_cli.attention.modules.identity import IdentityStart
from qr_cli.errors import EnvironmentFault, UsageError, WeightsError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "models"


def shared_file(name: str) -> Path:
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    return path


def net(seed: int = 0, **options) -> nn.Module:
    options = {"num_classes": 10, **options}
    return create_backbone(options.pop("arch", "resnet8"), seed=seed, **options)


def same(a: nn.Module, b: nn.Module) -> bool:
    other = b.state_dict()
    return all(torch.equal(tensor, other[key]) for key, tensor in a.state_dict().items())


def saved(path: Path, state: dict) -> str:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return str(path)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.pth", "w.bin"])
def test_a_file_of_tensors_is_loaded(tmp_path: Path, name: str) -> None:
    source, target = net(1), net(2)
    said = weights.load_weights(target, saved(tmp_path / name, source.state_dict()))
    assert same(source, target)
    assert name in said


@pytest.mark.parametrize("entry", weights.CONTAINERS)
def test_weights_inside_a_dict_are_found_and_named(tmp_path: Path, entry: str) -> None:
    source, target = net(1), net(2)
    path = saved(tmp_path / "w.pt", {"epoch": 3, entry: source.state_dict()})
    assert f"({entry})" in weights.load_weights(target, path)
    assert same(source, target)


def test_averaged_weights_go_before_plain_ones(tmp_path: Path) -> None:
    average, plain, target = net(1), net(2), net(3)
    content = {"state_dict": plain.state_dict(), "model_ema": average.state_dict()}
    weights.load_weights(target, saved(tmp_path / "w.pt", content))
    assert same(average, target)


def test_prefixes_of_every_key_are_stripped_repeatedly(tmp_path: Path) -> None:
    source, target = net(1), net(2)
    state = {f"module._orig_mod.{key}": value for key, value in source.state_dict().items()}
    weights.load_weights(target, saved(tmp_path / "w.pt", state))
    assert same(source, target)


def test_a_prefix_of_some_keys_stays() -> None:
    state = {"module.a": torch.zeros(1), "b": torch.zeros(1)}
    assert set(weights.strip_prefixes(state)) == {"module.a", "b"}


def test_counters_of_batch_norms_may_be_missing(tmp_path: Path) -> None:
    source, target = net(1), net(2)
    state = {k: v for k, v in source.state_dict().items() if "num_batches" not in k}
    weights.load_weights(target, saved(tmp_path / "w.safetensors", state))
    assert same(source, target)


def test_a_classifier_called_linear_is_read_as_fc(tmp_path: Path) -> None:
    source, target = net(1), net(2)
    state = {k.replace("fc.", "linear."): v for k, v in source.state_dict().items()}
    weights.load_weights(target, saved(tmp_path / "w.pt", state))
    assert same(source, target)


def fails(target: nn.Module, spec: str, **options) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        weights.load_weights(target, spec, **options)
    assert caught.value.exit_code == 4
    assert caught.value.hint
    return caught.value


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    state = net(1).state_dict()
    del state["layer1.0.bn1.weight"]
    state["layer9.0.extra"] = torch.zeros(3)
    state["layer1.0.conv1.weight"] = torch.zeros(16, 16, 1, 1)
    error = fails(net(), saved(tmp_path / "w.pt", state))
    assert "w.pt does not fit qr:resnet8" in error.message
    assert "1 missing: layer1.0.bn1.weight" in error.message
    assert "1 unexpected: layer9.0.extra" in error.message
    assert "layer1.0.conv1.weight (16, 16, 1, 1) for (16, 16, 3, 3)" in error.message


def test_the_first_twenty_keys_are_named(tmp_path: Path) -> None:
    state = {f"other.{i:02d}": torch.zeros(1) for i in range(25)}
    message = fails(net(), saved(tmp_path / "w.pt", state)).message
    assert "25 unexpected: other.00" in message
    assert "other.19, ..." in message and "other.20" not in message


def test_a_failed_load_changes_nothing(tmp_path: Path) -> None:
    state = net(1).state_dict()
    del state["layer3.0.bn2.weight"]
    target, before = net(2), net(2)
    fails(target, saved(tmp_path / "w.pt", state))
    assert same(target, before)


def test_a_shortcut_without_weights_is_hinted_both_ways(tmp_path: Path) -> None:
    path = saved(tmp_path / "pad.pt", net(1, arch="resnet8(shortcut=pad)").state_dict())
    assert "resnet8(shortcut=pad)" in str(fails(net(), path).hint)
    path = saved(tmp_path / "conv.pt", net(1).state_dict())
    hint = str(fails(net(arch="resnet8(shortcut=pad)"), path).hint)
    assert "qr:resnet8'" in hint


def test_another_classifier_is_hinted_and_reset(tmp_path: Path) -> None:
    source = net(1, num_classes=7)
    path = saved(tmp_path / "w.pt", source.state_dict())
    target, start = net(2), net(2)
    assert "--reset-head" in str(fails(target, path).hint)
    weights.load_weights(target, path, reset_head=True)
    assert torch.equal(target.conv1.weight, source.conv1.weight)
    assert torch.equal(target.fc.weight, start.fc.weight)


def test_attention_in_the_file_is_hinted(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pt", net(1, module="se").state_dict())
    assert "--module" in str(fails(net(), path).hint)


def test_a_missing_file_is_named_with_its_path(tmp_path: Path) -> None:
    assert "nothing.pt" in fails(net(), str(tmp_path / "nothing.pt")).message


class Harmful:
    def __reduce__(self):
        return (os.mkdir, ("must-not-exist",))


def test_nothing_but_tensors_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"a": Harmful()}}, tmp_path / "w.pt")
    error = fails(net(), str(tmp_path / "w.pt"))
    assert "cannot be read as a file of tensors" in error.message
    assert not (tmp_path / "must-not-exist").exists()


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights at all, only text"])
def test_a_broken_file_is_a_fault_of_the_weights(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError):
        weights.load_weights(net(), str(tmp_path / name))


def test_a_file_without_weights_says_what_it_holds(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "loss": 0.5}, tmp_path / "w.pt")
    assert "['epoch', 'loss']" in fails(net(), str(tmp_path / "w.pt")).message


# -- what create_backbone does with them -----------------------------------------------------------


def wrappers(model: nn.Module) -> set[bool]:
    return {isinstance(module, IdentityStart) for *_, module in iter_attention(model)}


def test_identity_start_is_automatic_on_weights_without_attention(tmp_path: Path) -> None:
    plain = net(1).eval()
    path = saved(tmp_path / "w.pt", plain.state_dict())
    attended = net(2, module="spem", weights=path).eval()
    assert wrappers(attended) == {True}
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(attended(x), plain(x))
    assert wrappers(net(2, module="spem", weights=path, identity_start="no")) == {False}
    assert wrappers(net(2, module="spem")) == {False}
    assert wrappers(net(2, module="spem", identity_start=True)) == {True}


@pytest.mark.parametrize("module", ["lsas(se)", "dia", "bam"])
def test_weights_with_attention_fill_the_attention(tmp_path: Path, module: str) -> None:
    source = net(1, module=module)
    path = saved(tmp_path / "w.pt", source.state_dict())
    target = net(2, module=module, weights=path)
    assert same(source, target)
    assert wrappers(target) == {False}


def test_a_wrong_identity_start_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="maybe"):
        net(module="se", identity_start="maybe")


# -- torchvision and timm --------------------------------------------------------------------------


def test_weights_of_a_library_need_a_network_of_it() -> None:
    with pytest.raises(UsageError, match="torchvision"):
        weights.load_weights(net(), "torchvision")
    with pytest.raises(UsageError, match="timm"):
        weights.load_weights(net(), "timm")


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_weights_that_are_not_here_are_fetched_only_when_asked(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if library == "timm":
        pytest.importorskip("timm")
        hub = pytest.importorskip("huggingface_hub")
        monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with torch.device("meta"):
        target = net(arch=f"{library}:resnet18", num_classes=1000)
    with pytest.raises(EnvironmentFault, match="not on this machine") as caught:
        weights.load_weights(target, library)
    assert caught.value.hint == "add --download"


def test_weights_of_torchvision_are_loaded_strictly(monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision

    source = torchvision.models.resnet18()
    enum = torchvision.models.ResNet18_Weights
    monkeypatch.setattr(enum, "get_state_dict", lambda self, **_: source.state_dict())
    target = net(arch="resnet18", num_classes=1000)
    said = weights.load_weights(target, "torchvision", download=True)
    assert "IMAGENET1K_V1" in said
    assert same(source, target)
    small = net(arch="resnet18", num_classes=10)
    assert "--reset-head" in str(fails(small, "torchvision", download=True).hint)


def test_a_download_that_fails_is_a_fault_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torchvision

    def refuse(self: object, **_: object) -> dict:
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.models.ResNet18_Weights, "get_state_dict", refuse)
    with torch.device("meta"):
        target = net(arch="resnet18", num_classes=1000)
    with pytest.raises(EnvironmentFault, match="no route to host"):
        weights.load_weights(target, "torchvision", download=True)


def test_weights_of_timm_are_loaded_strictly(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")
    source = timm.create_model("resnet18", num_classes=1000)
    target = net(arch="timm:resnet18", num_classes=1000)
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained, **_: source)
    assert weights.load_weights(target, "timm", download=True) == "timm resnet18"
    assert same(source, target)


# -- real files ------------------------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "arch", "parameters"),
    [
        ("resnet20_cifar10_akamaster", "resnet20(shortcut=pad)", 269_722),
        ("resnet20_cifar10jpeg_ft2ep", "resnet20(shortcut=pad)", 269_722),
        ("resnet56_cifar10_akamaster", "resnet56(shortcut=pad)", 853_018),
    ],
)
def test_public_cifar_checkpoints_load(name: str, arch: str, parameters: int) -> None:
    path = str(shared_file(f"{name}.safetensors"))
    model = net(arch=arch, weights=path)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert "shortcut=pad" in str(fails(net(arch=arch.partition("(")[0]), path).hint)


@pytest.mark.data
def test_a_public_timm_checkpoint_loads() -> None:
    pytest.importorskip("timm")
    path = str(shared_file("efficientnet_lite0_in1k_timm.safetensors"))
    model = net(arch="timm:tf_efficientnet_lite0", num_classes=1000, weights=path, module="se")
    assert len(list(iter_attention(model))) == 16
    assert wrappers(model) == {True}
    small = net(arch="timm:tf_efficientnet_lite0", num_classes=20)
    assert "--reset-head" in str(fails(small, path).hint)
    weights.load_weights(small, path, reset_head=True)


@pytest.mark.data
@pytest.mark.parametrize("module", ["se", "lsas(se)", "sem(fc,eca,ie)", "spem", "ras", "cbam"])
@torch.no_grad()
def test_attaching_with_identity_start_leaves_trained_logits_alone(module: str) -> None:
    path = str(shared_file("resnet20_cifar10jpeg_ft2ep.safetensors"))
    plain = net(arch="resnet20(shortcut=pad)", weights=path).eval()
    attended = net(arch="resnet20(shortcut=pad)", weights=path, module=module).eval()
    x = torch.randn(8, 3, 32, 32)
    assert torch.equal(attended(x), plain(x))
