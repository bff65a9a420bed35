"""The card of an adapter: README.md in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qr_cli import __version__
from qr_cli.generate.recipe import SurTrain


def card_text(
    recipe: SurTrain, config: Mapping[str, Any], figures: Mapping[str, Any], *, rows: int
) -> str:
    """Return what a stranger should know before using an adapter."""
    loss, diffusion = recipe.loss, recipe.diffusion
    teacher = f"{recipe.teacher.teacher}, loss {recipe.teacher.llm_loss}, weight " + (
        f"{recipe.llm_weight:g}"
    )
    phases = f"{recipe.schedule.steps} updates"
    if diffusion.joint:
        phases += f" with the diffusion loss, gradient {diffusion.diffusion_gradient}"
    elif diffusion.diffusion_steps:
        phases += f", then {diffusion.diffusion_steps} with the diffusion loss"
    table = [
        ("base", f"{config['base_name']} (text encoder {config['base_text_fingerprint'][:12]})"),
        ("eta", f"{config['eta']:g}"),
        ("attention axis", config["attention_axis"]),
        ("data", f"{recipe.data.data}, {rows} training rows"),
        ("teacher", teacher if recipe.distils else "none"),
        ("losses", f"{loss.prompt_loss} on {loss.prompt_loss_on}, compat {loss.compat}"),
        ("training", f"{phases}, seed {recipe.run.seed}"),
        ("made by", f"qr {__version__}"),
    ]
    measured = [f"| {key} | {value:.4g} |" for key, value in figures.items() if value is not None]
    lines = [
        "# SUR-adapter",
        "",
        "Works for the base it was trained for and gives garbage on others. Use:",
        '`qr generate "..." --base FOLDER --adapter THIS`, or `qr_cli.attach(pipe, "THIS")`.',
        "",
        "| | |",
        "| --- | --- |",
        *(f"| {key} | {value} |" for key, value in table),
        "",
        "Embeddings of rows held out from training (they do not say what a picture shows):",
        "",
        "| measure | value |",
        "| --- | --- |",
        *(measured or ["| none | |"]),
    ]
    return "\n".join(lines) + "\n"
