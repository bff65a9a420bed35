"""A regression task of a few dozen weights: the smallest thing that exercises the whole engine.

    python toy.py --out runs --resume --set model.kind=norm --set schedule.epochs=3
    python toy.py --serve          one JSON list of arguments per line, one forked process for each

A served process starts in milliseconds, because torch is imported once; it is an ordinary process
otherwise: it can be killed, and several of them form a group of ranks.
"""

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from qr_cli.engine.loader import Loader as Batches
from qr_cli.engine.loader import in_order
from qr_cli.engine.optim import build_optimizer, build_schedule
from qr_cli.engine.recipe import Loader, Optim, Run, Schedule, Section, TrainRecipe
from qr_cli.engine.resolve import resolve
from qr_cli.engine.task import Best, Parts, Update
from qr_cli.engine.train import train
from qr_cli.errors import QrError


class ToyModel(Section):
    """What is trained, on what."""

    kind: Annotated[
        Literal["plain", "norm", "pair"], Field(description="Batch norm, or two optimisers:")
    ] = "plain"
    dropout: Annotated[float, Field(ge=0, lt=1, description="Dropout.")] = 0.3
    size: Annotated[int, Field(ge=1, description="Samples.")] = 52
    width: Annotated[int, Field(ge=1, description="Hidden units.")] = 8
    wide: Annotated[bool, Field(description="Compute in float64.")] = False
    nan_at: Annotated[int, Field(description="Step whose loss is not a number; 0: none.")] = 0


class ToyRecipe(TrainRecipe):
    """A toy."""

    task: Literal["toy"] = "toy"
    model: ToyModel = ToyModel()
    optim: Optim = Optim()
    schedule: Schedule = Schedule(epochs=3)
    loader: Loader = Loader(batch_size=8, eval_batch_size=20)
    run: Run = Run(name="run", device="cpu", log_steps=5)


class ToyTask:
    """Regression on data drawn from the seed 1; the second model of "pair" plays against it."""

    name = "toy"
    unit = "samples"
    best = Best("test_loss", "min")

    def __init__(self, recipe):
        self.recipe, model = recipe, recipe.model
        generator = torch.Generator().manual_seed(1)
        self.x = torch.randn(model.size, 4, generator=generator)
        self.y = self.x.sum(1, keepdim=True).sin()
        self.calls = 0

    def network(self):
        model = self.recipe.model
        norm = [nn.BatchNorm1d(model.width)] if model.kind == "norm" else []
        return nn.Sequential(
            nn.Linear(4, model.width),
            *norm,
            nn.Tanh(),
            nn.Dropout(model.dropout),
            nn.Linear(model.width, 1),
        )

    def fetch(self, indices, epoch):
        return self.x[indices], self.y[indices]

    def parts(self, *, rank, world):
        recipe = self.recipe
        loader = Batches(
            self.fetch,
            len(self.x),
            seed=recipe.run.seed,
            rank=rank,
            world=world,
            **recipe.loader.model_dump(exclude={"eval_batch_size"}),
        )
        models = {"main": self.network()}
        if recipe.model.kind == "pair":
            models["rival"] = nn.Linear(4, 1)
        optimizers, schedulers = {}, {}
        for name, model in models.items():
            if recipe.model.wide:
                model.double()
            optimizers[name] = build_optimizer(
                recipe.optim.optimizer,
                model.parameters(),
                **recipe.optim.model_dump(exclude={"optimizer", "clip_norm"}),
            )
            schedulers[name] = build_schedule(
                recipe.schedule.schedule,
                optimizers[name],
                total_steps=recipe.schedule.epochs * len(loader),
                epoch_steps=len(loader),
                **recipe.schedule.model_dump(include={"milestones", "gamma", "warmup_epochs"}),
            )
        return Parts(models, optimizers, loader, schedulers)

    def step(self, models, batch):
        self.calls += 1
        x, y = (t.double() if self.recipe.model.wide else t for t in batch)
        loss = F.mse_loss(models["main"](x), y)
        if self.calls == self.recipe.model.nan_at:
            loss = loss * torch.nan
        if "rival" not in models:
            yield Update(loss, {"twice": 2 * loss})
            return
        error = F.mse_loss(models["main"](x) + models["rival"](x), y)
        yield Update(error, {"error": error})
        errors = F.mse_loss(models["main"](x) + models["rival"](x), y, reduction="none")
        gain = errors.tanh().mean()  # bounded, or the rival would win
        yield Update(-gain, {"gain": gain}, optimizer="rival")

    def evaluate(self, models, accelerator):
        total = torch.zeros((), dtype=torch.float64)
        batches = in_order(
            self.fetch,
            len(self.x),
            batch_size=self.recipe.loader.eval_batch_size,
            rank=accelerator.process_index,
            world=accelerator.num_processes,
        )
        for x, y in batches:
            x, y = (t.double() if self.recipe.model.wide else t for t in (x, y))
            total += F.mse_loss(models["main"](x), y, reduction="sum").double()
        yield {"test_loss": accelerator.reduce(total, "sum").item() / len(self.x)}
        yield {"event": "note", "half": 0.5}

    def describe(self):
        return {"task": "toy", "kind": self.recipe.model.kind}

    def result(self, epochs):
        return {"last_loss": epochs[-1]["test_loss"]} if epochs else {}

    def lead(self):
        return "A toy."

    def plots(self, records):
        return []


class Listener:
    """Keeps what it hears, and calls `at` after every update with their number."""

    def __init__(self, at=None):
        self.records, self.at, self.ticks = [], at, 0

    def record(self, record):
        self.records.append(record)

    def tick(self, **progress):
        self.ticks += 1
        if self.at:
            self.at(self.ticks)


def recipe(out="runs", **settings):
    """Return a toy recipe from dotted names with "__": ``schedule__epochs=2``."""
    given = {name.replace("__", "."): value for name, value in settings.items()}
    defaults = ToyRecipe().model_dump(mode="json")
    return resolve(ToyRecipe, file=defaults, given=given | {"run.out": str(out)})


def run(out="runs", *, at=None, resume=False, overwrite=False, task=ToyTask, **settings):
    """Train a toy in this process; return what `train` does and the listener."""
    listener = Listener(at)
    finished = train(
        recipe(out, **settings), task, listener, command="toy", resume=resume, overwrite=overwrite
    )
    return finished, listener


def main(arguments):
    """Train as the arguments say; return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default="runs")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--say-steps", action="store_true")
    asked = parser.parse_args(arguments)
    settings = {key.replace(".", "__"): value for key, value in (s.split("=") for s in asked.set)}
    at = (lambda step: print("step", step, flush=True)) if asked.say_steps else None
    try:
        run(asked.out, at=at, resume=asked.resume, **settings)
    except QrError as error:
        print(f"{error.message}\n{error.hint}", file=sys.stderr, flush=True)
        return error.exit_code
    return 0


def serve():
    """Fork one process per line of stdin; say its id at once and its exit status at its end."""
    import torch.distributed.fsdp  # noqa: F401  as Accelerate does for several ranks

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1)  # imports torch's compiler
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        children = []
        for environment in request["ranks"]:
            pid = os.fork()
            if not pid:
                child(request, environment)
            children.append(pid)
        print(json.dumps(children), flush=True)
        codes = {pid: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children}
        print(json.dumps([codes[pid] for pid in children]), flush=True)


def child(request, environment):
    """Be a process of its own: other environment, other output, no way back."""
    os.environ.update(environment)
    os.chdir(Path(request["log"]).parent)
    talk = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(talk, 1)
    os.dup2(talk, 2)
    os.close(0)
    code = 1
    try:
        code = main(request["arguments"])
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1:] == ["--serve"]:
        serve()
    else:
        sys.exit(main(sys.argv[1:]))
