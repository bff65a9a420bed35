"""What starting costs: help imports nothing heavy, a dry run no more than it shows."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from qr_cli.cli.app import app

ROOT = Path(__file__).parents[1]
HEAVY = (
    *("torch", "numpy", "scipy", "transformers", "diffusers", "rasterio"),
    *("matplotlib", "accelerate", "torchvision", "timm", "PIL"),
)
LIMIT = 0.20  # of the CPU time of `import torch`
LOADED = """
import json, sys
from qr_cli.cli.app import run
code = run(sys.argv[1:])
print(json.dumps({"code": code, "loaded": sorted(sys.modules)}), file=sys.stderr)
"""


HELPED = """
import contextlib, io, json, sys
from qr_cli.cli.app import run
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as text:
        code = run([*words, "--help"])
    print(json.dumps([code, text.getvalue(), sorted(sys.modules)]))
"""


def child(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=300
    )


def loaded_by(*arguments: str) -> tuple[int, set[str], str]:
    """Return exit code, modules and output of a command line in a fresh process."""
    done = child("-c", LOADED, *arguments)
    told = json.loads(done.stderr.splitlines()[-1])
    return told["code"], set(told["loaded"]), done.stdout


def every_command(command, path=()):
    """Yield the words of every command and sub-command."""
    yield path
    if hasattr(command, "resolve_command"):
        context = command.make_context("qr", [], resilient_parsing=True)
        for name in command.commands:
            yield from every_command(command.resolve_command(context, [name])[1], (*path, name))


COMMANDS = list(every_command(typer.main.get_command(app)))


def test_the_walk_finds_commands_at_all_three_levels():
    assert {(), ("train",), ("train", "attention"), ("list", "modules")} <= set(COMMANDS)


@pytest.fixture(scope="module")
def helped():
    """Exit code, text and modules so far of each command's help, all in one process."""
    done = child("-c", HELPED, json.dumps(COMMANDS))
    return dict(zip(COMMANDS, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(("qr", *words)))
def test_help_imports_nothing_heavy_and_fits_a_terminal(words, helped):
    code, text, loaded = helped[words]
    assert code == 0
    assert not set(loaded) & set(HEAVY)
    assert "Usage: qr" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_help_of_the_root_reads_no_recipe():
    _, loaded, _ = loaded_by("--help")
    assert not [name for name in loaded if name.startswith(("pydantic", "yaml", "qr_cli.engine"))]


@pytest.mark.slow
def test_help_costs_under_a_fifth_of_importing_torch(capsys):
    child("-m", "qr_cli", "--help")  # so that both are read from memory and are compiled
    child("-c", "import torch")
    shown = min(cpu_seconds("-m", "qr_cli", "--help") for _ in range(3))
    torch = min(cpu_seconds("-c", "import torch") for _ in range(2))
    with capsys.disabled():
        print(f"\nqr --help: {shown / torch:.3f} of the CPU time of `import torch`")
    assert shown < LIMIT * torch


def cpu_seconds(*arguments: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert child(*arguments).returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.fixture(scope="module")
def planned():
    """Exit code, modules and output of a dry run."""
    return loaded_by("train", "attention", "--dry-run", "--json")


@pytest.mark.parametrize("package", ["torchvision", "accelerate", "timm", "matplotlib"])
def test_a_dry_run_does_not_import(package, planned):
    code, loaded, text = planned
    assert code == 0
    assert json.loads(text)["event"] == "plan"
    assert package not in loaded
