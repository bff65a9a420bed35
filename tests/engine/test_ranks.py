"""Two gloo ranks at the same global batch train like one process; only rank 0 writes."""

import json
import signal
import subprocess
import sys

import pytest
import torch
from processes import ROOT, environment, leftovers, lines, newest, settings
from safetensors.torch import load_file

# float64 throughout, so that a wrong factor cannot hide among rounding
COMMON = {"model__dropout": 0, "model__wide": True}


def trained(server, name, *, ranks, resume=False, **values):
    arguments = ["--out", name, *(["--resume"] if resume else []), *settings(**COMMON | values)]
    server.start(*arguments, ranks=ranks, log=f"{name}.log")
    codes = server.wait()
    assert codes == [0] * ranks, server.log.read_text()
    return server.log.parent / name / "toy/run"


@pytest.mark.parametrize(
    ("kind", "accumulate"), [("plain", 1), ("norm", 1), ("pair", 1), ("plain", 2), ("pair", 2)]
)
def test_two_ranks_train_like_one_process(server, kind, accumulate):
    values = {
        "model__kind": kind,
        "loader__accumulate": accumulate,
        "schedule__epochs": 2,
        "schedule__ema": 0.5,
    }
    one = trained(server, "one", ranks=1, **values)
    two = trained(server, "two", ranks=2, **values)
    for name in ("model.safetensors", "ema.safetensors"):
        expected, found = load_file(newest(one) / name), load_file(newest(two) / name)
        assert expected.keys() == found.keys()  # no wrapper in the names
        for key, value in expected.items():
            # float64: sums over halves are in another order
            torch.testing.assert_close(found[key], value, rtol=0, atol=1e-10)
    for a, b in zip(lines(one), lines(two), strict=True):
        assert a[0] == b[0]
        # float64, as above
        assert dict(a[1:]) == pytest.approx(dict(b[1:]), rel=1e-9)
    assert leftovers(two) == []


def test_batch_norm_without_shared_statistics_trains_otherwise(server):
    values = {"model__kind": "norm", "schedule__epochs": 1}
    one = trained(server, "one", ranks=1, **values)
    two = trained(server, "two", ranks=2, run__sync_bn=False, **values)
    name = "0.weight"
    a, b = (load_file(newest(path) / "model.safetensors")[name] for path in (one, two))
    assert (a - b).abs().max() > 1e-6


def test_two_ranks_leave_the_files_of_one_process(server):
    one = trained(server, "one", ranks=1, schedule__epochs=1)
    two = trained(server, "two", ranks=2, schedule__epochs=1)
    files = [
        sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
        for folder in (one, two)
    ]
    assert [f for f in files[1] if f not in files[0]] == [
        "checkpoints/epoch-0001/random_states_1.pkl"
    ]
    events = [dict(line)["event"] for line in lines(two)]
    assert events == [dict(line)["event"] for line in lines(one)]
    assert json.loads((two / "run.json").read_text())["processes"] == 2


def test_a_run_of_two_ranks_is_resumed_by_one_and_the_other_way_round(server):
    straight = trained(server, "straight", ranks=1)
    expected = load_file(newest(straight) / "model.safetensors")
    for name, ranks in (("down", (2, 1)), ("up", (1, 2))):
        arguments = ["--out", name, "--say-steps", *settings(**COMMON)]
        server.start(*arguments, ranks=ranks[0], log=f"{name}.log")
        interrupt_at(server, step=9)
        folder = trained(server, name, ranks=ranks[1], resume=True)
        found = load_file(newest(folder) / "model.safetensors")
        for key, value in expected.items():
            # float64: sums over halves are in another order
            torch.testing.assert_close(found[key], value, rtol=0, atol=1e-10)


def interrupt_at(server, step):
    """Interrupt all ranks once a step is done, and see that they save."""
    while f"step {step}\n" not in server.log.read_text():
        assert not server.ended(0.001), server.log.read_text()
    server.send(signal.SIGINT)
    codes = server.wait()
    assert codes == [130] * len(codes), server.log.read_text()


def test_ranks_drop_different_units(server):
    folder = newest(trained(server, "two", ranks=2, schedule__epochs=1, model__dropout=0.5))
    states = [
        torch.load(folder / f"random_states_{rank}.pkl", weights_only=False)["torch_manual_seed"]
        for rank in range(2)
    ]
    assert not torch.equal(*states)


def test_the_launcher_runs_a_command_once_per_rank_and_one_of_them_speaks():
    done = launch("2", "list", "modules", "--json")
    assert done.returncode == 0, done.stderr
    names = [json.loads(line)["name"] for line in done.stdout.splitlines()]
    assert "se" in names
    assert len(names) == len(set(names))


def test_the_launcher_exits_with_the_code_of_the_rank_that_failed():
    done = launch("2", "list", "nonsense")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_rank_that_is_killed_makes_the_run_fail(monkeypatch):
    import logging

    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
    from torch.distributed.launcher import api

    from qr_cli.engine import launch as launcher

    def killed(config, program):
        def run(*arguments):
            failure = ProcessFailure(local_rank=1, pid=1, exitcode=-9, error_file="none")
            raise ChildFailedError("qr", {1: failure})

        return run

    monkeypatch.setattr(api, "elastic_launch", killed)
    monkeypatch.setattr(logging, "disable", lambda level: None)
    assert launcher.main(2, ["list"]) == 6


def launch(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "qr_cli.engine.launch", *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )


def test_a_signal_to_the_launcher_is_told_by_its_exit_code(monkeypatch):
    import logging
    import signal as signals

    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.launcher import api

    from qr_cli.engine import launch as launcher

    def stopped(config, program):
        def run(*arguments):
            raise SignalException("got signal", sigval=signals.SIGINT)

        return run

    monkeypatch.setattr(api, "elastic_launch", stopped)
    monkeypatch.setattr(logging, "disable", lambda level: None)
    assert launcher.main(2, ["list"]) == 130


@pytest.mark.slow
def test_control_c_at_the_launcher_reaches_the_ranks_which_save(tmp_path):
    command = "2 train attention --data shapes --limit-train 640 --epochs 9 --batch-size 32"
    process = subprocess.Popen(
        [sys.executable, "-m", "qr_cli.engine.launch", *command.split()]
        + ["--num-processes", "2", "--name", "t", "--out", str(tmp_path), "--log-steps", "2"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()  # the first record
    process.send_signal(signal.SIGINT)
    _, talk = process.communicate(timeout=120)
    assert process.returncode == 130, talk
    assert talk.count("interrupted at step ") == 1
    assert "Traceback" not in talk
    assert "Warning" not in talk
    assert newest(tmp_path / "attention/t").is_dir()
    # no device was named: without a GPU, ranks must still find each other
    assert json.loads((tmp_path / "attention/t/run.json").read_text())["processes"] == 2
