"""Official checkpoints, synthesised under the official names, give the logits of their equations.

The forward below is written by hand from the official keys: it shares no code with the networks.
"""

import logging
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qr_cli.attention import official
from qr_cli.attention.backbones.create import create_backbone
from qr_cli.attention.create import create_attention
from qr_cli.attention.modules.contract import Ctx
from qr_cli.errors import WeightsError

State = dict[str, Tensor]
Gate = Callable[[State, str, Tensor], Tensor]  # state, prefix of the block, f -> gate
PLANES = (16, 32, 64)


# -- the official layout ---------------------------------------------------------------------------


def draw(*shape: int, scale: float = 0.2) -> Tensor:
    return scale * torch.randn(*shape)


def norm(state: State, prefix: str, channels: int) -> None:
    state[f"{prefix}.weight"] = 1 + draw(channels)
    state[f"{prefix}.bias"] = draw(channels)
    state[f"{prefix}.running_mean"] = draw(channels)
    state[f"{prefix}.running_var"] = 1 + torch.rand(channels)
    state[f"{prefix}.num_batches_tracked"] = torch.tensor(7)


def linear(state: State, prefix: str, inside: int, out: int, *, bias: bool = True) -> None:
    state[f"{prefix}.weight"] = draw(out, inside)
    if bias:
        state[f"{prefix}.bias"] = draw(out)


def conv(state: State, key: str, inside: int, out: int, side: int) -> None:
    state[key] = draw(out, inside, side, side, scale=math.sqrt(2 / (inside * side * side)))


def checkpoint(
    add: Callable[[State, str, int], None], *, last_only: bool = False, blocks: int = 1
) -> State:
    """A bottleneck CIFAR net of official names; `add` writes the attention of one block."""
    torch.manual_seed(0)
    state: State = {}
    conv(state, "conv1.weight", 3, 16, 3)
    norm(state, "bn1", 16)
    inside = 16
    for stage, planes in enumerate(PLANES, 1):
        for index in range(blocks):
            prefix = f"layer{stage}.{index}."
            conv(state, f"{prefix}conv1.weight", inside, planes, 1)
            norm(state, f"{prefix}bn1", planes)
            conv(state, f"{prefix}conv2.weight", planes, planes, 3)
            norm(state, f"{prefix}bn2", planes)
            conv(state, f"{prefix}conv3.weight", planes, 4 * planes, 1)
            norm(state, f"{prefix}bn3", 4 * planes)
            if index == 0:
                conv(state, f"{prefix}downsample.0.weight", inside, 4 * planes, 1)
                norm(state, f"{prefix}downsample.1", 4 * planes)
            if stage == 3 or not last_only:
                add(state, prefix, 4 * planes)
            inside = 4 * planes
    linear(state, "fc", 256, 10)
    return state


def bn(state: State, prefix: str, x: Tensor) -> Tensor:
    mean, var = state[f"{prefix}.running_mean"], state[f"{prefix}.running_var"]
    return F.batch_norm(x, mean, var, state[f"{prefix}.weight"], state[f"{prefix}.bias"])


def affine(state: State, prefix: str, u: Tensor) -> Tensor:
    return F.linear(u, state[f"{prefix}.weight"], state.get(f"{prefix}.bias"))


def forward(state: State, x: Tensor, gate: Gate, *, blocks: int = 1, bn3: str = "bn3") -> Tensor:
    x = F.relu(bn(state, "bn1", F.conv2d(x, state["conv1.weight"], padding=1)))
    for stage in (1, 2, 3):
        for index in range(blocks):
            p = f"layer{stage}.{index}."
            stride = 2 if stage > 1 and index == 0 else 1
            f = F.relu(bn(state, f"{p}bn1", F.conv2d(x, state[f"{p}conv1.weight"])))
            f = F.conv2d(f, state[f"{p}conv2.weight"], stride=stride, padding=1)
            f = F.conv2d(F.relu(bn(state, f"{p}bn2", f)), state[f"{p}conv3.weight"])
            f = bn(state, f"{p}{bn3}", f)
            if index == 0:
                x = F.conv2d(x, state[f"{p}downsample.0.weight"], stride=stride)
                x = bn(state, f"{p}downsample.1", x)
            x = F.relu(x + f * gate(state, p, f))
    return affine(state, "fc", x.mean((2, 3)))


def column(u: Tensor) -> Tensor:
    return u[:, :, None, None]


def bottleneck(state: State, prefix: str, u: Tensor, first: str = "fc1", last: str = "fc2"):
    return affine(state, prefix + last, F.relu(affine(state, prefix + first, u)))


# -- attention of the families ---------------------------------------------------------------------


def add_se(state: State, p: str, c: int) -> None:
    linear(state, f"{p}fc1", c, c // 16)
    linear(state, f"{p}fc2", c // 16, c)


def gate_se(state: State, p: str, f: Tensor) -> Tensor:
    return column(torch.sigmoid(bottleneck(state, p, f.mean((2, 3)))))


def add_se_imagenet(state: State, p: str, c: int) -> None:
    linear(state, f"{p}se.fc.0", c, c // 16)
    linear(state, f"{p}se.fc.2", c // 16, c)


def gate_se_imagenet(state: State, p: str, f: Tensor) -> Tensor:
    v = bottleneck(state, p, f.mean((2, 3)), "se.fc.0", "se.fc.2")
    return column(torch.sigmoid(v))


def add_lsas(order: int) -> Callable[[State, str, int], None]:
    def add(state: State, p: str, c: int) -> None:
        add_se(state, p, c)
        for i in range(1, order + 1):
            suffix = "" if i == 1 else str(i)
            state[f"{p}w{suffix}"] = 0.5 + draw(1, c, 1, 1)
            state[f"{p}b{suffix}"] = -0.5 + draw(1, c, 1, 1)

    return add


def gate_lsas(order: int) -> Gate:
    def gate(state: State, p: str, f: Tensor) -> Tensor:
        if f"{p}fc1.weight" not in state:
            return torch.ones(())
        v = column(bottleneck(state, p, f.mean((2, 3))))
        out = torch.sigmoid(v)
        for i in range(1, order + 1):
            suffix = "" if i == 1 else str(i)
            v = state[f"{p}w{suffix}"] * v + state[f"{p}b{suffix}"]
            out = out * torch.sigmoid(v)
        return out

    return gate


def add_lsas_imagenet(state: State, p: str, c: int) -> None:
    add_se_imagenet(state, p, c)
    state[f"{p}se.w"] = 0.5 + draw(1, c, 1, 1)
    state[f"{p}se.b"] = -0.5 + draw(1, c, 1, 1)


def gate_lsas_imagenet(state: State, p: str, f: Tensor) -> Tensor:
    if f"{p}se.w" not in state:
        return torch.ones(())
    v = column(bottleneck(state, p, f.mean((2, 3)), "se.fc.0", "se.fc.2"))
    return torch.sigmoid(v) * torch.sigmoid(state[f"{p}se.w"] * v + state[f"{p}se.b"])


def add_sem(state: State, p: str, c: int) -> None:
    add_se(state, p, c)
    linear(state, f"{p}switch_fc", c, 3)
    size = {64: 3, 128: 5, 256: 5}[c]
    state[f"{p}conv.weight"] = draw(1, 1, size)
    state[f"{p}w1"], state[f"{p}b1"] = draw(1, c, 1, 1), draw(1, c, 1, 1) - 1


def gate_sem(state: State, p: str, f: Tensor) -> Tensor:
    u = f.mean((2, 3))
    switch = torch.sigmoid(affine(state, f"{p}switch_fc", u))
    kernel = state[f"{p}conv.weight"]
    outputs = (
        bottleneck(state, p, u),
        F.conv1d(u[:, None], kernel, padding=kernel.shape[2] // 2)[:, 0],
        state[f"{p}w1"].flatten() * u + state[f"{p}b1"].flatten(),
    )
    gate = torch.ones_like(u)
    for j, out in enumerate(outputs):
        gate = gate * torch.sigmoid(switch[:, j : j + 1] * out)
    return column(gate)


def add_spem(state: State, p: str, c: int) -> None:
    for name in ("w1", "w2", "b1", "b2"):
        state[f"{p}{name}"] = draw(1, c, 1, 1)
    state[f"{p}p"] = torch.tensor([0.8, 0.3])


def gate_spem(state: State, p: str, f: Tensor) -> Tensor:
    high = state[f"{p}w2"] * f.amax((2, 3), keepdim=True) + state[f"{p}b2"]
    low = state[f"{p}w2"] * f.amin((2, 3), keepdim=True) + state[f"{p}b2"]
    q = state[f"{p}p"].square() / state[f"{p}p"].square().sum()
    mixed = q[0] * high + q[1] * low
    return torch.sigmoid(high + low) * torch.sigmoid(state[f"{p}w1"] * mixed + state[f"{p}b1"])


def add_ras(state: State, p: str, c: int) -> None:
    state[f"{p}w"], state[f"{p}b"] = draw(1, c, 1, 1), draw(1, c, 1, 1) - 1
    norm(state, f"{p}bn4", c)


def gate_ras(state: State, p: str, f: Tensor) -> Tensor:
    w, b = state[f"{p}w"], state[f"{p}b"]
    z = w * f.mean((2, 3), keepdim=True) + b
    return torch.sigmoid(w * bn(state, f"{p}bn4", z) + b)


def add_asr(state: State, p: str, c: int) -> None:
    for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        state[f"{p}bn3.bn.{name}"] = state.pop(f"{p}bn3.{name}")
    state[f"{p}bn3.vector"] = 0.1 + draw(1, c, 1, 1)
    linear(state, f"{p}bn3.attention_module.fc1", c, c // 16)
    linear(state, f"{p}bn3.attention_module.fc2", c // 16, c)


def gate_asr(state: State, p: str, f: Tensor) -> Tensor:
    inner = f"{p}bn3.attention_module."
    return column(torch.sigmoid(bottleneck(state, inner, state[f"{p}bn3.vector"].flatten(1))))


def add_asr_and_se(state: State, p: str, c: int) -> None:
    add_asr(state, p, c)
    add_se(state, f"{p}attention_module.", c)


def gate_asr_and_se(state: State, p: str, f: Tensor) -> Tensor:
    f = f * gate_asr(state, p, f)
    return gate_asr(state, p, f) * gate_se(state, f"{p}attention_module.", f)


FAMILIES = [
    ("none", "none", lambda state, p, c: None, lambda state, p, f: torch.ones(()), {}),
    ("se", "se", add_se, gate_se, {}),
    ("se", "se", add_se_imagenet, gate_se_imagenet, {}),
    *(
        ("lsas", f"lsas(se,order={n})", add_lsas(n), gate_lsas(n), {"last_only": True})
        for n in (1, 2, 5)
    ),
    ("lsas", "lsas(se)", add_lsas_imagenet, gate_lsas_imagenet, {"last_only": True}),
    ("sem", "sem(fc,eca,ie)", add_sem, gate_sem, {}),
    ("spem", "spem", add_spem, gate_spem, {}),
    ("ras", "ras", add_ras, gate_ras, {}),
    ("asr", "asr(se)", add_asr, gate_asr, {"bn3": "bn3.bn"}),
    ("asr", "asr(se)+se", add_asr_and_se, gate_asr_and_se, {"bn3": "bn3.bn"}),
]


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize(("family", "module", "add", "gate", "options"), FAMILIES)
@torch.no_grad()
def test_an_official_checkpoint_gives_the_official_logits(
    tmp_path: Path, prefix: str, family: str, module: str, add, gate: Gate, options: dict
) -> None:
    last_only, bn3 = options.get("last_only", False), options.get("bn3", "bn3")
    state = checkpoint(add, last_only=last_only)
    assert official.recognize(state) == family
    file = tmp_path / "official.pth"
    torch.save({"state_dict": {prefix + key: value for key, value in state.items()}}, file)
    net = create_backbone(
        "resnet11", num_classes=10, module=module, weights=f"official:{file}", identity_start="no"
    ).eval()
    x = torch.randn(3, 3, 32, 32)
    # float32 through eleven layers, another order of sums
    torch.testing.assert_close(net(x), forward(state, x, gate, bn3=bn3), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_an_official_dia_checkpoint_gives_the_official_logits(tmp_path: Path) -> None:
    state = checkpoint(lambda state, p, c: None, blocks=2)
    renamed = {}
    for key, value in state.items():
        stage, dot, rest = key.partition(".")
        renamed[f"{stage}.ModuleList.{rest}" if key.startswith("layer") else key] = value
    for stage, c in ((1, 64), (2, 128), (3, 256)):
        for way in ("w_ih", "w_hh"):
            linear(renamed, f"layer{stage}.lstm.{way}.0.seq.0", c, c // 4)
            linear(renamed, f"layer{stage}.lstm.{way}.0.seq.2", c // 4, 4 * c)
    memory: dict[str, tuple[Tensor, Tensor]] = {}

    def gate(_: State, p: str, f: Tensor) -> Tensor:
        stage, u = p.partition(".")[0], f.mean((2, 3))
        h, c = memory.get(stage, (torch.zeros_like(u), torch.zeros_like(u)))
        lstm = f"{stage}.lstm."
        total = bottleneck(renamed, f"{lstm}w_ih.0.", u, "seq.0", "seq.2")
        total = total + bottleneck(renamed, f"{lstm}w_hh.0.", h, "seq.0", "seq.2")
        i, forget, g, o = total.chunk(4, 1)
        c = torch.sigmoid(forget) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.sigmoid(c)
        memory[stage] = (h, c)
        return column(h)

    file = tmp_path / "official.pth"
    torch.save(renamed, file)
    net = create_backbone(
        "resnet20(block=bottleneck)", num_classes=10, module="dia", weights=f"official:{file}"
    ).eval()
    x = torch.randn(3, 3, 32, 32)
    expected = forward(state, x, gate, blocks=2)
    torch.testing.assert_close(net(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("arch", "child"), [("resnet50", "bn3.attn"), ("timm:resnet50", "se")])
def test_an_official_imagenet_checkpoint_finds_its_places(
    tmp_path: Path, arch: str, child: str
) -> None:
    if arch.startswith("timm:"):
        pytest.importorskip("timm")
    source = create_backbone(arch, num_classes=10, module="se", stages="last")
    names = {f"{child}.fc1": "se.fc.0", f"{child}.fc2": "se.fc.2"}
    state = {}
    for key, tensor in source.state_dict().items():
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        state[key] = tensor
    torch.save(state, tmp_path / "w.pth")
    net = create_backbone(
        arch,
        num_classes=10,
        module="se",
        stages="last",
        weights=f"official:{tmp_path / 'w.pth'}",
        seed=9,
    )
    loaded = net.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in source.state_dict().items())


def test_official_weights_without_attention_start_new_attention_as_the_identity(
    tmp_path: Path,
) -> None:
    state = checkpoint(lambda state, p, c: None)
    torch.save(state, tmp_path / "w.pth")
    net = create_backbone(
        "resnet11", num_classes=10, module="spem", weights=f"official:{tmp_path / 'w.pth'}"
    ).eval()
    x = torch.randn(2, 3, 32, 32)
    expected = forward(state, x, lambda *_: torch.ones(()))
    torch.testing.assert_close(net(x), expected, rtol=1e-4, atol=1e-4)


def test_a_folded_asr_checkpoint_is_read_as_a_plain_net() -> None:
    state = checkpoint(lambda state, p, c: None)
    folded = {key.replace(".bn3.", ".bn3.fused_bn."): value for key, value in state.items()}
    translated, family = official.translate(folded)
    assert family == "asr"
    assert set(translated) == set(state)


def test_a_fused_norm_that_is_not_the_product_is_mentioned(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def add(state: State, p: str, c: int) -> None:
        add_asr(state, p, c)
        gate = gate_asr(state, p, torch.empty(0)).flatten()
        for name in ("weight", "bias"):
            state[f"{p}bn3.fused_bn.{name}"] = state[f"{p}bn3.bn.{name}"] * gate

    state = checkpoint(add)
    with caplog.at_level(logging.WARNING):
        official.translate(state)
        assert not caplog.text
        state["layer2.0.bn3.fused_bn.bias"] += 0.1
        official.translate(state)
    assert "layer2.0.bn3.fused_bn.bias" in caplog.text


def test_an_unknown_family_names_the_signs_looked_for() -> None:
    state = checkpoint(lambda state, p, c: state.update({f"{p}mystery.weight": draw(c)}))
    with pytest.raises(WeightsError, match="no known official family") as caught:
        official.translate(state)
    assert caught.value.exit_code == 4
    assert "switch_fc" in str(caught.value.hint)


# -- modules alone ---------------------------------------------------------------------------------

C = 32
ALONE = {
    "cbam": {
        "fc1": "ChannelGate.mlp.1",
        "fc2": "ChannelGate.mlp.3",
        "conv": "SpatialGate.spatial.conv",
        "bn": "SpatialGate.spatial.bn",
    },
    "bam": {
        "channel.fc1": "channel_att.gate_c.gate_c_fc_0",
        "channel.bn": "channel_att.gate_c.gate_c_bn_1",
        "channel.fc2": "channel_att.gate_c.gate_c_fc_final",
        "spatial.reduce": "spatial_att.gate_s.gate_s_conv_reduce0",
        "spatial.bn0": "spatial_att.gate_s.gate_s_bn_reduce0",
        "spatial.conv1": "spatial_att.gate_s.gate_s_conv_di_0",
        "spatial.bn1": "spatial_att.gate_s.gate_s_bn_di_0",
        "spatial.conv2": "spatial_att.gate_s.gate_s_conv_di_1",
        "spatial.bn2": "spatial_att.gate_s.gate_s_bn_di_1",
        "spatial.out": "spatial_att.gate_s.gate_s_conv_final",
    },
    "srm": {},
    "eca": {},
    "spa": {"fc1": "fc.0", "fc2": "fc.2"},
    "fca": {"fc1": "fc.0", "fc2": "fc.2"},
}


@pytest.mark.parametrize("name", ALONE)
@torch.no_grad()
def test_a_single_official_module_fills_ours(name: str) -> None:
    source, target = (create_attention(name, C, seed=seed).eval() for seed in (1, 2))
    for parameter in source.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    state = {}
    for key, tensor in source.state_dict().items():
        head, _, leaf = key.rpartition(".")
        state[f"{ALONE[name][head]}.{leaf}" if head in ALONE[name] else key] = tensor
    if name == "fca":
        state["dct_layer.weight"] = torch.zeros(C, 7, 7)
    official.load_official(target, state)
    x = torch.randn(2, C, 9, 7)
    assert torch.equal(source(x, Ctx()), target(x, Ctx()))


def test_a_single_module_of_another_width_is_refused() -> None:
    small, large = create_attention("spa", 32), create_attention("spa", 64)
    state = {key.replace("fc1", "fc.0"): value for key, value in small.state_dict().items()}
    with pytest.raises(WeightsError, match=r"of another size \['fc1.weight'"):
        official.load_official(large, state)
    with pytest.raises(WeightsError, match="missing"):
        official.load_official(large, {})
    assert isinstance(large, nn.Module)
