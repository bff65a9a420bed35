"""The smaller commands: eval, list; and a run that is repeated."""

import hashlib
import json
import re
import shutil

import pytest

from qr_cli import __version__
from qr_cli.attention.names import MODULES, SOURCES
from qr_cli.cli.list import KINDS


def weights_of(run) -> str:
    latest = json.loads((run / "latest.json").read_text("utf-8"))["checkpoint"]
    return hashlib.sha256((run / latest / "model.safetensors").read_bytes()).hexdigest()


def test_the_recipe_of_a_finished_run_repeats_it_bit_for_bit(qr, trained):
    answer = qr("train", "attention", "--recipe", str(trained / "recipe.yaml"), "--out", "again")
    assert answer.code == 0
    assert weights_of(trained.parents[0] / "small") == weights_of(_path("again/attention/small"))


def test_a_finished_run_can_be_resumed_from_its_own_recipe(qr, trained, tmp_path):
    copy = tmp_path / "runs" / "attention" / "small"
    shutil.copytree(trained, copy)
    answer = qr("train", "attention", "--recipe", str(copy), "--out", "runs", "--resume")
    assert answer.code == 0, answer.err
    assert weights_of(copy) == weights_of(trained)


def test_a_default_run_can_be_resumed_from_its_own_recipe(qr, received, tmp_path):
    from qr_cli.engine.run import RunFolder, dump_yaml

    qr("train", "attention")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(dump_yaml(received[0]["recipe"]), "utf-8")
    qr("train", "attention", "--recipe", str(folder))
    RunFolder(folder).check(received[1]["recipe"], resume=True, overwrite=False)


def test_overwrite_replaces_a_run(qr, trained, tmp_path):
    copy = tmp_path / "runs" / "attention" / "small"
    shutil.copytree(trained, copy)
    (copy / "stray.txt").write_text("old", "utf-8")
    words = ("--recipe", str(trained), "--out", "runs", "--overwrite", "--lr", "0.01")
    assert qr("train", "attention", *words).code == 0
    assert not (copy / "stray.txt").exists()
    assert weights_of(copy) != weights_of(trained)


def test_eval_prints_one_record_per_run(qr, trained):
    (first,) = qr("eval", "attention", str(trained), "--device", "cpu").records
    assert (first["event"], first["run"], first["images"]) == ("eval", str(trained), 64)
    lines = (trained / "metrics.jsonl").read_text("utf-8").splitlines()
    result = json.loads(lines[-1])
    assert first["top1"] == result["last_top1"]


def test_eval_quiet_prints_the_accuracy_alone(qr, trained):
    answer = qr("eval", "attention", str(trained), "--device", "cpu", "--quiet")
    assert answer.err == ""
    assert 0 <= float(answer.out) <= 1


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_list_is_json_lines_in_a_pipe_and_names_when_quiet(qr, kind):
    rows, names = qr("list", kind), qr("list", kind, "--quiet")
    assert rows.code == names.code == 0
    assert [row["name"] for row in rows.records] == names.out.split()
    assert {row["event"] for row in rows.records} <= {kind.removesuffix("s")}
    assert all(row["summary"] for row in rows.records)


def test_the_lists_hold_the_tables(qr):
    assert set(MODULES) == set(qr("list", "modules", "--quiet").out.split())
    assert set(SOURCES) == set(qr("list", "data", "--quiet").out.split())
    assert "resnet20" in qr("list", "archs", "--quiet").out.split()


def test_the_version_is_that_of_the_package(qr):
    assert qr("--version").out == f"qr {__version__}\n"


@pytest.mark.parametrize("words", [(), ("train",), ("eval",), ("list",)])
def test_a_bare_call_shows_its_help(qr, words):
    answer = qr(*words)
    assert answer.code == 2
    assert "Usage: qr" in answer.out + answer.err
    assert "error" not in answer.err


@pytest.mark.parametrize("words", [("train", "attention"), ("eval", "attention"), ("list",)])
def test_both_spellings_of_help_agree(qr, words):
    assert qr(*words, "-h") == qr(*words, "--help")


@pytest.mark.parametrize("words", [("train", "attention"), ("eval", "attention")])
def test_help_ends_with_examples_that_parse(qr, words, received, monkeypatch):
    text = qr(*words, "--help").out
    examples = re.findall(r"^ *qr (.+?) *$", text.split("Examples")[1], flags=re.MULTILINE)
    assert len(examples) >= 2
    for example in examples:
        assert example.startswith(" ".join(words))


def test_ctrl_c_is_told_where_no_loop_waits_for_it(qr, monkeypatch):
    def interrupted(*given, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr("qr_cli.engine.train.train", interrupted)
    answer = qr("train", "attention", "--recipe", "smoke")
    assert answer.code == 130
    assert answer.err.strip() == "qr: error: interrupted"


def _path(text):
    from pathlib import Path

    return Path(text)
