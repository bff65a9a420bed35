"""From data to a run to decisions, for every base; the same twice, and after a stop."""

import json
import shutil
import signal

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from qr_cli import api
from qr_cli.cli.app import run
from qr_cli.engine.resolve import by_name, resolve
from qr_cli.engine.train import train
from qr_cli.errors import DataError, Interrupted, RecipeError, UsageError, WeightsError
from qr_cli.handoff.ask_recipe import Ask
from qr_cli.handoff.bases import HANDOFF_BASES
from qr_cli.handoff.build import build, predict
from qr_cli.handoff.corpus import Corpus
from qr_cli.handoff.fast import Folded
from qr_cli.handoff.load import load, read_arrays
from qr_cli.handoff.mhch import read_jsonl
from qr_cli.handoff.recipe import Handoff
from qr_cli.handoff.runner import Network, network
from qr_cli.handoff.task import HandoffTask


def settings_of(base, tmp_path_factory):
    if base != "bert":
        return {}
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "order", "late", "broken", "great", "my"]
    (folder / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=10, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=8, max_position_embeddings=64,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(folder, safe_serialization=True)
    return {"encoder": str(folder)}


@pytest.mark.parametrize("base", HANDOFF_BASES.entries)
def test_every_base_trains_saves_loads_evaluates_streams_and_exports(
    base, trained, made, tmp_path, tmp_path_factory
):
    if base == "lr":
        pytest.importorskip("sklearn")
    run = trained(base, **settings_of(base, tmp_path_factory))
    records = api.run("eval", "handoff", runs=(str(run),), data=str(made / "dev.jsonl"),
                      bootstrap=5, policies=False)  # fmt: skip
    by_point = {r["operating_point"]: r for r in records}
    assert set(by_point) == {"default", "validated", "cost", "matched", "crossfit"}
    assert all(0 <= r["f1"] <= 1 and r["dialogues"] == 12 for r in records)
    model = load(run)
    decision = model.session().add("customer", "my order is broken")
    assert decision.p is not None
    if base in ("lr", "bert"):
        with pytest.raises(UsageError):
            export(run, tmp_path / "x.onnx")
        return
    pytest.importorskip("onnxruntime")
    assert export(run, tmp_path / "x.onnx")["max_difference"] <= 1e-5
    about = json.loads((tmp_path / "x.onnx.json").read_text())
    assert about["vocabulary"] == model.encoder.vocabulary.tokens
    assert set(about["inputs"]) >= {"tokens", "role"}


def test_a_base_that_is_fitted_is_trained_on_the_command_line(made, tmp_path, capsys):
    pytest.importorskip("sklearn")
    words = ["train", "handoff", "--base", "lr", "--data", str(made / "train.jsonl"),
             "--val-split", "0.25", "--out", str(tmp_path)]  # fmt: skip
    assert run(words) == 0
    said = capsys.readouterr()
    records = [json.loads(line) for line in said.out.splitlines()]
    assert records[-1]["event"] == "result" and "epoch 1" not in said.err


def export(run, file, **settings):
    from qr_cli.handoff.export import export

    given = {"checkpoint": str(run), "export": str(file), **settings}
    return export(resolve(Ask, given=by_name(Ask, given)))


@pytest.mark.parametrize(
    "base", ["gru", *(pytest.param(name, marks=pytest.mark.slow) for name in ("rssn", "dami"))]
)
def test_an_unrolled_export_equals_the_stream(base, trained, tmp_path):
    found = export(trained(base), tmp_path / "x.pt2", max_tokens=4)
    assert found["max_difference"] <= 1e-5
    with pytest.raises(UsageError, match="exists"):
        export(trained(base), tmp_path / "x.pt2")


def test_a_run_folder_holds_what_it_should(trained):
    run = trained()
    for name in ("recipe.yaml", "vocab.json", "calibration.json", "simulator.safetensors",
                 "metrics.jsonl", "report.html", "phases/simulator/latest.json"):  # fmt: skip
        assert (run / name).exists(), name
    epochs = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    first = next(r for r in epochs if r["event"] == "epoch")
    assert {"loss_main", "loss_score", "loss_senti", "loss_cost", "beta", "val_f1", "val_macro_f1",
            "val_auc", "val_gt1"} <= set(first)  # fmt: skip
    card = json.loads((load(run).folder / "model.json").read_text())
    assert card["base"] == "gru" and card["proxy"] == "none" and len(card["cem"]["prior"]) == 3


def test_the_folded_network_equals_the_network(trained, made):
    model = load(trained())
    dialogues = read_jsonl(made / "dev.jsonl")
    expected = predict(network(model), Corpus(dialogues, model.encoder))
    for mine, theirs in zip(model.scores(dialogues), expected, strict=True):
        np.testing.assert_allclose(mine.odds, theirs.odds, atol=1e-5)
        np.testing.assert_allclose(mine.base, theirs.base, atol=1e-5)
        np.testing.assert_allclose(mine.state, theirs.state, atol=1e-6)
    slow = Network(model)
    x, y = (r.encode([[3, 4, 2], [5]], [1, 0]) for r in (slow, model.runner))
    np.testing.assert_allclose(x, y, atol=1e-5)
    a, b = (r.step(v, np.array([1, 0]), r.start(2))[0] for r, v in ((slow, x), (model.runner, y)))
    np.testing.assert_allclose(a["needed"], b["needed"], atol=1e-6)


def test_folding_again_sees_changed_weights(trained):
    model = load(trained())
    weights = read_arrays(model.folder / "model.safetensors")
    changed = weights | {"base.embedding.weight": weights["base.embedding.weight"] * 2}
    before, after = (Folded(w, model.card).encode([[2, 3]], [1]) for w in (weights, changed))
    assert np.abs(before - after).max() > 1e-4


def test_the_embedded_path_imports_no_torch(trained):
    import subprocess
    import sys

    code = (
        "import sys; from qr_cli.handoff.load import load;"
        f"load({str(trained())!r}).session().add('customer', 'hello');"
        "assert not {'torch', 'sklearn', 'scipy', 'jieba', 'onnx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=trained().parents[5])


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_twice(made, tmp_path):
    def run(name, **more):
        given = {"data": str(made / "train.jsonl"), "out": str(tmp_path), "name": name,
                 "embed_dim": 8, "hidden": 6, "epochs": 1, "device": "cpu"} | more  # fmt: skip
        return load_file(load(api.run("train", "handoff", **given).folder).folder
                         / "model.safetensors")  # fmt: skip

    one, two, other = run("a"), run("b"), run("c", seed=1)
    assert all(np.array_equal(one[k], two[k]) for k in one)
    assert any(not np.array_equal(one[k], other[k]) for k in one)


class At:
    """A listener that interrupts at a record or an update of a phase."""

    def __init__(self, phase, epoch):
        self.wanted, self.seen = (phase, epoch), []

    def record(self, record):
        self.seen.append(record)
        if record["event"] == "epoch" and (record.get("phase"), record["epoch"]) == self.wanted:
            signal.raise_signal(signal.SIGINT)

    def tick(self, **progress): ...


@pytest.mark.parametrize(
    "stop", [(None, 1), pytest.param(("simulator", 1), marks=pytest.mark.slow)]
)
def test_a_run_stopped_in_either_phase_resumes_bit_equal(stop, made, tmp_path):
    def run(name, listener, **call):
        given = {"data": str(made / "train.jsonl"), "out": str(tmp_path), "name": name,
                 "embed_dim": 8, "hidden": 6, "epochs": 2, "device": "cpu"}  # fmt: skip
        recipe = resolve(Handoff, given=by_name(Handoff, given))
        return train(recipe, HandoffTask, listener, command="test", **call)

    straight = run("straight", At("never", 0)).folder
    with pytest.raises(Interrupted):
        run("cut", At(*stop))
    again = At("never", 0)
    resumed = run("cut", again, resume=True).folder
    for file in ("checkpoints/epoch-0002/model.safetensors", "simulator.safetensors"):
        one, two = load_file(straight / file), load_file(resumed / file)
        assert all(np.array_equal(one[k], two[k]) for k in one), file
    if stop == (None, 1):  # the finished phase is restored, not trained again
        assert not [r for r in again.seen if r.get("phase") == "simulator"]
    shutil.rmtree(tmp_path / "handoff")


def test_the_simulator_does_not_move_while_the_model_trains(trained):
    run = trained()
    first = load_file(run / "simulator.safetensors")
    own = load_file(run / "phases/simulator/checkpoints/epoch-0002/model.safetensors")
    assert all(np.array_equal(first[k], own[k]) for k in own)
    model = load_file(load(run).folder / "model.safetensors")
    assert not [name for name in model if name.startswith("nets")]


def test_ablations_are_what_they_say(made, tmp_path):
    def card(**more):
        given = {"data": str(made / "train.jsonl"), **more}
        return HandoffTask(resolve(Handoff, given=by_name(Handoff, given)))

    assert card(cem=False).card["cem"]["gate"] == "none"
    assert card(gate="off").card["cem"]["gate"] == "off"
    assert not list(
        card(cost_mode="off").phases(type("R", (), {"writes": False, "path": tmp_path}))
    )
    assert card(cem=False).recipe.system == "gru"
    assert card(cost_mode="off").recipe.system == "gru+cem(cost=off)"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cem": False, "gate": "off"}, "--gate"),
        ({"cem": False, "cost_mode": "off"}, "--cost-mode"),
        ({"gate": "released"}, "--lookahead released"),
        ({"lookahead": "released"}, "--base rssn or dami"),
        ({"base": "dami", "lookahead": "released"}, "--max-turns"),
        ({"base": "bert"}, "--encoder"),
        ({"encoder": "x"}, "--encoder"),
        ({"base": "grru"}, "did you mean 'gru'"),
        ({"val_split": 1.0}, "--val-split"),
    ],
)
def test_settings_that_cannot_be_meant_name_their_flags(settings, words):
    with pytest.raises(RecipeError, match=words):
        resolve(Handoff, given=by_name(Handoff, settings))


def test_data_without_two_classes_or_sentiment_are_refused(made, tmp_path):
    def start(**given):
        return HandoffTask(resolve(Handoff, given=by_name(Handoff, given)))

    with pytest.raises(UsageError, match="--data"):
        start()
    flat = [json.loads(line) for line in (made / "train.jsonl").read_text().splitlines()]
    for dialogue in flat:
        for u in dialogue["utterances"]:
            u["handoff"] = 0
    file = tmp_path / "flat.jsonl"
    file.write_text("\n".join(map(json.dumps, flat)))
    with pytest.raises(DataError, match="both classes") as caught:
        start(data=str(file))
    assert "--proxy" in caught.value.hint
    assert start(data=str(file), proxy="negative-customer").card["proxy"] == "negative-customer"


def test_a_model_that_looks_ahead_cannot_stream_or_be_exported(trained, made, tmp_path):
    run = trained("rssn", lookahead="released", gate="released", cost_mode="released")
    model = load(run)
    for use in (model.session, lambda: export(run, tmp_path / "x.onnx")):
        with pytest.raises(UsageError, match="later messages"):
            use()
    (record, *_) = api.run("eval", "handoff", runs=(str(run),), data=str(made / "dev.jsonl"),
                           threshold="default", bootstrap=0)  # fmt: skip
    assert record["system"] == "rssn+cem(gate=released,cost=released)"


def test_folders_that_are_no_model_are_refused(trained, tmp_path):
    with pytest.raises(WeightsError, match="no handoff model"):
        load(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(trained(), copy)
    (copy / "vocab.json").write_text(json.dumps({"tokens": ["a"], "counts": []}))
    with pytest.raises(WeightsError, match="has 3 ids"):
        load(copy)
    shutil.copy(trained() / "vocab.json", copy / "vocab.json")
    (load(copy).folder / "model.safetensors").write_bytes(b"junk")
    with pytest.raises(WeightsError, match="cannot be read"):
        load(copy).runner  # noqa: B018
    (copy / "calibration.json").write_text("{}x")
    with pytest.raises(WeightsError, match=r"calibration\.json"):
        load(copy)


def test_calibration_is_fitted_on_asked_data_and_its_reuse_is_told(trained, made, tmp_path, caplog):
    copy = tmp_path / "copy"
    shutil.copytree(trained(), copy)
    dev = str(made / "dev.jsonl")
    (record,) = api.run("eval", "handoff", runs=(str(copy),), data=dev, calibrate=True)
    assert record["event"] == "calibrate" and record["n"] > 50
    api.run("eval", "handoff", runs=(str(copy),), data=dev, bootstrap=0, threshold="cost")
    assert "calibrated on these very dialogues" in caplog.text


def test_seeds_policies_comparison_and_report(trained, made, tmp_path):
    runs = (str(trained()), str(trained(seed=1)), str(trained(cem=False)))
    records = api.run("eval", "handoff", runs=runs, data=str(made / "dev.jsonl"), bootstrap=10,
                      baseline="gru", out=str(tmp_path / "report"))  # fmt: skip
    own = [r for r in records if r["event"] == "eval" and r["system"] == "gru+cem"]
    assert {r["seeds"] for r in own} == {2}
    assert own[0]["f1_low"] <= own[0]["f1_high"]
    names = [r["system"] for r in records if r.get("operating_point", 0) is None]
    assert names[:2] == ["never", "always"] and "oracle: gold negative customer" in names
    assert [r for r in records if r["event"] == "compare"]
    assert (tmp_path / "report" / "report.html").stat().st_size > 5000


def test_a_toy_is_learnt(made, tmp_path):
    found = api.run("train", "handoff", data=str(made / "train.jsonl"), val=str(made / "dev.jsonl"),
                    out=str(tmp_path), name="t", embed_dim=16, hidden=16, epochs=12, lr=0.01,
                    dropout=0.1, device="cpu")  # fmt: skip
    assert found.result["best_val_auc"] > 0.85


def test_word_vectors_are_put_into_their_rows(made, tmp_path):
    file = tmp_path / "v.txt"
    file.write_text("late 1 2 3\nunseen 1 1 1\n")
    given = {"data": str(made / "train.jsonl"), "embed_dim": 3, "embeddings": str(file)}
    task = HandoffTask(resolve(Handoff, given=by_name(Handoff, given)))
    row = task.model.base.embedding.weight[task.encoder.vocabulary.index["late"]]
    assert row.tolist() == [1, 2, 3]
    with pytest.raises(DataError, match="--embeddings"):
        HandoffTask(resolve(Handoff, given=by_name(Handoff, given | {"embed_dim": 4})))


def test_model_json_alone_builds_the_network(trained):
    card = load(trained("dami")).card
    assert build(card).base.window == 30
