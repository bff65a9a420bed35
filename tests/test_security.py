"""What is promised of files and names of others: see docs/security.md, a test for each line."""

import ast
import json
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from qr_cli.cli.app import run
from qr_cli.engine.filenames import file_name
from qr_cli.errors import DataError, QrError, UsageError, WeightsError
from tests.each import each_of

PACKAGE = Path(__file__).parents[1] / "qr_cli"
FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = {
    "up": "../../x", "absolute": "/etc/x", "nul": "a\0b", "long": "x" * 5000, "dots": "..",
    "empty": "", "reserved": "CON", "blank": " ", "letters": "退货", "home": "~/x", "back": "..\\x",
}  # fmt: skip


class Mark:
    """Pickles as a call that leaves a file behind."""

    def __reduce__(self):
        return os.system, ("touch pwned",)


@pytest.fixture(autouse=True)
def _nothing_ran():
    yield
    assert not Path("pwned").exists(), "something of a file was run"


# nothing is unpickled, evaluated or called -------------------------------------------------------

NEVER = {
    *("eval", "exec", "compile", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load"),
    *("yaml.full_load", "pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.loads"),
    *("shelve.open", "joblib.load", "dill.load", "cloudpickle.load", "runpy.run_path"),
    *("pd.read_pickle", "np.loads", "torch.hub.load", "torch.jit.load"),
}
OWN_ARRAYS = {"generate/digits.py"}  # np.load of what ships


@each_of(FILES)
def test_no_line_can_run_what_stands_in_a_file(file):
    name, tree = file.relative_to(PACKAGE).as_posix(), ast.parse(file.read_text("utf-8"))
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        called = ast.unparse(call.func)
        given = {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert called not in NEVER, call.lineno
        assert called != "torch.load" or given.get("weights_only") == "True", call.lineno
        assert given.get("allow_pickle", "False") == "False", call.lineno
        assert called not in ("np.load", "numpy.load") or name in OWN_ARRAYS, call.lineno
        assert given.get("shell", "False") == "False", call.lineno


def hostile_pickle(path):
    path.write_bytes(pickle.dumps([Mark()], 4))
    return path


def hostile_tensors(path):
    torch.save({"weight": torch.ones(2), "more": Mark()}, path)
    return path


def hostile_array(path):
    np.save(path, np.array([Mark()], dtype=object), allow_pickle=True)
    return path


def read_unigeo(path):
    from qr_cli.geo.unigeo import convert

    convert([path], Path("out"))


def read_handoff(path):
    from qr_cli.handoff.convert import convert

    convert(str(path), "out.jsonl")


def read_weights(path):
    from qr_cli.attention.weights import read_file

    read_file(path)


def read_geo_weights(path):
    from qr_cli.geo.official import read_state

    read_state(path)


def read_adapter(path):
    from qr_cli.generate.official import load_official

    load_official(path, 0.1)


def read_teacher(path):
    from qr_cli.generate.teacher import read_vectors

    read_vectors(str(path))


def read_image(path):
    from qr_cli.fuse.formats.read import open_raster

    open_raster(str(path))


def read_psf(path):
    from qr_cli.fuse.known import numbers

    numbers(path, "--psf")


def read_pack(path):
    from qr_cli.attention.data import read

    arrays = {"data": np.zeros((2, 8, 8, 3), np.uint8), "y": np.array([Mark(), Mark()])}
    np.savez("pack.npz", **arrays)
    read("npz:pack.npz")


HOSTILE = {
    "UniGeo pickle": (hostile_pickle, "train.pk", read_unigeo),
    "handoff pickle": (hostile_pickle, "train.pkl", read_handoff),
    "attention weights": (hostile_tensors, "a.pth", read_weights),
    "geo weights": (hostile_tensors, "a.pth", read_geo_weights),
    "official adapter": (hostile_tensors, "adapterw0.1.pt", read_adapter),
    "teacher vectors": (hostile_tensors, "a.pt", read_teacher),
    "image": (hostile_array, "a.npy", read_image),
    "point spread": (hostile_array, "a.npy", read_psf),
    "image pack": (hostile_array, "a.npy", read_pack),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_refused_and_runs_nothing(kind, tmp_path):
    make, name, read = HOSTILE[kind]
    with pytest.raises(QrError) as caught:
        read(make(tmp_path / name))
    assert caught.value.exit_code in (3, 4)


@pytest.mark.parametrize("name", ["random_states_0.pkl", "optimizer.bin"])
def test_resuming_runs_nothing_of_a_tampered_checkpoint(name, tmp_path):
    from fuzz.weights import make_progress, read_progress

    make_progress(tmp_path)
    (path,) = tmp_path.rglob(name)
    torch.save({"random": Mark()}, path)
    with pytest.raises(WeightsError, match="cannot be resumed"):
        read_progress(path)


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['touch pwned']",
        "optim: !!python/object/new:os.system ['touch pwned']",
        "a: &a [x]\nb: !!python/name:os.system",
    ],
)
def test_a_recipe_is_data_and_no_program(text, tmp_path, capsys):
    (tmp_path / "r.yaml").write_text(text)
    assert run(["train", "attention", "--recipe", "r.yaml", "--dry-run"]) == 3
    assert "cannot be read" in capsys.readouterr().err


# code of others runs only where it was asked for -------------------------------------------------

FOREIGN = (
    "os:system(command='touch pwned')",
    "marker:Layer",
    "subprocess:Popen(args='touch pwned')",
)


@pytest.fixture
def marker(tmp_path, monkeypatch):
    """A module that leaves a file behind when it is imported."""
    folder = tmp_path / "path"
    folder.mkdir()
    (folder / "marker.py").write_text(
        "open('imported', 'w').close()\nimport torch\nclass Layer(torch.nn.Identity):\n"
        "    def __init__(self, *a, **k): super().__init__()\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "marker", raising=False)
    return Path("imported")


def checkpoint(folder, **card):
    from fuzz.weights import make_attention_run

    (target, _) = make_attention_run(folder)
    target.write_text(json.dumps(json.loads(target.read_text()) | card))
    return folder


@pytest.mark.parametrize("target", FOREIGN)
@pytest.mark.parametrize("task", ["attention", "reparam"])
def test_a_checkpoint_cannot_name_code(task, target, marker, tmp_path):
    import qr_cli

    card = {"arch": target} if task == "reparam" else {"module": target.partition("(")[0]}
    folder = checkpoint(tmp_path / "run", task=task, **card)
    with pytest.raises(QrError):
        qr_cli.load(folder)
    assert not marker.exists()


def test_a_recipe_cannot_name_code_but_a_flag_can(marker, tmp_path, monkeypatch, capsys):
    recipe = {"task": "attention", "model": {"module": "marker:Layer"}, "data": {"data": "shapes"}}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    words = ["train", "attention", "--recipe", "r.yaml", "--dry-run"]
    assert run(words) == 2 and not marker.exists()
    assert "QR_TRUST=marker" in capsys.readouterr().err
    assert run([*words, "--module", "marker:Layer"]) == 0 and marker.exists()
    marker.unlink()
    monkeypatch.delitem(sys.modules, "marker")
    monkeypatch.setenv("QR_TRUST", "marker")
    assert run(words) == 0 and marker.exists()


@pytest.mark.parametrize(
    "text", ["__import__('os')", "se(x=__import__('os').system('touch pwned'))", "se;eval", "{}.a"]
)
def test_a_module_string_is_grammar_and_no_program(text):
    from qr_cli.attention.create import create_attention

    with pytest.raises(UsageError):
        create_attention(text, 8)


def test_a_plugin_is_imported_when_its_name_is_used_and_not_before(marker, monkeypatch):
    from importlib import metadata

    from qr_cli.registry import Entry, Registry

    point = metadata.EntryPoint("mine", "marker:Layer", "group")
    monkeypatch.setattr(metadata, "entry_points", lambda group: [point])
    table = Registry("thing", {"a": Entry("json:loads", "a")}, "group", "qr list")
    assert "mine" in table and list(table) and not marker.exists()
    table.load("a")
    assert not marker.exists()
    table.load("mine")
    assert marker.exists()


def test_a_base_cannot_name_libraries(tmp_path):
    from fuzz.weights import make_base_folder

    from qr_cli.generate.base import base_folder

    index = make_base_folder(tmp_path)[0]
    parts = json.loads(index.read_text()) | {"extra": ["os", "system"]}
    index.write_text(json.dumps(parts))
    with pytest.raises(DataError, match="names code of 'os'"):
        base_folder(str(tmp_path))


# nothing is written outside ----------------------------------------------------------------------


def outside(folder):
    """Return what stands beside the only folder that may be written."""
    return {p for p in folder.parent.rglob("*") if folder not in (p, *p.parents)}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_file_name_has_no_folder_and_fits(name):
    made = file_name(name)
    assert made and Path(made).name == made and len(made.encode()) < 130
    assert made[0] not in ".-" and "\0" not in made and made.lower() != "con"
    assert made != file_name(name + "!")


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_pages_of_problems_stay_in_their_folder(name, tmp_path):
    line = {"id": name, "text": "In triangle ABC, angle A = 50°, angle B = 60°. Find angle C."}
    (tmp_path / "p.jsonl").write_text(json.dumps(line))
    before = outside(tmp_path / "out")
    assert run(["solve-geo", "p.jsonl", "--render", "html", "--out", "out"]) == 0
    assert len(list((tmp_path / "out").iterdir())) == 1
    assert outside(tmp_path / "out") == before


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_converted_diagrams_stay_in_their_folder(name, tmp_path):
    from fuzz.pickles import make_unigeo

    path = make_unigeo(tmp_path)[0]
    rows = pickle.loads(path.read_bytes())
    path.write_bytes(pickle.dumps([{**rows[0], "id": name}, {**rows[0], "id": name + "!"}]))
    before = outside(tmp_path / "out")
    assert run(["data", "geo", "convert", str(path), "--out", "out"]) == 0
    assert len(list((tmp_path / "out" / "diagrams").iterdir())) == 2
    assert outside(tmp_path / "out") == before


@pytest.mark.parametrize("name", [n for n in NAMES if n != "empty"])
def test_traces_of_dialogues_stay_in_their_folder(name, tmp_path):
    turn = {"role": "customer", "text": "my order is late"}
    line = {"session_id": NAMES[name], "utterances": [turn]}
    (tmp_path / "d.jsonl").write_text(json.dumps(line))
    before = outside(tmp_path / "out")
    words = ["handoff", "d.jsonl", "--trace", "out", "--trace-format", "html"]
    assert run(words) == 0
    assert len(list((tmp_path / "out").iterdir())) == 1
    assert outside(tmp_path / "out") == before


def test_pictures_are_numbered_whatever_prompts_are_called(tmp_path):
    from qr_cli.generate.prompts import from_file
    from qr_cli.generate.studio import Picture

    (tmp_path / "p.jsonl").write_text(
        "".join(json.dumps({"id": name, "prompt": "a"}) + "\n" for name in NAMES.values())
    )
    variant = type("Variant", (), {"suffix": ""})()
    for prompt in from_file("p.jsonl"):
        path = Picture(prompt, "", 3, 1, 1.0).path(Path("out"), variant)
        assert path == Path(f"out/{prompt.number:05d}-3.png")


@pytest.mark.parametrize("name", [n for n in NAMES if n != "reserved"])
def test_a_run_is_named_by_letters_alone(name, tmp_path):
    from qr_cli.attention.recipe import Attention
    from qr_cli.engine.resolve import resolve

    with pytest.raises(UsageError, match="--name"):
        resolve(Attention, file={"run": {"name": NAMES[name]}})


@pytest.mark.parametrize("place", ["../other", "/etc", "a/../../b", "checkpoints/\0"])
@pytest.mark.parametrize("task", ["attention", "handoff"])
def test_a_pointer_of_a_run_stays_inside_it(task, place, tmp_path):
    from qr_cli.engine.checkpoint import resolve
    from qr_cli.handoff.load import load

    (tmp_path / "latest.json").write_text(json.dumps({"checkpoint": place}))
    with pytest.raises(WeightsError, match="outside"):
        (resolve if task == "attention" else load)(tmp_path)


@pytest.mark.parametrize("command", ["solve", "convert", "surd"])
def test_a_linked_output_folder_spares_what_it_points_to(command, tmp_path):
    from fuzz.pickles import make_unigeo
    from fuzz.texts import make_surd

    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "diary.txt").write_text("mine")
    (tmp_path / "out").symlink_to(kept, target_is_directory=True)
    make_surd(tmp_path)
    words = {
        "solve": ["solve-geo", "--text", "angle A = 4 , find angle A .", "--render", "html"],
        "convert": ["data", "geo", "convert", str(make_unigeo(tmp_path)[0]), "--overwrite"],
        "surd": ["data", "surd", "clean", str(tmp_path), "--overwrite"],
    }[command]
    run([*words, "--out", "out"])
    assert (kept / "diary.txt").read_text() == "mine"


# no network unless asked -------------------------------------------------------------------------


@pytest.fixture
def cut_off(monkeypatch):
    """Let every attempt to resolve or reach a host fail, and be counted."""
    import socket

    tried = []

    def refuse(*arguments, **settings):
        tried.append(arguments)
        raise OSError("no network in this test")

    for name in ("create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tried


@pytest.mark.parametrize(
    "words",
    [
        ["solve-geo", "--text", "In triangle ABC, angle A = 50°, angle B = 60°. Find angle C."],
        ["handoff", "d.jsonl"],
        ["list", "modules"],
        ["list", "archs"],
        ["list", "recipes"],
        ["data", "geo", "exec", "g_half N_0", "--numbers", "6"],
        ["data", "mhch", "stats", "d.jsonl"],
        ["train", "attention", "--data", "shapes", "--arch", "resnet8", "--dry-run"],
    ],
    ids=" ".join,
)
def test_commands_on_what_is_here_reach_no_host(words, cut_off, tmp_path):
    turn = {"role": "customer", "text": "my order is late", "handoff": 0}
    (tmp_path / "d.jsonl").write_text(json.dumps({"session_id": "a", "utterances": [turn]}))
    assert run(words) == 0
    assert not cut_off


@pytest.mark.parametrize(
    "words",
    [
        ["train", "attention", "--data", "cifar10", "--arch", "resnet8"],
        ["train", "attention", "--data", "shapes", "--arch", "torchvision:resnet18",
         "--weights", "torchvision"],
    ],
    ids=["data", "weights"],
)  # fmt: skip
def test_what_would_be_fetched_says_how_to_ask(words, cut_off, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("QR_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "none"))
    assert run(words) in (3, 5)
    assert "--download" in capsys.readouterr().err
    assert not cut_off


@pytest.mark.parametrize(
    "source",
    ["/vsicurl/http://x/a.tif", "https://x/a.tif", "/vsis3/x/a.tif", "WMS:http://x/?a"],
)
def test_a_virtual_image_cannot_reach_the_network(source, cut_off, tmp_path):
    text = (
        '<VRTDataset rasterXSize="5" rasterYSize="4"><VRTRasterBand dataType="Byte" band="1">'
        f"<SimpleSource><SourceFilename>{source}</SourceFilename></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )
    for name in ("a.vrt", "a.tif"):
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError):
            read_image(tmp_path / name)
    assert not cut_off
