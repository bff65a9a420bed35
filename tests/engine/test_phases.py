"""Tasks of several `fit` calls: own folders, own seeds, restored rather than repeated."""

import signal
from pathlib import Path

import pytest
import torch
import toy
from safetensors.torch import load_file
from torch import nn

from qr_cli.engine.resolve import resolve
from qr_cli.engine.task import Best, Parts, Staged
from qr_cli.engine.train import train
from qr_cli.errors import Interrupted


class Phase(toy.ToyTask):
    """The toy once more, before itself."""

    epochs, max_steps, clip_norm = 2, None, 0.0

    def __init__(self, recipe, name):
        super().__init__(recipe)
        self.name = name


class TwoPhases(toy.ToyTask):
    """Two phases, whose weights scale the targets of the main one."""

    def phases(self, run):
        for name in ("first", "second"):
            phase = Phase(self.recipe, name)
            self.parts_of = phase
            yield phase
            self.seen = {**getattr(self, "seen", {}), name: weights(phase)}

    def finish(self, run):
        (run.path / "beside.txt").write_text("done")


def weights(phase):
    return [p.detach().clone() for p in phase.made.parameters()]


@pytest.fixture(autouse=True)
def _keep_models(monkeypatch):
    usual = toy.ToyTask.parts

    def parts(self, *, rank, world):
        found = usual(self, rank=rank, world=world)
        self.made = found.models["main"]
        return found

    monkeypatch.setattr(toy.ToyTask, "parts", parts)


class Listener:
    def __init__(self, stop=None):
        self.records, self.stop = [], stop

    def record(self, record):
        self.records.append(record)
        if self.stop and record["event"] == "epoch" and (
            record.get("phase"), record["epoch"]) == self.stop:  # fmt: skip
            signal.raise_signal(signal.SIGINT)

    def tick(self, **progress): ...


def run(folder, listener, build=TwoPhases, **call):
    recipe = resolve(toy.ToyRecipe, given={"run.out": folder, "schedule.epochs": 2})
    return train(recipe, build, listener, command="test", **call)


def test_phases_have_folders_and_records_of_their_own(tmp_path):
    listener = Listener()
    found = run("runs", listener)
    folder = found.folder
    assert isinstance(TwoPhases(resolve(toy.ToyRecipe)), Staged)
    for name in ("first", "second"):
        assert (folder / "phases" / name / "checkpoints" / "epoch-0002").is_dir()
    saved = load_file(folder / "checkpoints" / "epoch-0002" / "model.safetensors")
    assert len(saved) == 4  # of the main network alone
    assert sorted(
        p.name for p in (folder / "checkpoints" / "epoch-0002").glob("*.safetensors")
    ) == ["model.safetensors"]
    own = [r for r in listener.records if r["event"] == "epoch"]
    assert [r.get("phase") for r in own] == ["first"] * 2 + ["second"] * 2 + [None] * 2
    main = (folder / "metrics.jsonl").read_text()
    assert '"phase"' not in main and "beside.txt" in {p.name for p in folder.iterdir()}
    assert found.result["epoch"] == 2


RARE = [
    pytest.param(stop, marks=pytest.mark.slow) for stop in (("first", 1), ("second", 2), (None, 1))
]


@pytest.mark.parametrize("stop", [("second", 1), *RARE])
def test_a_run_stopped_in_any_phase_resumes_bit_equal(stop, tmp_path):
    straight = run("straight", Listener()).folder
    with pytest.raises(Interrupted):
        run("cut", Listener(stop))
    again = Listener()
    resumed = run("cut", again, resume=True).folder
    for path in straight.rglob("model.safetensors"):
        one, two = load_file(path), load_file(resumed / path.relative_to(straight))
        assert all(torch.equal(one[k], two[k]) for k in one), path
    if stop[0] is None:
        assert not [r for r in again.records if "phase" in r]


class Solved:
    """A task whose model comes finished: nothing descends."""

    name, unit, best = "toy", "samples", Best("test_loss", "min")

    def __init__(self, recipe):
        self.recipe = recipe

    def parts(self, *, rank, world):
        return Parts({"main": nn.Linear(2, 1)}, {}, None)

    def evaluate(self, models, accelerator):
        yield {"test_loss": 0.5}

    def describe(self):
        return {"task": "toy"}

    def result(self, epochs):
        return {"last_loss": epochs[-1]["test_loss"]}

    def lead(self):
        return "A solved toy."

    def plots(self, records):
        return []


def test_a_model_without_an_optimizer_is_evaluated_and_saved_once(tmp_path):
    listener = Listener()
    found = run("runs", listener, Solved)
    assert [r["event"] for r in listener.records] == ["epoch", "result"]
    assert (found.folder / "checkpoints" / "epoch-0001" / "model.safetensors").is_file()
    assert (found.folder / "best.json").is_file()
    again = Listener()
    assert run("runs", again, Solved, resume=True).result["last_loss"] == 0.5
    assert [r["event"] for r in again.records] == ["result"]
    assert Path(found.result["checkpoint"]).name == "epoch-0001"
