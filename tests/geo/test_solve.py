"""Everyday problems, every status, and what must not change an answer."""

import json
from pathlib import Path

import pytest

from qr_cli.errors import DataError
from qr_cli.geo.records import Problem, problem
from qr_cli.geo.solver import Options, solve

HERE = Path(__file__).parent
EVERYDAY = [json.loads(line) for line in (HERE / "everyday.jsonl").open(encoding="utf-8")]


def test_everyday_problems_are_solved_and_none_is_wrongly_verified():
    solved = 0
    for p in EVERYDAY:
        answer = solve(p["text"], p.get("choices"))
        right = answer.value == pytest.approx(p["answer"], rel=1e-9)
        assert right or answer.status != "verified", p["id"]
        solved += right and answer.status == "verified"
    assert len(EVERYDAY) == 30
    assert solved >= 24


STATUSES = [
    ("In △ABC, AB = AC, ∠A = 50°. Find ∠B.", None, "verified"),
    ("A, B and C are on circle O, ∠AOB = 100°. Find ∠ACB.", ["130°", "20°", "70°", "80°"],
     "determined-by-options"),
    ("A, B and C are on circle O, ∠AOB = 100°. Find ∠ACB.", ["130°", "50°", "70°", "80°"],
     "ambiguous"),
    ("In △ABC, AB = AC, ∠A = 50°. Find ∠B.", ["65°", "65°", "1°", "2°"], "ambiguous"),
    ("In △ABC, AB = AC, ∠A = 50°. Find ∠B.", ["60°", "70°", "1°", "2°"], "no-match"),
    ("In △ABC, AB = AC, ∠A = 50°. Find ∠B.", ["cannot tell", "none of these"], "no-match"),
    ("In △ABC, ∠A = 50°. Find ∠B.", None, "needs-diagram"),
    ("a ∥ b, angle 1 = 50°. Find angle 2.", ["50°", "130°"], "needs-diagram"),
    ("In △ABC, ∠A = 120°, ∠B = 100°. Find ∠C.", None, "unsolved"),
    ("What is the meaning of life?", None, "unsolved"),
    ("在三角形ABC中，AB=AC，∠A=50°，求∠B", None, "unsolved"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "choices", "status"), STATUSES)
def test_each_status_is_reached(text, choices, status):
    answer = solve(text, choices)
    assert answer.status == status
    assert (answer.option is not None) == (status == "determined-by-options")
    if status in ("needs-diagram", "unsolved"):
        assert answer.value is None
        assert answer.record["notes"]


def test_givens_that_contradict_each_other_and_foreign_text_are_named():
    assert "contradict" in solve(STATUSES[8][0]).record["notes"][0]
    assert "English" in solve(STATUSES[10][0]).record["notes"][0]


def test_a_digit_angle_is_never_answered_even_with_one_plausible_option():
    for choices in (["50°", "130°"], ["50°", "1°"], None):
        answer = solve("AB ∥ CD, angle 1 = 50°. Then angle 2 = ()", choices)
        assert answer.status == "needs-diagram"
        assert answer.value is answer.option is None


def test_words_that_were_not_understood_keep_an_answer_from_being_verified():
    text = "In △ABC, AB = AC, ∠A = 50°. Rotate it by a bit. Find ∠B."
    assert solve(text).status == "unsolved"
    answer = solve(text, ["65°", "70°"])
    assert answer.status == "determined-by-options"
    assert answer.record["not_understood"]


TEXT, CHOICES = "In △ABC, AB = AC, ∠A = 50°. Find ∠B.", ["50°", "65°", "80°", "130°"]


def test_the_order_of_options_permutes_the_answer():
    assert solve(TEXT, CHOICES).option == "B"
    assert solve(TEXT, CHOICES[::-1]).option == "C"
    assert solve(TEXT).value == solve(TEXT, CHOICES).value == 65


def test_other_letters_rename_the_answer_and_change_nothing_else():
    other = solve(TEXT.replace("A", "X").replace("B", "Y").replace("C", "Z"), CHOICES).record
    own = solve(TEXT, CHOICES).record
    for key in ("status", "value", "option", "program", "exact"):
        assert other[key] == own[key]


def test_the_record_tells_how_it_was_found():
    record = solve(TEXT, CHOICES).record
    assert record["exact"] == "65"
    assert record["unit"] == "deg"
    assert record["program"] == "g_minus C_3 N_0 g_half V_0"
    assert record["program_confirmed"]
    assert [step["text"] for step in record["steps"]] == ["180 − 50 = 130", "130 / 2 = 65"]
    assert record["steps"][0]["args"] == ["C_3=180", "N_0=50 (∠CAB)"]
    assert {check["result"] for check in record["checks"]} == {"pass"}
    json.dumps(record)


def test_closed_forms_can_be_left_out():
    assert solve(TEXT, options=Options(exact=False)).record["exact"] is None


def test_the_official_rule_takes_the_last_match_and_fails_on_few_options():
    options = Options(mode="official")
    assert solve(TEXT, ["65", "65", "1", "2"], options=options).record["option_index"] == 1
    few = solve(TEXT, ["65", "66"], options=options).record
    assert (few["option_index"], few["choice_error"]) == (None, "IndexError")


def test_a_guess_is_made_only_when_asked_for_and_says_so():
    choices = ["60°", "70°"]
    assert solve(TEXT, choices).option is None
    guessed = solve(TEXT, choices, options=Options(guess=True)).record
    assert guessed["option"] in "AB"
    assert guessed["guessed"]


def test_an_answer_is_the_same_every_time():
    assert solve(TEXT, CHOICES).record == solve(TEXT, CHOICES).record


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"text": "∠A = 40°", "numbers": [1, 2]}, "numbers has 2 values, the text has 1 slots"),
        ({"text": "x", "label": 4, "choices": [1, 2, 3, 4]}, r"label 4 but 4 options \(0-3\)"),
        ({"text": "x", "choices": [1]}, "needs at least 2 options"),
        ({"text": "x", "choices": [*range(27)]}, "at most 26 options, A to Z, got 27"),
        ({"text": " "}, "no text"),
        ({"text": "x", "points": {"C": [1, float("nan")]}}, "points: C is NaN"),
        ({"text": "x", "points": {"A": [1, 2], "B": [1, 2]}}, "A and B are the same place"),
        ({"text": "x", "points": {"A": [1]}}, "should be"),
        ({"text": "x", "task": "calculating"}, "did you mean 'calculation'"),
        ({"text": "x", "numbers": ["1"]}, "list of numbers"),
        ([1], "JSON object"),
    ],
)
def test_a_record_that_cannot_be_meant_is_refused_with_its_value(record, words):
    with pytest.raises(DataError, match=words):
        problem(record)


def test_a_misspelt_field_is_a_warning():
    assert problem({"text": "x", "choises": []}).warnings == (
        "unknown field choises, did you mean choices?",
    )


def test_published_field_names_are_read():
    one = problem({"id": 7, "problem": "Calculation: angle A = N_0 , A B C", "numbers": [40.0],
                   "manual_program": ["g_half", "N_0"], "choice_nums": [1, 2, 3, 4], "label": 2,
                   "p_type": "angle"})  # fmt: skip
    assert (one.id, one.task, one.program, one.category) == (
        "7",
        "calculation",
        "g_half N_0",
        "angle",
    )
    assert one.text == "angle A = 40 , ABC"
    two = problem({"input_text": "Proving: Given A B ≅ C D . Complete the proof that A B ≅ C D .",
                   "proving_sequence": "R_14 E_0 congruent E_0"})  # fmt: skip
    assert (two.task, two.proof) == ("proving", "R_14 E_0 congruent E_0")


def test_an_empty_text_is_refused():
    with pytest.raises(DataError, match="empty"):
        solve("  ")


def test_y_down_is_turned_up():
    assert problem({"text": "x", "points": {"A": [1, 2]}, "y_down": True}).points == {"A": (1, -2)}


def test_proving_records_tell_reasons_and_uses():
    text = "Given AB ∥ CD and AB ≅ CD. Prove that △ABC ≅ △CDA."
    record = solve(Problem("p1", "proving", text)).record
    assert record["status"] == "needs-diagram"
    assert record["steps"][-1]["uses"] == ["step 1", "step 2", "given 2"]
    assert record["steps"][0]["check"] == "needs-diagram"
    assert record["goal"] == "△ABC ≅ △CDA"
