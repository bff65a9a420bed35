"""A trained handoff model from its folder alone, ready to decide.

Base `gru` runs in NumPy and imports no torch; the others run their network.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from qr_cli.engine.damage import damaged
from qr_cli.engine.run import inside
from qr_cli.errors import MissingExtra, UsageError, WeightsError
from qr_cli.handoff.calibrate import Calibration, sigmoid
from qr_cli.handoff.mhch import Dialogue, parse_dialogue
from qr_cli.handoff.tokens import Encoder, Vocabulary

if TYPE_CHECKING:
    from qr_cli.handoff.decide import Policy
    from qr_cli.handoff.stream import Session

EMBEDDED = {"embedded": "dbdc3-en", "dbdc3-en": "dbdc3-en"}
BATCH = 64  # dialogues that `predict` steps together
LOOKAHEAD = "scores depend on later messages (trained with --lookahead released)"
Array = np.ndarray


class Runner(Protocol):
    """What scores turns: `fast.Folded`, or `runner.Network` around torch."""

    def encode(self, sentences: Sequence[Any], roles: Sequence[int], extras: Any = None) -> Array:
        """Return utterance vectors (N, X)."""

    def start(self, count: int) -> dict[str, Array]:
        """Return the state of conversations that have not begun."""

    def step(self, x: Array, role: Array, state: dict[str, Array]) -> Any:
        """Return the scores of one more turn of N sessions, and their new states."""


@dataclass
class Scored:
    """Scores of a dialogue's turns, arrays of length T (states (T, 3)); see `cem.Scores`."""

    base: Array
    odds: Array
    local: Array | None = None
    state: Array | None = None
    needed: Array | None = None


@dataclass
class Model:
    """A trained model.

    Attributes:
        folder: where its weights are.
        home: where vocabulary, calibration and simulator are.
        card: model.json.
        encoder: from text to token ids.
        calibration: fitted map and thresholds, or None.
    """

    folder: Path
    home: Path
    card: dict[str, Any]
    encoder: Encoder
    calibration: Calibration | None
    name: str
    extra: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def runner(self) -> Runner:
        """Return what scores turns.

        Raises:
            UsageError: the model looks ahead.
            WeightsError: the weights are damaged or of another shape.
        """
        if self.card.get("lookahead") == "released":
            raise UsageError(LOOKAHEAD, hint="train with --lookahead none")
        if self.card["base"] != "gru":
            from qr_cli.handoff.runner import Network

            return Network(self)
        from qr_cli.handoff.fast import Folded

        return Folded(read_arrays(weights_file(self.folder)), self.card, self.simulator())

    def simulator(self) -> dict[str, Array] | None:
        """Return the weights of the cost simulator, if it is there."""
        path = self.home / "simulator.safetensors"
        return read_arrays(path) if path.is_file() else None

    def probability(self, odds: Any) -> Array:
        """Return calibrated probabilities of log-odds."""
        return sigmoid(odds) if self.calibration is None else self.calibration(odds)

    def scores(self, dialogues: Sequence[Dialogue]) -> list[Scored]:
        """Score whole dialogues, batched; none of their turns sees a later one."""
        runner, found = self.runner, [None] * len(dialogues)
        order = sorted(range(len(dialogues)), key=lambda i: len(dialogues[i].utterances))
        for first in range(0, len(order), BATCH):
            chosen = order[first : first + BATCH]
            for index, scored in zip(
                chosen, self._together([dialogues[i] for i in chosen], runner), strict=True
            ):
                found[index] = scored  # type: ignore[call-overload]
        return found  # type: ignore[return-value]

    def _together(self, dialogues: Sequence[Dialogue], runner: Runner) -> list[Scored]:
        place: dict[tuple[int, tuple[int, ...]], int] = {}
        rows: list[list[int]] = []
        extras: list[Any] = []
        for dialogue in dialogues:
            row = []
            for u in dialogue.utterances:
                ids = tuple(self.encoder.ids(u.text, u.tokens))
                own = _extras(u)
                key = (int(u.is_customer), ids) if own is None else (len(place), (-1,))
                if key not in place:
                    place[key] = len(place)
                    extras.append((ids, int(u.is_customer), own))
                row.append(place[key])
            rows.append(row)
        x = runner.encode(
            [ids for ids, _, _ in extras], [r for _, r, _ in extras], [e for _, _, e in extras]
        )
        turns = np.array([len(row) for row in rows])
        state, kept = runner.start(len(rows)), [[] for _ in rows]  # type: ignore[var-annotated]
        for turn in range(int(turns.max())):
            going = np.flatnonzero(turns > turn)
            at = [rows[i][turn] for i in going]
            role = np.array([extras[i][1] for i in at])
            now = {k: v[going] for k, v in state.items()}
            found, new = runner.step(x[at], role, now)
            for key, values in new.items():
                state[key][going] = values
            for column, i in enumerate(going):
                kept[i].append([None if v is None else v[column] for v in found.values()])
        return [
            Scored(*(None if c[0] is None else np.array(c) for c in zip(*steps, strict=True)))  # type: ignore[arg-type]
            for steps in kept
        ]

    def predict(self, dialogues: Sequence[Any]) -> list[Array]:
        """Return the calibrated probability of each turn, one array per dialogue.

        Args:
            dialogues: `Dialogue` objects, or what one line of JSON holds.
        """
        parsed = [d if isinstance(d, Dialogue) else parse_dialogue(d) for d in dialogues]
        return [self.probability(s.odds) for s in self.scores(parsed)]

    def session(self, policy: Policy | None = None, **settings: Any) -> Session:
        """Return a live conversation; the model is shared.

        Args:
            policy: when to transfer; default: the cost point with the settings given.
            settings: of `decide.policy`: point, threshold, cost_false, cost_miss, ...
        """
        from qr_cli.handoff.decide import policy as make
        from qr_cli.handoff.stream import Session

        return Session(self, policy or make(self.calibration, **settings))


def load(path: str | Path = "embedded", *, which: str | None = None) -> Model:
    """Return the model of a run folder, checkpoint folder or "embedded".

    Args:
        path: the folder; "embedded" is the shipped English model.
        which: "best" or "last" checkpoint of a run; default: the best where there is one.

    Raises:
        WeightsError: it is incomplete or damaged.
        MissingExtra: its tokeniser is not installed.
    """
    if str(path) in EMBEDDED and not Path(path).exists():
        folder = Path(__file__).parent / "assets" / EMBEDDED[str(path)]
    else:
        folder = Path(path)
    home, weights = folder, _checkpoint(folder, which)
    if not (home / "vocab.json").is_file() and len(weights.parents) > 1:
        home = weights.parents[1]  # of runs/name/checkpoints/epoch-0002
    card = _json(weights / "model.json")
    if card.get("task") != "handoff":
        raise WeightsError(f"{weights} is a checkpoint of {card.get('task')}, not of handoff")
    if not weights_file(weights).is_file():
        raise WeightsError(f"{weights} is incomplete: no {weights_file(weights).name}")
    try:
        encoder = _encoder(card, home)
    except KeyError as error:
        raise WeightsError(f"{weights / 'model.json'} lacks {error}") from error
    file = home / "calibration.json"
    calibration = Calibration.from_json(_json(file), str(file)) if file.is_file() else None
    return Model(weights, home, card, encoder, calibration, str(card.get("name") or home.name))


def weights_file(folder: Path) -> Path:
    """Return the weights one would use: averaged ones where the run kept them."""
    averaged = folder / "ema.safetensors"
    return averaged if averaged.is_file() else folder / "model.safetensors"


def read_arrays(path: Path) -> dict[str, Array]:
    """Read safetensors.

    Raises:
        WeightsError: they cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    with damaged(path, WeightsError, also=(SafetensorError,)):
        return {
            name: value.astype(np.float32) if value.dtype == np.float16 else value
            for name, value in load_file(path).items()
        }


def _encoder(card: dict[str, Any], home: Path) -> Encoder:
    if card["tokenizer"] == "pieces":
        try:
            from qr_cli.handoff.bases.bert import word_pieces
        except ModuleNotFoundError as error:
            raise MissingExtra("transformers", "bert") from error

        return word_pieces(card["arguments"]["encoder"], card["max_tokens"])
    vocabulary = Vocabulary.read(home / "vocab.json")
    size = card["arguments"].get("vocabulary")
    if size != len(vocabulary):
        raise WeightsError(f"{home / 'vocab.json'} has {len(vocabulary)} ids, the model {size}")
    return Encoder(card["tokenizer"], vocabulary, card["max_tokens"], card.get("user_dict"))


def _checkpoint(path: Path, which: str | None) -> Path:
    """Return the checkpoint folder of a run, or the folder itself if it is one."""
    if (path / "model.json").is_file():
        return path
    names = {"best": ["best.json"], "last": ["latest.json"], None: ["best.json", "latest.json"]}
    for name in names[which]:
        if (path / name).is_file():
            found = _json(path / name).get("checkpoint")
            if isinstance(found, str):
                return inside(path, found)
    raise WeightsError(f"{path} holds no handoff model", hint="--checkpoint RUN, or embedded")


def _json(path: Path) -> dict[str, Any]:
    with damaged(path, WeightsError):
        value = json.loads(path.read_text("utf-8"))
    if not isinstance(value, dict):
        raise WeightsError(f"{path} is damaged: it holds no keys")
    return value


def _extras(utterance: Any) -> dict[str, Any] | None:
    """Return what only some data have of an utterance."""
    if utterance.pos is None and utterance.tf is None and utterance.sentiment_score is None:
        return None
    return {"pos": utterance.pos, "tf": utterance.tf, "score": utterance.sentiment_score}
