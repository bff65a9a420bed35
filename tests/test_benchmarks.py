"""The loops over modules and seeds train, skip what is finished, and refuse another recipe."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLAGS = ("--", "--data", "shapes(train=64,test=20,size=16)", "--arch", "resnet8", "--epochs", "1")


def loop(script: str, out: Path, *words: str, flags=FLAGS) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "benchmarks" / script, "--out", out, *words, *flags]
    return subprocess.run(command, cwd=out, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
def test_modules_and_seeds_are_trained_once_and_compared(tmp_path: Path) -> None:
    words = ("--modules", "none;se", "--seeds", "0,1", "--bias")
    first = loop("attention_table.py", tmp_path, *words)
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("$ qr train attention") == 4
    assert "attention bias" in first.stdout and "none" in first.stdout
    again = loop("attention_table.py", tmp_path, *words[:-1])
    assert again.stdout.count("finished: ") == 4 and "$ qr" not in again.stdout
    other = loop("attention_table.py", tmp_path, *words[:-1], flags=(*FLAGS[:-1], "2"))
    assert other.returncode == 1
    assert "was started with another recipe: schedule.epochs 1 -> 2" in other.stderr


@pytest.mark.slow
def test_fixed_mixes_are_compared_with_the_mean(tmp_path: Path) -> None:
    done = loop("spem_mixes.py", tmp_path, "--gate", "ie", "--seeds", "0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("$ qr train attention") == 6
    assert "MixIE(" in done.stdout and "share=0.75)" in done.stdout
