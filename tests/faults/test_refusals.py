"""A machine that refuses: full disks, read-only folders, missing rights, too little memory."""

import os
import subprocess

import pytest
from commands import COMMANDS
from faults import half, leftovers

pytestmark = pytest.mark.slow
WRITING = [name for name, command in COMMANDS.items() if command.writes]


@pytest.fixture
def disk(tmp_path):
    """Mount a disk of a size; unmounted at the end."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size):
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("a disk can be mounted by root only")
        return folder

    yield mount
    while not subprocess.run(["umount", "--lazy", str(folder)], capture_output=True).returncode:
        pass


def is_told(ended, *reasons):
    """See that a fault of the machine was told in one sentence with a hint, and nothing else."""
    assert ended.code == 5, ended
    assert "Traceback" not in ended.err
    (error,) = [line for line in ended.err.splitlines() if line.startswith("qr: error: ")]
    assert any(reason in error for reason in reasons), error
    assert ended.err.splitlines()[-1].startswith("hint: ")
    assert "--help" not in ended.err.splitlines()[-1]


@pytest.mark.parametrize("size", ["4k", "40k"])
@pytest.mark.parametrize("name", WRITING)
def test_a_full_disk_is_told_and_leaves_no_half_file(name, size, server, disk):
    folder, command = disk(size), COMMANDS[name]
    ended = server.qr(command.words, folder)
    assert half(folder) == []
    if ended.code:  # some write less than that
        is_told(ended, "No space left on device", "is the disk full?")
        again = command.again if any(folder.iterdir()) else ""
        subprocess.run(["mount", "-o", "remount,size=90m", str(folder)], check=True)
        repeated = server.qr(f"{command.words} {again}", folder)
        assert repeated.code == 0, repeated.err
    assert leftovers(folder) == []


@pytest.mark.parametrize("name", WRITING)
def test_a_read_only_disk_is_told(name, server, disk):
    folder = disk("1m")
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    ended = server.qr(COMMANDS[name].words, folder)
    is_told(ended, "Read-only file system", "cannot be written")


@pytest.mark.parametrize("name", WRITING)
def test_a_folder_without_permission_is_told(name, server, tmp_path):
    tmp_path.chmod(0o555)
    ended = server.qr(COMMANDS[name].words, tmp_path, fault={"kind": "powerless"})
    is_told(ended, "Permission denied", "cannot be written")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "list modules"])
def test_too_little_memory_is_told(name, server, tmp_path):
    command = COMMANDS[name]
    for spare in (24, 64):  # MiB; with less CPython 3.11 waits for ever for a thread it starts
        folder = tmp_path / str(spare)
        folder.mkdir()
        fault = {"kind": "memory", "spare": spare}
        ended = server.qr(command.words, folder, stdin=command.stdin, fault=fault)
        assert half(folder) == []
        if ended.code in (-6, -11):
            pytest.xfail("a native library ends the process where it gets no memory")
        if ended.code:
            is_told(ended, "out of memory")
