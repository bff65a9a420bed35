"""Names, sizes, starts and numbers of the backbones."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import parameter_tables as tables
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from qr_cli.attention.backbones import names
from qr_cli.attention.backbones.cifar import PadShortcut
from qr_cli.attention.backbones.create import create_backbone
from qr_cli.attention.insert import attach, detach
from qr_cli.errors import UsageError


def on_meta(arch: str, **options) -> nn.Module:
    with torch.device("meta"):
        return create_backbone(arch, **options)


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@cache
def plain(arch: str, classes: int, device: str) -> nn.Module:
    with torch.device(device):
        return create_backbone(arch, num_classes=classes).eval()


@contextmanager
def attended(
    arch: str, classes: int, module: str, *, stages: str = "auto", device: str = "meta"
) -> Iterator[nn.Module]:
    """One network per arch, lent with a module in it: building each anew takes twice the time."""
    model = plain(arch, classes, device)
    yield attach(model, module, stages=stages)
    detach(model)


CIFAR_CELLS = [
    (module, depth, classes, count)
    for module, row in tables.CIFAR.items()
    for (depth, classes), count in zip(tables.CIFAR_DEPTHS.items(), row, strict=True)
]


@pytest.mark.parametrize(("module", "depth", "classes", "count"), CIFAR_CELLS)
def test_a_cifar_net_has_the_parameters_of_the_equations(
    module: str, depth: int, classes: int, count: int
) -> None:
    stages = "all" if module == tables.LSAS_EVERYWHERE else "auto"
    spec = module.partition(" in ")[0]
    with attended(f"resnet{depth}", classes, spec, stages=stages) as net:
        assert parameters(net) == count


IMAGENET_CELLS = [
    (module, arch, count)
    for module, row in tables.IMAGENET.items()
    for arch, count in zip(tables.IMAGENET_ARCHS, row, strict=True)
]


@pytest.mark.parametrize(("module", "arch", "count"), IMAGENET_CELLS)
def test_an_imagenet_net_has_the_parameters_of_the_equations(
    module: str, arch: str, count: int
) -> None:
    with attended(arch, 1000, module) as net:
        assert parameters(net) == count


@pytest.mark.parametrize(("arch", "module", "stages", "classes", "count"), tables.SINGLES)
def test_parameters_besides_the_tables(
    arch: str, module: str, stages: str, classes: int, count: int
) -> None:
    with attended(arch, classes, module, stages=stages) as net:
        assert parameters(net) == count


FLOP_CELLS = [
    (arch, module, classes, side, count)
    for (arch, classes, side), (free, *row) in tables.FLOPS.items()
    for module, count in [
        *((module, free) for module in tables.FREE),
        ("sge", free + tables.SGE_PRODUCTS[arch]),
        *zip(tables.FLOP_MODULES, row, strict=True),
    ]
]


@pytest.mark.parametrize(
    ("arch", "module", "classes", "side", "count"), FLOP_CELLS + tables.FLOP_SINGLES
)
def test_a_net_costs_the_operations_of_the_equations(
    arch: str, module: str, classes: int, side: int, count: int
) -> None:
    device = "cpu" if side == 32 else "meta"  # shapes alone cost more than 32 x 32 pixels do
    counter = FlopCounterMode(display=False)
    with attended(arch, classes, module, device=device) as net, counter, torch.no_grad():
        net(torch.zeros(1, 3, side, side, device=device))
    assert counter.get_total_flops() == count


def test_the_keys_are_the_official_ones() -> None:
    net = on_meta("resnet11(block=bottleneck)", num_classes=10, module="se")
    keys = {key.rpartition(".")[0] for key in net.state_dict()}
    block = {"conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "attn.fc1", "attn.fc2"}
    block |= {"downsample.0", "downsample.1"}
    blocks = {f"layer{stage}.0.{name}" for stage in (1, 2, 3) for name in block}
    assert keys == {"conv1", "bn1", "fc", *blocks}


def test_a_bottleneck_strides_in_its_3x3_convolution() -> None:
    block = on_meta("resnet83", num_classes=10).layer2[0]
    assert (block.conv1.stride, block.conv2.stride) == ((1, 1), (2, 2))


def test_convolutions_start_at_the_official_deviation() -> None:
    weight = create_backbone("resnet20", num_classes=10).layer3[1].conv2.weight.detach()
    expected = (2 / (3 * 3 * 64)) ** 0.5
    # 36,864 draws: the relative standard error of the deviation is 0.4 %
    assert abs(float(weight.std()) / expected - 1) < 0.02


@pytest.mark.parametrize("side", [(32, 32), (96, 96), (20, 36)])
@pytest.mark.parametrize("arch", ["resnet8", "resnet11", "resnet8(shortcut=pad)"])
def test_a_cifar_net_takes_any_size(arch: str, side: tuple[int, int]) -> None:
    assert create_backbone(arch, num_classes=7)(torch.randn(2, 3, *side)).shape == (2, 7)


def test_a_padded_shortcut_takes_every_second_pixel_and_pads_both_sides() -> None:
    x = torch.randn(2, 16, 6, 6)
    out = PadShortcut(16, 32, 2)(x)
    assert torch.equal(out[:, 8:24], x[:, :, ::2, ::2])
    assert not out[:, :8].any() and not out[:, 24:].any()


@pytest.mark.parametrize("module", ["se", "sem(fc,eca,ie)", "stepnet", "dia", "bam"])
def test_nets_that_differ_in_the_module_share_the_backbone(module: str) -> None:
    plain = create_backbone("resnet8", num_classes=10, seed=3).state_dict()
    other = create_backbone("resnet8", num_classes=10, seed=3, module=module).state_dict()
    assert all(torch.equal(other[key], value) for key, value in plain.items())


def test_a_mask_changes_no_other_start() -> None:
    every = create_backbone("resnet8", num_classes=10, module="se").state_dict()
    last = create_backbone("resnet8", num_classes=10, module="se", blocks="001").state_dict()
    assert "layer1.0.attn.fc1.weight" not in last
    assert all(torch.equal(every[key], value) for key, value in last.items())


def test_building_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    create_backbone("resnet8", num_classes=10, module="lsas(se)", seed=5)
    assert torch.equal(torch.rand(3), expected)


def test_seeds_differ() -> None:
    a, b = (create_backbone("resnet8", num_classes=10, module="se", seed=s) for s in (0, 1))
    assert not torch.equal(a.conv1.weight, b.conv1.weight)
    assert not torch.equal(a.layer1[0].attn.fc1.weight, b.layer1[0].attn.fc1.weight)


def test_the_small_image_stem_keeps_the_resolution() -> None:
    net = on_meta("resnet18(stem=cifar)", num_classes=10)
    assert net.layer1(net.maxpool(net.conv1(torch.empty(1, 3, 32, 32, device="meta")))).shape == (
        1,
        64,
        32,
        32,
    )


def test_a_small_image_in_a_large_stem_is_mentioned(caplog: pytest.LogCaptureFixture) -> None:
    on_meta("resnet18", num_classes=10, image_size=32)
    assert "resnet18(stem=cifar)" in caplog.text
    caplog.clear()
    on_meta("resnet18(stem=cifar)", num_classes=10, image_size=32)
    on_meta("resnet18", num_classes=10, image_size=(224, 224))
    on_meta("torchvision:mobilenet_v2", num_classes=10, image_size=32)  # has no such option
    assert not caplog.text


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("resnet20", "qr:resnet20"),
        ("ResNet164", "qr:resnet164"),
        ("resnet20( shortcut = pad )", "qr:resnet20(shortcut=pad)"),
        ("resnet20(block=basic,shortcut=conv)", "qr:resnet20"),
        ("resnet164(block=basic)", "qr:resnet164(block=basic)"),
        ("resnet50", "torchvision:resnet50"),
        ("qr:resnet50", "qr:resnet50"),
        ("resnet18(stem=cifar)", "torchvision:resnet18(stem=cifar)"),
        ("torchvision:resnet18(stem=imagenet)", "torchvision:resnet18"),
        ("timm:resnet50d(drop_path_rate=0.1)", "timm:resnet50d(drop_path_rate=0.1)"),
        (
            'qr:resnet20(module="asr(se)",classes=10)',
            'qr:resnet20(classes=10,module="asr(se)")',
        ),
    ],
)
def test_an_arch_has_one_canonical_text(given: str, canonical: str) -> None:
    assert names.check_arch(given) == canonical
    assert names.check_arch(canonical) == canonical


@pytest.mark.parametrize(
    ("arch", "block"), [(20, "basic"), (56, "basic"), (164, "bottleneck"), (83, "bottleneck")]
)
def test_a_depth_legal_in_both_has_the_published_block(arch: int, block: str) -> None:
    assert names.block_of(f"resnet{arch}", {}) == block


@pytest.mark.parametrize(
    ("arch", "words"),
    [
        ("resnet21", ["6n+2", "9n+2", "21", "20, 26, 29"]),
        ("resnet5", ["nearest 8, 11"]),
        ("resnet2", ["nearest 8, 11"]),
        ("resnet20(block=fast)", ["block", "'fast'", "basic or bottleneck"]),
        ("resnet83(block=basic)", ["6n+2", "nearest 80, 86"]),
        ("resnet20(shortcut=none)", ["shortcut", "conv or pad"]),
        ("resnet20(shortcuts=pad)", ["'shortcuts'", "did you mean 'shortcut'"]),
        ("resnet20(se)", ["positional"]),
        ("resnt20", ["unknown backbone 'resnt20'", "resnet20"]),
        ("torchvison:resnet18", ["family 'torchvison'", "torchvision"]),
        ("qr:vgg16", ["qr:vgg16"]),
        ("resnet50(block=basic)", ["no option 'block'"]),
        ("resnet20(classes=0)", ["classes", "got 0"]),
        ("none", ["'none'"]),
    ],
)
def test_a_wrong_arch_is_named_with_a_hint(arch: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        names.check_arch(arch)
    assert all(word in caught.value.message for word in words), caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 2


def test_a_cifar_option_on_a_torchvision_name_points_to_ours() -> None:
    with pytest.raises(UsageError) as caught:
        names.check_arch("resnet50(block=basic)")
    assert "qr:resnet50(block=basic)" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("arch", "words"),
    [
        ("torchvision:resnet19", ["'resnet19'", "resnet18"]),
        ("torchvision:vgg11(stem=cifar)", ["stem=cifar", "'vgg11'"]),
        ("timm:resnet5o", ["'resnet5o'", "resnet50"]),
        ("timm:resnet18(colour=red)", ["'resnet18'", "colour"]),
        ("timm:resnet18(pretrained=true)", ["'pretrained'"]),
    ],
)
def test_a_name_the_library_does_not_have_is_a_usage_error(arch: str, words: list[str]) -> None:
    if arch.startswith("timm:"):
        pytest.importorskip("timm")
    with pytest.raises(UsageError) as caught:
        on_meta(arch, num_classes=10)
    assert all(word in caught.value.message for word in words), caught.value.message
    assert caught.value.hint


def test_classes_and_module_may_stand_in_the_arch_or_beside_it_but_not_differ() -> None:
    net = on_meta('qr:resnet8(classes=5,module="se")')
    assert net.fc.out_features == 5
    assert "layer1.0.attn.fc1.weight" in net.state_dict()
    with pytest.raises(UsageError, match="classes=5"):
        on_meta("qr:resnet8(classes=5)", num_classes=7)
    with pytest.raises(UsageError, match="module=se"):
        on_meta('qr:resnet8(module="se")', num_classes=7, module="eca")
    with pytest.raises(UsageError, match="num-classes"):
        on_meta("qr:resnet8")


def test_timm_missing_is_an_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(Exception, match="timm") as caught:
        on_meta("timm:resnet18", num_classes=10)
    assert getattr(caught.value, "exit_code", None) == 5
    assert caught.value.hint == "pip install 'qr-cli[timm]'"


def test_checking_names_imports_no_torch() -> None:
    code = (
        "import sys; from qr_cli.attention.backbones.names import check_arch;"
        "from qr_cli.attention.backbones import select;"
        "check_arch('resnet20(shortcut=pad)');"
        "print([m for m in ('torch', 'numpy', 'timm', 'torchvision') if m in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
