"""How fast base gru with CEM scores, and whether memory stays flat: ratios within one process.

    python benchmarks/handoff_speed.py batch     folded NumPy against packed nn.GRU
    python benchmarks/handoff_speed.py stream    one new turn; late turns against early ones
    python benchmarks/handoff_speed.py memory    1,000,000 events over 20,000 sessions
    python benchmarks/handoff_speed.py train     the sentence BiGRU against packed nn.GRU

Model and data are made: vocabulary of 9,000, turns as long as those of the makeup corpora (median 4
tokens, 5 % over 23). CPU time, one thread.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from qr_cli.handoff.bases.dami import DAMI
from qr_cli.handoff.bases.gru import GRU
from qr_cli.handoff.bases.rssn import RSSN
from qr_cli.handoff.cem import CEM
from qr_cli.handoff.corpus import Corpus
from qr_cli.handoff.decide import policy
from qr_cli.handoff.decider import Decider
from qr_cli.handoff.fast import Folded
from qr_cli.handoff.load import load
from qr_cli.handoff.mhch import Dialogue, Utterance
from qr_cli.handoff.stream import serve
from qr_cli.handoff.tokens import Vocabulary

V = 9000
CARD = {"cem": {"prior": [0.13, 0.72, 0.15], "gate": "corrected"}, "arguments": {"vocabulary": V}}


def network(cls=GRU):
    torch.manual_seed(0)
    return CEM(cls(V), prior=(0.13, 0.72, 0.15)).eval()


def made(count, seed=0):
    """Dialogues of about 27 turns; three in ten turns were said before."""
    rng = np.random.RandomState(seed)
    lengths = np.minimum(64, np.ceil(np.exp(rng.randn(200_000) * 1.05 + 1.4))).astype(int)
    pool, place, dialogues = [], 0, []
    for number in range(count):
        turns = []
        for turn in range(rng.randint(5, 50)):
            if pool and rng.rand() < 0.3:
                ids = pool[rng.randint(len(pool))]
            else:
                ids = (2 + (rng.zipf(1.3, lengths[place]) - 1) % (V - 2)).tolist()
                pool.append(ids)
                place += 1
            turns.append(Utterance("customer" if turn % 2 else "agent", tokens=ids))
        dialogues.append(Dialogue(str(number), turns))
    return dialogues


def folder(net):
    """Write a model folder of the network."""
    path = Path(tempfile.mkdtemp())
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, path / "model.safetensors")
    card = {"task": "handoff", "base": "gru", "tokenizer": "ids", "max_tokens": 64, **CARD}
    (path / "model.json").write_text(json.dumps(card))
    (path / "vocab.json").write_text(Vocabulary(list(range(2, V))).to_json())
    return path


def batch():
    net, dialogues = network(), made(250)
    model = load(folder(net))
    utterances = sum(len(d.utterances) for d in dialogues)
    corpus = Corpus(dialogues, model.encoder)
    rates, worst = {"folded": [], "packed": []}, 0.0
    model.runner  # noqa: B018  # folded before the clock starts
    for _ in range(3):
        begun = time.process_time()
        ours = model.scores(dialogues)
        rates["folded"].append(utterances / (time.process_time() - begun))
        begun = time.process_time()
        theirs = packed(net, corpus)
        rates["packed"].append(utterances / (time.process_time() - begun))
        worst = max(np.abs(a.odds - b).max() for a, b in zip(ours, theirs, strict=True))
    best = {k: max(v) for k, v in rates.items()}
    print(f"utterances per CPU second: folded {best['folded']:,.0f}, packed nn.GRU "
          f"{best['packed']:,.0f}, ratio {best['folded'] / best['packed']:.2f}, "
          f"largest difference of log-odds {worst:.1e}")  # fmt: skip


@torch.no_grad()
def packed(net, corpus):
    """Score with the network as one would write it with torch's packed sequences."""
    found = []
    for first in range(0, len(corpus), 32):
        inputs = corpus.batch(range(first, min(first + 32, len(corpus))))
        tokens, length = inputs["tokens"], inputs["length"]
        words = net.base.embedding(tokens)
        out, _ = net.base.words(pack_padded_sequence(words, length, True, enforce_sorted=False))
        out, _ = pad_packed_sequence(out, True, total_length=tokens.shape[1])
        real = torch.arange(tokens.shape[1])[None] < length[:, None]
        score = net.base.attention(out).masked_fill(~real, -torch.inf)
        sentence = (score.softmax(1)[..., None] * out).sum(1)
        x = torch.cat([sentence, net.base.role(inputs["role"])], -1)
        mask = inputs["mask"]
        table = x.new_zeros(mask.numel(), x.shape[1]).index_put((inputs["place"],), x)
        role = torch.zeros(mask.numel(), dtype=torch.long)
        role[inputs["place"]] = inputs["role"]
        role = role.view(mask.shape)
        context = net.base.context(table.view(*mask.shape, -1), role, mask)
        odds = net.score(context, role, mask).odds
        found += [odds[i][m].numpy() for i, m in enumerate(mask)]
    return found


def stream():
    net = network()
    weights = {k: v.numpy() for k, v in net.state_dict().items()}
    folded = Folded(weights, CARD)
    dialogues = made(60, seed=1)
    times = []
    for dialogue in dialogues:
        state = folded.start(1)
        for u in dialogue.utterances:
            role = int(u.role == "customer")
            begun = time.process_time()
            x = folded.encode([u.tokens], [role])
            _, state = folded.step(x, np.array([role]), state)
            times.append((time.process_time() - begun) * 1000)
    print(f"gru+cem, one new turn, CPU ms: p50 {np.percentile(times, 50):.2f}, "
          f"p95 {np.percentile(times, 95):.2f} (median 4 tokens)")  # fmt: skip
    for cls, early in ((GRU, 10), (RSSN, 60), (DAMI, 60)):
        net = network(cls)
        state, spent = net.start(1), []
        x = torch.randn(1, {GRU: 272, RSSN: 512, DAMI: 513}[cls])
        with torch.no_grad():
            for _ in range(1020):
                begun = time.process_time()
                _, state = net.step(x, torch.ones(1, dtype=torch.long), state)
                spent.append(time.process_time() - begun)
        at = [np.median(spent[t - 20 : t + 20]) for t in (max(early, 20), 1000)]
        print(f"{cls.__name__.lower()}: turn 1,000 over turn {early}: {at[1] / at[0]:.2f}")


def memory(events=1_000_000, sessions=20_000):
    model = load(folder(network()))
    decider = Decider(model, policy(None, threshold=0.25))
    rng = np.random.RandomState(0)
    texts = [(2 + rng.randint(0, 400, rng.randint(1, 9))).tolist() for _ in range(3000)]

    def bursts():
        for first in range(0, events, 256):
            yield [
                json.dumps({"session_id": f"s{(first + i) * 7919 % sessions}",
                            "role": "customer" if i % 2 else "agent",
                            "tokens": texts[(first + i * i) % len(texts)]})
                for i in range(256)
            ]  # fmt: skip

    begun, mark = time.process_time(), None
    for count, _ in enumerate(serve(decider, bursts()), start=1):
        if count == events // 10:
            mark = resident()
    spent = time.process_time() - begun
    print(f"{count:,} events of {sessions:,} sessions, {decider.sessions.limit:,} kept: "
          f"MiB grown {resident() - mark:.1f} from event {events // 10:,} on, "
          f"{count / spent:,.0f} events per CPU second with reading and records, "
          f"{decider.sessions.evicted:,} evictions")  # fmt: skip


def resident():
    """Return resident memory in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def train():
    from qr_cli.handoff.ragged import Ragged, run

    net = network().base.train()
    rng = np.random.RandomState(0)
    length = torch.tensor(
        np.minimum(64, np.ceil(np.exp(rng.randn(210) * 1.05 + 1.4))), dtype=torch.long
    )
    words = torch.randn(210, int(length.max()), 200)
    spent = {}
    for name in ("ragged", "packed") * 2:
        begun = time.process_time()
        for _ in range(3):
            if name == "ragged":
                ragged = Ragged(length, words.shape[1])
                out, _ = run(net.words, words.reshape(-1, 200)[ragged.index], ragged)
            else:
                out, _ = net.words(pack_padded_sequence(words, length, True, enforce_sorted=False))
                out = out.data
            out.square().sum().backward()
        spent[name] = time.process_time() - begun
    print(f"sentence BiGRU, forward and backward: packed nn.GRU takes "
          f"{spent['packed'] / spent['ragged']:.1f} times as long")  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    jobs = {"batch": batch, "stream": stream, "memory": memory, "train": train}
    for word in sys.argv[1:] or ("batch", "stream", "train"):
        jobs[word]()
