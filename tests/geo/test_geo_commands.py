"""The commands: records, order, item errors, exit codes, pipes."""

import io
import json
import re

import pytest
from PIL import Image

from qr_cli.cli.app import run

TEXT = "In triangle ABC, AB = AC and angle A = 50°. Find angle B."


def call(capfd, *words, stdin=None, monkeypatch=None):
    if stdin is not None:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
    code = run(list(words))
    out, err = capfd.readouterr()
    return code, [json.loads(line) for line in out.splitlines()], err


def test_one_problem_on_the_command_line(capfd):
    code, (record,), _ = call(
        capfd, "solve-geo", "--text", TEXT, "--choices", "50°,65°,80°", "--json"
    )
    assert (code, record["option"], record["status"]) == (0, "B", "verified")


def test_semicolons_separate_options_with_decimal_commas(capfd):
    _, (record,), _ = call(capfd, "solve-geo", "--text", TEXT, "--choices", "65; 80", "--json")
    assert record["option"] == "A"


def test_a_stream_keeps_its_order_and_bad_lines_are_records(capfd, monkeypatch):
    lines = [json.dumps({"id": "a", "text": TEXT}), "no json",
             json.dumps({"id": "c", "text": "x", "choices": [1]}),
             json.dumps({"id": "d", "text": "AB = CD. Prove that AB ≅ CD."}),
             json.dumps({"id": "e", "text": TEXT, "choises": [1]})]  # fmt: skip
    code, records, err = call(
        capfd, "solve-geo", "-", stdin="\n".join(lines), monkeypatch=monkeypatch
    )
    assert code == 3
    assert [r["id"] for r in records] == ["a", "2", "c", "d", "e"]
    assert records[1]["error"]["message"].startswith("line 2 is not JSON")
    assert records[2]["error"]["code"] == 3
    assert "did you mean choices?" in err
    assert "2 of the problems could not be used" in err


def test_fail_fast_stops_at_the_first_bad_line(capfd, monkeypatch):
    code, records, err = call(capfd, "solve-geo", "-", "--fail-fast", stdin='x\n{"text": "y"}',
                              monkeypatch=monkeypatch)  # fmt: skip
    assert (code, records) == (3, [])
    assert "not JSON" in err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--text", " "], 2, "--text: is empty"),
        ([], 2, "nothing to solve: give FILE, - or --text"),
        (["--text", "x", "p.jsonl"], 2, "cannot go with a file"),
        (["p.jsonl", "--choices", "1,2"], 2, "goes with --text"),
        (["--text", TEXT, "--render", "html"], 2, "needs --out"),
        (["none.jsonl"], 3, "none.jsonl: no such file"),
        (["--text", "Prove that."], 3, "goal"),
        (["--text", TEXT, "--solver", "nobody"], 2, "network"),
        (["--text", TEXT, "--points", "none.json"], 3, "--points: cannot read"),
    ],
)
def test_what_cannot_be_meant_is_said_in_one_sentence(words, code, message, capfd):
    found = run(["solve-geo", *words])
    out, err = capfd.readouterr()
    assert found == code
    assert message in err + out
    assert "Traceback" not in err


def test_a_problem_with_a_diagram_becomes_a_page_with_both_figures(capfd, tmp_path):
    Image.new("L", (40, 30), 128).save("d.png")
    with open("p.jsonl", "w", encoding="utf-8") as file:
        file.write(json.dumps({"id": "one/1", "text": TEXT, "diagram": "d.png"}) + "\n")
        file.write(json.dumps({"id": "2", "text": TEXT, "diagram": "none.png"}) + "\n")
    words = ["solve-geo", "p.jsonl", "--render", "html", "--out", "pages"]
    code, records, _ = call(capfd, *words)
    assert code == 3
    assert records[0]["page"].startswith("pages/one-1-")
    assert records[1]["error"]["message"] == "diagram none.png: no such file"
    page = (tmp_path / records[0]["page"]).read_text("utf-8")
    assert "data:image/png;base64," in page
    assert "<svg" in page
    assert call(capfd, *words)[0] == 2  # nothing is overwritten unasked
    assert call(capfd, *words, "--overwrite")[0] == 3
    for kind in ("svg", "png"):
        assert call(capfd, "solve-geo", "--text", TEXT, "--render", kind, "--out", "pages")[0] == 0
        assert (tmp_path / "pages" / f"1.{kind}").stat().st_size > 500
    assert not list((tmp_path / "pages").glob(".*"))


def test_quiet_leaves_the_one_value(capfd):
    run(["solve-geo", "--text", TEXT, "--choices", "50,65", "--quiet"])
    assert capfd.readouterr().out == "B\n"


def test_exec_runs_programs(capfd, monkeypatch):
    words = ["data", "geo", "exec", "g_minus C_3 N_0 g_half V_0", "--numbers", "50"]
    code, (record,), _ = call(capfd, *words, "--choices", "50,60,65,90")
    assert (code, record["results"], record["option_index"]) == (0, [130.0, 65.0], 2)
    assert record["exact"] == ["130", "65"]
    assert call(capfd, "data", "geo", "exec", "g_half C_2 g_tan C_2")[0] == 6
    assert call(capfd, "data", "geo", "exec", "g_foo N_0")[0] == 3
    huge = ["data", "geo", "exec", "g_mul N_0 N_0", "--numbers", "1e200", "--mode", "official"]
    code, (record,), _ = call(capfd, *huge)
    assert (code, record["results"]) == (0, [{"nonfinite": "inf"}])
    lines = ['{"id": 1, "program": "g_half N_0", "numbers": [4]}', "x", '{"id": 3}']
    code, records, _ = call(capfd, "data", "geo", "exec", "-", stdin="\n".join(lines),
                            monkeypatch=monkeypatch)  # fmt: skip
    assert (code, records[0]["results"]) == (3, [2.0])
    assert [("error" in r and bool(r["error"])) for r in records] == [False, True, True]


PROBLEM = "Given A B ≅ C D. Prove that A B ≅ C D. (Elements: A B , C D , E F , )"


@pytest.mark.parametrize(
    ("proof", "verdict", "code"),
    [
        ("R_14 E_0 congruent E_0", "wrong-goal", 6),
        ("R_19 E_0 congruent E_1", "refuted", 6),
        ("R_99 E_0", "syntax", 3),
    ],
)
def test_check_exits_by_the_verdict(proof, verdict, code, capfd):
    words = ["data", "geo", "check", "--text", PROBLEM, "--proof", proof]
    found, (record,), _ = call(capfd, *words)
    assert (found, record["verdict"]) == (code, verdict)
    assert call(capfd, *words, "--no-fail")[0] == 0


def test_check_strict_also_fails_on_what_needs_the_diagram(capfd):
    text = "Given A B ∥ C D. Prove that ∠ A B C ≅ ∠ B C D. (Elements: ∠ A B C , ∠ B C D , )"
    words = ["data", "geo", "check", "--text", text, "--proof", "R_22 E_0 congruent E_1"]
    assert call(capfd, *words)[0] == 0
    assert call(capfd, *words, "--strict")[0] == 6
    assert call(capfd, "data", "geo", "check")[0] == 2


LINES = [
    {"id": "1", "problem": "Calculation: angle A = N_0", "program": "g_half N_0", "numbers": [8.0],
     "choice_numbers": [1, 2, 3, 4], "label": 3, "p_type": "angle"},
    {"id": "2", "problem": f"Proving: {PROBLEM.replace('Prove', 'Complete the proof')}",
     "program": "R_11 E_0 congruent E_1", "p_type": "parallel"},
]  # fmt: skip


def dev():
    with open("dev.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in LINES)


def test_gold_against_gold(capfd):
    dev()
    code, records, _ = call(
        capfd, "eval", "geo", "dev.jsonl", "--solver", "gold", "--by", "category"
    )
    assert code == 0
    evals = [r for r in records if r["event"] == "eval"]
    assert {r["category"] for r in evals} == {"all", "angle", "parallel"}
    assert all(r["acc"] == 1 for r in evals if r["task"] == "calculation")
    assert all(r["exact"] == r["set"] == 1 for r in evals if r["task"] == "proving")


def test_a_report_holds_tables_plots_and_pages_of_cases(capfd, tmp_path):
    dev()
    words = ["eval", "geo", "dev.jsonl", "synth:diagram", "--samples", "12", "--beams", "1"]
    words += ["--solver", "rules,network", "--diagram-input", "on,off", "--out", "report"]
    code, records, _ = call(capfd, *words)
    assert code == 0
    assert records[-1]["event"] == "report" and records[-1]["cases"] > 5
    looks = [r["diagrams"] for r in records if r.get("solver") == "network"]
    assert looks == [False, False, "on", False]  # a file without diagrams is asked once
    folder = tmp_path / "report"
    page = (folder / "report.html").read_text("utf-8")
    for word in ("Calculation", "Proving", "Statuses", "Readings of diagrams", "Cases"):
        assert f"<h2>{word}</h2>" in page
    for name in ("lengths", "verdicts"):
        assert (folder / "plots" / f"{name}.png").stat().st_size > 5000
    links = re.findall(r'href="(cases/\d+\.html)"', page)
    assert len(links) == records[-1]["cases"] and all((folder / link).is_file() for link in links)
    assert "the network read it" in "".join((folder / link).read_text("utf-8") for link in links)
    assert call(capfd, *words)[0] == 2  # an earlier report is replaced when asked
    assert call(capfd, *words, "--overwrite")[0] == 0
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").touch()
    assert call(capfd, *words[:-1], "other", "--overwrite")[0] == 2


def test_a_point_on_a_line_may_lie_beyond_its_ends(capfd):
    """On a side it is between the ends; a line goes on, and two options fit."""
    words = ["--choices", "11;12;22;34"]
    side = "In triangle TML, point V is on side ML, ML = 17 and LV = 5. Find MV."
    _, (record,), _ = call(capfd, "solve-geo", "--text", side, *words)
    assert (record["status"], record["value"]) == ("verified", 12)
    line = side.replace("side ML", "line ML")
    _, (record,), _ = call(capfd, "solve-geo", "--text", line, *words)
    assert (record["status"], record["value"]) == ("ambiguous", None)


def test_predictions_of_ones_own_are_scored(capfd):
    dev()
    with open("mine.jsonl", "w") as file:
        file.write(
            '{"id": "1", "beams": ["g_double N_0", "g_half N_0"]}\n{"id": "2", "beams": []}\n'
        )
    words = ["eval", "geo", "dev.jsonl", "--predictions", "mine.jsonl", "--beams", "1,2"]
    _, records, _ = call(capfd, *words)
    acc = {r["k"]: r["acc"] for r in records if r["event"] == "eval" and r["task"] == "calculation"}
    assert acc == {1: 0.0, 2: 1.0}
    with open("mine.jsonl", "w") as file:
        file.write('{"id": "1", "beams": []}\n')
    assert call(capfd, *words)[0] == 3


def test_the_list_names_operators_reasons_and_families(capfd):
    _, records, _ = call(capfd, "list", "geo", "--json")
    names = {r["name"] for r in records}
    assert {"g_bili", "R_36", "cone:lateral-area"} <= names
