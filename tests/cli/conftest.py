"""How a command line is called in tests: in this process, or as one of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from qr_cli.cli.app import run
from qr_cli.cli.output import out

ROOT = Path(__file__).parents[2]
SMALL = (
    *("train", "attention", "--arch", "resnet8", "--data", "shapes(test=64,train=128)"),
    *("--epochs", "1", "--device", "cpu"),
)


class Answer(NamedTuple):
    """What a command line gave back."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict]:
        """The lines of stdout, each of which must be JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def qr(capsys):
    """Call a command line in this process."""

    def call(*words: str) -> Answer:
        capsys.readouterr()
        code = run(list(words))
        return Answer(code, *capsys.readouterr())

    yield call
    out.configure()


@pytest.fixture
def start():
    """Start a command line as a process of its own."""

    def begin(*words: str, **settings) -> subprocess.Popen:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"}
        command = [sys.executable, "-m", "qr_cli", *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=environment, **pipes | settings)

    return begin


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """A finished run, for tests that only look at one."""
    folder = tmp_path_factory.mktemp("trained")
    assert run([*SMALL, "--out", str(folder), "--name", "small", "--quiet"]) == 0
    return folder / "attention" / "small"


@pytest.fixture
def received(monkeypatch):
    """Replace training by a note of what it was given; returns the notes."""
    from qr_cli.engine.train import Finished

    notes: list[dict] = []

    def train(recipe, build, listener, **settings):
        notes.append({"recipe": recipe, "task": build, **settings})
        listener.tick(epoch=1, epochs=1, step=1, steps=1)
        epoch = {"event": "epoch", "epoch": 1, "loss": 2.0, "test_top1": 0.5, "seconds": 1.0}
        result = {"event": "result", "last_top1": 0.5, "best_top1": 0.5, "best_epoch": 1}
        for record in (epoch, result):
            listener.record(record)
        return Finished(Path(recipe.run.out) / "attention" / recipe.run_name, result)

    monkeypatch.setattr("qr_cli.engine.train.train", train)
    return notes
