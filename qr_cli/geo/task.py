"""The training task of this room: Geoformer, its pre-training (MEP) and the unified training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from qr_cli.engine.loader import Loader
from qr_cli.engine.run import RunFolder
from qr_cli.engine.task import Best, Models, Parts, Phase, Record, Update
from qr_cli.geo import held
from qr_cli.geo.corpus import (
    Corpus,
    Files,
    Generated,
    Pretraining,
    check_lengths,
    problems_of,
    target_of,
)
from qr_cli.geo.inputs import words
from qr_cli.geo.losses import figure_loss, marks_loss
from qr_cli.geo.marks import NAMES
from qr_cli.geo.official import load_geoformer
from qr_cli.geo.phases import Before
from qr_cli.geo.readers import reader_of
from qr_cli.geo.samples import Pack, packs
from qr_cli.geo.synth import FAMILIES, stream
from qr_cli.geo.tiny import PATCHES, Read, Tiny
from qr_cli.geo.train_recipe import GeoTrain
from qr_cli.geo.vocab import Vocabulary
from qr_cli.geo.weights import card, load_model, take

if TYPE_CHECKING:
    from qr_cli.engine.report import Plot

COUNTED = 4000  # generated problems whose words make the vocabulary


class GeoTask:
    """Learn to write programs and proofs.

    Args:
        recipe: what to train. Reads the data at once.

    Raises:
        DataError: the data cannot be used.
    """

    name = "geo"
    unit = "problems"

    def __init__(self, recipe: GeoTrain) -> None:
        self.recipe = recipe
        self.best = Best(recipe.decode.best, "max")
        self.generated = recipe.data.train == ("synth",)
        self.problems = [] if self.generated else problems_of(recipe.data.train)
        self.model = self._fresh_model()
        self.held = held.sets(recipe, reader_of(self.model))
        if not self.generated and not recipe.data.allow_truncation:
            self._check_lengths()
        decode = recipe.decode
        self.card = card(self.model) | {
            "length_penalty": decode.length_penalty, "grammar": decode.grammar,
        }  # fmt: skip

    # the loop's ----------------------------------------------------------------------------

    def phases(self, run: RunFolder) -> Iterator[Phase]:
        """Yield what comes before the unified training; all of it trains the one model."""
        for name in self.recipe.data.phases[:-1]:
            yield Before(self, name)

    def finish(self, run: RunFolder) -> None:
        """Write nothing further: the checkpoint holds it all."""

    def parts(self, *, rank: int, world: int) -> Parts:
        """Return the model, its optimiser, schedule and batches."""
        epochs, name = self.recipe.schedule.epochs, self.recipe.data.phases[-1]
        size = self._size(name) // epochs if self.generated else len(self.problems)
        return self.trained(self._corpus(name), max(1, size), epochs, rank=rank, world=world)

    def trained(self, corpus: Corpus, size: int, epochs: int, *, rank: int, world: int) -> Parts:
        """Return what trains the model on a corpus."""
        recipe = self.recipe
        families = getattr(self.model, "families", {})
        longest = (recipe.data.max_text, recipe.limit)

        def fetch(indices: Tensor, epoch: int) -> list[Pack]:
            examples = [corpus.example(index, epoch) for index in indices.tolist()]
            return packs(examples, self.model.vocabulary, families, longest)

        loader = Loader(
            fetch, size, seed=recipe.run.seed, rank=rank, world=world,
            **recipe.loader.model_dump(exclude={"eval_batch_size", "eval_samples"}),
        )  # fmt: skip
        optimizer = self._optimizer()
        steps = epochs * len(loader)
        course = _course(
            min(recipe.schedule.max_steps or steps, steps), recipe.schedule.warmup,
            recipe.schedule.floor if recipe.schedule.schedule == "linear" else 1.0,
        )  # fmt: skip
        return Parts(
            {"main": self.model}, {"main": optimizer}, loader, {"main": LambdaLR(optimizer, course)}
        )

    def step(self, models: Models, batch: Sequence[Pack]) -> Iterator[Update]:
        """Yield the one update of a batch: cross-entropy of all words, of figures, of patches."""
        weight = self.recipe.loss
        total = sum(int((pack.after >= 0).sum()) for pack in batch)
        told = sum(int((pack.relations[:, 0] >= 0).sum()) for pack in batch)
        marked = sum(pack.marks.shape[0] * PATCHES for pack in batch if pack.marks is not None)
        parts: dict[str, Tensor] = {}

        def add(name: str, value: Tensor) -> None:
            parts[name] = parts[name] + value if name in parts else value

        for pack in batch:
            read: Read = models["main"](pack.words, pack.before, pack.pictures)
            if read.marks is not None and pack.marks is not None:
                add("loss_marks", marks_loss(read.marks, pack.marks) / marked)
            if read.scores is None:
                continue
            add("loss_words", F.cross_entropy(
                read.scores.flatten(0, 1), pack.after.flatten(), ignore_index=-100,
                label_smoothing=weight.smoothing, reduction="sum",
            ) / total)  # fmt: skip
            if told and read.relations is not None:
                loss, hits = figure_loss(read.relations, pack.relations)
                add("loss_figure", loss / told)
                add("figure_right", hits.detach() / told)
        factors = {"loss_words": 1.0, "loss_figure": weight.aux, "loss_marks": weight.marks}
        whole = [parts[name] * factor for name, factor in factors.items() if name in parts]
        metrics = {name: value.detach() for name, value in parts.items()}
        yield Update(torch.stack(whole).sum(), metrics)

    def look(self, models: Models, batch: Sequence[Pack]) -> Iterator[Update]:
        """Yield the update of phase look: what stands in each patch."""
        pictures = [pack.pictures for pack in batch if pack.pictures is not None]
        marks = torch.cat([pack.marks for pack in batch if pack.marks is not None])
        scores: Tensor = models["main"](None, None, torch.cat(pictures)).marks
        loss = marks_loss(scores, marks) / (marks.shape[0] * PATCHES)
        yield Update(loss, {"loss_marks": loss.detach()})

    def evaluate(self, models: Models, accelerator: Accelerator) -> Iterator[Record]:
        """Yield figures on held-out problems, greedy."""
        model: Any = models["main"]
        yield held.figures(
            model, self.held, longest=self.recipe.limit,
            batch_size=self.recipe.loader.eval_batch_size, grammatical=self.recipe.decode.grammar,
        )  # fmt: skip

    def describe(self) -> Record:
        """Return model.json."""
        return self.card

    def result(self, epochs: Sequence[Record]) -> Record:
        """Return the last and the best figure."""
        if not epochs:
            return {}
        best = max(epochs, key=lambda r: -math.inf if math.isnan(r["figure"]) else r["figure"])
        kept = [k for k in epochs[-1] if k.startswith(("acc_", "valid_", "figure"))]
        return {
            **{f"last_{k}": epochs[-1][k] for k in kept},
            "best_figure": best["figure"],
            "best_epoch": best["epoch"],
            "best_selected_on": "val",
        }

    def facts(self) -> Record:
        """Return what the run amounts to, for run.json and --dry-run."""
        batch = self.recipe.loader.batch_size * self.recipe.loader.accumulate
        epochs = 1 if self.generated else self.recipe.schedule.epochs
        last = self.recipe.data.phases[-1]
        size = self._size(last) if self.generated else len(self.problems)
        return {
            "problems": self.recipe.data.samples if self.generated else len(self.problems),
            "words": len(self.model.vocabulary),
            "parameters": sum(p.numel() for p in self.model.parameters()),
            f"{last}_steps": epochs * math.ceil(size / batch),
        }

    def lead(self) -> str:
        """Return what the run is, in a sentence."""
        what = (
            f"{self.recipe.data.samples:,} generated problems" if self.generated
            else f"{len(self.problems):,} problems"
        )  # fmt: skip
        return f"{self.recipe.model.preset} on {what}, phases {', '.join(self.recipe.data.phases)}."

    def plots(self, records: Sequence[Record]) -> list[Plot]:
        """Return losses and held-out figures by epoch."""
        from qr_cli.geo.train_plots import training_plots

        return training_plots(records)

    # parts of it -----------------------------------------------------------------------------

    def before(self, name: str, *, rank: int, world: int) -> Parts:
        """Return what trains the model in a phase before the last one."""
        size = self._size(name) if self.generated else len(self.problems)
        epochs = self.recipe.mep.epochs if name == "mep" and not self.generated else 1
        return self.trained(self._corpus(name), size, epochs, rank=rank, world=world)

    def _corpus(self, name: str) -> Corpus:
        """Return what a phase learns from."""
        if name == "look":
            return self._generated(start=2 * self._all, drop=0.0, drop_text=0.0)
        mep = self.recipe.mep
        how = Pretraining(mep.solving, mep.mask_ratio, mep.redraw == "epoch", mep.cut)
        if name == "unified":
            return self._generated() if self.generated else self._files()
        if self.generated:
            return self._generated(start=self._all, pretraining=how)
        return self._files(pretraining=how)

    @property
    def _all(self) -> int:
        return self.recipe.data.samples

    def _size(self, phase: str) -> int:
        """Return how many generated problems a phase takes."""
        data, phases = self.recipe.data, self.recipe.data.phases
        shares = {
            "look": data.look_share if "look" in phases else 0.0,
            "mep": self.recipe.mep.share if "mep" in phases else 0.0,
        }
        last = self.recipe.data.phases[-1]
        shares[last] = 1 - sum(share for name, share in shares.items() if name != last)
        return max(1, round(shares[phase] * data.samples))

    def _generated(self, **changes: Any) -> Generated:
        data, vision = self.recipe.data, self.recipe.vision
        fields: dict[str, Any] = {
            "seed": self.recipe.run.seed, "mix": data.shares, "families": data.families,
            "size": self._size(self.recipe.data.phases[-1]) // self.recipe.schedule.epochs,
            "drop": vision.drop, "drop_text": vision.drop_text, "word_drop": data.word_drop,
        }  # fmt: skip
        return Generated(**(fields | changes))

    def _files(self, pretraining: Pretraining | None = None) -> Files:
        data = self.recipe.data
        return Files(
            self.problems, reader_of(self.model), seed=self.recipe.run.seed, augment=data.augment,
            drop=self.recipe.vision.drop, word_drop=data.word_drop, pretraining=pretraining,
        )  # fmt: skip

    def _check_lengths(self) -> None:
        """Check that no text and no target of the files would be cut silently."""
        recipe, known, reader = self.recipe, self.model.vocabulary, reader_of(self.model)
        unit = "words" if isinstance(known, Vocabulary) else "pieces"
        targets = [len(known.ids(target_of(p))) for p in self.problems]
        texts = [len(known.ids(reader.words(p, "compound").source)) for p in self.problems]
        check_lengths(targets, recipe.limit, what="targets", flag="--max-length", unit=unit)
        check_lengths(texts, recipe.data.max_text, what="texts", flag="--max-text", unit=unit)

    def _fresh_model(self) -> Any:
        recipe = self.recipe
        if recipe.model.preset == "geoformer":
            return load_geoformer(
                recipe.model.weights or "", resnet=recipe.model.resnet,
                dropout=recipe.model.dropout, vision_bn=recipe.vision.bn,
            )  # fmt: skip
        old = load_model(recipe.model.weights)[0] if recipe.model.weights else None
        vocabulary = old.vocabulary if old else Vocabulary.count(self._texts())
        classes = {name: family.relations for name, family in FAMILIES.items() if family.relations}
        model = Tiny(
            vocabulary, dropout=recipe.model.dropout, vision=recipe.vision.vision,
            classes=classes if self.generated and recipe.loss.aux else None,
            marks=len(NAMES) if self.generated and recipe.loss.marks else 0,
        )  # fmt: skip
        if old:
            take(model, old)
        return model

    def _texts(self) -> Iterator[list[str]]:
        if not self.generated:
            for problem in self.problems:
                yield words(problem, longest=None).source
            return
        data = self.recipe.data
        some = stream(
            self.recipe.run.seed, "train", data.shares, list(data.families) or None, image=False,
            start=3 * self._all,
        )  # fmt: skip
        for sample in islice(some, min(COUNTED, data.samples)):
            yield words(sample.problem, longest=None).source

    def _optimizer(self) -> AdamW:
        optim = self.recipe.optim
        named = [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]

        def decays(name: str, parameter: nn.Parameter) -> bool:
            norm = optim.decay_norms and name.endswith("norm.weight")
            return parameter.ndim > 1 or norm or optim.decay == "all"

        groups = [
            {"params": [p for n, p in named if decays(n, p)], "weight_decay": optim.weight_decay},
            {"params": [p for n, p in named if not decays(n, p)], "weight_decay": 0.0},
        ]
        return AdamW(groups, lr=optim.lr, betas=(0.9, optim.beta2), eps=optim.eps)


def task_of(recipe: GeoTrain) -> Any:
    """Return the task of a recipe's preset."""
    return GeoTask(recipe)


def _course(total: int, warmup: float, floor: float) -> Callable[[int], float]:
    """Return the factor on the learning rate: a rise, then a straight line to `floor`."""
    rise = warmup if warmup >= 1 else warmup * total
    rise = min(rise, total / 4)

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / (rise + 1)
        return 1 - (1 - floor) * (step - rise) / max(1.0, total - rise)

    return factor
