"""Fixtures of the engine's tests."""

import pytest


@pytest.fixture(scope="session")
def server():
    from processes import Server

    started = Server()
    yield started
    started.close()
