"""The report of `qr eval generate`: figures, tables, plots and pictures in one folder.

recipe.yaml  run.json  metrics.jsonl  report.json  report.html  plots/*.png
grid.png     eight prompts, a column per condition
images/      the pictures of the first adapter and the first noise seed
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image

from qr_cli.engine.evaluation import write_evaluation
from qr_cli.engine.figures import LIGHT
from qr_cli.engine.files import whole, write_text
from qr_cli.engine.report import Plot, Table
from qr_cli.generate import plots
from qr_cli.generate.adapter import SURAdapter
from qr_cli.generate.diagnose import embed
from qr_cli.generate.encode import encode, tokenize
from qr_cli.generate.eval_recipe import GenerateEval
from qr_cli.generate.fingerprints import text_fingerprint, unet_fingerprint, weights_digest
from qr_cli.generate.grid import Row, grid_figure, write_png
from qr_cli.generate.measure import Found

Record = dict[str, Any]
# event -> title, caption, columns
TABLES = {
    "eval": (
        "Pictures",
        "Share of pictures a judge calls right; mean over adapters and noise seeds, 95 % interval "
        "over prompts.",
        ("condition", "eta", "category", "judge", "accuracy", "low", "high", "n"),
    ),
    "compare": (
        "With and without the adapter",
        "Paired by prompt and noise; 95 % bootstrap interval over prompts, exact sign test. Gap "
        "closed: 1 is as good as keywords. Range: over training seeds.",
        ("treated", "control", "eta", "measure", "difference", "low", "high", "win", "tie", "loss",
         "sign_p", "gap_closed", "range"),
    ),
    "embedding": (
        "Embeddings",
        "Against the keyword embeddings: divergence per token, cosine, distance; share of nearest "
        "neighbours that are their own. Cosine does not measure success, retrieval does.",
        ("condition", "eta", "kl", "cosine", "l2", "retrieval", "label_digit", "label_tint",
         "norm_ratio", "keyword_drift", "empty_drift"),
    ),
    "dial": (
        "Largest eta that spares keywords",
        "Keyword accuracy within one point of that without the adapter.",
        ("judge", "eta", "keyword", "keyword_adapter", "adapter"),
    ),
}  # fmt: skip
_SHOWN = 6  # prompts of the attention plot
LIMITS = (
    "These figures hold for this base, these prompts and these judges. The tiny base draws ten "
    "digits in six tints: nothing follows from it for Stable Diffusion."
)


class Evaluated(NamedTuple):
    """What was evaluated, for plots and pictures."""

    pipe: Any
    rows: Sequence[Record]
    adapters: dict[str, SURAdapter]
    found: Found
    eta: float


def write(folder: Path, recipe: GenerateEval, records: list[Record], what: Evaluated) -> Record:
    """Write the report; return the "report" record."""
    base = {
        "base": recipe.target.base,
        "base_text_fingerprint": text_fingerprint(what.pipe.text_encoder),
        "base_unet_fingerprint": unet_fingerprint(what.pipe.unet),
    }
    digests = {name: weights_digest(adapter) for name, adapter in what.adapters.items()}
    made = write_evaluation(
        folder,
        recipe,
        records,
        lead=f"{', '.join(what.adapters)} on {recipe.target.base}, {len(what.rows)} prompts of "
        f"{recipe.question.suite}. {LIMITS}",
        figures=_plots(records, what),
        tables=[_table(event, records) for event in TABLES],
        facts={"status": "finished", "runs": len(what.adapters), **base, "adapters": digests},
    )
    whole = {**base, "adapters": digests, "limits": LIMITS, "records": records}
    write_text(folder / "report.json", json.dumps(whole, indent=1) + "\n")
    _pictures(folder, what)
    return made


def _plots(records: list[Record], what: Evaluated) -> list[Plot]:
    found = [
        _grid_plot(what) if what.found.pictures else None,
        plots.accuracy_plot(records, what.eta),
        plots.sweep_plot(records, what.eta),
        plots.labels_plot(what.found, what.rows, what.eta),
        plots.outcome_plot(records, what.eta),
        *_inside(what),
    ]
    return [plot for plot in found if plot is not None]


def _inside(what: Evaluated) -> list[Plot | None]:
    """Return what the first adapter does to embeddings."""
    adapter = next(iter(what.adapters.values())).to("cpu")
    texts = [what.rows[i]["text"] for i in spread(len(what.rows), _SHOWN)]
    x = encode(what.pipe, texts).float().cpu()
    with torch.no_grad():
        weights = adapter.attention.weights(adapter.encode(x), x).numpy()
    words = [_words(what.pipe.tokenizer, text) for text in texts]
    attention = plots.attention_plot(weights, words) if len(texts) == _SHOWN else None
    if "prompt" not in what.rows[0]:
        return [attention]
    embedded = embed(what.pipe, what.rows)
    with torch.no_grad():
        adapted = adapter(embedded.narratives, what.eta).out.numpy()
    return [attention, plots.map_plot(embedded, adapted)]


def _words(tokenizer: Any, text: str) -> list[str]:
    ids = tokenize(tokenizer, [text])
    tokens = tokenizer.convert_ids_to_tokens(ids.ids[0, : int(ids.ends[0]) + 1].tolist())
    return ["start", *(token.removesuffix("</w>") for token in tokens[1:-1]), "end"]


def _pictures(folder: Path, what: Evaluated) -> None:
    """Write the pictures of the first adapter and noise seed, and a grid of some."""
    if not what.found.pictures:
        return
    (folder / "images").mkdir(exist_ok=True)
    for cell, pictures in what.found.pictures.items():
        name = (
            cell.condition if cell.eta in (0.0, what.eta) else f"{cell.condition}-eta{cell.eta:g}"
        )
        for number, pixels in enumerate(pictures):
            with whole(folder / "images" / f"{number:05d}-{name}.png") as hidden:
                Image.fromarray(pixels.numpy()).save(hidden)
    write_png(folder / "grid.png", _grid(what, LIGHT, 8))


def _grid_plot(what: Evaluated) -> Plot:
    return Plot(
        "pictures",
        "The same noise under every condition",
        "Four evenly spread prompts, first noise seed, first adapter; eight are in grid.png.",
        lambda theme: _grid(what, theme, 4),
    )


def _grid(what: Evaluated, theme: Any, count: int) -> Any:
    """Return the grid: conditions across, or etas where they were swept."""
    etas = {cell.eta for cell in what.found.pictures if cell.condition == "adapter"}
    if len(etas) > 1:
        cells = [c for c in what.found.pictures if c.condition in ("base", "adapter")]
        cells = sorted({c.eta: c for c in cells}.values(), key=lambda c: c.eta)
        names = [f"eta {cell.eta:g}" for cell in cells]
    else:
        kept = ("base", "adapter", "keyword")
        cells = sorted(
            (c for c in what.found.pictures if c.condition in kept),
            key=lambda c: kept.index(c.condition),
        )
        names = [cell.condition for cell in cells]
    rows = [
        Row(what.rows[i]["text"], [what.found.pictures[cell][i].numpy() for cell in cells])
        for i in spread(len(what.rows), count)
    ]
    return grid_figure(theme, names, rows)


def spread(total: int, count: int) -> list[int]:
    """Return up to `count` evenly spread numbers below `total`."""
    return sorted({(2 * i + 1) * total // (2 * count) for i in range(count)})


def _table(event: str, records: Sequence[Record]) -> Table:
    title, caption, columns = TABLES[event]
    own = [record for record in records if record["event"] == event]
    used = [c for c in columns if any(_cell(record, c) is not None for record in own)]
    rows = [[_cell(record, column) for column in used] for record in own]
    return Table(title, caption, [c.replace("_", " ") for c in used], rows)


def _cell(record: Record, column: str) -> Any:
    if column == "range":
        ends = record.get("seed_range")
        return f"{ends[0]:.3f} .. {ends[1]:.3f}" if ends else None
    value = record.get(column)
    return round(value, 4) if isinstance(value, float) and abs(value) >= 1e-3 else value
