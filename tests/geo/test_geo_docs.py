"""The commands of docs/geo.md run, and the shell example prints its table."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from qr_cli.cli.app import run

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "geo.md").read_text("utf-8")
COMMANDS = re.findall(r"^\$ (qr .*)$", PAGE, re.MULTILINE)


RUNNABLE = [
    c for c in COMMANDS
    if "--text" in c or "exec" in c or (" make " in c and "--out" not in c and "|" not in c)
]  # fmt: skip


@pytest.mark.parametrize("command", RUNNABLE)
def test_a_command_of_the_page_runs(command, capfd):
    assert run(shlex.split(command)[1:]) == 0
    assert capfd.readouterr().out.startswith("{")


def test_the_page_has_commands_and_no_places_left_open():
    assert len(COMMANDS) >= 6
    assert "@@" not in PAGE


def test_a_worksheet_goes_through_the_shell_pipeline(tmp_path):
    program = tmp_path / "qr"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m qr_cli "$@"\n')
    program.chmod(0o755)
    (tmp_path / "python3").symlink_to(sys.executable)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    sheet = "In triangle ABC, AB = AC, angle A = 50. Find angle B.\nAngle 1 = 40. Find angle 2.\n"
    done = subprocess.run(
        [ROOT / "examples" / "geo_pipeline.sh"],
        input=sheet,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["1\tverified\t65", "2\tneeds-diagram\t-", "open: 2"]
