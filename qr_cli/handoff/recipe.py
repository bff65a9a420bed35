"""The recipes of this room: training a handoff model. Imports no torch.

Defaults are those of base `gru`; those of `dami` and of the authors' code are in recipe files.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from qr_cli.engine.recipe import Loader, Optim, Run, Schedule, Section, TrainRecipe
from qr_cli.errors import near
from qr_cli.handoff.bases import HANDOFF_BASES


def check_base(name: str) -> str:
    """Return the name of a base, or raise `ValueError`."""
    if ":" not in name and name not in HANDOFF_BASES:
        raise ValueError(f"unknown base {name!r}{near(name, HANDOFF_BASES)}")
    return name


class Data(Section):
    """The dialogues."""

    data: Annotated[str | None, Field(description="Training dialogues, JSON lines.")] = None
    val: Annotated[str | None, Field(description="Validation dialogues, JSON lines.")] = None
    val_split: Annotated[
        float, Field(ge=0, lt=1, description="Share kept for validation without --val.")
    ] = 0.1
    proxy: Annotated[
        Literal["none", "negative-customer"],
        Field(description="Labels from sentiment where handoff has none:"),
    ] = "none"
    soft_labels: Annotated[bool, Field(description="Learn the annotators' share of X votes.")] = (
        False
    )
    label_roles: Annotated[
        Literal["both", "agent", "customer"], Field(description="Whose turns have labels:")
    ] = "both"
    label_base: Annotated[
        Literal["auto", "0", "1"], Field(description="What sentiment and satisfaction start at:")
    ] = "auto"


class Text(Section):
    """From text to tokens."""

    tokenizer: Annotated[
        Literal["auto", "ids", "english", "jieba", "char", "whitespace"],
        Field(description="How text is split:"),
    ] = "auto"
    user_dict: Annotated[str | None, Field(description="A word list for jieba.")] = None
    lang: Annotated[
        Literal["auto", "en", "zh"], Field(description="Language of the request rule:")
    ] = "auto"
    min_count: Annotated[int, Field(ge=1, description="Keep words seen so often in training.")] = 2
    max_turns: Annotated[
        int, Field(ge=1, description="Turns of a training dialogue that are used.")
    ] = 50
    max_tokens: Annotated[int, Field(ge=1, description="Tokens of a turn that are used.")] = 64


class Model(Section):
    """The network that reads the dialogue."""

    base: Annotated[
        str, AfterValidator(check_base), Field(description="Base: gru, lr, rssn, dami, bert, ..")
    ] = "gru"
    encoder: Annotated[
        str | None, Field(description="Folder of a Hugging Face text encoder (bert).")
    ] = None
    freeze: Annotated[bool, Field(description="Keep that encoder as it is.")] = True
    embed_dim: Annotated[int, Field(ge=1, description="Width of a word vector.")] = 200
    hidden: Annotated[int, Field(ge=1, description="Width of a context vector (gru, bert).")] = 128
    dropout: Annotated[float, Field(ge=0, lt=1, description="Dropout.")] = 0.35
    embeddings: Annotated[
        str | None, Field(description="Word vectors to start from: FILE.npy or word2vec text.")
    ] = None
    lr_c: Annotated[float, Field(gt=0, description="Inverse regularisation of lr.")] = 1.0


class Causal(Section):
    """Causal enhancement (CEM)."""

    cem: Annotated[bool, Field(description="Correct by user state, learn labour cost.")] = True
    gate: Annotated[
        Literal["corrected", "released", "off"], Field(description="What the user state does:")
    ] = "corrected"
    cost_mode: Annotated[
        Literal["simulator", "released", "off"], Field(description="What labour costs:")
    ] = "simulator"
    cost_weight: Annotated[float, Field(ge=0, description="Weight of the labour cost.")] = 0.05
    pre_epochs: Annotated[
        int, Field(ge=1, description="Epochs of the cost simulator, before the model.")
    ] = 2
    score_weight: Annotated[float, Field(ge=0, description="Weight of satisfaction.")] = 0.3
    sentiment_weight: Annotated[float, Field(ge=0, description="Weight of the sentiment loss.")] = (
        0.3
    )
    lookahead: Annotated[
        Literal["none", "released"],
        Field(description="Attention into the future, as in the authors' code:"),
    ] = "none"

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for flag, value, usual in (
            ("--gate", self.gate, "corrected"),
            ("--cost-mode", self.cost_mode, "simulator"),
        ):
            if not self.cem and value != usual:
                raise ValueError(f"{flag}: {value} belongs to --cem, and --no-cem is given")
        if self.gate == "released" and self.lookahead != "released":
            raise ValueError("--gate: released needs --lookahead released and --base rssn")
        return self


class HandoffOptim(Optim):
    """How the weights are updated."""

    optimizer: Annotated[Literal["sgd", "adam", "adamw"], Field(description="Update rule:")] = (
        "adam"
    )
    lr: Annotated[float, Field(gt=0, description="Learning rate.")] = 1.5e-3
    weight_decay: Annotated[float, Field(ge=0, description="Weight decay (L2).")] = 3e-5
    clip_norm: Annotated[float, Field(ge=0, description="Clip the gradient norm; 0: off.")] = 5.0


class HandoffSchedule(Schedule):
    """How long to train, and how the learning rate moves."""

    epochs: Annotated[int, Field(ge=1, description="Passes over the training data.")] = 6
    schedule: Annotated[
        Literal["onecycle", "cosine", "linear", "multistep", "constant"],
        Field(description="Course of the learning rate:"),
    ] = "constant"


class HandoffLoader(Loader):
    """How dialogues become batches."""

    batch_size: Annotated[int, Field(ge=1, description="Dialogues per step.")] = 8
    eval_batch_size: Annotated[int, Field(ge=1, description="Dialogues per evaluation step.")] = 32


class Decide(Section):
    """From log-odds to decisions."""

    calibration: Annotated[
        Literal["platt", "temperature", "isotonic", "none"],
        Field(description="Map to probabilities, fitted on validation data:"),
    ] = "platt"
    calibration_folds: Annotated[
        int, Field(ge=0, description="Without validation data: fit it on so many folds.")
    ] = 0


class Handoff(TrainRecipe):
    """A model that says when a human should take over."""

    task: Literal["handoff"] = "handoff"
    data: Data = Data()
    text: Text = Text()
    model: Model = Model()
    causal: Causal = Causal()
    optim: HandoffOptim = HandoffOptim()
    schedule: HandoffSchedule = HandoffSchedule()
    loader: HandoffLoader = HandoffLoader()
    decide: Decide = Decide()
    run: Run = Run(device="cpu")

    @model_validator(mode="after")
    def _bases(self) -> Self:
        base, causal = self.model.base, self.causal
        if causal.lookahead == "released" and base not in ("rssn", "dami"):
            raise ValueError(f"--lookahead: released needs --base rssn or dami, got {base}")
        slots = {"rssn": 50, "dami": 30}.get(base, 0)
        if causal.lookahead == "released" and self.text.max_turns > slots:
            raise ValueError(
                f"--max-turns: {base} with --lookahead released reads {slots} turns, "
                f"got {self.text.max_turns}"
            )
        if causal.gate == "released" and base != "rssn":
            raise ValueError(f"--gate: released needs --base rssn, got {base}")
        if base == "bert" and self.model.encoder is None:
            raise ValueError("--encoder: --base bert needs the folder of a text encoder")
        if self.model.encoder is not None and base != "bert":
            raise ValueError(f"--encoder: belongs to --base bert, got {base}")
        if base == "lr" and causal.cost_mode == "released":
            raise ValueError("--cost-mode: released needs a neural base, got lr")
        return self

    @property
    def system(self) -> str:
        """Return what the model is, in short: ``gru+cem``."""
        causal = self.causal
        if not causal.cem:
            return self.model.base
        parts = [
            "" if causal.gate == "corrected" else f"gate={causal.gate}",
            "" if causal.cost_mode == "simulator" else f"cost={causal.cost_mode}",
        ]
        inside = ",".join(part for part in parts if part)
        return f"{self.model.base}+cem" + (f"({inside})" if inside else "")

    @property
    def run_name(self) -> str:
        """Return the run folder's name: ``--name``, or the system and the seed."""
        name = "".join(c if c.isalnum() or c in "._" else "-" for c in self.system).strip("-")
        return self.run.name or f"{name}-s{self.run.seed}"
