"""Traces, the embedded model, examples: what people look at."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qr_cli import api
from qr_cli.cli.app import run
from qr_cli.handoff.load import load

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / "qr_cli" / "handoff" / "assets" / "dbdc3-en"
EVENT = {"session_id": "a", "role": "customer", "text": "hi"}


@pytest.mark.parametrize("name", ["dialogue.jsonl", "dialogue_zh.jsonl"])
def test_an_example_is_drawn_in_both_ways(name, tmp_path, capsys):
    assert run(["handoff", str(ROOT / "examples" / name), "--trace", str(tmp_path),
                "--trace-format", "png,html"]) == 0  # fmt: skip
    files = [json.loads(line)["file"] for line in capsys.readouterr().out.splitlines()]
    for file in files:
        content = Path(file).read_bytes()
        assert content.startswith(b"\x89PNG" if file.endswith("png") else b"<!doctype html>")
    assert run(["handoff", str(ROOT / "examples" / name), "--trace", str(tmp_path)]) == 2


def test_text_in_a_page_is_inert(tmp_path, capsys):
    nasty = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
    line = {"session_id": "<b>x", "utterances": [{"role": "agent", "text": nasty}]}
    file = tmp_path / "x.jsonl"
    file.write_text(json.dumps(line))
    assert run(["handoff", str(file), "--trace", str(tmp_path / "t")]) == 0
    page = next((tmp_path / "t").glob("*.html")).read_text()
    assert "<script" not in page and "<img" not in page and "<b>x" not in page
    assert "&lt;script&gt;" in page


def test_ids_are_counted_and_events_have_no_trace(trained, tmp_path, capsys):
    from qr_cli.handoff.trace_png import wrapped

    assert wrapped("亲" * 30) == ["亲" * 23, "亲" * 7]
    file = tmp_path / "e.jsonl"
    file.write_text(json.dumps(EVENT))
    assert run(["handoff", str(file), "--trace", str(tmp_path / "t")]) == 3


def test_the_embedded_model_answers_at_once(capsys):
    assert run(["handoff", str(ROOT / "examples" / "dialogue.jsonl")]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["raised"] and first["first_transfer"] == 7 and not second["raised"]
    turns = first["utterances"]
    assert all((t["p"] is None) == (t["role"] == "customer") for t in turns)
    assert all({"decision", "threshold", "reasons", "p"} <= set(t) for t in turns)


def test_the_embedded_model_is_small_and_says_what_it_is():
    size = sum(file.stat().st_size for file in ASSETS.iterdir())
    assert size <= 2 * 2**20
    card = (ASSETS / "MODEL_CARD.md").read_text("utf-8")
    for words in ("breakdown", "30 annotators", "no customer service", "Higashinaka", "recipe"):
        assert words in card
    assert "DBDC3 Task Organizers" in (ASSETS / "LICENSE.dbdc3").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.data
def test_the_recipe_rebuilds_the_embedded_model_bit_for_bit(real, tmp_path):
    found = api.run("train", "handoff", recipe="dbdc3-en", data=str(real / "dbdc3_en_dev.jsonl"),
                    out=str(tmp_path))  # fmt: skip
    from safetensors.numpy import load_file

    ours, shipped = (
        load_file(load(found.folder).folder / "model.safetensors"),
        load_file(ASSETS / "model.safetensors"),
    )
    assert all(np.array_equal(ours[k], shipped[k]) for k in shipped)


def test_a_shell_pipeline_of_the_examples_runs(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "QR": f"{sys.executable} -m qr_cli"}
    shown = subprocess.run(
        ["sh", ROOT / "examples" / "handoff_stream.sh"], env=environment, cwd=tmp_path,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "late-parcel" in shown.stdout


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--checkpoint", "nowhere"), 4), (("--threshold", "2"), 2), (("--threshold", "often"), 2),
        (("--cost-false", "0", "--cost-miss", "0"), 2), (("--budget", "0"), 2),
        (("--review", "0.5"), 2), (("--only", "x"), 2), (("--export", "x.txt"), 2),
    ],
)  # fmt: skip
def test_wrong_calls_have_their_exit_codes(words, code, capsys):
    arguments = [] if words[0] == "--export" else [str(ROOT / "examples" / "dialogue.jsonl")]
    assert run(["handoff", *arguments, *words]) == code
    assert "qr: error" in capsys.readouterr().err


def test_bad_lines_make_exit_3_after_all_answers(tmp_path, capsys):
    file = tmp_path / "x.jsonl"
    file.write_text("{\n" + json.dumps(EVENT) + "\n")
    assert run(["handoff", str(file)]) == 3
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 2 and "1 of 2 lines" in shown.err


def test_evidence_names_tokens(capsys):
    line = str(ROOT / "examples" / "events.jsonl")
    for kind in ("attention", "occlusion"):
        assert run(["handoff", line, "--evidence", kind]) == 0
        first = json.loads(capsys.readouterr().out.splitlines()[0])
        assert first["evidence"]["kind"] == kind and len(first["evidence"]["tokens"]) == 3
