"""Grad-CAM, the bias of each image, records, intervals, McNemar, plots."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from qr_cli.attention.augment import Fetch
from qr_cli.attention.backbones.create import create_backbone
from qr_cli.attention.bias import (
    SWEEP,
    Examined,
    bias,
    compare,
    examine,
    interval,
    records,
    region_masks,
)
from qr_cli.attention.bias_plots import bias_plots, choose, panel_plot
from qr_cli.attention.boxes import Boxes
from qr_cli.attention.cam import explain, find_layer, grad_cam
from qr_cli.attention.control import is_settled, settle, untrained
from qr_cli.attention.data import ImageSet
from qr_cli.attention.intervals import discordant, mcnemar
from qr_cli.attention.shapes import shapes
from qr_cli.engine.figures import DARK, LIGHT, render
from qr_cli.errors import DataError, UsageError

SIDE = 16
RECORD = (
    "event run subset images undefined dropped position position_low position_high range unbiased "
    "precision coverage energy chance_energy pointing iou missing_range tau eps_pos eps_range "
    "cam_layer cam_target definition control"
).split()
SWEEP_RECORD = "event run tau position range unbiased precision control".split()


class Linear(nn.Module):
    """Channels pass through `maps`; logit y is the mean of channel y: its map is the channel."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.maps = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.maps.weight.copy_(scale * torch.eye(3)[:, :, None, None])

    def forward(self, x):
        return self.maps(x).mean((2, 3))


def spot(x0: int, y0: int, x1: int, y1: int, side: int = SIDE) -> torch.Tensor:
    found = torch.zeros(side, side)
    found[y0:y1, x0:x1] = 1
    return found


def as_image(channel: torch.Tensor, label: int = 1) -> torch.Tensor:
    image = torch.zeros(1, 3, *channel.shape)
    image[0, label] = channel
    return image


def judged(focus: torch.Tensor, region: torch.Tensor, **thresholds):
    cam = grad_cam(Linear(), as_image(focus), torch.tensor([1]), layer="maps")
    return bias(cam, region[None].bool(), **thresholds)


@pytest.fixture(scope="module")
def small():
    return shapes(60, split="test", size=16)


@pytest.fixture(scope="module")
def net():
    return create_backbone("resnet8", num_classes=10, module="se", seed=0)


def fetch_of(images: ImageSet) -> Fetch:
    return Fetch(images, mean=(0.5,) * 3, std=(0.165,) * 3, train=False)


def test_the_map_of_a_linear_model_is_its_channel():
    channel = torch.rand(SIDE, SIDE)
    cam = grad_cam(Linear(), as_image(channel), torch.tensor([1]), layer="maps")
    expected = (channel - channel.min()) / (channel.max() - channel.min())
    assert cam.dtype == torch.float32
    torch.testing.assert_close(cam[0], expected, rtol=0, atol=1e-6)


def test_alpha_is_the_mean_gradient_and_negative_evidence_is_cut():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(256, 5))
    images, labels = torch.randn(2, 3, 8, 8), torch.tensor([4, 0])
    maps = net[1](net[0](images)).detach().requires_grad_()
    net[3](net[2](maps)).gather(1, labels[:, None]).sum().backward()
    alpha = maps.grad.mean((2, 3), keepdim=True)
    heat = (alpha * maps.detach()).sum(1).clamp(min=0)
    low, high = heat.amin((1, 2), keepdim=True), heat.amax((1, 2), keepdim=True)
    cam = grad_cam(net, images, labels, layer="1")
    torch.testing.assert_close(cam, (heat - low) / (high - low), rtol=0, atol=1e-5)


def test_maps_agree_with_the_grad_cam_package(net, small):
    package = pytest.importorskip("pytorch_grad_cam")
    images, labels = fetch_of(small)(torch.arange(4), 0)
    targets = [
        package.utils.model_targets.ClassifierOutputTarget(label) for label in labels.tolist()
    ]
    with package.GradCAM(model=net, target_layers=[net.get_submodule("layer3.0")]) as other:
        theirs = torch.from_numpy(other(input_tensor=images, targets=targets))
    torch.testing.assert_close(grad_cam(net, images, labels), theirs, rtol=0, atol=1e-4)


def test_the_network_is_left_as_it_was(net, small):
    images, labels = fetch_of(small)(torch.arange(8), 0)
    net.train()
    net.layer3[0].bn1.eval()
    modes = {name: module.training for name, module in net.named_modules()}
    before = {name: value.clone() for name, value in net.state_dict().items()}
    grad_cam(net, images, labels, layer="layer1.0")
    assert {name: module.training for name, module in net.named_modules()} == modes
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())
    assert torch.is_grad_enabled()


def test_maps_and_logits_are_those_of_evaluation_mode(net, small):
    images, labels = fetch_of(small)(torch.arange(8), 0)
    net.eval()
    expected = net(images)
    net.train()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        found = explain(net, images, labels, layer="layer3.0")
    net.eval()
    torch.testing.assert_close(found.logits, expected)
    best = explain(net, images, None, layer="layer3.0").maps
    for maps, aim in ((found.maps, labels), (best, expected.argmax(1))):
        wanted = grad_cam(net, images, aim)
        torch.testing.assert_close(maps, wanted, rtol=0, atol=0, equal_nan=True)


def test_a_layer_followed_by_an_in_place_step_gives_a_map():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1))
    net = nn.Sequential(net, nn.Flatten())
    cam = grad_cam(net, torch.randn(2, 3, 9, 9), torch.tensor([0, 1]), layer="0.0")
    assert cam.shape == (2, 9, 9)


def test_an_unknown_layer_lists_near_names(net):
    with pytest.raises(UsageError, match=r"no layer 'layer3\.5'") as fault:
        find_layer(net, "layer3.5")
    assert "layer3.0" in (fault.value.hint or "")


@pytest.mark.parametrize(("layer", "words"), [("fc", "gives no map"), ("spare", "do not depend")])
def test_a_layer_without_a_map_of_the_logits_is_refused(layer, words):
    net = create_backbone("resnet8", num_classes=3)
    net.spare = nn.Conv2d(3, 3, 1)
    with pytest.raises(UsageError, match=words):
        grad_cam(net, torch.randn(1, 3, 16, 16), torch.tensor([0]), layer=layer)
    assert not any(module._forward_hooks for module in net.modules())


def test_a_network_without_known_blocks_asks_for_a_layer():
    with pytest.raises(UsageError, match="no residual block") as fault:
        grad_cam(Linear(), torch.randn(1, 3, 8, 8), torch.tensor([0]))
    assert "--cam-layer" in (fault.value.hint or "")


def test_focus_inside_the_region_is_unbiased():
    found = judged(spot(4, 4, 8, 8), spot(2, 2, 10, 10))
    assert found.unbiased.tolist() == [True] and not (found.position | found.range).any()
    assert (found.precision.item(), found.coverage.item()) == (1, 16 / 64)
    assert (found.pointing.item(), found.iou.item(), found.energy.item()) == (1, 16 / 64, 1)


def test_focus_beside_the_region_is_position_biased():
    found = judged(spot(0, 0, 4, 4), spot(8, 8, 12, 12))
    assert found.position.tolist() == [True]
    values = (found.precision, found.coverage, found.pointing, found.iou, found.energy)
    assert [value.item() for value in values] == [0] * 5


def test_focus_across_the_border_is_range_biased():
    found = judged(spot(0, 0, 8, 4), spot(4, 0, 12, 4))
    assert found.range.tolist() == [True]
    assert (found.precision.item(), found.coverage.item()) == (0.5, 0.5)
    assert found.iou.item() == 16 / 48


def test_thresholds_move_the_verdict():
    focus, region = spot(0, 0, 10, 1), spot(1, 0, 12, 4)  # precision 0.9
    assert judged(focus, region).range.item()
    assert judged(focus, region, eps_range=0.1).unbiased.item()
    assert judged(focus, region, eps_pos=0.9).position.item()
    with pytest.raises(UsageError, match="--tau"):
        judged(focus, region, tau=1.5)


@pytest.mark.parametrize("value", [0.0, 0.7, -1.0])
def test_a_constant_map_is_undefined(value):
    image = torch.full((1, 3, SIDE, SIDE), value)
    cam = grad_cam(Linear(), image, torch.tensor([1]), layer="maps")
    found = bias(cam, spot(0, 0, 8, 8)[None].bool())
    assert cam.isnan().all()
    assert found.undefined.tolist() == [True] and not found.defined.any()
    summary = found.summary()
    assert (summary["images"], summary["undefined"], summary["precision"]) == (1, 1, None)


def test_a_map_of_one_position_is_undefined_at_any_size():
    net = nn.Sequential(nn.Conv2d(3, 2, 8, stride=8), nn.Flatten())
    cam = grad_cam(net, torch.randn(20, 3, 8, 8), torch.zeros(20).long(), layer="0")
    assert cam.isnan().all()


def test_a_small_region_is_dropped_not_undefined():
    cam = torch.rand(3, 20, 20)
    cam[2] = torch.nan
    masks = torch.zeros(3, 20, 20, dtype=torch.bool)
    masks[0, 0, :3] = True  # 0.75 %
    masks[1, 0, :4] = True  # 1 %
    found = bias(cam, masks)
    assert found.dropped.tolist() == [True, False, True]
    assert not found.undefined.any() and found.precision[0].isnan()
    assert found.summary()["dropped"] == 2


def test_the_three_shares_sum_to_one():
    masks = torch.rand(200, 8, 8) < 0.5
    cam = torch.rand(200, 8, 8) ** 4
    found = bias(cam / cam.amax((1, 2), keepdim=True), masks, tau=0.8, eps_range=0.3)
    summary = found.summary()
    assert summary["position"] + summary["range"] + summary["unbiased"] == pytest.approx(1)
    assert min(summary["position"], summary["range"], summary["unbiased"]) > 0


def test_energy_of_a_uniform_map_is_the_area():
    cam, masks = torch.ones(1, 10, 10), spot(0, 0, 5, 4, 10)[None].bool()
    found = bias(cam, masks)
    assert found.energy.item() == found.area.item() == 0.2
    assert found.summary()["chance_energy"] == 0.2


def test_at_tau_zero_the_focus_is_everything():
    masks = spot(0, 0, 5, 4, 10)[None].bool()
    found = bias(torch.rand(1, 10, 10), masks, tau=0)
    assert (found.precision.item(), found.coverage.item()) == (0.2, 1)


def test_a_map_that_nowhere_reaches_tau_is_undefined():
    cam = torch.stack([torch.full((4, 4), 0.4), torch.full((4, 4), 0.6), torch.zeros(4, 4)])
    masks = spot(0, 0, 2, 2, 4).expand(3, -1, -1).bool()
    assert bias(cam, masks).undefined.tolist() == [True, False, True]
    assert bias(cam, masks, tau=0).undefined.tolist() == [False, False, True]


def test_missing_range_is_counted_over_the_others():
    cam = torch.stack([spot(0, 0, 1, 1), spot(0, 0, 8, 8), spot(15, 15, 16, 16)])
    found = bias(cam, spot(0, 0, 8, 8).expand(3, -1, -1).bool())
    assert found.summary()["missing_range"] == 0.5


def test_regions_are_pixels_whose_centre_lies_in_a_box_of_the_class():
    boxes = [
        Boxes(torch.tensor([[1.0, 2, 3, 4], [0, 0, 1, 1]]), torch.tensor([5, 6])),
        Boxes(torch.tensor([[0.4, 0.5, 2.5, 1.6], [4, 4, 9, 9]]), torch.tensor([-1, -1])),
        None,
    ]
    masks = region_masks(boxes, torch.tensor([5, 0, 0]), (6, 6))
    expected = torch.zeros(3, 6, 6, dtype=torch.bool)
    expected[0, 2:4, 1:3] = True
    expected[1, 0:2, 0:2] = True
    expected[1, 4:, 4:] = True
    assert torch.equal(masks, expected)


def test_mcnemar_on_cases_counted_by_hand():
    def pairs(b: int, c: int):
        first = torch.tensor([1] * b + [0] * c + [1, 0]).bool()
        second = torch.tensor([0] * b + [1] * c + [1, 0]).bool()
        return mcnemar(*discordant(first, second))

    assert pairs(0, 0) == 1
    assert pairs(0, 5) == pairs(5, 0) == 2 / 32
    assert pairs(1, 5) == 2 * (1 + 6) / 64
    assert pairs(3, 3) == 1
    assert 0 <= pairs(1000, 3000) < 1e-200


def test_two_runs_are_compared_on_images_that_both_define():
    masks = torch.ones(6, 4, 4, dtype=torch.bool)
    masks[:, 2:] = False
    inside, outside = torch.zeros(6, 4, 4), torch.zeros(6, 4, 4)
    inside[:, 0, 0], outside[:, 3, 3] = 1, 1
    inside[0] = torch.nan
    found = compare(bias(inside, masks), bias(outside, masks))
    assert found == {"position": 2 / 32, "range": 1, "unbiased": 2 / 32}
    with pytest.raises(ValueError, match="6 and 5"):
        compare(bias(inside, masks), bias(outside[:5], masks[:5]))


def test_the_interval_is_that_of_the_normal_law_for_many_images():
    values = (torch.arange(2_000) % 5 == 0).double()
    low, high = interval(values)
    width = 1.96 * math.sqrt(0.2 * 0.8 / 2_000)
    # 1,000 resamples know the percentiles to about a tenth of the width.
    np.testing.assert_allclose([low, high], [0.2 - width, 0.2 + width], atol=0.15 * width)
    assert interval(values) == (low, high)
    assert interval(torch.ones(3)) == (1, 1)


def study(net, images, fetch, *, run, control=False, **settings):
    """Return the records of a network, as the question of `qr eval attention` puts it."""
    if control and not is_settled(net):
        settle(net, [fetch(torch.arange(len(images)), 0)])
    return list(records(examine(net, images, fetch, **settings), run=run, control=control))


def test_study_yields_the_records_of_the_run(net, small):
    found = list(study(net, small, fetch_of(small), run="se-s0", batch_size=32))
    rows = [record for record in found if record["event"] == "bias"]
    sweep = [record for record in found if record["event"] == "bias_sweep"]
    assert [list(row) for row in rows] == [RECORD] * len(rows)
    assert [list(row) for row in sweep] == [SWEEP_RECORD] * len(SWEEP)
    assert [row["tau"] for row in sweep] == list(SWEEP)
    subsets = {row["subset"]: row for row in rows}
    assert subsets["all"]["cam_layer"] == "layer3.0" and not subsets["all"]["control"]
    for prefix in ("class:", "area:"):
        counts = [row["images"] for name, row in subsets.items() if name.startswith(prefix)]
        assert sum(counts) == 60
    assert sum(subsets.get(name, {"images": 0})["images"] for name in ("right", "wrong")) == 60
    assert not any(row["control"] for row in sweep)
    middle = next(row for row in sweep if row["tau"] == 0.5)
    for key in ("position", "range", "unbiased", "precision"):
        assert middle[key] == pytest.approx(subsets["all"][key])


def test_batches_change_nothing(net, small):
    whole, parts = (examine(net, small, fetch_of(small), batch_size=n) for n in (60, 7))
    torch.testing.assert_close(whole.bias.precision, parts.bias.precision, equal_nan=True)
    torch.testing.assert_close(whole.sweep[0.3], parts.sweep[0.3], equal_nan=True)


def test_images_of_which_no_boxes_are_known_are_left_out(net, small):
    assert small.boxes is not None
    some = replace(small, boxes=(None, *small.boxes[1:40], *[None] * 20))
    found = examine(net, some, fetch_of(some))
    assert found.rows.tolist() == list(range(1, 40))
    assert torch.equal(found.labels, some.labels[1:40])
    none = replace(small, boxes=None)
    with pytest.raises(DataError, match="none of the 60 images has boxes") as fault:
        examine(net, none, fetch_of(none))
    assert "--bias FILE" in (fault.value.hint or "")


def test_choice_mixes_right_and_wrong_and_depends_on_the_seed():
    masks = torch.ones(40, 4, 4, dtype=torch.bool)
    cam = torch.rand(40, 4, 4)
    found = bias(cam, masks)
    labels = torch.zeros(40).long()
    predicted = (torch.arange(40) >= 30).long()
    seen = Examined(found, {}, labels, labels, predicted, ("a", "b"), "l", "label")
    picked = choose(seen)
    assert [len(picked[v]) for v in ("position", "range", "unbiased")] == [0, 0, 8]
    assert (predicted[picked["unbiased"]] == 1).tolist() == [False] * 4 + [True] * 4
    assert len(set(picked["unbiased"].tolist())) == 8
    assert not torch.equal(picked["unbiased"], choose(seen, seed=1)["unbiased"])
    sure = replace(seen, predicted=(torch.arange(40) >= 39).long())
    assert (sure.predicted[choose(sure)["unbiased"]] == 1).sum() == 1
    lost = replace(seen, predicted=(torch.arange(40) >= 2).long())
    assert (lost.predicted[choose(lost)["unbiased"]] == 1).sum() == 6


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_plots_draw_and_say_whose_definition_it_is(net, small, theme, recwarn):
    small = replace(small, boxes=(*small.boxes[:12], *[None] * 48))
    fetch = fetch_of(small)
    found = examine(net, small, fetch)
    records = list(study(net, small, fetch, run="se-s0"))
    start = untrained(net)
    records += study(start, small, fetch, run="se-s0", control=True)
    assert is_settled(start)
    plots = [panel_plot(net, fetch, found, run="se-s0"), *bias_plots(records)]
    names = [plot.name for plot in plots]
    assert names == ["bias-images", "bias-shares", "bias-tau", "bias-area"]
    for plot in plots:
        assert render(plot.draw(theme), "svg").startswith(b"<?xml")
        assert plot.caption.endswith("Definition: ours.")
        assert "nan" not in plot.title
    dashed = [line for line in plots[2].draw(theme).axes[0].lines if len(line.get_xdata()) == 7]
    assert [line.get_linestyle() for line in dashed] == ["-", "--"]
    assert not recwarn.list


def test_without_a_defined_map_there_is_no_plot(small):
    flat = Linear(scale=0.0)
    three = replace(small, classes=("a", "b", "c"), labels=small.labels % 3)
    found = examine(flat, three, fetch_of(three), layer="maps")
    assert panel_plot(flat, fetch_of(three), found, run="x") is None
    records = list(study(flat, three, fetch_of(three), layer="maps", run="x", control=True))
    assert bias_plots(records) == [] == bias_plots([])
