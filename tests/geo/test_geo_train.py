"""Training: recipes, phases, run folders, files, what is refused; the slow ones learn something."""

import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from pydantic import ValidationError
from safetensors.torch import load_file

from qr_cli.cli.app import run
from qr_cli.engine.resolve import by_name, resolve
from qr_cli.engine.train import train
from qr_cli.errors import Interrupted
from qr_cli.geo.augment import renamed
from qr_cli.geo.checker import check
from qr_cli.geo.corpus import Generated, dropped
from qr_cli.geo.givens import read_problem
from qr_cli.geo.program import execute
from qr_cli.geo.records import Problem
from qr_cli.geo.synth import FAMILIES, make
from qr_cli.geo.task import _course, task_of
from qr_cli.geo.train_recipe import GeoTrain
from qr_cli.geo.weights import load_model

RECIPES = sorted((Path(__file__).parents[2] / "recipes" / "geo").glob("*.yaml"))
SHORT = (
    "--samples", "64", "--epochs", "2", "--batch-size", "8", "--eval-samples", "4",
    "--name", "short",
    "--families", "triangle-sum,hypotenuse,which-arc,proof-14-30-6", "--look-share", "0.25",
    "--mep-share", "0.25", "--ema", "0.9", "--json",
)  # fmt: skip


def lines(capfd):
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_a_run_goes_through_its_phases_and_can_be_used(capfd, tmp_path):
    assert run(["train", "geo", "--phases", "look,mep,unified", *SHORT]) == 0
    told = lines(capfd)
    phases = [r.get("phase", "main") for r in told if r["event"] == "epoch"]
    assert phases == ["look", "mep", "main", "main"]
    epochs = [r for r in told if r["event"] == "epoch"]
    assert "loss_marks" in epochs[0] and "loss_words" not in epochs[0]
    assert {"loss_words", "loss_figure", "loss_marks", "figure_right"} <= set(epochs[2])
    assert {"acc_seen", "acc_unseen", "acc_diagram", "valid_proof", "figure", "bleu"} <= set(
        epochs[3]
    )
    folder = tmp_path / "runs" / "geo" / "short"
    assert (folder / "report.html").is_file()
    model, card = load_model(str(folder))
    assert card["preset"] == "geoformer-tiny" and card["words"] == list(model.vocabulary.words)
    words = ["--solver", "network", "--checkpoint", str(folder), "--json"]
    assert (
        run(["solve-geo", "--text", "In triangle ABC, angle A = 50, AB = 3. Find AC.", *words]) == 0
    )
    assert lines(capfd)[0]["checkpoint"] == "short"


def test_the_plan_says_words_parameters_and_steps(capfd):
    assert run(["train", "geo", "--dry-run", *SHORT]) == 0
    (plan,) = lines(capfd)
    assert plan["parameters"] > 1_200_000 and plan["unified_steps"] == 6
    assert plan["problems"] == 64 and 317 < plan["words"] <= 640


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--phases", "unified,mep"], 2, "--phases: should be look,mep,unified or a part"),
        (["--mix", "0,0,0"], 2, "--mix: one share must be above 0"),
        (["--preset", "geoformer"], 2, "--train: geoformer learns from files"),
        (["--preset", "geoformer", "--train", "p.jsonl"], 2, "--weights: geoformer needs DIR"),
        (["--preset", "geoformer", "--train", "p.jsonl", "--weights", "."], 4,
         "geoformer needs --weights DIR with model.safetensors and spiece.model"),
        (["--resnet", "x.pth"], 2, "--resnet: belongs to --preset geoformer"),
        (["--train", "none.jsonl"], 3, "none.jsonl: no such file"),
        (["--train", "open.jsonl"], 3, "has no program to learn from"),
        (["--train", "p.jsonl", "--max-length", "3"], 3,
         "1 of 2 targets are longer than 3 words"),
        (["--weights", "nowhere"], 4, "no such name or folder, got nowhere"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_said_in_a_sentence(words, code, message, capfd, tmp_path):
    own_problems(tmp_path)
    (tmp_path / "open.jsonl").write_text('{"id": "1", "text": "AB = 3. Find AC."}\n')
    assert run(["train", "geo", *words]) == code
    err = capfd.readouterr().err
    assert message in " ".join(err.split()) and "Traceback" not in err


def own_problems(folder):
    rows = [
        {"id": "1", "text": "In △ABC, ∠A = 50°, AB = AC. Find ∠B.", "choices": ["65", "50"],
         "label": 0, "program": "g_minus C_3 N_0 g_half V_0"},
        {"id": "2", "text": "AB = 3, BC = 2 AB. Find BC.", "choices": ["6", "5"], "label": 0,
         "program": "g_double N_0"},
    ]  # fmt: skip
    (folder / "p.jsonl").write_text("\n".join(map(json.dumps, rows)))


def test_problems_of_a_file_are_learnt_and_chosen_by(capfd, tmp_path):
    own_problems(tmp_path)
    words = ["--train", "p.jsonl", "--val", "p.jsonl", "--epochs", "2", "--ema", "0", "--json"]
    assert run(["train", "geo", *words, "--phases", "mep,unified", "--mep-epochs", "1"]) == 0
    told = lines(capfd)
    assert [r.get("phase", "main") for r in told if r["event"] == "epoch"] == [
        "mep",
        "main",
        "main",
    ]
    assert "acc_val" in told[-2] and told[-1]["event"] == "result"


def test_a_folder_of_t5_becomes_a_geoformer_that_learns(capfd, tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers")
    from qr_cli.geo import geoformer, official
    from qr_cli.geo.pieces import Pieces
    from tests.geo.test_geoformer import Letters

    monkeypatch.setattr(
        official, "tokenizer", lambda folder, size: Pieces(Letters(), size, str(folder))
    )
    monkeypatch.setattr(geoformer, "RESNET_101", (1, 1, 1, 1))
    monkeypatch.setattr(geoformer.Geoformer.__init__, "__kwdefaults__",
                        {"depths": (1, 1, 1, 1), "vision_bn": "eval", "pad": 0})  # fmt: skip
    config = transformers.T5Config(vocab_size=400, d_model=16, d_kv=4, d_ff=16, num_layers=1,
                                   num_heads=2, tie_word_embeddings=True)  # fmt: skip
    transformers.T5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    (tmp_path / "t5" / "spiece.model").write_bytes(b"")
    own_problems(tmp_path)
    weights = geoformer.Geoformer().resnet.state_dict()
    names = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
    torch.save({f"{names[k[0]]}{k[1:]}": v for k, v in weights.items()}, tmp_path / "resnet.pth")
    words = [
        "--preset", "geoformer", "--weights", "t5", "--resnet", "resnet.pth", "--train", "p.jsonl",
        "--val", "p.jsonl", "--epochs", "1", "--ema", "0", "--aux", "0", "--json",
        "--phases", "unified", "--name", "official", "--max-length", "60",
    ]  # fmt: skip
    assert run(["train", "geo", *words]) == 0
    told = lines(capfd)
    assert "acc_val" in told[-2]
    words = ["--solver", "network", "--beams", "2", "--checkpoint", "runs/geo/official"]
    assert run(["eval", "geo", "p.jsonl", *words, "--max-length", "60", "--json"]) == 0
    assert lines(capfd)[0]["n"] == 2


def test_examples_depend_on_seed_and_number_alone():
    mix = {"proof": 1.0, "calculation": 1.0, "diagram": 1.0}
    one, two = (Generated(3, mix, size=4, word_drop=0.1) for _ in range(2))
    for index in range(4):
        a, b = one.example(index, 1), two.example(index, 1)
        assert (a.source, a.target, a.relation) == (b.source, b.target, b.relation)
        assert (a.picture is None) == (b.picture is None)
    assert one.example(0, 0).source != one.example(0, 1).source  # no epoch repeats another


def test_dropped_words_become_buckets_and_letters_stay():
    source = ["find", "angle", "A", "N_0"] * 50
    some = dropped(source, np.random.default_rng(0), 0.5)
    kinds = {a: {b[:2] for b in some[i::4]} for i, a in enumerate(source[:4])}
    assert kinds == {"find": {"fi", "<w"}, "angle": {"an"}, "A": {"A"}, "N_0": {"N_"}}
    assert dropped(source, np.random.default_rng(0), 0.0) is source


def test_renamed_problems_mean_the_same():
    rng = np.random.default_rng(1)
    for sample in make(12, seed=3, mix={"proof": 1.0}, image=False):
        other = renamed(sample.problem, rng)
        asked = read_problem(other.text, elements=other.elements)
        assert check(asked, other.proof).verdict in ("verified", "needs-diagram")
        assert other.text != sample.problem.text
    one = Problem("1", "calculation", "In △ABC, AB = 3. A_1", program="g_half N_0", numbers=(3.0,))
    other = renamed(one, rng)
    assert other.program == one.program and execute(other.program, [3.0]).value == 1.5
    assert other.text.startswith("In △") and len(other.text) == len(one.text)
    same = renamed(sample.problem, rng, letters=False)
    assert sorted(same.elements) == sorted(sample.problem.elements)


def test_the_rate_rises_then_falls_to_its_floor():
    factor = _course(1000, 100, 0.03)
    assert factor(0) == pytest.approx(1 / 101) and factor(99) < 1
    assert factor(100) == 1 and factor(1000) == pytest.approx(0.03)
    assert _course(1000, 0.1, 0.0)(550) == pytest.approx(0.5)
    assert _course(100, 500, 0.0)(25) == 1  # a short run has a short warm-up


@pytest.mark.parametrize("values", [{"phases": ["look"]}, {"phases": []}, {"mix": [1, 2]}])
def test_data_that_cannot_be_meant(values):
    with pytest.raises(ValidationError):
        GeoTrain.model_validate({"data": values})


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_the_families_of_a_shipped_recipe_exist(path):
    data = yaml.safe_load(path.read_text("utf-8")).get("data", {})
    assert set(data.get("families", ())) <= set(FAMILIES)


@pytest.mark.slow
def test_six_families_are_learnt_in_the_smoke_recipe(capfd, tmp_path):
    assert run(["train", "geo", "--recipe", "tiny-smoke", "--name", "smoke", "--json"]) == 0
    epochs = [r for r in lines(capfd) if r["event"] == "epoch"]
    assert epochs[-1]["loss"] < epochs[0]["loss"] / 2
    words = ["--solver", "network", "--checkpoint", "runs/geo/smoke", "--beams", "1,10", "--by"]
    assert run(["eval", "geo", "synth:seen", *words, "family", "--samples", "400", "--json"]) == 0
    families = {"triangle-sum", "base-from-apex", "apex-from-base", "hypotenuse", "leg"}
    found = [r for r in lines(capfd) if r["category"] in families and r["k"] == 10]
    assert sum(r["acc"] for r in found) / len(found) > 0.6


class StopAfter:
    """A listener that interrupts when the first epoch of a phase is recorded."""

    def __init__(self, phase):
        self.phase = phase

    def record(self, record):
        if record["event"] == "epoch" and (record.get("phase"), record["epoch"]) == self.phase:
            signal.raise_signal(signal.SIGINT)

    def tick(self, **progress): ...


@pytest.mark.slow
@pytest.mark.parametrize("phase", [("mep", 1), (None, 1)])
def test_a_run_that_was_stopped_and_resumed_is_the_straight_one(phase, tmp_path):
    names = ("triangle-sum", "hypotenuse", "which-arc", "proof-14-30-6")
    given = {"phases": ["mep", "unified"], "families": names, "samples": 64, "epochs": 2,
             "batch_size": 8, "eval_samples": 4, "mep_share": 0.25, "ema": 0.9}  # fmt: skip

    def trained(name, listener, **call):
        recipe = resolve(GeoTrain, given=by_name(GeoTrain, {"name": name, **given}))
        return train(recipe, task_of, listener, command="test", **call).folder

    straight = trained("straight", StopAfter(None))
    with pytest.raises(Interrupted):
        trained("cut", StopAfter(phase))
    resumed = trained("cut", StopAfter(None), resume=True)
    one, two = (
        load_file(run / "checkpoints" / "epoch-0002" / "model.safetensors")
        for run in (straight, resumed)
    )
    assert all(torch.equal(one[name], two[name]) for name in one)
