"""Every base: against its slow version, and the invariances of a causal model."""

import math

import numpy as np
import pytest
import torch
from reference import handoff as slow

from qr_cli.handoff.bases import HANDOFF_BASES
from qr_cli.handoff.bases.dami import DAMI
from qr_cli.handoff.bases.gru import GRU
from qr_cli.handoff.bases.lr import LR
from qr_cli.handoff.bases.rssn import RSSN
from qr_cli.handoff.cem import CEM
from qr_cli.handoff.corpus import EXTRAS, INPUTS
from qr_cli.handoff.ragged import Ragged, run
from qr_cli.handoff.released import ReleasedDAMI, ReleasedGate, ReleasedRSSN

V, PRIOR = 30, (0.13, 0.72, 0.15)
KINDS = {"gru": lambda: GRU(V, embed_dim=10, hidden=6), "rssn": lambda: RSSN(V, embed_dim=10),
         "dami": lambda: DAMI(V, embed_dim=10), "lr": lambda: filled_lr()}  # fmt: skip


def filled_lr():
    base = LR(V, states=True, grams=20, single=9)
    torch.manual_seed(1)
    for buffer in base.buffers():
        if buffer.is_floating_point():
            buffer.copy_(torch.randn_like(buffer))
    base.grams[:, 0] = torch.arange(2, 22)
    base.grams[10:, 1] = torch.arange(2, 12)
    base.single.copy_(torch.arange(2, 11))
    return base


def model(kind, gate="corrected"):
    torch.manual_seed(0)
    return CEM(KINDS[kind](), prior=PRIOR, gate=gate).double().eval()


def draw(lengths, *, seed=0, tokens=7):
    """A batch of dialogues with these numbers of turns."""
    rng = np.random.RandomState(seed)
    return [
        [(rng.randint(1, V, rng.randint(1, tokens + 1)).tolist(), int(rng.randint(2)))
         for _ in range(turns)]
        for turns in lengths
    ]  # fmt: skip


def batch(dialogues, *, more_turns=0, more_tokens=0):
    turns = [t for d in dialogues for t in d]
    width = max(len(s) for s, _ in turns) + more_tokens
    longest = max(map(len, dialogues)) + more_turns
    mask = torch.arange(longest)[None] < torch.tensor([len(d) for d in dialogues])[:, None]
    tokens = torch.zeros(len(turns), width, dtype=torch.long)
    for row, (sentence, _) in enumerate(turns):
        tokens[row, : len(sentence)] = torch.tensor(sentence)
    return {
        "tokens": tokens, "length": torch.tensor([len(s) for s, _ in turns]),
        "role": torch.tensor([r for _, r in turns]),
        "place": mask.flatten().nonzero().squeeze(1), "mask": mask,
    }  # fmt: skip


def odds(net, dialogues, **settings):
    with torch.no_grad():
        found = net(batch(dialogues, **settings)).odds
    return [found[i, : len(d)] for i, d in enumerate(dialogues)]


@pytest.mark.parametrize("kind", ["gru", "rssn", "dami"])
def test_a_base_equals_its_slow_version(kind):
    net = model(kind, "none" if kind != "rssn" else "off")
    if kind == "dami":
        net.base.frequency.copy_(torch.linspace(0, 0.9, V))
    (dialogue,) = draw([55 if kind == "rssn" else 34])
    w = slow.arrays(net.base)
    sentences, roles = [s for s, _ in dialogue], [r for _, r in dialogue]
    found = getattr(slow, kind)(sentences, roles, w)
    expected = found if kind == "dami" else found[0]
    (mine,) = odds(net, [dialogue])
    np.testing.assert_allclose(mine.numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("gate", ["corrected", "off", "none"])
@pytest.mark.parametrize("kind", KINDS)
def test_scores_of_a_turn_never_depend_on_later_ones(kind, gate):
    net = model(kind, gate)
    (dialogue,) = draw([57])
    (whole,) = odds(net, [dialogue])
    for end in (1, 2, 30, 56):
        (prefix,) = odds(net, [dialogue[:end]])
        torch.testing.assert_close(prefix, whole[:end], rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", ["rssn", "dami"])
def test_the_published_attention_does_look_ahead(kind):
    """Proof that the test above can see it."""
    torch.manual_seed(0)
    base = {"rssn": ReleasedRSSN, "dami": ReleasedDAMI}[kind](V, embed_dim=10)
    net = CEM(base, prior=PRIOR).double().eval()
    (dialogue,) = draw([20])
    (whole,), (prefix,) = odds(net, [dialogue]), odds(net, [dialogue[:10]])
    assert (whole[:10] - prefix).abs().max() > 1e-6


@pytest.mark.parametrize("kind", ["rssn", "gate", "dami"])
def test_what_was_published_equals_its_slow_version(kind):
    torch.manual_seed(0)
    if kind == "gate":
        base = ReleasedRSSN(V, embed_dim=10, inputs=True)
        torch.nn.init.normal_(base.inputs.bias)
        net = ReleasedGate(base, prior=PRIOR, gate="off").double().eval()
    else:
        base = {"rssn": ReleasedRSSN, "dami": ReleasedDAMI}[kind](V, embed_dim=10)
        net = CEM(base, prior=PRIOR, gate="off").double().eval()
    if kind == "dami":
        net.base.frequency.copy_(torch.linspace(0, 0.9, V))
    (dialogue,) = draw([13])
    w = slow.arrays(net.base)
    sentences, roles = [s for s, _ in dialogue], [r for _, r in dialogue]
    with torch.no_grad():
        found = net(batch([dialogue]))
    if kind == "dami":
        np.testing.assert_allclose(
            found.odds[0].numpy(), slow.released_dami(sentences, roles, w), atol=1e-10
        )
        return
    expected = slow.released_rssn(sentences, roles, w, gate=kind == "gate")
    np.testing.assert_allclose(found.local[0].numpy(), expected[1], atol=1e-10)
    if kind == "gate":
        np.testing.assert_allclose(found.gated[0].numpy(), expected[3], atol=1e-10)
        assert (expected[3][np.array(roles) == 0] == 0).all()
    else:
        np.testing.assert_allclose(found.odds[0].numpy(), expected[0], atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_batch_order_and_batch_size_change_nothing(kind):
    net = model(kind)
    dialogues = draw([9, 4, 13, 1])
    alone = [odds(net, [d])[0] for d in dialogues]
    for chosen in ([0, 1, 2, 3], [3, 1, 0, 2], [2, 0]):
        for settings in ({}, {"more_turns": 5, "more_tokens": 4}):
            for i, found in zip(chosen, odds(net, [dialogues[i] for i in chosen], **settings),
                                strict=True):  # fmt: skip
                torch.testing.assert_close(found, alone[i], rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_scan_of_steps_equals_the_context(kind):
    net = model(kind)
    dialogues = draw([62, 35])
    inputs = batch(dialogues)
    with torch.no_grad():
        whole = net(inputs)
        x, state = net.encode(inputs), net.start(2)
        size = sum(v.numel() for v in state.values())
        role = torch.zeros(inputs["mask"].shape, dtype=torch.long)
        role[inputs["mask"]] = inputs["role"]
        for turn in range(62):
            found, state = net.step(x[:, turn], role[:, turn], state)
            here = inputs["mask"][:, turn]
            torch.testing.assert_close(found.odds[here], whole.odds[here, turn], atol=1e-10, rtol=0)
            assert sum(v.numel() for v in state.values()) == size


@pytest.mark.parametrize("kind", ["rssn", "dami"])
def test_a_window_is_plain_causal_attention_up_to_its_length(kind, monkeypatch):
    from qr_cli.handoff.bases import dami, rssn

    net = model(kind)
    dialogues = draw([30])
    (usual,) = odds(net, dialogues)
    module = {"rssn": rssn, "dami": dami}[kind]
    monkeypatch.setattr(module, "visible", lambda turns, window, device: torch.ones(
        turns, turns, dtype=torch.bool).tril())  # fmt: skip
    (full,) = odds(net, dialogues)
    torch.testing.assert_close(usual, full, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (lambda: GRU(50), 424_482),
        (lambda: RSSN(50), 1_449_477 + 1_536),  # torch has two bias vectors an LSTM
        (lambda: DAMI(50), 1_078_146 + 1_536),
        (lambda: ReleasedRSSN(50, inputs=True), 1_580_677 + 1_536),
    ],
)
def test_the_number_of_parameters_without_word_vectors(make, count):
    named = make().named_parameters()
    assert sum(p.numel() for name, p in named if "embedding" not in name) == count


@pytest.mark.parametrize("kind", ["gru", "rssn", "dami"])
def test_every_parameter_and_word_vector_gets_a_gradient(kind):
    net = model(kind).train()
    scores = net(batch(draw([6, 3])))
    loss = scores.odds.square().sum() + scores.local[..., 0].sum() + scores.overall[:, 0].sum()
    loss.backward()
    silent = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    # a softmax does not feel a constant, and agents' relu may be shut
    assert set(silent) <= {"base.attention.outer.bias", "base.block.key.bias", "base.agent.outer",
                           "base.agent.inner.weight", "base.agent.inner.bias"}  # fmt: skip


def test_a_turn_without_real_customers_attends_to_nothing():
    net = model("rssn")
    agents = [[(s, 0) for s, _ in draw([5])[0]]]
    (found,) = odds(net, agents)
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("cls", [torch.nn.GRU, torch.nn.LSTM])
def test_ragged_recurrence_equals_torch_with_its_gradients(cls):
    torch.manual_seed(0)
    rnn = cls(5, 4, batch_first=True, bidirectional=True).double()
    length, width = torch.tensor([3, 7, 1, 7, 2]), 9
    x = torch.randn(5, width, 5, dtype=torch.double, requires_grad=True)
    pack = torch.nn.utils.rnn.pack_padded_sequence
    out, final = rnn(pack(x, length, batch_first=True, enforce_sorted=False))
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(out, True, total_length=width)
    states = final[0] if isinstance(final, tuple) else final
    both = torch.cat([states[0], states[1]], -1)
    ragged = Ragged(length, width)
    found, last = run(rnn, x.reshape(-1, 5)[ragged.index], ragged)
    table = found.new_zeros(5 * width, 8).index_put((ragged.index,), found).view(5, width, 8)
    torch.testing.assert_close(table, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(last, both, rtol=0, atol=1e-12)
    a, b = torch.randn_like(table), torch.randn_like(last)
    inputs = [x, *rnn.parameters()]
    theirs = torch.autograd.grad((expected * a).sum() + (both * b).sum(), inputs)
    ours = torch.autograd.grad((table * a).sum() + (last * b).sum(), inputs)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-12)


def test_no_label_is_among_the_inputs_of_a_model():
    seen = {}

    class Spy(GRU):
        def encode(self, tokens, length, role, extra):
            seen.update(extra)
            return super().encode(tokens, length, role, extra)

    labels = ("sentiment", "handoff", "satisfaction", "needed")
    inputs = batch(draw([4])) | {name: torch.ones(1, 4) for name in labels}
    net = CEM(Spy(V, embed_dim=4, hidden=3)).eval()
    net(inputs)
    assert not set(seen) & set(labels)
    assert set(INPUTS) | set(EXTRAS) == {"tokens", "length", "role", "place", "mask", "pos", "tf",
                                         "score", "row"}  # fmt: skip


def test_the_published_gate_multiplies_and_does_not_renormalise():
    net = ReleasedGate(ReleasedRSSN(V, embed_dim=6, inputs=True), prior=PRIOR, gate="off")
    from qr_cli.handoff.bases import Context

    o = torch.tensor([[[math.log(0.9), math.log(0.1)]] * 2])
    local = torch.tensor([[[0.6, 0.3, 0.1]] * 2])
    weight = torch.tensor([[math.log(0.25), math.log(0.75)]])
    context = Context(o, o[..., 1] - o[..., 0], (local, weight))
    ones = torch.ones(1, 2)
    found = net.score(context, ones, ones.bool())
    torch.testing.assert_close(found.gated[0, 0], torch.tensor([0.135, 0.0025]))
    agent = net.score(context, torch.tensor([[1, 0]]), ones.bool())
    assert agent.gated[0, 1].tolist() == [0, 0]


def test_every_base_of_the_table_can_be_imported():
    for name in HANDOFF_BASES.entries:
        assert HANDOFF_BASES.load(name)
