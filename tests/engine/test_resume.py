"""A run stopped anyhow and resumed equals the run that was not, bit for bit (CPU, fp32)."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
import toy
from processes import TOY, differences, environment, leftovers, newest, settings

from qr_cli.errors import Interrupted

VARIANTS = {
    "onecycle": {},
    "averaged": {"schedule__ema": 0.7, "model__kind": "norm"},
    "cosine, two models": {"schedule__schedule": "cosine", "model__kind": "pair"},
    "accumulating": {"loader__batch_size": 4, "loader__accumulate": 2, "optim__clip_norm": 0.5},
    "saving often": {"run__save_steps": 3, "schedule__schedule": "multistep",
                     "schedule__milestones": "1,2"},
}  # fmt: skip


def stopped(out, step, **values):
    """Interrupt a run of this process after a step."""

    def at(tick):
        if tick == step:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted) as caught:
        toy.run(out, at=at, resume=os.path.exists(out), **values)
    return caught.value


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_interrupted_anywhere_resumes_bit_equal(variant, tmp_path):
    values = VARIANTS[variant]
    straight, listener = toy.run("straight", **values)
    steps = listener.ticks
    ends = [steps // 3, 2 * steps // 3]  # the last updates of epochs
    for step in [1, *ends, *random.Random(variant).sample(range(2, steps - 1), 3)]:
        fault = stopped("cut", step, **values)
        assert f"interrupted at step {step}; saved" in fault.message
        assert newest(tmp_path / "cut/toy/run").name in fault.message
        toy.run("cut", resume=True, **values)
        assert differences(tmp_path / "cut/toy/run", straight.folder) == []
        shutil.rmtree("cut")


def test_a_run_interrupted_after_every_few_steps_resumes_bit_equal(tmp_path):
    values = VARIANTS["averaged"]
    straight, _ = toy.run("straight", **values)
    for _ in range(6):
        stopped("cut", 3, **values)
    toy.run("cut", resume=True, **values)
    assert differences(tmp_path / "cut/toy/run", straight.folder) == []


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    straight, _ = toy.run("straight")
    shutil.copytree("straight", "again")
    toy.run("again", resume=True)
    assert differences(tmp_path / "again/toy/run", straight.folder) == []


def test_resuming_where_there_is_no_run_starts_one(tmp_path):
    straight, _ = toy.run("straight")
    toy.run("new", resume=True)
    assert differences(tmp_path / "new/toy/run", straight.folder) == []


def test_patience_goes_on_counting_where_it_was(tmp_path):
    values = {"schedule__patience": 2, "optim__lr": 0.9, "schedule__epochs": 8}
    straight, listener = toy.run("straight", **values)
    stopped("cut", max(1, listener.ticks - 8), **values)
    toy.run("cut", resume=True, **values)
    assert differences(tmp_path / "cut/toy/run", straight.folder) == []


# kill -9 -----------------------------------------------------------------------------------------

LONG = settings(
    schedule__epochs=12, run__save_steps=3, schedule__ema=0.7, model__kind="norm", run__log_steps=4
)


def killed(server, name, dice, span, *arguments):
    """Start or resume a run, kill it at a random moment; tell whether it had ended by itself."""
    server.start("--out", name, "--resume", *arguments, log=f"{name}.log")
    if server.ended(dice.uniform(0, span)):
        assert server.wait() == [0], server.log.read_text()
        return False
    return server.kill() == [-signal.SIGKILL]


def finished(server, name, *arguments):
    server.start("--out", name, "--resume", *arguments, log=f"{name}.log")
    assert server.wait() == [0], server.log.read_text()


@pytest.fixture
def straight(server, tmp_path):
    """Run without a stop; return its folder and how long it took."""
    started = time.monotonic()
    finished(server, "straight", *LONG)
    return tmp_path / "straight/toy/run", time.monotonic() - started


def equal(run, straight):
    assert differences(run, straight) == []
    assert leftovers(run) == []


def killed_often(server, run, straight, *, kills, span):
    """Kill and resume a run, and another one whenever one comes to its end between two kills."""
    dice = random.Random()  # any moment must do
    while kills:
        if killed(server, "cut", dice, span, *LONG):
            kills -= 1
        else:
            equal(run, straight)
            shutil.rmtree("cut")
    finished(server, "cut", *LONG)
    equal(run, straight)


def test_a_run_killed_at_random_moments_resumes_bit_equal(server, straight, tmp_path):
    folder, span = straight
    killed_often(server, tmp_path / "cut/toy/run", folder, kills=3, span=span / 2)


@pytest.mark.slow
def test_a_run_killed_twenty_times_is_bit_equal(server, straight, tmp_path):
    folder, span = straight
    killed_often(server, tmp_path / "cut/toy/run", folder, kills=20, span=span / 3)


@pytest.mark.slow
def test_twenty_runs_killed_once_are_bit_equal(server, straight, tmp_path):
    folder, span = straight
    dice = random.Random()
    for number in range(20):
        while not killed(server, f"cut{number}", dice, span, *LONG):
            shutil.rmtree(f"cut{number}")
        finished(server, f"cut{number}", *LONG)
        equal(tmp_path / f"cut{number}/toy/run", folder)


# Ctrl-C ------------------------------------------------------------------------------------------


def started(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, str(TOY), "--say-steps", *arguments],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_control_c_saves_exits_130_with_a_message_and_resumes_bit_equal(tmp_path):
    values = {"schedule__epochs": 6, "loader__workers": 1}
    toy.run("straight", **values)
    arguments = ["--out", "cut", *settings(**values)]
    process = started(*arguments, start_new_session=True)
    while process.stdout.readline() != "step 10\n":
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)  # a terminal reaches the workers as well
    _, talk = process.communicate(timeout=60)
    assert process.returncode == 130, talk
    assert talk.startswith("interrupted at step ")
    assert "saved cut/toy/run/checkpoints/" in talk
    assert "add --resume to the same command" in talk
    assert '"status": "interrupted"' in (tmp_path / "cut/toy/run/run.json").read_text()
    toy.run("cut", resume=True, **values)
    assert differences(tmp_path / "cut/toy/run", tmp_path / "straight/toy/run") == []


def test_a_second_control_c_stops_at_once(server):
    server.start("--out", "cut", "--say-steps", *settings(schedule__epochs=400, model__size=4000))
    while "step 3\n" not in server.log.read_text():
        assert not server.ended(0.001)
    codes = None
    while codes is None:  # until one lands after the first and before the run has saved and gone
        server.send(signal.SIGINT)
        codes = server.wait() if server.ended(0.001) else None
    assert codes in ([130], [-signal.SIGINT])
