"""A server in the test's hands, and what is looked at after a fault."""

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import qr_cli

ROOT = Path(qr_cli.__file__).parents[1]


@dataclass(frozen=True)
class Ended:
    """How a command line ended; a negative code is the signal that ended it."""

    code: int
    out: str
    err: str
    seconds: float


class Server:
    """Runs command lines in forked processes; see server.py."""

    def __init__(self, kind, inputs, scratch):
        self.inputs, self.scratch = inputs, scratch
        environment = os.environ | {
            "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg",
            "MPLCONFIGDIR": str(scratch), "XDG_CACHE_HOME": str(scratch), "COLUMNS": "80",
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("server.py")), kind],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        assert self._answer() == "ready"

    def qr(self, words, cwd, *, fault=None, stdin=""):
        """Run `qr WORDS` in a folder under a fault."""
        out, err = (self.scratch / name for name in ("stdout", "stderr"))
        request = {
            "words": words.replace("IN/", f"{self.inputs}/").split(), "cwd": str(cwd),
            "out": str(out), "err": str(err), "fault": fault,
            "stdin": str(self.inputs / stdin) if stdin else None,
        }  # fmt: skip
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = self._answer()
        texts = (path.read_text("utf-8", "replace") for path in (out, err))
        return Ended(answer["code"], *texts, answer["seconds"])

    def steps(self):
        """Return what the last command changed, step by step, if it was watched."""
        lines = (self.scratch / "stdout.steps").read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def close(self):
        self.process.kill()
        self.process.wait()

    def _answer(self):
        return json.loads(self.process.stdout.readline())


def files(folder):
    """Return the files of a folder under their final names."""
    return sorted(
        name for name in (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        if not hidden(name)
    )  # fmt: skip


def hidden(name):
    return any(part.startswith(".") for part in Path(name).parts)


def leftovers(folder):
    """Return hidden files and folders, outermost only."""
    found = [path.relative_to(folder) for path in folder.rglob(".*")]
    return sorted(str(name) for name in found if not hidden(name.parent))


def half(folder):
    """Return the files that stand under their final name and cannot be read to their end."""
    return [str(name) for name in files(folder) if not _whole(folder / name)]


def _whole(path):
    reader = _READERS.get(path.suffix)
    if reader is None:
        return path.stat().st_size > 0
    try:
        reader(path)
    except Exception as error:  # whatever a reader raises on half a file
        print(path, error)
        return False
    return True


def _json(path):
    json.loads(path.read_text("utf-8"))


def _lines(path):
    text = path.read_text("utf-8")
    whole, _, rest = text.rpartition("\n")
    assert not rest or path.name in GROWING  # the reader of these leaves a cut line out
    [json.loads(line) for line in whole.splitlines()]


def _picture(path):
    from PIL import Image

    with Image.open(path) as picture:
        picture.load()


def _archive(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None


def _raster(path):
    import rasterio

    with rasterio.open(path) as file:
        file.read()


def _matlab(path):
    from scipy.io import loadmat

    loadmat(path)


def _weights(path):
    from safetensors.numpy import load_file

    load_file(path)


def _onnx(path):
    import onnx

    onnx.checker.check_model(onnx.load(path))


def _page(path):
    assert path.read_text("utf-8").rstrip().endswith(("</html>", "</svg>"))


GROWING = ("metrics.jsonl", "log.txt")  # appended to while a run goes on
_READERS = {
    ".json": _json, ".jsonl": _lines, ".png": _picture, ".npz": _archive, ".pt2": _archive,
    ".pt": _archive, ".tif": _raster, ".mat": _matlab, ".safetensors": _weights, ".onnx": _onnx,
    ".html": _page, ".svg": _page, ".txt": lambda path: path.read_text("utf-8"),
}  # fmt: skip
