"""Plots of a training run from its records."""

import math

import numpy as np
import pytest

from qr_cli.attention.plots import training_plots
from qr_cli.attention.sample_plots import sample_sheet
from qr_cli.attention.shapes import CLASSES, shapes
from qr_cli.engine.figures import DARK, LIGHT, render

STEPS = [
    {"event": "step", "step": step, "loss": 2.0 - step / 50, "lr": 0.05} for step in range(5, 45, 5)
]


def epoch(number: int, **values) -> dict:
    record = {"event": "epoch", "epoch": number, "step": 10 * number, "lr": 0.05,
              "loss": 2 - 0.3 * number, "train_top1": 0.2 * number, "test_top1": 0.18 * number,
              "test_loss": 2.1 - 0.25 * number}  # fmt: skip
    return record | values


def probe(number: int, stage: int, gate: float | None) -> dict:
    return {"event": "probe", "epoch": number, "stage": stage, "gate_mean": gate, "gate_std": 0.05}


RESULT = {"event": "result", "last_top1": 0.72, "best_top1": 0.75, "best_epoch": 3,
          "best_selected_on": "test"}  # fmt: skip
RUN = [*STEPS, *map(epoch, range(1, 5)), RESULT]


def by_name(records) -> dict:
    return {plot.name: plot for plot in training_plots(records)}


def texts(plot) -> str:
    return "\n".join(text.get_text() for axes in plot.draw(LIGHT).axes for text in axes.texts)


def test_a_run_gives_loss_and_top1_and_says_what_is_seen():
    plots = by_name(RUN)
    assert list(plots) == ["loss", "top1"]
    assert plots["loss"].title == "Test loss falls from 1.85 to 1.1"
    assert plots["top1"].title == "Top-1 accuracy ends at test 72.0 %, train 80.0 %"


def test_the_best_epoch_is_hollow_and_labelled_by_its_split():
    top1 = by_name(RUN)["top1"]
    assert "best 75.0 %, epoch 3\ntest-selected" in texts(top1)
    hollow = [
        line for line in top1.draw(LIGHT).axes[0].lines
        if line.get_markerfacecolor() == LIGHT.paper
    ]  # fmt: skip
    assert [(*line.get_xdata(), *line.get_ydata()) for line in hollow] == [(3, 0.75)]


def test_without_a_result_the_best_epoch_so_far_is_marked():
    records = [epoch(1), epoch(2, test_top1=0.9), epoch(3)]
    assert "best 90.0 %, epoch 2\ntest-selected" in texts(by_name(records)["top1"])


def test_selected_on_val_the_best_epoch_shows_its_test_figure():
    records = [epoch(n, val_top1=val) for n, val in ((1, 0.3), (2, 0.5), (3, 0.4))]
    top1 = by_name(records)["top1"]
    assert "best 36.0 %, epoch 2\nval-selected" in texts(top1)
    assert "unbiased" not in top1.caption


def test_steps_stand_where_their_epoch_is():
    records = [*STEPS, {"event": "step", "step": 45, "loss": 1.0, "lr": 0.01}, epoch(1), epoch(4)]
    pale = by_name(records)["loss"].draw(LIGHT).axes[0].lines[0]
    np.testing.assert_allclose(pale.get_xdata()[[0, 1, -1]], [0.5, 1.0, 4.5])


def test_a_long_run_is_thinned_to_means():
    steps = [{"event": "step", "step": n, "loss": n % 2, "lr": 0.1} for n in range(1, 2001)]
    plot = by_name([*steps, epoch(1, step=2000)])["loss"]
    pale = plot.draw(LIGHT).axes[0].lines[0]
    assert len(pale.get_xdata()) <= 300
    assert "means over 7 logged steps" in plot.caption


def test_gates_get_a_line_per_stage_and_name_the_one_that_moves():
    probes = [probe(e, s, 0.5 - 0.03 * e * s) for e in range(4) for s in (1, 3)]
    gates = by_name([*RUN, *probes])["gates"]
    assert gates.title == "Stage 3 moves most: mean gate 0.50 to 0.23"
    assert "stage 1\n0.41" in texts(gates)


def test_gates_that_stay_are_said_to_stay_and_fill_the_plot():
    gates = by_name([*RUN, *(probe(e, s, 0.032) for e in range(3) for s in (1, 2))])["gates"]
    assert gates.title == "The mean gate of no stage has moved"
    low, high = gates.draw(LIGHT).axes[0].get_ylim()
    assert low == 0 and 0.08 < high < 0.12  # mean and deviation


def test_the_start_gives_a_bar_per_stage():
    probes = [probe(e, s, 0.062 + 0.1 * e) for e in range(3) for s in (1, 2)]
    plot = by_name([*RUN, *probes])["start-gate"]
    assert plot.title == "Before training the gate is 0.062"
    bars = plot.draw(LIGHT).axes[0].patches
    assert [bar.get_width() for bar in bars] == [0.062, 0.062]
    assert plot.draw(LIGHT).axes[0].get_xlim()[0] == 0


MIX = [
    probe(e, s, 0.03) | {"spem_q0": [0.5 + 0.04 * e * (s - 1), 0.5 - 0.05 * e]}
    for e in range(10)
    for s in (1, 2, 3)
]


def test_the_mix_of_spem_has_a_row_per_block_and_a_column_per_epoch():
    plot = by_name(MIX)["spem-mix"]
    assert plot.title == "SPEM ends nearer the minimum in 3 of 6 blocks"
    shares = plot.draw(LIGHT).axes[0].images[0].get_array()
    assert shares.shape == (6, 10)
    np.testing.assert_allclose(shares[4], 0.5 + 0.08 * np.arange(10))  # stage 3, first block
    assert "spem-mix" not in by_name([probe(0, 1, 0.5) | {"spem_q0": None}])


@pytest.mark.parametrize("size", [32, 96])
def test_the_sheet_of_shapes_shows_ten_of_each_class_with_their_boxes(size):
    images = shapes(200, size=size)
    plot = sample_sheet(images, "shapes")
    axes = plot.draw(LIGHT).axes[0]
    assert [text.get_text() for text in axes.texts] == list(CLASSES)
    (sheet,) = axes.images
    side = min(size, 48)
    assert sheet.get_array().shape == (10 * (side + 2) - 2, 10 * (side + 2) - 2, 4)
    outlines = axes.collections[0].get_paths()
    assert len(outlines) == 100
    corner = outlines[11].vertices[0]  # the second ring: image 11, row 1, column 1
    box = images.boxes[11].xyxy[0].numpy() * side / size
    np.testing.assert_allclose(corner, box[:2] + side + 2)


def test_the_sheet_says_whether_textures_tell_the_class():
    assert "goes with its class" in sample_sheet(shapes(100), "shapes").caption
    assert "says nothing" in sample_sheet(shapes(100, context=0.0), "shapes").caption


def test_a_sheet_of_few_images_leaves_gaps(recwarn):
    plot = sample_sheet(shapes(13), "shapes")
    for theme in (LIGHT, DARK):
        assert render(plot.draw(theme), "svg")
    assert len(plot.draw(LIGHT).axes[0].collections[0].get_paths()) == 13
    assert not recwarn.list


GAPS = [epoch(1), epoch(2, test_top1=None, test_loss=math.nan, loss=math.inf, lr=None), epoch(3)]


@pytest.mark.parametrize(
    "records",
    [
        RUN,
        [epoch(1)],
        STEPS,
        GAPS,
        [*STEPS, *(epoch(n, step=None) for n in (1, 2))],
        [*RUN, RESULT | {"best_epoch": None, "best_top1": None}],
        [*RUN, *(probe(e, 2, 1.4) for e in (1, 2)), probe(3, 2, None)],
        [epoch(1, lr=0, loss=0, train_top1=0, test_top1=0, test_loss=0)],
        MIX,
        [probe(0, 1, 0.0) | {"gate_std": None, "spem_q0": [0.5]}],
    ],
    ids=["run", "one", "steps", "gaps", "stepless", "bestless", "above-one", "zeros", "mix", "0"],
)
@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_every_plot_draws_in_both_themes_without_a_warning(records, theme, recwarn):
    plots = training_plots(records)
    assert plots
    for plot in plots:
        assert render(plot.draw(theme), "svg").startswith(b"<?xml")
        assert plot.title and plot.caption
        assert "nan" not in plot.title + texts(plot)
    assert not recwarn.list


@pytest.mark.parametrize("records", [[], [{"event": "note"}], [epoch(1) | dict.fromkeys(
    ("loss", "lr", "train_top1", "test_top1", "test_loss"))]])  # fmt: skip
def test_without_a_number_there_is_no_plot(records):
    assert training_plots(records) == []
