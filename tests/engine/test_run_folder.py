"""Which folder may be written, what stands in it, what a killed process leaves."""

import json
import os
from pathlib import Path

import pytest
import toy
import yaml
from processes import leftovers

from qr_cli.engine.files import write_text
from qr_cli.engine.run import RunFolder, dump_yaml, to_json
from qr_cli.errors import EnvironmentFault, UsageError

FOLDER = Path("runs/toy/run")


@pytest.fixture
def folder():
    """A folder that looks like a started run."""
    FOLDER.mkdir(parents=True)
    write_text(FOLDER / "recipe.yaml", dump_yaml(toy.recipe()))
    (FOLDER / "metrics.jsonl").write_text('{"event": "old"}\n')
    return RunFolder(FOLDER)


def test_a_folder_with_something_in_it_needs_a_flag(folder):
    with pytest.raises(UsageError, match=r"runs/toy/run exists and is not empty") as caught:
        toy.run()
    assert all(flag in caught.value.hint for flag in ("--resume", "--overwrite", "--name"))
    assert caught.value.exit_code == 2
    assert (FOLDER / "metrics.jsonl").read_text() == '{"event": "old"}\n'


def test_overwriting_replaces_the_whole_run(folder):
    (FOLDER / "checkpoints/epoch-0099").mkdir(parents=True)
    (FOLDER / "link").symlink_to(FOLDER)
    toy.run(overwrite=True, schedule__epochs=1)
    assert not (FOLDER / "link").is_symlink()
    assert [path.name for path in (FOLDER / "checkpoints").iterdir()] == ["epoch-0001"]
    assert '"old"' not in (FOLDER / "metrics.jsonl").read_text()
    assert yaml.safe_load((FOLDER / "recipe.yaml").read_text())["schedule"]["epochs"] == 1


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_folder_that_is_no_run_is_left_alone(overwrite):
    FOLDER.mkdir(parents=True)
    (FOLDER / "thesis.tex").write_text("years")
    with pytest.raises(UsageError, match="is not a run folder" if overwrite else "holds no run"):
        toy.run(overwrite=overwrite, resume=not overwrite)
    assert [path.name for path in FOLDER.iterdir()] == ["thesis.tex"]


def test_a_file_in_place_of_the_folder_is_left_alone():
    FOLDER.parent.mkdir(parents=True)
    FOLDER.write_text("a file")
    for flags in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(UsageError):
            toy.run(**flags)
    assert FOLDER.read_text() == "a file"


def test_a_run_is_not_resumed_with_another_recipe_and_every_difference_is_named(folder):
    with pytest.raises(UsageError) as caught:
        toy.run(resume=True, optim__lr=0.2, schedule__epochs=5)
    assert "optim.lr 0.05 -> 0.2, schedule.epochs 3 -> 5" in caught.value.message
    assert caught.value.hint == "--recipe runs/toy/run/recipe.yaml --resume"


def test_where_a_run_is_resumed_may_differ(folder):
    values = {"run__device": "auto", "run__num_processes": 2, "run__keep": 9}
    folder.check(toy.recipe(**values), resume=True, overwrite=False)


def test_a_damaged_recipe_is_named_on_resume(folder):
    (FOLDER / "recipe.yaml").write_text("a: [")
    with pytest.raises(UsageError, match=r"recipe\.yaml cannot be read"):
        toy.run(resume=True)
    toy.run(overwrite=True, schedule__epochs=1)


@pytest.mark.parametrize("flags", [{}, {"resume": True}, {"overwrite": True}])
def test_a_run_killed_before_its_recipe_was_written_is_no_obstacle(flags):
    FOLDER.mkdir(parents=True)
    (FOLDER / ".recipe.qr-host-4711.yaml").write_text("half")
    toy.run(schedule__epochs=1, **flags)
    assert leftovers(FOLDER) == []


def test_a_run_killed_before_its_first_checkpoint_starts_again_on_resume(folder):
    (FOLDER / "checkpoints/.epoch-0001").mkdir(parents=True)
    (FOLDER / "checkpoints/.epoch-0001/model.safetensors").write_bytes(b"half")
    (FOLDER / ".run.qr-host-4711.json").write_text("half")
    (FOLDER / "metrics.jsonl").write_text('{"event": "step", "step": 5}\n{"event": "epo')
    finished, listener = toy.run(resume=True)
    assert leftovers(FOLDER) == []
    assert list(RunFolder(FOLDER).records()) == json.loads(json.dumps(listener.records))


def test_an_interrupted_overwrite_can_be_overwritten_again(folder, monkeypatch):
    with monkeypatch.context() as patch:

        def crash(path):
            raise KeyboardInterrupt

        patch.setattr(Path, "unlink", crash)
        with pytest.raises(KeyboardInterrupt):
            toy.run(overwrite=True, schedule__epochs=1)
    toy.run(overwrite=True, schedule__epochs=1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_a_fault_of_the_machine():
    Path("closed").mkdir(mode=0o500)
    with pytest.raises(EnvironmentFault, match="cannot write closed"):
        toy.run("closed")


def test_a_file_where_a_folder_should_be_is_a_fault_of_the_machine():
    Path("runs").write_text("a file")
    with pytest.raises(EnvironmentFault, match="cannot write runs/toy/run"):
        toy.run()


def test_records_after_the_checkpoint_are_dropped_and_a_short_file_is_not_padded(folder):
    metrics = FOLDER / "metrics.jsonl"
    metrics.write_text('{"a": 1}\n{"b": 2}\n')
    folder.rewind(9)
    assert metrics.read_text() == '{"a": 1}\n'
    folder.rewind(400)  # the machine lost power before these lines reached the disk
    assert metrics.read_text() == '{"a": 1}\n'
    metrics.write_text('{"a": 1}\n{"b"')
    folder.rewind(400)
    assert metrics.read_text() == '{"a": 1}\n'


def test_an_unfinished_line_is_no_record(folder):
    (FOLDER / "metrics.jsonl").write_text('{"a": "x\u2028y"}\n{"b": ', encoding="utf-8")
    assert list(folder.records()) == [{"a": "x\u2028y"}]


def test_what_is_no_number_becomes_null():
    record = {"a": float("nan"), "b": [1.5, float("inf")], "c": "nan", "d": 0.1}
    assert to_json(record) == '{"a": null, "b": [1.5, null], "c": "nan", "d": 0.1}'


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    write_text(path, "old")

    def refuse(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        write_text(path, "new")
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]
    assert path.read_text() == "old"


def test_only_the_rank_that_writes_writes(tmp_path):
    quiet = RunFolder(tmp_path / "none", writes=False)
    quiet.record({"event": "x"})
    quiet.facts(status="running")
    quiet.rewind(0)
    assert quiet.position() == 0
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("failing", "status"), [(KeyboardInterrupt, "interrupted"), (ValueError, "failed")]
)
def test_run_json_tells_how_the_run_ended(failing, status):
    def fail(step):
        raise failing

    with pytest.raises(failing):
        toy.run(at=fail)
    facts = json.loads((FOLDER / "run.json").read_text())
    assert (facts["status"], facts["command"], facts["processes"]) == (status, "toy", 1)


def test_a_finished_run_says_so_and_its_last_record_is_the_result():
    finished, listener = toy.run(schedule__epochs=1)
    assert json.loads((FOLDER / "run.json").read_text())["status"] == "done"
    last = list(RunFolder(FOLDER).records())[-1]
    assert last == finished.result == listener.records[-1]
    assert Path(last["checkpoint"]).is_dir()
    assert (FOLDER / "report.html").is_file()
