"""What the loop does with a batch: accumulation, clipping, averaging, stopping, several models."""

import json
import math

import pytest
import torch
import toy
from safetensors.torch import load_file

from qr_cli.engine.task import Best
from qr_cli.errors import RunFailed


def weights(finished, name="model.safetensors"):
    return load_file(finished.folder / "checkpoints" / last(finished) / name)


def last(finished):
    return json.loads((finished.folder / "latest.json").read_text())["checkpoint"].split("/")[1]


def epochs(listener):
    return [record for record in listener.records if record["event"] == "epoch"]


class Watched(toy.ToyTask):
    """Keeps its model, so that a test sees the weights of every step."""

    def network(self):
        self.model = super().network()
        self.initial, Watched.last = self.vector(), self
        return self.model

    def vector(self):
        return torch.cat([p.detach().double().flatten() for p in self.model.parameters()])


def test_eight_samples_at_once_and_two_samples_four_times_train_alike():
    common = {"model__dropout": 0, "model__wide": True}
    one, heard_one = toy.run("a", loader__batch_size=8, **common)
    four, heard_four = toy.run("b", loader__batch_size=2, loader__accumulate=4, **common)
    for name, value in weights(one).items():
        # float64: a mean of eight is summed in another order than four weighted means of two
        torch.testing.assert_close(weights(four)[name], value, rtol=0, atol=1e-12)
    for a, b in zip(epochs(heard_one), epochs(heard_four), strict=True):
        assert a["step"] == b["step"]
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-12)  # as above


def test_a_gradient_over_the_limit_is_scaled_to_it():
    moves = []
    for limit in (0, 1e-3):
        toy.run(
            f"clip{limit}",
            task=Watched,
            optim__clip_norm=limit,
            optim__momentum=0,
            optim__weight_decay=0,
            optim__lr=1.0,
            schedule__schedule="constant",
            schedule__max_steps=1,
        )
        moves.append((Watched.last.vector() - Watched.last.initial).norm().item())
    assert moves[0] > 0.1
    # rate 1: the step is the clipped gradient; torch divides by norm + 1e-6, float32 weights
    assert moves[1] == pytest.approx(1e-3, rel=5e-3)


def test_averaged_weights_follow_the_equation_and_are_the_ones_evaluated():
    seen = []
    finished, listener = toy.run(
        task=Watched,
        at=lambda step: seen.append(Watched.last.vector()),
        schedule__ema=0.8,
        schedule__epochs=1,
    )
    expected = seen[0]
    for n, vector in enumerate(seen[1:], start=1):
        decay = min(0.8, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * vector
    saved = weights(finished, "ema.safetensors")
    found = torch.cat([saved[name].double().flatten() for name in ("0.weight", "0.bias")])
    # averaged in float32 by the engine, in float64 here
    torch.testing.assert_close(found, expected[: len(found)], rtol=0, atol=1e-6)
    task = Watched.last
    task.model.load_state_dict(saved)
    task.model.eval()
    loss = torch.nn.functional.mse_loss(task.model(task.x), task.y).item()
    assert epochs(listener)[-1]["test_loss"] == pytest.approx(loss, rel=1e-5)  # float32 sums


def test_patience_stops_after_so_many_epochs_without_gain():
    class Stuck(toy.ToyTask):
        figures = iter([1.0, 0.5, 0.6, 0.5, 0.7, 0.1])

        def evaluate(self, models, accelerator):
            yield {"test_loss": next(self.figures)}

    finished, listener = toy.run(task=Stuck, schedule__patience=3, schedule__epochs=6)
    assert [record["test_loss"] for record in epochs(listener)] == [1.0, 0.5, 0.6, 0.5, 0.7]
    best = json.loads((finished.folder / "best.json").read_text())
    assert (best["epoch"], best["value"]) == (2, 0.5)


def test_max_steps_ends_the_run_inside_an_epoch():
    finished, listener = toy.run(schedule__max_steps=10)
    assert listener.ticks == 10
    assert [record["step"] for record in epochs(listener)] == [7, 10]
    assert last(finished) == "epoch-0002"


def test_an_optimiser_sees_the_gradients_of_its_own_updates_only():
    class Spied(toy.ToyTask):
        def step(self, models, batch):
            for number, update in enumerate(super().step(models, batch)):
                gradients = [p.grad for p in models["rival"].parameters()]
                if number == 1:  # the first update's loss has flowed through the rival as well
                    assert gradients == [None, None]
                yield update

    toy.run(task=Spied, model__kind="pair", schedule__epochs=1)


def test_two_optimisers_train_two_models_and_keep_two_states():
    finished, listener = toy.run(model__kind="pair")
    folder = finished.folder / "checkpoints" / last(finished)
    names = {path.name for path in folder.iterdir()}
    assert {"model.safetensors", "model_1.safetensors", "optimizer.bin", "optimizer_1.bin"} <= names
    progress = json.loads((folder / "progress.json").read_text())
    assert set(progress["schedulers"]) == {"main", "rival"}


def test_each_metric_is_the_mean_over_the_samples_it_was_measured_on():
    class Counted(toy.ToyTask):
        def step(self, models, batch):
            size = torch.tensor(float(len(batch[0])))
            for name, update in zip(("first", "second"), super().step(models, batch), strict=True):
                yield update._replace(metrics={name: size if name == "first" else 2 * size})

    _, listener = toy.run(task=Counted, model__kind="pair", schedule__epochs=1)
    (record,) = epochs(listener)
    mean = (6 * 8 * 8 + 4 * 4) / 52  # six batches of eight samples, one of four
    assert (record["first"], record["second"]) == (mean, 2 * mean)


def test_the_recorded_loss_is_the_mean_over_all_samples():
    common = {"optim__lr": 1e-12, "model__dropout": 0, "schedule__epochs": 1, "model__wide": True}
    _, listener = toy.run(**common)
    (record,) = epochs(listener)
    # the weights stand still; float64, the last batch is smaller than the others
    assert record["loss"] == pytest.approx(record["test_loss"], rel=1e-9)
    assert record["twice"] == pytest.approx(2 * record["loss"], rel=1e-12)


def test_a_step_record_comes_every_so_many_updates():
    _, listener = toy.run(run__log_steps=4)
    steps = [record["step"] for record in listener.records if record["event"] == "step"]
    assert steps == [4, 8, 12, 16, 20]


def test_the_rate_in_the_last_record_is_the_lowest_of_onecycle():
    _, listener = toy.run(schedule__schedule="onecycle")
    assert epochs(listener)[-1]["lr"] == pytest.approx(0.05e-4, rel=1e-9)  # lr / 10^4


def test_one_seed_gives_one_run_and_another_seed_another():
    runs = [toy.run(f"r{n}", run__seed=seed)[0] for n, seed in enumerate((0, 0, 1))]
    first, same, other = (weights(finished)["0.weight"] for finished in runs)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("accumulate", "batches"), [(1, 9), (2, 15)])
def test_a_loss_that_is_no_number_stops_the_run_and_names_its_step(accumulate, batches, tmp_path):
    step = 9  # of 7 updates per epoch, or of 4 where two batches make one
    with pytest.raises(RunFailed) as caught:
        toy.run(model__nan_at=batches, loader__accumulate=accumulate, run__log_steps=100)
    assert f"not finite at step {step}" in caught.value.message
    assert caught.value.exit_code == 6
    latest = json.loads((tmp_path / "runs/toy/run/latest.json").read_text())
    assert latest["epoch"] == (1 if accumulate == 1 else 2)
    kept = tmp_path / "runs/toy/run" / latest["checkpoint"] / "model.safetensors"
    assert all(value.isfinite().all() for value in load_file(kept).values())
    facts = json.loads((tmp_path / "runs/toy/run/run.json").read_text())
    assert facts["status"] == "failed"


def test_the_exact_step_is_named_also_where_a_step_makes_two_updates(tmp_path):
    class Bad(toy.ToyTask):
        def step(self, models, batch):
            for update in super().step(models, batch):
                bad = self.calls == 6 and update.optimizer == "rival"
                yield update._replace(loss=update.loss * math.nan) if bad else update

    with pytest.raises(RunFailed, match="not finite at step 6"):
        toy.run(task=Bad, model__kind="pair", run__log_steps=100)


def test_weights_that_are_no_numbers_are_never_saved(tmp_path):
    class Broken(toy.ToyTask):
        def evaluate(self, models, accelerator):
            if self.calls > 7:
                next(models["main"].parameters()).data[0, 0] = math.inf
            yield {"test_loss": 1.0}

    with pytest.raises(RunFailed, match=r"0\.weight is not finite after step 14"):
        toy.run(task=Broken)
    saved = [path.name for path in (tmp_path / "runs/toy/run/checkpoints").iterdir()]
    assert saved == ["epoch-0001"]


def test_an_evaluation_loss_that_is_no_number_stops_the_run():
    class Lost(toy.ToyTask):
        def evaluate(self, models, accelerator):
            yield {"test_loss": math.nan}

    with pytest.raises(RunFailed, match="test_loss is not finite after step 7"):
        toy.run(task=Lost)


def test_a_figure_that_is_no_number_is_never_the_best():
    best = Best("top1", "max")
    assert not best.improves(math.nan, None)
    assert best.improves(0.1, None)
    assert not best.improves(0.1, 0.1)
