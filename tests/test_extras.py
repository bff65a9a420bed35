"""The wheel in an environment of its own: with an extra its commands run, without it they say so.

Nothing is downloaded. The environment sees, through links, the distributions of this one that the
wheel requires with the extra, and no other.
"""

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

pytest.importorskip("hatchling")
packaging = pytest.importorskip("packaging.requirements")
pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
TRAIN = "train attention --arch resnet8 --data shapes(test=20,train=32) --epochs 1 --device cpu"
FUSE = "fuse --hsi hsi.npz --msi msi.npz --out f.npz --no-report --no-quicklook --psf official"
SOLVE = "solve-geo problems.jsonl --solver rules"
LR = "train handoff --base lr --data dialogues.jsonl --out runs"
DRAW = "generate one --steps 1 --device cpu"
RUNS = {  # extra -> what runs with it, and what then says which one is missing
    "": ([TRAIN, SOLVE], {FUSE: "fuse", LR: "handoff", DRAW: "generate"}),  # sympy is torch's too
    "fuse": ([FUSE], {LR: "handoff", f"{TRAIN} --arch timm:resnet18": "timm"}),
    "geo": ([SOLVE], {FUSE: "fuse"}),
    "handoff": ([LR], {DRAW: "generate"}),
    "generate": ([DRAW], {FUSE: "fuse"}),
    "timm": (
        [f"{TRAIN} --arch timm:test_resnet"],
        {f"{TRAIN} --overwrite --tracker tensorboard": "tracking"},
    ),
    "tracking": ([f"{TRAIN} --tracker tensorboard"], {FUSE: "fuse"}),
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture
def data(tmp_path):
    """A pair of images, problems and dialogues in the working folder."""
    np = pytest.importorskip("numpy")
    draw = np.random.default_rng(0)
    spectra = draw.random((3, 12))
    for name, side, repeat in (("hsi", 8, 1), ("msi", 8, 4)):
        weights = np.random.default_rng(1).random((side, side, 3)).repeat(repeat, 0)
        values = weights.repeat(repeat, 1) @ spectra
        np.savez(tmp_path / f"{name}.npz", cube=values if name == "hsi" else values[..., ::4])
    problem = {"id": "a", "text": "In triangle ABC, angle A = 40° and angle B = 60°. Find angle C."}
    (tmp_path / "problems.jsonl").write_text(json.dumps(problem) + "\n", "utf-8")
    words = ("late broken", "thanks great")
    turns = [{"role": "customer", "text": words[i % 2], "handoff": 1 - i % 2} for i in range(4)]
    lines = [{"session_id": str(n), "lang": "en", "utterances": turns} for n in range(12)]
    (tmp_path / "dialogues.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n", "utf-8")


def required(name, extras=(), seen=None):
    """Return the distributions that one requires, itself included, as far as they are here."""
    seen = {} if seen is None else seen
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return seen
    if set(extras) <= seen.get(found.name, (None, {None}))[1]:
        return seen
    seen[found.name] = found, seen.get(found.name, (None, set()))[1] | {"", *extras}
    for text in found.requires or ():
        one = packaging.Requirement(text)
        if any(one.marker is None or one.marker.evaluate({"extra": e}) for e in ("", *extras)):
            required(one.name, tuple(one.extras) or ("",), seen)
    return seen


def environment(folder, wheel, extra):
    """Make a virtual environment that holds the wheel and what it requires with an extra."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps"]
    subprocess.run([*pip, "--no-index", "--quiet", str(wheel)], check=True, capture_output=True)
    (site,) = folder.glob("lib/python*/site-packages")
    held = packaging.Requirement(f"qr-cli[{extra}]" if extra else "qr-cli")
    (info,) = site.glob("qr_cli-*.dist-info")
    needs = {}
    for line in (info / "METADATA").read_text("utf-8").splitlines():
        if line.startswith("Requires-Dist: "):
            one = packaging.Requirement(line.removeprefix("Requires-Dist: "))
            told = [{"extra": e} for e in ("", *held.extras)]
            if any(one.marker is None or one.marker.evaluate(e) for e in told):
                required(one.name, tuple(one.extras) or ("",), needs)
    for found, _ in needs.values():
        for top in {file.parts[0] for file in found.files or () if file.parts[0] != ".."}:
            place, link = Path(found.locate_file(top)), site / top
            if not link.exists() and top != "__pycache__":
                link.symlink_to(place)
    return folder / "bin" / "qr"


@pytest.mark.parametrize("extra", RUNS)
def test_an_extra_brings_what_its_commands_need(extra, wheel, data, tmp_path):
    program = environment(tmp_path / "env", wheel, extra)
    assert next(tmp_path.glob("env/lib/python*/site-packages/qr_cli/py.typed")).is_file()
    variables = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def qr(words):
        return subprocess.run(
            [program, *words.split()], cwd=tmp_path, env=variables, capture_output=True, text=True
        )

    runs, refused = RUNS[extra]
    for words in runs:
        done = qr(words)
        assert done.returncode == 0, done.stderr
    for words, missing in refused.items():
        done = qr(words)
        assert done.returncode == 5, done.stderr
        assert done.stderr.splitlines()[-1] == f"hint: pip install 'qr-cli[{missing}]'"
