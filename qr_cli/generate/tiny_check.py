"""`qr data tiny-sd build`: train the tiny base, say how well it draws, compare with what ships."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from qr_cli.engine.folder import appearing, usable
from qr_cli.errors import RunFailed
from qr_cli.generate import tiny, tiny_build
from qr_cli.generate.base import TINY, load_base, quiet_libraries
from qr_cli.generate.digits import load_digits, paint, tint_table
from qr_cli.generate.judges import CnnJudge, KnnJudge, TintJudge, train_digit_cnn
from qr_cli.generate.measure import Cell, Look, run_conditions
from qr_cli.generate.suites import seen
from qr_cli.generate.tiny_recipe import TinySd

Record = dict[str, Any]
# what a base must reach: condition, judge, at least or at most, share
BARS = (
    ("keyword", "digit-cnn", ">=", 0.95),
    ("keyword", "digit-knn", ">=", 0.95),
    ("keyword", "tint", ">=", 0.98),
    ("base", "digit-cnn", "<=", 0.20),
    ("base", "digit-knn", "<=", 0.20),
    ("base", "tint", "<=", 0.30),
)
PER_STEP = 100  # updates between progress lines


def build(
    recipe: TinySd, doing: Callable[[str, str], None] = lambda subject, job: None
) -> Iterator[Record]:
    """Train a base into a folder; with --check also judge it and the one that ships.

    Args:
        recipe: how, and where to; with --check it needs no folder.
        doing: is told of progress.

    Raises:
        UsageError: there is no folder, or it is taken.
        RunFailed: with --check, a figure does not reach its bar.
    """
    what, how = recipe.build, recipe.tiny
    target = None
    if what.out is not None or not what.check:
        target = usable(what.out, overwrite=what.overwrite)

    def tick(step: int, loss: float) -> None:
        if step % PER_STEP == 0:
            doing("training", f"update {step} of {how.steps}, loss {loss:.3f}")

    quiet_libraries()
    doing("training", f"{how.steps} updates")
    pipe, loss = tiny_build.train(**how.model_dump(), tick=tick)
    with TemporaryDirectory() as place:
        made = Path(place) / "tiny-sd"
        tiny.save(pipe, made)
        yield {
            "event": "build",
            "seed": how.seed,
            "steps": how.steps,
            "last_loss": loss,
            "unet_parameters": sum(p.numel() for p in pipe.unet.parameters()),
            "bytes": sum(path.stat().st_size for path in made.rglob("*") if path.is_file()),
            "out": None if target is None else str(target),
        }
        if target is not None:
            with appearing(target) as hidden:
                shutil.copytree(made, hidden, dirs_exist_ok=True)
        if what.check:
            yield from _check(made, how.seed, doing)


def figures(base: str, doing: Callable[[str, str], None] = lambda subject, job: None) -> Record:
    """Return the shares that each judge calls right: 240 keyword prompts, 240 narratives."""
    rows = seen()
    judges = {"digit-cnn": CnnJudge(), "digit-knn": KnnJudge(), "tint": TintJudge()}
    found = run_conditions(
        load_base(base), rows, {}, (), Look(judges), seeds=(0,),
        steps=int(tiny.DEFAULTS["steps"]), guidance=float(tiny.DEFAULTS["guidance"]),
        batch_size=60, doing=doing,
    )  # fmt: skip
    return {
        f"{condition}_{judge}": float(found.per_prompt(Cell(condition, 0.0), judge).mean())
        for condition in ("keyword", "base")
        for judge in judges
    }


def judge_figures(seed: int = 0) -> Record:
    """Return the accuracy of judges on the generator's digits; the network is trained anew."""
    grey, labels = load_digits("generator")
    which = labels.new_tensor(range(len(labels))) % len(tint_table())
    pictures = paint(grey, tint_table()[which])
    anew = CnnJudge()
    anew.network = train_digit_cnn(seed)
    return {
        "digit-cnn": float((CnnJudge().read(pictures) == labels).double().mean()),
        "digit-cnn_anew": float((anew.read(pictures) == labels).double().mean()),
        "digit-knn": float((KnnJudge().read(pictures) == labels).double().mean()),
        "tint": float((TintJudge().read(pictures) == which).double().mean()),
    }


def _check(made: Path, seed: int, doing: Callable[[str, str], None]) -> Iterator[Record]:
    """Yield the figures of the shipped base, of the new one, and of the judges."""
    doing("judges", "training one anew")
    yield {"event": "judges", "seed": seed, **judge_figures(seed)}
    failed: list[str] = []
    for name, base in (("shipped", str(TINY)), ("built", str(made))):
        doing(name, "240 keyword prompts, 240 narratives")
        found = figures(base)
        yield {"event": "check", "base": name, **found}
        for condition, judge, sign, bar in BARS:
            value = found[f"{condition}_{judge}"]
            if not (value >= bar if sign == ">=" else value <= bar):
                failed.append(f"{name}: {condition} {judge} {value:.3f}, not {sign} {bar:g}")
    if failed:
        raise RunFailed("; ".join(failed), hint="qr data tiny-sd build --check --seed 1")
