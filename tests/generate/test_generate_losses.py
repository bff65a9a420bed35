"""The losses: worked values, the reference, and which way the gradient goes."""

import math

import pytest
import torch
from reference import sur_adapter as reference

from qr_cli.generate.losses import (
    denoising,
    feature_kl,
    info_nce,
    keyword_nce,
    scaled_mse,
    teacher_nce,
)


def wave(function, step, shape):
    count = math.prod(shape)
    return function(step * torch.arange(count, dtype=torch.float64)).view(shape)


A = wave(torch.sin, 0.5, (2, 3, 4))
B = wave(torch.cos, 0.7, (2, 3, 4))
V = wave(torch.sin, 0.9, (2, 1, 4))


@pytest.mark.parametrize(
    ("a", "b", "tau", "value"),
    [(A, B, 1, 0.6246281), (A, B, 2, 0.6526234), (B, A, 1, 0.6064549), (V, B, 1, 0.4432362)],
)
def test_the_divergence_of_the_worked_example(a, b, tau, value):
    assert float(feature_kl(a, b, tau)) == pytest.approx(value, abs=5e-8)
    assert reference.feature_kl(a.numpy(), b.numpy(), tau) == pytest.approx(value, abs=5e-8)
    assert float(feature_kl(a.float(), b.float(), tau)) == pytest.approx(value, abs=1e-5)


def test_the_divergence_is_summed_over_the_tokens():
    twice = feature_kl(torch.cat([A, A], dim=1), torch.cat([B, B], dim=1))
    assert float(twice) == pytest.approx(2 * float(feature_kl(A, B)))


def test_the_gradient_goes_to_the_student_and_pulls_it_to_the_target():
    student = B.clone().requires_grad_()
    before = feature_kl(A, student)
    before.backward()
    assert feature_kl(A, (student - 0.1 * student.grad).detach()) < before
    assert float(feature_kl(A, A)) == pytest.approx(0, abs=1e-12)


def test_info_nce_agrees_with_the_reference_with_and_without_a_mask():
    torch.manual_seed(0)
    a, b = torch.randn(2, 5, 7, dtype=torch.float64)
    same = torch.eye(5, dtype=torch.bool)
    same[1, 3] = same[3, 1] = True
    for mask in (None, same):
        found = info_nce(a, b, temperature=0.3, same=mask)
        wanted = reference.info_nce(
            a.numpy(), b.numpy(), 0.3, None if mask is None else mask.numpy()
        )
        assert float(found) == pytest.approx(wanted, abs=1e-12)


def test_info_nce_of_perfect_pairs_is_nearly_nothing_and_of_strangers_is_not():
    own = torch.eye(6)
    assert info_nce(own, own, temperature=0.05) < 1e-6
    assert info_nce(own, own.roll(1, 0), temperature=0.05) > 10


def test_pairs_with_equal_prompts_are_no_negatives():
    x = torch.eye(4)[[0, 1, 1, 2]]
    same = torch.eye(4, dtype=torch.bool)
    same[1, 2] = same[2, 1] = True
    assert info_nce(x, x, temperature=0.05, same=same) < 1e-6
    assert info_nce(x, x, temperature=0.05) == pytest.approx(math.log(2) / 2, abs=1e-6)


def test_info_nce_of_one_row_is_nothing_and_has_a_gradient():
    row = torch.randn(1, 3, requires_grad=True)
    loss = info_nce(row, row, temperature=1)
    loss.backward()
    assert loss == 0 and not row.grad.any()


def test_keywords_are_compared_after_the_mean_is_taken_off():
    torch.manual_seed(0)
    keyword, mu = torch.randn(4, 3, 5), torch.full((3, 5), 50.0)
    assert keyword_nce(keyword + mu, keyword + mu, mu, temperature=0.05) < 1e-3
    nothing = torch.zeros(3, 5)
    assert keyword_nce(keyword + mu, keyword + mu, nothing, temperature=0.05) > 1


def test_the_teacher_meets_the_mean_of_the_tokens_before_the_end():
    torch.manual_seed(0)
    t, ends, vectors = torch.randn(4, 6, 5), torch.tensor([2, 3, 6, 1]), torch.randn(4, 5)
    mean = torch.stack([t[i, : ends[i]].mean(0) for i in range(4)])
    wanted = info_nce(mean - mean.mean(0), vectors, temperature=0.1)
    found = teacher_nce(t, ends, vectors, temperature=0.1)
    torch.testing.assert_close(found, wanted)


def test_the_error_in_units_of_the_variance():
    assert scaled_mse(torch.full((2, 3), 3.0), torch.zeros(2, 3), 4.0) == pytest.approx(9 / 4)


def test_min_snr_weights_by_hand():
    prediction, target = torch.tensor([1.0, 2.0]).view(2, 1, 1, 1), torch.zeros(2, 1, 1, 1)
    snr = torch.tensor([10.0, 0.5])
    assert denoising(prediction, target) == pytest.approx(2.5)
    weighted = denoising(prediction, target, snr=snr, gamma=5)
    assert float(weighted) == pytest.approx((1 * 5 / 10 + 4 * 0.5 / 0.5) / 2)
    weighted = denoising(prediction, target, snr=snr, gamma=5, velocity=True)
    assert float(weighted) == pytest.approx((1 * 5 / 11 + 4 * 0.5 / 1.5) / 2)
