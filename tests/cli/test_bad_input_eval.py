"""One table of evaluations that cannot be meant: one sentence, something to type, an exit code.

What the files of the runs alone rule out is refused before anything is measured: stdout is empty.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL
from safetensors.torch import save_file
from test_bad_input import Row, check_fault, snapshot

from qr_cli.attention.backbones.create import create_backbone
from qr_cli.attention.cam import Explained, explain
from qr_cli.attention.shapes import CLASSES
from qr_cli.cli.app import run

OTHER = "shapes(seed=5,test=64,train=128)"
WEIGHTS = "eval attention --arch resnet8 --weights %/plain.safetensors"

CALLS = [
    # what is evaluated; % is the folder of runs
    Row("eval attention", 2, "no run is named", "qr eval attention runs/"),
    Row("eval attention %/nowhere", 4, "holds no checkpoint", "qr train attention"),
    Row("eval attention %/se --which worst", 2, "got worst", "--which last"),
    Row(
        "eval attention %/se %/none --which best", 2, "--which: best is for one run, got 2", "help"
    ),
    Row("eval attention %/se --precision fp16", 5, "fp16 needs a GPU", "--precision bf16"),
    # weights without a run
    Row("eval attention --weights %/plain.safetensors", 2, "--weights: needs --arch", "help"),
    Row("eval attention %/se --arch resnet8", 2, "--weights: needed with --arch", "--help"),
    Row(f"{WEIGHTS} %/se", 2, "--weights: cannot go with a run, got ", "--help"),
    Row(WEIGHTS, 2, "--weights: needs --data", "--help"),
    Row(f"{WEIGHTS}.no --data shapes", 4, "no such file", "--weights FILE"),
    Row(f"{WEIGHTS} --data %/four.npz", 3, "has 4 classes and the network 10 outputs", "--data"),
    Row(
        "eval attention --arch resnet14 --weights %/plain.safetensors --data shapes",
        *(4, "does not fit qr:resnet14", "check --arch"),
    ),
    Row(f"{WEIGHTS} --data shapes --normalize none", 2, "got none", "--normalize auto"),
    Row("eval attention --arch resnt8 --weights x --data shapes", 2, "(did you mean", "--help"),
    # data
    Row("eval attention %/se --data %/four.npz", 3, "has 4 classes and the network 10", "--data"),
    Row("eval attention %/se --data %/none.npz", 3, "no such file or folder", "qr list data"),
    Row("eval attention %/se --image-size 4", 2, "--image-size: should be greater than", "--help"),
    # comparisons
    Row("eval attention %/se %/none --baseline nome", 2, "no group 'nome' (did you", "se | none"),
    Row("eval attention %/se --baseline se", 2, "--baseline: needs several runs, got 1", "help"),
    Row("eval attention %/se %/se", 2, "one seed, 0: they would count twice", "leave out"),
    Row("eval attention %/se %/unfinished", 2, "did not finish", "--resume"),
    Row("eval attention %/se %/bare", 2, "is not a run folder (no recipe.yaml)", "runs/attention/"),
    # questions
    Row("eval attention %/none --stripes", 2, "--stripes: ", "--module se"),
    Row("eval attention %/none --stripes-drop", 2, "none has no attention, so", "--module se"),
    Row("eval attention %/none --ticket sweep", 2, "--ticket: ", "--module se"),
    Row("eval attention %/none --switches", 2, "none has no sem, so there is", "sem(fc,eca,ie)"),
    Row(
        "eval attention %/foreign --ticket 1", 2, "is a foreign module and shows no", "qr list mod"
    ),
    Row("eval attention %/foreign --switches", 2, "has no sem", "sem(fc,eca,ie)"),
    Row("eval attention %/se --ticket 12", 2, "--ticket: 12 is more than the 3 blocks", "ticket 3"),
    Row("eval attention %/se --ticket -1", 2, "--ticket: ", "--help"),
    Row("eval attention %/se --ticket 1 --ticket-order nsj", 2, "--ticket-order", "--ticket-order"),
    Row(
        "eval attention %/se --ticket 1 --data %/ten.npz",
        *(3, "ten.npz has no training images to take mean gates over", "--test-data TEST"),
    ),
    Row(
        "eval attention %/se --stiffness --reference %/bare",
        *(2, "bare has 4 stages", "--reference RUN of a network of the same family"),
    ),
    Row("eval attention %/se --stiffness --reference %/x", 4, "holds no checkpoint", "qr train"),
    Row("eval attention %/se --reference %/se", 2, "--reference: belongs to --stiffness", "help"),
    Row("eval attention %/se --at relo", 2, "got relo (did you mean 'relu'?)", "--at relu"),
    Row("eval attention %/se --bias boxes --cam-layer layer9", 2, "no layer 'layer9'", "layer"),
    Row("eval attention %/se --cam-layer layer1", 2, "--cam-layer: belongs to --bias", "--help"),
    Row("eval attention %/se --bias boxes --tau 2", 2, "--tau: should be less than or", "tau 0.5"),
    Row("eval attention %/se --bias boxes --tau nan", 2, "--tau: ", "--tau 0.5"),
    Row(
        "eval attention %/se --bias boxes --eps-pos 1", 2, "--eps-pos: should be less", "eps-pos 0"
    ),
    Row(
        "eval attention %/se --bias boxes --data %/ten.npz",
        *(3, "--bias boxes: none of the 20 images has boxes", "--bias FILE"),
    ),
    Row("eval attention %/se --bias %/none.csv", 3, "none.csv: no such file", "--help"),
    Row("eval attention %/se --bias %/stranger.csv", 3, "none of its 1 images is among", "--bias"),
    Row("eval attention %/se --bias %/label.csv", 3, "is a class of the data", "--label-map FILE"),
    Row("eval attention %/se --bias boxes --label-map x", 2, "--label-map: belongs to", "--help"),
    Row(
        "eval attention %/se --bias %/label.csv --label-map %/map.csv",
        *(3, "'unicorn' is no class of the data", "--help"),
    ),
    Row("eval attention %/se --robust blur", 2, "--robust: should be noise:S,.. or f", "--help"),
    Row("eval attention %/se --robust nois:1", 2, "got nois:1 (did you mean 'noise'?)", "--help"),
    Row("eval attention %/se --robust 0.1", 2, "--robust: should be noise:S,.. or f", "--help"),
    Row("eval attention %/se --robust noise:2", 2, "a number in (0, 1] such as 0.1 or", "--help"),
    Row("eval attention %/se --robust noise:0.1,x", 2, "or 2/255, got x", "--help"),
    Row("eval attention %/se --robust fgsm:1/0", 2, "or 2/255, got 1/0", "--help"),
    Row("eval attention %/se --robust fgsm:", 2, "or 2/255, got nothing", "--help"),
    Row("eval attention %/se --robust fgsm:-1/255", 2, "or 2/255, got -1/255", "--help"),
    # where the report goes
    Row("eval attention %/se --stripes --out %/map.csv", 2, "map.csv is a file", "--out FOLDER"),
    Row("eval attention %/se --stripes --out %/se", 2, "something else than a report", "--out"),
    Row(
        "eval attention %/se --stripes --out %/se --overwrite",
        *(2, "something else than a report", "--out"),
    ),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, trained) -> Path:
    """Runs of every kind a comparison or a question cannot take, and damaged files."""
    folder = tmp_path_factory.mktemp("runs")
    shutil.copytree(trained, folder / "se")
    for name, changes in {
        "none": ("--module", "none"),
        "foreign": ("--module", "torch.nn:Identity"),
        "other": ("--data", OTHER, "--seed", "1"),
    }.items():
        words = [w for w in SMALL if changes[0] != "--data" or w not in ("--data", SMALL[5])]
        where = ("--out", str(folder / "made"), "--name", name, "--quiet")
        assert run([*words, *changes, *where]) == 0
        shutil.move(folder / "made" / "attention" / name, folder / name)
    shutil.rmtree(folder / "made")
    shutil.copytree(folder / "none", folder / "unfinished")
    metrics = folder / "unfinished" / "metrics.jsonl"
    lines = metrics.read_text("utf-8").splitlines(keepends=True)
    metrics.write_text("".join(line for line in lines if '"result"' not in line), "utf-8")
    _bare_checkpoint(folder / "bare", folder / "se")
    checkpoint = next((folder / "none" / "checkpoints").glob("epoch-*"))
    shutil.copy(checkpoint / "model.safetensors", folder / "plain.safetensors")
    images = np.zeros((20, 32, 32, 3), np.uint8)
    np.savez(folder / "four.npz", data=images, y=np.arange(20) % 4, classes=np.array(list("abcd")))
    np.savez(folder / "ten.npz", data=images, y=np.arange(20) % 10, classes=np.array(CLASSES))
    header = "image,label,xmin,ymin,xmax,ymax\n"
    (folder / "stranger.csv").write_text(f"{header}cat.jpg,,1,1,9,9\n", "utf-8")
    (folder / "label.csv").write_text(f"{header}0,unicorn,1,1,9,9\n", "utf-8")
    (folder / "map.csv").write_text("theirs,ours\nhorse,unicorn\n", "utf-8")
    return folder


def _bare_checkpoint(folder: Path, like: Path) -> None:
    """Write model.json and weights of a network with four stages."""
    net = create_backbone("torchvision:resnet18(stem=cifar)", num_classes=10)
    (checkpoint,) = (like / "checkpoints").glob("epoch-*")
    card = json.loads((checkpoint / "model.json").read_text("utf-8"))
    folder.mkdir()
    (folder / "model.json").write_text(
        json.dumps(card | {"arch": net.arch, "module": "none"}), "utf-8"
    )
    save_file(net.state_dict(), folder / "model.safetensors")


@pytest.mark.parametrize("row", CALLS, ids=lambda row: row.words)
def test_a_wrong_evaluation_gets_a_sentence_a_hint_and_its_code(qr, runs, tmp_path, row):
    words = row.words.replace("%", str(runs)).split()
    before = snapshot(runs)
    answer = qr(*words, "--device", "cpu")
    check_fault(answer, row.code, row.says, row.hint)
    assert snapshot(runs) == before
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("--data", OTHER), None),  # both on one source: fine
        ((), "were tested on other images (sha256 "),
    ],
)
def test_runs_on_other_images_are_compared_on_one_source_only(qr, runs, change, says, tmp_path):
    words = ("eval", "attention", str(runs / "se"), str(runs / "other"), "--device", "cpu")
    answer = qr(*words, "--no-latency", "--out", str(tmp_path / "report"), *change)
    assert answer.code == (2 if says else 0), answer.err
    if says:
        assert says in answer.err and "hint: compare them separately" in answer.err
        assert not (tmp_path / "report").exists()


def test_many_undefined_maps_are_a_warning(qr, runs, monkeypatch, tmp_path):
    def mostly_constant(net, images, labels, *, layer):
        maps, logits = explain(net, images, labels, layer=layer)
        maps[: len(maps) // 2] = float("nan")
        return Explained(maps, logits)

    monkeypatch.setattr("qr_cli.attention.bias.explain", mostly_constant)
    out = ("--out", str(tmp_path / "report"))
    answer = qr("eval", "attention", str(runs / "se"), "--bias", "boxes", "--device", "cpu", *out)
    assert answer.code == 0
    assert answer.err.count("of the heat maps are constant, undefined") == 1


def test_a_report_that_cannot_be_written_is_said_before_anything_is_measured(
    qr, runs, tmp_path, monkeypatch
):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    where = tmp_path / "closed" / "report"
    answer = qr("eval", "attention", str(runs / "se"), "--stripes", "--out", str(where))
    check_fault(answer, 5, "the report cannot be written to", "--out FOLDER")
