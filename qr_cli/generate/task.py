"""The training task of this room: a SUR-adapter for one base.

Align phase: from cached embeddings alone, towards the keyword embeddings and, with a teacher, a
query that knows the teacher's vector. Diffusion phase: the frozen U-Net's error besides. As
released, both are one phase (`--joint`) whose diffusion loss has no gradient.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import send_to_device
from torch import Tensor

from qr_cli.engine.loader import Loader
from qr_cli.engine.optim import build_optimizer, build_schedule
from qr_cli.engine.run import RunFolder
from qr_cli.engine.task import Best, Models, Parts, Phase, Record, Update
from qr_cli.generate import losses, world
from qr_cli.generate.align import AlignPhase
from qr_cli.generate.base import base_folder
from qr_cli.generate.cache import cache_root, cached_texts
from qr_cli.generate.card import card_text
from qr_cli.generate.corpus import EMPTY, NARRATIVE, Corpus, digest, narratives, pictures, strings
from qr_cli.generate.denoise import Denoiser
from qr_cli.generate.diagnose import Texts, diagnose
from qr_cli.generate.fingerprints import text_fingerprint
from qr_cli.generate.folder import save_adapter
from qr_cli.generate.parts import check_heads, load_parts, stored_unet_fingerprint
from qr_cli.generate.recipe import SurTrain
from qr_cli.generate.rows import read_rows
from qr_cli.generate.sketches import Sketches, place_of
from qr_cli.generate.student import Answer, Student
from qr_cli.generate.surd import Row

if TYPE_CHECKING:
    from qr_cli.engine.report import Plot

log = logging.getLogger(__name__)

_KEPT = ("val_retrieval", "val_label_retrieval", "val_label_digit", "val_label_tint",
         "val_cosine", "val_norm_ratio", "val_keyword_drift")  # fmt: skip


class SurTask:
    """Learn to say in keywords what a sentence means.

    Args:
        recipe: what to train. Reads the data and fills the cache of embeddings at once.

    Raises:
        DataError: the data or the base cannot be used.
        WeightsError: the teacher or a part of the base is damaged.
        UsageError: pictures are needed and there are none, or widths do not go together.
    """

    name = "sur-adapter"
    unit = "samples"
    denoiser: Denoiser | None = None
    sketches: Sketches | None = None
    place: RunFolder | None = None  # where the phase that runs records
    aligned: RunFolder | None = None  # where the align phase records, if it is not the main one

    def __init__(self, recipe: SurTrain) -> None:
        self.recipe = recipe
        check_heads(recipe.model.base, recipe.model.heads)
        self.root = cache_root(recipe.data.cache)
        self.device = PartialState().device
        train, val = read_rows(
            recipe.data.data,
            root=self.root,
            pictures=recipe.needs_pictures,
            skip_missing=recipe.data.skip_missing,
            max_samples=recipe.data.max_samples,
        )
        self.labelled = all({"digit", "tint"} <= set(row.label or ()) for row in train + val)
        self.best = Best("val_label_retrieval" if self.labelled else "val_retrieval", "max")
        with PartialState().main_process_first():
            self._prepare(train, val)
        self.data_sha256 = digest(train)
        asked = recipe.data.validation_prompts
        if asked is not None and PartialState().is_main_process:
            self.sketches = Sketches(recipe.model.base, asked, self.device)

    # the loop's ----------------------------------------------------------------------------

    def phases(self, run: RunFolder) -> Iterator[Phase]:
        """Align first, where the main phase is that of diffusion; then load what it needs."""
        recipe = self.recipe
        if recipe.diffusion.diffusion_steps and recipe.schedule.steps:
            self.place = self.aligned = run.inner(AlignPhase.name)
            yield AlignPhase(self)
        self.place = run
        if recipe.needs_pictures:
            with PartialState().main_process_first():
                self.denoiser = self._denoiser()

    def parts(self, *, rank: int, world: int) -> Parts:
        """Return what the main phase trains."""
        recipe, diffusion = self.recipe, self.recipe.diffusion
        if not diffusion.diffusion_steps:
            return self.aligning(rank=rank, world=world)
        return self._trained(
            diffusion.diffusion_steps,
            lr=diffusion.diffusion_lr,
            warmup=diffusion.diffusion_warmup_steps,
            empty_share=0.0,
            rank=rank,
            world=world,
            seed=recipe.run.seed + 1,  # another order than that of the align phase
        )

    def aligning(self, *, rank: int, world: int) -> Parts:
        """Return what the align phase trains."""
        recipe = self.recipe
        return self._trained(
            recipe.schedule.steps,
            lr=recipe.optim.lr,
            warmup=recipe.schedule.warmup_steps,
            empty_share=recipe.loss.empty_share,
            rank=rank,
            world=world,
            seed=recipe.run.seed,
        )

    def step(self, models: Models, batch: Any) -> Iterator[Update]:
        """Yield the one update of a batch, with the U-Net's loss where it takes part."""
        diffusion = self.recipe.diffusion
        answer: Answer = models["main"](batch["x"], batch.get("vector"))
        loss, metrics = self.align_loss(answer, batch)
        if self.denoiser is not None:
            prompts = answer.out if diffusion.diffusion_gradient == "on" else answer.out.detach()
            error = self.denoiser.loss(
                batch["mean"],
                batch["logvar"],
                prompts,
                gamma=diffusion.snr_gamma,
                offset=diffusion.noise_offset,
            )
            metrics["diffusion"] = error.detach()
            loss = diffusion.diffusion_align_weight * loss + diffusion.diffusion_weight * error
        yield Update(loss, metrics)

    def align_loss(self, answer: Answer, batch: dict[str, Tensor]) -> tuple[Tensor, Any]:
        """Return the weighted sum of the losses on embeddings, and each of them."""
        loss, student = self.recipe.loss, self.student
        where = answer.out if loss.prompt_loss_on == "out" else answer.z
        if loss.prompt_loss == "kl":
            value = losses.feature_kl(batch["target"], where, loss.temperature)
            total, found = loss.prompt_weight * value, {"prompt_kl": value.detach()}
        else:
            mse = losses.scaled_mse(where, batch["target"], student.var)
            total, found = loss.mse_weight * mse, {"mse": mse.detach()}
        if loss.prompt_loss == "nce" and loss.nce_weight:
            kept = batch["kind"] != EMPTY
            ids = batch["prompt_id"][kept]
            nce = losses.keyword_nce(
                where[kept],
                batch["target"][kept],
                student.mu,
                temperature=loss.nce_temperature,
                same=ids[:, None] == ids,
            )
            total, found["nce"] = total + loss.nce_weight * nce, nce.detach()
        if answer.projected is not None:
            distilled = self._distil(answer, batch)
            total = total + self.recipe.llm_weight * distilled
            found["llm"] = distilled.detach()
        return total, found

    @torch.no_grad()
    def evaluate(self, models: Models, accelerator: Accelerator) -> Iterator[Record]:
        """Yield how well narratives find their keywords: rows that were held out."""
        student: Any = models["main"]
        if self.sketches is not None and self.place is not None:
            self.sketches.write(student.adapter, place_of(self.place, self.recipe))
        if self.held is None:
            yield {self.best.metric: math.nan}
            return
        device = next(student.parameters()).device
        held = Texts(**send_to_device(self.held._asdict(), device))
        figures = diagnose(held, student.adapter, student.adapter.config.eta)["adapter"]
        if self.labelled:
            figures["label_retrieval"] = (figures["label_digit"] + figures["label_tint"]) / 2
        yield {f"val_{name}": value for name, value in figures.items()}

    def describe(self) -> Record:
        """Return model.json: enough to build the adapter."""
        return {
            "task": self.name,
            "adapter": self.config,
            "teacher": self.recipe.teacher.teacher,
            "data_sha256": self.data_sha256,
            "seed": self.recipe.run.seed,
        }

    def result(self, epochs: Sequence[Record]) -> Record:
        """Return the last figures; they are of the rows held out."""
        last = next((r for r in reversed(epochs) if "phase" not in r), {})
        return {key: last[key] for key in _KEPT if key in last}

    def lead(self) -> str:
        """Return what the run is, in a sentence."""
        recipe = self.recipe
        teacher = recipe.teacher.teacher if recipe.distils else "no language model"
        return (
            f"A SUR-adapter for {self.config['base_name']} from {len(self.corpus):,} rows, with "
            f"{teacher}; figures are of {self.validation:,} rows held out. Embedding figures do "
            "not say what a picture shows: qr eval generate does."
        )

    def plots(self, records: Sequence[Record]) -> list[Plot]:
        """Return losses by phase and what the adapter did to held-out rows."""
        from qr_cli.generate.train_plots import training_plots

        before = self.aligned.records() if self.aligned else ()
        return training_plots([*before, *records])

    def finish(self, run: RunFolder) -> None:
        """Write ``adapter/``, for any diffusers pipeline of this base."""
        if not run.writes:
            return
        figures = self.result([r for r in run.records() if r["event"] == "epoch"])
        save_adapter(
            self.student.adapter,
            run.path / "adapter",
            card=card_text(self.recipe, self.config, figures, rows=len(self.corpus)),
            training=self.student.training_state(),
        )

    # parts of it -----------------------------------------------------------------------------

    def _prepare(self, train: list[Row], val: list[Row]) -> None:
        """Encode all strings, read the teacher, draw the student."""
        recipe = self.recipe
        tokenizer, encoder = load_parts(recipe.model.base, "tokenizer", "text_encoder")
        canonical = [prompt for prompt, _, _ in world.canonical_prompts()]
        texts = cached_texts(
            self.root,
            tokenizer,
            encoder.to(self.device),
            strings(train + val, canonical if self.labelled else ()),
            dtype=recipe.data.cache_dtype,
        )
        vectors = self._vectors(train)
        self.texts, self.vectors, self.train_rows = texts, vectors, train
        self.corpus = self._corpus(recipe.run.seed, recipe.loss.empty_share)
        self.validation = len(val)
        self.held = self._held(val, canonical) if val else None
        mu, var = self.corpus.statistics()
        self.config = self._config(tokenizer, encoder)
        learned = recipe.teacher.llm_loss == "nce"
        self.student = Student(
            self.config,
            seed=recipe.run.seed,
            mu=mu,
            var=var,
            vectors=vectors,
            learned=learned,
            standardized=learned,
        )

    def _config(self, tokenizer: Any, encoder: Any) -> dict[str, Any]:
        model = self.recipe.model
        return {
            "hidden_size": encoder.config.hidden_size,
            "num_layers": model.depth,
            "num_heads": model.heads,
            "ffn_dim": model.ffn,
            "dropout": model.dropout,
            "eta": model.eta,
            "attention_axis": model.attention_axis,
            "max_tokens": tokenizer.model_max_length,
            "base_name": base_folder(model.base).name,
            "base_text_fingerprint": text_fingerprint(encoder),
            "base_unet_fingerprint": stored_unet_fingerprint(model.base),
        }

    def _vectors(self, train: list[Row]) -> Tensor | None:
        teacher = self.recipe.teacher
        if not self.recipe.distils:
            return None
        from qr_cli.generate.teacher import teacher_vectors

        return teacher_vectors(
            teacher.teacher,
            narratives(train),
            layer=teacher.teacher_layer,
            pool=teacher.teacher_pool,
            root=self.root,
        )

    def _corpus(self, seed: int, empty_share: float) -> Corpus:
        recipe = self.recipe
        loader = recipe.loader
        return Corpus(
            self.train_rows,
            self.texts,
            vectors=self.vectors,
            identity_share=recipe.loss.identity_share,
            empty_share=empty_share,
            span=recipe.schedule.validate_every * loader.batch_size * loader.accumulate,
            seed=seed,
            flip=recipe.data.flip,
        )

    def _held(self, val: list[Row], canonical: Sequence[str]) -> Texts:
        """Return the embeddings of the rows held out."""
        chosen = Corpus(val, self.texts).first(torch.arange(len(val)))
        prompts = [row.prompts[0] for row in val]
        labels = None
        if self.labelled:
            tints = list(world.TINTS)
            found = [row.label for row in val if row.label]
            labels = torch.tensor([(r["digit"], tints.index(r["tint"])) for r in found])
        return Texts(
            narratives=chosen["x"],
            keywords=chosen["target"],
            empty=self.texts.of([""]),
            prompts=prompts,
            ends=self.texts.ends[torch.tensor([self.texts.ids[p] for p in prompts])] + 1,
            labels=labels,
            canonical=self.texts.of(canonical if self.labelled else [""]),
        )

    def _denoiser(self) -> Denoiser:
        recipe = self.recipe
        return Denoiser(
            recipe.model.base,
            pictures(self.train_rows),
            root=self.root,
            resolution=recipe.data.resolution,
            flip=recipe.data.flip,
            dtype=recipe.data.cache_dtype,
            device=self.device,
            precision=recipe.run.precision,
        )

    def _trained(
        self,
        steps: int,
        *,
        lr: float,
        warmup: int,
        empty_share: float,
        rank: int,
        world: int,
        seed: int,
    ) -> Parts:
        """Return the student with batches, optimiser and schedule of a phase."""
        recipe, corpus = self.recipe, self._corpus(seed, empty_share)
        loader = Loader(
            partial(self._fetch, corpus),
            corpus.span,
            seed=seed,
            rank=rank,
            world=world,
            **recipe.loader.model_dump(exclude={"eval_batch_size"}),
        )
        optimizer = build_optimizer(
            recipe.optim.optimizer,
            [p for p in self.student.parameters() if p.requires_grad],
            lr=lr,
            **recipe.optim.model_dump(exclude={"optimizer", "clip_norm", "lr"}),
        )
        schedule = build_schedule(
            recipe.schedule.schedule,
            optimizer,
            total_steps=steps,
            epoch_steps=1,  # the warm-up is in updates
            warmup_epochs=warmup,
            floor=recipe.schedule.floor,
        )
        return Parts({"main": self.student}, {"main": optimizer}, loader, {"main": schedule})

    def _fetch(self, corpus: Corpus, places: Tensor, epoch: int) -> dict[str, Tensor]:
        batch = corpus.fetch(places, epoch)
        return batch if self.denoiser is None else batch | self.denoiser.latents(batch["picture"])

    def _distil(self, answer: Answer, batch: dict[str, Tensor]) -> Tensor:
        teacher, projected = self.recipe.teacher, answer.projected
        assert projected is not None, "called with a teacher only"
        if teacher.llm_loss == "kl":
            return losses.feature_kl(projected.unsqueeze(1), answer.t, self.recipe.loss.temperature)
        told = batch["kind"] == NARRATIVE
        ids = batch["text_id"][told]
        return losses.teacher_nce(
            answer.t[told],
            batch["end"][told],
            projected[told],
            temperature=teacher.llm_temperature,
            same=ids[:, None] == ids,
        )
