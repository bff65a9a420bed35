"""Handoff models from their equations: loops, NumPy, float64. Slow and obvious."""

import math

import numpy as np


def arrays(module):
    return {k: v.detach().double().numpy() for k, v in module.state_dict().items()}


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, dtype=float)))


def softmax(x):
    e = np.exp(np.asarray(x) - np.max(x))
    return e / e.sum()


def relu(x):
    return np.maximum(x, 0)


def layer_norm(x, w, name, eps=1e-5):
    return (x - x.mean()) / math.sqrt(x.var() + eps) * w[name + ".weight"] + w[name + ".bias"]


def dense(x, w, name):
    return w[name + ".weight"] @ x + w.get(name + ".bias", 0)


def gru_step(x, h, w, name, end=""):
    i = w[f"{name}.weight_ih_l0{end}"] @ x + w[f"{name}.bias_ih_l0{end}"]
    o = w[f"{name}.weight_hh_l0{end}"] @ h + w[f"{name}.bias_hh_l0{end}"]
    n = len(h)
    r, z = sigmoid(i[:n] + o[:n]), sigmoid(i[n : 2 * n] + o[n : 2 * n])
    return (1 - z) * np.tanh(i[2 * n :] + r * o[2 * n :]) + z * h


def lstm_step(x, state, w, name, end=""):
    h, c = state
    g = w[f"{name}.weight_ih_l0{end}"] @ x + w[f"{name}.bias_ih_l0{end}"]
    g = g + w[f"{name}.weight_hh_l0{end}"] @ h + w[f"{name}.bias_hh_l0{end}"]
    n = len(h)
    i, f, o = sigmoid(g[:n]), sigmoid(g[n : 2 * n]), sigmoid(g[3 * n :])
    c = f * c + i * np.tanh(g[2 * n : 3 * n])
    return o * np.tanh(c), c


def both_ways(words, w, name, kind, hidden):
    """Return outputs of each token and the final states of the two directions."""
    sides, finals = [], []
    for end in ("", "_reverse"):
        order = range(len(words)) if not end else range(len(words) - 1, -1, -1)
        state = np.zeros(hidden) if kind == "gru" else (np.zeros(hidden), np.zeros(hidden))
        out = [None] * len(words)
        for t in order:
            step = gru_step if kind == "gru" else lstm_step
            state = step(words[t], state, w, name, end)
            out[t] = state if kind == "gru" else state[0]
        sides.append(out)
        finals.append(state if kind == "gru" else state[0])
    return [np.concatenate(pair) for pair in zip(*sides, strict=True)], np.concatenate(finals)


def token_score(o, w, name):
    inner = np.tanh(w[f"{name}.inner.weight"] @ o + w[f"{name}.inner.bias"])
    return float(w[f"{name}.outer.weight"][0] @ inner + w.get(f"{name}.outer.bias", np.zeros(1))[0])


def gru(sentences, roles, w):
    """Return log-odds and contexts of base gru."""
    hidden = w["turns.weight_hh_l0"].shape[1]
    h, odds, contexts = np.zeros(hidden), [], []
    for sentence, role in zip(sentences, roles, strict=True):
        words = [w["embedding.weight"][i] for i in sentence]
        out, _ = both_ways(words, w, "words", "gru", hidden)
        a = softmax([token_score(o, w, "attention") for o in out])
        x = np.concatenate(
            [sum(p * o for p, o in zip(a, out, strict=True)), w["role.weight"][role]]
        )
        h = gru_step(x, h, w, "turns")
        contexts.append(h)
        odds.append(dense(h, w, "head")[0])
    return np.array(odds), np.array(contexts)


def rssn(sentences, roles, w, window=50, heads=4):
    """Return log-odds, user states and their weights of base rssn."""
    cs, ms, ss, keys, values, shared_s = [], [], [], [], [], []
    state = (np.zeros(128), np.zeros(128))
    odds, local, weight = [], [], []
    for t, sentence in enumerate(sentences):
        out, final = both_ways(
            [w["embedding.weight"][i] for i in sentence], w, "words", "lstm", 128
        )
        a = softmax([token_score(o, w, "attention") for o in out])
        c = np.concatenate([sum(p * o for p, o in zip(a, out, strict=True)), final])
        lags = [c @ cs[t - k] if t - k >= 0 else 0.0 for k in range(1, window + 1)]
        cs.append(c)
        r = np.concatenate([c, lags])
        ms.append(relu(dense(r, w, "to_m")))
        ss.append(relu(dense(r, w, "to_s")))
        seen = [j for j in range(t + 1) if t - j < window]
        customers = [j for j in seen if roles[j] == 1]
        found = np.zeros(256)
        if customers:
            q = softmax([ms[t] @ ss[j] for j in customers])
            found = sum(p * ss[j] for p, j in zip(q, customers, strict=True))
        m2 = relu(dense(np.concatenate([found, ms[t]]), w, "share"))
        state = lstm_step(m2, state, w, "turns")
        o = dense(state[0], w, "head")
        odds.append(o[1] - o[0])
        p = softmax([ss[t] @ ms[j] for j in seen])
        y = layer_norm(ss[t] + sum(v * ms[j] for v, j in zip(p, seen, strict=True)), w, "norm")
        shared_s.append(y)
        keys.append(dense(y, w, "block.key"))
        values.append(dense(y, w, "block.value"))
        query, parts = dense(y, w, "block.query"), []
        for head in range(heads):
            cut = slice(64 * head, 64 * head + 64)
            a = softmax([query[cut] @ keys[j][cut] / 8 for j in seen])
            parts.append(sum(v * values[j][cut] for v, j in zip(a, seen, strict=True)))
        y = layer_norm(y + np.concatenate(parts), w, "block.norm")
        f = layer_norm(y + dense(relu(dense(y, w, "block.widen")), w, "block.narrow"), w,
                       "block.last_norm")  # fmt: skip
        local.append(softmax(dense(f, w, "local")))
        weight.append(float(np.clip(token_score(f, w, "weight"), -5, 5)))
    return np.array(odds), np.array(local), np.array(weight)


def dami(sentences, roles, w, window=30, tags=52):
    """Return log-odds of base dami, for data without tags or sentiment scores."""
    width = w["embedding.weight"].shape[1]
    cs, vs, odds = [], [], []
    state = (np.zeros(128), np.zeros(128))
    for t, (sentence, role) in enumerate(zip(sentences, roles, strict=True)):
        tokens = []
        for place, i in enumerate(sentence):
            angle = [place / 10000 ** ((k - k % 2) / width) for k in range(width)]
            wave = [math.sin(a) if k % 2 == 0 else math.cos(a) for k, a in enumerate(angle)]
            tokens.append(np.concatenate([w["embedding.weight"][i], wave, np.zeros(tags)]))
        out, final = both_ways(tokens, w, "words", "lstm", 128)
        name = "customer" if role == 1 else "agent"
        score = [
            w[f"{name}.outer"] @ (np.tanh(dense(x, w, f"{name}.inner")) * (1 - w["frequency"][i]))
            for x, i in zip(tokens, sentence, strict=True)
        ]
        a = softmax(score if role == 1 else relu(np.array(score)))
        c = np.concatenate([sum(p * o for p, o in zip(a, out, strict=True)), final, [0.0]])
        lags = [c @ cs[t - k] if t - k >= 0 else 0.0 for k in range(1, window + 1)]
        cs.append(c)
        state = lstm_step(relu(dense(np.concatenate([c, lags]), w, "match")), state, w, "turns")
        vs.append(state[0])
        seen = [j for j in range(t + 1) if t - j < window]
        p = softmax([vs[t] @ w["relate"] @ vs[j] for j in seen])
        mean = sum(v * vs[j] for v, j in zip(p, seen, strict=True))
        g = relu(dense(np.concatenate([mean, vs[t]]), w, "infer"))
        o = dense(g, w, "head")
        odds.append(o[1] - o[0])
    return np.array(odds)


FILL = float(-(2**32) + 1)  # what the published code writes where it masks


def released_rssn(sentences, roles, w, *, gate=False, turns=50, tokens=64, heads=4):
    """Return log-odds, user states, weights (and p~ with the gate) as RSSN's code computes them.

    All `turns` x `tokens` slots take part: empty ones hold zeros; masks fill rows, not columns.
    """
    xs = []
    for sentence in sentences:
        words = [w["embedding.weight"][i] for i in sentence]
        out, final = both_ways(words, w, "words", "lstm", 128)
        out = [*out, *[np.zeros(256)] * (tokens - len(out))]
        a = softmax([token_score(o, w, "attention") for o in out])
        xs.append(np.concatenate([sum(p * o for p, o in zip(a, out, strict=True)), final]))
    xs += [np.zeros(512)] * (turns - len(xs))
    if gate:
        xs = [np.concatenate([np.tanh(dense(x, w, "inputs")), x]) for x in xs]
    roles = [*roles, *[None] * (turns - len(roles))]
    rows = []
    for t, x in enumerate(xs):
        lags = [x @ xs[j] if j < t else 0.0 for j in range(turns)]
        rows.append(np.concatenate([x, lags]))
    ms = [relu(dense(r, w, "to_m")) for r in rows]
    ss = [relu(dense(r, w, "to_s")) for r in rows]
    place = softmax(np.arange(turns))
    state, both, ys = (np.zeros(128), np.zeros(128)), [], []
    for t in range(turns):
        p = softmax([ms[t] @ ss[j] if roles[t] == 1 else FILL for j in range(turns)])
        found = sum(v * ss[j] for j, v in enumerate(p))
        state = lstm_step(
            relu(dense(np.concatenate([found, ms[t]]), w, "share")), state, w, "turns"
        )
        both.append(dense(state[0], w, "head"))
        real = roles[t] is not None
        p = softmax([ss[t] @ ms[j] * place[t] if real else FILL for j in range(turns)])
        other = sum(v * ms[j] for j, v in enumerate(p))
        ys.append(layer_norm(ss[t] + other, w, "norm", 1e-8))
    keys = [dense(y, w, "block.key") for y in ys]
    values = [dense(y, w, "block.value") for y in ys]
    local, weight = [], []
    for t in range(turns):
        query, parts = dense(ys[t], w, "block.query"), []
        for head in range(heads):
            cut = slice(64 * head, 64 * head + 64)
            a = softmax([query[cut] @ key[cut] / 8 for key in keys])
            parts.append(sum(v * value[cut] for v, value in zip(a, values, strict=True)))
        y = layer_norm(ys[t] + np.concatenate(parts), w, "block.norm", 1e-8)
        f = layer_norm(y + dense(relu(dense(y, w, "block.widen")), w, "block.narrow"), w,
                       "block.last_norm", 1e-8)  # fmt: skip
        local.append(softmax(dense(f, w, "local")))
        weight.append(token_score(f, w, "weight"))
    n = len(sentences)
    odds = np.array([o[1] - o[0] for o in both[:n]])
    if not gate:
        return odds, np.array(local[:n]), np.array(weight[:n])
    share = softmax([e if r == 1 else FILL for e, r in zip(weight, roles, strict=True)])
    gated = [
        softmax(both[t]) * share[t] * local[t][[0, 2]] if roles[t] == 1 else np.zeros(2)
        for t in range(n)
    ]
    return odds, np.array(local[:n]), np.array(weight[:n]), np.array(gated)


def released_dami(sentences, roles, w, *, turns=30, tokens=50, tags=52):
    """Return log-odds as DAMI's code computes them, for data without tags or sentiment scores."""
    width = w["embedding.weight"].shape[1]

    def score(x, frequency, name):
        return w[f"{name}.outer"] @ (np.tanh(dense(x, w, f"{name}.inner")) * (1 - frequency))

    xs = []
    for sentence, role in zip(sentences, roles, strict=True):
        inputs = []
        for place, i in enumerate(sentence):
            angle = [place / 10000 ** ((k - k % 2) / width) for k in range(width)]
            wave = [math.sin(a) if k % 2 == 0 else math.cos(a) for k, a in enumerate(angle)]
            inputs.append(np.concatenate([w["embedding.weight"][i], wave, np.zeros(tags)]))
        out, final = both_ways(inputs, w, "words", "lstm", 128)
        name = "customer" if role == 1 else "agent"
        s = [score(x, w["frequency"][i], name) for x, i in zip(inputs, sentence, strict=True)]
        blank = np.zeros(len(inputs[0]))
        s += [score(blank, 0.0, name)] * (tokens - len(s))
        own = softmax(s if role == 1 else relu(np.array(s)))
        other = softmax([FILL] * tokens)  # the other role's attention is masked everywhere
        out = [*out, *[np.zeros(256)] * (tokens - len(out))]
        c = sum(p * o for p, o in zip(own + other, out, strict=True))
        xs.append(np.concatenate([c, final, [0.0]]))
    xs += [np.zeros(513)] * (turns - len(xs))
    state, vs = (np.zeros(128), np.zeros(128)), []
    for t, x in enumerate(xs):
        lags = [x @ xs[j] if j < t else 0.0 for j in range(turns)]
        state = lstm_step(relu(dense(np.concatenate([x, lags]), w, "match")), state, w, "turns")
        vs.append(state[0])
    odds = []
    for t in range(len(sentences)):
        row = [vs[t] @ w["relate"] @ vs[j] if j <= t else 0.0 for j in range(turns)]
        mean = sum(p * v for p, v in zip(softmax(row), vs, strict=True))
        g = relu(dense(np.concatenate([mean, vs[t]]), w, "infer"))
        o = dense(g, w, "head")
        odds.append(o[1] - o[0])
    return np.array(odds)


def cem(d, local, weight, roles, *, prior, kappa, beta):
    """Return corrected log-odds, running states and n of one dialogue."""
    mass, total = np.zeros(3), 0.0
    odds, states, n_all = [], [], []
    low = math.log(prior[0] / (1 - prior[0]))
    for t, role in enumerate(roles):
        if role == 1:
            mass = mass + math.exp(weight[t]) * np.asarray(local[t])
            total += math.exp(weight[t])
        u = (mass + kappa * np.asarray(prior)) / (total + kappa)
        current = local[t] if role == 1 else u
        n = min(max((current[0] + u[0]) / 2, 1e-4), 1 - 1e-4)
        odds.append(d[t] + beta * (math.log(n / (1 - n)) - low))
        states.append(u)
        n_all.append(n)
    return np.array(odds), np.array(states), np.array(n_all)


def gt(gold, predicted, t, lam=0.0):
    """Return GT-t of one dialogue."""
    q = [i for i, y in enumerate(gold) if y]
    p = [i for i, y in enumerate(predicted) if y]
    if not q and not p:
        return 1.0
    if not q or not p:
        return 0.0
    total = 0.0
    for i in p:
        best = 0.0
        for j in q:
            sign = (i > j) - (i < j)
            best = max(best, math.exp(-((i - j) ** 2) / ((1 - lam * sign) * 2 * (t + 1e-7) ** 2)))
        total += best
    return total / len(p)
