"""The commands of README and docs run, and print what stands there; examples are executed."""

import json
import os
import re
import shlex
import subprocess
import sys
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

import qr_cli

ROOT = Path(__file__).parents[1]
EVIDENCE = ROOT / "benchmarks" / "README.md"
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)


def is_static(command: str) -> bool:
    """Tell whether a command's output depends on nothing but the code."""
    return command.startswith("qr list") or "--dry-run" in command or "--lr -1" in command


def sessions() -> list[tuple[str, str]]:
    """Return (command, output) of every console block of README.md and docs/, each once."""
    found = []
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for block in BLOCK.findall("\n".join(page.read_text("utf-8") for page in pages)):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            while command.endswith("\\"):
                more, _, output = output.partition("\n")
                command = command[:-1] + more.strip()
            if (command, output) not in found:
                found.append((command, output))
    return found


def environment(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which `qr` is this checkout's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, words in (("qr", " -m qr_cli"), ("python3", "")):
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)}{words} "$@"\n')
        program.chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize(
    "command", [c for c, _ in sessions() if c.startswith("qr train attention") and not is_static(c)]
)
def test_a_training_command_of_the_readme_can_be_planned(command: str) -> None:
    from qr_cli.cli.app import run

    arguments = shlex.split(command.split(" | ")[0])[1:]
    own = [i for i, a in enumerate(arguments) if a.startswith(("npz:", "folder:"))]
    for place in own:  # data of the reader's own; its image size and classes stand in
        arguments[place] = "shapes(train=128,test=64)"
    if "qrange-cifar" in arguments:
        arguments += ["--data", "shapes"]
    assert run([*arguments, "--dry-run"]) == 0


def static_sessions() -> list[Any]:
    """Return the sessions that can be repeated; one imports diffusers for it and is slow."""
    return [
        pytest.param(*s, marks=[pytest.mark.slow] if "sur-adapter" in s[0] else [])
        for s in sessions()
        if is_static(s[0])
    ]


@pytest.mark.parametrize(("command", "output"), static_sessions(), ids=lambda v: v[:40])
def test_the_readme_shows_what_is_printed(command: str, output: str, tmp_path: Path) -> None:
    env = environment(tmp_path) | {"COLUMNS": "80", "TERM": "dumb"}
    terminal = f"script -qec {shlex.quote(command)} /dev/null"
    shown = subprocess.run(
        terminal, shell=True, env=env, cwd=tmp_path, capture_output=True, text=True
    )
    lines = [line.rstrip() for line in shown.stdout.replace("\r", "").splitlines()]
    assert "\n".join(lines).strip() == output.strip()


def shown_commands() -> list[str]:
    """Return every qr command in a block of README.md, docs/, recipes' headers or benchmarks/."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), EVIDENCE]
    blocks = re.findall(
        r"^```[a-z]*\n(.*?)^```", "\n".join(p.read_text("utf-8") for p in pages), re.S | re.M
    )
    text = "\n".join(blocks).replace("\\\n", " ")
    text += "\n" + "\n".join(re.findall(r"`(qr [^`]*)`", EVIDENCE.read_text("utf-8")))
    for recipe in (ROOT / "recipes").rglob("*.yaml"):
        text += "\n" + "\n".join(re.findall(r"^# Command: (.*)", recipe.read_text("utf-8"), re.M))
    found = re.findall(r"(?:^(?:\$ )?|&& (?:\.venv/bin/)?|\| |> )(qr [^|&>#\n]*)", text, re.M)
    return sorted({command.strip() for command in found})


@pytest.mark.parametrize("command", shown_commands(), ids=lambda c: c[:60])
def test_every_command_that_is_shown_exists_with_its_flags(command: str) -> None:
    from typer import Context
    from typer.main import get_command

    from qr_cli.cli.app import app

    known: Any = get_command(app)
    words = shlex.split(command)[1:]
    while words and hasattr(known, "list_commands") and not words[0].startswith("-"):
        _, known, words = known.resolve_command(Context(known), words)
    flags = {flag for p in known.params for flag in (*p.opts, *p.secondary_opts)}
    used = [word.split("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)]
    if "lr -1" not in command:
        assert not [flag for flag in used if flag not in flags | {"--help"}]


def test_the_evidence_page_names_every_script_and_nothing_that_is_not_there() -> None:
    page = EVIDENCE.read_text("utf-8")
    scripts = {path.name for path in (ROOT / "benchmarks").glob("*.py")}
    named = set(re.findall(r"\b\w+\.py\b", page))
    assert scripts <= named
    for path in re.findall(r"(?:benchmarks|tests)/[\w/]+\.py", page):
        assert (ROOT / path).is_file(), path
    for target, _, anchor in (m.partition("#") for m in re.findall(r"\]\(\.\./([^)]*)\)", page)):
        heads = re.findall(r"^#+ (.*)", (ROOT / target).read_text("utf-8"), re.M)
        slugs = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
        assert not anchor or anchor in slugs, f"{target}#{anchor}"


def scripts() -> list[Any]:
    """Return the Python examples; those that train or draw much are marked slow."""
    slow = {"generate_in_ten_lines.py", "where_does_it_look.py"}
    names = sorted(path.name for path in (ROOT / "examples").glob("*.py"))
    return [pytest.param(n, marks=[pytest.mark.slow] if n in slow else []) for n in names]


def test_every_name_that_pages_take_from_the_package_is_there() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    text = "\n".join(page.read_text("utf-8") for page in pages)
    names = sorted(set(re.findall(r"\bqr((?:\.[a-z_]\w*)+)\(", text)))
    assert len(names) > 8
    for name in names:
        attrgetter(name[1:])(qr_cli)


@pytest.mark.parametrize("script", scripts())
def test_a_python_example_runs(script: str, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, ROOT / "examples" / script],
        env=environment(tmp_path),
        cwd=tmp_path,
        check=True,
        timeout=120,
    )


@pytest.mark.slow
def test_modules_are_compared_by_a_shell_pipeline(tmp_path: Path) -> None:
    shown = subprocess.run(
        [ROOT / "examples" / "compare_modules.sh", "runs", "smoke", "0,1", "none", "lsas"],
        env=environment(tmp_path),
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    head, *rows = [line.split("\t") for line in shown.stdout.splitlines()]
    assert [row[0] for row in rows] == ["none", "lsas(se)"]
    assert all(len(row) == len(head) and 0 <= float(row[4]) <= 1 for row in rows)


@pytest.mark.slow
def test_a_module_of_ones_own_is_trained_and_evaluated(tmp_path: Path) -> None:
    env = environment(tmp_path)
    env["PYTHONPATH"] += os.pathsep + str(ROOT / "examples")
    env["QR_TRUST"] = "my_module"  # the checkpoint names it
    command = [
        *("qr", "train", "attention", "--recipe", "smoke", "--quiet"),
        *("--module", "my_module:MixGate(share=0.75)"),
    ]
    trained = subprocess.run(
        command, env=env, cwd=tmp_path, check=True, capture_output=True, text=True
    )
    folder = trained.stdout.strip()
    subprocess.run(["qr", "eval", "attention", folder], env=env, cwd=tmp_path, check=True)


@pytest.mark.slow
def test_asr_is_trained_folded_and_loaded_by_torchvision(tmp_path: Path) -> None:
    shown = subprocess.run(
        [ROOT / "examples" / "asr_to_torchvision.sh"],
        env=environment(tmp_path),
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "28 folded" in shown.stdout and "strict=True" in shown.stdout


def test_fusion_methods_are_ranked_by_a_shell_pipeline(tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    generator = np.random.default_rng(0)
    weights = generator.random((8, 8, 3)).repeat(6, 0).repeat(6, 1)
    cube = weights @ generator.random((3, 40)) + 0.1 * generator.random((48, 48, 1))
    np.savez(tmp_path / "cube.npz", cube=cube, wavelength_nm=np.linspace(420, 880, 40))
    shown = subprocess.run(
        [ROOT / "examples" / "fuse_compare.sh", "cube.npz", "4", "rgb", "bicubic", "glp"],
        env=environment(tmp_path),
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    rows = [line.split("\t") for line in shown.stdout.splitlines()]
    assert [row[0] for row in rows] == ["glp.npz", "bicubic.npz"]


@pytest.mark.slow
def test_the_dial_of_an_adapter_is_read_by_a_shell_pipeline(tmp_path: Path) -> None:
    row = {"id": "1", "category": "x", "text": "a number for the legs of a spider like snow",
           "prompt": "white digit eight", "label": {"digit": 8, "tint": "white"}}  # fmt: skip
    (tmp_path / "suite.jsonl").write_text(json.dumps(row), "utf-8")
    shown = subprocess.run(
        [ROOT / "examples" / "eta_dial.sh", "tiny", "suite.jsonl", "0.5"],
        env=environment(tmp_path),
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        timeout=600,
    )
    head, *rows = [line.split("\t") for line in shown.stdout.splitlines()]
    assert head == ["eta", "keywords", "sentences"]
    assert [row[0] for row in rows] == ["0", "0.5", "1"]
    assert rows[0][1] == "100.0"


@pytest.mark.slow
def test_sentences_become_pictures_by_a_shell_pipeline(tmp_path: Path) -> None:
    sentences = "the legs of a spider, like snow\nthe number of a cat's ears, like grass\n"
    shown = subprocess.run(
        [ROOT / "examples" / "draw_lines.sh", "--steps", "2"],
        env=environment(tmp_path),
        cwd=tmp_path,
        check=True,
        input=sentences,
        capture_output=True,
        text=True,
        timeout=600,
    )
    rows = [line.split("\t") for line in shown.stdout.splitlines()]
    assert [row[1] for row in rows] == sentences.splitlines()
    assert all((tmp_path / row[0]).is_file() for row in rows)
