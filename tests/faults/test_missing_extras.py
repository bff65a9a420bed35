"""A package of an extra is not installed: which extra to install, exit 5."""

import pytest
from commands import COMMANDS

CASES = [
    (name, package, extra)
    for name, command in COMMANDS.items()
    for package, extra in (command.missing or {}).items()
]
MORE = {
    "train attention --arch timm:resnet18 --data shapes(test=20,train=32) --epochs 1": (
        "timm",
        "timm",
    ),
    "train attention --module timm:se --data shapes(test=20,train=32) --epochs 1": ("timm", "timm"),
    "data hsi convert IN/cube.npz c.tif": ("rasterio", "fuse"),
    "data hsi convert IN/cube.npz c.mat": ("scipy", "fuse"),
    "train handoff --base lr --data IN/dialogues.jsonl --name l": ("sklearn", "handoff"),
    "train handoff --base bert --encoder IN --data IN/dialogues.jsonl --name b": (
        "transformers",
        "bert",
    ),
}
CASES += [(words, *pair) for words, pair in MORE.items()]
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("name", "package", "extra"), CASES)
def test_the_extra_to_install_is_named(name, package, extra, bare, tmp_path):
    command = COMMANDS.get(name)
    words = command.words if command else name
    ended = bare.qr(words, tmp_path, fault={"kind": "missing", "packages": [package]})
    assert ended.code == 5, ended
    *_, error, hint = ended.err.splitlines()
    assert error.startswith("qr: error: ") and "is not installed" in error
    assert hint == f"hint: pip install 'qr-cli[{extra}]'"
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
