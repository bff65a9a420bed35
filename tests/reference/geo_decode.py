"""Beam search from its definition: loops, no cache, one problem, every target read from its start.

A hypothesis is a list of words and a sum of log-probabilities over the allowed words. In each
round every open hypothesis is continued by every allowed word, and the best K of all, with those
that have ended, are kept.
"""

import torch


def beam_search(model, words, pictures, allowed, *, start, end, beams, longest):
    """Return (words, score) of the hypotheses that ended, best first.

    Args:
        model: called as ``model(words, before, pictures).scores``.
        words: one source ``(1, S)``.
        pictures: its picture ``(1, 112, 112)`` or None.
        allowed: words that may follow a list of words.
        start: the word before the first.
        end: the word that ends a target.
        beams: K.
        longest: words without the end.
    """
    kept = [([], 0.0)]
    for _ in range(longest + 1):
        grown = []
        for said, score in kept:
            if said[-1:] == [end]:
                grown.append((said, score))
                continue
            scores = model(words, torch.tensor([[start, *said]]), pictures).scores[0, -1]
            may = allowed(said)
            chances = torch.log_softmax(scores[may], 0).tolist()
            grown += [([*said, w], score + c) for w, c in zip(may, chances, strict=True)]
        grown.sort(key=lambda pair: -pair[1])
        kept = grown[:beams]
        if all(said[-1:] == [end] for said, _ in kept):
            break
    return [(said[:-1], score) for said, score in kept if said[-1:] == [end]]
