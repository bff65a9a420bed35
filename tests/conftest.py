"""For every test: fixed seeds, one thread, a working folder of its own, no network."""

import os
import random
import socket
import sys

os.environ["OMP_NUM_THREADS"] = "1"  # before any test imports torch or numpy
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"

import pytest

LOOPBACK = ("127.", "::1", "localhost")
LAUNCHED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="record tests/golden anew")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    """Run in an empty folder, as a process that nobody launched."""
    monkeypatch.chdir(tmp_path)
    for name in (*LAUNCHED, "QR_DEBUG", "QR_DATA", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _seeds():
    """Seed whatever the test's module has imported; import nothing."""
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)
        torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _no_network():
    """Let sockets reach this machine only."""
    connect = socket.socket.connect

    def local(self, address):
        if self.family != socket.AF_UNIX and not str(address[0]).startswith(LOOPBACK):
            raise OSError(f"a test may not reach {address}")
        return connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", local)
        yield
