"""CEM: the worked table, and what may never happen."""

import numpy as np
import pytest
import torch
from reference import handoff as slow

from qr_cli.handoff.bases import Context
from qr_cli.handoff.bases.gru import GRU
from qr_cli.handoff.cem import CEM
from qr_cli.handoff.corpus import Corpus
from qr_cli.handoff.losses import cost_loss, main_loss
from qr_cli.handoff.mhch import parse_dialogue
from qr_cli.handoff.simulator import SimulatorPhase, halves
from qr_cli.handoff.tokens import Encoder, Vocabulary

PRIOR = (0.13, 0.72, 0.15)
LOCAL = [
    [0.10, 0.70, 0.20],
    [0.3, 0.3, 0.4],
    [0.60, 0.30, 0.10],
    [0.80, 0.15, 0.05],
    [0.2, 0.3, 0.5],
]
WEIGHT, ROLE, D = [0, 0, 0.5, 1.0, 0], [1, 0, 1, 1, 0], [-2.0, -1.5, -0.5, 0.4, -0.2]
ODDS = [-2.120952, -1.594891, 0.417039, 1.735878, 0.886077]


@pytest.fixture
def net():
    return CEM(GRU(20, embed_dim=4, hidden=3), prior=PRIOR).double()


def table(net):
    context = Context(
        torch.zeros(1, 5, 3, dtype=torch.double),
        torch.tensor([D], dtype=torch.double),
        (torch.tensor([LOCAL], dtype=torch.double), torch.tensor([WEIGHT], dtype=torch.double)),
    )
    role = torch.tensor([ROLE])
    return net.score(context, role, torch.ones(1, 5, dtype=torch.bool))


def test_the_correction_equals_the_worked_table(net):
    found = table(net)
    np.testing.assert_allclose(found.odds[0].detach().numpy(), ODDS, atol=1e-6)
    np.testing.assert_allclose(
        found.state[0, [0, 2, 3]].detach().numpy(),
        [[0.110000, 0.706667, 0.183333], [0.366572, 0.493729, 0.139699],
         [0.567386, 0.334474, 0.098140]], atol=1e-6,
    )  # fmt: skip
    np.testing.assert_allclose(
        found.overall[0].detach().numpy(), [0.608134, 0.298557, 0.093308], atol=1e-6
    )
    odds, states, _ = slow.cem(D, LOCAL, WEIGHT, ROLE, prior=PRIOR, kappa=0.5, beta=0.5)
    np.testing.assert_allclose(found.odds[0].detach().numpy(), odds, atol=1e-8)
    np.testing.assert_allclose(found.state[0].detach().numpy(), states, atol=1e-12)


def test_the_labour_cost_equals_the_worked_example():
    p, needed = torch.tensor([[0.2, 0.8, 0.6, 0.1]]), torch.tensor([[0.1, 0.9, 0.2, 0.05]])
    assert cost_loss(torch.logit(p), needed).item() == pytest.approx(0.20875, abs=1e-6)


def test_beta_is_never_negative_and_a_worse_state_never_lowers_p(net):
    for raw in (-30.0, -1.0, 0.0, 5.0):
        net.raw_beta.data.fill_(raw)
        assert net.beta >= 0
        role = torch.tensor([1])
        last = -1e9
        for negative in np.linspace(0, 1, 40):
            state = torch.tensor([[negative, 1 - negative, 0.0]], dtype=torch.double)
            found = net.corrected(torch.zeros(1, dtype=torch.double), state, state, role).item()
            assert found >= last - 1e-12
            last = found


def test_before_any_customer_turn_nothing_is_corrected(net):
    d = torch.tensor([[-1.0]], dtype=torch.double)
    states = torch.rand(1, 1, 3, dtype=torch.double), torch.zeros(1, 1, dtype=torch.double)
    found = net.score(Context(d[..., None], d, states), torch.zeros(1, 1), torch.ones(1, 1).bool())
    assert found.odds.item() == pytest.approx(-1.0, abs=1e-12)


def test_an_agent_turn_can_be_transferred(net):
    assert torch.sigmoid(table(net).odds[0, 4]) > 0.5


def test_without_the_gate_the_base_speaks():
    for gate in ("off", "none"):
        torch.manual_seed(0)
        net = CEM(GRU(20, embed_dim=4, hidden=3), prior=PRIOR, gate=gate)
        found = net.score(
            Context(torch.randn(1, 5, 3), torch.tensor([D])), torch.tensor([ROLE]),
            torch.ones(1, 5, dtype=torch.bool),
        )  # fmt: skip
        assert torch.equal(found.odds, found.base)
        assert (found.state is None) == (gate == "none")


def test_unlabelled_turns_and_dialogues_have_no_loss():
    odds = torch.randn(2, 3, requires_grad=True)
    label = torch.tensor([[1.0, float("nan"), 0.0], [float("nan")] * 3])
    main_loss(odds, label).backward()
    assert odds.grad[0, 1] == 0 and (odds.grad[1] == 0).all() and odds.grad[0, 0] != 0


def corpus(flip=()):
    dialogues = []
    for i in range(12):
        turns = [
            {"role": "customer", "text": f"word{(i + t) % 5} x", "handoff": int((i + t) % 3 == 0)}
            for t in range(4)
        ]
        for turn in turns if i in flip else ():
            turn["handoff"] = 1 - turn["handoff"]
        dialogues.append(parse_dialogue({"session_id": i, "utterances": turns}))
    words = [u.text.split() for d in dialogues for u in d.utterances]
    return Corpus(dialogues, Encoder("english", Vocabulary.count(words, 1), 8))


def simulated(data):
    phase = SimulatorPhase(data, 12, epochs=2, seed=0)
    torch.manual_seed(5)
    parts = phase.parts(rank=0, world=1)
    for epoch in range(2):
        for chunk in parts.train.epoch(epoch):
            (update,) = phase.step(parts.models, chunk.batch)
            update.loss.backward()
            parts.optimizers["main"].step()
            parts.optimizers["main"].zero_grad()
    return phase.scores()


def test_no_label_of_a_dialogue_enters_its_own_cost():
    torch.manual_seed(0)
    half = halves(12, 0)
    index = int(np.flatnonzero(half == 0)[0])
    plain, flipped = corpus(), corpus(flip=[index])
    before, after = simulated(plain), simulated(flipped)
    own, rows = plain.turns(index), np.repeat(half, 4)
    np.testing.assert_array_equal(before[own], after[own])
    np.testing.assert_array_equal(before[rows == 0], after[rows == 0])
    assert (before[rows == 1] != after[rows == 1]).any()


def test_a_higher_cost_weight_never_raises_false_transfers():
    """One logit per turn, S known: the minimiser itself, by descent."""
    torch.manual_seed(0)
    q = torch.rand(400)
    needed = torch.where(torch.rand(400) < 0.5, 0.1, 0.9)
    label = (torch.rand(400) < q).float()
    last = 401
    for weight in (0.0, 0.05, 0.3, 1.0):
        odds = torch.zeros(1, 400, requires_grad=True)
        solver = torch.optim.Adam([odds], lr=0.1)
        for _ in range(300):
            loss = torch.nn.functional.binary_cross_entropy_with_logits(odds, q[None])
            (loss + weight * cost_loss(odds, needed[None])).backward()
            solver.step()
            solver.zero_grad()
        false = int(((odds[0] > 0) & (label == 0)).sum())
        assert false <= last
        last = false
