"""The comparison itself: when it holds, when it fails, what it says."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from qr_cli.errors import RunFailed
from qr_cli.reparam import verifying
from qr_cli.reparam.folding import fold
from qr_cli.reparam.verifying import relative, require, verify
from tests.reparam.nets import drawn, small

X = torch.zeros(2, 3, 16, 16)


def net(factor: float = 1.0) -> nn.Module:
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 4),
    )  # fmt: skip
    drawn(made)
    made[4].weight.data *= factor
    made[4].bias.data *= factor
    return made


@pytest.mark.parametrize("factor", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("wrong", [False, True])
def test_the_verdict_does_not_depend_on_the_scale_of_the_output(factor, wrong) -> None:
    original = net(factor)
    result = fold(original, X)
    if wrong:
        result.exact[0].weight.data *= 1 + 1e-6
        result.model[0].weight.data *= 1 + 1e-4
    assert verify(original, result, X).ok is not wrong


def test_an_error_of_float64_alone_is_enough() -> None:
    original = net()
    result = fold(original, X)
    result.exact[0].weight.data *= 1 + 1e-8  # invisible in float32
    check = verify(original, result, X)
    assert not check.ok and check.native <= 1e-5 and check.first_bad == "1"


def test_what_is_not_finite_fails_on_either_side() -> None:
    original = net()
    result = fold(original, X)
    result.model[0].bias.data[0] = float("nan")
    assert not verify(original, result, X).ok
    bad = net()
    bad[4].bias.data[0] = float("inf")
    with pytest.raises(RunFailed, match="original's own output is not finite"):
        require(verify(bad, fold(bad, X), X))


def test_inputs_that_tell_nothing_prove_nothing() -> None:
    silent = net(0.0)
    check = verify(silent, fold(silent, X), X)
    assert check.uninformative == check.inputs + check.uninformative == 5
    with pytest.raises(RunFailed, match="nothing can be verified"):
        require(check)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_held_to_its_own_distance(dtype) -> None:
    original = net().to(dtype)
    result = fold(original, X)
    assert result.model[0].weight.dtype == result.model[0].bias.dtype == dtype
    check = verify(original, result, X)
    assert check.ok and check.float64 <= 1e-10
    assert check.native_limit >= {torch.float16: 2e-3, torch.bfloat16: 1e-2}[dtype]
    result.model[0].weight.data *= 1.1
    assert not verify(original, result, X).ok


def test_the_full_check_looks_at_sites_another_size_and_real_images() -> None:
    original = small()
    images = torch.randn(70, 3, 16, 16)
    quick = verify(original, fold(original, X), X)
    full = verify(original, fold(original, X), X, full=True, images=images)
    assert (quick.level, quick.inputs, quick.sites) == ("quick", 5, {})
    assert (full.level, full.inputs) == ("full", 5 + 2 + 2)
    assert len(full.sites) == 9 and max(full.sites.values()) <= 1e-12
    assert not full.notes


def test_a_network_of_one_size_says_so() -> None:
    one = drawn(nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Flatten(),
                              nn.Linear(2 * 14 * 14, 3)))  # fmt: skip
    check = verify(one, fold(one, X), X, full=True)
    assert check.ok and "one size only" in check.notes[0]


def test_answers_that_flip_beyond_their_margin_are_counted() -> None:
    a = torch.tensor([[1.0, 0.0], [0.5, 0.4999], [0.0, 1.0]])
    b = torch.tensor([[1.0, 0.0], [0.4999, 0.5], [0.0, 1.0]])
    assert verifying._flips(a, b) == 0  # the margin is within the error
    c = torch.tensor([[1.0, 0.0], [0.5, 0.4999], [1.0, 0.9]])
    assert verifying._flips(torch.tensor([[9.0, 0.0]] * 3), torch.tensor([[0.0, 1.0]] * 3)) == 0
    assert relative(a, c) == pytest.approx(1.0)


def test_without_memory_for_float64_the_record_says_what_did_not_run(monkeypatch) -> None:
    original = net()
    result = fold(original, X)
    compare = verifying._compare

    def poor(a, b, inputs, dtype, seen):
        if dtype == torch.float64:
            raise MemoryError
        return compare(a, b, inputs, dtype, seen)

    monkeypatch.setattr(verifying, "_compare", poor)
    check = verify(original, result, X)
    assert check.ok and check.float64 is None and "not enough memory" in check.notes[0]
    assert replace(check, ok=True).record()["float64"] is None
