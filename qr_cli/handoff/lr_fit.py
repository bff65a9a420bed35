"""Fitting base `lr` with scikit-learn, in the three stages of CEM.

1. Handoff from the features (liblinear, class_weight balanced), on all dialogues; and out of fold.
2. The three user states on customer turns, from the same features, where sentiment is labelled.
3. Scale, shift and beta >= 0 of the corrected log-odds, by L-BFGS on the out-of-fold values:
   cross-entropy + cost_weight * labour cost, whose S are the calibrated out-of-fold probabilities.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from qr_cli.errors import MissingExtra
from qr_cli.handoff.bases.lr import BACK, PREVIOUS, SET, Grams, ngrams, weigh
from qr_cli.handoff.calibrate import fit as fit_calibration
from qr_cli.handoff.corpus import Corpus
from qr_cli.handoff.losses import cost_loss
from qr_cli.handoff.mhch import fold_of

log = logging.getLogger(__name__)
MIN_DF, FOLDS, ITERATIONS = 2, 5, 300


class Features:
    """The feature matrix of a corpus, and the n-grams its columns stand for."""

    def __init__(self, corpus: Corpus) -> None:
        try:
            from scipy import sparse
        except ModuleNotFoundError as error:
            raise MissingExtra("scikit-learn", "handoff") from error
        sentences = [corpus.sentence(u) for u in range(len(corpus.role))]
        both = [ngrams(s, 2) for s in sentences]
        ones = [ngrams(s, 1) for s in sentences]
        self.grams, self.grams_idf = _columns(both)
        self.single, self.single_idf = _columns(ones)
        matrix = _matrix(both, self.grams, self.grams_idf)
        earlier = _matrix(ones, self.single, self.single_idf)
        place = np.concatenate([np.arange(n) for n in np.diff(corpus.start)])
        customer = sparse.diags(corpus.role.astype(float))
        blocks = [matrix, customer @ matrix]
        for back, weight in enumerate(PREVIOUS, start=1):
            shift = sparse.diags((place[back:] >= back) * weight, -back, shape=(len(place),) * 2)
            blocks.append(shift @ earlier)
        blocks.append(sparse.csr_matrix(_dense(corpus, sentences, place)))
        self.matrix = sparse.hstack(blocks, format="csr")

    def parts(self, coefficients: np.ndarray) -> dict[str, np.ndarray]:
        """Split coefficients (K, columns) into the buffers of the base."""
        n, m = len(self.grams), len(self.single)
        ends = np.cumsum([n, n, m, m])
        own, customer, one, two, dense = np.split(coefficients, ends, axis=1)
        previous = np.stack([PREVIOUS[0] * one, PREVIOUS[1] * two])
        return {"own": own, "customer": customer, "previous": previous, "dense": dense}


def fit_model(model: Any, corpus: Corpus, causal: Any, *, c: float = 1.0) -> None:
    """Fit the base of a `CEM` model in place.

    Args:
        model: a `CEM` around `LR`.
        corpus: the training dialogues.
        causal: the recipe's section: cem, gate, cost_mode, cost_weight.
        c: inverse strength of the regularisation.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    features, base = Features(corpus), model.base
    rows = [_logistic(features.matrix, corpus.handoff, c)]
    known = (corpus.sentiment >= 0) & (corpus.role == 1)
    states = None
    if base.has_state:
        if len(set(corpus.sentiment[known])) == 3:
            states = _softmax(features.matrix[known], corpus.sentiment[known], c)
            rows += list(zip(*states, strict=True))
        else:
            log.warning("no sentiment labels: base lr has no user state to correct by")
            base.has_state = False
    coefficients = np.stack([w for w, _ in rows])
    bias = np.array([b for _, b in rows])
    _fill(base, features, coefficients, bias)
    if not base.has_state and model.gate != "none":
        if model.gate == "corrected":
            del model.raw_beta
        model.gate = "none"
    if model.gate == "none":
        return
    _correct(model, corpus, features, causal, c)


def _correct(model: Any, corpus: Corpus, features: Features, causal: Any, c: float) -> None:
    """Fit stage 3, on values of models that have not seen the dialogue."""
    fold = np.repeat(fold_of(len(corpus), FOLDS), np.diff(corpus.start))
    odds, logits = np.zeros(len(corpus.role)), np.zeros((len(corpus.role), 3))
    felt = (corpus.sentiment >= 0) & (corpus.role == 1)
    for number in range(FOLDS):
        inside, matrix = fold == number, features.matrix[fold == number]
        w, b = _logistic(features.matrix[~inside], corpus.handoff[~inside], c)
        odds[inside] = matrix @ w + b
        learn = felt & ~inside
        w3, b3 = _softmax(features.matrix[learn], corpus.sentiment[learn], c)
        logits[inside] = matrix @ w3.T + b3
    local = torch.from_numpy(logits).softmax(-1)
    known = ~np.isnan(corpus.handoff)
    needed = fit_calibration("platt", odds[known], corpus.handoff[known])(odds)
    base = model.base
    shift = _corrections(model, corpus, local)
    d, label = torch.from_numpy(odds)[known], torch.from_numpy(corpus.handoff)[known].double()
    extra, cost = shift[torch.from_numpy(known)], torch.from_numpy(needed)[known]
    gated = model.gate == "corrected"
    weight = causal.cost_weight if causal.cost_mode == "simulator" else 0.0
    free = torch.tensor([1.0, 0.0, model.raw_beta.item() if gated else 0.0], dtype=torch.double)
    free.requires_grad_()
    solver = torch.optim.LBFGS([free], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Any:
        solver.zero_grad()
        odds = free[0] * d + free[1] + (F.softplus(free[2]) * extra if gated else 0.0)
        loss = F.binary_cross_entropy_with_logits(odds, label) + weight * cost_loss(odds, cost)
        loss.backward()
        return loss

    solver.step(closure)
    scale, offset, raw = free.detach().tolist()
    base.scale[0], base.shift[0] = scale, offset
    if gated:
        with torch.no_grad():
            model.raw_beta.fill_(raw)


def _corrections(model: Any, corpus: Corpus, local: torch.Tensor) -> torch.Tensor:
    """Return logit n_t - logit pi_0 of every utterance, with w = 1 on customer turns."""
    found = torch.zeros(len(corpus.role), dtype=torch.double)
    role = torch.from_numpy(corpus.role).double()
    for index in range(len(corpus)):
        here = corpus.turns(index)
        own = role[here]
        state = model.running((own[:, None] * local[here]).cumsum(0), own.cumsum(0))
        current = torch.where(own.bool(), local[here][:, 0], state[:, 0])
        n = ((current + state[:, 0]) / 2).clamp(1e-4, 1 - 1e-4)
        found[here] = torch.logit(n) - model.center
    return found


def _logistic(matrix: Any, label: np.ndarray, c: float) -> tuple[np.ndarray, float]:
    """Fit one binary regression; a share counts as both labels with its weights."""
    try:
        from sklearn.linear_model import LogisticRegression
    except ModuleNotFoundError as error:
        raise MissingExtra("scikit-learn", "handoff") from error
    from scipy import sparse

    known = ~np.isnan(label)
    x, y = matrix[known], label[known].astype(float)
    solver = LogisticRegression(
        C=c, solver="liblinear", class_weight="balanced", max_iter=ITERATIONS, random_state=0
    )
    if np.isin(y, (0.0, 1.0)).all():
        solver.fit(x, y.astype(int))
    else:
        both, weight = np.repeat([0, 1], len(y)), np.concatenate([1 - y, y])
        solver.fit(sparse.vstack([x, x], format="csr"), both, sample_weight=weight)
    return solver.coef_[0], float(solver.intercept_[0])


def _softmax(matrix: Any, label: np.ndarray, c: float) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.linear_model import LogisticRegression

    solver = LogisticRegression(C=c, max_iter=ITERATIONS, tol=1e-3).fit(matrix, label)
    return solver.coef_, solver.intercept_


def _columns(counted: Sequence[Counter[tuple[int, ...]]]) -> tuple[Grams, list[float]]:
    """Return the columns of n-grams that two utterances have, and their smooth idf."""
    seen: Counter[tuple[int, ...]] = Counter()
    for counts in counted:
        seen.update(counts.keys())
    kept = sorted(gram for gram, count in seen.items() if count >= MIN_DF)
    idf = [math.log((1 + len(counted)) / (1 + seen[gram])) + 1 for gram in kept]
    return {gram: column for column, gram in enumerate(kept)}, idf


def _matrix(counted: Sequence[Counter[tuple[int, ...]]], columns: Grams, idf: list[float]) -> Any:
    from scipy import sparse

    indices: list[int] = []
    data: list[float] = []
    ends = [0]
    for counts in counted:
        where, values = weigh(counts, columns, idf)
        indices += where
        data += values
        ends.append(len(indices))
    return sparse.csr_matrix((data, indices, ends), shape=(len(counted), len(columns)))


def _dense(corpus: Corpus, sentences: Sequence[Sequence[int]], place: np.ndarray) -> np.ndarray:
    role = corpus.role
    found = np.zeros((len(role), 7))
    found[:, 0], found[:, 1] = role, 1 - role
    found[:, 2] = np.minimum(place, 20) / 20
    found[:, 3] = np.log1p([len(s) for s in sentences]) / 4
    sets = [set(sorted(set(s))[:SET]) for s in sentences]
    for row, j in enumerate(place):
        for back in range(1, min(int(j), BACK) + 1):
            one, other = sets[row], sets[row - back]
            overlap = len(one & other) / len(one | other)
            found[row, 4] = max(found[row, 4], overlap)
            if role[row] == role[row - back]:
                found[row, 5] = max(found[row, 5], overlap)
        found[row, 6] = float(j > 0 and role[row] == role[row - 1])
    return found


def _fill(base: Any, features: Features, coefficients: np.ndarray, bias: np.ndarray) -> None:
    """Write coefficients and n-grams into the base."""
    values = features.parts(coefficients) | {
        "bias": bias,
        "scale": np.ones(len(bias)),
        "shift": np.zeros(len(bias)),
        "grams_idf": np.array(features.grams_idf),
        "single_idf": np.array(features.single_idf),
    }
    for name, value in values.items():
        setattr(base, name, torch.tensor(value, dtype=base.own.dtype))
    pairs = [(g[0], g[1] if len(g) == 2 else 0) for g in features.grams]
    base.grams = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2)
    base.single = torch.tensor([g[0] for g in features.single], dtype=torch.long)
    base._tables = None
