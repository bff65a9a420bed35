"""The grammar of modules, architectures and data: reading, writing, refusing."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

import qr_cli
from qr_cli.attention.grammar import (
    Node,
    canonical,
    check_module,
    form,
    parse,
    parse_call,
    resolve_module,
)
from qr_cli.attention.names import MODULES
from qr_cli.errors import UsageError

CANONICAL = {
    "LSAS": "lsas(se)",
    " lsas ( eca , order = 2 ) ": "lsas(eca,order=2)",
    "lsas(se,order=1)": "lsas(se)",
    "lsas(fc)": "lsas(se)",
    "lsas(ras)": "lsas(ras(ie))",
    "sem": "sem(fc,eca,ie)",
    "sem(se,IE)": "sem(fc,ie)",
    "sem(fc(reduction=8),eca(kernel=3))": "sem(fc(reduction=8),eca(kernel=3))",
    "ras": "ras(ie)",
    "ras(se,depth=2)": "ras(fc)",
    "asr": "asr(se)",
    "asr(fc)+se": "asr(se)+se",
    "asr(se,delta=2,alive=TRUE)": "asr(se,alive=true,delta=2)",
    "share(se+eca)": "share(se+eca)",
    "se(reduction=8,bias=false)": "se(bias=false,reduction=8)",
    "se()": "se",
    "stepnet(step_max=2,inputs=both)": "stepnet(step_max=2.0)",
    "spem(eps=0)": "spem(eps=0.0)",
    "fca(dct=stage)": "fca(dct=stage)",
    "fca(freq=16,dct=7)": "fca",
    "none": "none",
    "NONE": "none",
    "timm:eca(kernel_size=3)": "timm:eca(kernel_size=3)",
    "my_pkg.mod:MyGate(text='a, b',n=1e-3)": 'my_pkg.mod:MyGate(n=0.001,text="a, b")',
    "pkg.mod:Wrap(se)+eca": "pkg.mod:Wrap(se)+eca",
}
# the text, where the caret stands, words of the message
REFUSED = [
    ("sem(se", 6, "expected ',' or ')'"),
    ("se)", 2, "unexpected"),
    ("", 0, "expected a name"),
    ("se+", 3, "expected a name"),
    ("lsas(,order=2)", 5, "expected a name"),
    ("lsas(order=,se)", 11, "expected a value"),
    ("lsas(order=2,se)", 13, "before the options"),
    ("se(bias=true,bias=false)", 13, "given twice"),
    ("pkg.m:C(a='x)", 10, "no end"),
    ("se(order=1)", 3, "se has no option 'order'; valid: bias, reduction"),
    ("se(reductoin=8)", 3, "did you mean 'reduction'"),
    ("ie(x=1)", 3, "valid: none at all"),
    ("se(reduction=big)", 3, "should be an integer, got big"),
    ("se(bias=1)", 3, "should be true or false, got 1"),
    ("se(reduction=true)", 3, "should be an integer, got true"),
    ("ras(init=wild)", 4, "should be safe or paper, got wild"),
    ("eca(kernel=none)", 4, "should be auto or an integer, got none"),
    ("fca(freq=3)", 4, "should be 1 or 2 or 4 or 8 or 16, got 3"),
    ("se+lsas(se,order=99)", 11, "order must be from 0 to 16, got 99"),
    ("senet", 0, "unknown attention module 'senet'"),
    ("lsa", 0, "did you mean 'lsas'"),
    ("lsas(spem)", 5, "spem has no single pre-sigmoid value; inside lsas: se, eca, ie"),
    ("lsas(se+eca)", 5, "a chain has no single pre-sigmoid value"),
    ("lsas(timm:se)", 5, "timm:se has no single pre-sigmoid value"),
    ("lsas(asr(se))", 5, "asr cannot stand inside lsas"),
    ("lsas(se,eca)", 8, "at most 1"),
    ("sem(cbam)", 4, "cbam cannot stand inside sem; only: fc, eca, ie"),
    ("sem(se+ie)", 7, "single operators"),
    ("sem(fc,fc,fc,fc,fc,fc,fc,fc,fc)", 28, "at most 8"),
    ("ras(srm)", 4, "srm cannot stand inside ras"),
    ("asr(ras)", 4, "ras cannot stand inside asr: it normalises a batch"),
    ("asr(srm)", 4, "cannot stand inside asr"),
    ("asr(cbam)", 4, "spatial attention"),
    ("asr(stepnet)", 4, "the block's input"),
    ("asr(lsas(ras))", 4, "cannot stand inside asr: it normalises a batch"),
    ("asr(se+ie)", 7, "a chain cannot stand inside asr"),
    ("asr(pkg.m:C)", 4, "its gate is unknown"),
    ("share", 0, "share needs a sub-module"),
    ("share(asr(se))", 6, "asr cannot stand inside share"),
    ("share(se+dia)", 9, "cannot be chained"),
    ("share(dia)", 6, "shared by the blocks of a stage already"),
    ("se(eca)", 3, "se takes no sub-module"),
    ("fc", 0, "unknown attention module 'fc'"),
    ("se+dia", 3, "cannot be chained"),
    ("se+none", 3, "none stands alone|none cannot stand"),
    ("none(se)", 0, "none stands alone"),
    ("lsas(none)", 5, "none stands alone"),
    ("se+se+se+se+se", 12, "at most 4 terms"),
]


@pytest.mark.parametrize(("text", "want"), CANONICAL.items())
def test_canonical_text(text, want):
    assert check_module(text) == want
    assert check_module(want) == want
    assert parse(want) == resolve_module(text)


@pytest.mark.parametrize(("text", "at", "words"), REFUSED)
def test_refused_with_a_caret(text, at, words):
    with pytest.raises(UsageError, match=words.replace("(", r"\(").replace(")", r"\)")) as caught:
        check_module(text)
    *_, shown, caret = caught.value.message.split("\n")
    assert shown == f"  {text}"
    assert caret == " " * (at + 2) + "^"
    assert caught.value.hint


def test_lsas_lists_what_it_takes():
    with pytest.raises(UsageError) as caught:
        check_module("lsas(cbam)")
    allowed = caught.value.message.split("inside lsas: ")[1].split("\n")[0].split(", ")
    assert set(allowed) == {"se", "eca", "ie", "srm", "spa", "fca", "ras", "stepnet"}


def test_every_registered_name_has_a_form():
    for name in MODULES.entries:
        assert form(name) is not None
        text = f"{name}(se)" if name == "share" else name
        assert check_module(check_module(text)) == check_module(text)


def test_calls_of_other_tables():
    assert parse_call("resnet20(shortcut=pad)") == Node("resnet20", (), (("shortcut", "pad"),))
    shapes = parse_call("Shapes(context=0.6, train=500)")
    assert shapes == Node("shapes", (), (("context", 0.6), ("train", 500)))
    assert parse_call("npz:some/Dir").name == "npz:some/Dir"
    assert parse_call("../shared/Data/x.npz").name == "../shared/Data/x.npz"
    assert parse_call("timm:resnet18").name == "timm:resnet18"
    assert parse_call("none") == Node("none")
    call = parse_call('qr:resnet20(classes=10,module="lsas(eca,order=2)")')
    assert call.option("module") == "lsas(eca,order=2)" and call.option("srp") is None
    assert call.option("missing", 3) == 3
    with pytest.raises(UsageError, match="not a chain"):
        parse_call("a+b")


@pytest.mark.parametrize("seed", range(200))
def test_round_trip_of_generated_text(seed):
    chain = generated_chain(random.Random(seed), depth=3)
    text = canonical(chain)
    assert parse(text) == chain
    spaced = text.replace("(", " ( ").replace(",", " , ") if '"' not in text else text
    assert parse(spaced) == chain


def generated_chain(rng, depth):
    return tuple(generated_node(rng, depth) for _ in range(rng.randint(1, 3)))


def generated_node(rng, depth):
    names = ["se", "a.b:Cls", "timm:eca", "x/Y/z", "n-1", "l_2"]
    args = [generated_chain(rng, depth - 1) for _ in range(rng.randint(0, 2))] if depth else []
    keys = sorted(rng.sample(["a", "b2", "c_d", "order"], rng.randint(0, 3)))
    return Node(rng.choice(names), tuple(args), tuple((k, generated_value(rng)) for k in keys))


def generated_value(rng):
    words = [
        "word",
        "12x",
        "a b",
        "q\"uo'te",
        "back\\slash",
        "",
        "TRUE",
        "none",
        "-3",
        "1e5",
        "x=y",
    ]
    numbers = [0, -7, 10**20, 0.5, 1e-12, -2.5e30, True, False, None]
    return rng.choice([*words, *numbers])


def test_no_torch_is_loaded_to_check_a_module():
    code = (
        "import sys; from qr_cli.attention.grammar import check_module;"
        "check_module('asr(sem)+lsas(spa)');"
        "print([m for m in ('torch', 'numpy', 'timm') if m in sys.modules])"
    )
    path = str(Path(qr_cli.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.stdout.strip() == "[]"
