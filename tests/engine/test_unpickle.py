"""Pickles of containers and arrays read back equal; nothing else is ever called."""

import contextlib
import os
import pickle
import struct
import subprocess
import tracemalloc
from collections import OrderedDict

import numpy as np
import pytest

from qr_cli.engine.unpickle import load_pickle
from qr_cli.errors import DataError

RECORD = {
    "id": 7,
    "image": np.arange(12, dtype=np.uint8).reshape(3, 4),
    "fortran": np.asfortranarray(np.ones((2, 3))),
    "value": np.float64(2.5),
    "points": {"A", "B"},
    "frozen": frozenset((1, 2)),
    "ordered": OrderedDict(a=1),
    "raw": bytearray(b"xy"),
    "bytes": b"\xff\x00",
    "text": "角 ∠A",
}


def written(tmp_path, value, protocol=4):
    path = tmp_path / "train.pk"
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_data_reads_back_equal(protocol, tmp_path):
    read = load_pickle(written(tmp_path, [RECORD], protocol))[0]
    for key, value in RECORD.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(read[key], value)
        else:
            assert read[key] == value


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_old_and_new_names_of_numpy_are_read(module, tmp_path):
    content = pickle.dumps(np.arange(3), 2)
    renamed = content.replace(b"numpy._core.multiarray", module).replace(
        b"numpy.core.multiarray", module
    )
    np.testing.assert_array_equal(load_pickle(written(tmp_path, renamed)), [0, 1, 2])


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.what = function, arguments

    def __reduce__(self):
        return self.what


HOSTILE = {
    "system": Calls(os.system, "touch pwned"),
    "popen": Calls(subprocess.Popen, ["touch", "pwned"]),
    "open": Calls(open, "pwned", "w"),
    "eval": Calls(eval, "open('pwned', 'w')"),
    "getattr": Calls(getattr, os, "system"),
    "import": Calls(__import__, "antigravity"),
    "objects": np.array([Calls(os.system, "touch pwned")], dtype=object),
    "fields": np.zeros(2, dtype=[("a", "i4"), ("b", "O")]),
    "bytearray": Calls(bytearray, 10**12),
    "ndarray": Calls(np.ndarray, (10**9,)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pickle_is_refused_and_does_nothing(name, tmp_path):
    path = written(tmp_path, HOSTILE[name] if name != "getattr" else [Calls(getattr, "a", "upper")])
    with pytest.raises(DataError):
        load_pickle(path, kind="UniGeo")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    "program",
    {
        "bytearray": b"\x96" + struct.pack("<Q", 2**36) + b"x",  # 64 GiB of zeros
        "memo": b"]r\xff\xff\xff\x7f",  # place 2^31 of the memo
    }.items(),
    ids=lambda item: item[0],
)
def test_a_pickle_allocates_no_more_than_it_holds(program, tmp_path):
    path = tmp_path / "big.pk"
    path.write_bytes(b"\x80\x05" + program[1] + b".")
    tracemalloc.start()
    with contextlib.suppress(DataError):
        load_pickle(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def doubled(levels, kind):
    """Return a small pickle that stands for 2 ** levels values."""
    value = kind(["x"])
    for _ in range(levels):
        value = kind([value, value])
    return value


def deep_tuple_as_key(levels=10**6):
    """A key whose hash would recurse through C a million times."""
    return b"\x80\x02}" + b")" + b"\x85" * levels + b"K\x01s."


def array_with(state):
    """An array whose state is whatever the file says, built by hand as numpy does."""
    kind = b"cnumpy\ndtype\nX\x02\x00\x00\x00%s\x85R" % state["code"]
    data = b"C" + bytes([len(state["data"])]) + state["data"]
    return (
        b"\x80\x03cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
        b"(K\x01" + pickle.dumps(state["shape"], 2)[2:-1] + kind + b"\x89" + data + b"tb."
    )


BOMBS = {
    "lists in lists": doubled(40, list),
    "tuples in tuples": doubled(40, tuple),
    "a key of tuples": {doubled(8, tuple): 1},
    "a set of tuples": {doubled(8, tuple)},
    "a deep key": deep_tuple_as_key(),
    "a number of 40,000 bits": 2**40_000,
    "half a character": b"\x80\x02X\x03\x00\x00\x00\xed\xa0\x80.",
    "an array of objects": array_with({"code": b"O8", "shape": (1,), "data": b"x" * 8}),
    "an array too large": array_with({"code": b"i8", "shape": (2**40,), "data": b"x" * 8}),
    "an array of less than nothing": array_with(
        {"code": b"i1", "shape": (-4, -2), "data": b"x" * 8}
    ),
    "an array in itself": b"\x80\x02]q\x00h\x00a.",
    "an array without state": b"\x80\x02cnumpy\nndarray\n)R.",
    "text that is no character": array_with({"code": b"U1", "shape": (1,), "data": b"\xff" * 4}),
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_would_take_for_ever_or_crash_is_refused(name, tmp_path):
    with pytest.raises(DataError):
        load_pickle(written(tmp_path, BOMBS[name]))


def test_an_array_by_hand_reads_back(tmp_path):
    made = array_with({"code": b"i2", "shape": (2, 2), "data": bytes(range(8))})
    read = load_pickle(written(tmp_path, made))
    assert read.tolist() == [[256, 770], [1284, 1798]]
    read[0, 0] = 1  # its own memory, not the file's


def test_one_object_in_two_places_is_read_once(tmp_path):
    row = [1, 2]
    read = load_pickle(written(tmp_path, [row, row, np.arange(2)]))
    assert read[0] is read[1]


def test_the_message_names_the_global_and_where_it_stands(tmp_path):
    with pytest.raises(DataError, match=r"refuses to load posix.system \(offset \d+\); not a UniG"):
        load_pickle(written(tmp_path, HOSTILE["system"]), kind="UniGeo")


def test_nesting_has_a_bound(tmp_path):
    deep: list = []
    for _ in range(70):
        deep = [deep]
    with pytest.raises(DataError, match="64 levels"):
        load_pickle(written(tmp_path, deep))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x1f\x8b\x08", "gzip"),
        (b"version https://git-lfs.github.com/spec/v1\n", "LFS pointer"),
        (b"<!DOCTYPE html>", "web page"),
        (b"(lp0\nI1\na.", "Python 2"),
        (b"\x80\x04\x95", "damaged"),
        (b"", "no pickle"),
    ],
)
def test_what_is_no_pickle_is_named(content, words, tmp_path):
    with pytest.raises(DataError, match=words):
        load_pickle(written(tmp_path, content))
