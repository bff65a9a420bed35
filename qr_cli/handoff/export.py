"""The step function of a model as one file: ONNX or torch.export.

    (tokens int64 [1, S], role int64 [1], state..) -> (p, p_base, user_state [1, 3], new state..)

In ONNX the number of tokens is free: no padding, the recurrences stay nodes. torch.export would
fix that number, so ``.pt2`` is unrolled to ``--max-tokens`` and reads zeros as padding. Beside the
file, ``FILE.json`` names inputs, shapes, vocabulary, calibration and prior. Before the file gets
its name, dialogues are run through it and compared with the model.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qr_cli.engine.files import whole, write_text
from qr_cli.errors import MissingExtra, RunFailed, UsageError
from qr_cli.handoff.ask_recipe import Ask
from qr_cli.handoff.bases.dami import DAMI, TAGS, positions
from qr_cli.handoff.bases.gru import GRU
from qr_cli.handoff.bases.rssn import RSSN
from qr_cli.handoff.load import LOOKAHEAD, Model, load
from qr_cli.handoff.runner import network

TOLERANCE = 1e-5  # of p
OPSET = 17
DIALOGUES, TURNS = 3, (4, 12, 60)  # that are compared; the last is longer than any window
UNKNOWABLE = {
    "lr": "base lr is no graph: use its model.safetensors, which is a table",
    "bert": "a text encoder is exported by its own tools, and its tokeniser with it",
}
Record = dict[str, Any]


class StepFunction(nn.Module):
    """The step of one session.

    Args:
        net: a `CEM` around a neural base.
        slope: of the calibration.
        offset: of the calibration.
        padded: whether zeros among the tokens are padding (and the recurrence is unrolled).
    """

    def __init__(self, net: Any, slope: float, offset: float, *, padded: bool) -> None:
        super().__init__()
        self.net, self.slope, self.offset, self.padded = net, slope, offset, padded
        self.names = list(net.start(1))

    def forward(self, tokens: Tensor, role: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Return p, p_base, user state and the new state."""
        x = encode_one(self.net.base, tokens, role, padded=self.padded)
        scores, new = self.net.step(x, role, dict(zip(self.names, state, strict=True)))
        p = torch.sigmoid(self.slope * scores.odds + self.offset)
        user = scores.base.new_full((1, 3), 1 / 3) if scores.state is None else scores.state
        return (p, torch.sigmoid(scores.base), user, *(new[name] for name in self.names))


def export(recipe: Ask) -> Record:
    """Write the file and what describes it; return a record.

    Raises:
        UsageError: the model has no step function, or the file is there.
        MissingExtra: the ONNX packages are not installed.
        RunFailed: the file does not give the model's numbers; it is not kept.
    """
    model = load(recipe.input.checkpoint)
    target = Path(str(recipe.look.export))
    _check(model, target, recipe.look.overwrite)
    slope, offset = _linear(model)
    net, unrolled = network(model), target.suffix == ".pt2"
    step = StepFunction(net, slope, offset, padded=unrolled).eval()
    width = recipe.look.max_tokens
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole(target) as hidden:
        run = (_to_pt2 if unrolled else _to_onnx)(step, hidden, width)
        worst = _compare(model, run, width if unrolled else None)
        if worst > TOLERANCE:
            raise RunFailed(f"{target.name} differs from the model by {worst:.1e}; it is not kept")
    about = _describe(model, step, width if unrolled else None)
    write_text(target.with_name(target.name + ".json"), json.dumps(about, indent=1) + "\n")
    return {
        "event": "export", "file": str(target), "about": f"{target}.json",
        "max_difference": float(f"{worst:.3g}"), "bytes": target.stat().st_size,
    }  # fmt: skip


def encode_one(base: Any, tokens: Tensor, role: Tensor, *, padded: bool) -> Tensor:
    """Return the vector of one utterance (1, X) from plain operators.

    Raises:
        UsageError: the base is none of ours.
    """
    real = tokens != 0 if padded else torch.ones_like(tokens, dtype=torch.bool)
    recur = _unrolled if padded else _node
    if isinstance(base, GRU):
        outputs, _ = recur(base.words, base.embedding(tokens), real)
        sentence = _pooled(base.attention(outputs), outputs, real)
        return torch.cat([sentence, base.role(role)], dim=-1)
    if isinstance(base, RSSN):
        outputs, final = recur(base.words, base.embedding(tokens), real)
        return torch.cat([_pooled(base.attention(outputs), outputs, real), final], dim=-1)
    if isinstance(base, DAMI):
        words = base.embedding(tokens)
        place = torch.arange(tokens.shape[1], dtype=words.dtype)
        tags = words.new_zeros(1, tokens.shape[1], TAGS)
        x = torch.cat([words, positions(place, words.shape[2])[None], tags], dim=-1)
        outputs, final = recur(base.words, x, real)
        common = 1 - base.frequency[tokens]
        score = [
            (torch.tanh(part.inner(x)) * common[..., None]) @ part.outer
            for part in (base.customer, base.agent)
        ]
        chosen = torch.where((role == 1)[:, None], score[0], torch.relu(score[1]))
        return torch.cat([_pooled(chosen, outputs, real), final, words.new_zeros(1, 1)], dim=-1)
    raise UsageError(f"{type(base).__name__} has no export; only gru, rssn and dami have")


def _pooled(score: Tensor, outputs: Tensor, real: Tensor) -> Tensor:
    weight = torch.softmax(score.masked_fill(~real, -torch.inf), dim=1)
    return (weight[..., None] * outputs).sum(1)


def _node(rnn: nn.Module, x: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    outputs, final = rnn(x)
    states = final[0] if isinstance(final, tuple) else final
    return outputs, torch.cat([states[0], states[1]], dim=-1)


def _unrolled(rnn: Any, x: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Run a bidirectional recurrence step by step, standing still at padding."""
    sides, finals = [], []
    for end in ("", "_reverse"):
        wi, wh = getattr(rnn, f"weight_ih_l0{end}"), getattr(rnn, f"weight_hh_l0{end}")
        bi, bh = getattr(rnn, f"bias_ih_l0{end}"), getattr(rnn, f"bias_hh_l0{end}")
        h = c = x.new_zeros(1, wh.shape[1])
        gates, kept = x @ wi.t() + bi, {}
        order = range(x.shape[1]) if not end else range(x.shape[1] - 1, -1, -1)
        for t in order:
            new, cell = _cell(gates[:, t], h @ wh.t() + bh, h, c, isinstance(rnn, nn.GRU))
            go = real[:, t, None]
            h, c = torch.where(go, new, h), torch.where(go, cell, c)
            kept[t] = h
        sides.append(torch.stack([kept[t] for t in range(x.shape[1])], dim=1))
        finals.append(h)
    return torch.cat(sides, dim=-1), torch.cat(finals, dim=-1)


def _cell(gate: Tensor, own: Tensor, h: Tensor, c: Tensor, gru: bool) -> tuple[Tensor, Tensor]:
    if gru:
        r, z, n = gate.chunk(3, dim=1)
        hr, hz, hn = own.chunk(3, dim=1)
        z, n = torch.sigmoid(z + hz), torch.tanh(n + torch.sigmoid(r + hr) * hn)
        return (1 - z) * n + z * h, c
    i, f, g, o = (gate + own).chunk(4, dim=1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


Run = Callable[[np.ndarray, int, Sequence[np.ndarray]], list[np.ndarray]]


def _to_onnx(step: StepFunction, file: Path, width: int) -> Run:
    """Write ONNX and return what runs it."""
    try:
        import onnx  # noqa: F401
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "onnx", "onnx") from error
    inputs = _example(step, 5)
    names = ["tokens", "role", *step.names]
    with _quiet():
        torch.onnx.export(
            step, inputs, str(file), dynamo=False, opset_version=OPSET, input_names=names,
            output_names=["p", "p_base", "user_state", *(f"new_{n}" for n in step.names)],
            dynamic_axes={"tokens": {1: "S"}},
        )  # fmt: skip
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    taken = {value.name for value in session.get_inputs()}

    def run(tokens: np.ndarray, role: int, state: Sequence[np.ndarray]) -> list[np.ndarray]:
        feed = {
            "tokens": tokens,
            "role": np.array([role]),
            **dict(zip(names[2:], state, strict=True)),
        }
        return session.run(None, {k: v for k, v in feed.items() if k in taken})

    return run


def _to_pt2(step: StepFunction, file: Path, width: int) -> Run:
    """Write a torch.export archive and return what runs it."""
    with _quiet():
        program = torch.export.export(step, _example(step, width), strict=False)
        held = io.BytesIO()  # torch's writer of files ends the process on a full disk
        torch.export.save(program, held)
        file.write_bytes(held.getbuffer())
        loaded: Any = torch.export.load(file).module()

    @torch.no_grad()
    def run(tokens: np.ndarray, role: int, state: Sequence[np.ndarray]) -> list[np.ndarray]:
        parts = [torch.from_numpy(tokens), torch.tensor([role]), *map(torch.from_numpy, state)]
        return [part.numpy() for part in loaded(*parts)]

    return run


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' advice to their developers off the terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _example(step: StepFunction, width: int) -> tuple[Tensor, ...]:
    tokens = torch.ones(1, width, dtype=torch.long)
    return (tokens, torch.ones(1, dtype=torch.long), *step.net.start(1).values())


def _compare(model: Model, run: Run, width: int | None) -> float:
    """Return the largest difference of p over some dialogues of random ids."""
    rng, runner = np.random.RandomState(0), model.runner
    size, worst = model.card["arguments"]["vocabulary"], 0.0
    longest, start = min(width or 12, 12), list(network(model).start(1).values())
    for turns in TURNS[:DIALOGUES]:
        own = runner.start(1)
        state = [v.numpy() for v in start]
        for _ in range(turns):
            ids, role = rng.randint(1, size, rng.randint(1, longest + 1)), int(rng.randint(2))
            found, own = runner.step(runner.encode([ids.tolist()], [role]), np.array([role]), own)
            padded = ids if width is None else np.pad(ids, (0, width - len(ids)))
            p, _, _, *state = run(padded[None].astype(np.int64), role, state)
            worst = max(worst, float(np.abs(p - model.probability(found["odds"])).max()))
    return worst


def _check(model: Model, target: Path, overwrite: bool) -> None:
    base = model.card["base"]
    if model.card.get("lookahead") == "released":
        raise UsageError(LOOKAHEAD, hint="train with --lookahead none")
    if base in UNKNOWABLE:
        raise UsageError(UNKNOWABLE[base], hint="--checkpoint of base gru, rssn or dami")
    if target.exists() and not overwrite:
        raise UsageError(f"--export: {target} exists", hint="--overwrite replaces it")


def _linear(model: Model) -> tuple[float, float]:
    """Return slope and offset of the calibration."""
    found = model.calibration
    if found is None:
        return 1.0, 0.0
    if found.kind == "isotonic":
        raise UsageError(
            "an isotonic calibration cannot be written into the graph",
            hint="qr eval handoff RUN --data FILE --calibrate --calibration platt",
        )
    return found.a, found.b


def _describe(model: Model, step: StepFunction, width: int | None) -> Record:
    """Return FILE.json."""
    state = step.net.start(1)
    calibration = model.calibration.to_json() if model.calibration else None
    return {
        "model": model.name,
        "card": model.card,
        "inputs": {
            "tokens": [1, width or "S"], "role": [1],
            **{name: list(value.shape) for name, value in state.items()},
        },
        "outputs": ["p", "p_base", "user_state", *(f"new_{name}" for name in state)],
        "padding": 0 if width else None,
        "role": {"customer": 1, "agent": 0},
        "vocabulary": model.encoder.vocabulary.tokens,
        "vocabulary_begins_at": 2,
        "calibration": calibration,
        "prior": list(step.net.prior),
    }  # fmt: skip
