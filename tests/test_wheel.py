"""A built wheel carries the recipes, and the package finds them there."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RECIPES = {file.relative_to(ROOT).as_posix() for file in (ROOT / "recipes").rglob("*.yaml")}
pytest.importorskip("hatchling")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The wheel, built without isolation and unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def test_a_wheel_holds_the_package_and_the_recipes_and_nothing_else(unpacked):
    tops = {path.name for path in unpacked.iterdir()}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"qr_cli"}
    inside = {path.relative_to(unpacked / "qr_cli").as_posix() for path in unpacked.rglob("*.yaml")}
    assert inside == RECIPES


def test_a_wheel_has_the_command_and_the_licence(unpacked):
    (info,) = unpacked.glob("*.dist-info")
    assert "qr = qr_cli.cli.app:main" in (info / "entry_points.txt").read_text("utf-8")
    assert list(info.rglob("LICENSE"))


def test_shipped_recipes_are_found_in_an_unpacked_wheel(unpacked):
    code = (
        "import qr_cli; from qr_cli.engine.resolve import shipped\n"
        "print(qr_cli.__file__); print(*shipped('attention').values(), sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=unpacked,
        env={"PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
    )
    file, *found = done.stdout.split()
    assert Path(file).is_relative_to(unpacked), done.stderr
    assert {Path(path).relative_to(unpacked / "qr_cli").as_posix() for path in found} == {
        name for name in RECIPES if name.startswith("recipes/attention/")
    }
