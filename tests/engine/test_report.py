"""The report of a run folder: one self-contained page that shows what the records hold."""

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from qr_cli.engine.figures import DARK, LIGHT, End, Theme, label_ends, new_figure, render
from qr_cli.engine.report import Plot, Table, write_report

EPOCH = {"event": "epoch", "epoch": 2, "step": 20, "lr": 0.05, "loss": 1.25, "train_top1": 0.5617,
         "test_top1": 0.4871, "test_loss": 1.44, "images_per_s": 438.0}  # fmt: skip
RESULT = {"event": "result", "epoch": 2, "last_top1": 0.4871, "best_top1": 0.4934,
          "best_epoch": 1, "best_selected_on": "test"}  # fmt: skip
VOID = {"meta", "img"}


class Page(HTMLParser):
    """Collects what the tests ask about, and fails on tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.words = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


def line(theme: Theme):
    figure, (axes,) = new_figure(theme)
    axes.plot([0, 1], [0, 1], color=theme.colors[0])
    axes.set_ylabel("share")
    return figure


PLOT = Plot("line", "A line rises", "Drawn by hand.", line)


def write(folder: Path, records=(EPOCH, RESULT), *, recipe="", run=None, **options) -> str:
    folder.mkdir(exist_ok=True)
    text = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "metrics.jsonl").write_text(text)
    (folder / "recipe.yaml").write_text(recipe)
    (folder / "run.json").write_text(json.dumps(run or {"task": "attention", "status": "done"}))
    options = {"title": "run", "lead": "A run.", "figures": []} | options
    return write_report(folder, **options).read_text("utf-8")


def test_every_headline_figure_is_shown_with_its_convention(tmp_path):
    words = Page(write(tmp_path)).words
    for expected in ("48.71\u202f%", "49.34\u202f%", "56.17\u202f%", "1.44"):
        assert expected in words
    assert "last epoch (2), test split, 1 seed" in words
    assert "best epoch (1), test split, selected on test, 1 seed" in words
    assert words.index("Last top-1") < words.index("Best top-1")


def test_every_figure_of_the_page_is_in_the_records(tmp_path):
    shown = [json.loads(a["value"]) for tag, a in Page(write(tmp_path)).tags if tag == "data"]
    assert len(shown) > 8
    assert set(shown) <= {*EPOCH.values(), *RESULT.values()}


def test_a_page_fetches_nothing_and_runs_nothing(tmp_path):
    text = write(tmp_path, figures=[PLOT], recipe="optim: {lr: 0.1}\n")
    page = Page(text)
    sources = [attrs["src"] for tag, attrs in page.tags if tag == "img"]
    assert sources and all(source.startswith("data:image/") for source in sources)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert not re.search(r"https?://|url\(|@import", text)


def test_both_themes_are_on_the_page_and_print_takes_the_light_one(tmp_path):
    text = write(tmp_path, figures=[PLOT])
    light, dark = [attrs for tag, attrs in Page(text).tags if tag == "img"]
    assert (light["class"], dark["class"]) == ("light", "dark")
    assert light["src"] != dark["src"]
    assert light["alt"] == dark["alt"] == "A line rises. Drawn by hand."
    usual, _, in_dark = text.partition("@media screen and (prefers-color-scheme:dark)")
    assert f"--paper:{LIGHT.paper}" in usual and "img.dark{display:none}" in usual
    assert f"--paper:{DARK.paper}" in in_dark and "img.light{display:none}" in in_dark


def test_hostile_words_stay_words(tmp_path):
    bad = "</title><script>alert('x')</script>\"&"
    record = RESULT | {"best_selected_on": bad, "last_top1": bad}
    text = write(
        tmp_path, [EPOCH | {bad: bad}, record], recipe=json.dumps({bad: {bad: bad}}),
        run={"task": bad, bad: [bad], "status": bad}, title=bad, lead=bad,
        figures=[Plot("p", bad, bad, line)], tables=[Table(bad, bad, [bad], [[bad]])],
        defaults={bad: {bad: 1}},
    )  # fmt: skip
    page = Page(text)
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.words.count(bad) >= 10


@pytest.mark.parametrize("end", ["", '{"event": "epo', "[1, 2]\n", "3\n"])
def test_a_run_without_result_says_so(tmp_path, end):
    write(tmp_path, [EPOCH])
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(end)
    path = write_report(tmp_path, title="run", lead="", figures=[])
    words = Page(path.read_text("utf-8")).words
    assert "did not finish" in words and "epoch 2, unfinished run, test split" in words
    assert ("left out: 1" in words) == bool(end)


def test_values_that_are_no_numbers_are_dashes(tmp_path):
    epoch = EPOCH | {"test_top1": None, "test_loss": float("nan"), "loss": float("inf")}
    page = Page(write(tmp_path, [epoch, RESULT | {"last_top1": None, "best_epoch": None}]))
    assert page.words.count("–") >= 4
    assert "nan" not in page.words.lower()


def test_an_empty_or_missing_run_gives_a_page(tmp_path):
    assert "Nothing is recorded" in Page(write(tmp_path, [])).words
    bare = tmp_path / "bare"
    bare.mkdir()
    path = write_report(bare, title="bare", lead="", figures=[])
    assert "Nothing is recorded" in Page(path.read_text("utf-8")).words


def test_values_that_differ_from_the_defaults_are_marked(tmp_path):
    recipe = "optim: {lr: 0.1, momentum: 0.9}\nrun: {name: x}\n"
    defaults = {"optim": {"lr": 0.05, "momentum": 0.9}, "run": {"name": None}}
    text = write(tmp_path, recipe=recipe, defaults=defaults)
    assert "<b>0.1</b> <small>default 0.05</small>" in text
    assert text.count("<b>") == 2 and "differ from the defaults: 2" in text
    assert "<b>" not in write(tmp_path, recipe=recipe)


def test_the_commands_name_the_folder(tmp_path):
    words = Page(write(tmp_path / "a run")).words
    assert f"qr train attention --recipe '{tmp_path.as_posix()}/a run'/recipe.yaml" in words
    assert f"qr eval attention '{tmp_path.as_posix()}/a run'" in words


def test_tables_of_the_task_align_numbers(tmp_path):
    table = Table("Parts", "Counted.", ["part", "parameters"], [["a", 272474], ["b", None]])
    text = write(tmp_path, tables=[table])
    assert '<td class="n">272,474</td>' in text and '<td class="n">–</td>' in text


def test_plots_are_written_and_nothing_else_stays(tmp_path):
    write(tmp_path, figures=[PLOT])
    assert (tmp_path / "plots/line.png").read_bytes().startswith(b"\x89PNG")
    names = {path.name for path in tmp_path.rglob("*")}
    assert names == {"plots", "line.png", "report.html", "metrics.jsonl", "recipe.yaml", "run.json"}


def test_the_page_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    before = write(tmp_path)

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        write(tmp_path, title="another")
    assert (tmp_path / "report.html").read_text("utf-8") == before


def test_the_same_run_gives_the_same_bytes(tmp_path):
    assert write(tmp_path, figures=[PLOT]) == write(tmp_path, figures=[PLOT])


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_text_stands_out_from_the_paper(theme):  # WCAG 2: 4.5 for text
    def luminance(color: str) -> float:
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    for color in (theme.ink, theme.muted, *theme.colors):
        low, high = sorted((luminance(theme.paper), luminance(color)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, color


@pytest.mark.parametrize("values", [(0.5, 0.5, 0.5), (0, 0.01, 0.02), (0.98, 0.99, 1.0)])
def test_labels_of_close_lines_do_not_overlap(values):
    figure, (axes,) = new_figure(LIGHT)
    axes.set_ylim(0, 1)
    label_ends(axes, [End(1, y, f"line\n{y}", LIGHT.ink) for y in values])
    render(figure, "png")
    boxes = sorted((text.get_window_extent() for text in axes.texts), key=lambda box: box.y0)
    for lower, upper in zip(boxes, boxes[1:], strict=False):
        assert lower.y1 <= upper.y0 + 1  # a pixel: rounding of glyph heights
    assert boxes[0].y0 >= 0 and boxes[-1].y1 <= figure.bbox.y1
