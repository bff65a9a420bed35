"""`qr train sur-adapter`."""

from __future__ import annotations

from qr_cli.cli.options import Call, recipe_app
from qr_cli.cli.output import out
from qr_cli.cli.plan import show_plan
from qr_cli.cli.progress import shown
from qr_cli.cli.training import train_each
from qr_cli.generate.extra import prepare
from qr_cli.generate.recipe import SurTrain

FIGURES = ("retrieval", "label_digit", "label_tint", "keyword_drift")


def command(call: Call[SurTrain]) -> None:
    """Show the plan, start ranks, or train one run per seed."""
    recipe = call.recipe
    prepare()
    if call.dry_run:
        from qr_cli.generate.plan import plan

        show_plan(call, plan(recipe), [])
        return
    rows, folders = [], []
    for finished in train_each(call, "qr_cli.generate.task:SurTask"):
        folder, result = str(finished.folder), finished.result
        rows.append([folder, *(shown(key, result.get(f"val_{key}")) for key in FIGURES)])
        folders.append(folder)
        out.value(folder)
    title = "rows held out; embeddings only, no picture was judged"
    names = ["run", *(f"{key.replace('_', ' ')}>" for key in FIGURES)]
    out.table(title, names, rows)
    base = "" if recipe.model.base == "tiny" else f" --base {recipe.model.base}"
    out.hint(f'qr generate "..."{base} --adapter {folders[0]} --compare')
    if recipe.model.base == "tiny":
        out.hint(f"qr eval generate --adapter {','.join(folders)} --suite tiny/recombined")


app = recipe_app(
    SurTrain,
    command,
    task="generate",
    command="qr train sur-adapter",
    help="Train a SUR-adapter, so that a base model understands plain sentences.\n\n"
    "Data are a SURD folder: see qr data surd. The base, its text encoder included, stays as it "
    'is. What the base "tiny" shows says nothing about Stable Diffusion.',
    examples=[
        "qr train sur-adapter --recipe sur-tiny",
        "qr train sur-adapter --data SURD/ --base sd15/ --teacher minilm",
        "qr train sur-adapter --data SURD/ --base sd15/ --teacher 39.pt --compat official",
    ],
)
