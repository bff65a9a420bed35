"""The format, its faults, the readers of published corpora, and hostile pickles."""

import io
import json
import os
import pickle
import random
import struct
from pathlib import Path

import numpy as np
import pytest

from qr_cli.errors import DataError, UsageError
from qr_cli.handoff.convert import convert, stats
from qr_cli.handoff.mhch import fold_of, read_jsonl, to_json, write_jsonl
from qr_cli.handoff.readers import READERS
from qr_cli.handoff.readers.pickles import load, read_vocabulary
from qr_cli.handoff.tokens import Encoder, Vocabulary, characters, choose, english, jieba_words


def lines(tmp_path, *values, name="x.jsonl"):
    path = tmp_path / name
    path.write_text("\n".join(v if isinstance(v, str) else json.dumps(v) for v in values), "utf-8")
    return path


def dialogue(*turns, **fields):
    return {"session_id": "a", "utterances": list(turns)} | fields


def turn(role="customer", text="hi", **fields):
    return {"role": role, "text": text} | fields


def test_a_file_survives_reading_and_writing(tmp_path):
    value = dialogue(
        turn(handoff=1, sentiment=0, ts=3), turn("bot", "", handoff=None), satisfaction=0,
        lang="en", source="optional",
    )  # fmt: skip
    found = read_jsonl(lines(tmp_path, value))
    assert write_jsonl(tmp_path / "y.jsonl", found) == 1
    again = read_jsonl(tmp_path / "y.jsonl")
    assert again == found
    assert to_json(found[0])["source"] == "optional"
    assert found[0].utterances[1].role == "agent"
    assert found[0].utterances[0].extra == {"ts": 3}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("{", "not JSON"), ("[]", "a dialogue is"), ({"utterances": [turn()]}, "session_id"),
        (dialogue(), "no utterances"), (dialogue(turn(1)), "role 1 is ambiguous"),
        (dialogue(turn("customr")), "did you mean 'customer'"),
        (dialogue(turn(tokens=[1])), "both text and tokens"), (dialogue({"role": "c"}), "text is"),
        (dialogue(turn(handoff=2)), "handoff must be"), (dialogue(turn(sentiment=9)), "sentiment"),
        (dialogue({"role": "c", "tokens": [1.5]}), "tokens must be"),
        (dialogue({"role": "c", "tokens": [1], "pos": [1, 2]}), "pos must be a list as long"),
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_meant_is_named(value, words, tmp_path):
    with pytest.raises(DataError, match="line 2") as caught:
        read_jsonl(lines(tmp_path, dialogue(turn()), value))
    assert words in caught.value.message


def test_at_most_twenty_bad_lines_are_listed(tmp_path):
    with pytest.raises(DataError) as caught:
        read_jsonl(lines(tmp_path, *["{"] * 30))
    assert caught.value.message.count(" line ") == 20 and "10 more" in caught.value.message


def test_labels_count_from_where_the_file_does(tmp_path):
    one = lines(tmp_path, dialogue(turn(sentiment=1), turn(sentiment=3), satisfaction=2))
    found = read_jsonl(one)[0]
    assert [u.sentiment for u in found.utterances] == [0, 2] and found.satisfaction == 1
    unclear = lines(tmp_path, dialogue(turn(sentiment=1)), name="u.jsonl")
    with pytest.raises(DataError) as caught:
        read_jsonl(unclear)
    assert "--label-base" in caught.value.hint
    assert read_jsonl(unclear, label_base="1")[0].utterances[0].sentiment == 0


def test_votes_make_labels_and_their_absence_none(tmp_path):
    votes = {"O": 5, "T": 10, "X": 15}
    path = lines(tmp_path, dialogue(turn("s", handoff=0), turn("s", **votes)))
    hard, soft = read_jsonl(path)[0], read_jsonl(path, soft_labels=True)[0]
    assert [u.handoff for u in hard.utterances] == [None, 1.0]
    assert [u.handoff for u in soft.utterances] == [None, 0.5]
    with pytest.raises(DataError, match="--soft-labels"):
        read_jsonl(lines(tmp_path, dialogue(turn()), name="n.jsonl"), soft_labels=True)


def test_the_proxy_is_a_negative_customer(tmp_path):
    path = lines(tmp_path, dialogue(turn(sentiment=0), turn("b", sentiment=0), turn(sentiment=2)))
    found = read_jsonl(path, proxy="negative-customer")[0]
    assert [u.handoff for u in found.utterances] == [1, 0, 0]
    with pytest.raises(DataError, match="needs sentiment"):
        read_jsonl(lines(tmp_path, dialogue(turn()), name="n.jsonl"), proxy="negative-customer")


def test_folds_are_those_of_the_rule():
    expected = np.empty(11, int)
    expected[np.random.RandomState(0).permutation(11)] = np.arange(11) % 5
    assert fold_of(11) == expected.tolist()


def test_tokens_are_masked_and_split():
    text = "Mail me@shop.com or see https://x.org/a?b=1, order 1234567!"
    assert english(text) == ["mail", "<email>", "or", "see", "<url>", "order", "<num>", "!"]
    assert characters("退货 abc 12") == ["退", "货", "abc", "12"]
    vocabulary = Vocabulary.count([["b", "a"], ["a", "b", "c"]], 2)
    assert vocabulary.tokens == ["a", "b"] and vocabulary.ids(["c", "a"]) == [1, 2]
    assert vocabulary.ids([]) == [1]


def test_the_tokenizer_is_chosen_by_letters(tmp_path):
    zh = read_jsonl(lines(tmp_path, dialogue(turn(text="我要退货 ok"))))
    en = read_jsonl(lines(tmp_path, dialogue(turn(text="refund 退 please now")), name="e.jsonl"))
    assert (choose(zh), choose(en)) == ("jieba", "english")


def test_jieba_splits_chinese_and_keeps_marks():
    pytest.importorskip("jieba")
    assert jieba_words()("我要退货 https://a.cn") == ["我要", "退货", "<url>"]


def test_ids_and_text_do_not_mix():
    vocabulary = Vocabulary(["a"])
    with pytest.raises(DataError, match="token ids"):
        Encoder("ids", vocabulary, 8).ids("text", None)
    with pytest.raises(DataError, match="give text"):
        Encoder("english", vocabulary, 8).ids(None, [3])


def mhch_file(path):
    objects = [
        [[np.array([5, 6, 0, 0]), np.array([7, 0, 0, 0])]], [[2, 1]], [2], ["s1"], [[1, 0]],
        [[1, 0]], [[0, 2]], [2],
    ]  # fmt: skip
    path.write_bytes(b"".join(pickle.dumps(o, protocol=2) for o in objects))
    return path


def dami_file(path):
    objects = [
        [[np.array([5, 6, 0]), np.array([7, 0, 0])]], [[0, 1]], np.full((1, 30, 3), 0.5),
        [[np.array([1, 2, 0]), np.array([3, 0, 0])]], [[0, 0]], [[2, 1]], [2], [[0, 1]],
    ]  # fmt: skip
    path.write_bytes(b"".join(pickle.dumps(o, protocol=4) for o in objects))
    return path


def test_both_pickles_are_told_apart_and_agree_on_roles(tmp_path):
    one, two = mhch_file(tmp_path / "m.pkl"), dami_file(tmp_path / "d.pkl")
    assert convert(str(one), str(tmp_path / "m.jsonl"))["format"] == "mhch"
    assert convert(str(two), str(tmp_path / "d.jsonl"))["format"] == "dami"
    m, d = read_jsonl(tmp_path / "m.jsonl")[0], read_jsonl(tmp_path / "d.jsonl")[0]
    assert [u.role for u in m.utterances] == [u.role for u in d.utterances] == ["customer", "agent"]
    assert [u.tokens for u in m.utterances] == [u.tokens for u in d.utterances] == [[5, 6], [7]]
    assert m.satisfaction == 2 and d.utterances[0].tf == [0.5, 0.5]
    with pytest.raises(UsageError, match="exists"):
        convert(str(one), str(tmp_path / "m.jsonl"))


class Evil:
    """Pickles to a call."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


def hostile():
    marker = "pwned"
    deep: list = []
    for _ in range(400):
        deep = [deep]
    stack = pickle.dumps([1])
    return {
        "os.system": pickle.dumps(Evil(os.system, (f"touch {marker}",))),
        "eval": pickle.dumps(Evil(eval, (f"open('{marker}', 'w')",))),
        "exec": pickle.dumps(Evil(exec, (f"open('{marker}', 'w')",))),
        "nested": pickle.dumps([[Evil(os.system, (f"touch {marker}",))], 1]),
        "path": pickle.dumps(Path("x")),
        "getattr": pickle.dumps(Evil(getattr, ([], "append"))),
        "copyreg": b"\x80\x02ccopyreg\n_reconstructor\n(c__builtin__\nobject\nNtR.",
        "object array": pickle.dumps(np.array([{}, 1], dtype=object)),
        "persistent id": b"\x80\x02Pname\n.",
        "binary persistent id": b"\x80\x02X\x01\x00\x00\x00aQ.",
        "extension code": b"\x80\x02\x82\x01.",
        "truncated": pickle.dumps(list(range(50)))[:30],
        "giant prefix": b"\x80\x02" + b"\x8d" + struct.pack("<Q", 2**62) + b".",
        "giant bytearray": b"\x80\x05\x96" + struct.pack("<Q", 2**36) + b".",
        "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0bcore.records\x93.",
        "set": pickle.dumps({1, 2}),
        "deep": pickle.dumps(deep) * 2,
        "empty": b"",
        "stop early": stack[:-1],
    }  # fmt: skip


@pytest.mark.parametrize("name", hostile())
def test_a_hostile_pickle_runs_nothing_and_is_refused(name, tmp_path):
    path = tmp_path / "bad.pkl"
    path.write_bytes(hostile()[name])
    with pytest.raises(DataError):
        load(path)
    with pytest.raises(DataError):
        convert(str(path), str(tmp_path / "out.jsonl"))
    assert not (tmp_path / "pwned").exists() and not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize("make", [mhch_file, dami_file])
def test_bytes_changed_at_random_never_give_a_traceback(make, tmp_path):
    content, rng = make(tmp_path / "good.pkl").read_bytes(), random.Random(0)
    path = tmp_path / "bad.pkl"
    for _ in range(1500):
        broken = bytearray(content)
        for _ in range(rng.randint(1, 4)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        path.write_bytes(bytes(broken[: rng.choice([len(broken), rng.randrange(len(broken))])]))
        for kind in ("mhch", "dami"):
            try:
                READERS.load(kind)(path)
            except DataError:
                pass


def test_a_vocabulary_becomes_a_shell(tmp_path):
    payload = b"\x80\x02cvocab\nVocab\n)\x81}(X\x08\x00\x00\x00id2token"
    payload += (
        b"}(K\x00X\x07\x00\x00\x00<blank>K\x01X\x05\x00\x00\x00<unk>uX\n\x00\x00\x00embeddings"
    )
    array = io.BytesIO()
    pickle.Pickler(array, protocol=2).dump(np.zeros((2, 3)))
    payload += array.getvalue()[2:-1] + b"ub."
    path = tmp_path / "vocab.pkl"
    path.write_bytes(payload)
    tokens, vectors = read_vocabulary(path)
    assert tokens == ["<blank>", "<unk>"] and vectors.shape == (2, 3)
    convert(str(path), str(tmp_path / "out"))
    assert np.load(tmp_path / "out" / "embeddings.npy").shape == (2, 3)


def test_text_corpora_are_read(tmp_path):
    ssa = tmp_path / "a.txt"
    ssa.write_text("1\n0\tc:\t4 5\t1\n1\tb:\t6\t3\n\n3\n0\tc:\t\t2\n")
    assert convert(str(ssa), str(tmp_path / "a.jsonl"))["format"] == "ssa"
    first, second = read_jsonl(tmp_path / "a.jsonl", label_base="0")
    assert (first.satisfaction, second.satisfaction) == (0, 2)
    assert [u.sentiment for u in first.utterances] == [0, 2]
    assert second.utterances[0].tokens == []
    cmhch = lines(tmp_path, {"sessionID": "x", "score": "2", "session": [
        {"content": "你好", "label": 1, "role": "c2b", "senti": "4"}]}, name="c.json")  # fmt: skip
    assert convert(str(cmhch), str(tmp_path / "c.jsonl"))["format"] == "cmhch"
    (found,) = read_jsonl(tmp_path / "c.jsonl", label_base="0")
    assert (found.utterances[0].sentiment, found.satisfaction) == (2, 1)
    folder = tmp_path / "dbdc"
    folder.mkdir()
    marks = [{"breakdown": b} for b in "OTXXO"]
    (folder / "d.json").write_text("\ufeff" + json.dumps({"dialogue-id": "d", "turns": [
        {"speaker": "S", "utterance": "Hi", "annotations": []},
        {"speaker": "S", "utterance": "Eh", "annotations": marks}]}))  # fmt: skip
    convert(str(folder), str(tmp_path / "d.jsonl"))
    (found,) = read_jsonl(tmp_path / "d.jsonl")
    assert found.utterances[1].extra == {"O": 2, "T": 1, "X": 2, "breakdown": "O"}
    assert [u.handoff for u in found.utterances] == [None, 0.0]


@pytest.mark.parametrize(
    "text", ["1\nno tabs\n", "9\n", "1\n0\tx:\t4\t1\n", "1\n0\tc:\tq\t1\n", "1\n"]
)
def test_a_damaged_text_corpus_is_named(text, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(text)
    with pytest.raises(DataError):
        READERS.load("ssa")(path)


def test_stats_count_what_is_there(tmp_path):
    one = lines(tmp_path, dialogue(turn(handoff=1), turn("b")), dialogue(turn(), session_id="b"))
    found = stats(str(one), against=str(one))
    assert (found["dialogues"], found["transfers_customer"], found["dialogues_without"]) == (
        2,
        1,
        1,
    )
    assert found["shared"] == ["a", "b"]


@pytest.mark.data
def test_the_shared_files_are_what_their_readme_says(real):
    found = stats(str(real / "makeup2_dev.jsonl"))
    assert (found["dialogues"], found["utterances"]) == (354, 9151)
    assert (found["transfers_customer"], found["transfers_agent"]) == (765, 60)
    shared = stats(str(real / "ssa_makeup_train.jsonl"), against=str(real / "ssa_makeup_dev.jsonl"))
    assert len(shared["shared"]) == 1
