"""Crashes, full disks and damaged files: the checkpoint before stays whole and usable."""

import errno
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import toy
from processes import differences, leftovers, newest
from safetensors.torch import load_file

from qr_cli.engine import checkpoint
from qr_cli.errors import EnvironmentFault, RunFailed, WeightsError


class Crash(BaseException):
    """The process is gone: nothing may catch this."""


def crash(*arguments, **options):
    raise Crash


def checked(folder, expected):
    """See that latest.json names a whole checkpoint of this name."""
    found = newest(folder)
    assert found.name == expected
    assert load_file(found / "model.safetensors")
    assert json.loads((found / "progress.json").read_text())["step"]


def nth(function, count, *, after=False):
    """Return a function that crashes at its nth call, before or after doing its work."""
    calls = iter(range(1, 10_000))

    def counted(*arguments, **options):
        due = next(calls) == count
        if due and not after:
            crash()
        result = function(*arguments, **options)
        if due:
            crash()
        return result

    return counted


@pytest.mark.parametrize(
    ("name", "count", "after", "latest"),
    [
        ("_publish", 1, False, None),  # written, not yet renamed: no checkpoint yet
        ("_publish", 2, False, "epoch-0001"),
        ("_publish", 1, True, None),  # renamed, not yet pointed to
        ("_publish", 2, True, "epoch-0001"),
        ("_point", 3, True, "epoch-0002"),  # latest.json moved, best.json not
        ("_rotate", 3, False, "epoch-0003"),
        ("write_text", 9, False, "epoch-0002"),
    ],
)
def test_a_crash_between_two_steps_of_saving_leaves_a_whole_run(
    name, count, after, latest, monkeypatch, tmp_path
):
    values = {"schedule__epochs": 4, "run__keep": 1}
    straight, _ = toy.run("straight", **values)
    folder = tmp_path / "cut/toy/run"
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, name, nth(getattr(checkpoint, name), count, after=after))
        with pytest.raises(Crash):
            toy.run("cut", **values)
    if latest:
        checked(folder, latest)
    else:
        assert not (folder / "latest.json").exists()
    toy.run("cut", resume=True, **values)
    assert differences(folder, straight.folder) == []
    assert leftovers(folder) == []
    assert names(folder) == names(straight.folder)


def names(folder):
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def test_a_crash_while_an_old_checkpoint_is_deleted_leaves_no_half_of_it(monkeypatch, tmp_path):
    real = shutil.rmtree

    def half(path, *arguments, **options):
        if Path(path).name.startswith((".epoch-0001.old", "epoch-0001")):
            if not Path(path).exists():
                return
            (Path(path) / "model.json").unlink()
            crash()
        real(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.shutil, "rmtree", half)
        with pytest.raises(Crash):
            toy.run(run__keep=1)
    visible = [p for p in (tmp_path / "runs/toy/run/checkpoints").glob("epoch-*")]
    assert all((path / "model.json").exists() for path in visible)
    toy.run(resume=True, run__keep=1)
    assert leftovers(tmp_path / "runs/toy/run") == []


def test_rotation_keeps_the_newest_and_the_best(tmp_path):
    class Early(toy.ToyTask):
        figures = iter([0.9, 0.1, 0.5, 0.6, 0.7, 0.8])

        def evaluate(self, models, accelerator):
            yield {"test_loss": next(self.figures)}

    finished, _ = toy.run(task=Early, schedule__epochs=6, run__keep=2, run__save_steps=5)
    assert names(finished.folder) == ["epoch-0002", "epoch-0006", "step-00000040"]
    assert checkpoint.resolve(finished.folder, "best").name == "epoch-0002"
    assert checkpoint.resolve(finished.folder, "last").name == "epoch-0006"


def test_the_model_of_a_checkpoint_can_be_read_without_the_rest():
    finished, _ = toy.run(schedule__ema=0.5)
    folder = checkpoint.resolve(finished.folder, "best")
    for extra in ("optimizer.bin", "random_states_0.pkl", "progress.json"):
        (folder / extra).unlink()
    assert checkpoint.read_card(folder) == {"task": "toy", "kind": "plain"}
    weights = checkpoint.read_weights(folder)
    assert weights.keys() == load_file(folder / "ema.safetensors").keys()
    assert weights["0.weight"].equal(load_file(folder / "ema.safetensors")["0.weight"])


# full disks --------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 300 KiB, which holds some checkpoints of a toy but not all."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a disk can be mounted by root only")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.parametrize(  # the limit strikes in other files
    "width", [300, *(pytest.param(width, marks=pytest.mark.slow) for width in (8, 1100))]
)
def test_a_full_disk_is_a_fault_of_the_machine_and_leaves_the_checkpoint_before(small_disk, width):
    values = {"run__keep": 9, "schedule__epochs": 30, "model__width": width, "optim__lr": 1e-4}
    with pytest.raises(EnvironmentFault) as caught:
        toy.run(small_disk, **values)
    assert caught.value.exit_code == 5
    assert "--resume" in caught.value.hint
    assert any(words in caught.value.message for words in ("No space left", "is the disk full?"))
    folder = small_disk / "toy/run"
    done = newest(folder)
    load_file(done / "model.safetensors")
    assert leftovers(folder / "checkpoints") == []
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    toy.run(small_disk, resume=True, **values)
    straight, _ = toy.run("straight", **values)
    assert differences(folder, straight.folder) == []


@pytest.mark.parametrize("name", ["write_text", "_publish", "save_tensors"])
def test_a_refusing_disk_gives_a_fault_and_keeps_the_checkpoint_before(name, monkeypatch, tmp_path):
    real, calls = getattr(checkpoint, name), iter(range(1, 1000))
    limit = 6 if name == "write_text" else 2

    def refusing(*arguments, **options):
        if next(calls) >= limit:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, name, refusing)
        with pytest.raises(EnvironmentFault, match="No space left on device"):
            toy.run(schedule__ema=0.5)
    checked(tmp_path / "runs/toy/run", "epoch-0001")
    assert names(tmp_path / "runs/toy/run") == ["epoch-0001"]


def test_records_that_cannot_be_written_are_a_fault_of_the_machine(tmp_path):
    def refuse(tick):
        if tick == 9:
            metrics = tmp_path / "runs/toy/run/metrics.jsonl"
            metrics.unlink()
            metrics.mkdir()

    with pytest.raises(EnvironmentFault, match=r"cannot write .*metrics\.jsonl"):
        toy.run(at=refuse)


def test_a_report_that_cannot_be_written_does_not_hide_how_the_run_ended(monkeypatch, tmp_path):
    from qr_cli.engine import train

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(train, "write_report", full)
    with pytest.raises(RunFailed, match="not finite at step 3"):
        toy.run(model__nan_at=3)
    assert "cannot write report.html: No space" in (tmp_path / "runs/toy/run/log.txt").read_text()


# damage ------------------------------------------------------------------------------------------


def empty(path):
    path.write_bytes(b"")


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garbage(path):
    path.write_bytes(b"\x80garbage" * 100)


def missing(path):
    path.unlink()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("damage", [empty, truncated, garbage, missing])
@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors",
        "ema.safetensors",
        "optimizer.bin",
        "random_states_0.pkl",
        "progress.json",
    ],
)
def test_a_damaged_checkpoint_is_not_resumed(name, damage, run_of_one_epoch):
    damage(newest(run_of_one_epoch / "toy/run") / name)
    with pytest.raises(WeightsError) as caught:
        toy.run(run_of_one_epoch, resume=True, schedule__ema=0.5, schedule__epochs=1)
    assert "cannot be resumed: " in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 4
    assert caught.value.hint == "--overwrite starts the run again"


@pytest.fixture(scope="module")
def _one_epoch(tmp_path_factory):
    out = tmp_path_factory.mktemp("one")
    toy.run(out, schedule__ema=0.5, schedule__epochs=1)
    return out


@pytest.fixture
def run_of_one_epoch(_one_epoch, tmp_path):
    shutil.copytree(_one_epoch, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"epoch": 1}'])
def test_a_damaged_pointer_is_named(text, run_of_one_epoch):
    (run_of_one_epoch / "toy/run/latest.json").write_text(text)
    with pytest.raises(WeightsError, match=r"latest\.json cannot be read"):
        toy.run(run_of_one_epoch, resume=True, schedule__ema=0.5, schedule__epochs=1)


def test_a_pointer_to_nothing_is_not_resumed(run_of_one_epoch):
    shutil.rmtree(newest(run_of_one_epoch / "toy/run"))
    with pytest.raises(WeightsError, match="cannot be resumed"):
        toy.run(run_of_one_epoch, resume=True, schedule__ema=0.5, schedule__epochs=1)


def test_reading_what_is_no_checkpoint_says_so(tmp_path):
    with pytest.raises(WeightsError, match="holds no checkpoint"):
        checkpoint.resolve(tmp_path)
    with pytest.raises(WeightsError, match="is not a checkpoint"):
        checkpoint.read_card(tmp_path)
    with pytest.raises(WeightsError, match="no such file"):
        checkpoint.read_weights(tmp_path)
