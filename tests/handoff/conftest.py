"""Generated dialogues with a pattern to learn, and small trained models of every base."""

import json
import random
from pathlib import Path

import pytest

BAD = ("late", "broken", "angry", "refund", "terrible")
GOOD = ("thanks", "great", "fine", "good", "nice")
FILL = ("my", "order", "is", "the", "parcel", "please", "where", "today", "a", "bot")
DATA = Path(__file__).parents[3] / "shared" / "data" / "handoff"


def make_dialogue(number, *, seed=0):
    """A customer whose bad words are the transfers; agents fail now and then."""
    rng = random.Random(1000 * seed + number)
    utterances = []
    for turn in range(rng.randint(4, 9)):
        customer = turn % 2 == 0
        bad = rng.random() < 0.3
        words = [rng.choice(FILL) for _ in range(rng.randint(2, 6))]
        if customer:
            words.append(rng.choice(BAD if bad else GOOD))
        elif bad:
            words.append("sorry")
        utterances.append({
            "role": "customer" if customer else "agent", "text": " ".join(words),
            "handoff": int(bad), "sentiment": (0 if bad else 2) if customer else 1,
        })  # fmt: skip
    return {"session_id": f"s{number}", "lang": "en", "satisfaction": number % 3,
            "utterances": utterances}  # fmt: skip


def write(path, dialogues):
    path.write_text("".join(json.dumps(d) + "\n" for d in dialogues), "utf-8")
    return path


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Training and test files of generated dialogues."""
    folder = tmp_path_factory.mktemp("made")
    write(folder / "train.jsonl", [make_dialogue(i) for i in range(24)])
    write(folder / "dev.jsonl", [make_dialogue(i, seed=1) for i in range(12)])
    return folder


SMALL = {"embed_dim": 12, "hidden": 8, "epochs": 2, "val_split": 0.25, "device": "cpu"}


@pytest.fixture(scope="session")
def trained(made, tmp_path_factory):
    """Give the folder of a run of a base, trained once per session."""
    from qr_cli import api

    folder = tmp_path_factory.mktemp("runs")
    done = {}

    def get(base="gru", **settings):
        key = (base, *sorted(settings.items()))
        if key not in done:
            done[key] = api.run(
                "train", "handoff", data=str(made / "train.jsonl"), base=base, out=str(folder),
                name=f"run{len(done)}", **(SMALL | settings),
            ).folder  # fmt: skip
        return done[key]

    return get


@pytest.fixture(scope="session")
def real():
    """The folder of real corpora, which users do not have."""
    if not DATA.is_dir():
        pytest.skip("no ../shared/data")
    return DATA
