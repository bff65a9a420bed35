"""Who may import whom, and what no file may contain; read from the syntax trees."""

import ast
from functools import cache
from pathlib import Path

from tests.each import each_of

PACKAGE = Path(__file__).parents[1] / "qr_cli"
DOMAINS = ("attention", "reparam", "fuse", "generate", "geo", "handoff")
FLOOR = {"qr_cli", "qr_cli.registry", "qr_cli.errors"}
ALSO = {  # domain or file -> domains it may read
    "reparam": {"attention"},
    "generate/classifier.py": {"attention"},
}
LONG = {  # files over 400 lines and why they are one file
    "attention/grammar.py": "one grammar: reader, table of forms and checks speak of each other",
    "attention/data.py": "read and peek lay the same plan",
}
UNPICKLES = {"engine/unpickle.py": "third parties' pickles, through a whitelist of globals"}
LIGHT = (  # files that help and a dry run's checks read: no torch
    *("registry.py", "errors.py", "api.py", "engine/recipe.py", "engine/resolve.py"),
    *("engine/launch.py", "attention/names.py", "attention/grammar.py"),
    *("attention/backbones/names.py", "handoff/bases/__init__.py"),
    *("handoff/eval_recipe.py", "handoff/ask_recipe.py"),
    *("generate/sample_recipe.py", "generate/eval_recipe.py", "generate/tiny_recipe.py"),
    *("generate/names.py", "generate/extra.py"),
)
HEAVY = {
    *("torch", "torchvision", "numpy", "scipy", "PIL", "accelerate", "safetensors", "matplotlib"),
    *("transformers", "diffusers", "timm", "rasterio"),
}
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


@cache
def tree(file: str) -> ast.Module:
    return ast.parse((PACKAGE / file).read_text("utf-8"))


def named(node: ast.AST) -> list[str]:
    """Return the modules that an import statement names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        if node.module == "qr_cli":
            return [f"qr_cli.{a.name}" if a.name[0] != "_" else "qr_cli" for a in node.names]
        return [node.module or ""]
    return []


@cache
def imports(file: str) -> set[str]:
    """Return every module a file imports, wherever it stands."""
    return {name for node in ast.walk(tree(file)) for name in named(node)}


def imports_at_the_top(file: str) -> set[str]:
    """Return what importing a file imports: nothing in functions, nothing for types alone."""
    return {name for node in _executed(tree(file)) for name in named(node)}


def _executed(node: ast.AST):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        yield child
        yield from _executed(child)


@cache
def calls(file: str) -> list[tuple[str, ast.Call]]:
    """Return every call with the text of what is called."""
    nodes = (node for node in ast.walk(tree(file)) if isinstance(node, ast.Call))
    return [(ast.unparse(node.func), node) for node in nodes]


def below(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


@each_of([f for f in FILES if f.startswith("engine/")])
def test_the_engine_imports_no_domain_and_no_command(file):
    own = {name for name in imports(file) if below(name, "qr_cli")}
    assert all(name in FLOOR or below(name, "qr_cli.engine") for name in own), own


@each_of([f for f in FILES if f.split("/")[0] in DOMAINS])
def test_a_domain_imports_itself_the_engine_and_the_floor(file):
    domain = file.split("/")[0]
    allowed = {domain, "engine"} | ALSO.get(domain, set()) | ALSO.get(file, set())
    own = {name for name in imports(file) if below(name, "qr_cli")}
    strange = {
        name
        for name in own - FLOOR
        if not any(below(name, f"qr_cli.{package}") for package in allowed)
    }
    assert not strange


@each_of(["registry.py", "errors.py"])
def test_the_floor_imports_nothing_above_it(file):
    assert {name for name in imports(file) if below(name, "qr_cli")} <= FLOOR


@each_of([f for f in FILES if f.startswith("cli/") or f in LIGHT or f.endswith("/recipe.py")])
def test_what_help_reads_imports_nothing_heavy(file):
    tops = {name.split(".")[0] for name in imports_at_the_top(file)}
    assert not tops & HEAVY


def test_every_light_file_is_there():
    assert set(LIGHT) <= set(FILES)


@each_of(FILES)
def test_only_the_output_prints(file):
    if file != "cli/output.py":
        assert not [node.lineno for name, node in calls(file) if name == "print"]


@each_of(FILES)
def test_nothing_is_unpickled_evaluated_or_trusted(file):
    found = [(name, node.lineno) for name, node in calls(file) if _dangerous(name, node)]
    assert not found
    if file in UNPICKLES:
        return
    # naming the errors of pickle is no use of it
    uses = [ast.unparse(n) for n in ast.walk(tree(file)) if isinstance(n, ast.Attribute)]
    assert not [use for use in uses if use.startswith("pickle.") and not use.endswith("Error")]


def test_nothing_is_imported_from_pickle_under_another_name():
    users = [
        file
        for file in FILES
        for node in ast.walk(tree(file))
        if isinstance(node, ast.ImportFrom) and node.module == "pickle"
    ]
    assert not users


def _dangerous(name: str, call: ast.Call) -> bool:
    given = {word.arg: ast.unparse(word.value) for word in call.keywords}
    return (
        name in ("eval", "exec", "yaml.load", "os.system")
        or (name == "torch.load" and given.get("weights_only") != "True")
        or (name in ("np.load", "numpy.load") and given.get("allow_pickle") == "True")
        or given.get("shell") == "True"
        or "trust_remote_code" in given
    )


@each_of(FILES)
def test_only_the_root_command_catches_everything(file):
    if file == "cli/app.py":
        return
    handlers = [node for node in ast.walk(tree(file)) if isinstance(node, ast.ExceptHandler)]
    wide = ("Exception", "BaseException")
    caught = [(h.lineno, "" if h.type is None else ast.unparse(h.type)) for h in handlers]
    assert not [(line, name) for line, name in caught if not name or name in wide]


@each_of([f for f in FILES if f.startswith("cli/")])
def test_commands_contain_no_try(file):
    if file != "cli/app.py":
        assert not [node.lineno for node in ast.walk(tree(file)) if isinstance(node, ast.Try)]


@each_of(FILES)
def test_no_file_moves_tensors_to_a_gpu_by_name(file):
    assert not [node.lineno for name, node in calls(file) if name.endswith(".cuda")]


def test_files_over_400_lines_have_a_reason():
    lengths = {file: len((PACKAGE / file).read_text("utf-8").splitlines()) for file in FILES}
    assert {file for file, length in lengths.items() if length > 400} <= set(LONG)
    assert set(LONG) <= set(FILES)


def test_half_of_the_files_are_under_200_lines():
    lengths = sorted(len((PACKAGE / file).read_text("utf-8").splitlines()) for file in FILES)
    assert lengths[len(lengths) // 2] < 200
