"""Steps of the blocks, the pass that measures them, and the untrained control beside them."""

import pytest
import torch

from qr_cli.attention.backbones.create import create_backbone
from qr_cli.attention.block_plots import operators_plot, stiffness_plots
from qr_cli.attention.control import is_settled, settle, untrained
from qr_cli.attention.correlation import spearman
from qr_cli.attention.insert import residual_blocks
from qr_cli.attention.stiffness import Passage, collect, contrast, likeness, nsi, stiffness, study
from qr_cli.attention.switches import sem_switches
from qr_cli.attention.trace import Batches, seats, watch
from qr_cli.engine.figures import DARK, LIGHT, render
from qr_cli.errors import UsageError

IMAGES = torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(1))
BATCHES = [(part, torch.zeros(len(part), dtype=torch.long)) for part in IMAGES.split(10)]


def maps(offset: float) -> torch.Tensor:
    b, c, i, j = torch.meshgrid(*map(torch.arange, (3, 4, 4, 4)), indexing="ij")
    return torch.sin(0.7 * b + 0.3 * c + 0.5 * i + 0.9 * j.double() + offset)


def network(module: str = "se", arch: str = "resnet14", seed: int = 0):
    """A settled network with a card, as `load` gives it."""
    net = create_backbone(arch, num_classes=3, module=module, seed=seed)
    net.card = {"arch": arch, "module": module, "stages": "auto", "blocks": None, "place": "auto",
                "identity_start": False, "num_classes": 3, "seed": seed}  # fmt: skip
    return settle(net, BATCHES)


def passage(stage: int, index: int, value: float, stages: int = 2) -> Passage:
    nsi = torch.full((4,), value, dtype=torch.float64)
    return Passage(f"layer{stage}.{index}", stage, stages, index, nsi, None, None)


def test_nsi_of_the_maps_of_the_oracle():
    expected = torch.tensor([0.65536039, 0.66701811, 0.71023330], dtype=torch.float64)
    torch.testing.assert_close(nsi(maps(0.2), maps(0.9)), expected, rtol=0, atol=1e-8)


def test_doubling_is_a_step_of_one_and_standing_still_of_none():
    x = maps(0.2)
    torch.testing.assert_close(nsi(x, 2 * x), torch.ones(3, dtype=torch.float64))
    assert torch.equal(nsi(x, x), torch.zeros(3, dtype=torch.float64))


def test_nsi_does_not_depend_on_the_scale():
    x, y = maps(0.2), maps(0.9)
    torch.testing.assert_close(nsi(1e3 * x, 1e3 * y), nsi(x, y), rtol=0, atol=1e-12)


def test_an_empty_map_gives_a_finite_step():
    assert torch.isfinite(nsi(torch.zeros(1, 2, 2, 2), torch.ones(1, 2, 2, 2))).all()


def test_only_blocks_with_an_identity_shortcut_are_steps():
    found = stiffness(network(), IMAGES)
    assert list(found) == ["layer1.0", "layer1.1", "layer2.1", "layer3.1"]
    assert all(values.shape == (24,) and values.dtype == torch.float64 for values in found.values())


def test_a_network_without_an_inner_block_is_refused():
    with pytest.raises(UsageError, match="identity shortcut"):
        stiffness(network(arch="resnet11"), IMAGES)


@pytest.mark.parametrize("arch", ["resnet14", "torchvision:resnet18", "timm:resnet10t"])
@pytest.mark.parametrize("module", ["none", "se", "stepnet"])
def test_a_block_whose_branch_is_zero_does_not_move(arch, module):
    net = network(module, arch)
    for block in residual_blocks(net):
        torch.nn.init.zeros_(block.module.get_submodule(block.last_norm).weight)
        torch.nn.init.zeros_(block.module.get_submodule(block.last_norm).bias)
    for at in ("relu", "pre-act"):
        for values in stiffness(net, IMAGES[:2], at=at).values():
            assert torch.equal(values, torch.zeros(2, dtype=torch.float64))


@pytest.mark.parametrize("arch", ["resnet14", "torchvision:resnet18", "timm:resnet10t"])
@pytest.mark.parametrize("module", ["none", "se", "stepnet", "dia"])
def test_the_map_after_the_activation_is_that_before_it_cut_at_zero(arch, module):
    net, after, before = network(module, arch), {}, {}
    for seen, at in ((after, "relu"), (before, "pre-act")):
        with watch(net, step=lambda s, seen=seen: seen.update({s.block.name: s.y.clone()}), at=at):
            net(IMAGES[:4])
    assert after and list(after) == list(before)
    for name in after:
        assert torch.equal(after[name], before[name].relu())
        assert (before[name] < 0).any() or arch.startswith("timm")  # timm starts branches at zero


@pytest.mark.parametrize("module", ["se", "dia", "bam", "share(sge)", "asr(se)+se", "sem(fc,eca)"])
def test_a_look_changes_nothing_and_leaves_nothing_behind(module):
    net = network(module)
    net.layer1.train()
    modes = [m.training for m in net.modules()]
    state = {key: value.clone() for key, value in net.state_dict().items()}
    net.eval()
    before = net(IMAGES)
    with watch(net, step=lambda s: None, gate=lambda g: g.value()):
        inside = net(IMAGES)
    net.layer1.train()
    with pytest.raises(RuntimeError, match="stop"), watch(net, step=lambda s: None):
        raise RuntimeError("stop")
    assert torch.equal(before, inside)
    assert [m.training for m in net.modules()] == modes
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())


@pytest.mark.parametrize("module", ["se", "dia", "stepnet", "lsas", "ras", "sge"])
def test_the_gate_seen_is_the_gate_applied(module):
    net, seen = network(module), []
    with watch(net, gate=lambda g: seen.append((g.seat, g.f, g.value()))):
        outputs = []
        handles = [
            net.get_submodule(seat.name).register_forward_hook(
                lambda m, a, out: outputs.append(out)
            )
            for seat in seats(net)
        ]
        net(IMAGES[:4])
    for handle in handles:
        handle.remove()
    for (_, f, gate), out in zip(seen, outputs, strict=True):
        torch.testing.assert_close(gate * f, out, rtol=0, atol=1e-6)  # sge multiplies in groups


def test_records_have_the_keys_of_the_format():
    rows = list(study(network(), untrained(network()), BATCHES, run="se-s0"))
    keys = ["event", "run", "block", "stage", "index", "nsi_mean", "nsi_std", "control_mean",
            "step_std", "rho_gate_nsi", "at", "images"]  # fmt: skip
    assert list(rows[0]) == keys
    assert rows[0]["images"] == 24 and len(rows) == 5
    total = rows[-1]
    assert total["event"] == "stiffness_total" and len(total["contrast"]) == 3
    assert total["tns"] == pytest.approx(sum(r["nsi_mean"] for r in rows[:-1]) / 4)
    assert total["reference_r"] is None


def test_a_network_beside_its_own_start_is_its_control():
    net = network()
    for row in study(net, untrained(net), BATCHES, run="se-s0"):
        if row["event"] == "stiffness":
            assert row["nsi_mean"] == row["control_mean"]


def test_without_attention_there_is_no_coupling():
    net = network("none")
    rows = list(study(net, net, BATCHES, run="none-s0"))
    assert {row["rho_gate_nsi"] for row in rows} == {None} and rows[0]["step_std"] is None


def test_batches_that_can_be_read_once_are_refused():
    with pytest.raises(TypeError, match="more than once"):
        collect(network(), iter(BATCHES))


def test_batches_are_read_as_often_as_asked():
    batches = Batches(lambda indices, epoch: (IMAGES[indices], indices), 24, batch_size=10)
    first, again = (torch.cat([images for images, _ in batches]) for _ in range(2))
    assert torch.equal(first, IMAGES) and torch.equal(again, IMAGES)


def test_contrast_is_the_largest_over_the_median():
    assert contrast([1.0, 2.0, 6.0]) == 3.0
    assert contrast([1.0, 3.0]) == 1.5
    assert contrast([]) is None and contrast([0.0, 0.0]) is None


def test_spearman_by_hand():
    a = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert spearman(a, a.square()) == pytest.approx(1)
    assert spearman(a, torch.tensor([1.0, 3.0, 2.0, 4.0])) == pytest.approx(0.8)  # 1 - 6 2 / 60
    assert spearman(a, torch.tensor([1.0, 1.0, 2.0, 2.0])) == pytest.approx(2 / 5**0.5)
    assert spearman(a, torch.ones(4)) is None


def test_a_profile_is_like_itself_stretched_to_another_depth():
    ours = [passage(s, i, 0.1 * s + 0.2 * i) for s in (1, 2) for i in range(3)]
    theirs = [passage(s, i, 0.1 * s + 0.1 * i) for s in (1, 2) for i in range(5)]
    assert likeness(ours, theirs) == pytest.approx(1)
    assert likeness(ours, theirs[:6]) is None  # one inner block in the second stage


def test_a_reference_with_another_number_of_stages_is_refused():
    ours = [passage(s, i, 0.1 * i) for s in (1, 2) for i in range(2)]
    other = [passage(s, i, 0.1 * i, stages=3) for s in (1, 2, 3) for i in range(2)]
    with pytest.raises(UsageError, match="3 stages where the run has 2"):
        likeness(ours, other)


def test_the_control_is_the_start_of_the_run():
    net = network(seed=5)
    start = [p.clone() for p in net.parameters()]
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(1)
    control = untrained(net)
    assert all(torch.equal(a, b) for a, b in zip(start, control.parameters(), strict=True))
    assert not control.training and not is_settled(control)


def test_the_statistics_of_a_control_do_not_depend_on_how_the_probe_is_cut():
    images = torch.randn(257, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    cut, whole = (
        untrained(network("ras"), [(part, part) for part in images.split(size)])
        for size in (100, 257)
    )
    for key, value in cut.state_dict().items():
        assert torch.equal(value, whole.state_dict()[key]), key
    assert is_settled(cut) and cut.bn1.momentum == 0.1


@pytest.mark.parametrize("module", ["se", "asr(se,alive=true)"])
def test_a_network_without_a_card_gets_a_fresh_start_and_says_so(module, caplog):
    net = network(module, "torchvision:resnet18")
    del net.card
    first, again = untrained(net), untrained(net)
    assert "seed 0" in caplog.text
    pairs = list(zip(first.parameters(), again.parameters(), net.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    drawn = [(a, c) for a, _, c in pairs if a.numel() > 1 and a.std() > 1e-4]
    assert drawn and not any(torch.equal(a, c) for a, c in drawn)


def test_sem_tells_which_operator_it_switches_on():
    net = network("sem(fc,eca,ie)")
    for seat in seats(net):
        torch.nn.init.zeros_(seat.module.decision.weight)
        seat.module.decision.bias.data = torch.tensor([0.0, 2.0, -2.0])
    rows = list(sem_switches(net, IMAGES))
    assert [row["operator"] for row in rows[:3]] == ["fc", "eca", "ie"] and len(rows) == 18
    assert [row["omega_mean"] for row in rows[:3]] == pytest.approx([0.5, 0.880797, 0.119203])
    assert rows[0]["omega_std"] == 0
    assert operators_plot(rows).title == "eca is switched on most in 6 of 6 blocks"


@pytest.mark.parametrize("module", ["share(sem(fc,ie))", "se+sem(fc,ie)"])
def test_sem_is_found_inside_other_forms(module):
    assert len(list(sem_switches(network(module), IMAGES))) == 12


def test_switches_of_a_network_without_sem_are_refused():
    with pytest.raises(UsageError, match="no block has sem"):
        list(sem_switches(network(), IMAGES))


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_the_plots_are_drawn(theme):
    net, control = network(seed=1), network(seed=2)
    plots = stiffness_plots(list(study(net, control, BATCHES, run="r")), collect(net, BATCHES))
    plots.append(operators_plot(list(sem_switches(network("sem(fc,eca,ie)"), IMAGES))))
    assert [plot.name for plot in plots] == ["stiffness", "gate-nsi", "operators"]
    assert all(render(plot.draw(theme), "png").startswith(b"\x89PNG") for plot in plots)


def test_a_profile_of_many_stages_is_drawn():
    rows = [{"event": "stiffness", "block": f"blocks.{s}.{i}", "stage": s, "index": i, "at": "relu",
             "nsi_mean": 0.5, "nsi_std": 0.1, "control_mean": 0.4, "images": 10}
            for s in range(1, 8) for i in range(4)]  # fmt: skip
    assert render(stiffness_plots(rows)[0].draw(LIGHT), "png")


def test_nothing_measured_gives_no_plot():
    assert stiffness_plots([]) == [] and operators_plot([]) is None
