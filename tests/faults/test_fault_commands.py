"""What every command of the table does when nothing goes wrong: the others compare with this."""

import pytest
from commands import COMMANDS
from faults import GROWING, half, hidden, leftovers

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_writes_under_hidden_names_only(name, server, tmp_path):
    command = COMMANDS[name]
    ended = server.qr(command.words, tmp_path, stdin=command.stdin, fault={"kind": "watch"})
    print(name, ended.seconds, len(server.steps()))
    assert ended.code == 0, ended.err
    opened = {path for event, path in server.steps() if event == "open"}
    assert [p for p in opened if not hidden(p) and p.rpartition("/")[2] not in GROWING] == []
    assert leftovers(tmp_path) == []
    assert half(tmp_path) == []
    assert any(tmp_path.iterdir()) is command.writes
