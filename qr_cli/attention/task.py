"""The training task of this room: classify images, and measure on a test split each epoch."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LRScheduler

from qr_cli.attention.augment import Fetch, augment_for, normalization
from qr_cli.attention.data import ImageSet, read
from qr_cli.attention.insert import collect_aux_loss, iter_attention
from qr_cli.attention.label_noise import relabel, sha256
from qr_cli.attention.metrics import classification
from qr_cli.attention.probe import PROBED, STRIPED, Probe, vanished
from qr_cli.attention.recipe import Attention
from qr_cli.attention.summary import build, reading
from qr_cli.attention.trace import Batches
from qr_cli.attention.weights import Weights, load_state
from qr_cli.engine.checkpoint import read_weights, resolve
from qr_cli.engine.loader import Loader, in_order
from qr_cli.engine.optim import build_optimizer, build_schedule
from qr_cli.engine.task import Best, Models, Parts, Record, Update
from qr_cli.errors import DataError, UsageError

if TYPE_CHECKING:
    from qr_cli.engine.report import Plot

log = logging.getLogger(__name__)

_AUX_WEIGHT = 0.1  # of the auxiliary loss, under "auto"; SPEM's own value
_ATTENTION_RATE = 10.0  # of attention under identity start; 1 lets s hardly move


class AttentionTask:
    """Image classification with attention.

    Args:
        recipe: what to train. Reads the data at once.

    Raises:
        DataError: the data cannot be used.
    """

    name = "attention"
    unit = "images"

    def __init__(self, recipe: Attention) -> None:
        self.recipe = recipe
        splits = read(recipe.data.data, **reading(recipe.data))
        if splits.train is None or not len(splits.train):
            raise DataError(f"{splits.source} has no training images", hint="qr list data")
        self.source, self.train_set = splits.source, splits.train
        if recipe.data.label_noise:
            labels = relabel(
                splits.train.labels,
                len(splits.train.classes),
                share=recipe.data.label_noise,
                seed=recipe.run.seed,
            )
            self.train_set = replace(splits.train, labels=labels)
        self.measured: dict[str, ImageSet] = {"test": splits.test}
        if splits.val is not None:
            self.measured["val"] = splits.val
        self.best = Best("val_top1" if splits.val else "test_top1", "max")
        self.mean, self.std = normalization(recipe.data.data, self.train_set, recipe.data.normalize)
        self.model = self._build()
        attention = [module for _, _, _, module in iter_attention(self.model)]
        self.attention = {id(p): p for module in attention for p in module.parameters()}
        self.frozen: list[nn.Module] = []
        weight = recipe.loss.aux_weight
        has_aux = bool(collect_aux_loss(self.model).requires_grad)
        self.aux_weight = (_AUX_WEIGHT if has_aux else 0.0) if weight == "auto" else weight
        self.probe = self._probe()
        self.scheduler: LRScheduler | None = None
        self.epoch_steps = 0
        self.begun: int | None = None  # updates before the first one of this process
        self.warned = False

    def parts(self, *, rank: int, world: int) -> Parts:
        """Return the network, one optimiser, one schedule and the training batches."""
        recipe = self.recipe
        loader = Loader(
            self._fetch(self.train_set, train=True),
            len(self.train_set),
            seed=recipe.run.seed,
            rank=rank,
            world=world,
            **recipe.loader.model_dump(exclude={"eval_batch_size"}),
        )
        if not len(loader):
            raise DataError(
                f"{len(self.train_set)} training images make no batch of "
                f"{recipe.loader.batch_size}",
                hint="a smaller --batch-size, or --no-drop-last",
            )
        if world == 1 and (loader.used % loader.batch_size or loader.batch_size) == 1:
            self._refuse_batch_of_one()
        trained = self._freeze()
        optim = recipe.optim
        optimizer = build_optimizer(
            optim.optimizer,
            [p for p in trained if id(p) not in self.attention],
            scaled=[p for p in trained if id(p) in self.attention],
            scale=self._attention_rate(),
            **optim.model_dump(exclude={"optimizer", "clip_norm", "attn_lr_scale"}),
        )
        schedule = recipe.schedule
        epochs = schedule.epochs * len(loader)
        scheduler = build_schedule(
            schedule.schedule,
            optimizer,
            total_steps=min(schedule.max_steps or epochs, epochs),
            epoch_steps=len(loader),
            **schedule.model_dump(include={"milestones", "gamma", "warmup_epochs"}),
        )
        self.scheduler, self.epoch_steps = scheduler, len(loader)
        return Parts({"main": self.model}, {"main": optimizer}, loader, {"main": scheduler})

    def step(self, models: Models, batch: tuple[Tensor, Tensor]) -> Iterator[Update]:
        """Yield the one update of a batch: cross-entropy and weighted auxiliary losses."""
        images, labels = batch
        model = models["main"]
        if self.begun is None and self.scheduler is not None:
            self.begun = self.scheduler.last_epoch  # counts updates; restored when resuming
        for module in self.frozen:
            module.eval()
        logits = model(images).float()
        ce = F.cross_entropy(logits, labels, label_smoothing=self.recipe.loss.label_smoothing)
        top1 = (logits.argmax(1) == labels).float().mean()
        metrics = {"ce": ce, "train_top1": top1}
        loss = ce
        if self.aux_weight:
            metrics["aux"] = collect_aux_loss(model)
            loss = ce + self.aux_weight * metrics["aux"]
        yield Update(loss, metrics)

    def evaluate(self, models: Models, accelerator: Accelerator) -> Iterator[Record]:
        """Yield one record with the figures of every measured split, then those of the gates."""
        record: Record = {}
        for split, images in self.measured.items():
            batches = in_order(
                self._fetch(images, train=False),
                len(images),
                batch_size=self.recipe.loader.eval_batch_size,
                rank=accelerator.process_index,
                world=accelerator.num_processes,
            )
            figures, _ = classification(models["main"], batches, accelerator)
            record |= {f"{split}_{name}": value for name, value in figures.items()}
        yield record
        warning = None if self.warned else vanished(models["main"])
        if warning and accelerator.is_main_process:
            log.warning("%s", warning)
            self.warned = True
        if self.probe is not None:
            first = self.begun is not None and self.begun < self.epoch_steps
            yield from self.probe.records(models["main"], first=first)

    def describe(self) -> Record:
        """Return model.json: enough to build the network and to repeat its evaluation."""
        recipe, height, width = self.recipe, *self._size()
        return {
            "task": self.name,
            "arch": recipe.model.arch,
            "module": recipe.model.module,
            "stages": recipe.model.stages,
            "blocks": recipe.model.blocks,
            "place": recipe.model.place,
            "identity_start": self._identity_start(),
            **recipe.model.model_dump(include={"replace", "srp", "srp_at", "srp_init"}),
            "num_classes": recipe.model.num_classes or len(self.train_set.classes),
            "classes": list(self.train_set.classes),
            "input_size": [3, height, width],
            "mean": list(self.mean),
            "std": list(self.std),
            "seed": recipe.run.seed,
            "evaluation": {
                **recipe.data.model_dump(
                    include={"data", "test_data", "val", "data_root", "image_size", "skip_bad"}
                ),
                "batch_size": recipe.loader.eval_batch_size,
                "precision": recipe.run.precision,
                "channels_last": recipe.run.channels_last,
            },
        }

    def result(self, epochs: Sequence[Record]) -> Record:
        """Return last and best figures; a best one says on which split it was chosen."""
        if not epochs:
            return {}
        best = max(epochs, key=lambda record: record[self.best.metric])
        return {
            "last_top1": epochs[-1]["test_top1"],
            "best_top1": best["test_top1"],
            "best_epoch": best["epoch"],
            "best_selected_on": self.best.metric.removesuffix("_top1"),
            "data": self.source,
            "data_sha256": self.measured["test"].sha256(),
            "data_note": self.measured["test"].note,
        }

    def facts(self) -> Record:
        """Return what run.json notes besides: the hash of labels that are not those of the data."""
        if not (share := self.recipe.data.label_noise):
            return {}
        return {"label_noise": share, "labels_sha256": sha256(self.train_set.labels)}

    def lead(self) -> str:
        """Return what the run is, in a sentence."""
        model = self.recipe.model
        noise = self.recipe.data.label_noise
        wrong = f" {100 * noise:g} % of the training labels are wrong." if noise else ""
        what = "no attention" if model.module == "none" else model.module
        what += f" and {model.srp} blocks" if model.srp else ""
        return (
            f"{model.arch} with {what} on {self.source}: {len(self.train_set):,} training and "
            f"{len(self.measured['test']):,} test images, {len(self.train_set.classes)} classes."
            f"{wrong}"
        )

    def plots(self, records: Sequence[Record]) -> list[Plot]:
        """Return the curves, what was noted of the gates, and samples of generated images."""
        from qr_cli.attention.plots import training_plots
        from qr_cli.attention.sample_plots import sample_sheet
        from qr_cli.attention.stripe_plots import stripes_plots

        plots = training_plots(records)
        stripes = [record for record in records if record.get("event") == "stripes"]
        plots += stripes_plots([r for r in stripes if r["epoch"] == stripes[-1]["epoch"]])
        if self.source.startswith("shapes"):
            plots.append(sample_sheet(self.train_set, self.source))
        return plots

    @torch.no_grad()
    def _refuse_batch_of_one(self) -> None:
        """Raise before the first epoch what a batch of one would raise at its end."""
        try:
            deepcopy(self.model).train()(torch.zeros(1, 3, *self._size()))
        except ValueError as error:  # batch normalisation over the batch alone
            raise UsageError(
                f"--batch-size: {self.recipe.loader.batch_size} leaves a batch of 1 of "
                f"{len(self.train_set)} images, which {self.recipe.model.arch} with "
                f"{self.recipe.model.module} cannot normalise",
                hint="--drop-last, or another --batch-size",
            ) from error

    def _build(self) -> nn.Module:
        """Build the network, with the weights the recipe starts from."""
        model, classes = self.recipe.model, len(self.train_set.classes)
        if model.num_classes is not None and model.num_classes < classes:
            raise DataError(
                f"--num-classes: {model.num_classes} is less than the {classes} classes of "
                f"{self.source}",
                hint=f"--num-classes {classes}",
            )
        net = build(self.recipe, classes, image_size=self._size())
        if model.checkpoint is not None:
            folder = resolve(Path(model.checkpoint))
            weights = Weights(read_weights(folder), str(folder))
            load_state(net, weights, reset_head=model.reset_head)
        return net

    def _size(self) -> tuple[int, int]:
        if isinstance(self.train_set.images, Tensor):
            height, width = self.train_set.images.shape[-2:]
            return int(height), int(width)
        side = self.recipe.data.image_size or 224
        return side, side

    def _fetch(self, images: ImageSet, *, train: bool) -> Fetch:
        augment = self.recipe.data.augment
        return Fetch(
            images,
            augment=augment_for(self.recipe.data.data) if augment == "auto" else augment,
            mean=self.mean,
            std=self.std,
            seed=self.recipe.run.seed,
            train=train,
            image_size=self.recipe.data.image_size,
            channels_last=self.recipe.run.channels_last,
        )

    def _probe(self) -> Probe | None:
        """Return what looks at the gates, if that is asked for."""
        gates, test = self.recipe.gates, self.measured["test"]
        if not (gates.probe or gates.stripes):
            return None
        size = min(STRIPED if gates.stripes else PROBED, len(test))
        fetch = self._fetch(test, train=False)
        return Probe(
            self.model,
            Batches(fetch, size, batch_size=self.recipe.loader.eval_batch_size),
            run=self.recipe.run_name,
            probed=gates.probe,
            striped=gates.stripes,
        )

    def _identity_start(self) -> bool:
        from qr_cli.attention.modules.identity import IdentityStart

        return any(isinstance(m, IdentityStart) for m in self.model.modules())

    def _attention_rate(self) -> float:
        scale = self.recipe.optim.attn_lr_scale
        if scale == "auto":
            return _ATTENTION_RATE if self._identity_start() else 1.0
        return scale

    def _freeze(self) -> list[nn.Parameter]:
        """Freeze what the recipe says; return the parameters that are trained."""
        if self.recipe.model.freeze == "backbone":
            head = {id(p) for p in _classifier(self.model).parameters()}
            for parameter in self.model.parameters():
                parameter.requires_grad_(id(parameter) in self.attention or id(parameter) in head)
            self.frozen = [
                m
                for m in self.model.modules()
                if isinstance(m, nn.modules.batchnorm._BatchNorm)
                and not any(p.requires_grad for p in m.parameters(recurse=False))
            ]
        return [p for p in self.model.parameters() if p.requires_grad]


def _classifier(model: nn.Module) -> nn.Module:
    """Return the last linear layer."""
    return [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
