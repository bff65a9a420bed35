"""The network in answers and figures: votes, both solvers together, generated sets, streams."""

import json

import pytest
import torch

import qr_cli as qr
from qr_cli.cli.app import run
from qr_cli.errors import DataError
from qr_cli.geo import metrics, referees
from qr_cli.geo.both import Said
from qr_cli.geo.examined import Examined, examined, looked
from qr_cli.geo.opinion import Guess, fit_tau, opinion, softened
from qr_cli.geo.records import Problem
from qr_cli.geo.solver import Options, solve
from qr_cli.geo.tiny import Tiny
from qr_cli.geo.vocab import Vocabulary
from qr_cli.geo.weights import card, pack
from qr_cli.geo.work import CONTRADICTION

HALF, DOUBLE, SAME = (
    Guess("g_half N_0", -1.0),
    Guess("g_double N_0", -1.2),
    Guess("g_equal N_0", -1.3),
)


# one opinion -------------------------------------------------------------------------------------


def test_shares_are_those_of_softened_scores():
    assert softened([-1.0, -1.0], 1.0) == [0.5, 0.5]
    assert softened([0.0, -1.0], 0.1)[0] > 0.9999
    assert softened([], 1.0) == []


def test_a_vote_sums_the_beams_that_agree_and_first_takes_the_first():
    guesses = [HALF, DOUBLE, Guess("g_add N_0 N_0", -1.3)]
    options = [25.0, 100.0, 7.0, 8.0]
    vote = opinion(guesses, [50.0], options)
    assert (vote.index, vote.chosen.guess) == (1, DOUBLE)  # 100 twice beats 25 once
    assert vote.confidence == pytest.approx(sum(softened([-1.0, -1.2, -1.3], 1.0)[1:]))
    first = opinion(guesses, [50.0], options, select="first")
    assert (first.index, first.chosen.guess) == (0, HALF)


def test_refused_and_homeless_beams_add_to_no_option():
    guesses = [Guess("g_divide N_0 N_1", -0.1), SAME, HALF]
    found = opinion(guesses, [50.0, 0.0], [25.0, 1.0])
    assert found.index == 0
    assert found.confidence == pytest.approx(softened([-0.1, -1.3, -1.0], 1.0)[2])
    assert opinion(guesses[:1], [50.0, 0.0], [25.0, 1.0]).chosen is None
    assert opinion([SAME], [50.0], [50.0, 50.0]).index is None  # two options fit
    assert opinion([Guess("no program", 0.0)], [1.0], None).chosen is None


def test_without_options_the_value_with_most_weight_counts():
    found = opinion([HALF, DOUBLE, Guess("g_add N_0 N_0", -1.25)], [50.0], None)
    assert found.chosen.value == 100.0 and found.confidence > 0.6


def test_the_temperature_makes_shares_as_sure_as_they_are_right():
    sure = fit_tau([[0.0, -1.0]] * 50, [[True, False]] * 50)
    unsure = fit_tau([[0.0, -1.0]] * 50, [[True, False]] * 27 + [[False, True]] * 23)
    assert sure < 0.1 < 2 < unsure


# together with the rules --------------------------------------------------------------------------

TEXT, CHOICES = "In △ABC, AB = AC, ∠A = 50°. Find ∠B.", ["50°", "65°", "80°", "130°"]
GOLD = Guess("g_minus C_3 N_0 g_half V_0", -0.1)


def answer(text, choices, guesses, solver="both", **changes):
    said = Said(tuple(guesses), (50.0,), checkpoint="tiny", **changes)
    return solve(text, choices, options=Options(solver=solver), said=said).record


def test_both_agree_and_are_surer_together():
    record = answer(TEXT, CHOICES, [GOLD])
    assert (record["status"], record["method"], record["option"]) == (
        "verified",
        "rules+network",
        "B",
    )
    assert record["confidence"] > solve(TEXT, CHOICES).record["confidence"]
    assert record["alternatives"] == []


def test_a_network_that_disagrees_is_listed_and_overruled():
    record = answer(TEXT, CHOICES, [SAME])
    assert (record["method"], record["option"], record["status"]) == ("rules", "B", "verified")
    assert record["alternatives"][0] == {
        "method": "network", "program": "g_equal N_0", "value": 50.0, "option": "A",
        "logprob": -1.3,
    }  # fmt: skip


def test_the_network_answers_where_the_rules_do_not_understand():
    text = "Fold △ABC somehow so that it is 50°. What comes out?"
    assert solve(text, CHOICES).status == "unsolved"
    record = answer(text, CHOICES, [GOLD, SAME])
    assert (record["status"], record["method"], record["option"]) == ("network", "network", "B")
    assert record["program_confirmed"] is None and 0 < record["confidence"] < 1
    assert [s["text"] for s in record["steps"]] == ["180 − 50 = 130", "130 / 2 = 65"]
    assert record["checkpoint"] == "tiny" and "no rule confirms it" in record["notes"][0]
    json.dumps(record)


def test_an_unsure_network_does_not_answer_beside_silent_rules():
    text, guesses = (
        "Fold △ABC so that it is 50°. What comes out?",
        [GOLD, SAME._replace(score=-0.1)],
    )
    record = answer(text, CHOICES, [*guesses, Guess("g_minus C_3 N_0", -0.1)])
    assert (record["status"], record["option"]) == ("unsolved", None)
    assert [a["option"] for a in record["alternatives"]] == ["B", "A", "D"]
    alone = answer(text, CHOICES, [*guesses, Guess("g_minus C_3 N_0", -0.1)], solver="network")
    assert alone["status"] == "network" and alone["confidence"] < 0.5


DIGITS = "a ∥ b, angle 1 = 50°. Then angle 2 = ()"


def test_a_text_that_needs_its_diagram_is_answered_only_if_that_was_seen():
    record = answer(DIGITS, CHOICES, [GOLD])
    assert (record["status"], record["option"]) == ("needs-diagram", None)
    assert record["alternatives"][-1]["option"] == "B"
    record = answer(DIGITS, CHOICES, [GOLD], looked=True)
    assert (record["status"], record["option"]) == ("network", "B")


def test_contradictions_and_foreign_text_stay_without_an_answer():
    record = answer("In △ABC, ∠A = 120°, ∠B = 100°. Find ∠C.", None, [GOLD])
    assert record["status"] == "unsolved" and CONTRADICTION in record["notes"]
    record = answer("在三角形ABC中，AB=AC，∠A=50°，求∠B", None, [GOLD])
    assert record["status"] == "unsolved" and record["alternatives"] == []


def test_alone_the_network_answers_and_may_fit_no_option():
    record = answer(TEXT, CHOICES, [GOLD], solver="network")
    assert (record["status"], record["method"], record["option"]) == ("network", "network", "B")
    record = answer(TEXT, ["1", "2"], [GOLD], solver="network")
    assert (record["status"], record["value"], record["option"]) == ("no-match", 65.0, None)
    record = answer(TEXT, ["65", "65.0001"], [GOLD], solver="network")
    assert (record["status"], record["option"]) == ("ambiguous", None)
    record = answer(TEXT, CHOICES, [], solver="network")
    assert (record["status"], record["value"]) == ("unsolved", None)


def test_what_the_network_cannot_read_is_a_fault_alone_and_a_note_with_the_rules():
    fault = "17 numbers, this model knows 16"
    with pytest.raises(DataError, match="17 numbers") as error:
        answer(TEXT, CHOICES, [], solver="network", fault=fault)
    assert "--solver rules" in error.value.hint
    record = answer(TEXT, CHOICES, [], fault=fault)
    assert record["option"] == "B" and fault in record["notes"][-1]


def test_options_in_another_order_permute_the_networks_answer():
    for order in ([0, 1, 2, 3], [3, 1, 0, 2], [1, 0, 3, 2]):
        record = answer(DIGITS, [CHOICES[i] for i in order], [GOLD, SAME], looked=True)
        assert order[record["option_index"]] == 1


PROOF = "Given AB ≅ CD and AD ≅ BC. Prove that △ABC ≅ △CDA."
ELEMENTS = ("A B", "C D", "A D", "B C", "A C", "△ A B C", "△ C D A")
GOOD = Guess("R_14 E_4 congruent E_4 R_30 E_5 congruent E_6", -0.2)
BAD = Guess("R_13 E_5 congruent E_6", -0.1)


def proof(guesses, solver):
    said = Said(tuple(guesses), (), ELEMENTS, checkpoint="tiny")
    asked = Problem("1", "proving", PROOF, elements=ELEMENTS)
    return solve(asked, options=Options(solver=solver), said=said).record


def test_a_proof_that_holds_comes_before_one_that_does_not():
    record = proof([BAD, GOOD], "network")
    assert (record["status"], record["method"], record["proof"]) == (
        "verified",
        "network",
        GOOD.text,
    )
    assert record["alternatives"] == []  # what is refuted is no alternative
    assert proof([BAD, GOOD], "both")["method"] == "rules+network"
    assert proof([BAD], "both")["method"] == "rules"


def test_a_refuted_proof_is_shown_as_such_only_if_there_is_no_other():
    record = proof([BAD], "network")
    assert record["status"] == "refuted" and record["steps"][0]["check"] == "refuted"
    assert "no proof holds" in record["note"]
    assert proof([Guess("not a proof", 0.0)], "network")["status"] == "unsolved"


# figures -----------------------------------------------------------------------------------------


def test_generated_sets_are_examined_with_and_without_their_diagrams():
    items = examined("synth:diagram", count=30, seed=1, by="family")
    assert len(items) == 30 and all(item.picture is not None for item in items)
    assert looked(items, "off") == [None] * 30
    swapped = looked(items, "shuffled")
    assert sum(s is not item.picture for s, item in zip(swapped, items, strict=True)) > 20
    shown = {item.group: [] for item in items}
    for item, picture in zip(items, swapped, strict=True):
        shown[item.group].append(id(picture))
    for group, pictures in shown.items():  # each group keeps its own pictures
        assert sorted(pictures) == sorted(id(i.picture) for i in items if i.group == group)
    kinds = [i.problem.task for i in examined("synth:unseen", count=4, seed=1, by="all")]
    assert kinds == ["calculation"] * 4 + ["proving"] * 4


def test_the_prior_runs_frequent_programs_and_reads_nothing():
    found = referees.prior()
    assert found[1][0].program and len(found[1]) > 10
    problem = Problem(
        "1", "calculation", "?", numbers=(50.0,), choices=[130.0, 1.0, 2.0, 3.0], label=0
    )
    held = [Examined(problem, None, "angle")]
    asked = type("Asked", (), {"most": 10})
    heard = referees.ask("prior", "calculation", held, [], asked, "off")
    assert metrics.calculation([problem], heard.candidates, 10)["acc"] == 1


@pytest.fixture
def checkpoint(tmp_path):
    """Return a folder with an untrained model."""
    torch.manual_seed(0)
    model = Tiny(Vocabulary(), width=32, inner=32, layers=1, heads=2).eval()
    pack(model, card(model), tmp_path / "run" / "model.safetensors")
    return str(tmp_path / "run")


def call(capfd, *words):
    code = run(list(words))
    out, err = capfd.readouterr()
    return code, [json.loads(line) for line in out.splitlines()], err


def test_a_file_is_scored_by_every_solver(capfd, checkpoint, tmp_path):
    row = {"id": "1", "text": TEXT, "choices": CHOICES, "label": 1, "program": GOLD.text}
    (tmp_path / "p.jsonl").write_text(json.dumps(row) + "\n")
    code, records, _ = call(
        capfd, "eval", "geo", "p.jsonl", "--solver", "gold,rules,network,both,label,prior",
        "--checkpoint", checkpoint, "--beams", "1,3",
    )  # fmt: skip
    assert code == 0
    figures = {(r["solver"], r["k"]): r for r in records if r["event"] == "eval"}
    assert len(figures) == 12
    for solver in ("gold", "rules", "both", "label"):
        assert figures[solver, 1]["acc"] == 1
    assert "ece" in figures["network", 3] and figures["network", 3]["n"] == 1


def test_generated_sets_are_scored(capfd, checkpoint):
    code, records, _ = call(
        capfd, "eval", "geo", "synth:diagram", "--solver", "network,gold", "--samples", "8",
        "--checkpoint", checkpoint, "--beams", "2", "--diagram-input", "on,off,shuffled",
        "--by", "family",
    )  # fmt: skip
    assert code == 0
    whole = [r for r in records if r["category"] == "all"]
    assert [(r["solver"], r["diagrams"]) for r in whole] == [
        ("network", "on"), ("network", False), ("network", "shuffled"), ("gold", False)
    ]  # fmt: skip
    assert whole[-1]["acc"] == 1
    code, _, err = call(capfd, "eval", "geo", "synth:sen", "--solver", "gold")
    assert code == 2 and "did you mean" in err


def test_a_stream_is_answered_in_order_in_batches(capfd, checkpoint, tmp_path):
    lines = [
        json.dumps({"id": str(i), "text": TEXT.replace("50", str(40 + 2 * i))}) for i in range(5)
    ]
    (tmp_path / "p.jsonl").write_text("\n".join([lines[0], "no json", *lines[1:]]))
    words = ["solve-geo", "p.jsonl", "--solver", "both", "--checkpoint", checkpoint]
    code, records, _ = call(capfd, *words, "--batch-size", "2", "--json")
    assert code == 3
    assert [r["id"] for r in records] == ["0", "2", "1", "2", "3", "4"]
    assert [r["value"] for r in records if "value" in r] == [70.0, 69.0, 68.0, 67.0, 66.0]
    assert records[0]["checkpoint"] == "run"


def test_python_gets_the_same_from_a_loaded_network(checkpoint):
    network = qr.load(checkpoint)
    asked = Problem("1", "calculation", TEXT)
    (beams,) = network.beam([asked], 3)
    states, hidden = network.encode([asked, asked])
    assert len(beams) <= 3 and states.shape[::2] == (2, 32) and hidden.shape[0] == 2
    found = qr.run("eval", "geo", files=["synth:diagram"], solver=["gold"], samples=4)
    assert found[0]["acc"] == 1


def test_the_network_alone_says_when_it_cannot_read(capfd, checkpoint):
    words = ["solve-geo", "--solver", "network", "--checkpoint", checkpoint, "--json", "--text"]
    code, (record,), _ = call(capfd, *words, "What is the meaning of life?")
    assert code == 3 and record["error"]["message"] == "the text has no number"
    code, (record,), _ = call(capfd, *words, "Quokkas wombats numbats bilbies eat 5 kiwis daily?")
    assert code == 3 and "words are none it has learnt" in record["error"]["message"]


def test_weights_that_are_not_there_are_exit_4(capfd):
    code, _, err = call(
        capfd, "solve-geo", "--solver", "network", "--checkpoint", "nowhere", "--text", TEXT
    )
    assert code == 4 and "no such name or folder" in err
