"""The adapter: the authors' module in figures, the reference, its start and its gradients."""

import pytest
import torch
from reference import sur_adapter as reference

from qr_cli.generate.adapter import SURAdapter

AXES = ("batch", "none", "token")
WORKED = {  # made with the authors' module in float64: t start, t end, sums, z end, out start
    "batch": (
        (-0.184779, -0.828662, -0.167892),
        (-0.909298, -1.576546, 0.180060),
        (72.3221, 134.58082, 52.60981),
        (-2.184716, 0.808127, 2.515386),
        (0.015325, 0.016351, 0.397545),
    ),
    "none": (
        (-0.328990, -0.875473, -0.006367),
        (-0.774638, -1.596047, 0.253139),
        (74.39435, 143.73173, 52.50072),
        (-2.427178, 0.539309, 2.668155),
        (0.018371, 0.013144, 0.393429),
    ),
    "token": (
        (-0.129741, -0.769804, -0.133122),
        (-0.821407, -1.592081, 0.244009),
        (71.76178, 130.83174, 52.68718),
        (-2.365004, 0.619524, 2.632745),
        (0.004345, 0.029141, 0.412792),
    ),
}


def filled(axis, dtype=torch.float64, **settings):
    """Return an adapter of width 8 whose weights are sines of their place."""
    adapter = SURAdapter(8, attention_axis=axis, **settings).double().eval()
    with torch.no_grad():
        for n, (name, tensor) in enumerate(sorted(adapter.state_dict().items())):
            wave = torch.sin(1 + n + 0.61 * torch.arange(tensor.numel(), dtype=torch.float64))
            scale = 0.05 if "linear" in name else 0.5
            norm = "norm" in name and name.endswith("weight")
            tensor.copy_((1 + 0.1 * wave if norm else scale * wave).view(tensor.shape))
    return adapter.to(dtype)


def sines(dtype=torch.float64):
    return torch.sin(0.3 * torch.arange(96, dtype=torch.float64)).view(3, 4, 8).to(dtype)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-5)])
@torch.no_grad()
def test_it_computes_what_the_authors_module_does(axis, dtype, tolerance):
    out, t, z = filled(axis, dtype)(sines(dtype))
    start, end, sums, z_end, out_start = WORKED[axis]
    close = lambda a, b: torch.testing.assert_close(  # noqa: E731
        a.double(), torch.tensor(b, dtype=torch.float64), rtol=0, atol=tolerance
    )
    close(t[0, 0, :3], start)
    close(t[2, 3, 5:], end)
    close(z[2, 3, 5:], z_end)
    close(out[0, 0, :3], out_start)
    found = torch.stack([t.abs().sum(), z.abs().sum(), out.abs().sum()]).double()
    # the sums are given to five digits after the point, of 96 terms
    torch.testing.assert_close(found, torch.tensor(sums, dtype=torch.float64), rtol=0, atol=5e-5)


@pytest.mark.parametrize("axis", AXES)
@torch.no_grad()
def test_it_agrees_with_the_reference(axis):
    torch.manual_seed(3)
    adapter = SURAdapter(16, num_heads=4, ffn_dim=24, num_layers=3, attention_axis=axis)
    adapter = adapter.double().eval()
    for tensor in adapter.parameters():
        tensor.normal_(std=0.4)
    x = torch.randn(2, 5, 16, dtype=torch.float64)
    found = adapter(x, 0.3)
    weights = reference.arrays(adapter)
    wanted = reference.adapter(x.numpy(), weights, eta=0.3, axis=axis, heads=4, layers=3)
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, torch.from_numpy(theirs), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("width", "ffn", "count"),
    [(768, 2048, 13_980_928), (1024, 2048, 22_047_744), (64, 256, 120_768)],
)
def test_the_formula_of_its_parameters(width, ffn, count):
    with torch.device("meta"):
        adapter = SURAdapter(width, ffn_dim=ffn)
    d, f = width, ffn
    assert 2 * (4 * d * d + 4 * d + 2 * d * f + f + d + 4 * d) + 5 * (d * d + d) == count
    assert sum(p.numel() for p in adapter.parameters()) == count
    assert len(adapter.state_dict()) == 34


def test_both_layers_start_alike_and_the_last_layer_at_zero():
    adapter = SURAdapter(16, ffn_dim=8)
    first, second = adapter.transformer_encoder.layers
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not adapter.fc.weight.any() and adapter.fc.bias.any()
    x = torch.randn(2, 3, 16)
    start = 0.9 * x + 0.1 * adapter.fc.bias  # shrunk, no identity
    torch.testing.assert_close(adapter.eval()(x).out, start)


def test_eta_0_is_the_input_itself_also_where_it_is_no_number():
    x = torch.randn(2, 3, 16)
    x[0, 0, 0] = torch.nan
    assert SURAdapter(16, ffn_dim=8)(x, 0.0).out is x


@pytest.mark.parametrize("axis", ["token", "none"])
@torch.no_grad()
def test_a_sequence_does_not_depend_on_its_neighbours(axis):
    adapter, x = filled(axis, torch.float32), torch.randn(5, 4, 8)
    torch.testing.assert_close(adapter(x).z[2:3], adapter(x[2:3]).z, rtol=0, atol=1e-6)


@torch.no_grad()
def test_as_released_it_does():
    adapter, x = filled("batch", torch.float32), torch.randn(5, 4, 8)
    assert (adapter(x).z[2:3] - adapter(x[2:3]).z).abs().max() > 1e-3
    torch.testing.assert_close(adapter(x[2:3]).z, filled("none", torch.float32)(x[2:3]).z)


@torch.no_grad()
def test_half_precision_goes_in_and_out_and_float32_is_computed():
    adapter, x = filled("token", torch.float32), sines(torch.float16)
    wanted = adapter(x.float()).out.half()
    for found in (adapter(x).out, _under_autocast(adapter, x)):
        assert found.dtype == torch.float16 and torch.equal(found, wanted)


def _under_autocast(adapter, x):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return adapter(x).out


def test_its_gradients_are_those_of_finite_differences():
    adapter = filled("token", num_layers=1, ffn_dim=8)
    x = torch.randn(2, 3, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: adapter(v).out, x)


def gradients(adapter, loss):
    adapter.zero_grad()
    loss.backward()
    found = {}
    for name, p in adapter.named_parameters():
        if name.endswith("in_proj_weight") or name.endswith("in_proj_bias"):
            thirds = [torch.zeros_like(p)] * 3 if p.grad is None else p.grad.chunk(3)
            for part, third in zip("qkv", thirds, strict=True):
                found[f"{name}.{part}"] = bool(third.abs().max() > 1e-9)
        else:
            found[name] = p.grad is not None and bool(p.grad.abs().max() > 1e-9)
    return {name for name, there in found.items() if there}, set(found)


def test_at_the_start_the_output_teaches_the_last_layer_only():
    torch.manual_seed(0)
    adapter = SURAdapter(16, ffn_dim=8, dropout=0.0)
    x, target = torch.randn(4, 5, 16), torch.randn(4, 5, 16)
    reached, _ = gradients(adapter, (adapter(x).out - target).square().mean())
    assert reached == {"fc.weight", "fc.bias"}


def test_after_one_update_it_teaches_all_but_what_the_softmax_cancels():
    torch.manual_seed(0)
    adapter = SURAdapter(16, ffn_dim=8, dropout=0.0, eta=1.0).double()
    x = torch.randn(4, 5, 16, dtype=torch.float64)
    target = torch.randn_like(x)
    optimizer = torch.optim.SGD(adapter.parameters(), lr=1.0)
    (adapter(x).out - target).square().mean().backward()
    optimizer.step()
    reached, all_of_them = gradients(adapter, (adapter(x).out - target).square().mean())
    keys = {n for n in all_of_them if n.endswith("in_proj_bias.k")}
    assert all_of_them - reached == keys | {"attention.key_layer.bias"}


def test_a_loss_on_t_reaches_the_encoder_only():
    torch.manual_seed(0)
    adapter = SURAdapter(16, ffn_dim=8, dropout=0.0).double()
    x = torch.randn(4, 5, 16, dtype=torch.float64)
    reached, all_of_them = gradients(adapter, (adapter(x).t - torch.randn_like(x)).square().mean())
    missed = all_of_them - reached
    assert {n for n in missed if not n.endswith("in_proj_bias.k")} == {
        n for n in all_of_them if n.startswith(("attention.", "fc."))
    }


@pytest.mark.parametrize(("axis", "batch"), [("batch", 1), ("none", 4)])
def test_attention_to_a_single_element_learns_no_query_and_no_key(axis, batch):
    torch.manual_seed(0)
    adapter = SURAdapter(16, ffn_dim=8, dropout=0.0, attention_axis=axis).double()
    torch.nn.init.normal_(adapter.fc.weight)
    x = torch.randn(batch, 5, 16, dtype=torch.float64)
    out, t, _ = adapter(x)
    (out.square().mean() + (t - torch.randn_like(t)).square().mean()).backward()
    for layer in adapter.transformer_encoder.layers:
        query, key, value = layer.self_attn.in_proj_weight.grad.chunk(3)
        assert not query.any() and not key.any() and value.any()


def test_a_width_the_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="hidden_size 12 is not divisible by 8 heads"):
        SURAdapter(12)
