"""A file appears whole, and what a killed writer leaves is deleted by the next one."""

import errno
import os
import signal

import pytest

from qr_cli.engine import files
from qr_cli.engine.files import TEMPORARY, sibling, whole, write_text


@pytest.fixture(autouse=True)
def _fresh():
    files._sweep.cache_clear()


def killed_while_writing(path):
    """Fork a process that is killed inside `whole`; return what it leaves."""
    pid = os.fork()
    if not pid:
        with whole(path) as hidden:
            hidden.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    return [entry.name for entry in path.parent.iterdir()]


def test_a_killed_writer_leaves_a_hidden_file_which_the_next_one_deletes(tmp_path):
    path = tmp_path / "picture.png"
    (left,) = killed_while_writing(path)
    assert TEMPORARY.fullmatch(left) and left.startswith(".picture.") and left.endswith(".png")
    write_text(tmp_path / "other.json", "{}")
    assert [entry.name for entry in tmp_path.iterdir()] == ["other.json"]


def test_what_others_hid_is_left_alone(tmp_path):
    mine = sibling(tmp_path / "a.txt")
    mine.write_text("being written")
    for name in (".notes.1999.txt", ".a.qr-elsewhere-1.txt", ".a.qr-1.txt"):
        (tmp_path / name).write_text("")
    files._sweep.cache_clear()
    write_text(tmp_path / "b.txt", "")
    assert len(list(tmp_path.iterdir())) == 5


def test_a_file_is_replaced_only_when_the_block_ends_well(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(ZeroDivisionError), whole(path) as hidden:
        hidden.write_text(str(1 / 0))
    assert path.read_text() == "before"
    with whole(path) as hidden:
        hidden.write_text("after")
    assert (path.read_text(), list(tmp_path.iterdir())) == ("after", [path])


def test_a_refusal_names_the_file_and_not_its_hidden_sibling(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(OSError, match="No space") as caught, whole(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(path)
