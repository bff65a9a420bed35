"""What the shell is offered after a few letters."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qr_cli.cli.app import run


@pytest.fixture
def offered(monkeypatch, capsys):
    """Ask as bash does: the words so far, the last one incomplete."""

    def ask(*words: str) -> set[str]:
        monkeypatch.setenv("_QR_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", " ".join(("qr", *words)))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        capsys.readouterr()
        with pytest.raises(SystemExit):
            run([])
        return set(capsys.readouterr().out.split())

    return ask


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("tr",), {"train"}),
        (("train", "at"), {"attention"}),
        (("train", "attention", "--mod"), {"--module"}),
        (("train", "attention", "--module", "s"), {"se", "sem", "spem", "stepnet", "share"}),
        (("train", "attention", "--module", "ls"), {"lsas"}),
        (("train", "attention", "--arch", "resnet2"), {"resnet20", "resnet245"}),
        (("train", "attention", "--arch", "tim"), {"timm:"}),
        (("train", "attention", "--data", "cifar"), {"cifar10", "cifar100"}),
        (("train", "attention", "--test-data", "sh"), {"shapes"}),
        (("train", "attention", "--precision", "b"), {"bf16"}),
        (("eval", "attention", "--which", "b"), {"best"}),
        (("eval", "attention", "--data", "sh"), {"shapes"}),
        (("list", "mod"), {"modules"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_names_are_completed(offered, words, wanted):
    found = offered(*words)
    assert wanted <= found
    assert all(name.startswith(words[-1]) for name in found)


def test_shipped_recipes_are_completed(offered, monkeypatch, tmp_path):
    names = {"smoke": tmp_path, "shapes": tmp_path}
    monkeypatch.setattr("qr_cli.cli.options.shipped", lambda task: names)
    assert offered("train", "attention", "--recipe", "sm") == {"smoke"}


def test_files_are_left_to_the_shell(offered):
    assert offered("train", "attention", "--weights", "x") == set()


SHELLS = {
    "bash": 'source script; COMP_WORDS=(qr train at); COMP_CWORD=2; _qr_completion qr; '
    'printf "%s\\n" "${COMPREPLY[@]}"',
    "zsh": '_arguments() { print -r -- "$@"; }; compdef() { :; }; source script; '
    "words=(qr train at); CURRENT=3; _qr_completion",
    "fish": 'source script; complete -C "qr train at"',
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
def test_a_real_shell_completes(shell, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    program = tmp_path / "qr"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m qr_cli "$@"\n')
    program.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    asked = environment | {"_QR_COMPLETE": f"source_{shell}"}
    script = subprocess.run(["qr"], env=asked, capture_output=True, text=True).stdout
    (tmp_path / "script").write_text(script)
    quiet = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    shown = subprocess.run(
        [shell, *quiet, "-c", SHELLS[shell].replace("source script", "source ./script")],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "attention" in shown.stdout
    assert "handoff" not in shown.stdout
