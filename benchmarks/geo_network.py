"""Speed of the network on one core: batches over one by one, the cache on and off.

    OMP_NUM_THREADS=1 python benchmarks/geo_network.py [--rounds 3]

CPU time of the process; contestants take turns, medians over the rounds, ratios round by round. A
model of the shipped size with random weights writes exactly 16 or 48 words for generated problems,
encoding and grammar included. "No cache" reads every target from its start again.
"""

import argparse
import time
from statistics import median

import torch

from qr_cli.geo import grammar
from qr_cli.geo.decode import search
from qr_cli.geo.inputs import words
from qr_cli.geo.synth import make
from qr_cli.geo.tiny import Tiny, padded
from qr_cli.geo.vocab import END, FIXED, LIMIT, PAD, Vocabulary

BARS = {  # ratio -> least
    "greedy, 48 words, batch of 16 over one by one": 3.0,
    "beam 10, 16 words, batch of 16 over one by one": 2.0,
    "beam 10, 48 words, batch of 16 over one by one": 1.5,
    "beam 10, 48 words, batch with cache over one by one without": 8.0,
    "beam 10, 48 words, cache on over off": 4.0,
    "greedy, 48 words, cache on over off": 2.0,
}
RATES = {
    "greedy, 16 words": 20.0,
    "beam 10, 48 words": 8.0,
    "beam 10, 16 words": 25.0,
}  # problems/s alone


class Exactly(grammar.Grammar):
    """A grammar that ends after so many words."""

    def __init__(self, vocabulary: Vocabulary, problems: int, length: int) -> None:
        free = grammar.free_classes(vocabulary)
        super().__init__(free.expand(problems, -1), ["free"] * problems)
        self.left, self.end = length, vocabulary.number[END]

    def mask(self, states: torch.Tensor) -> torch.Tensor:
        """Return the mask of the grammar; the end alone when it is time, else anything but it."""
        found = super().mask(states)
        found[..., self.end] = 0.0 if self.left == 0 else -torch.inf
        if self.left == 0:
            found[..., : self.end] = found[..., self.end + 1 :] = -torch.inf
        self.left -= 1
        return found


class Uncached:
    """A decoder that reads the whole target again for every word."""

    def __init__(self, model: Tiny) -> None:
        self.model, self.start = model, model.start

    def begin(self, states: torch.Tensor, hidden: torch.Tensor) -> "Uncached":
        """Remember the source."""
        self.states, self.hidden, self.said = states, hidden, None
        return self

    def step(self, last: torch.Tensor, cache: object) -> torch.Tensor:
        """Return scores of the next word."""
        new = last[..., None]
        self.said = new if self.said is None else torch.cat((self.said, new), -1)
        batch, beams, length = self.said.shape
        at = torch.arange(length)
        decoder = self.model.decoder
        bias = decoder.relative(at, at) + torch.full((length, length), -1e9).triu(1)
        rows = self.model.embed(self.said.flatten(0, 1))
        source = self.states.repeat_interleave(beams, 0)
        out = decoder(rows, bias[None], source, self.hidden.repeat_interleave(beams, 0))
        return self.model.logits(out[:, -1]).unflatten(0, (batch, beams))

    def reorder(self, beams: torch.Tensor) -> None:
        """Follow the beams."""
        self.said = self.said[torch.arange(len(beams))[:, None], beams]

    def keep(self, problems: torch.Tensor) -> None:
        """Go on with some problems."""
        self.said, self.states, self.hidden = (
            x[problems] for x in (self.said, self.states, self.hidden)
        )


def main() -> None:
    """Print rates and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    torch.manual_seed(0)
    known = Vocabulary((*FIXED, *(f"word{i}" for i in range(LIMIT - len(FIXED)))))
    model = Tiny(known).eval()
    samples = make(16, seed=1, mix={"proof": 1.0}, image=False)
    sources = [known.ids(words(s.problem).source) for s in samples]

    @torch.inference_mode()
    def run(decoder: object, beams: int, length: int, batch: int) -> list[list[int]]:
        found = []
        for at in range(0, len(sources), batch):
            some = padded(sources[at : at + batch], known.number[PAD])
            states, hidden = model.encode(some)
            rules = Exactly(known, len(some), length)
            beams_ = search(
                decoder, states, hidden, rules,
                end=known.number[END], beams=beams, longest=length,
            )  # fmt: skip
            found += [b[0].words for b in beams_]
        return found

    plain = Uncached(model)
    jobs = {
        ("greedy", 16, 1): lambda: run(model, 1, 16, 1),
        ("greedy", 48, 1): lambda: run(model, 1, 48, 1),
        ("greedy", 48, 16): lambda: run(model, 1, 48, 16),
        ("greedy off", 48, 1): lambda: run(plain, 1, 48, 1),
        ("beam", 48, 1): lambda: run(model, 10, 48, 1),
        ("beam", 48, 16): lambda: run(model, 10, 48, 16),
        ("beam", 16, 1): lambda: run(model, 10, 16, 1),
        ("beam", 16, 16): lambda: run(model, 10, 16, 16),
        ("beam off", 48, 1): lambda: run(plain, 10, 48, 1),
    }
    times: dict[tuple[str, int, int], list[float]] = {key: [] for key in jobs}
    said = {}
    for number in range(rounds + 1):
        for key, job in jobs.items():
            start = time.process_time()
            said[key] = job()
            if number:
                times[key].append(time.process_time() - start)
    assert said["greedy", 48, 1] == said["greedy off", 48, 1]
    assert said["beam", 48, 1] == said["beam off", 48, 1]
    print(f"{'one by one':<62}{'problems/s':>11}{'bar':>6}")
    alone = [("greedy", 16, 1), ("beam", 48, 1), ("beam", 16, 1)]
    for name, key in zip(RATES, alone, strict=True):
        print(f"{name:<62}{16 / median(times[key]):>11.1f}{RATES[name]:>6.0f}")
    pairs = [
        (("greedy", 48, 1), ("greedy", 48, 16)),
        (("beam", 16, 1), ("beam", 16, 16)),
        (("beam", 48, 1), ("beam", 48, 16)),
        (("beam off", 48, 1), ("beam", 48, 16)),
        (("beam off", 48, 1), ("beam", 48, 1)),
        (("greedy off", 48, 1), ("greedy", 48, 1)),
    ]
    print(f"{'ratio':<62}{'':>11}{'bar':>6}")
    for (name, bar), (slow, fast) in zip(BARS.items(), pairs, strict=True):
        ratio = median(a / b for a, b in zip(times[slow], times[fast], strict=True))
        print(f"{name:<62}{ratio:>10.1f}x{bar:>5.1f}x")


if __name__ == "__main__":
    main()
