"""What the shell is offered after a few letters."""

import pytest

from qr_cli.cli.app import run


@pytest.fixture
def offered(monkeypatch, capsys):
    """Ask as bash does: the words so far, the last one incomplete."""

    def ask(*words: str) -> set[str]:
        monkeypatch.setenv("_QR_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", " ".join(("qr", *words)))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        capsys.readouterr()
        with pytest.raises(SystemExit):
            run([])
        return set(capsys.readouterr().out.split())

    return ask


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("tr",), {"train"}),
        (("train", "at"), {"attention"}),
        (("train", "attention", "--mod"), {"--module"}),
        (("train", "attention", "--module", "s"), {"se", "sem", "spem", "stepnet", "share"}),
        (("train", "attention", "--module", "ls"), {"lsas"}),
        (("train", "attention", "--arch", "resnet2"), {"resnet20", "resnet245"}),
        (("train", "attention", "--arch", "tim"), {"timm:"}),
        (("train", "attention", "--data", "cifar"), {"cifar10", "cifar100"}),
        (("train", "attention", "--test-data", "sh"), {"shapes"}),
        (("train", "attention", "--precision", "b"), {"bf16"}),
        (("eval", "attention", "--which", "b"), {"best"}),
        (("eval", "attention", "--data", "sh"), {"shapes"}),
        (("list", "mod"), {"modules"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_names_are_completed(offered, words, wanted):
    found = offered(*words)
    assert wanted <= found
    assert all(name.startswith(words[-1]) for name in found)


def test_shipped_recipes_are_completed(offered, monkeypatch, tmp_path):
    names = {"smoke": tmp_path, "shapes": tmp_path}
    monkeypatch.setattr("qr_cli.cli.options.shipped", lambda task: names)
    assert offered("train", "attention", "--recipe", "sm") == {"smoke"}


def test_files_are_left_to_the_shell(offered):
    assert offered("train", "attention", "--weights", "x") == set()
