"""Ctrl-C at any moment: exit 130, nothing half written, and the command can be given again."""

import random

import pytest
from commands import COMMANDS
from faults import files, half, leftovers

pytestmark = pytest.mark.slow
POINTS = 2  # of each kind, per command


@pytest.mark.parametrize("name", COMMANDS)
def test_an_interrupted_command_says_so_and_can_be_repeated(name, server, tmp_path):
    command, draw = COMMANDS[name], random.Random(name)
    whole, folder = tmp_path / "straight", tmp_path / "cut"
    whole.mkdir()
    folder.mkdir()
    straight = server.qr(command.words, whole, stdin=command.stdin, fault={"kind": "watch"})
    steps = len(server.steps())
    faults = [{"at": draw.randint(1, steps)} for _ in range(POINTS) if steps]
    faults += [{"after": draw.uniform(0.02, 0.9) * straight.seconds} for _ in range(POINTS)]
    for fault in faults:
        words = f"{command.words} {command.again if any(folder.iterdir()) else ''}"
        fault = {"kind": "interrupt", **fault}
        ended = server.qr(words, folder, stdin=command.stdin, fault=fault)
        assert ended.code in (130, 0), ended.err
        assert "Traceback" not in ended.err
        assert ended.code == 0 or "interrupted" in ended.err or "stopped" in ended.err, ended.err
        assert half(folder) == []
        assert leftovers(folder) == []
    words = f"{command.words} {command.again if any(folder.iterdir()) else ''}"
    ended = server.qr(words, folder, stdin=command.stdin)
    assert ended.code == 0, ended.err
    assert files(folder) == files(whole)
