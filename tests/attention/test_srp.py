"""Re-parameterization blocks: values, sizes, names, starts, and how they get into a network."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from qr_cli.attention.backbones.create import create_backbone
from qr_cli.attention.backbones.hosts import held
from qr_cli.attention.insert import attach, detach, iter_attention, residual_blocks
from qr_cli.attention.names import SRP
from qr_cli.attention.srp.block import Block, Shape
from qr_cli.attention.srp.names import check_srp
from qr_cli.attention.srp.replacing import find, has_blocks, replace
from qr_cli.errors import UsageError
from tests.reference import srp as reference

KINDS = tuple(SRP.entries)
SHAPES = {
    "dense": Shape(4, 4),
    "wider, stride 2": Shape(4, 6, stride=2),
    "two groups": Shape(4, 8, groups=2, eps=1e-3),
    "dilation 2": Shape(3, 3, dilation=2),
    "depthwise": Shape(4, 4, groups=4),
    "six groups": Shape(6, 6, groups=6, stride=2),
}
# block: names and shapes of 4 -> 4, without num_batches_tracked
KEYS = {
    "repvgg": "rbr_identity! rbr_dense.conv rbr_dense.bn! rbr_1x1.conv rbr_1x1.bn!",
    "acnet": "square_conv square_bn! ver_conv ver_bn! hor_conv hor_bn!",
    "dbb": "dbb_origin.conv dbb_origin.bn! dbb_1x1.conv dbb_1x1.bn! dbb_1x1_kxk.idconv1 "
    "dbb_1x1_kxk.bn1.bn! dbb_1x1_kxk.conv2 dbb_1x1_kxk.bn2! dbb_avg.conv dbb_avg.bn.bn! "
    "dbb_avg.avgbn!",
    "mobileone": "rbr_skip! rbr_conv.0.conv rbr_conv.0.bn! rbr_conv.1.conv rbr_conv.1.bn! "
    "rbr_conv.2.conv rbr_conv.2.bn! rbr_conv.3.conv rbr_conv.3.bn! rbr_scale.conv rbr_scale.bn!",
}
OREPA_KEYS = (
    "vector id_tensor weight_orepa_avg_avg weight_orepa_prior weight_orepa_origin "
    "weight_orepa_avg_conv weight_orepa_pfir_conv weight_orepa_1x1 weight_orepa_1x1_kxk_idconv1 "
    "weight_orepa_1x1_kxk_conv2 weight_orepa_gconv_dw weight_orepa_gconv_pw bn.weight bn.bias "
    "bn.running_mean bn.running_var"
).split()
PARAMETERS = {  # rows: repvgg, acnet, dbb, mobileone, orepa
    Shape(16, 16): (2656, 3936, 5568, 9664, 8960),
    Shape(16, 32, stride=2): (5248, 7872, 10848, 19264, 16512),
    Shape(32, 32): (10432, 15552, 21888, 38272, 33280),
    Shape(32, 64, stride=2): (20736, 31104, 42688, 76416, 63232),
    Shape(64, 64): (41344, 61824, 86784, 152320, 128000),
    Shape(64, 64, groups=64): (1024, 1344, 2496, 3136, 7680),
}
NETS = {
    "repvgg": (304_666, 957_850),
    "acnet": (453_338, 1_429_082),
    "dbb": (634_170, 2_005_050),
    "mobileone": (1_110_490, 3_513_562),
    "orepa": (943_770, 2_986_650),
}


def drawn(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give every batch norm statistics and an affine map that are not trivial."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            draw = lambda like: torch.randn(like.shape, generator=generator).to(like)  # noqa: E731
            part.running_mean.copy_(0.5 * draw(part.running_mean))
            part.running_var.uniform_(0.2, 2, generator=generator)
            part.weight.data.copy_(1 + 0.4 * draw(part.weight))
            part.bias.data.copy_(0.3 * draw(part.bias))
    return module


def block(kind: str, shape: Shape, **options) -> Block:
    made = SRP.load(kind)(shape, **options).double()
    for name, weight in made.named_parameters():
        if name.endswith("idconv1.weight") or name.endswith("idconv1"):
            nn.init.normal_(weight, 0, 0.3)
    if kind == "orepa":  # the reference has the constants themselves, not their float32 copies
        made.vector.data.normal_()
        made.weight_orepa_avg_avg.fill_(1 / 9)
        made.weight_orepa_prior.copy_(exact_prior(shape.out_channels))
    return drawn(made).eval()


def exact_prior(channels: int) -> torch.Tensor:
    rows = torch.zeros(channels, 3, 3, dtype=torch.float64)
    for c in range(channels):
        for h in range(3):
            for w in range(3):
                at, number = (h, c + 1) if c < channels / 2 else (w, c + 1 - channels / 2)
                rows[c, h, w] = math.cos(math.pi * (at + 0.5) * number / 3)
    return rows


def state(module: nn.Module) -> dict:
    return {key: value.detach().numpy() for key, value in module.state_dict().items()}


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_block_is_what_the_equations_say(kind: str, shape: Shape) -> None:
    made = block(kind, shape)
    x = torch.randn(2, shape.in_channels, 6, 5, dtype=torch.float64)
    expected = reference.FORWARD[kind](
        x.numpy(),
        state(made),
        shape.eps,
        stride=shape.stride,
        groups=shape.groups,
        dilation=shape.dilation,
    )
    with torch.no_grad():
        error = (made(x) - torch.from_numpy(expected)).abs().max()
    assert error <= 1e-12 * abs(expected).max()


@pytest.mark.parametrize(
    ("kind", "shape", "options"),
    [
        ("dbb", Shape(4, 6), {"internal": 3}),
        ("dbb", Shape(4, 4, kernel=5, dilation=3), {}),
        ("acnet", Shape(4, 4, kernel=5), {}),
        ("mobileone", Shape(4, 6, kernel=1), {"branches": 2}),
        ("mobileone", Shape(4, 4, kernel=5, stride=2), {"branches": 1}),
    ],
)
def test_options_and_kernel_sizes_follow_the_equations(kind, shape, options) -> None:
    made = block(kind, shape, **options)
    x = torch.randn(1, 4, 7, 7, dtype=torch.float64)
    expected = reference.FORWARD[kind](
        x.numpy(), state(made), 1e-5, stride=shape.stride, groups=1, dilation=shape.dilation
    )
    with torch.no_grad():
        torch.testing.assert_close(made(x), torch.from_numpy(expected), rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_and_the_input_get_a_gradient(kind: str) -> None:
    made = SRP.load(kind)(Shape(4, 4))
    if kind == "orepa":
        made.vector.data[2] = 0.1  # its row of the prior is 0 at the start
    x = torch.randn(3, 4, 6, 6, requires_grad=True)
    made(x).square().mean().backward()
    assert x.grad.abs().sum() > 0
    for name, weight in made.named_parameters():
        if not name.endswith(".bias"):
            assert weight.grad is not None and weight.grad.abs().sum() > 0, name


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_those_of_the_authors(kind: str) -> None:
    own = {k for k in SRP.load(kind)(Shape(4, 4)).state_dict() if "num_batches" not in k}
    if kind == "orepa":
        assert own == set(OREPA_KEYS)
        return
    words = KEYS[kind].split()
    tails = ("weight", "bias", "running_mean", "running_var")
    expected = {f"{w}.weight" for w in words if not w.endswith("!")}
    assert own == expected | {f"{w[:-1]}.{t}" for w in words if w.endswith("!") for t in tails}


@pytest.mark.parametrize("shape", PARAMETERS, ids=str)
def test_blocks_have_the_parameters_of_the_equations(shape: Shape) -> None:
    with torch.device("meta"):
        assert tuple(count(SRP.load(kind)(shape)) for kind in KINDS) == PARAMETERS[shape]


@pytest.mark.parametrize("kind", KINDS)
def test_networks_have_the_parameters_of_the_equations(kind: str) -> None:
    with torch.device("meta"):
        found = [count(create_backbone(f"resnet{d}", num_classes=10, srp=kind)) for d in (20, 56)]
    assert tuple(found) == NETS[kind]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [False, True])
def test_preserve_keeps_the_function_and_lets_the_branches_join(kind: str, bias: bool) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 1),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 3, padding=1, bias=bias),
        nn.BatchNorm2d(4, eps=1e-3, momentum=0.3),
    ).double()
    drawn(net).eval()
    x = torch.randn(2, 3, 9, 9, dtype=torch.float64)
    with torch.no_grad():
        before = net(x)
        replace(net, kind, x, init="preserve")
        torch.testing.assert_close(net(x), before, rtol=0, atol=1e-12)
    made = net[2]
    assert isinstance(made, Block)
    norms = [m for m in made.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(n.eps, n.momentum) for n in norms} == {(1e-3, 0.3)}
    net.train()
    (net(x) * torch.randn(2, 4, 9, 9, dtype=torch.float64)).sum().backward()
    gammas = [norm.weight for norm in made.sides()] or [made.vector]
    assert all((gamma.grad.abs() > 0).all() for gamma in gammas)


def test_blocks_replace_all_3x3_convolutions_but_the_stem() -> None:
    net = create_backbone("resnet20", num_classes=10, srp="repvgg")
    blocks = [name for name, m in net.named_modules() if isinstance(m, Block)]
    assert len(blocks) == 18 and "conv1" not in blocks
    assert isinstance(net.conv1, nn.Conv2d) and isinstance(net.bn1, nn.BatchNorm2d)
    every = create_backbone("resnet20", num_classes=10, srp="repvgg", srp_at="all")
    assert isinstance(every.conv1, Block)


def test_a_different_block_changes_no_other_start() -> None:
    one = create_backbone("resnet8", num_classes=10, srp="repvgg", module="se", seed=3)
    two = create_backbone("resnet8", num_classes=10, srp="dbb", module="se", seed=3)
    for name in ("conv1.weight", "fc.weight", "layer1.0.attn.fc1.weight"):
        assert torch.equal(one.get_parameter(name), two.get_parameter(name))
    again = create_backbone("resnet8", num_classes=10, srp="repvgg", module="se", seed=3)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("arch", ["qr:resnet8", "torchvision:resnet18", "timm:resnet10t"])
@pytest.mark.parametrize("module", ["asr(se)", "stepnet"])
def test_attention_goes_where_the_batch_norm_was_and_out_again(arch: str, module: str) -> None:
    with torch.device("meta"):
        net = create_backbone(arch, num_classes=5, srp="repvgg")
        keys = set(net.state_dict())
        attach(net, module)
        names = [name for name, *_ in iter_attention(net)]
        assert len(names) == len(residual_blocks(net))
        assert all(held(b) is not None for b in residual_blocks(net))
        assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 5)
        assert set(detach(net).state_dict()) == keys


def test_weights_of_a_plain_network_are_preserved(tmp_path) -> None:
    plain = drawn(create_backbone("resnet8", num_classes=10, seed=1)).eval()
    torch.save(plain.state_dict(), tmp_path / "plain.pt")
    x = torch.randn(2, 3, 32, 32)
    for kind in ("dbb", "orepa"):
        net = create_backbone(
            "resnet8", num_classes=10, srp=kind, weights=str(tmp_path / "plain.pt")
        )
        with torch.no_grad():
            torch.testing.assert_close(net.eval()(x), plain(x), rtol=1e-5, atol=1e-5)
    torch.save(net.state_dict(), tmp_path / "blocks.pt")
    again = create_backbone(
        "resnet8", num_classes=10, srp="orepa", weights=str(tmp_path / "blocks.pt")
    )
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))


def test_blocks_can_stand_in_the_brackets_of_an_arch() -> None:
    net = create_backbone('resnet8(srp="acnet(gamma=0.5)",module="asr(se)",classes=4)')
    assert has_blocks(net)
    assert {m.square_bn.weight[0].item() for m in net.modules() if isinstance(m, Block)} == {0.5}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dbbb", "did you mean 'dbb'"),
        ("dbb(width=3)", "dbb has no option 'width'"),
        ("mobileone(branches=0)", "branches must be from 1 to 64, got 0"),
        ("repvgg(se)", "repvgg takes no sub-module"),
        ("repvgg+dbb", "expected one name"),
    ],
)
def test_a_block_that_cannot_be_meant_is_told(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("(", r"\(")):
        check_srp(text)


def test_defaults_are_dropped_from_the_text() -> None:
    assert check_srp("DBB()") == "dbb"
    assert check_srp("mobileone( branches = 4 )") == "mobileone"
    assert check_srp("acnet(gamma=0.333)") == "acnet(gamma=0.333)"


def refused() -> Iterator[tuple[str, nn.Module]]:
    shared = nn.Conv2d(3, 3, 3, padding=1)
    yield "shared", nn.Sequential(shared, nn.BatchNorm2d(3), shared, nn.BatchNorm2d(3))
    yield "no norm", nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())
    yield "5x5", nn.Sequential(nn.Conv2d(3, 3, 5, padding=2), nn.BatchNorm2d(3))
    yield "valid", nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))


@pytest.mark.parametrize(
    ("why", "net"), list(refused()), ids=lambda v: v if isinstance(v, str) else ""
)
def test_a_network_without_a_fitting_convolution_is_told(why: str, net: nn.Module) -> None:
    with pytest.raises(UsageError, match=r"finds no 3x3 convolution .* found: \d convolutions"):
        find(net, torch.zeros(2, 3, 8, 8), at="all")


def test_dbb_refuses_other_paddings_than_zeros() -> None:
    with pytest.raises(UsageError, match="the padding must be zeros, got reflect"):
        SRP.load("dbb")(Shape(4, 4, padding_mode="reflect"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_block_learns_a_toy_task(kind: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(SRP.load(kind)(Shape(3, 4)), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    net = nn.Sequential(*net, nn.Flatten(), nn.Linear(4, 2))
    x, y = torch.randn(32, 3, 8, 8), torch.arange(32) % 2
    x[y == 1, 0] += 1.0
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for _ in range(40):
        loss = nn.functional.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1


def test_runs_older_than_the_blocks_are_grouped_with_younger_ones(tmp_path) -> None:
    import json

    from qr_cli.attention.recipe import Attention
    from qr_cli.attention.runs import Run, grouped

    young = json.loads(Attention().model_dump_json())
    old = json.loads(Attention().changed("run", seed=1).model_dump_json())
    for key in ("srp", "srp_at", "srp_init"):
        del old["model"][key]
    runs = [Run(tmp_path / name, recipe, ()) for name, recipe in (("a", young), ("b", old))]
    (group,) = grouped(runs)
    assert len(group.runs) == 2
