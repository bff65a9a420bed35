"""stdout carries records, stderr carries talk: in every mode, in a pipe and on a terminal."""

import fcntl
import json
import os
import re
import signal
import struct
import subprocess
import sys
import termios

import pytest
from conftest import SMALL

ESCAPE = "\x1b["


@pytest.fixture
def terminal(capsys, monkeypatch):
    """Let this process believe that its channels are a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda self: True)


def test_in_a_pipe_stdout_is_json_lines_and_stderr_is_talk(qr, received):
    answer = qr("train", "attention")
    assert [record["event"] for record in answer.records] == ["epoch", "result"]
    assert "epoch 1/1  loss 2.000  test top1 50.00 %  1 s" in answer.err
    assert "hint: qr eval attention runs/attention/se-s0" in answer.err
    assert ESCAPE not in answer.out + answer.err


def test_json_leaves_hints_out(qr, received):
    answer = qr("train", "attention", "--json")
    assert [record["event"] for record in answer.records] == ["epoch", "result"]
    assert "hint" not in answer.err


def test_quiet_prints_the_run_folder_alone(qr, received):
    answer = qr("train", "attention", "--quiet")
    assert (answer.out, answer.err) == ("runs/attention/se-s0\n", "")


def test_a_terminal_gets_a_table_and_no_json(qr, received, terminal):
    answer = qr("train", "attention")
    assert "{" not in answer.out
    assert "top-1 accuracy on the test split (best: selected on test)" in answer.out
    assert re.search(r"runs/attention/se-s0 +50.00 % +50.00 % +1", answer.out)
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", x)) for x in answer.out.splitlines()) <= 80


def test_json_on_a_terminal_is_json(qr, received, terminal):
    assert len(qr("train", "attention", "--json").records) == 2


def test_a_progress_bar_on_stderr_leaves_stdout_alone(qr, received, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # for Rich: stderr is a terminal; stdout is a pipe
    answer = qr("train", "attention")
    assert "100 %" in answer.err
    assert [record["event"] for record in answer.records] == ["epoch", "result"]


@pytest.mark.parametrize("way", ["flag", "variable"])
def test_no_colour_on_a_terminal_when_asked(qr, received, terminal, monkeypatch, way):
    if way == "variable":
        monkeypatch.setenv("NO_COLOR", "1")
    words = ["--no-color"] if way == "flag" else []
    answer = qr("list", "modules", *words)
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", answer.out)
    fault = qr("train", "attention", "--lr", "-1", *words)
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", fault.err)
    assert "--lr: should be greater than 0" in fault.err


def test_verbose_says_where_every_value_comes_from(qr, terminal, tmp_path):
    (tmp_path / "mine.yaml").write_text("optim: {lr: 0.2}\n", "utf-8")
    words = ("train", "attention", "--recipe", "mine.yaml", "--epochs", "3", "--dry-run")
    short, long = qr(*words, "--no-color"), qr(*words, "--no-color", "--verbose")
    for text in (short.out, long.out):
        assert re.search(r"--lr +0.2 +recipe", text)
        assert re.search(r"--epochs +3 +flag", text)
    assert not re.search(r"--batch-size", short.out)
    assert re.search(r"--batch-size +64 +default", long.out)
    assert "layer3.2.attn" in long.out


def test_the_plan_fits_eighty_columns(qr, terminal):
    answer = qr("train", "attention", "--dry-run", "--verbose", "--no-color")
    text = re.sub(r"\x1b\[[0-9;]*m", "", answer.out)
    assert "run folder" in text and "steps per epoch" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    "words", [("--lr", "-1"), ("--lrr", "1"), ("--data", "nowhere/x.npz", "--device", "cpu")]
)
def test_with_json_a_fault_is_one_object_on_stderr(qr, words):
    answer = qr("train", "attention", *words, "--json")
    fault = json.loads(answer.err.splitlines()[-1])
    assert set(fault) == {"event", "message", "hint", "exit_code"}
    assert (fault["event"], fault["exit_code"]) == ("error", answer.code)
    assert answer.out == ""


def test_other_libraries_log_to_stderr(qr, received, monkeypatch):
    import logging

    from qr_cli.engine import train as module

    train = module.train

    def noisy(*args, **settings):
        logging.getLogger("somebody").warning("look out")
        return train(*args, **settings)

    monkeypatch.setattr(module, "train", noisy)
    answer = qr("train", "attention", "--verbose")
    assert len(answer.records) == 2
    assert "qr: warning: look out" in answer.err


def test_of_several_ranks_only_the_first_speaks(qr, received, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    answer = qr("train", "attention", "--num-processes", "2")
    assert (answer.code, answer.out, answer.err) == (0, "", "")


LONG = (*SMALL, "--epochs", "500", "--json")


def test_a_closed_pipe_ends_the_run_without_a_word(start):
    process = start(*LONG)
    assert json.loads(process.stdout.readline())["event"] == "epoch"
    process.stdout.close()
    talk = process.stderr.read().splitlines()
    assert process.wait(timeout=120) == 141
    assert [line for line in talk if not line.startswith("epoch")] == []


def test_ctrl_c_saves_and_says_where(start):
    process = start(*LONG)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, talk = process.communicate(timeout=120)
    fault = json.loads(talk.splitlines()[-1])
    assert process.returncode == fault["exit_code"] == 130
    assert "interrupted at step" in fault["message"]
    assert os.path.isdir(fault["message"].split("saved ")[1])
    assert "--resume" in fault["hint"]


def test_a_terminal_of_eighty_columns_shows_progress_and_a_table(start):
    near, far = os.openpty()
    fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    process = start(*SMALL, stdin=far, stdout=far, stderr=far, text=False)
    os.close(far)
    text = _drain(near)
    assert process.wait(timeout=120) == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert re.search(r"epoch 1/1 .*100 %", plain)
    assert "top-1 accuracy on the test split" in plain
    assert re.search(r"runs/attention/se-s0 +\d+\.\d\d %", plain)
    assert '{"event"' not in plain
    lines = re.split(r"[\r\n]+", plain)
    assert max(map(len, lines)) <= 80


def _drain(descriptor: int) -> str:
    pieces = []
    while True:
        try:
            piece = os.read(descriptor, 65536)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        pieces.append(piece)
    os.close(descriptor)
    return b"".join(pieces).decode("utf-8", "replace")


def test_python_m_qr_cli_is_the_command(start):
    process = start("--version", stdin=subprocess.DEVNULL)
    out, err = process.communicate(timeout=60)
    assert re.fullmatch(r"qr \d+\.\d+\.\d+\n", out), err
