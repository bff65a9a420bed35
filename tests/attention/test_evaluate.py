"""`qr eval attention` from end to end, on networks and data that take a second."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import qr_cli
from qr_cli.attention.backbones.create import create_backbone
from qr_cli.attention.packs import NOTE_CIFAR
from qr_cli.attention.shapes import CLASSES
from qr_cli.errors import DataError, UsageError

SMALL = {
    "arch": "resnet20",
    "data": "shapes(test=40,train=64)",
    "epochs": 1,
    "device": "cpu",
    "batch_size": 32,
}
QUICK = {"device": "cpu", "latency": False, "probe_images": 32}
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
# section by section what the records of the questions hold
KEYS = {
    "eval": "run which split top1 top5 loss images classes arch module parameters precision data "
    "data_sha256 data_note",
    "bias": "run subset images undefined dropped position position_low position_high range "
    "unbiased precision coverage energy chance_energy pointing iou tau eps_pos eps_range "
    "missing_range cam_layer cam_target definition control",
    "bias_sweep": "run tau position range unbiased precision control",
    "stiffness": "run block stage index nsi_mean nsi_std control_mean step_std rho_gate_nsi at "
    "images",
    "stiffness_total": "run tns control_tns contrast reference_r rho_gate_nsi",
    "ticket": "run experiment order keep mask top1 drop drop_low drop_high images",
    "robust": "run attack eps strength clean top1 top1_low top1_high images convention",
    "switch": "run block stage index operator omega_mean omega_std images",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """Runs of none and sem, two seeds each."""
    folder = tmp_path_factory.mktemp("runs")
    made = {}
    for module in ("none", "sem(fc,eca)"):
        for seed in (0, 1):
            name = f"{module.partition('(')[0]}-s{seed}"
            settings = SMALL | {"module": module, "seed": seed, "name": name, "out": str(folder)}
            made[name] = qr_cli.run("train", "attention", **settings).folder
    return made


def evaluate(*runs: Path, **settings) -> list[dict]:
    return qr_cli.run("eval", "attention", runs=tuple(map(str, runs)), **QUICK | settings)


def of(records, event):
    return [record for record in records if record["event"] == event]


def report_of(records) -> Path:
    return Path(of(records, "report")[0]["report"])


def test_one_run_has_one_record_and_no_report(runs):
    (record,) = evaluate(runs["none-s0"])
    assert set(record) == {"event", *KEYS["eval"].split()}
    assert not list(runs["none-s0"].glob("eval-*"))


def test_runs_of_one_recipe_are_one_row(runs):
    records = evaluate(*runs.values(), baseline="none")
    assert [record["run"] for record in of(records, "eval")] == [str(f) for f in runs.values()]
    plain, sem = of(records, "compare")
    assert (plain["group"], plain["runs"], plain["seeds"]) == ("none", 2, [0, 1])
    assert (sem["baseline"], sem["delta_interval"]) == ("none", "paired t, 2 seeds")
    assert plain["last_top1"] == np.mean([r["top1"] for r in of(records, "eval")[:2]])
    page = report_of(records)
    assert page.parent.parent == runs["none-s0"].parent  # beside the runs
    lines = (page.parent / "metrics.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == records[:-1]


@pytest.mark.parametrize(
    ("question", "events"),
    [
        ({"bias": "boxes"}, ["bias", "bias_sweep"]),
        ({"stiffness": True}, ["stiffness", "stiffness_total"]),
        ({"stripes": True}, ["stripes"]),
        ({"stripes_drop": True}, ["stripes", "stripes_total"]),
        ({"switches": True}, ["switch"]),
        ({"ticket": "sweep", "ticket_order": "step"}, ["ticket"]),
        ({"robust": "noise:0.1,fgsm:2/255"}, ["robust"]),
    ],
    ids=lambda value: "-".join(value),
)
def test_a_question_is_answered_with_its_records_and_a_page(runs, question, events):
    records = evaluate(runs["sem-s0"], **question)
    found = [record["event"] for record in records]
    assert list(dict.fromkeys(found)) == ["eval", *events, "report"]
    for event in set(events) & set(KEYS):
        for record in of(records, event):
            assert set(record) - {"draw"} == {"event", *KEYS[event].split()}
            assert record["run"] == "sem-s0"
    page = report_of(records)
    assert page.is_file() and page.parent.parent == runs["sem-s0"]
    assert len(list((page.parent / "plots").glob("*.png"))) == records[-1]["plots"] > 0


def test_a_bias_study_has_its_control(runs):
    records = of(evaluate(runs["sem-s0"], bias="boxes", tau=0.3), "bias")
    trained, start = (
        next(r for r in records if r["subset"] == "all" and r["control"] is c)
        for c in (False, True)
    )
    assert trained["tau"] == start["tau"] == 0.3
    assert trained["images"] == start["images"] == 40
    for record in (trained, start):
        shares = [record[key] for key in ("position", "range", "unbiased")]
        assert sum(shares) == pytest.approx(1)


def test_a_reference_gives_the_likeness_of_profiles(runs):
    records = evaluate(runs["sem-s0"], stiffness=True, reference=str(runs["sem-s0"]))
    assert of(records, "stiffness_total")[0]["reference_r"] == pytest.approx(1)


def test_keeping_all_blocks_loses_nothing(runs):
    kept = of(evaluate(runs["sem-s0"], ticket="9", ticket_order="step"), "ticket")
    (record,) = kept
    assert (record["mask"], record["drop"]) == ("111 111 111", 0)


def test_the_page_holds_what_was_found(runs):
    records = evaluate(runs["sem-s0"], ticket="4", ticket_order="step")
    page = report_of(records).read_text("utf-8")
    assert "Accuracy" in page and "Blocks kept" in page
    assert of(records, "ticket")[0]["mask"] in page


def test_the_same_question_is_answered_in_the_same_place(runs):
    first = report_of(evaluate(runs["sem-s0"], stiffness=True))
    stale = first.parent / "plots" / "stale.png"
    stale.touch()
    assert report_of(evaluate(runs["sem-s0"], stiffness=True)) == first
    assert not stale.exists()
    assert report_of(evaluate(runs["sem-s0"], stiffness=True, at="pre-act")) != first


def test_a_report_is_replaced_only_when_asked(runs, tmp_path):
    where = {"out": str(tmp_path / "report"), "stiffness": True}
    evaluate(runs["sem-s0"], **where)
    before = (tmp_path / "report" / "run.json").read_text("utf-8")
    with pytest.raises(UsageError, match="holds an earlier report") as caught:
        evaluate(runs["sem-s0"], **where)
    assert "--overwrite" in caught.value.hint
    assert (tmp_path / "report" / "run.json").read_text("utf-8") == before
    again = {"recipe": str(tmp_path / "report"), "out": str(tmp_path / "again")}
    recipe = qr_cli.run("eval", "attention", **again)  # a report's recipe.yaml asks again
    assert of(recipe, "stiffness") == of(evaluate(runs["sem-s0"], stiffness=True), "stiffness")


def test_an_earlier_report_is_replaced_with_overwrite(runs, tmp_path):
    where = {"out": str(tmp_path / "report"), "stiffness": True}
    evaluate(runs["sem-s0"], **where)
    # `overwrite` of a Python call is that of training; a recipe holds the report's own
    text = (tmp_path / "report" / "recipe.yaml").read_text("utf-8")
    (tmp_path / "again.yaml").write_text(text.replace("overwrite: false", "overwrite: true"))
    records = qr_cli.run("eval", "attention", recipe=str(tmp_path / "again.yaml"))
    assert report_of(records).parent == tmp_path / "report"


def test_a_report_killed_half_way_is_written_again(runs, tmp_path, monkeypatch):
    where = {"out": str(tmp_path / "report"), "stiffness": True}

    def dies(*args, **settings):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("qr_cli.engine.evaluation.write_report", dies)
        with pytest.raises(KeyboardInterrupt):
            evaluate(runs["sem-s0"], **where)
    left = {path.name for path in (tmp_path / "report").iterdir()}
    assert left == {"recipe.yaml", "metrics.jsonl", "run.json"}
    with pytest.raises(UsageError, match="earlier report"):
        evaluate(runs["sem-s0"], **where)


@pytest.mark.slow
def test_questions_are_asked_in_float32_whatever_the_precision_of_the_run(runs):
    asked = {"bias": "boxes", "robust": "noise:0.1"}
    plain = evaluate(runs["sem-s0"], **asked, precision="fp32")
    halved = evaluate(runs["sem-s0"], **asked, precision="bf16")
    assert of(plain, "eval")[0]["loss"] != of(halved, "eval")[0]["loss"]
    for event in ("bias", "bias_sweep", "robust"):
        assert of(plain, event) == of(halved, event)


def test_it_is_said_what_is_done(runs):
    from qr_cli.attention.eval_recipe import AttentionEval
    from qr_cli.attention.evaluate import evaluate as stream

    said = []
    recipe = AttentionEval(
        target={"runs": [str(runs["sem-s0"])], "device": "cpu"},
        blocks={"switches": True, "probe_images": 8},
    )
    list(stream(recipe, lambda subject, job: said.append((subject, job))))
    assert said[:2] == [("sem-s0", "accuracy"), ("sem-s0", "switches")]
    assert said[2][0] == "report"


# -- weights without a run -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """Weights of a network of ours with ten outputs."""
    path = tmp_path_factory.mktemp("weights") / "ten.safetensors"
    save_file(create_backbone("resnet8", num_classes=10, seed=3).state_dict(), path)
    return path


def bare(path: Path | str, **settings) -> list[dict]:
    defaults = {"arch": "resnet8", "weights": str(path), "device": "cpu"}
    return qr_cli.run("eval", "attention", **defaults | settings)


def test_weights_are_evaluated_as_a_run_is(weights, tmp_path):
    records = bare(
        weights, data="shapes(test=40,train=64)", bias="boxes", stiffness=True, out=str(tmp_path)
    )
    assert [r["run"] for r in of(records, "stiffness")[:1]] == ["ten"]
    controls = {r["control"] for r in of(records, "bias")}
    assert controls == {False, True}
    assert records[0]["run"] == str(weights) and records[0]["classes"] == 10


def test_weights_of_a_run_give_the_figures_of_the_run(runs):
    folder = runs["sem-s1"]
    (checkpoint,) = (folder / "checkpoints").glob("epoch-*")
    (known,) = evaluate(folder)
    settings = {"arch": "resnet20", "module": "sem(fc,eca)", "data": SMALL["data"]}
    (found,) = bare(checkpoint / "model.safetensors", **settings)
    assert {k: found[k] for k in ("top1", "loss")} == {k: known[k] for k in ("top1", "loss")}


def test_a_file_brings_no_normalisation_and_that_is_said(weights, tmp_path, caplog):
    np.savez(tmp_path / "ten.npz", data=np.full((20, 32, 32, 3), 51, np.uint8) +
             np.arange(20, dtype=np.uint8)[:, None, None, None], y=np.arange(20) % 10,
             classes=np.array(CLASSES))  # fmt: skip
    source = str(tmp_path / "ten.npz")
    bare(weights, data=source)
    (said,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert "ten.safetensors brings no normalisation; that of npz:" in said
    assert "hint: --normalize imagenet" in said
    caplog.clear()
    bare(weights, data=source, normalize="imagenet")
    assert not [r for r in caplog.records if r.levelname == "WARNING"]


@pytest.fixture(scope="module")
def thousand(tmp_path_factory) -> Path:
    """A network that answers "ox", output 345 of ImageNet, whatever it sees."""
    net = create_backbone("resnet8", num_classes=1000)
    with torch.no_grad():
        net.fc.bias[345] = 1e6
    path = tmp_path_factory.mktemp("weights") / "thousand.safetensors"
    save_file(net.state_dict(), path)
    return path


def pack(path: Path, names: list[str]) -> str:
    images = np.zeros((len(names), 32, 32, 3), np.uint8)
    box = np.tile([4, 4, 20, 20], (len(names), 1))
    np.savez(path, data=images, y=np.arange(len(names)), classes=np.array(names), box=box)
    return str(path)


def test_classes_of_a_pack_are_found_among_those_of_imagenet(thousand, tmp_path):
    source = pack(tmp_path / "two.npz", ["OX", "goldfish, Carassius auratus"])
    record = bare(thousand, data=source, normalize="half")[0]
    assert (record["top1"], record["classes"], record["images"]) == (0.5, 1000, 2)


def test_a_class_that_imagenet_does_not_have_is_named(thousand, tmp_path):
    source = pack(tmp_path / "two.npz", ["ox", "unicorn"])
    with pytest.raises(DataError, match="1 of 2 classes are not among .* is 'unicorn'"):
        bare(thousand, data=source, normalize="half")


# -- real files ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
@pytest.mark.parametrize(
    ("name", "arch", "top1"),
    [
        ("resnet20_cifar10_akamaster", "resnet20(shortcut=pad)", 0.821),
        ("resnet20_cifar10jpeg_ft2ep", "resnet20(shortcut=pad)", 0.874),
        ("resnet56_cifar10_akamaster", "resnet56(shortcut=pad)", 0.820),
    ],
)
def test_public_networks_give_their_accuracy(name, arch, top1):
    source = f"npz:{SHARED / 'cifar10' / 'small_test_jpeg.npz'}"
    path = SHARED / "models" / f"{name}.safetensors"
    (record,) = bare(path, arch=arch, data=source, normalize="imagenet")
    assert record["top1"] == pytest.approx(top1, abs=0.003)  # decoders of JPEG differ
    assert record["data_note"] == NOTE_CIFAR
