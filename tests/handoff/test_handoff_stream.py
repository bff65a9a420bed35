"""The stream: equal to whole dialogues, bounded, in order, and never stuck."""

import json
import os
import random
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from qr_cli.errors import DataError
from qr_cli.handoff.decide import policy
from qr_cli.handoff.decider import Decider
from qr_cli.handoff.lines import bursts
from qr_cli.handoff.load import load
from qr_cli.handoff.mhch import read_jsonl
from qr_cli.handoff.requests import asks_for_human
from qr_cli.handoff.sessions import Sessions
from qr_cli.handoff.stream import serve

ROOT = Path(__file__).parents[2]
FIRE = (
    "I want to talk to a human", "can I speak with a real person please", "transfer me to an agent",
    "Agent", "human please", "get me a manager", "connect me with customer service",
    "put me through to someone", "I need a live agent now", "let me speak to your supervisor",
    "escalate this to a human", "operator", "is there a real human I can ask?", "转人工",
    "人工客服", "我要找你们经理", "换个真人", "帮我转接人工", "人工",
)  # fmt: skip
QUIET = (
    "I am human", "the human body", "I don't want to talk to a human",
    "my travel agent cancelled", "no need to transfer me to an agent",
    "what does the manager earn", "I already spoke with a representative",
    "human resources department", "不用转人工", "人工智能是什么", "人工湖在哪里", "我是真人",
    "经理是什么意思",
)  # fmt: skip


@pytest.fixture
def decider(trained):
    def make(base="gru", *, limit=None, ttl=3600.0, **settings):
        model = load(trained(base))
        return Decider(model, policy(model.calibration, **settings), limit=limit, ttl=ttl)

    return make


def answers(decider, *events, size=256, **settings):
    lines = [e if isinstance(e, str) else json.dumps(e) for e in events]
    parts = [lines[i : i + size] for i in range(0, len(lines), size)]
    return [record for _, record in serve(decider, parts, **settings)]


def said(session, text="where is my parcel", role="customer", **fields):
    return {"session_id": session, "role": role, "text": text} | fields


@pytest.mark.parametrize("text", FIRE)
def test_a_request_for_a_human_is_heard(text):
    assert asks_for_human(text)


@pytest.mark.parametrize("text", QUIET)
def test_what_only_looks_like_one_is_not(text):
    assert not asks_for_human(text)


def test_the_request_rule_reads_500_characters():
    assert not asks_for_human("x" * 501 + " transfer me to an agent")
    begun = time.process_time()
    asks_for_human("a" * 2**20)
    assert time.process_time() - begun < 0.5  # linear; a runaway pattern takes minutes


@pytest.mark.parametrize(
    "base", ["gru", "lr", *(pytest.param(n, marks=pytest.mark.slow) for n in ("rssn", "dami"))]
)
def test_interleaved_events_equal_whole_dialogues(base, decider, made):
    one = decider(base)
    dialogues = read_jsonl(made / "train.jsonl") * 3
    queues = [
        [said(f"x{i}", u.text, u.role) for u in d.utterances] for i, d in enumerate(dialogues)
    ]
    rng, order = random.Random(0), []
    while any(queues):
        order.append(rng.choice([q for q in queues if q]).pop(0))
    found = {}
    for record in answers(one, *order, size=37):
        found.setdefault(record["session_id"], []).append(record["p"])
    for i, p in enumerate(one.model.predict(dialogues)):
        np.testing.assert_allclose(found[f"x{i}"], p, atol=1e-5)


def test_a_burst_is_answered_as_single_lines_are(decider, made):
    events = [
        said(f"s{i % 7}", u.text, u.role)
        for i, d in enumerate(read_jsonl(made / "dev.jsonl"))
        for u in d.utterances
    ]
    for limit in (None, 3):
        together = answers(decider(limit=limit), *events)
        alone = answers(decider(limit=limit), *events, size=1)
        for a, b in zip(together, alone, strict=True):
            assert {k: v for k, v in a.items() if not isinstance(v, float)} == {
                k: v for k, v in b.items() if not isinstance(v, float)
            }
            assert a["p"] == pytest.approx(b["p"], abs=1e-5)


def test_bad_lines_are_answered_in_place_and_order_is_kept(decider):
    found = answers(
        decider(), said("a"), "{", said("b", role=1), {"role": "c", "text": "x"}, "[]",
        {"session_id": "a", "role": "customer"}, {"session_id": "a", "event": "stop"}, said("a"),
    )  # fmt: skip
    codes = [r.get("error", {}).get("code") for r in found]
    assert codes == [None, "bad-json", "bad-role", "no-session", "bad-line", "no-text",
                     "bad-event", None]  # fmt: skip
    assert found[-1]["index"] == 1
    assert found[1]["id"] == "line 2"
    with pytest.raises(DataError, match="line 1"):
        answers(decider(), "{", strict=True)


def test_a_request_transfers_whatever_p_is_and_once(decider):
    one = decider(threshold=1.0)
    found = answers(
        one, said("a"), said("a", "transfer me to an agent"), said("a", "human please"),
        {"session_id": "a", "event": "resume"}, said("a", "human please"),
    )  # fmt: skip
    assert [r.get("decision") for r in found] == [
        "stay",
        "transfer",
        "handed_off",
        None,
        "transfer",
    ]
    assert found[1]["reasons"][0] == "explicit_request"
    assert found[3] == {"session_id": "a", "event": "resume", "ok": True}
    off = decider(threshold=1.0, request_rule=False)
    assert answers(off, said("a", "human please"))[0]["decision"] == "stay"


def test_silence_after_a_transfer_is_the_least_record(decider):
    found = answers(decider(after="silent"), said("a", "agent"), said("a", "hello"))
    assert found[1] == {"session_id": "a", "index": 1, "role": "customer",
                        "decision": "handed_off", "handed_off": True}  # fmt: skip


def test_a_transfer_by_score_always_has_a_reason(decider, made):
    one = decider(threshold=0.0)
    firsts = [d.utterances[0] for d in read_jsonl(made / "dev.jsonl")]
    found = answers(one, *[said(f"n{i}", u.text, u.role) for i, u in enumerate(firsts)])
    assert all(r["decision"] == "transfer" and r["reasons"] for r in found)


def test_repeats_are_noticed(decider):
    question = "where is my late parcel today"
    found = answers(decider(threshold=1.0), said("a", question), said("a", question),
                    said("a", question, "agent"), said("a", question, "agent"))  # fmt: skip
    assert "repeated_question" in found[1]["reasons"] and "bot_repeat" in found[3]["reasons"]
    assert not found[0]["reasons"] or "repeated_question" not in found[0]["reasons"]


def test_end_reset_and_lost_state(decider):
    one = decider()
    found = answers(
        one, said("a"), said("a"), {"session_id": "a", "event": "end"}, said("a", index=2),
        {"session_id": "a", "event": "reset"}, said("a"),
    )  # fmt: skip
    assert found[3]["session_new"] and found[3]["state_lost"] and found[3]["index"] == 0
    assert found[5]["index"] == 0 and not found[5]["session_new"]
    assert found[5]["p"] == found[0]["p"]


def test_the_least_recently_used_session_goes_first(decider):
    one = decider(limit=2)
    found = answers(one, said("a"), said("b"), said("a"), said("c"), said("a"), said("b"))
    assert [r["session_new"] for r in found] == [True, True, False, True, False, True]
    assert one.sessions.evicted == 2 and len(one.sessions) == 2


def test_sessions_expire_by_their_time_stamps(decider):
    one = decider(ttl=60)
    found = answers(one, said("a", ts=0), said("a", ts=59), said("a", ts=120),
                    said("b", ts="2026-01-01T00:00:00+00:00"))  # fmt: skip
    assert [r["session_new"] for r in found] == [True, False, True, True]
    assert answers(one, said("a", ts="soon"))[0]["error"]["code"] == "bad-line"


def test_memory_does_not_grow_with_the_number_of_sessions(decider):
    one = decider(limit=50)
    answers(one, *[said(f"w{i}", f"word {i % 9}") for i in range(3000)])
    tracemalloc.start()
    answers(one, *[said(f"w{i}", f"word {i % 9}") for i in range(3000, 4000)])
    first = tracemalloc.get_traced_memory()[0]
    for part in range(4):
        answers(one, *[said(f"v{part}-{i}", f"word {i % 9}") for i in range(1000)])
    grown = tracemalloc.get_traced_memory()[0] - first
    tracemalloc.stop()
    assert grown < 300_000


def test_a_table_of_sessions_grows_to_its_limit_only():
    sessions = Sessions(lambda n: {"h": np.zeros((n, 3), np.float32)}, limit=100)
    for i in range(1000):
        sessions.add(str(i), None)
    assert len(sessions._table["h"]) == 100 and len(sessions) == 100


@pytest.mark.slow
def test_ten_thousand_turns_empty_and_mixed_texts_are_scored(decider):
    one = decider()
    texts = ("", "退货 please", "x" * 2000, "🙂")
    turns = [
        {"role": "customer" if i % 2 else "agent", "text": texts[i % 4]} for i in range(10_000)
    ]
    (record,) = answers(one, {"session_id": "long", "utterances": turns})
    assert len(record["utterances"]) == 10_000
    assert all(0 <= u["p"] <= 1 for u in record["utterances"])
    (long,) = answers(one, said("a", "word " * 30_000))
    assert long["truncated"] is True


def test_lines_come_as_they_are_there(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"a\n\xff\n" + b"b\n" * 600 + b"last")
    found = [line for part in bursts(str(path)) for line in part]
    assert found[:2] == ["a", "\ufffd"] and found[-1] == "last" and len(found) == 603
    with pytest.raises(DataError, match="no such file"):
        list(bursts(str(tmp_path / "none")))


def test_a_line_over_ten_mebibytes_is_refused_and_the_next_is_read(decider, tmp_path):
    path = tmp_path / "x.jsonl"
    long = json.dumps(said("a", "x" * (11 * 2**20)))
    path.write_text(long + "\n" + json.dumps(said("b")) + "\n")
    found = [r for _, r in serve(decider(), bursts(str(path)))]
    assert found[0]["error"]["code"] == "too-long" and found[1]["session_id"] == "b"


def test_a_pipe_that_waits_for_each_answer_is_not_stuck(trained):
    command = [sys.executable, "-m", "qr_cli", "handoff", "-", "--checkpoint", str(trained())]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    guard = threading.Timer(120, process.kill)
    guard.start()
    try:
        for i in range(5):
            process.stdin.write(json.dumps(said("a", f"word {i}")) + "\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["index"] == i
        process.stdin.close()
        assert process.wait(60) == 0
    finally:
        guard.cancel()


def test_python_sessions_give_decisions(trained):
    model = load(trained())
    one, two = model.session(), model.session(threshold=0.9)
    first = one.add("customer", "my order is late")
    assert 0 <= first.p <= 1 and first.decision in ("stay", "transfer")
    assert sum(first.user_state) == pytest.approx(1, abs=1e-5)
    assert two.add("customer", "human please").decision == "transfer"
    assert one.add("agent", "sorry").record["index"] == 1


@pytest.mark.slow
def test_a_million_events_leave_memory_flat():
    """Resident memory between event 1e5 and 1e6, 20,000 interleaved sessions."""
    script = ROOT / "benchmarks" / "handoff_speed.py"
    shown = subprocess.run(
        [sys.executable, script, "memory"], env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert float(shown.stdout.split("MiB grown ")[1].split()[0]) <= 10
