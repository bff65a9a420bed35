"""The shipped model's decisions on the examples, as recorded."""

import json
from pathlib import Path

import pytest

from qr_cli.cli.app import run

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "handoff-examples.json"
KEPT = ("session_id", "index", "p", "decision", "reasons", "first_transfer", "error")


def kept(record):
    found = {key: record[key] for key in KEPT if record.get(key) is not None}
    if "p" in found:
        found["p"] = round(found["p"], 4)
    if "utterances" in record:
        found["utterances"] = [kept(turn) for turn in record["utterances"]]
    return found


def told(records):
    """Return records without probabilities, which other processors round otherwise."""
    return [
        {k: told(v) if k == "utterances" else v for k, v in r.items() if k != "p"} for r in records
    ]


def chances(records):
    """Return all probabilities in order."""
    turns = [turn for record in records for turn in record.get("utterances", [record])]
    return [turn["p"] for turn in turns if "p" in turn]


@pytest.mark.parametrize("name", ["dialogue.jsonl", "dialogue_zh.jsonl", "events.jsonl"])
def test_the_examples_are_decided_as_recorded(name, capfd, request):
    assert run(["handoff", str(ROOT / "examples" / name)]) == 0
    found = [kept(json.loads(line)) for line in capfd.readouterr().out.splitlines()]
    golden = json.loads(GOLDEN.read_text("utf-8")) if GOLDEN.exists() else {}
    if request.config.getoption("--update-golden"):
        golden[name] = found
        GOLDEN.write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n", "utf-8")
    assert told(found) == told(golden[name])
    assert chances(found) == pytest.approx(chances(golden[name]), abs=5e-4)
