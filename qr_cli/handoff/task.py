"""The training task of this room: learn when a human should take over."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import Accelerator

from qr_cli.engine import checkpoint
from qr_cli.engine.files import whole, write_text
from qr_cli.engine.loader import Fetch, Loader
from qr_cli.engine.optim import build_optimizer, build_schedule
from qr_cli.engine.run import RunFolder
from qr_cli.engine.task import Best, Models, Parts, Phase, Record, Update
from qr_cli.engine.tensors import save_tensors
from qr_cli.errors import DataError, UsageError
from qr_cli.handoff.build import base_arguments, build, odds_of, predict
from qr_cli.handoff.cem import UNIFORM
from qr_cli.handoff.corpus import Batch, Corpus
from qr_cli.handoff.folds import FoldPhase
from qr_cli.handoff.losses import cost_loss, main_loss, score_loss, sentiment_loss
from qr_cli.handoff.mhch import Dialogue, digest, fold_of, read_jsonl
from qr_cli.handoff.operating import figures_of, fit_on
from qr_cli.handoff.recipe import Handoff
from qr_cli.handoff.released import COST, gated_loss, released_cost
from qr_cli.handoff.simulator import SimulatorPhase
from qr_cli.handoff.tokens import Encoder, Vocabulary, choose

if TYPE_CHECKING:
    from qr_cli.engine.report import Plot

log = logging.getLogger(__name__)


class HandoffTask:
    """Learn the log-odds of a transfer at each turn.

    Args:
        recipe: what to train. Reads the data at once.

    Raises:
        DataError: the data cannot be used.
        UsageError: no data are named.
    """

    name = "handoff"
    unit = "dialogues"
    best = Best("val_macro_f1", "max")
    held: tuple[list[np.ndarray], Corpus] | None = None  # unseen dialogues, for plots
    unseen: list[Any] | None = None  # scores of every training dialogue by a model of its fold

    def __init__(self, recipe: Handoff) -> None:
        self.recipe = recipe
        train, val = self._read()
        self.encoder = self._encoder(train)
        keep = recipe.text.max_turns
        self.corpus = Corpus(train, self.encoder, max_turns=keep)
        cut = keep if recipe.causal.lookahead == "released" else None  # it reads no more
        self.val = Corpus(val, self.encoder, max_turns=cut) if val else None
        for corpus in (self.corpus, self.val):
            if corpus is not None and recipe.data.label_roles != "both":
                corpus.mask_role("customer" if recipe.data.label_roles == "agent" else "agent")
        self._check_labels()
        self.card = self._card(train)
        self.model = self.fresh_model()

    # the loop's ----------------------------------------------------------------------------

    def phases(self, run: RunFolder) -> Iterator[Phase]:
        """Write vocab.json, then train the cost simulator where one is asked for."""
        if run.writes:
            write_text(run.path / "vocab.json", self.encoder.vocabulary.to_json())
        if self.val is None and self.recipe.decide.calibration_folds:
            yield from self._folds()
        if self._simulates():
            yield from self._simulator(run)

    def _folds(self) -> Iterator[Phase]:
        """Train a model per fold and keep what it says of the dialogues it has not seen."""
        folds = self.recipe.decide.calibration_folds
        found: list[Any] = [None] * len(self.corpus)
        for number in range(folds):
            phase = FoldPhase(self, number, folds)
            yield phase
            for index, scores in zip(phase.held, phase.scores(), strict=True):
                found[index] = scores
        self.unseen = found

    def _simulator(self, run: RunFolder) -> Iterator[Phase]:
        """Train the cost simulator and keep its scores as plain numbers."""
        size = len(self.encoder.vocabulary)
        if self.recipe.model.base == "bert":  # ids of the encoder's own tokeniser
            size = int(self.corpus.tokens.max()) + 1
        epochs, seed = self.recipe.causal.pre_epochs, self.recipe.run.seed
        phase = SimulatorPhase(self.corpus, size, epochs=epochs, seed=seed)
        yield phase
        self.corpus.needed = phase.scores()
        self.corpus.needed[np.isnan(self.corpus.handoff)] = np.nan
        if run.writes:
            state = {k: v.contiguous() for k, v in phase.pair.state_dict().items()}
            with whole(run.path / "simulator.safetensors") as hidden:
                save_tensors(state, hidden)

    def _simulates(self) -> bool:
        causal = self.recipe.causal
        wanted = causal.cem and causal.cost_mode == "simulator"
        return wanted and self.recipe.model.base != "lr"

    def parts(self, *, rank: int, world: int) -> Parts:
        """Return the model, its optimiser, schedule and batches; `lr` comes fitted."""
        recipe = self.recipe
        if recipe.model.base == "lr":
            from qr_cli.handoff.lr_fit import fit_model

            fit_model(self.model, self.corpus, recipe.causal, c=recipe.model.lr_c)
            return Parts({"main": self.model}, {}, None)
        return self.trained(
            self.model,
            lambda indices, epoch: self.corpus.batch(indices),
            len(self.corpus),
            rank=rank,
            world=world,
        )

    def trained(self, model: Any, fetch: Fetch, size: int, *, rank: int, world: int) -> Parts:
        """Return what trains a model on the batches of `fetch`."""
        recipe, schedule = self.recipe, self.recipe.schedule
        loader = Loader(
            fetch,
            size,
            seed=recipe.run.seed,
            rank=rank,
            world=world,
            **recipe.loader.model_dump(exclude={"eval_batch_size"}),
        )
        optimizer, steps = self._optimizer(model), schedule.epochs * len(loader)
        scheduler = build_schedule(
            schedule.schedule,
            optimizer,
            total_steps=min(schedule.max_steps or steps, steps),
            epoch_steps=len(loader),
            **schedule.model_dump(include={"milestones", "gamma", "warmup_epochs"}),
        )
        return Parts({"main": model}, {"main": optimizer}, loader, {"main": scheduler})

    def step(self, models: Models, batch: Batch) -> Iterator[Update]:
        """Yield the one update of a batch of dialogues."""
        causal = self.recipe.causal
        scores = models["main"](batch)
        metrics = {"loss_main": self.main(scores, batch)}
        loss = metrics["loss_main"]
        if scores.local is not None:
            metrics["loss_score"] = score_loss(scores, batch)
            loss = loss + causal.score_weight * metrics["loss_score"]
        if causal.cem:
            metrics["loss_senti"] = sentiment_loss(scores, batch)
            loss = loss + causal.sentiment_weight * metrics["loss_senti"]
            if causal.cost_mode == "simulator" and causal.cost_weight:
                metrics["loss_cost"] = cost_loss(scores.odds, batch["needed"])
                loss = loss + causal.cost_weight * metrics["loss_cost"]
            elif causal.cost_mode == "released":
                metrics["loss_cost"] = released_cost(scores)
                loss = loss + COST * metrics["loss_cost"]
        yield Update(loss, {name: value.detach() for name, value in metrics.items()})

    def main(self, scores: Any, batch: Batch) -> Any:
        """Return the loss of the labels."""
        if scores.gated is not None:
            return gated_loss(scores, batch)
        return main_loss(scores.odds, batch["handoff"])

    def evaluate(self, models: Models, accelerator: Accelerator) -> Iterator[Record]:
        """Yield the figures on the validation dialogues, at their own best threshold."""
        record: Record = {}
        model: Any = models["main"]
        if hasattr(model, "raw_beta"):
            record["beta"] = float(model.beta)
        if self.val is None:
            yield record | {"val_macro_f1": math.nan}
            return
        scores = predict(model, self.val, batch_size=self.recipe.loader.eval_batch_size)
        yield record | figures_of(odds_of(scores), self.val)

    def describe(self) -> Record:
        """Return model.json: enough to build the network and to use it."""
        if self.recipe.model.base == "lr":  # what could be fitted is known by now
            model: Any = self.model
            self.card["arguments"]["states"] = model.base.has_state
            self.card["cem"]["gate"] = model.gate
        return self.card

    def result(self, epochs: Sequence[Record]) -> Record:
        """Return last and best figures; they are of the validation dialogues."""
        if not epochs or self.val is None:
            return {}
        kept = ("val_f1", "val_macro_f1", "val_auc", "val_gt1")
        best = max(epochs, key=lambda r: _number(r.get(self.best.metric)))
        last = epochs[-1]
        return {
            **{f"last_{k}": last.get(k) for k in kept},
            **{f"best_{k}": best.get(k) for k in kept},
            "best_epoch": best["epoch"],
            "best_selected_on": "val",
        }

    def lead(self) -> str:
        """Return what the run is, in a sentence."""
        labels = ~np.isnan(self.corpus.handoff)
        positives = int((self.corpus.handoff[labels] >= 0.5).sum())
        proxy = "" if self.recipe.data.proxy == "none" else " Trained on proxy labels."
        return (
            f"{self.recipe.system} on {len(self.corpus):,} dialogues: {labels.sum():,} labelled "
            f"turns, {positives:,} of them transfers.{proxy}"
        )

    def plots(self, records: Sequence[Record]) -> list[Plot]:
        """Return losses, figures by epoch, and what the best model does on validation data."""
        from qr_cli.handoff.plots import training_plots

        return training_plots(records, self.held)

    def finish(self, run: RunFolder) -> None:
        """Calibrate the best model on the validation dialogues: calibration.json."""
        if not run.writes:
            return
        run.facts(
            system=self.recipe.system,
            labels="proxy" if self.recipe.data.proxy != "none" else "as in the data",
        )
        corpus, scores = self.val, self.unseen
        if corpus is not None:
            best = (run.path / "best.json").exists()
            folder = checkpoint.resolve(run.path, "best" if best else "last")
            self.model.load_state_dict(checkpoint.read_weights(folder))
            scores = predict(self.model, corpus, batch_size=self.recipe.loader.eval_batch_size)
        elif scores is not None:
            corpus = self.corpus
        else:
            log.info("no validation data: no calibration; qr eval handoff RUN --calibrate fits it")
            return
        self.held = (odds_of(scores), corpus)
        known = corpus.handoff[~np.isnan(corpus.handoff)]
        if len(set(known >= 0.5)) < 2:
            log.warning("the validation dialogues have one class only: no calibration")
            return
        found = fit_on(self.recipe.decide.calibration, scores, corpus)
        write_text(run.path / "calibration.json", json.dumps(found.to_json(), indent=1) + "\n")

    # parts of it -----------------------------------------------------------------------------

    def _read(self) -> tuple[list[Dialogue], list[Dialogue]]:
        data = self.recipe.data
        if data.data is None:
            raise UsageError("--data: no dialogues are named", hint="qr train handoff --data FILE")

        def read(path: str) -> list[Dialogue]:
            return read_jsonl(
                path,
                label_base=data.label_base,
                soft_labels=data.soft_labels,
                proxy=data.proxy,
                warn=log.warning,
            )

        train = read(data.data)
        if data.val is not None:
            val = read(data.val)
            seen = {d.token_key() for d in val}
            kept = [d for d in train if d.token_key() not in seen]
            if len(kept) < len(train):
                log.warning(
                    "%d training dialogues stand in %s too and are left out",
                    len(train) - len(kept), data.val,
                )  # fmt: skip
            return kept, val
        if not data.val_split:
            return train, []
        parts = max(2, round(1 / data.val_split))
        if len(train) < parts:
            raise DataError(
                f"{data.data} has {len(train)} dialogues, of which {data.val_split:g} cannot be "
                "kept for validation",
                hint="--val FILE, or --val-split 0",
            )
        fold = fold_of(len(train), parts)
        return (
            [d for d, f in zip(train, fold, strict=True) if f],
            [d for d, f in zip(train, fold, strict=True) if not f],
        )

    def _encoder(self, train: Sequence[Dialogue]) -> Encoder:
        text = self.recipe.text
        if self.recipe.model.base == "bert":
            from qr_cli.handoff.bases.bert import word_pieces

            return word_pieces(str(self.recipe.model.encoder), text.max_tokens)
        name = choose(train) if text.tokenizer == "auto" else text.tokenizer
        encoder = Encoder(name, Vocabulary([]), text.max_tokens, text.user_dict)
        sentences = (
            encoder.split(u.text, u.tokens)[: text.max_tokens]
            for d in train
            for u in d.utterances[: text.max_turns]
        )
        encoder.vocabulary = Vocabulary.count(sentences, text.min_count)
        return encoder

    def _check_labels(self) -> None:
        labels = self.corpus.handoff[~np.isnan(self.corpus.handoff)]
        positives = int((labels >= 0.5).sum())
        if 0 < positives < len(labels):
            return
        sentiment = bool((self.corpus.sentiment >= 0).any())
        raise DataError(
            f"{self.recipe.data.data} has {positives} transfers among {len(labels)} labelled turns;"
            " both classes are needed",
            hint="--proxy negative-customer takes labels from sentiment" if sentiment else None,
        )

    def _card(self, train: Sequence[Dialogue]) -> Record:
        """Return model.json."""
        recipe, corpus = self.recipe, self.corpus
        customer = (corpus.role == 1) & (corpus.sentiment >= 0)
        counts = np.bincount(corpus.sentiment[customer], minlength=3)[:3]
        prior = tuple((counts / counts.sum()).tolist()) if customer.any() else UNIFORM
        supervised = bool(customer.any() or (corpus.satisfaction >= 0).any())
        causal = recipe.causal
        if causal.cem and not supervised:
            log.warning(
                "no sentiment and no satisfaction: the user states are unsupervised, "
                "their names are only names"
            )
        gate = {"corrected": "corrected", "off": "off", "released": "corrected"}[causal.gate]
        lang: str | None = recipe.text.lang
        if lang == "auto":
            said = [d.lang for d in train if d.lang in ("en", "zh")]
            lang = said[0] if said else "zh" if self.encoder.name in ("jieba", "char") else "en"
        return {
            "task": self.name,
            "system": recipe.system,
            "base": recipe.model.base,
            "arguments": base_arguments(recipe, len(self.encoder.vocabulary)),
            "cem": {"prior": list(prior), "gate": gate if causal.cem else "none"},
            "gate": causal.gate if causal.cem else "none",
            "cost_mode": causal.cost_mode if causal.cem else "off",
            "lookahead": causal.lookahead,
            "tokenizer": self.encoder.name,
            "user_dict": recipe.text.user_dict,
            "lang": lang,
            "max_tokens": recipe.text.max_tokens,
            "max_turns": recipe.text.max_turns,
            "label_roles": recipe.data.label_roles,
            "proxy": recipe.data.proxy,
            "soft_labels": recipe.data.soft_labels,
            "state_supervised": supervised,
            "data_sha256": digest(train),
            "seed": recipe.run.seed,
        }

    def fresh_model(self) -> Any:
        """Return the network with weights from the current random state."""
        model: Any = build(self.card)
        base = model.base
        if self.recipe.model.embeddings is not None:
            from qr_cli.handoff.vectors import load_vectors

            load_vectors(base.embedding, self.encoder.vocabulary, self.recipe.model.embeddings)
        if hasattr(base, "prepare"):  # term frequencies, cached vectors
            base.prepare(self.encoder.vocabulary, self.corpus)
        return model

    def _optimizer(self, model: Any) -> torch.optim.Optimizer:
        optim, base = self.recipe.optim, model.base
        slow = list(base.slow_parameters()) if hasattr(base, "slow_parameters") else []
        taken = {id(p) for p in slow}
        rest = [p for p in model.parameters() if p.requires_grad and id(p) not in taken]
        return build_optimizer(
            optim.optimizer,
            rest,
            scaled=slow,
            scale=base.slow_scale if slow else 1.0,
            **optim.model_dump(exclude={"optimizer", "clip_norm"}),
        )


def _number(value: Any) -> float:
    return -math.inf if value is None or math.isnan(value) else float(value)
