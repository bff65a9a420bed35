"""Attention modules: equations, worked example, identities, and what a module must survive."""

import copy
import io
import math
import pickle

import pytest
import torch
from reference.attention import REFERENCE, dia_step
from torch import nn

from qr_cli.attention.create import NoAttention, create_attention, default_stages
from qr_cli.attention.modules.contract import ChannelAttention, Ctx
from qr_cli.attention.modules.eca import auto_kernel
from qr_cli.attention.modules.fca import cosine_basis
from qr_cli.attention.modules.identity import IdentityStart
from qr_cli.attention.names import MODULES
from qr_cli.errors import UsageError

OTHER_FORMS = [
    "se(bias=false,reduction=8)",
    "eca(kernel=5)",
    "lsas(eca)",
    "lsas(ie)",
    "lsas(srm)",
    "lsas(spa)",
    "lsas(fca)",
    "lsas(ras)",
    "lsas(stepnet)",
    "lsas(se,order=0)",
    "sem(ie)",
    "sem(se,se)",
    "spem(mix=raw)",
    "ras(fc,depth=3)",
    "ras(eca)",
    "ras(init=paper)",
    "stepnet(inputs=state)",
    "stepnet(inputs=slope,step_max=2)",
    "asr(lsas(eca),delta=2)",
    "asr(sem)",
    "asr(spem)",
    "asr(se,alive=true)",
    "fca(dct=14,freq=4)",
    "cbam(bias=false)",
    "sge(groups=2)",
    "share(spem+eca)",
    "se+eca+ie",
]
FORMS = [*REFERENCE, *OTHER_FORMS]

# order of the tensors of the worked example; a BN stands for its weight and bias
FC = ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]


def named(prefix, names):
    return [prefix + name for name in names]


ORDER = {
    "se": FC,
    "lsas(se)": [*named("base.", FC), "w", "b"],
    "lsas(se,order=3)": [*named("base.", FC), "w", "b"],
    "eca": ["conv.weight"],
    "lsas(eca,order=2)": ["base.conv.weight", "w", "b"],
    "ie": ["w", "b"],
    "sem(fc,eca,ie)": [
        *("decision.weight", "decision.bias", *named("ops.0.", FC)),
        *("ops.1.conv.weight", "ops.2.w", "ops.2.b"),
    ],
    "spem": ["w_rew", "b_rew", "w_exc", "b_exc", "p"],
    "ras(ie,init=paper)": ["op.w", "op.b", "bns.0.weight", "bns.0.bias"],
    "srm": ["cfc", "bn.weight", "bn.bias"],
    "spa": ["fc1.weight", "fc2.weight"],
    "fca": ["fc1.weight", "fc2.weight"],
    "cbam": [*FC, "conv.weight", "bn.weight", "bn.bias"],
    "sge(groups=4)": ["weight", "bias"],
    "bam": [
        *("channel.fc1.weight", "channel.fc1.bias", "channel.bn.weight", "channel.bn.bias"),
        *("channel.fc2.weight", "channel.fc2.bias", "spatial.reduce.weight", "spatial.reduce.bias"),
        *("spatial.bn0.weight", "spatial.bn0.bias", "spatial.conv1.weight", "spatial.conv1.bias"),
        *("spatial.bn1.weight", "spatial.bn1.bias", "spatial.conv2.weight", "spatial.conv2.bias"),
        *("spatial.bn2.weight", "spatial.bn2.bias", "spatial.out.weight", "spatial.out.bias"),
    ],
    "dia": [*named("ih.", FC), *named("hh.", FC)],
    "stepnet": FC,
    "asr(se)": ["psi", *named("inner.0.", FC)],
    "asr(se)+se": ["0.psi", *named("0.inner.0.", FC), *named("1.", FC)],
}
# form, training, gate[0,0..2] and gate[1,15] at position 0,0, sum and sum of squares of the output
WORKED = [
    ("se", False, (0.58715347, 0.57242658, 0.54780813, 0.57308005), -24.47291581, 64.60427979),
    (
        "lsas(se)",
        False,
        (0.32780372, 0.30926033, 0.28349197, 0.32259898),
        -10.32279554,
        17.08243173,
    ),
    (
        *("lsas(se,order=3)", False, (0.10300139, 0.09495594, 0.08269760, 0.09557251)),
        *(-1.58549458, 1.21859858),
    ),
    ("eca", False, (0.53098182, 0.54293218, 0.52800648, 0.53444766), -26.36557610, 60.53581126),
    (
        *("lsas(eca,order=2)", False, (0.16490571, 0.16639678, 0.15373112, 0.15766686)),
        *(-4.72121762, 4.05514545),
    ),
    ("ie", False, (0.56978101, 0.55905887, 0.54042118, 0.55541019), -28.75920941, 66.47223566),
    (
        *("sem(fc,eca,ie)", False, (0.14984110, 0.14405792, 0.13304553, 0.15301495)),
        *(-5.80562791, 4.06717541),
    ),
    ("spem", False, (0.33816917, 0.32218653, 0.29921335, 0.32439400), -10.00267627, 17.22177627),
    (
        *("ras(ie,init=paper)", True, (0.61628275, 0.60396525, 0.57673957, 0.58949837)),
        *(-26.55937284, 65.78715317),
    ),
    (
        *("ras(ie,init=paper)", False, (0.56757173, 0.56049204, 0.54446807, 0.55863748)),
        *(-28.19636620, 66.53405918),
    ),
    ("srm", True, (0.79374233, 0.79007846, 0.72501860, 0.32139226), -32.59253856, 75.76207752),
    ("srm", False, (0.57040090, 0.55548121, 0.53023235, 0.57821159), -27.37250722, 63.50774663),
    ("spa", False, (0.51264735, 0.51128684, 0.50839880, 0.50000000), -31.69495546, 64.63298264),
    ("fca", False, (0.55919632, 0.55287658, 0.53940943, 0.54326520), -27.29160587, 64.45622652),
    ("cbam", True, (0.30103777, 0.28976446, 0.27078861, 0.31129972), -9.98787094, 21.92548256),
    ("cbam", False, (0.31285722, 0.30114129, 0.28142042, 0.30695159), -9.57057371, 16.46828319),
    (
        *("sge(groups=4)", False, (0.54512176, 0.54512176, 0.54512176, 0.47278541)),
        *(-40.24253573, 75.95806995),
    ),
    ("bam", True, (1.48955913, 1.49226034, 1.49600952, 1.49512129), -98.24275197, 582.97572596),
    ("bam", False, (1.49170066, 1.49389263, 1.49691143, 1.49174778), -97.79800152, 582.52721785),
    ("stepnet", False, (0.66352521, 0.50682446, 0.39733074, 0.51791968), -27.99954466, 64.94755437),
    ("asr(se)", False, (0.56833027, 0.55328921, 0.53094471, 0.57026902), -25.55587988, 64.50551333),
    (
        *("asr(se)+se", False, (0.31024526, 0.28991517, 0.26480299, 0.32588907)),
        *(-10.08790521, 16.66401382),
    ),
]


def series(count, number):
    k = torch.arange(count, dtype=torch.float64)
    return 0.2 * torch.cos(0.37 * k + 0.11 * number)


def fill(module, names):
    """Give the parameters and statistics of the worked example."""
    state = {k: v for k, v in module.state_dict().items() if "num_batches" not in k}
    for number, name in enumerate(names):
        owner = module.get_submodule(name.rpartition(".")[0])
        start = isinstance(owner, nn.BatchNorm1d | nn.BatchNorm2d) and name.endswith("weight")
        value = series(state[name].numel(), number) + (1 if start else 0)
        state[name].copy_(value.view_as(state[name]))
    for name, tensor in state.items():
        wave = torch.cos(torch.arange(tensor.numel(), dtype=torch.float64))
        if name.endswith("running_mean"):
            tensor.copy_(0.1 * wave)
        elif name.endswith("running_var"):
            tensor.copy_(1 + 0.5 * wave**2)
    assert set(names) == {n for n, _ in module.named_parameters()}


def worked_map(shift=0.0):
    b, c, i, j = torch.meshgrid(
        *(torch.arange(n, dtype=torch.float64) for n in (2, 16, 4, 4)), indexing="ij"
    )
    return torch.sin(0.7 * b + 0.3 * c + 0.5 * i + 0.9 * j + shift)


def context(f, generator=None):
    shortcut = torch.randn(f.shape, generator=generator, dtype=torch.float64).to(f.dtype)
    return Ctx(x=shortcut, shortcut=shortcut.requires_grad_(f.requires_grad), state={})


def random_module(form, channels, seed=0):
    """A module whose every parameter and statistic has left its start."""
    module = create_attention(form, channels, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            noise = 0.3 * torch.randn(tensor.shape, generator=generator)
            tensor.add_(noise.abs() if name.endswith("running_var") else noise)
    return module


def tensors_of(module):
    return {k: v.clone() for k, v in module.state_dict().items()}


@pytest.mark.parametrize(
    ("form", "training", "gates", "total", "squares"),
    WORKED,
    ids=[f"{row[0]}-{'train' if row[1] else 'eval'}" for row in WORKED],
)
def test_worked_example(form, training, gates, total, squares):  # the table has eight decimals
    module = create_attention(form, 16).double().train(training)
    fill(module, ORDER[form])
    f, ctx = worked_map(), Ctx(shortcut=worked_map(0.4), state={})
    state = tensors_of(module)
    gate = module.gate(f, ctx).expand_as(f)
    seen = [*gate[0, :3, 0, 0].tolist(), gate[1, 15, 0, 0].item()]
    assert seen == pytest.approx(gates, abs=1e-7)
    module.load_state_dict(state)
    out = module(f, ctx)
    assert out.sum().item() == pytest.approx(total, abs=1e-6)
    assert out.square().sum().item() == pytest.approx(squares, abs=1e-6)


def test_worked_example_of_dia_over_two_blocks():
    module = create_attention("dia", 16).double()
    fill(module, ORDER["dia"])
    f, ctx = worked_map(), Ctx(state={})
    first, second = (module.gate(f, ctx)[:, :, 0, 0] for _ in range(2))
    want = (0.23381068, 0.29872617, 0.39122393)
    assert first[0, :3].tolist() == pytest.approx(want, abs=1e-7)
    assert first[1, 15].item() == pytest.approx(0.32713700, abs=1e-7)
    want = (0.23234923, 0.32628347, 0.41547735)
    assert second[0, :3].tolist() == pytest.approx(want, abs=1e-7)
    ctx.state.clear()
    outs = [module(f, ctx) for _ in range(2)]
    assert [o.sum().item() for o in outs] == pytest.approx([-11.95689728, -11.11071440], abs=1e-6)
    squares = [o.square().sum().item() for o in outs]
    assert squares == pytest.approx([17.16123459, 17.81644761], abs=1e-6)


def test_worked_shares_and_loss_of_spem():
    module = create_attention("spem", 16).double()
    fill(module, ORDER["spem"])
    assert module.shares()[0].item() == pytest.approx(0.63260117, abs=1e-7)
    assert module.aux_loss().item() == pytest.approx(0.05175935, abs=1e-7)


NORMALIZED = {"ras(ie)", "srm", "bam", "cbam"}  # dividing by a batch deviation magnifies rounding


@pytest.mark.parametrize("backward", ["autograd", "single"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("form", REFERENCE)
def test_fast_code_agrees_with_the_equations(form, training, backward):
    for dtype, output, gradient in ((torch.float64, 1e-11, 1e-10), (torch.float32, 1e-6, 1e-5)):
        loose = 20 if dtype == torch.float32 and form in NORMALIZED else 1
        if dtype == torch.float64 and form == "fca":
            loose = 1e4  # its basis was rounded to float32 when the module was built
        for channels, size in ((16, (5, 5, 7)), (64, (2, 8, 4)), (256, (4, 4, 6))):
            module = random_module(form, channels).to(dtype).train(training)
            for part in module.modules():
                part.backward = backward
            compare(form, module, (size[0], channels, *size[1:]), output * loose, gradient * loose)


def compare(form, module, shape, output, gradient):
    """Run the module and its equations in float64 on one map; compare all that comes out."""
    dtype = next(module.parameters()).dtype
    generator = torch.Generator().manual_seed(1)
    f = torch.randn(shape, generator=generator).to(dtype).requires_grad_()
    r = torch.randn(shape, generator=generator).to(dtype)
    ctx = context(f, generator)
    p = {k: v.double() if v.is_floating_point() else v for k, v in tensors_of(module).items()}
    leaves = {name: p[name].requires_grad_() for name, _ in module.named_parameters()}
    wide, shortcut = (x.detach().double().requires_grad_() for x in (f, ctx.shortcut))
    expected = REFERENCE[form](p, wide, module.training, shortcut)
    expected.backward(r.double())
    out = module(f, ctx)
    out.backward(r)
    close(out, expected, output)
    close(f.grad, wide.grad, gradient)
    if shortcut.grad is not None:
        close(ctx.shortcut.grad, shortcut.grad, gradient)
    for name, parameter in module.named_parameters():
        want = leaves[name].grad
        close(parameter.grad, torch.zeros_like(leaves[name]) if want is None else want, gradient)
    for name, tensor in module.named_buffers():
        if "running" in name:
            close(tensor, p[name], output)


def close(fast, slow, tolerance):
    """Compare relative to the largest entry."""
    slow = slow.detach()
    scale = max(1.0, slow.abs().max().item())
    torch.testing.assert_close(fast.detach().double(), slow, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_keeps_the_shape_and_reaches_every_parameter(form):
    for channels in (16, 64, 256):
        module = random_module(form, channels)
        f = torch.randn(3, channels, 9, 6, requires_grad=True)
        out = module(f, context(f))
        assert out.shape == f.shape and out.dtype == f.dtype
        loss = (out * torch.randn(out.shape)).sum()
        aux = module.aux_loss()
        (loss if aux is None else loss + aux).backward()
        assert f.grad.isfinite().all() and f.grad.abs().max() > 0
        missing = [n for n, p in module.named_parameters() if p.numel() and p.grad is None]
        blind = {"stepnet(inputs=state)": [], "dia": []}
        assert missing == blind.get(form, [])
        assert module.eval()(f[:1], context(f[:1])).shape == (1, channels, 9, 6)


def test_every_registered_name_is_tested():
    tested = {form.split("(")[0].split("+")[0] for form in FORMS}
    assert set(MODULES.entries) == tested


# parameters that attention adds to ResNet-20 (3 basic blocks a stage) and ResNet-83 (9 bottlenecks)
ADDED = {
    "se": (274847, 993712),
    "lsas(se)": (274598, 973444),
    "sem(fc,eca,ie)": (276581, 1014070),
    "spem": (273836, 908842),
    "ras(ie)": (273818, 908788),
    "srm": (273818, 908788),
    "stepnet": (276878, 1042096),
    "asr(se)": (275183, 997744),
    "asr(se)+se": (277556, 1098796),
    "eca": (272501, 892777),
    "ie": (273146, 900724),
    "spa": (294650, 1957108),
    "cbam": (275747, 996412),
    "cbam(bias=false)": (275390, 992128),
    "bam": (272893, 898290),
    "sge": (272642, 894676),
    "dia": (286866, 1111508),
    "fca": (274490, 989428),
}


@pytest.mark.parametrize("form", ADDED)
def test_parameters_of_whole_networks(form):
    for plain, want, widths, blocks in (
        (272474, ADDED[form][0], (16, 32, 64), 3),
        (892660, ADDED[form][1], (64, 128, 256), 9),
    ):
        total = plain
        for stage in default_stages(form, 3):
            module = create_attention(form, widths[stage - 1], stage=stage)
            once = module.scope == "stage" or module.place == "stage-end"
            total += (1 if once else blocks) * sum(p.numel() for p in module.parameters())
        assert total == want


@pytest.mark.parametrize("form", FORMS)
def test_state_dict_copy_and_pickle_give_the_same_module(form):
    module = random_module(form, 16).eval()
    f = torch.randn(2, 16, 5, 4)
    ctx = context(f)
    want = module(f, ctx)
    fresh = create_attention(form, 16).eval()
    fresh.load_state_dict(module.state_dict())
    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    buffer.seek(0)
    torch.load(buffer, weights_only=True)
    copied = copy.deepcopy(module)
    pickled = pickle.loads(pickle.dumps(module))
    with torch.no_grad():
        for other in (fresh, copied, pickled):
            ctx.state = {}
            assert torch.equal(other(f, ctx), want)
        for parameter in copied.parameters():
            parameter.add_(1.0)
        ctx.state = {}
        assert torch.equal(module(f, ctx), want)


@pytest.mark.parametrize("form", FORMS)
def test_reset_parameters_brings_back_a_start(form):
    module = random_module(form, 16, seed=5)
    torch.manual_seed(3)
    module.reset_parameters()
    torch.manual_seed(3)
    again = create_attention(form, 16, seed=None)
    again.reset_parameters()
    for name, tensor in module.named_parameters():
        assert tensor.isfinite().all(), name
    f = torch.randn(2, 16, 4, 4)
    assert module.eval()(f, context(f)).isfinite().all()
    constants = {"w", "b", "psi", "cfc", "w_rew", "b_rew", "w_exc", "b_exc", "p"}
    for name, tensor in again.named_parameters():
        if name.rpartition(".")[2] in constants:
            assert torch.equal(tensor, module.get_parameter(name)), name


@pytest.mark.parametrize("form", FORMS)
def test_gates_are_computed_in_float32_under_bf16_autocast(form):
    module = random_module(form, 64).eval()
    f = torch.randn(2, 64, 8, 8).bfloat16()
    ctx = context(f)
    wide = Ctx(x=ctx.x.float(), shortcut=ctx.shortcut.float(), state={})
    with torch.autocast("cpu", torch.bfloat16):
        out = module(f, ctx)
    want = module(f.float(), wide)
    assert out.dtype == torch.bfloat16
    scale = want.abs().max().item()  # the gate and the product are each rounded once to 8 bits
    torch.testing.assert_close(out.float(), want, rtol=0, atol=1e-2 * scale)


@pytest.mark.parametrize("form", ["se", "lsas(eca)", "sem", "spem", "ras", "srm", "spa", "stepnet"])
def test_a_module_kept_in_bf16_still_works(form):
    module = random_module(form, 16).bfloat16()
    f = torch.randn(4, 16, 5, 5).bfloat16().requires_grad_()
    out = module(f, context(f))
    out.float().sum().backward()
    assert out.dtype == torch.bfloat16 and f.grad.isfinite().all()


@pytest.mark.parametrize("form", FORMS)
def test_channels_last_is_kept(form):
    module = random_module(form, 16).eval()
    f = torch.randn(3, 16, 6, 5)
    ctx = context(f)
    want = module(f, ctx)
    ctx.state = {}
    out = module(f.to(memory_format=torch.channels_last), ctx)
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out, want)


class Net(nn.Module):
    """A module between two maps, so that export sees plain inputs."""

    def __init__(self, attention):
        super().__init__()
        self.attention = attention

    def forward(self, f, shortcut):
        return self.attention(f, Ctx(shortcut=shortcut, state={}))


@pytest.mark.parametrize("form", FORMS)
def test_export_in_eval_mode(form):
    net = Net(random_module(form, 16)).eval()
    f, shortcut = torch.randn(2, 2, 16, 8, 8)
    program = torch.export.export(net, (f, shortcut))
    torch.testing.assert_close(program.module()(f, shortcut), net(f, shortcut))


def test_every_provenance_is_one_of_the_marks():
    for name in MODULES.entries:
        cls = MODULES.load(name)
        assert cls.provenance, name
        assert set(cls.provenance.values()) <= {"official", "figure", "ours", "algebra"}
        assert cls.constant_reason


START = {
    "ie": 0.26894142,
    "ras(init=paper)": 0.26894142,
    "srm": 0.5,
    "spem": 0.03205860,
    "cbam": None,
    "sge": 0.73105858,
}


@pytest.mark.parametrize("form", [k for k, v in START.items() if v])
def test_start_gates_that_do_not_depend_on_chance(form):
    module = create_attention(form, 64)
    gate = module.gate(torch.randn(8, 64, 6, 6)).expand(8, 64, 6, 6)
    assert gate.double().mean().item() == pytest.approx(START[form], abs=1e-7)


@pytest.mark.parametrize(
    ("form", "start"), [("se", 0.5), ("eca", 0.5), ("cbam", 0.25), ("sem", 0.094)]
)
def test_start_gates_on_average(form, start):
    gates = [
        create_attention(form, 256, seed=s).gate(0.1 * torch.randn(4, 256, 4, 4)).mean()
        for s in range(8)
    ]
    assert torch.stack(gates).mean().item() == pytest.approx(start, abs=0.02)


def test_start_gates_of_lsas_fall_with_the_order():
    want = (0.18877033, 0.06056154, 0.01781811, 0.00501412, 0.00137953)
    for order, value in enumerate(want, 1):
        module = create_attention(f"lsas(ie,order={order})", 16)
        nn.init.zeros_(module.base.b)
        gate = module.gate(torch.randn(2, 16, 4, 4))
        assert gate.mean().item() == pytest.approx(value, abs=1e-7)


def test_ras_of_depth_one_is_its_operator():
    ras, ie = create_attention("ras(depth=1)", 16), create_attention("ie", 16)
    ie.load_state_dict(ras.op.state_dict())
    f = torch.randn(3, 16, 4, 5)
    assert torch.equal(ras(f), ie(f))


def test_lsas_of_order_zero_is_its_base():
    lsas = create_attention("lsas(se,order=0)", 64, seed=1)
    f = torch.randn(3, 64, 4, 5)
    assert torch.equal(lsas(f), lsas.base(f))


def test_sem_with_one_open_switch_is_its_operator():
    sem = random_module("sem(eca)", 64)
    nn.init.zeros_(sem.decision.weight)
    nn.init.constant_(sem.decision.bias, 40.0)
    f = torch.randn(3, 64, 4, 5)
    torch.testing.assert_close(sem(f), sem.ops[0](f), rtol=0, atol=1e-6)


def test_spem_with_p_one_zero_uses_the_maximum_alone():
    spem = random_module("spem", 16)
    with torch.no_grad():
        spem.p.copy_(torch.tensor([1.0, 0.0]))
    f = torch.randn(3, 16, 4, 5)
    top, low = (spem.w_rew * v + spem.b_rew for v in (f.amax((2, 3)), f.amin((2, 3))))
    want = torch.sigmoid(top + low) * torch.sigmoid(spem.w_exc * top + spem.b_exc)
    torch.testing.assert_close(spem.gate(f)[:, :, 0, 0], want, rtol=0, atol=1e-6)


def test_spem_at_p_zero_stays_finite_and_mixes_evenly():
    spem = create_attention("spem", 16)
    nn.init.zeros_(spem.p)
    assert torch.equal(spem.shares(), torch.tensor([0.5, 0.5]))
    assert create_attention("spem(eps=0)", 16).eps == 0


def test_stepnet_on_the_slope_is_se():
    step, se = create_attention("stepnet", 16), create_attention("se(reduction=4)", 16, seed=2)
    with torch.no_grad():
        step.fc1.weight.copy_(torch.cat([-se.fc1.weight, se.fc1.weight], 1))
        step.fc1.bias.copy_(se.fc1.bias)
        step.fc2.load_state_dict(se.fc2.state_dict())
    f = torch.randn(3, 16, 4, 5)
    torch.testing.assert_close(step(f, context(f)), se(f), rtol=0, atol=1e-6)


def test_ras_starts_at_a_saddle_only_as_in_the_paper():
    for init, saddle in (("paper", True), ("safe", False)):
        module = create_attention(f"ras(init={init})", 16).double()
        f = torch.randn(8, 16, 4, 4, dtype=torch.float64)
        (module(f) * torch.randn_like(f)).sum().backward()
        assert (module.op.w.grad.abs().max().item() == 0) is saddle


def test_dia_follows_the_reference_over_blocks_with_gradients():
    module = random_module("dia", 16).double()
    p = {k: v.detach().clone().requires_grad_() for k, v in module.named_parameters()}
    maps = torch.randn(3, 2, 16, 4, 4, dtype=torch.float64)
    h = c = torch.zeros(2, 16, dtype=torch.float64)
    for backward in ("autograd", "single"):
        module.backward = backward
        module.zero_grad()
        ctx, f, x, y = Ctx(state={}), maps.clone().requires_grad_(), 0, 0
        g = maps.clone().requires_grad_()
        state = (h, c)
        for block in range(3):
            out, *state = dia_step(p, g[block], *state)
            y = y + (out * (block + 1)).square().sum()
            x = x + (module(f[block], ctx) * (block + 1)).square().sum()
        for tensor in p.values():
            tensor.grad = None
        x.backward()
        y.backward()
        torch.testing.assert_close(f.grad, g.grad)
        for name, parameter in module.named_parameters():
            torch.testing.assert_close(parameter.grad, p[name].grad)


def test_asr_is_the_same_for_every_image_and_batch():
    module = random_module("asr(se,delta=2)", 8)
    v = module.constant_gate()
    for f in (torch.randn(5, 8, 3, 4), torch.randn(1, 8, 1, 1)):
        assert torch.equal(module(f), f * v[None, :, None, None])
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(module.constant_gate(), v)
    assert create_attention("asr(se)", 4).psi.tolist() == [[pytest.approx(0.1)] * 4]
    assert module.psi.shape == (2, 8)
    first, second = create_attention("asr(se,delta=2)", 64).inner
    assert not torch.equal(first.fc1.weight, second.fc1.weight)


def test_asr_alive_has_no_dead_unit():
    module = create_attention("asr(se,alive=true,delta=2)", 256, seed=1)
    for psi, inner in zip(module.psi, module.inner, strict=True):
        assert (inner.fc1(psi) > 0).all()
    with pytest.raises(UsageError, match="hidden units"):
        create_attention("asr(ie,alive=true)", 16)


def test_identity_start_is_the_identity_and_learns():
    for form in FORMS:
        module = IdentityStart(random_module(form, 16))
        f = torch.randn(3, 16, 5, 4)
        out = module(f, context(f))
        assert torch.equal(out, f)
        (out * torch.randn(f.shape)).sum().backward()
        assert module.s.grad.abs().max() > 0
    asr = IdentityStart(random_module("asr(se)", 16))
    nn.init.normal_(asr.s)
    f = torch.randn(3, 16, 5, 4)
    torch.testing.assert_close(asr(f), f * asr.constant_gate()[None, :, None, None])
    torch.testing.assert_close(asr.gate(f), asr.constant_gate()[None, :, None, None])
    assert not hasattr(IdentityStart(create_attention("se", 16)), "constant_gate")
    pickle.loads(pickle.dumps(asr))


def test_default_stages_of_each_kind():
    assert default_stages("lsas", 3) == (3,) and default_stages("lsas", 4) == (3, 4)
    assert default_stages("bam", 3) == (1, 2) and default_stages("bam", 4) == (1, 2, 3)
    assert default_stages("se", 3) == (1, 2, 3) and default_stages("none", 3) == ()
    assert default_stages("share(lsas)+share(se)", 3) == (3,)
    assert default_stages("asr(se)+se", 4) == (1, 2, 3, 4)
    assert default_stages("timm:eca", 4) == (1, 2, 3, 4)


def test_kernel_rule():
    sizes = {c: auto_kernel(c) for c in (16, 32, 64, 128, 256, 512, 1024, 2048)}
    assert list(sizes.values()) == [3, 3, 3, 5, 5, 5, 5, 7]


def test_cosine_basis_is_orthonormal_per_pair():
    basis = cosine_basis(16, 16, 7).double().flatten(1)
    torch.testing.assert_close(basis @ basis.t(), torch.eye(16, dtype=torch.float64))


def test_none_passes_the_map_through():
    module = create_attention("none", 16)
    f = torch.randn(2, 16, 3, 3)
    assert isinstance(module, NoAttention) and module(f, Ctx()) is f


def test_a_seed_fixes_the_start_and_leaves_the_generator_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one, two = (create_attention("se", 16, seed=7) for _ in range(2))
    assert torch.equal(one.fc1.weight, two.fc1.weight)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_the_context_lacks_is_named():
    f = torch.randn(2, 16, 3, 3)
    with pytest.raises(ValueError, match="stepnet needs ctx.shortcut"):
        create_attention("stepnet", 16)(f)
    with pytest.raises(ValueError, match="dia needs ctx.state"):
        create_attention("dia", 16)(f, Ctx())


def test_numbers_that_do_not_fit_the_channels_are_named():
    for form, words in (
        ("fca", "24 channels are not divisible by freq=16"),
        ("sge(groups=5)", "24 channels are not divisible into 5 groups"),
        ("eca(kernel=4)", "kernel must be odd and positive, got 4"),
    ):
        with pytest.raises(UsageError, match=words):
            create_attention(form, 24)


def test_a_training_batch_of_one_is_refused():
    for form in ("ras", "srm"):
        with pytest.raises(UsageError, match="training batch of 1"):
            create_attention(form, 16)(torch.randn(1, 16, 4, 4))


class Halve(nn.Module):
    """A third-party module: no contract, channels first."""

    def __init__(self, channels, factor=0.5):
        super().__init__()
        self.factor = nn.Parameter(torch.full((channels, 1, 1), factor))

    def forward(self, f):
        return f * self.factor


class Gate(ChannelAttention):
    """A third-party module that follows the contract."""

    def logits(self, s, ctx=None):
        return 2 * s


def test_classes_of_third_parties(monkeypatch):
    f = torch.randn(2, 16, 3, 3)
    module = create_attention(f"{__name__}:Halve(factor=0.25)", 16)
    assert torch.equal(module(f, Ctx()), f * 0.25)
    assert isinstance(module, ChannelAttention) and "inner.factor" in module.state_dict()
    with pytest.raises(TypeError, match="no gate"):
        module.gate(f)
    own = create_attention(f"{__name__}:Gate+se", 16)
    assert type(own.terms()[0]) is Gate and own(f).shape == f.shape
    with pytest.raises(UsageError, match="wrong"):
        create_attention(f"{__name__}:Halve(wrong=1)", 16)
    with pytest.raises(UsageError, match="no module named"):
        create_attention("no.such.place:Thing", 16)


def test_modules_of_timm():
    pytest.importorskip("timm")
    f = torch.randn(2, 64, 8, 8)
    for name in "se ese eca ecam ceca gc gca cbam lcbam coord scoord ela strip nl".split():
        assert create_attention(f"timm:{name}", 64)(f, Ctx()).shape == f.shape, name
    se = create_attention("timm:se", 64)
    assert sum(p.numel() for p in se.parameters()) == 1096  # timm rounds the width up to 8
    for name in ("ge", "bottleneck", "bat", "nonsense"):
        with pytest.raises(UsageError, match=f"timm:{name}"):
            create_attention(f"timm:{name}", 64)


def test_timm_missing_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm.layers.create_attn", None)
    from qr_cli.errors import MissingExtra

    with pytest.raises(MissingExtra, match="timm"):
        create_attention("timm:se", 16)


def gratings(generator, count=512, side=16):
    """Horizontal or vertical gratings of wavelength 4-8 px in noise."""
    labels = torch.arange(count) % 2
    phase = 2 * math.pi * torch.rand(count, 1, 1, generator=generator)
    wave = 4 + 4 * torch.rand(count, 1, 1, generator=generator)
    line = torch.arange(side).float()
    rows, cols = line[:, None].expand(side, side), line[None].expand(side, side)
    axis = torch.where(labels.bool()[:, None, None], rows, cols)
    image = torch.sin(2 * math.pi * axis / wave + phase)
    noise = 0.5 * torch.randn(count, 3, side, side, generator=generator)
    return image[:, None] + noise, labels


class Block(nn.Module):
    """A basic residual block with attention after its last normalisation."""

    def __init__(self, before, after, stride, form, number):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.short = nn.Conv2d(before, after, 1, stride) if stride > 1 else nn.Identity()
        self.attn = create_attention(form, after, seed=number)

    def forward(self, x):
        f = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        shortcut = self.short(x)
        return torch.relu(shortcut + self.attn(f, Ctx(x=x, shortcut=shortcut, state={})))


def toy_accuracy(form):
    """Train a ResNet-8 for 60 steps; return the accuracy of the last ten batches."""
    generator = torch.Generator().manual_seed(0)
    images, labels = gratings(generator)
    torch.manual_seed(0)
    blocks = [Block(16, 16, 1, form, 1), Block(16, 32, 2, form, 2), Block(32, 64, 2, form, 3)]
    stem = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2)]
    net = nn.Sequential(*stem, *blocks, *head)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    right = []
    for step in range(60):
        if step % 8 == 0:
            order = torch.randperm(512, generator=generator)
        batch = order[step % 8 * 64 : step % 8 * 64 + 64]
        logits = net(images[batch])
        loss = nn.functional.cross_entropy(logits, labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        right.append((logits.argmax(1) == labels[batch]).float().mean())
    return torch.stack(right[-10:]).mean().item()


@pytest.mark.parametrize("form", ["lsas(se)", "spem", "ras(ie)"])
def test_a_toy_task_is_learnt(form):
    assert toy_accuracy(form) >= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_every_form_learns_the_toy_task(form):
    assert toy_accuracy(form) >= 0.97
