"""Third parties' pickles, as their authors wrote them."""

from __future__ import annotations

import pickle

import numpy as np
from fuzz.readers import Reader

from qr_cli.geo.records import read as read_problems
from qr_cli.geo.unigeo import convert
from qr_cli.handoff.readers.pickles import read_dami, read_mhch, read_vocabulary


def make_mhch(folder):
    objects = [
        [[np.array([5, 6, 0, 0]), np.array([7, 0, 0, 0])]], [[2, 1]], [2], ["s1"], [[1, 0]],
        [[1, 0]], [[0, 2]], [2],
    ]  # fmt: skip
    paths = [folder / "a.pkl", folder / "b.pkl"]
    for path, protocol in zip(paths, (2, 4), strict=True):
        path.write_bytes(b"".join(pickle.dumps(o, protocol) for o in objects))
    return paths


def make_dami(folder):
    objects = [
        [[np.array([5, 6, 0]), np.array([7, 0, 0])]], [[0, 1]], np.full((1, 2, 3), 0.5),
        [[np.array([1, 2, 0]), np.array([3, 0, 0])]], [[0, 0]], [[2, 1]], [2], [[0, 1]],
    ]  # fmt: skip
    paths = [folder / "a.pkl", folder / "b.pkl"]
    for path, protocol in zip(paths, (2, 4), strict=True):
        path.write_bytes(b"".join(pickle.dumps(o, protocol) for o in objects))
    return paths


def make_vocabulary(folder):
    head = b"\x80\x02cvocab\nVocab\n)\x81}(X\x08\x00\x00\x00id2token}(K\x00X\x01\x00\x00\x00aK\x01"
    head += b"X\x01\x00\x00\x00bX\x01\x00\x00\x00c0uX\x0a\x00\x00\x00embeddings"
    head = head.replace(b"X\x01\x00\x00\x00c0", b"")
    path = folder / "vocab.pkl"
    path.write_bytes(head + pickle.dumps(np.zeros((2, 3)), 2)[2:-1] + b"ub.")
    return [path]


def make_unigeo(folder):
    calculation = {
        "id": 11, "image": np.full((4, 5), 200, np.uint8), "choice_nums": [1.0, 2.0, 3.0],
        "English_problem": "angle A = N_0 , find angle B .", "label": 2, "answer": "C",
        "manual_program": ["g_half", "N_0"], "numbers": [6], "formal_point": {"A"},
    }  # fmt: skip
    proving = {
        "id": 12, "img": np.zeros((3, 4, 3), np.uint8), "problem_type": "congruent",
        "input_text": "Given A B . Complete the proof . (Elements: A B , )",
        "proving_sequence": ["R_14", "E_0", "congruent", "E_0"],
    }  # fmt: skip
    paths = [folder / "calculation_train.pk", folder / "proving_train.pk"]
    for path, row in zip(paths, (calculation, proving), strict=True):
        path.write_bytes(pickle.dumps([row], 4))
    return paths


def read_unigeo(path):
    out = path.parent / "out"
    convert([path], out, overwrite=True)
    for file in out.glob("*.jsonl"):
        list(read_problems(file))


mhch = Reader(make_mhch, read_mhch)
dami = Reader(make_dami, read_dami)
vocabulary = Reader(make_vocabulary, read_vocabulary)
unigeo = Reader(make_unigeo, read_unigeo)
