"""Damaged files: whatever bytes are changed, a reader answers or refuses, and nothing crashes."""

import json

import numpy as np
import pytest
from handoff.test_handoff_data import dami_file, mhch_file

from qr_cli.errors import QrError
from qr_cli.handoff.mhch import read_jsonl
from qr_cli.handoff.readers.pickles import read_dami, read_mhch


def events(path):
    one = {"session_id": "a1", "lang": "en", "satisfaction": 0, "utterances": [
        {"role": "customer", "text": "My order is late, 退货!", "sentiment": 0, "handoff": 0},
        {"role": "agent", "text": "Sorry!", "tokens": None, "handoff": 0.5}]}  # fmt: skip
    path.write_text("".join(json.dumps({**one, "session_id": str(i)}) + "\n" for i in range(3)))
    return path


READERS = {
    "jsonl": (events, read_jsonl),
    "mhch": (mhch_file, read_mhch),
    "dami": (dami_file, read_dami),
}


@pytest.mark.parametrize("count", [150, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", READERS)
def test_no_change_of_bytes_gets_past_the_reader(kind, count, tmp_path):
    make, read = READERS[kind]
    path = make(tmp_path / f"whole.{kind}")
    whole = path.read_bytes()
    assert read(path)
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(count):
        bytes_ = bytearray(whole)
        for _ in range(generator.integers(1, 4)):
            at = int(generator.integers(len(bytes_)))
            match generator.integers(4):
                case 0:
                    bytes_[at] = generator.integers(256)
                case 1:
                    bytes_[at] ^= 1 << int(generator.integers(8))
                case 2:
                    del bytes_[at : at + int(generator.integers(1, 9))]
                case _:
                    bytes_[at:at] = generator.bytes(int(generator.integers(1, 9)))
        path.write_bytes(bytes_)
        try:
            read(path)
        except QrError as error:
            refused += 1
            assert error.exit_code == 3, error
    assert refused > count / 4
