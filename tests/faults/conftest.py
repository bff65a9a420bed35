"""Inputs made once, and the two servers: with every package, and with none imported."""

import inputs as making
import pytest
from faults import Server

PREPARED = (
    "data hsi simulate --cube IN/cube.npz --ratio 4 --srf rgb --out IN/pair",
    "data geo make --n 4 --diagrams none --out IN/made",
    "train attention --arch resnet8 --module asr(se) --data shapes(test=20,train=64) --epochs 1 "
    "--device cpu --out IN/runs --name asr",
    "train handoff --data IN/dialogues.jsonl --embed-dim 12 --hidden 8 --val-split 0.25 --epochs 1 "
    "--device cpu --out IN/runs --name r",
    "train sur-adapter --data IN/surd --cache IN/cache --steps 2 --diffusion-steps 1 --ffn 16 "
    "--resolution 64 --warmup-steps 1 --batch-size 4 --device cpu --out IN/runs --name r",
)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A server that has imported everything, and inputs that are there."""
    inputs = tmp_path_factory.mktemp("faults") / "in"
    making.make(inputs)
    server = Server("full", inputs, tmp_path_factory.mktemp("scratch"))
    for words in PREPARED:
        ended = server.qr(words, inputs)
        assert ended.code == 0, ended.err
    yield server
    server.close()


@pytest.fixture(scope="session")
def bare(server, tmp_path_factory):
    """A server that has imported no package of an extra."""
    bare = Server("bare", server.inputs, tmp_path_factory.mktemp("bare"))
    yield bare
    bare.close()
