"""Whole networks: what is folded, what is not and why, and that the function stays."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import qr_cli as qr
from qr_cli.attention.backbones.create import create_backbone
from qr_cli.attention.insert import attach
from qr_cli.errors import RunFailed
from qr_cli.reparam import algebra
from qr_cli.reparam.folding import fold
from qr_cli.reparam.planning import plan
from qr_cli.reparam.verifying import require, verify
from tests.reparam.nets import Gate, distance, drawn, small

X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(5))


def rows(net: nn.Module, example: torch.Tensor = X, **options) -> dict:
    return {step.module: step for step in plan(net, example, **options)}


def folds(net: nn.Module, x: torch.Tensor, **options):
    """Fold, and require equality in float64 and float32."""
    result = fold(net, x, **options)
    before = net.eval().double()
    assert distance(before, result.exact, x.double()) <= 1e-10
    net.float()
    assert distance(net, result.model, x) <= 1e-5
    return result


MODULES = [
    ("asr(se)", 1),
    ("asr(eca)", 1),
    ("asr(ie)", 1),
    ("asr(lsas(se))", 1),
    ("asr(sem(fc,eca,ie))", 1),
    ("asr(spem)", 1),
    ("asr(spa)", 1),
    ("asr(fca)", 1),
    ("asr(se,delta=3)", 1),
    ("asr(se,alive=true)", 1),
]


@pytest.mark.parametrize(("module", "count"), MODULES)
def test_asr_of_every_inner_module_folds_into_the_plain_backbone(module: str, count: int) -> None:
    net = small(module)
    result = folds(net, X)
    assert len([s for s in result.folded if s.rule == "conv+bn>gate"]) == 3 * count
    plain = create_backbone("resnet8", num_classes=10).eval()
    plain.load_state_dict(result.plain_state, strict=True)
    assert distance(net, plain, X) <= 1e-5
    assert sum(p.numel() for p in result.plain.parameters()) == sum(
        p.numel() for p in plain.parameters()
    )


@pytest.mark.parametrize("srp", ["repvgg", "acnet", "dbb", "mobileone", "orepa"])
@pytest.mark.parametrize("module", ["none", "asr(se)"])
def test_blocks_fold_with_and_without_asr_on_top(srp: str, module: str) -> None:
    net = small(module, srp=srp)
    result = folds(net, X)
    rules = [step.rule for step in result.folded]
    assert rules.count("branches") == 6
    assert rules.count("branches>gate") == (3 if module == "asr(se)" else 0)
    plain = create_backbone("resnet8", num_classes=10).eval()
    plain.load_state_dict(result.plain_state, strict=True)
    assert distance(net, plain, X) <= 1e-5


def test_attention_behind_asr_stays_and_sees_the_same_numbers() -> None:
    result = folds(small("asr(se)+se"), X)
    assert result.plain_state is None and "looks at its input" in result.plain_reason
    assert [s.reason for s in result.steps if s.status == "keep"] == ["input-dependent"] * 3
    assert "layer1.0.attn.fc1.weight" in result.model.state_dict()


def test_identity_start_is_part_of_the_constant() -> None:
    net = create_backbone("resnet8", num_classes=10, module="asr(se)", identity_start=True)
    drawn(net)
    for name, p in net.named_parameters():
        if name.endswith("attn.s"):
            nn.init.normal_(p)
    assert len([s for s in folds(net, X).folded if "gate" in s.rule]) == 3


def test_keep_bn_gives_the_plain_form_and_a_second_fold_finds_nothing() -> None:
    result = folds(small(), X, keep_bn=True)
    assert {s.rule for s in result.folded} == {"gate>bn"}
    assert not [s for s in plan(result.model, X, keep_bn=True) if s.status == "fold"]
    bare = fold(small(), X)
    assert not plan(bare.model, X)


def test_the_network_itself_is_not_touched_and_may_be_in_training_mode() -> None:
    net = small().train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    result = fold(net, X)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert net.training and not result.model.training
    assert distance(net.eval(), result.model, X) <= 1e-5


class Shared(nn.Module):
    """One convolution, two batch norms."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.one, self.two = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.one(self.conv(x)) + self.two(self.conv(x + 1))


class Tied(nn.Module):
    """Two convolutions with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.b.weight = self.a.weight
        self.bn = nn.BatchNorm2d(3)

    def forward(self, x):
        return self.bn(self.a(x)) + self.b(x)


class Twice(nn.Module):
    """A convolution whose output is read again."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

    def forward(self, x):
        y = self.conv(x)
        return self.bn(y) + y


class PairTwice(nn.Module):
    """A pair that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.bn(self.conv(torch.relu(self.bn(self.conv(x)))))


class Returned(nn.Module):
    """A convolution whose output is an output of the network."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

    def forward(self, x):
        y = self.conv(x)
        return {"features": y, "out": (self.bn(y),)}


class Branching(nn.Module):
    """Operations that depend on values."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.calls = 0

    def forward(self, x):
        y = self.bn(self.conv(x))
        return torch.relu(y) if x.shape[0] == 3 else y


class InPlace(nn.Module):
    """An operation in place between the two."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

    def forward(self, x):
        y = self.conv(x)
        y.relu_()
        return self.bn(y)


@pytest.mark.parametrize(
    ("net", "name", "reason"),
    [
        (Shared(), "one", "shared"),
        (Tied(), "bn", "shared"),
        (Twice(), "bn", "used-twice"),
        (PairTwice(), "bn", "shared"),
        (Returned(), "bn", "used-twice"),
        (InPlace(), "bn", "no-conv"),
        (Branching(), "bn", "dynamic-graph"),
        (nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()), "0", "no-conv"),
        (nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False)),
         "1", "no-stats"),
    ],
    ids=lambda v: v if isinstance(v, str) else type(v).__name__,
)  # fmt: skip
def test_what_cannot_be_folded_stays_and_says_why(net, name: str, reason: str) -> None:
    drawn(net)
    step = rows(net)[name]
    assert (step.status, step.reason) == ("keep", reason)
    result = fold(net, X)
    before, after = net(X), result.model(X)
    for a, b in zip(_leaves(before), _leaves(after), strict=True):
        torch.testing.assert_close(a, b)


def _leaves(out):
    from torch.utils._pytree import tree_leaves

    return tree_leaves(out)


def test_a_computed_weight_is_left_alone() -> None:
    class Standardized(nn.Conv2d):
        def forward(self, x):
            w = self.weight
            return F.conv2d(x, w - w.mean((1, 2, 3), keepdim=True), self.bias, padding=1)

    net = drawn(nn.Sequential(Standardized(3, 3, 3), nn.BatchNorm2d(3)))
    assert rows(net)["1"].reason == "no-conv"


def gated(*layers: nn.Module) -> nn.Module:
    return drawn(nn.Sequential(*layers))


@pytest.mark.parametrize(
    ("net", "rule"),
    [
        (gated(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), Gate(4)), "conv+bn>gate"),
        (gated(nn.Conv2d(3, 4, 3), Gate(4)), "gate>conv"),
        (gated(nn.ConvTranspose2d(3, 4, 3), nn.BatchNorm2d(4), Gate(4)), "conv+bn>gate"),
        (gated(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), Gate(4)), "gate>bn"),
        (gated(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(True), Gate(4)), "gate>act"),
        (gated(nn.Conv2d(3, 4, 3), nn.PReLU(4), Gate(4)), "gate>act"),
        (gated(nn.Conv2d(3, 4, 3), nn.SiLU(), Gate(4), nn.Conv2d(4, 6, 3, groups=2)), "gate>next"),
        (gated(nn.Conv2d(3, 4, 3), nn.ReLU6(), Gate(4),
               nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect")), "gate>next"),
        (gated(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4), Gate(4)), "gate>linear"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)  # fmt: skip
def test_a_third_partys_constant_gate_folds_by_its_rule(net: nn.Module, rule: str) -> None:
    name = next(n for n, m in net.named_modules() if isinstance(m, Gate))
    assert rows(net)[name].rule == rule
    result = folds(net, X)
    assert not any("raw" in key for key in result.model.state_dict())


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (gated(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.SiLU(), Gate(4)), "activation"),
        (gated(nn.Conv2d(3, 4, 3), nn.ReLU6(), Gate(4)), "activation"),
        (gated(nn.Conv2d(3, 4, 3), nn.ReLU(), Gate(4, sign=-1)), "activation"),
        (gated(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), Gate(4)), "no-carrier"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_a_gate_that_nothing_carries_becomes_a_factor(net: nn.Module, reason: str) -> None:
    name = next(n for n, m in net.named_modules() if isinstance(m, Gate))
    assert rows(net)[name].reason == reason
    result = folds(net, X)
    assert result.plain_state is None and "factor" in result.plain_reason
    assert f"{name}.scale" in result.model.state_dict()


def test_a_batch_norm_without_gamma_carries_no_gate_when_it_must_stay() -> None:
    net = gated(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False), Gate(4))
    assert rows(net, keep_bn=True)["2"].reason == "no-affine"
    folds(net, X, keep_bn=True)
    result = folds(net, X)
    assert result.plain_state is None


def test_transformer_attention_is_named_and_kept() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attn = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x):
            return self.attn(x, x, x, need_weights=True)[0]

    steps = plan(Tokens(), torch.randn(2, 5, 8))
    assert [(s.module, s.reason) for s in steps] == [("attn", "token")]


@pytest.mark.parametrize("arch", ["torchvision:resnet18", "timm:resnet10t", "timm:mobilenetv2_035"])
def test_networks_of_libraries_fold_into_their_own_strict_names(arch: str) -> None:
    net = drawn(create_backbone(arch, num_classes=7, module="asr(se)"))
    result = folds(net, X)
    assert not [s for s in result.steps if s.status == "keep"]
    plain = create_backbone(arch, num_classes=7).eval()
    plain.load_state_dict(result.plain_state, strict=True)
    assert distance(net, plain, X) <= 1e-5


def test_blocks_that_fold_themselves_are_folded_and_checked() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
            self.folded = False

        def forward(self, x):
            return self.a(x) if self.folded else self.a(x) + self.b(x)

        def reparameterize(self):
            self.a.weight.add_(self.b.weight)
            self.a.bias.add_(self.b.bias)
            self.folded = True
            del self.b

    net = drawn(nn.Sequential(Own(), nn.BatchNorm2d(4)))
    result = folds(net, X)
    assert [s.rule for s in result.folded] == ["own", "conv+bn"]


def test_thirty_steps_of_training_then_a_fold() -> None:
    torch.manual_seed(0)
    net = create_backbone("resnet8", num_classes=4, module="asr(se)", srp="repvgg")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for _ in range(30):
        x, y = torch.randn(16, 3, 16, 16), torch.randint(4, (16,))
        loss = F.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    check = verify(net, fold(net, X), X)
    assert check.ok and check.float64 <= 1e-10 and check.native <= 1e-5


SABOTAGE = {
    "eps forgotten": ("conv_norm", lambda w, b, n, **k: CONV_NORM(w, b, _without_eps(n), **k)),
    "bias dropped": ("conv_norm", lambda w, b, n, **k: _no_bias(CONV_NORM(w, b, n, **k))),
    "v squared": ("scale_affine", lambda g, b, v: SCALE_AFFINE(g, b, v * v)),
    "beta not scaled": ("scale_affine", lambda g, b, v: (g * v, b)),
}
CONV_NORM, SCALE_AFFINE = algebra.conv_norm, algebra.scale_affine


def _without_eps(norm):
    return algebra.Norm(norm.gamma, norm.beta, norm.mean, norm.var, 0.0)


def _no_bias(kernel):
    return algebra.Kernel(kernel.weight, torch.zeros_like(kernel.bias))


@pytest.mark.parametrize("name", SABOTAGE)
def test_a_wrong_rule_is_found_and_its_first_site_named(name: str, monkeypatch) -> None:
    target, wrong = SABOTAGE[name]
    monkeypatch.setattr(algebra, target, wrong)
    net = small()
    check = verify(net, fold(net, X), X)
    assert not check.ok
    assert check.first_bad is not None
    with pytest.raises(RunFailed, match="not equal.*first site"):
        require(check)


def test_the_public_functions_are_where_the_manual_says() -> None:
    net = attach(drawn(create_backbone("resnet8", num_classes=10)), "asr(se)")
    steps = qr.reparam.plan(net, X)
    result = qr.reparam.fold(net, X, keep_bn=False)
    assert [s.module for s in steps] == [s.module for s in result.steps]
    assert qr.reparam.verify(net, result, X).ok
