"""Damaged files: every reader answers or refuses, and nothing crashes, hangs or eats the memory."""

import subprocess
import sys
from pathlib import Path

import pytest
from fuzz import harness
from fuzz.mutations import DAMAGE, mutated
from fuzz.readers import NAMES

COUNT = 2000  # files a reader, for the evidence
# One of each way to read, of those that start quickly; the rest belongs to the slow run.
QUICK = ["mat5", "npz", "npy", "netcdf", "mhch", "unigeo", "dialogues", "prompts", "suites"]


@pytest.mark.slow
def test_no_damage_gets_past_any_reader(tmp_path):
    assert not harness.fuzz([(name, 0, COUNT) for name in NAMES], tmp_path)


def test_a_few_damaged_files_are_answered_or_refused(tmp_path):
    assert not harness.fuzz([(name, 0, 40) for name in QUICK], tmp_path)


def test_every_kind_of_damage_changes_something_and_a_seed_repeats_it():
    whole, other = bytes(range(48, 58)) * 20, b"other" * 30
    made = [mutated(whole, other, seed) for seed in range(200)]
    assert made == [mutated(whole, other, seed) for seed in range(200)]
    assert sum(one != whole for one in made) > 190
    assert len(DAMAGE) == 9 and mutated(b"", b"", 1) == b""


FAULTY = """
import os, signal
from fuzz.readers import Reader
def make(folder):
    (folder / "a").write_bytes(b"whole")
    return [folder / "a"]
def read(path):
    if path.read_bytes() != b"whole":
        {fault}
faulty = Reader(make, read)
"""


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("raise KeyError(1)", "KeyError"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("while True: pass", "hang"),
        ("bytearray(3 * 2**30)", "memory"),
        ("from qr_cli.errors import UsageError; raise UsageError('x')", "exit code"),
    ],
)
def test_the_harness_sees_what_it_is_for(fault, kind, tmp_path, monkeypatch):
    home = tmp_path / "fuzz"
    home.mkdir()
    for file in ("mutations.py", "worker.py", "readers.py"):
        text = (Path(harness.__file__).parent / file).read_text()
        text = text.replace('"rasters": "', '"made": "faulty", "rasters": "')
        (home / file).write_text(text.replace("SECONDS = 5", "SECONDS = 1"))
    (home / "made.py").write_text(FAULTY.format(fault=fault))
    monkeypatch.setattr(harness, "WORKER", home / "worker.py")
    found = harness.fuzz([("faulty", 0, 2)], tmp_path)
    assert found and found[0].kind == kind


def test_the_readers_are_listed_by_the_script_too():
    script = str(harness.__file__)
    run = subprocess.run(
        [sys.executable, script, "0", "5", "npy"], capture_output=True, text=True, check=True
    )
    assert "1 readers x 5 files" in run.stdout and "0 findings" in run.stdout
