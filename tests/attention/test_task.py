"""The training task from end to end, on networks and data that take a second."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import qr_cli
from qr_cli.attention.recipe import Attention
from qr_cli.attention.task import AttentionTask
from qr_cli.errors import DataError, UsageError, WeightsError

ROOT = Path(__file__).parents[2]
SMALL = {
    "arch": "resnet8",
    "data": "shapes(test=100,train=256)",
    "epochs": 2,
    "device": "cpu",
    "batch_size": 64,
}
BF16 = {"precision": "bf16", "epochs": 1, "data": "shapes(size=16,test=20,train=64)"}  # emulated
RESULT = {
    *("event", "epoch", "last_top1", "best_top1", "best_epoch", "best_selected_on", "data"),
    *("data_sha256", "data_note", "seed", "run", "checkpoint"),
}


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """Train once per set of settings in this module; returns what `qr_cli.run` returns."""
    done = {}

    def once(**settings):
        key = tuple(sorted(settings.items()))
        if key not in done:
            out = tmp_path_factory.mktemp("runs")
            done[key] = qr_cli.run("train", "attention", out=str(out), **SMALL | settings)
        return done[key]

    return once


def records(run, event="epoch"):
    lines = (run.folder / "metrics.jsonl").read_text("utf-8").splitlines()
    return [record for line in lines if (record := json.loads(line))["event"] == event]


def weights(run):
    return load_file(Path(run.result["checkpoint"]) / "model.safetensors")


def task(**changes) -> AttentionTask:
    settings = {"data": {"data": "shapes(test=20,train=64)"}, "model": {"arch": "resnet8"}}
    for section, values in changes.items():
        settings[section] = settings.get(section, {}) | values
    return AttentionTask(Attention.model_validate(settings))


@pytest.mark.parametrize(
    "settings",
    [{}, BF16, {"val": "0.25", "module": "spem"}, {"ema": 0.9, "epochs": 1}],
    ids=["plain", "bf16", "val", "averaged"],
)
def test_eval_repeats_the_last_record_to_the_digit(train, settings):
    run = train(**settings)
    (again,) = qr_cli.run("eval", "attention", runs=(str(run.folder),), device="cpu")
    last = records(run)[-1]
    assert {k: again[k] for k in ("top1", "top5", "loss")} == {
        k: last[f"test_{k}"] for k in ("top1", "top5", "loss")
    }
    assert again["data_sha256"] == run.result["data_sha256"]


def test_eval_needs_the_checkpoint_alone(train, tmp_path):
    run = train()
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("model.safetensors", "model.json"):
        (moved / name).write_bytes((Path(run.result["checkpoint"]) / name).read_bytes())
    (again,) = qr_cli.run("eval", "attention", runs=(str(moved),), device="cpu")
    assert again["top1"] == run.result["last_top1"]


def test_eval_on_other_data_of_the_same_classes_says_so(train):
    source = "shapes(seed=3,test=50,train=50)"
    (record,) = qr_cli.run("eval", "attention", runs=(str(train().folder),), data=source)
    assert (record["data"], record["images"]) == (source, 50)
    assert record["data_sha256"] != train().result["data_sha256"]


def test_eval_of_the_best_checkpoint_is_the_best_record(train):
    run = train()
    (best,) = qr_cli.run("eval", "attention", runs=(str(run.folder),), which="best", device="cpu")
    assert best["top1"] == run.result["best_top1"]


def test_a_result_has_its_fields_and_says_on_what_the_best_was_chosen(train):
    plain, held_out = train(), train(val="0.25", module="spem")
    for run, split in ((plain, "test"), (held_out, "val")):
        assert set(run.result) == RESULT
        assert run.result["best_selected_on"] == split
        epochs = records(run)
        best = max(epochs, key=lambda record: record[f"{split}_top1"])
        assert run.result["best_epoch"] == best["epoch"]
        assert run.result["best_top1"] == best["test_top1"]
        assert run.result["last_top1"] == epochs[-1]["test_top1"]
        assert records(run, "result") == [run.result]


def test_the_same_recipe_gives_the_same_weights(train, tmp_path):
    run = train()
    again = qr_cli.run("train", "attention", recipe=str(run.folder), out=str(tmp_path))
    hashes = [
        hashlib.sha256((Path(r.result["checkpoint"]) / "model.safetensors").read_bytes())
        for r in (run, again)
    ]
    assert hashes[0].hexdigest() == hashes[1].hexdigest()


def test_a_loaded_model_knows_classes_and_normalisation(train):
    net = qr_cli.load(train().folder)
    assert not net.training
    assert len(net.classes) == 10
    assert net.input_size == (3, 32, 32)
    assert len(net.mean) == len(net.std) == 3
    assert net.card["arch"] == "qr:resnet8"


def test_auxiliary_losses_join_the_loss_with_their_weight(train):
    for record in records(train(val="0.25", module="spem")):
        # means over the same samples: the sum holds up to float32 of the batch losses
        assert record["loss"] == pytest.approx(record["ce"] + 0.1 * record["aux"], rel=1e-6)
    assert "aux" not in records(train())[0]


@pytest.mark.parametrize(
    ("module", "weight", "expected"),
    [("spem", "auto", 0.1), ("se", "auto", 0.0), ("spem", 0.5, 0.5), ("spem", 0, 0)],
)
def test_the_weight_of_auxiliary_losses(module, weight, expected):
    made = task(model={"module": module}, loss={"aux_weight": weight})
    assert made.aux_weight == expected


def test_spem_starts_with_half_per_block():
    made = task(model={"module": "spem"})
    (update,) = made.step({"main": made.model}, (torch.zeros(2, 3, 32, 32), torch.tensor([0, 1])))
    assert update.metrics["aux"].item() == pytest.approx(1.5)  # three blocks, p = (0.5, 0.5)


@pytest.mark.parametrize(("scale", "factor"), [("auto", 1.0), (3.0, 3.0)])
def test_attention_has_its_own_learning_rate(scale, factor):
    made = task(optim={"attn_lr_scale": scale, "lr": 0.1}, schedule={"schedule": "constant"})
    optimizer = made.parts(rank=0, world=1).optimizers["main"]
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert len(rates) == len(list(made.model.parameters()))
    for parameter in made.model.parameters():
        expected = 0.1 * factor if id(parameter) in made.attention else 0.1
        assert rates[id(parameter)] == pytest.approx(expected)


def test_attention_that_starts_as_the_identity_learns_ten_times_as_fast():
    made = task(model={"identity_start": "yes"}, optim={"lr": 0.1})
    assert made.describe()["identity_start"] is True
    assert made._attention_rate() == 10.0


def test_a_frozen_backbone_keeps_weights_and_batch_norm_statistics(train):
    start = train()
    run = train(freeze="backbone", checkpoint=str(start.folder), epochs=1)
    before, after = weights(start), weights(run)
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed
    assert all(".attn." in key or key.startswith("fc.") for key in changed)


def test_training_goes_on_from_a_checkpoint_of_ours(train):
    start = train()
    run = train(checkpoint=str(start.folder), epochs=1, lr=1e-8)  # so small that nothing moves
    for key, tensor in weights(start).items():
        if "running" not in key and "num_batches" not in key:
            torch.testing.assert_close(weights(run)[key], tensor, rtol=0, atol=1e-5)


def test_a_checkpoint_of_another_arch_does_not_fit(train):
    with pytest.raises(WeightsError, match="does not fit qr:resnet14"):
        task(model={"arch": "resnet14", "checkpoint": str(train().folder)})


def test_fewer_outputs_than_classes_are_refused():
    with pytest.raises(DataError, match="--num-classes: 5 is less than the 10 classes"):
        task(model={"num_classes": 5})


@pytest.mark.parametrize("module", ["srm", "ras", "bam"])
def test_a_last_batch_of_one_is_refused_before_training(module):
    made = task(data={"data": "shapes(test=20,train=65)"}, model={"module": module})
    with pytest.raises(UsageError, match="--batch-size: 64 leaves a batch of 1 of 65 images"):
        made.parts(rank=0, world=1)


def test_a_last_batch_of_one_is_taken_where_nothing_normalises_over_it():
    task(data={"data": "shapes(test=20,train=65)"}).parts(rank=0, world=1)


def test_the_report_shows_samples_of_generated_images_and_what_was_probed(train):
    names = {path.stem for path in (train().folder / "plots").iterdir()}
    assert names == {"loss", "top1", "samples"}
    probed = train(module="spem", epochs=1, probe=True)
    names = {path.stem for path in (probed.folder / "plots").iterdir()}
    assert names == {"loss", "top1", "samples", "gates", "start-gate", "spem-mix"}
    page = (probed.folder / "report.html").read_text("utf-8")
    assert "SPEM ends" in page and "10 classes of shapes" in page


@pytest.mark.slow
def test_two_processes_give_the_figures_of_one(train, tmp_path):
    """Synchronised statistics; sums run in another order, which two epochs amplify."""
    one = train()
    flags = [word for key, value in SMALL.items() for word in (_flag(key), str(value))]
    done = subprocess.run(
        [sys.executable, "-m", "qr_cli", "train", "attention", *flags, "--num-processes", "2"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    epochs = [json.loads(line) for line in done.stdout.splitlines()[:-1]]
    assert result["last_top1"] == pytest.approx(one.result["last_top1"], abs=0.03)  # of 100 images
    for mine, theirs in zip(epochs, records(one), strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=2e-3)
        assert mine["test_loss"] == pytest.approx(theirs["test_loss"], rel=2e-3)


def _flag(key: str) -> str:
    return "--" + key.replace("_", "-")
