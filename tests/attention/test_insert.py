"""Attention put into networks, taken out, listed: own, torchvision's, timm's."""

from copy import deepcopy

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

from qr_cli.attention.backbones import records
from qr_cli.attention.backbones.batch_norm import BatchNormAttn
from qr_cli.attention.backbones.create import create_backbone
from qr_cli.attention.backbones.site import OneOfStage
from qr_cli.attention.insert import (
    attach,
    collect_aux_loss,
    detach,
    iter_attention,
    plan,
    residual_blocks,
)
from qr_cli.attention.modules.identity import IdentityStart
from qr_cli.errors import UsageError

TORCHVISION = [
    ("torchvision:resnet18", 8),
    ("torchvision:resnet34", 16),
    ("torchvision:resnet50", 16),
    ("torchvision:resnext50_32x4d", 16),
    ("torchvision:wide_resnet50_2", 16),
    ("torchvision:resnet101", 33),
    ("torchvision:resnet152", 50),
    ("torchvision:resnext101_32x8d", 33),
    ("torchvision:resnext101_64x4d", 33),
    ("torchvision:wide_resnet101_2", 33),
]
OWN = [("resnet20", 9), ("resnet8(shortcut=pad)", 3), ("resnet11", 3)]
TIMM = [
    "resnet10t",
    "resnet14t",
    "resnet18",
    "resnet18d",
    "resnet26",
    "resnet50",
    "resnet50c",
    "resnetaa50",
    "resnetblur18",
    "resnext50_32x4d",
    "resnet50(drop_path_rate=0.1)",
    "tf_efficientnet_lite0",
    "efficientnet_lite0",
    "mobilenetv2_050",
    "mobilenetv2_100",
    "mnasnet_100",
    "mnasnet_small",
    "spnasnet_100",
    "fbnetc_100",
    "semnasnet_075",
    "mobilenetv1_100",
    "tinynet_e",
    "tf_efficientnetv2_b0",
    "efficientnet_es",
]
HAVE_SQUEEZE_EXCITE = ("mnasnet_small", "semnasnet_075", "tinynet_e", "tf_efficientnetv2_b0")
QUICK = ("resnet18", "resnet34", "resnet50", "resnet10t", "tf_efficientnet_lite0", "resnetblur18")


def build(arch: str, **options) -> nn.Module:
    """A network in evaluation whose batch norms are not the identity."""
    if arch.startswith("timm:"):
        pytest.importorskip("timm")
    net = create_backbone(arch, num_classes=5, **options).eval()
    unlike_identity(net)
    return net


def unlike_identity(net: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            count = module.num_features
            module.running_mean.copy_(0.1 * torch.randn(count, generator=generator))
            module.running_var.copy_(1 + torch.rand(count, generator=generator))
            with torch.no_grad():  # zero weights (timm) would hide the branch
                module.weight.copy_(0.5 + torch.rand(count, generator=generator))


def images(side: int = 32, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def architectures() -> list:
    names = [arch for arch, _ in (*OWN, *TORCHVISION)] + [f"timm:{name}" for name in TIMM]
    quick = {f"{family}:{name}" for family in ("torchvision", "timm") for name in QUICK}
    return [
        pytest.param(name, marks=() if name in quick or ":" not in name else pytest.mark.slow)
        for name in names
    ]


@pytest.mark.parametrize("arch", architectures())
@pytest.mark.parametrize("module", ["lsas(se)", "stepnet"])
@torch.no_grad()
def test_identity_attention_changes_no_logit_and_detach_restores_all(
    arch: str, module: str
) -> None:
    net = build(arch)
    x = images()
    expected, keys = net(x), list(net.state_dict())
    classes = [type(m) for m in net.modules()]
    replace = arch.removeprefix("timm:") in HAVE_SQUEEZE_EXCITE
    inverted = residual_blocks(net)[0].kind == "timm inverted"
    if inverted and module == "stepnet":
        with pytest.raises(UsageError, match="shortcut"):
            attach(net, module)
        return
    attach(net, module, stages="all", identity_start=True, replace=replace)
    assert next(iter_attention(net), None) is not None
    if not replace:
        assert torch.equal(net(x), expected)
        assert set(keys) <= set(net.state_dict())
    detach(net)
    assert torch.equal(net(x), expected)
    assert list(net.state_dict()) == keys
    assert [type(m) for m in net.modules()] == classes


@pytest.mark.parametrize(("arch", "blocks"), [*OWN, *TORCHVISION])
def test_every_residual_block_is_found(arch: str, blocks: int) -> None:
    with torch.device("meta"):
        net = create_backbone(arch, num_classes=5)
    assert len(residual_blocks(net)) == blocks


def test_blocks_say_where_they_are_and_whether_their_shortcut_is_the_identity() -> None:
    found = residual_blocks(build("resnet20"))
    assert [b.name for b in found[:4]] == ["layer1.0", "layer1.1", "layer1.2", "layer2.0"]
    assert [(b.stage, b.index) for b in found[2:5]] == [(1, 2), (2, 0), (2, 1)]
    assert [b.identity for b in found] == [True] * 3 + [False, True, True] * 2


@pytest.mark.parametrize(
    ("arch", "module", "keys"),
    [
        ("resnet8", "se", "layer1.0.attn.fc1.weight"),
        ("resnet8", "bam", "layer1.attn.channel.fc1.weight"),
        ("resnet8", "share(se)", "shared.1.inner.fc1.weight"),
        ("resnet8", "dia", "shared.3.hh.fc2.bias"),
        ("torchvision:resnet18", "se", "layer1.0.bn2.attn.fc1.weight"),
        ("torchvision:resnet50", "se", "layer1.0.bn3.attn.fc1.weight"),
        ("torchvision:resnet18", "stepnet", "layer1.0.attn.fc1.weight"),
        ("torchvision:resnet18", "dia", "shared.4.ih.fc1.weight"),
        ("timm:resnet18", "se", "layer1.0.se.fc1.weight"),
        ("timm:resnet18", "stepnet", "layer1.0.attn.fc1.weight"),
        ("timm:tf_efficientnet_lite0", "se", "blocks.0.0.se.fc1.weight"),
        ("timm:tf_efficientnet_lite0", "bam", "blocks.0.attn.channel.fc1.weight"),
    ],
)
def test_only_attention_keys_are_new(arch: str, module: str, keys: str) -> None:
    with torch.device("meta"):
        net = build_quietly(arch)
        before = set(net.state_dict())
        new = set(attach(net, module).state_dict()) - before
    assert keys in new
    assert before <= set(net.state_dict())
    parts = {"attn", "se", "shared"}
    assert all(parts & set(key.split(".")) for key in new)


def build_quietly(arch: str) -> nn.Module:
    if arch.startswith("timm:"):
        pytest.importorskip("timm")
    return create_backbone(arch, num_classes=5)


@torch.no_grad()
def test_attention_in_a_torchvision_net_scales_the_last_batch_norm() -> None:
    net = build("torchvision:resnet18")
    attach(net, "se", stages="1")
    block, x = net.layer1[0], torch.randn(2, 64, 8, 8)
    f = nn.functional.batch_norm(
        block.conv2(block.relu(block.bn1(block.conv1(x)))),
        block.bn2.running_mean,
        block.bn2.running_var,
        block.bn2.weight,
        block.bn2.bias,
    )
    gate = block.bn2.attn.gate(f)
    torch.testing.assert_close(block(x), torch.relu(x + gate * f))


@pytest.mark.parametrize("arch", ["torchvision:resnet18", "timm:resnet18"])
def test_a_written_out_block_sees_input_shortcut_and_place(arch: str) -> None:
    net = build(arch)
    attach(net, "stepnet")
    seen = []
    attn = net.layer2[1].attn
    attn.register_forward_pre_hook(lambda module, args: seen.append(args[1]))
    x = torch.randn(2, 128, 4, 4)
    net.layer2[1](x)
    (ctx,) = seen
    assert ctx.x is x and ctx.shortcut is x
    assert (ctx.stage, ctx.index, ctx.depth) == (2, 1, 2)


@torch.no_grad()
def test_both_ways_into_a_torchvision_block_give_the_same() -> None:
    by_norm, by_block = build("torchvision:resnet18"), build("torchvision:resnet18")
    attach(by_norm, "ie")
    for module in by_block.modules():
        if isinstance(module, BasicBlock):
            module.bn2.__class__ = _Renamed  # not exactly nn.BatchNorm2d: the block is written out
    attach(by_block, "ie")
    assert {p.mechanism for p in _places_of(by_block)} == {"explicit block"}
    assert torch.equal(by_norm(images()), by_block(images()))


class _Renamed(nn.BatchNorm2d):
    pass


def _places_of(net: nn.Module) -> list:
    return plan(net, "ie", replace=True)


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("track", [True, False])
def test_a_batch_norm_with_attention_keeps_its_statistics(
    momentum: float | None, track: bool
) -> None:
    plain = nn.BatchNorm2d(4, momentum=momentum, track_running_stats=track)
    other = deepcopy(plain)
    other.__class__, other.attn = BatchNormAttn, nn.Identity()
    for _ in range(3):
        x = torch.randn(5, 4, 3, 3)
        assert torch.equal(plain(x), other(x))
    assert all(torch.equal(other.state_dict()[k], v) for k, v in plain.state_dict().items())
    assert torch.equal(plain.eval()(x), other.eval()(x))


def test_a_batch_norm_with_attention_can_be_scripted() -> None:
    norm = nn.BatchNorm2d(4)
    norm.__class__, norm.attn = BatchNormAttn, nn.Sigmoid()
    x = torch.randn(5, 4, 3, 3)
    expected = deepcopy(norm)(x)
    assert torch.equal(torch.jit.script(norm)(x), expected)


# -- stages, masks, places -------------------------------------------------------------------------


def stages_of(net: nn.Module) -> list[int]:
    return sorted({stage for _, stage, _, _ in iter_attention(net)})


@pytest.mark.parametrize(
    ("arch", "module", "stages", "expected"),
    [
        ("resnet8", "se", "auto", [1, 2, 3]),
        ("resnet8", "lsas(se)", "auto", [3]),
        ("resnet8", "lsas(se)", "all", [1, 2, 3]),
        ("resnet8", "lsas(se)+eca", "auto", [3]),
        ("resnet8", "share(lsas(se))", "auto", [3]),
        ("resnet8", "bam", "auto", [1, 2]),
        ("resnet8", "se", "last", [3]),
        ("resnet8", "se", "last2", [2, 3]),
        ("resnet8", "se", "1, 3", [1, 3]),
        ("resnet8", "se", [2], [2]),
        ("resnet8", "se", 2, [2]),
        ("torchvision:resnet18", "lsas(se)", "auto", [3, 4]),
        ("torchvision:resnet18", "bam", "auto", [1, 2, 3]),
        ("timm:tf_efficientnet_lite0", "se", "all", [1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_stages_are_chosen(arch: str, module: str, stages, expected: list[int]) -> None:
    with torch.device("meta"):
        net = attach(build_quietly(arch), module, stages=stages)
    assert stages_of(net) == expected


def test_a_mask_and_stages_both_must_choose_a_block() -> None:
    net = attach(
        create_backbone("resnet20", num_classes=5), "se", stages="1,2", blocks="101, 010 111"
    )
    assert [name for name, *_ in iter_attention(net)] == [
        "layer1.0.attn",
        "layer1.2.attn",
        "layer2.1.attn",
    ]


def test_a_plan_is_what_attach_does_and_changes_nothing() -> None:
    with torch.device("meta"):
        net = create_backbone("resnet50", num_classes=5)
    keys = list(net.state_dict())
    places = plan(net, "sem(fc,eca,ie)", stages="last2")
    assert list(net.state_dict()) == keys
    assert places[0].name == "layer3.0.bn3.attn"
    assert (places[0].channels, places[-1].channels) == (1024, 2048)
    assert places[0].mechanism == "batch norm"
    attach(net, "sem(fc,eca,ie)", stages="last2")
    assert [(n, s, i) for n, s, i, _ in iter_attention(net)] == [
        (p.name, p.stage, p.index) for p in places
    ]


def test_the_plan_says_that_an_inverted_block_is_scaled_in_its_middle() -> None:
    with torch.device("meta"):
        net = build_quietly("timm:tf_efficientnet_lite0")
    places = plan(net, "se")
    assert len(places) == 16
    assert places[1].channels == 96  # 16 input channels, expanded six times
    assert "depthwise" in places[1].note and "not at the end" in places[1].note


def test_at_the_end_of_a_stage_the_whole_output_is_scaled() -> None:
    net = build("resnet8")
    plain = deepcopy(net)
    attach(net, "se", place="stage-end", stages="2")
    x = torch.randn(2, 16, 8, 8)
    out = plain.layer2(x)
    torch.testing.assert_close(net.layer2(x), net.layer2.attn(out))
    assert [entry[:3] for entry in iter_attention(net)] == [("layer2.attn", 2, 0)]


def test_none_attaches_nothing() -> None:
    net = create_backbone("resnet8", num_classes=5)
    keys = list(net.state_dict())
    assert plan(net, "none") == []
    assert list(attach(net, "none").state_dict()) == keys


@pytest.mark.parametrize(
    ("options", "words", "hint"),
    [
        ({"blocks": "11111111"}, ["expected 9 (3 3 3)", "got 8"], "111 111 111"),
        ({"blocks": "11111111x"}, ["'x'"], "111 111 111"),
        ({"blocks": "000 000 000"}, ["no block"], "--blocks"),
        ({"blocks": "111 000 000", "stages": "3"}, ["no place"], "--stages"),
        ({"stages": "4"}, ["1 to 3", "got 4"], "--stages 3"),
        ({"stages": "0"}, ["1 to 3", "got 0"], "--stages"),
        ({"stages": "lst"}, ["'lst'", "did you mean 'last'"], "--stages auto"),
        ({"stages": []}, ["empty"], "--stages all"),
        ({"place": "end"}, ["'end'"], "--place auto"),
    ],
)
def test_a_wrong_stage_mask_or_place_is_named_with_a_hint(
    options: dict, words: list[str], hint: str
) -> None:
    with torch.device("meta"):
        net = create_backbone("resnet20", num_classes=5)
    with pytest.raises(UsageError) as caught:
        attach(net, "se", **options)
    assert all(word in caught.value.message for word in words), caught.value.message
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize("module", ["stepnet", "dia", "lsas(stepnet)"])
def test_a_module_that_sees_the_block_cannot_stand_at_the_end_of_a_stage(module: str) -> None:
    with torch.device("meta"):
        net = create_backbone("resnet8", num_classes=5)
    with pytest.raises(UsageError, match="stage-end"):
        attach(net, module, place="stage-end")


@pytest.mark.parametrize(
    "arch",
    [
        "torchvision:regnet_y_400mf",
        "torchvision:squeezenet1_1",
        "timm:resnetv2_50",
        "timm:convnext_atto",
        "timm:regnetx_002",
    ],
)
def test_an_unsupported_network_is_refused_with_the_supported_ones(arch: str) -> None:
    net = build_quietly(arch)  # torchvision's RegNet cannot be built on the meta device
    with pytest.raises(UsageError, match="not supported yet") as caught:
        attach(net, "se")
    assert "torchvision's ResNet family" in str(caught.value.hint)


def test_a_module_that_does_not_fit_names_block_and_channels() -> None:
    with torch.device("meta"):
        net = create_backbone("resnet8", num_classes=5)
    with pytest.raises(UsageError, match=r"layer1\.0.*C = 16.*32"):
        plan(net, "sge(groups=32)")
    with pytest.raises(UsageError, match=r"layer1\.0.*C = 16.*32"):
        attach(net, "sge(groups=32)")
    attach(net, "sge(groups=32)", stages="last2")
    detach(net)
    assert next(iter_attention(net), None) is None


# -- slots that are taken --------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["eca", "stepnet"])
@torch.no_grad()
def test_a_taken_slot_is_refused_replaced_and_given_back(module: str) -> None:
    net = build("timm:seresnet18")
    x = images()
    expected, keys = net(x), set(net.state_dict())
    with pytest.raises(UsageError, match=r"layer1\.0\.se.*SEModule") as caught:
        attach(net, module)
    assert "--replace" in str(caught.value.hint)
    attach(net, module, replace=True)
    assert not torch.equal(net(x), expected)
    assert not {key for key in net.state_dict() if "se.fc1.weight" in key}
    detach(net)
    assert torch.equal(net(x), expected)
    assert set(net.state_dict()) == keys


def test_attention_of_ours_gives_way_only_when_asked() -> None:
    net = create_backbone("resnet8", num_classes=5, module="dia")
    with pytest.raises(UsageError, match="already"):
        attach(net, "se")
    attach(net, "se", replace=True)
    assert {type(m).__name__ for *_, m in iter_attention(net)} == {"SE"}
    assert not hasattr(net, "shared")


def test_a_failed_replacement_leaves_what_was_there() -> None:
    net = create_backbone("resnet8", num_classes=5, module="se")
    with pytest.raises(UsageError):
        attach(net, "sge(groups=32)", replace=True)
    assert {type(m).__name__ for *_, m in iter_attention(net)} == {"SE"}


# -- state, sharing, copies ------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["resnet20", "torchvision:resnet18", "timm:resnet18"])
@torch.no_grad()
def test_the_state_of_a_stage_begins_empty_in_every_pass(arch: str) -> None:
    net = attach(build(arch), "dia")
    x, y = images(), images(count=3)
    first = net(x)
    net(y)  # another batch size: a state left over would not even fit
    assert torch.equal(net(x), first)
    assert all(not b.module.site.state for b in residual_blocks(net))


@torch.no_grad()
def test_the_state_begins_empty_when_the_first_block_has_no_attention() -> None:
    net = attach(build("resnet20"), "dia", blocks="011 101 110")
    x = images()
    first = net(x)
    net(images(count=3))
    assert torch.equal(net(x), first)


@torch.no_grad()
def test_the_state_is_carried_over_a_block_without_attention() -> None:
    net = attach(build("resnet20"), "dia", blocks="101 000 000")
    first, last = net.layer1[0].site, net.layer1[2].site
    assert first.state is last.state
    assert (first.opens, first.closes, last.opens, last.closes) == (True, False, False, True)


def test_a_shared_module_is_counted_and_saved_once() -> None:
    net = attach(create_backbone("resnet20", num_classes=5), "share(spem)")
    keys = [key for key in net.state_dict() if "attn" in key or "shared" in key]
    assert keys and all(key.startswith("shared.") for key in keys)
    plain = sum(p.numel() for p in create_backbone("resnet20", num_classes=5).parameters())
    spem = sum(4 * c + 2 for c in (16, 32, 64))
    assert sum(p.numel() for p in net.parameters()) == plain + spem
    modules = [module for *_, module in iter_attention(net)]
    assert len(modules) == 9 and len({id(m) for m in modules}) == 3
    # p = (0.5, 0.5): 0.5 for each of three modules
    assert float(collect_aux_loss(net).detach()) == pytest.approx(1.5)


def test_a_shared_module_learns_from_all_its_blocks() -> None:
    net = attach(create_backbone("resnet20", num_classes=5), "share(se)")
    net(images()).sum().backward()
    assert all(p.grad is not None for p in net.shared.parameters())


@pytest.mark.parametrize("arch", ["resnet20", "torchvision:resnet18", "timm:resnet18"])
@pytest.mark.parametrize("module", ["se", "dia", "share(se)", "stepnet"])
def test_a_deepcopy_is_independent(arch: str, module: str) -> None:
    net = attach(build(arch), module)
    net(images()).sum().backward()  # a graph left in a state could not be copied
    copy = deepcopy(net).eval()
    x = images()
    with torch.no_grad():
        expected = net(x)
        for p in net.parameters():
            p.zero_()
        assert torch.equal(copy(x), expected)
    mine = {id(p) for p in net.parameters()}
    assert all(
        id(p) not in mine for *_, module in iter_attention(copy) for p in module.parameters()
    )
    held = [m.held[0] for m in copy.modules() if isinstance(m, OneOfStage)]
    assert all(any(h is m for m in copy.shared.values()) for h in held)


def test_an_average_of_weights_covers_attention() -> None:
    net = attach(build("torchvision:resnet18"), "ie")
    average = torch.optim.swa_utils.AveragedModel(net)
    with torch.no_grad():
        net.layer1[0].bn2.attn.w.fill_(2.0)
    average.update_parameters(net)  # the first update copies
    assert float(average.module.layer1[0].bn2.attn.w.detach().mean()) == 2.0


@pytest.mark.parametrize("module", ["lsas(eca)", "dia", "bam"])
@pytest.mark.parametrize("arch", ["resnet8", "torchvision:resnet18"])
def test_a_net_with_attention_can_be_exported(arch: str, module: str) -> None:
    net = attach(build(arch), module)
    x = images(64)  # BAM dilates a 4x4 map or larger
    exported = torch.export.export(net, (x,))
    torch.testing.assert_close(exported.module()(x), net(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("arch", ["resnet8", "torchvision:resnet18", "timm:resnet18"])
def test_weights_survive_a_round_trip_through_the_state_dict(arch: str) -> None:
    net = attach(build(arch), "dia", seed=1)
    other = attach(build(arch), "dia", seed=2)
    other.load_state_dict(net.state_dict())
    with torch.no_grad():
        assert torch.equal(net(images()), other(images()))


def test_pretrained_weights_still_load_after_attaching() -> None:
    state = torchvision.models.resnet18(num_classes=5).state_dict()
    net = attach(torchvision.models.resnet18(num_classes=5), "se")
    missing, unexpected = net.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(".attn." in key for key in missing)


# -- identity start and auxiliary losses -----------------------------------------------------------


def test_identity_start_has_a_gradient_at_once() -> None:
    net = attach(build("resnet8"), "spem", identity_start=True)
    net.train()(images(count=4)).square().sum().backward()
    modules = [module for *_, module in iter_attention(net)]
    assert all(isinstance(m, IdentityStart) for m in modules)
    assert all(bool(m.s.grad.abs().sum() > 0) for m in modules)


def test_identity_start_of_a_shared_module_is_one_per_stage() -> None:
    net = attach(build("resnet20"), "dia", identity_start=True)
    assert {"shared.1.s", "shared.2.s", "shared.3.s"} <= set(net.state_dict())


def test_auxiliary_losses_are_summed_over_blocks() -> None:
    with_loss = create_backbone("resnet164", num_classes=10, module="spem")
    # p = (0.5, 0.5) in each of 54 blocks
    assert float(collect_aux_loss(with_loss).detach()) == pytest.approx(27.0)
    without = collect_aux_loss(create_backbone("resnet8", num_classes=10, module="se"))
    assert without.shape == () and float(without) == 0


def test_new_modules_follow_device_dtype_and_mode() -> None:
    net = create_backbone("resnet8", num_classes=5).double().eval()
    attach(net, "sem(fc,eca,ie)", identity_start=True)
    assert {p.dtype for p in net.parameters()} == {torch.float64}
    assert not any(m.training for m in net.modules())
    assert net(images().double()).dtype == torch.float64


def test_a_network_inside_another_is_found() -> None:
    net = nn.Sequential(nn.Identity(), torchvision.models.resnet18(num_classes=5))
    attach(net, "dia")
    assert next(iter_attention(net))[0] == "1.layer1.0.attn"
    assert net(images()).shape == (2, 5)


def test_blocks_that_hold_nothing_are_mentioned(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("timm")
    with torch.device("meta"):
        net = build_quietly("timm:efficientnetv2_rw_t")
    residual_blocks(net)
    assert "2 residual blocks without a slot" in caplog.text


def test_a_subclass_of_a_block_is_not_taken_for_the_block() -> None:
    class Other(BasicBlock):
        def forward(self, x):
            return x

    with pytest.raises(UsageError, match="not supported"):
        records.residual_blocks(ResNet(Other, [1, 1, 1, 1]))
