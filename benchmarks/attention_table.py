"""Train modules with several seeds alike, then compare them in one table.

    python benchmarks/attention_table.py --out runs                    # the whole table on shapes
    python benchmarks/attention_table.py --out runs --small            # ten epochs, one seed
    python benchmarks/attention_table.py --out runs --modules "none;se;lsas(se)" --seeds 0,1,2 \\
        --bias -- --data npz:DIR --epochs 30 --precision bf16

What follows `--` are flags of `qr train attention`, the same for every run. Finished runs are
skipped, interrupted ones resumed: stop it and type the same again. Several loops may share a folder
as long as no two train the same run; one more call prints the table of all. Without `--data` after
`--` everything is done twice, for backgrounds that tell the class in 60 and in 95 % of the images.

Prints every command that it runs, the comparison (last epochs, with intervals over seeds) and with
`--bias` where the networks look. Short runs rank no methods: a module with a low start gate is
behind because it starts later.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attention_bias
from rich.console import Console
from rich.table import Table

import qr_cli as qr
from qr_cli.attention.compare_tables import comparison_table, conventions
from qr_cli.attention.recipe import Attention
from qr_cli.engine.resolve import by_name, leaves, read_recipe, resolve
from qr_cli.engine.run import RunFolder
from qr_cli.errors import QrError

MODULES = "none;se;lsas(se);sem(fc,eca,ie);spem;ras;stepnet;asr(se);asr(se)+se"
SMALL = "none;se;lsas(se)"
CONTEXTS = ("shapes(context=0.6)", "shapes(context=0.95)")
WIDTH = 100


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--modules", help=f"separated by semicolons; default: {MODULES}")
    parser.add_argument("--seeds", help="default: 0,1,2")
    parser.add_argument("--baseline", help="compare with it; default: the first module")
    parser.add_argument("--small", action="store_true", help="ten epochs, one seed, three modules")
    parser.add_argument("--bias", action="store_true", help="also print where the networks look")
    options, flags = split(sys.argv[1:], parser)
    modules = (options.modules or (SMALL if options.small else MODULES)).split(";")
    seeds = numbers(options.seeds or ("0" if options.small else "0,1,2"))
    flags.setdefault("epochs", 10 if options.small else 30)
    sources = [flags.pop("data")] if "data" in flags else list(CONTEXTS)
    for source in sources:
        out = options.out if len(sources) == 1 else options.out / slug(source)
        runs = train(modules, seeds, {"data": source, **flags}, out)
        compare(runs, options.baseline or modules[0])
        if options.bias:
            attention_bias.show(runs)
    return 0


def split(
    arguments: Sequence[str], parser: argparse.ArgumentParser
) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Return our own options, and what follows "--" as keywords of the Python API."""
    at = list(arguments).index("--") if "--" in arguments else len(arguments)
    options = parser.parse_args(arguments[:at])
    switches = {leaf.flag: leaf.name for leaf in leaves(Attention) if leaf.kind is bool}
    flags: dict[str, Any] = {}
    rest = iter(arguments[at + 1 :])
    for flag in rest:
        positive = flag.replace("--no-", "--", 1)
        if positive in switches:
            flags[switches[positive]] = flag == positive
        elif flag.startswith("--"):
            name, equals, value = flag[2:].partition("=")
            flags[name.replace("-", "_")] = value if equals else next(rest, "")
        else:
            parser.error(f"after --: {flag!r} is no flag of qr train attention")
    return options, flags


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def slug(text: str) -> str:
    """Return a text as a file name."""
    return "".join(c if c.isalnum() or c in "._" else "-" for c in text).strip("-")


def train(
    modules: Sequence[str], seeds: Sequence[int], settings: Mapping[str, Any], out: Path
) -> list[str]:
    """Train every module with every seed, seed by seed; return the run folders by module."""
    runs: dict[tuple[str, int], str] = {}
    file = read_recipe("attention", settings["recipe"]) if "recipe" in settings else None
    for seed in seeds:
        for module in modules:
            mine = {"module": module, "seed": seed, "out": str(out)}
            given = {key: v for key, v in settings.items() if key != "recipe"} | mine
            recipe = resolve(Attention, file=file, given=by_name(Attention, given))
            folder = Path(recipe.run.out) / recipe.task / recipe.run_name
            runs[module, seed] = str(folder)
            if finished(folder, recipe):
                print(f"finished: {folder}", flush=True)
                continue
            words = command({**settings, **mine})
            print(f"$ {shlex.join(['qr', *words])}", flush=True)
            program = [sys.executable, "-m", "qr_cli", *words, "--resume"]
            done = subprocess.run(program, stdout=subprocess.DEVNULL)  # metrics.jsonl holds it
            if done.returncode:
                raise SystemExit(done.returncode)
    return [runs[module, seed] for module in modules for seed in seeds]


def finished(folder: Path, recipe: Attention) -> bool:
    """Tell whether a run is over; refuse a folder that holds a run of another recipe."""
    facts = folder / "run.json"
    if not facts.is_file() or json.loads(facts.read_text("utf-8")).get("status") != "done":
        return False
    RunFolder(folder).check(recipe, resume=True, overwrite=False)
    return True


def command(settings: Mapping[str, Any]) -> list[str]:
    """Return the words of `qr train attention` with these settings."""
    words = ["train", "attention"]
    for key, value in settings.items():
        flag = "--" + key.replace("_", "-")
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
        else:
            words += [flag, str(value)]
    return words


def compare(runs: Sequence[str], baseline: str) -> None:
    """Print one row per module, with intervals over its seeds."""
    several = {"baseline": baseline} if len(runs) > 1 else {}
    records = qr.run("eval", "attention", runs=tuple(runs), **several)
    groups = [record for record in records if record["event"] == "compare"]
    if not groups:
        print(f"{runs[0]}: top-1 {records[0]['top1']:.4f}, one run, nothing to compare")
        return
    columns, rows = comparison_table(groups)
    table = Table(title=f"{groups[0]['data']}, {groups[0]['arch']}", title_justify="left")
    for name in columns:
        right = name.endswith(">")
        table.add_column(name.removesuffix(">"), justify="right" if right else "left")
    for row in rows:
        table.add_row(*row)
    console = Console(width=WIDTH)
    console.print(table)
    console.print(conventions(groups), style="dim")
    console.print("report:", next(r["report"] for r in records if r["event"] == "report"))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except QrError as error:
        sys.exit(f"{error.message}\n{error.hint or ''}".strip())
