"""Runs side by side: groups, intervals, differences, refusals, and how they are shown."""

import json
from io import StringIO
from pathlib import Path

import pytest
import torch
from matplotlib.text import Text
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from qr_cli.attention import intervals
from qr_cli.attention.backbones.create import create_backbone
from qr_cli.attention.compare import Measured, compare
from qr_cli.attention.compare_plots import comparison_plots
from qr_cli.attention.compare_tables import comparison_table, conventions, report_table
from qr_cli.attention.recipe import Attention
from qr_cli.attention.runs import grouped, read_run
from qr_cli.engine.figures import DARK, LIGHT, render
from qr_cli.engine.run import dump_yaml
from qr_cli.errors import UsageError

IMAGES = 100
SECTION_5 = """event group runs arch module stages parameters attention_parameters flops latency_ms
latency_iqr_ms latency_ratio latency_noise threads start_gate last_top1 last_low last_high interval
best_top1 best_selected_on delta delta_low delta_high delta_shown baseline""".split()


def run(module="none", seed=0, *, right=90, name=None, run_name=None, **changes):
    """Return a run that has the first `right` images right, or the given ones."""
    recipe = Attention(
        model={"arch": "qr:resnet8", "module": module}, run={"seed": seed, "name": run_name}
    )
    if isinstance(right, int):
        right = torch.arange(IMAGES) < right
    facts = {
        "folder": Path("runs/attention") / (name or f"{module}-s{seed}"),
        "recipe": recipe.model_dump(mode="json"),
        "right": right,
        "top5": 0.99,
        "best": {"best_top1": 0.95, "best_top5": 1.0, "best_selected_on": "test"},
        "classes": ("disk", "ring"),
        "input_size": (3, 16, 16),
        "data": "shapes",
        "data_sha256": "ab" * 32,
    }
    return Measured(**(facts | changes))


def network(folder):
    return create_backbone("qr:resnet8", num_classes=2, module=folder.name.rpartition("-s")[0])


def records(runs, **options):
    return list(compare(runs, **{"rounds": None, "network": network} | options))


SEEDS = [
    *(run("none", seed, right=right) for seed, right in ((0, 90), (1, 80), (2, 85))),
    *(run("se", seed, right=right) for seed, right in ((0, 93), (1, 82), (2, 88))),
]


def test_runs_that_differ_in_seed_name_and_folder_are_one_group():
    groups = grouped([run(seed=0), run(seed=1, run_name="other"), run("se", seed=0)])
    assert [(group.label, len(group.runs)) for group in groups] == [("none", 2), ("se", 1)]


def test_a_group_is_called_by_what_sets_it_apart():
    slow = run("se", seed=0, name="slow")
    slow.recipe["optim"]["lr"] = 0.01
    groups = grouped([run("none"), run("se"), slow])
    assert [group.label for group in groups] == ["none", "se, lr=0.05", "se, lr=0.01"]
    held = run("se", name="held")
    held.recipe["data"]["val"] = "0.1"
    assert [g.label for g in grouped([run("se"), held])] == ["se, val=none", "se, val=0.1"]


def test_a_record_has_the_keys_of_its_form():
    (first, second) = records(SEEDS, rounds=2)
    assert [key for key in first if key in SECTION_5] == SECTION_5
    assert list(first) == list(second)
    json.dumps([first, second], allow_nan=False)


def test_costs_stand_in_the_record():
    plain, se = records(SEEDS, rounds=2)
    assert (plain["stages"], se["stages"]) == (None, "1,2,3")
    assert se["parameters"] - plain["parameters"] == se["attention_parameters"] == 791
    assert plain["start_gate"] == 1 and se["start_gate"] == pytest.approx(0.5, abs=0.05)
    assert plain["latency_ratio"] == 1 and se["latency_ms"] > 0 and se["latency_batch"] == 1
    assert records(SEEDS)[0]["latency_ms"] is None


def test_several_seeds_give_a_t_interval_and_a_difference_paired_by_seed():
    plain, se = records(SEEDS)
    assert plain["last_top1"] == pytest.approx(0.85) and plain["interval"] == "t, 3 seeds"
    low, high = intervals.t_interval([0.9, 0.8, 0.85])
    assert (plain["last_low"], plain["last_high"]) == pytest.approx((low, high))
    assert se["delta"] == pytest.approx(0.08 / 3) and se["delta_interval"] == "paired t, 3 seeds"
    low, high = intervals.t_interval([0.03, 0.02, 0.03])
    assert (se["delta_low"], se["delta_high"]) == pytest.approx((low, high))
    assert se["delta_shown"] and se["mcnemar_p"] is None
    assert plain["delta"] is None and plain["delta_shown"] is False


def test_the_order_of_runs_does_not_change_the_pairs():
    shuffled = [SEEDS[i] for i in (2, 5, 0, 4, 1, 3)]
    wanted, found = (
        {r["group"]: (r["delta_low"], r["last_top1"]) for r in records(runs, baseline="none")}
        for runs in (SEEDS, shuffled)
    )
    assert found["se"] == pytest.approx(wanted["se"])


def test_other_seeds_are_not_paired():
    others = [run("se", seed, right=right) for seed, right in ((3, 93), (4, 82), (5, 88))]
    _, se = records(SEEDS[:3] + others)
    assert se["delta_interval"] == "Welch t, 3 and 3 seeds" and not se["delta_shown"]
    assert se["delta_low"] < -0.05  # paired by seed it is above 0


def test_one_run_each_is_paired_by_image():
    right = torch.arange(IMAGES) >= 5  # loses the first 5 images and wins the last 10
    plain, se = records([run("none", right=90), run("se", seed=7, right=right)])
    assert plain["interval"] == "Wilson, 100 images"
    assert (plain["last_low"], plain["last_high"]) == pytest.approx(intervals.wilson(90, 100))
    assert se["delta"] == pytest.approx(0.05)
    low, high = intervals.paired_shares(10, 5, 100)
    assert (se["delta_low"], se["delta_high"]) == pytest.approx((low, high))
    assert se["mcnemar_p"] == intervals.mcnemar(10, 5)
    assert se["delta_interval"] == "paired by image, 100 images"
    assert not se["delta_shown"] and low < 0 < high


def test_one_run_against_several_has_no_interval():
    plain, se = records([*SEEDS[:3], run("se", right=99)])
    assert (se["delta_low"], se["delta_shown"]) == (None, False)
    assert se["delta_interval"] == "none, 1 and 3 runs"
    assert report_table([plain, se]).rows[1][-2] == "untested"


def test_best_is_labelled_and_stands_beside_last():
    chosen = {"best_top1": 0.93, "best_top5": 1.0, "best_selected_on": "test"}
    _, se = records([run("none"), run("se", right=90, best=chosen)])
    assert (se["last_top1"], se["best_top1"]) == (pytest.approx(0.9), 0.93)
    assert se["best_selected_on"] == "test" and se["best_minus_last"] == pytest.approx(0.03)
    assert "selected on test, so not an unbiased figure" in conventions([se])
    assert comparison_table([se])[1][0][-2] == "93.0*"
    val = se | {"best_selected_on": "val"}
    assert "selected on val, reported on test" in conventions([val])
    assert "nothing of other seeds" in conventions([val])
    assert "unbiased" in conventions([val, se]) and "unbiased" not in conventions([val])
    assert [row[-2] for row in comparison_table([val, se])[1]] == ["93.0", "93.0*"]


def test_best_figures_that_are_not_known_are_left_out():
    (se,) = records([run("se", best={})])
    assert se["best_top1"] is se["best_minus_last"] is se["best_selected_on"] is None
    assert "Best" not in conventions([se])
    assert comparison_table([se])[1][0][-2] == "-"


@pytest.mark.parametrize("name", ["se", "SE", "se-s1", "runs/attention/se-s1", "mine", "mine-s1"])
def test_a_baseline_is_named_by_module_or_run(name):
    runs = list(SEEDS)
    if name.startswith("mine"):
        runs[4] = run("se", 1, right=82, name="mine-s1")
    plain, se = records(runs, baseline=name, network=lambda folder: network(Path("se-s0")))
    assert plain["baseline"] == se["baseline"] == "se" and se["delta"] is None
    assert plain["delta"] == pytest.approx(-0.08 / 3)


def test_the_first_group_is_the_baseline():
    assert {r["baseline"] for r in records(SEEDS)} == {"none"}


def test_a_baseline_that_names_nothing_is_refused():
    with pytest.raises(UsageError, match="no group 'nome' .did you mean 'none'") as caught:
        records(SEEDS, baseline="nome")
    assert caught.value.hint == "--baseline none | se"


def test_a_baseline_that_names_two_groups_is_refused():
    slow = run("se", name="slow")
    slow.recipe["optim"]["lr"] = 0.01
    with pytest.raises(UsageError, match="'se, lr=0.05' and 'se, lr=0.01'"):
        records([run("se"), slow], baseline="se")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data_sha256": "cd" * 32}, r"sha256 abababababab and cdcdcdcdcdcd"),
        ({"classes": ("disk", "bar")}, "class 1 is 'ring' and 'bar'"),
        ({"input_size": (3, 32, 32)}, "16x16 and 32x32"),
    ],
)
def test_what_was_tested_otherwise_is_refused(change, message):
    with pytest.raises(UsageError, match=message) as caught:
        records([run("none"), run("se", **change)])
    assert caught.value.exit_code == 2


def test_a_run_given_twice_is_refused():
    with pytest.raises(UsageError, match="would count twice"):
        records([run("se"), run("se", name="again")])


def test_no_run_is_refused():
    with pytest.raises(UsageError, match="no run"):
        records([])


def finished(folder, lines):
    folder.mkdir()
    (folder / "recipe.yaml").write_text(dump_yaml(Attention(run={"seed": 4})), "utf-8")
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text, "utf-8")
    return folder


EPOCHS = [
    {"event": "epoch", "epoch": 1, "test_top1": 0.7, "test_top5": 0.9},
    {"event": "epoch", "epoch": 2, "test_top1": 0.6, "test_top5": 0.8},
]
RESULT = {"event": "result", "last_top1": 0.6, "best_top1": 0.7, "best_epoch": 1,
          "best_selected_on": "val", "data_sha256": "ab"}  # fmt: skip


def test_a_run_is_read_from_its_folder(tmp_path):
    folder = finished(tmp_path / "se-s4", [*EPOCHS, RESULT])
    read = read_run(folder)
    assert read.recipe["run"]["seed"] == 4 and read.recipe["model"]["module"] == "se"
    best = {"best_top1": 0.7, "best_selected_on": "val", "best_top5": 0.9}
    assert read.best("ab") == best
    assert read.best("cd") == {}  # tested on other images


def test_a_run_that_did_not_finish_is_refused(tmp_path):
    folder = finished(tmp_path / "se-s4", EPOCHS)
    with pytest.raises(UsageError, match="did not finish") as caught:
        read_run(folder)
    assert caught.value.hint == f"qr train attention --recipe {folder}/recipe.yaml --resume"
    with pytest.raises(UsageError, match="not a run folder"):
        read_run(tmp_path)


@pytest.fixture(scope="module")
def shown():
    """Three groups, timed: a baseline, one that differs, one that is not shown to."""
    return records(
        [*SEEDS, *(run("spem", s, right=r) for s, r in ((0, 80), (1, 90), (2, 85)))], rounds=2
    )


def test_the_page_says_not_shown_where_an_interval_contains_0(shown):
    table = report_table(shown)
    assert [row[-2] for row in table.rows] == ["baseline", "+2.67 (+1.23 to +4.10)", "not shown"]
    assert "paired t, 3 seeds" in table.caption and "poolings" in table.caption
    assert "which is the noise" in table.caption


def test_the_terminal_table_fits_80_columns():
    long = records([run("none"), run("asr(se)+se"), run("lsas(eca,order=2)")], rounds=2)
    columns, rows = comparison_table(long)
    table = Table(box=SIMPLE_HEAD)
    for column in columns:
        right = column.endswith(">")
        name = column.removesuffix(">")
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    out = StringIO()
    Console(file=out, width=80).print(table)
    text = out.getvalue()
    for whole in ("asr(se)+se", "lsas(eca,", "order=2)", "90.0 82.6–94.5", "baseline", "not shown"):
        assert whole in text
    assert len(text.splitlines()) == 3 + 1 + 4 + 1  # one row is broken once, none is squeezed


def test_without_latency_the_column_and_the_plot_are_left_out():
    untimed = records(SEEDS)
    assert "ms>" not in comparison_table(untimed)[0]
    assert [plot.name for plot in comparison_plots(untimed)] == ["top1-parameters"]
    assert "Latency" not in conventions(untimed)
    assert len({len(row) for row in comparison_table(untimed)[1]}) == 1


def test_plots_say_what_is_seen(shown):
    by_parameters, by_time = comparison_plots(shown)
    assert by_parameters.title == "1 of 2 groups shown to differ from none, se most (+2.67 points)"
    assert by_time.title.endswith("times as long as that of none")
    two = [record for record in shown if record["group"] != "spem"]
    assert comparison_plots(two)[0].title == "se is 2.67 points above none"
    other = [record for record in shown if record["group"] != "se"]
    assert comparison_plots(other)[0].title == "spem is not shown to differ from none"
    assert comparison_plots(shown[:1]) == []


def test_marks_are_hollow_where_no_difference_is_shown(shown):
    axes = comparison_plots(shown)[0].draw(LIGHT).axes[0]
    marks = [line for line in axes.lines if line.get_marker() in ("o", "D")]
    fills = [(line.get_marker(), line.get_markerfacecolor()) for line in marks]
    assert fills == [("D", LIGHT.ink), ("o", LIGHT.colors[0]), ("o", LIGHT.paper)]
    assert {text.get_text() for text in axes.texts} == {"none", "se", "spem"}


def test_names_do_not_cover_each_other(shown):
    figure = comparison_plots(shown)[0].draw(LIGHT)
    figure.canvas.draw()
    extents = [Text.get_window_extent(text) for text in figure.axes[0].texts]
    for i, box in enumerate(extents):
        assert not any(box.overlaps(other) for other in extents[:i])


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_both_plots_render(shown, theme):
    for plot in comparison_plots(shown):
        assert render(plot.draw(theme), "png", title=plot.title).startswith(b"\x89PNG")
