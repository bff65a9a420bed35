"""`qr eval generate`."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from qr_cli.cli.options import Call, recipe_app
from qr_cli.cli.output import out
from qr_cli.cli.status import Status
from qr_cli.generate.eval_recipe import GenerateEval
from qr_cli.generate.extra import prepare

Record = dict[str, Any]
# event -> title, its columns; ">" is aligned to the right
TABLES = {
    "embedding": (
        "embeddings, against those of the keywords",
        ("condition", "eta", "cosine", "retrieval", "label_digit", "label_tint", "norm_ratio"),
    ),
    "eval": (
        "pictures, per cent right",
        ("condition", "eta", "category", "judge", "accuracy", "low", "high", "n"),
    ),
    "compare": (
        "{treated} against {control}",
        ("eta", "measure", "difference", "low", "high", "win", "loss", "gap_closed"),
    ),
    "dial": ("largest eta that spares keywords", ("judge", "eta", "keyword_adapter", "adapter")),
}
SHARES = ("accuracy", "low", "high", "retrieval", "label_digit", "label_tint", "keyword_adapter",
          "adapter", "gap_closed")  # fmt: skip
TEXTS = ("condition", "category", "judge", "measure")


def command(call: Call[GenerateEval]) -> None:
    """Stream records; on a terminal show one table per kind."""
    prepare()
    found: list[Record] = []
    with ExitStack() as stack:
        stack.callback(_show, found)
        status = stack.enter_context(Status(out))
        from qr_cli.generate.evaluate import evaluate

        for record in evaluate(call.recipe, status.doing):
            out.record(record)
            found.append(record)
            if record["event"] == "report":
                out.value(record["report"])
                out.hint(f"open {record['report']}")


def _show(records: list[Record]) -> None:
    for event, (title, columns) in TABLES.items():
        tables: dict[str, list[Record]] = {}
        for record in records:
            if record["event"] == event:
                tables.setdefault(title.format_map(record), []).append(record)
        for name, own in tables.items():
            used = [c for c in columns if any(r.get(c) is not None for r in own)]
            heads = [_head(c) + ("" if c in TEXTS else ">") for c in used]
            rows = [[_cell(c, r) for c in used] for r in own]
            out.table(f"{name}: {own[0]['suite']}", heads, rows)


def _head(column: str) -> str:
    return column.removeprefix("label_").replace("_", " ")


def _cell(column: str, record: Record) -> str:
    value = record.get(column)
    if value is None:
        return "-"
    share = column in SHARES and (record["event"] != "compare" or _is_share(record))
    if isinstance(value, float) and (share or (column == "difference" and _is_share(record))):
        return f"{100 * value:.1f}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _is_share(record: Record) -> bool:
    """Tell whether a comparison is of shares: a measure with a gap to close, or judged."""
    return record.get("measure") not in ("sharpness", "colourfulness", "clip_text", "clip_prompt")


app = recipe_app(
    GenerateEval,
    command,
    task="generate",
    command="qr eval generate",
    help="Say whether an adapter helps: pictures with and without it, from the same noise.\n\n"
    "Several adapters are training seeds of one. What the tiny base shows is a test-bed result.",
    examples=[
        "qr eval generate --adapter tiny --suite tiny/recombined",
        "qr eval generate --adapter a,b,c --seeds 0,1 --sweep-eta 0.25,0.5,0.75 --out report",
        "qr eval generate --base sd15 --adapter sur --suite plain30 --judges vqa:blip",
    ],
    writes_runs=False,
)
