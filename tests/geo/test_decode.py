"""Grammar and beam search: against the slow version, in batches, and what they may never write."""

import json
from itertools import product
from pathlib import Path

import pytest
import torch

from qr_cli.geo import grammar
from qr_cli.geo.decode import search
from qr_cli.geo.inputs import words
from qr_cli.geo.network import Question, predict
from qr_cli.geo.program import parse
from qr_cli.geo.proof import parse_element, parse_proof
from qr_cli.geo.records import read
from qr_cli.geo.synth import make
from qr_cli.geo.tiny import Tiny, padded
from qr_cli.geo.vocab import END, FIXED, PAD, Vocabulary
from tests.reference.geo_decode import beam_search

DATA = Path(__file__).parents[3] / "shared" / "data" / "geo"
KINDS = ("segment", "angle", "triangle", "segment", "angle", "triangle")


class Brief(Tiny):
    """A small untrained model that likes to come to an end."""

    def logits(self, states):
        """Return the scores, those of the end raised."""
        scores = super().logits(states)
        scores[..., self.vocabulary.number[END]] += 2.0
        return scores


def small(seed=0, **changes):
    torch.manual_seed(seed)
    sizes = {"width": 32, "inner": 48, "layers": 2, "heads": 2, "vision": False} | changes
    return Brief(Vocabulary(), **sizes).eval()


def rules_for(vocabulary, what):
    if what == "program":
        return grammar.Grammar(grammar.program_classes(vocabulary, 3)[None], ["program"])
    return grammar.Grammar(grammar.proof_classes(vocabulary, KINDS)[None], ["proof"])


def follows(vocabulary, what):
    """Return a function: words that may follow a list of words, by stepping the automaton."""
    rules = rules_for(vocabulary, what)

    def allowed(said):
        at = rules.start[:, None]
        for word in said:
            at = rules.advance(at, torch.tensor([[word]]))
        return (rules.mask(at)[0, 0] == 0).nonzero().flatten().tolist()

    return allowed


@pytest.mark.parametrize("what", ["program", "proof"])
def test_cached_beams_equal_those_of_the_slow_version(what):
    model = small()
    vocabulary = model.vocabulary
    source = torch.tensor([vocabulary.ids("calculation : angle A = N_0 .".split())])
    states, hidden = model.encode(source)
    end = vocabulary.number[END]
    found = search(model, states, hidden, rules_for(vocabulary, what), end=end, beams=4, longest=12)
    slow = beam_search(
        model, source, None, follows(vocabulary, what),
        start=model.start, end=end, beams=4, longest=12,
    )  # fmt: skip
    assert slow
    assert [b.words for b in found[0]] == [w for w, _ in slow]
    for beam, (_, score) in zip(found[0], slow, strict=True):
        assert beam.score == pytest.approx(score, abs=1e-5)


class Toy:
    """A decoder whose scores are a table over the last two words: every sequence is cheap."""

    start = 0

    def __init__(self, size):
        self.table = torch.randn(size, size, generator=torch.Generator().manual_seed(3)) * 2

    def begin(self, states, hidden):
        return self

    def reorder(self, beams):
        pass

    def keep(self, problems):
        pass

    def step(self, last, cache):
        return self.table[last]


class Anything:
    """No grammar over the words 1, 2, 3 (3 ends)."""

    start = torch.zeros(1, dtype=torch.long)

    def mask(self, states):
        free = torch.zeros(*states.shape, 4)
        free[..., 0] = -torch.inf
        return free

    def advance(self, states, words):
        return states

    def keep(self, problems):
        pass


def test_beams_as_many_as_sequences_find_the_best_of_all():
    toy, end, longest = Toy(4), 3, 4
    found = search(
        toy, torch.zeros(1, 1, 1), torch.zeros(1, 1, 1, 1), Anything(),
        end=end, beams=400, longest=longest,
    )[0]  # fmt: skip
    every = {}
    for length in range(longest + 1):
        for said in product((1, 2), repeat=length):
            score, last = 0.0, 0
            for word in (*said, end):
                chances = torch.log_softmax(toy.table[last][1:], 0)
                score, last = score + float(chances[word - 1]), word
            every[said] = score
    assert len(found) == len(every) == 31
    assert {tuple(b.words) for b in found} == set(every)  # some scores are equal: no order
    for beam in found:
        assert beam.score == pytest.approx(every[tuple(beam.words)], abs=1e-5)
    assert [b.score for b in found] == sorted((b.score for b in found), reverse=True)


def test_one_beam_is_greedy_and_the_mean_is_a_penalty_of_one():
    model = small(1)
    source = torch.tensor([model.vocabulary.ids("proving : A B ≅ C D".split())])
    states, hidden = model.encode(source)
    end, allowed = model.vocabulary.number[END], follows(model.vocabulary, "program")
    args = dict(end=end, beams=1, longest=24)
    beam = search(model, states, hidden, rules_for(model.vocabulary, "program"), **args)[0][0]
    said, score = [], 0.0
    model.requires_grad_(False)
    while said[-1:] != [end]:
        scores = model(source, torch.tensor([[model.start, *said]])).scores[0, -1]
        may = allowed(said)
        chances = torch.log_softmax(scores[may], 0)
        said, score = [*said, may[int(chances.argmax())]], score + float(chances.max())
    assert beam.words == said[:-1]
    assert beam.score == pytest.approx(score, abs=1e-5)
    mean = search(
        model, states, hidden, rules_for(model.vocabulary, "program"), penalty=1.0, **args
    )
    assert mean[0][0].score == pytest.approx(score / len(said), abs=1e-5)


def test_a_batch_gives_what_each_problem_gives_alone():
    model = small(2, vision=True)
    samples = make(9, seed=3, mix={"calculation": 1.0, "diagram": 1.0, "proof": 1.0})
    asked = [
        Question(words(s.problem), s.problem.task == "proving", s.image if i % 3 else None)
        for i, s in enumerate(samples)
    ]
    together = predict(model, asked, beams=3, longest=20)
    for question, found in zip(asked, together, strict=True):
        alone = predict(model, [question], beams=3, longest=20)[0]
        assert [g.text for g in alone] == [g.text for g in found]
        assert [g.score for g in alone] == pytest.approx([g.score for g in found], abs=1e-4)


def test_everything_that_is_written_parses():
    model = small(3)
    samples = make(12, seed=5, mix={"calculation": 1.0, "proof": 1.0}, image=False)
    asked = [Question(words(s.problem), s.problem.task == "proving") for s in samples]
    for sample, found in zip(samples, predict(model, asked, beams=5, longest=30), strict=True):
        for guess in found:
            if sample.problem.task == "proving":
                parse_proof(guess.text, [parse_element(e) for e in sample.problem.elements])
            else:
                parse(guess.text, len(sample.problem.numbers))


def test_without_the_grammar_any_word_may_follow():
    model = small(4)
    question = Question(
        words(make(1, seed=1, mix={"calculation": 1.0}, image=False)[0].problem), False
    )
    found = predict(model, [question], beams=2, longest=200, grammatical=False)[0]
    assert all(word in FIXED for guess in found for word in guess.text.split())


def allows(problem, vocabulary, target):
    """Tell whether the grammar lets a problem's target through, its end included."""
    asked = words(problem, longest=None)
    if problem.task == "proving":
        classes, start = grammar.proof_classes(vocabulary, asked.kinds), "proof"
    else:
        classes, start = grammar.program_classes(vocabulary, len(asked.numbers)), "program"
    rules = grammar.Grammar(classes[None], [start])
    at = rules.start[:, None]
    for word in (*vocabulary.ids(target.split()), vocabulary.number[END]):
        if rules.mask(at)[0, 0, word] != 0:
            return False
        at = rules.advance(at, torch.tensor([[word]]))
    return True


def test_the_grammar_takes_every_generated_target():
    vocabulary = Vocabulary()
    for sample in make(150, seed=2, image=False):
        problem = sample.problem
        assert allows(problem, vocabulary, problem.proof or problem.program), problem


@pytest.mark.data
@pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")
def test_the_grammar_takes_every_published_target():
    vocabulary = Vocabulary()
    for name in ("unigeo_dev_calculation.jsonl", "unigeo_dev_proving.jsonl"):
        for problem in read(DATA / name):
            assert allows(problem, vocabulary, problem.proof or problem.program), problem.id


REFUSED = [
    "g_half N_3", "g_add N_0", "N_0", "g_half V_0", "", "g_half N_0 g_half V_1",
    " ".join(["g_half N_0"] * 7),
]  # fmt: skip


@pytest.mark.parametrize("program", REFUSED)
def test_what_is_no_program_cannot_be_written(program):
    said = follows(Vocabulary(), "program")
    number = Vocabulary().number
    path = [*(number[w] for w in program.split()), number[END]]
    assert not all(word in said(path[:i]) for i, word in enumerate(path))


@pytest.mark.parametrize(
    ("proof", "may"),
    [
        ("R_13 E_2 congruent E_5", True),
        ("R_13 E_0 congruent E_3", False),
        ("R_21 E_2 congruent E_5", False),
        ("R_6 E_0 congruent E_1", False),
        ("R_28 E_0 / E_3 = E_3 / E_0", True),
        ("R_10 E_1 + E_4 = C_3", True),
        ("R_10 E_1 + E_4 = C_2", False),
        ("R_26 E_1 = E_4 R_14 E_0 congruent E_0", True),
        ("R_26 E_1 + E_0 = C_3", False),
        ("R_14 E_0 congruent", False),
        ("R_14 E_9 congruent E_9", False),
    ],
)
def test_a_reason_concludes_its_own_statements_only(proof, may):
    said = follows(Vocabulary(), "proof")
    number = Vocabulary().number
    path = [*(number[w] for w in proof.split()), number[END]]
    assert all(word in said(path[:i]) for i, word in enumerate(path)) == may


def test_a_reason_without_its_elements_is_not_offered():
    vocabulary = Vocabulary()
    rules = grammar.Grammar(grammar.proof_classes(vocabulary, ["angle", "angle"])[None], ["proof"])
    free = (rules.mask(rules.start[:, None])[0, 0] == 0).nonzero().flatten().tolist()
    names = {vocabulary.words[i] for i in free}
    assert "R_13" not in names and "R_19" not in names and "R_4" in names


def test_vocabularies_round_trip_and_reject_strangers():
    known = Vocabulary.count([["zebra", "apple", "apple"], ["A", "N_0"]])
    assert known.words[len(FIXED) :] == ("apple", "zebra")
    assert json.loads(json.dumps(known.words)) == list(Vocabulary(known.words).words)
    assert known.ids(["A", "apple"]) == [known.number["A"], known.number["apple"]]
    assert known.words[known.ids(["quagga"])[0]].startswith("<w")
    assert known.ids(["quagga"]) == known.ids(["quagga"])
    with pytest.raises(ValueError, match="geometry"):
        Vocabulary(["a", "b"])
    assert padded([[1], [2, 3]], known.number[PAD]).tolist() == [[1, 0], [2, 3]]
