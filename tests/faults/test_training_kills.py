"""A training killed a hundred times (25 times per command) ends as the one that was left alone."""

import random

import pytest
from commands import TRAININGS
from faults import half, leftovers

from tests.engine.processes import lines, newest

pytestmark = pytest.mark.slow
KILLS = 25


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_that_is_killed_again_and_again_equals_the_straight_one(name, server, tmp_path):
    words = f"{TRAININGS[name].words} --save-steps 2 --resume"
    straight, draw = tmp_path / "straight", random.Random(name)
    straight.mkdir()
    whole = server.qr(words, straight, fault={"kind": "watch"})
    assert whole.code == 0, whole.err
    steps, kills, rounds = len(server.steps()), 0, 0
    while kills < KILLS:
        rounds += 1
        folder = tmp_path / f"round{rounds}"
        folder.mkdir()
        code = None
        while code != 0:
            fault = {"kind": "kill"} | draw.choice(
                [{"at": draw.randint(1, steps)}, {"after": draw.uniform(0, 1) * whole.seconds}]
            )
            ended = server.qr(words, folder, fault=fault if kills < KILLS else None)
            code = ended.code
            assert code in (0, -9), ended.err
            assert half(folder) == []
            kills += code == -9
        assert differences(folder, straight) == []
        assert leftovers(folder) == []
    print(f"{name}: {kills} kills over {rounds} runs")


def differences(folder, straight):
    """Return what differs between two finished runs, phases included, apart from time and place."""
    (one,), (other,) = (list(path.glob("runs/*/r")) for path in (folder, straight))
    found = []
    for run in [other, *other.glob("phases/*")]:
        twin = one / run.relative_to(other)
        found += [] if lines(twin) == lines(run) else [f"{run.name}/metrics.jsonl"]
        for file in newest(run).glob("*.safetensors"):
            same = (newest(twin) / file.name).read_bytes() == file.read_bytes()
            found += [] if same else [f"{run.name}/{file.name}"]
    return found
