"""One table of wrong inputs: each gets one sentence, something to type, and its exit code."""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pytest
from conftest import SMALL
from PIL import Image

from qr_cli.cli.app import run

TRAIN = SMALL[:2]
SOURCE = ("--data", "shapes(test=64,train=128)")


class Row(NamedTuple):
    """A call that cannot be meant, and what is said of it.

    Attributes:
        words: what is typed; ``@`` stands for the folder of prepared files, ``$`` for a run.
        code: the exit code.
        says: part of the message.
        hint: part of the hint.
    """

    words: str
    code: int
    says: str
    hint: str


CALLS = [
    # flags, commands and names
    Row("train attention --lrr 0.1", 2, "no such option: --lrr (did you mean --lr", "--help"),
    Row("trian attention", 2, "no such command 'trian' (did you mean 'train'?)", "qr --help"),
    Row("train atention", 2, "no such command 'atention' (did you", "qr train --help"),
    Row("train attention extra", 2, "unexpected argument: extra", "qr train attention --help"),
    Row("train attention --lr", 2, "'--lr' requires an argument", "qr train attention --help"),
    Row("list archz", 2, "no such command 'archz' (did you mean 'archs'?)", "qr list --help"),
    Row("train attention --module sse", 2, "unknown attention module 'sse' (did", "--module se"),
    Row("train attention --module sem(se", 2, "expected ',' or ')'", "--module se"),
    Row("train attention --module lsas(spem)", 2, "spem has no single pre-sigmoid", "--module"),
    Row("train attention --module se(order=1)", 2, "'order'", "--module se"),
    Row("train attention --arch resnet21", 2, "got 21 in 'resnet21': nearest 20, 26, 29", "--arch"),
    Row("train attention --arch resnt20", 2, "'resnt20' (did you mean 'resnet20'?)", "--arch"),
    Row("train attention --data shaps", 2, "source 'shaps' (did you mean 'shapes'?)", "list data"),
    Row("train attention --data shapes(trian=5)", 2, "no option 'trian' (did you mean", "train"),
    Row("train attention --optimizer sgdd", 2, "got sgdd (did you mean 'sgd'?)", "--optimizer sgd"),
    # values
    Row("train attention --lr -1", 2, "--lr: should be greater than 0, got -1", "--lr 0.05"),
    Row("train attention --lr nan", 2, "--lr: should be a finite number, got nan", "--lr 0.05"),
    Row("train attention --lr abc", 2, "got abc", "qr train attention --lr 0.05"),
    Row("train attention --epochs 0", 2, "--epochs: should be greater than or", "--epochs 10"),
    Row("train attention --epochs 1.5", 2, "got 1.5", "--epochs 10"),
    Row("train attention --stages x", 2, "--stages: should be auto, all, last,", "--stages auto"),
    Row("train attention --stages 4", 2, "--stages: the network has the stages 1 to 3", "--stages"),
    Row("train attention --blocks 12x", 2, "--blocks: should be one 0 or 1 per block", "--help"),
    Row("train attention --blocks 1010", 2, "--blocks: expected 3 (1 1 1) digits, got 4", "--bl"),
    Row("train attention --name a/b", 2, "got a/b", "--help"),
    Row("train attention --image-size 4", 2, "--image-size: should be greater than or", "--help"),
    Row("train attention --val 2", 2, "--val 2: a share lies between 0 and 1", "--val 0.1"),
    Row("train attention --label-noise 1", 2, "--label-noise: should be less than 1", "noise 0.0"),
    Row("train attention --label-noise -0.1", 2, "--label-noise: should be greater", "noise 0.0"),
    Row("train attention --seeds 0,1 --seed 2", 2, "--seeds: cannot go with --seed", "--help"),
    Row("train attention --seeds 3,3", 2, "--seeds: must differ, got 3,3", "--help"),
    Row("train attention --aux-weight x", 2, "--aux-weight: should be 'auto' or", "auto"),
    Row(
        "train attention --schedule multistep --milestones 5,3",
        *(2, "--milestones: must increase, got 5,3", "--help"),
    ),
    Row(
        "train attention --schedule multistep --milestones 2,20",
        *(2, "--milestones: 20 is not below --epochs 1", "--help"),
    ),
    Row("train attention --warmup-epochs 2", 2, "--warmup-epochs: onecycle has its", "--help"),
    Row("train attention --batch-size 127 --module ras", 2, "leaves a batch of 1 of 128", "--drop"),
    # recipes
    Row("train attention --recipe nonesuch", 2, "no shipped recipe 'nonesuch'", "qr list recipes"),
    Row("train attention --recipe @/key.yaml", 2, "'optim.lrr' (did you mean 'optim.lr'?)", "help"),
    Row("train attention --recipe @/list.yaml", 3, "list.yaml holds no keys", "qr list recipes"),
    Row("train attention --recipe @/broken.yaml", 3, "broken.yaml cannot be read", "--help"),
    # data
    Row("train attention --data @/none/x.npz", 3, "no such file or folder", "qr list data"),
    Row("train attention --data npz:@/none.npz", 3, "no such file or folder", "qr list data"),
    Row("train attention --data @/key.yaml", 3, "neither a folder nor an npz file", "qr list"),
    Row("train attention --data @/corrupt.npz", 3, "not a whole npz file", "copy the file again"),
    Row("train attention --data @/nokey.npz", 3, "the key 'y' is missing", "found: data"),
    Row("train attention --data @/range.npz", 3, "y at index 7 is 9, outside the 4", "0 to 3"),
    Row("train attention --data @/object.npz", 3, "'y' is an object array (a pickle)", "save it"),
    Row("train attention --data @/four.npz", 3, "has no test part", "--val 0.1"),
    Row("train attention --data @/sizes.npz --val 0.5", 3, "has 20x20 pixels", "--image-size 16"),
    Row("train attention --data folder:@/bad", 3, "bad.png does not decode", "--skip-bad"),
    Row("train attention --data folder:@/empty", 3, "no class folders here", "one folder per"),
    Row("train attention --data @/four.npz --test-data shapes", 3, "10 of 10 classes are", "has 4"),
    Row("train attention --data cifar10 --data-root @/none", 3, "cifar10 is not in", "--download"),
    Row("train attention --num-classes 5", 3, "--num-classes: 5 is less than the 10", "classes 10"),
    Row(
        "train attention --batch-size 999 --drop-last", 3, "128 training images make no", "smaller"
    ),
    # weights and checkpoints
    Row("train attention --weights @/none.pt", 4, "no such file", "--weights FILE"),
    Row(
        "train attention --weights timm", 2, "for networks of timm, got qr:resnet8", "--arch timm:"
    ),
    Row("train attention --checkpoint @/empty", 4, "holds no checkpoint", "qr train attention"),
    Row("train attention --arch resnet14 --checkpoint $", 4, "does not fit qr:resnet14", "--arch"),
    Row("eval attention", 2, "no run is named", "qr eval attention runs/"),
    Row("eval attention @/empty", 4, "holds no checkpoint", "qr train attention"),
    Row("eval attention $ --which worst", 2, "got worst", "--which last"),
    Row("eval attention $ --data @/four.npz", 3, "has 4 classes and the network 10", "--data"),
    # run folders
    Row("train attention --out $/../.. --name small", 2, "exists and is not empty", "--overwrite"),
    Row("train attention --out @ --name full --overwrite", 2, "is not a run folder", "--name"),
    Row("train attention --out $/../.. --name small --resume --lr 1", 2, "lr 0.05 -> 1.0", "--rec"),
    Row("train attention --out @/key.yaml", 5, "cannot", ""),
    # machine
    Row("train attention --device cuda", 5, "--device: cuda is not available here", "--device cpu"),
    Row("train attention --precision fp16", 5, "--precision: fp16 needs a GPU", "--precision bf16"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """Damaged and unfitting files of every kind."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "key.yaml").write_text("optim: {lrr: 0.1}\n", "utf-8")
    (folder / "list.yaml").write_text("- 1\n", "utf-8")
    (folder / "broken.yaml").write_text("optim: [1\n", "utf-8")
    (folder / "corrupt.npz").write_bytes(b"PK\x03\x04 and then nothing")
    images, names = np.zeros((8, 16, 16, 3), np.uint8), np.array(list("abcd"))
    np.savez(folder / "nokey.npz", data=images)
    np.savez(folder / "four.npz", data=images, y=np.arange(8) % 4, classes=names)
    np.savez(folder / "range.npz", data=images, y=np.array([0, 1, 2, 3, 0, 1, 2, 9]), classes=names)
    np.savez(folder / "object.npz", data=images, y=np.array([{}] * 8, dtype=object))
    _pack_of_two_sizes(folder / "sizes.npz")
    for split in ("train", "test"):
        for label in "ab":
            (folder / "bad" / split / label).mkdir(parents=True)
            for i in range(2):
                Image.new("RGB", (16, 16)).save(folder / "bad" / split / label / f"{i}.png")
    (folder / "bad" / "train" / "a" / "bad.png").write_bytes(b"no image")
    (folder / "empty").mkdir()
    (folder / "attention" / "full").mkdir(parents=True)
    (folder / "attention" / "full" / "thesis.txt").write_text("mine", "utf-8")
    return folder


def _pack_of_two_sizes(path: Path) -> None:
    from io import BytesIO

    pieces = []
    for side in (16, 16, 20, 16):
        piece = BytesIO()
        Image.new("RGB", (side, side)).save(piece, "JPEG")
        pieces.append(np.frombuffer(piece.getvalue(), np.uint8))
    offset = np.cumsum([0, *map(len, pieces)])
    np.savez(path, data=np.concatenate(pieces), offset=offset, y=np.array([0, 1, 0, 1]))


def snapshot(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*")}


def complete(words: list[str]) -> list[str]:
    """Return a training call with small data and few epochs where it does not say otherwise."""
    if tuple(words[:2]) != TRAIN:
        return words
    pairs = {"--arch": "resnet8", SOURCE[0]: SOURCE[1], "--epochs": "1", "--device": "cpu"}
    if "--recipe" in words:
        pairs = {}
    return words[:2] + [w for k, v in pairs.items() if k not in words for w in (k, v)] + words[2:]


def check_fault(answer, code: int, says: str, hint: str) -> None:
    """Assert one sentence, a hint, the code, and nothing that looks like a traceback."""
    assert answer.code == code, answer.err
    lines = [line for line in answer.err.splitlines() if line.startswith("qr: error: ")]
    assert says in "\n".join(lines)
    sentence = lines[0].removeprefix("qr: error: ")
    assert not sentence[0].isupper()
    assert sentence.endswith("...") or not sentence.endswith(".")
    assert "Traceback" not in answer.err and "(this is a bug in qr)" not in answer.err
    last = answer.err.splitlines()[-1]
    assert last.startswith("hint: ") and hint in last
    assert answer.out == ""


@pytest.mark.parametrize("row", CALLS, ids=lambda row: row.words)
def test_a_wrong_call_gets_a_sentence_a_hint_and_its_code(qr, files, trained, tmp_path, row):
    words = row.words.replace("@", str(files)).replace("$", str(trained)).split()
    before = snapshot(files), snapshot(trained)
    answer = qr(*complete(words))
    check_fault(answer, row.code, row.says, row.hint)
    assert (snapshot(files), snapshot(trained)) == before
    assert not list(tmp_path.iterdir())


def test_all_faults_of_a_call_are_told_at_once(qr):
    words = "--lr -1 --epochs 0 --optimizer sgdd --module sse --arch resnt20".split()
    answer = qr(*TRAIN, *words)
    check_fault(answer, 2, "--lr: should be greater than 0", "qr train attention --")
    for flag in ("--lr", "--epochs", "--optimizer", "--module", "--arch"):
        assert f"qr: error: {flag}: " in answer.err


def test_a_file_that_holds_no_tensors_is_no_weights(qr, files):
    answer = qr(*SMALL, "--weights", str(files / "key.yaml"))
    check_fault(answer, 4, "key.yaml", "state_dict")


@pytest.mark.parametrize("package", ["timm:se", "timm:resnet18"])
def test_a_missing_package_is_named_with_what_installs_it(qr, monkeypatch, package):
    for name in {"timm", *(name for name in sys.modules if name.startswith("timm."))}:
        monkeypatch.setitem(sys.modules, name, None)
    flag = "--arch" if "resnet" in package else "--module"
    answer = qr(*SMALL, flag, package)
    check_fault(answer, 5, "timm, which is not installed", "pip install 'qr-cli[timm]'")


def test_a_tracker_that_is_not_installed_is_no_silent_none(qr, monkeypatch):
    monkeypatch.setattr("qr_cli.engine.accelerator.get_available_trackers", list)
    answer = qr(*SMALL, "--tracker", "wandb")
    check_fault(answer, 5, "wandb", "pip install")


@pytest.mark.parametrize("lr", ["1e6", "1e30"])
def test_a_run_that_explodes_stops_with_its_step(qr, tmp_path, lr):
    answer = qr(*SMALL, "--lr", lr)
    check_fault(answer, 6, "is not finite", "lower --lr")
    run = json.loads((tmp_path / "runs/attention/se-s0/run.json").read_text("utf-8"))
    assert run["status"] == "failed"


@pytest.mark.parametrize("seeds", ["-3", "99999999999"])
def test_a_seed_out_of_range_is_no_bug_of_ours(qr, seeds):
    answer = qr(*SMALL, "--seeds", seeds)
    check_fault(answer, 2, f"got {seeds}", "--help")


def test_an_infinite_rate_is_refused_at_once(qr):
    answer = qr(*SMALL, "--lr", "inf")
    check_fault(answer, 2, "--lr: ", "--lr 0.05")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of half a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_said_and_keeps_what_was_there(qr, small_disk):
    answer = qr(*SMALL, "--out", str(small_disk))
    assert answer.code == 5, answer.err
    assert "qr: error: cannot save" in answer.err
    assert "hint: make room, then add --resume to the same command" in answer.err
    assert "Traceback" not in answer.err
    left = list((small_disk / "attention" / "se-s0").rglob("*"))
    assert not [path for path in left if path.name in ("latest.json", "epoch-0001")]


def forked(words, before) -> tuple[int, str]:
    """Call a command line in a child process after `before()`; returns exit code and stderr."""
    told, telling = os.pipe()
    child = os.fork()
    if not child:
        code = 99
        try:
            os.dup2(telling, 2)
            sys.stderr = os.fdopen(2, "w")
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
            before()
            code = run(list(words))
            sys.stderr.flush()
        finally:
            os._exit(code)
    os.close(telling)
    with os.fdopen(told) as stream:
        text = stream.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


class Told(NamedTuple):
    code: int
    err: str
    out: str = ""


def test_a_folder_one_may_not_write_is_said(trained):
    with TemporaryDirectory() as closed:  # pytest's own folders are closed to other users

        def become_nobody():
            os.chdir(closed)
            if os.getuid() == 0:
                os.setuid(65534)

        os.chmod(closed, 0o555)
        told = Told(*forked([*SMALL, "--out", closed], become_nobody))
        check_fault(told, 5, "Permission denied", "--out FOLDER")
        assert not os.listdir(closed)


def test_too_little_memory_is_said_with_what_to_lower(tmp_path, trained):
    def limit():
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        size = pages * resource.getpagesize() + 300 * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (size, size))

    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    words = [*SMALL, "--data", "shapes(test=10,train=4096)", "--batch-size", "4096"]
    told = Told(*forked(words, limit))
    check_fault(told, 5, "out of memory", "halve --batch-size, double --accumulate")
