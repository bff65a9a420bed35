"""kill -9 at any moment: no half file under a final name, and the command can be given again."""

import random

import pytest
from commands import COMMANDS
from faults import files, half, leftovers

pytestmark = pytest.mark.slow
WRITING = [name for name, command in COMMANDS.items() if command.writes]
POINTS = 3  # of each kind, per command


@pytest.mark.parametrize("name", WRITING)
def test_a_killed_command_leaves_no_half_file_and_can_be_repeated(name, server, tmp_path):
    command, draw = COMMANDS[name], random.Random(name)
    straight = tmp_path / "straight"
    straight.mkdir()
    whole = server.qr(command.words, straight, fault={"kind": "watch"})
    assert whole.code == 0, whole.err
    steps = len(server.steps())
    faults = [{"at": draw.randint(1, steps)} for _ in range(POINTS)]
    faults += [{"after": draw.uniform(0.1, 0.9) * whole.seconds} for _ in range(POINTS)]
    folder = tmp_path / "killed"
    folder.mkdir()
    for fault in faults:
        again = command.again if any(folder.iterdir()) else ""
        ended = server.qr(f"{command.words} {again}", folder, fault={"kind": "kill", **fault})
        assert ended.code in (-9, 0), ended.err
        assert half(folder) == [], fault
    ended = server.qr(f"{command.words} {command.again}", folder)
    assert ended.code == 0, ended.err
    assert files(folder) == files(straight)
    assert leftovers(folder) == []
