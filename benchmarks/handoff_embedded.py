"""How good the embedded model is: dbdc3 bot turns, five folds and one system left out.

    python benchmarks/handoff_embedded.py --data dbdc3_en.jsonl --seeds 0,1,2

Prints pooled AUC and AP, the mean AUC within systems, and the AUC on a system that was not in the
training data, for the recipe `dbdc3-en` without labour cost, and for lr with soft labels.
"""

import argparse
import time

import numpy as np
import torch

from qr_cli.engine.resolve import by_name, read_recipe, resolve
from qr_cli.handoff.build import predict
from qr_cli.handoff.metrics import area_under_curve, average_precision
from qr_cli.handoff.mhch import fold_of
from qr_cli.handoff.recipe import Handoff
from qr_cli.handoff.task import HandoffTask


def scores(task, learn, held, seed):
    """Return log-odds of the held-out dialogues by a model of the others."""
    corpus = task.corpus
    torch.manual_seed(seed)
    if task.recipe.model.base == "lr":
        from qr_cli.handoff.lr_fit import fit_model

        model = task.fresh_model()
        fit_model(model, corpus.part(learn), task.recipe.causal)
        return [s.odds for s in predict(model, corpus.part(held))]
    model = task.fresh_model()
    parts = task.trained(
        model, lambda i, e: corpus.batch(learn[i.numpy()]), len(learn), rank=0, world=1
    )
    optimizer = parts.optimizers["main"]
    model.train()
    for epoch in range(task.recipe.schedule.epochs):
        for chunk in parts.train.epoch(epoch):
            (update,) = task.step(parts.models, chunk.batch)
            optimizer.zero_grad()
            update.loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), task.recipe.optim.clip_norm)
            optimizer.step()
    return [s.odds for s in predict(model, corpus.part(held))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--epochs", type=int)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for base in ("lr", "gru"):
        seeds = [0] if base == "lr" else list(map(int, args.seeds.split(",")))
        rows = []
        begun = time.process_time()
        for seed in seeds:
            given = {"data": args.data, "base": base, "seed": seed, "cem": base != "lr"}
            if args.epochs:
                given["epochs"] = args.epochs
            recipe = resolve(
                Handoff,
                file=read_recipe("handoff", "dbdc3-en"),
                given=by_name(Handoff, given),
            )
            task = HandoffTask(recipe)
            count = len(task.corpus)
            system = np.array(
                [d.extra["source"].split()[-1].split("_")[0] for d in task.corpus.dialogues]
            )
            votes = [
                [np.nan if u.handoff is None else float(u.extra.get("breakdown") == "X")
                 for u in d.utterances[: recipe.text.max_turns]]
                for d in task.corpus.dialogues
            ]  # fmt: skip
            fold = np.array(fold_of(count))
            folded = [None] * count
            for f in range(5):
                held = np.flatnonzero(fold == f)
                for i, d in zip(
                    held, scores(task, np.flatnonzero(fold != f), held, seed), strict=True
                ):
                    folded[i] = d
            row = pooled(folded, votes, range(count))
            within = {
                s: pooled(folded, votes, np.flatnonzero(system == s))[0]
                for s in sorted(set(system))
            }
            out = {}
            for s in sorted(set(system)):
                held = np.flatnonzero(system == s)
                found = scores(task, np.flatnonzero(system != s), held, seed)
                out[s] = pooled(dict(zip(held, found, strict=True)), votes, held)[0]
            rows.append([*row, np.mean(list(within.values())), *within.values(),
                         np.mean(list(out.values())), *out.values()])  # fmt: skip
            print(base, "seed", seed, np.round(rows[-1], 3), flush=True)
        names = [
            "AUC",
            "AP",
            "within",
            *(f"within {s}" for s in within),
            "left out",
            *(f"out {s}" for s in out),
        ]
        print(base, f"mean of {len(rows)} seeds,", f"{time.process_time() - begun:.0f} CPU s")
        for name, values in zip(names, np.array(rows).T, strict=True):
            print(f"  {name:14} {values.mean():.3f}  ({values.min():.3f} to {values.max():.3f})")


def pooled(odds, votes, chosen):
    score = np.concatenate([odds[i] for i in chosen])
    label = np.concatenate([votes[i] for i in chosen])
    keep = ~np.isnan(label)
    return area_under_curve(score[keep], label[keep]), average_precision(score[keep], label[keep])


if __name__ == "__main__":
    main()
