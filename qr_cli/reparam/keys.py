"""Fold a weights file by its key names alone, without the network around the blocks.

A prefix is a block if its signature is there; everything else is copied as it is. Groups come from
shapes, eps is told. Each block is compared with its own forward on random input; the network is not
run, and the record says so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from qr_cli.attention.names import SRP
from qr_cli.attention.official import FUSED_TOLERANCE
from qr_cli.attention.srp.block import Shape
from qr_cli.errors import RunFailed, WeightsError
from qr_cli.reparam import blocks
from qr_cli.reparam.algebra import conv_norm, scale_affine
from qr_cli.reparam.blocks import asr_gate, fold_block, norm_of
from qr_cli.reparam.planning import Step
from qr_cli.reparam.verifying import EXACT, relative

Tensors = dict[str, Tensor]
_log = logging.getLogger(__name__)
_NORM = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class _Sign:
    """How a block is recognised under a prefix.

    Attributes:
        deploy: name of its folded convolution.
        own: names that only this block has: one is enough to say that it was meant.
        convs: further weights that must be there.
        norms: batch norms that must be there, each with four tensors.
        optional: batch norms that may be there, whole or not at all.
    """

    deploy: str
    own: tuple[str, ...]
    convs: tuple[str, ...] = ()
    norms: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


_1X1_KXK = ("dbb_1x1_kxk.bn1.bn", "dbb_1x1_kxk.bn2", "dbb_avg.avgbn")
SIGNS: dict[str, _Sign] = {
    "or_large": _Sign("or_large_reparam", (), norms=("bn",)),
    "or1x1": _Sign(
        "or1x1_reparam",
        ("weight_or1x1_origin",),
        ("weight_or1x1_l2i_conv1", "weight_or1x1_l2i_conv2", "vector"),
        ("bn",),
    ),
    "orepa-vgg": _Sign(
        "rbr_reparam",
        ("rbr_dense.weight_rbr_origin",),
        ("rbr_1x1.conv.weight", "rbr_dense.vector"),
        ("rbr_dense.bn", "rbr_1x1.bn"),
        ("rbr_identity",),
    ),
    "repvgg": _Sign(
        "rbr_reparam",
        ("rbr_dense.conv.weight", "rbr_1x1.conv.weight"),
        (),
        ("rbr_dense.bn", "rbr_1x1.bn"),
        ("rbr_identity",),
    ),
    "acnet": _Sign(
        "fused_conv",
        ("square_conv.weight", "ver_conv.weight", "hor_conv.weight"),
        (),
        ("square_bn", "ver_bn", "hor_bn"),
    ),
    "dbb": _Sign(
        "dbb_reparam",
        ("dbb_origin.conv.weight", "dbb_1x1_kxk.conv2.weight"),
        (),
        ("dbb_origin.bn", *_1X1_KXK),
        ("dbb_1x1.bn", "dbb_avg.bn.bn"),
    ),
    "mobileone": _Sign(
        "reparam_conv",
        ("rbr_conv.0.conv.weight",),
        (),
        ("rbr_conv.0.bn",),
        ("rbr_scale.bn", "rbr_skip"),
    ),
    "orepa": _Sign(
        "orepa_reparam",
        ("weight_orepa_origin",),
        (
            "vector",
            "id_tensor",
            "weight_orepa_avg_avg",
            "weight_orepa_prior",
            "weight_orepa_avg_conv",
            "weight_orepa_pfir_conv",
            "weight_orepa_1x1",
            "weight_orepa_1x1_kxk_idconv1",
            "weight_orepa_1x1_kxk_conv2",
            "weight_orepa_gconv_dw",
            "weight_orepa_gconv_pw",
        ),
        ("bn",),
    ),
    "asr": _Sign(
        "",
        ("attention_module.fc1.weight", "vector"),
        ("attention_module.fc2.weight",),
        ("bn",),
    ),
}
DEPLOYED = tuple(dict.fromkeys(sign.deploy for sign in SIGNS.values() if sign.deploy))


@dataclass(frozen=True)
class Folded:
    """What `fold_keys` made of a file.

    Attributes:
        tensors: all of it, in the order of the file.
        steps: one per block, pair, or folded convolution that was there already.
        errors: prefix -> worst error of its block in float64, on random input.
    """

    tensors: Tensors
    steps: list[Step]
    errors: dict[str, float]


@torch.no_grad()
def fold_keys(
    tensors: Mapping[str, Tensor], *, eps: float = 1e-5, pairs: tuple[str, ...] = ()
) -> Folded:
    """Fold every block in a state dict.

    Args:
        tensors: the file.
        eps: of all its batch norms; a file does not say it.
        pairs: ``conv:bn``, names of siblings that the user vouches for; folded outside of blocks.

    Raises:
        WeightsError: a block is there only in part.
        RunFailed: a folded block is not equal to its forward.
    """
    found = dict(_find(tensors))
    new: dict[str, Tensors] = {}
    errors: dict[str, float] = {}
    steps = []
    for prefix, kind in found.items():
        own = _below(tensors, prefix)
        _require_whole(own, prefix, kind)
        made, errors[prefix] = _fold_one(own, kind, eps)
        if not errors[prefix] <= EXACT:
            raise RunFailed(
                f"{prefix} ({kind}) is not equal when folded: {errors[prefix]:.1e} over {EXACT:g}"
            )
        new[prefix] = {_join(prefix, name): tensor for name, tensor in made.items()}
        target = _join(prefix, SIGNS[kind].deploy)
        steps.append(Step(prefix, kind, "gate>bn" if kind == "asr" else "branches", target))
    out: Tensors = {}
    for key, tensor in tensors.items():
        of = next((p for p in found if key.startswith(f"{p}." if p else "")), None)
        if of is None or not _belongs(key, of, found[of]):
            out[key] = tensor
        elif of in new:
            out |= new.pop(of)
    steps += [Step(p, "folded", None, None, "keep", "already folded") for p in _deployed(tensors)]
    steps += _fold_pairs(out, eps, pairs)
    return Folded(out, steps, errors)


def _find(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, str]]:
    """Yield prefix and kind of each block, in the order of the file."""
    chains = {_stem(k, "weight1") for k in tensors if k.split(".")[-1] == "weight1"}
    chains |= {_stem(k, "weight1.weight_orepa_origin") for k in tensors
               if k.endswith("weight1.weight_orepa_origin")}  # fmt: skip
    taken: dict[str, str] = {p: "or_large" for p in chains if _is_chain(_below(tensors, p))}
    inner = tuple(f"{_join(p, '')}weight" for p in taken)
    for key in tensors:
        for kind, sign in SIGNS.items():
            tail = next((t for t in sign.own if key == t or key.endswith(f".{t}")), None)
            if tail is None or (inner and key.startswith(inner)):
                continue
            prefix = _stem(key, tail)
            if prefix not in taken and _is_meant(_below(tensors, prefix), kind, tail):
                taken[prefix] = kind
    yield from taken.items()


def _is_meant(own: Mapping[str, Tensor], kind: str, tail: str) -> bool:
    """Tell blocks apart that share a name: a 1x1 branch, a `vector`."""
    if kind == "repvgg" and tail == "rbr_1x1.conv.weight":
        return "rbr_dense.weight_rbr_origin" not in own
    if kind == "asr" and tail == "vector":
        return any(name.startswith("attention_module.") for name in own)
    return True


def _is_chain(own: Mapping[str, Tensor]) -> bool:
    first = own.get("weight0", own.get("weight0.weight_orepa_origin"))
    return first is not None and first.ndim == 4 and first.shape[-1] == 3 and "bn.weight" in own


def _require_whole(own: Mapping[str, Tensor], prefix: str, kind: str) -> None:
    sign = SIGNS[kind]
    norms = [n for n in sign.optional if any(k.startswith(f"{n}.") for k in own)]
    branches = sorted({k.split(".")[1] for k in own if k.startswith("rbr_conv.")})
    if kind == "mobileone":
        norms += [f"rbr_conv.{number}.bn" for number in branches]
    names = [*sign.own, *sign.convs, *(f"{n}.{t}" for n in (*sign.norms, *norms) for t in _NORM)]
    missing = [_join(prefix, name) for name in dict.fromkeys(names) if name not in own]
    if missing:
        more = ", ..." if len(missing) > 20 else ""
        raise WeightsError(
            f"the {kind} block {prefix or '(at the top)'} is incomplete: missing "
            f"{', '.join(missing[:20])}{more}",
            hint="the whole state_dict of training is needed, with all batch norms",
        )


def _fold_one(own: Tensors, kind: str, eps: float) -> tuple[Tensors, float]:
    """Return the tensors of a folded block and how far it is from the block, in float64."""
    exact = {name: t.double() if t.is_floating_point() else t for name, t in own.items()}
    if kind == "asr":
        return _fold_asr(own, exact, eps)
    groups = _groups(own, kind)
    kernel = fold_block(kind, exact, groups=groups, eps=eps)
    k = kernel.weight.shape[2]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, kernel.weight.shape[1] * groups, 9, 9, generator=generator).double()
    y = F.conv2d(x, kernel.weight, kernel.bias, padding=k // 2, groups=groups)
    error = relative(_forward(exact, kind, x, groups, k, eps), y)
    like = next(t for name, t in own.items() if name.endswith("weight") or "origin" in name)
    name = SIGNS[kind].deploy
    weight, bias = (t.to(like.dtype) for t in kernel)
    return {f"{name}.weight": weight, f"{name}.bias": bias}, error


def _fold_asr(own: Tensors, exact: Tensors, eps: float) -> tuple[Tensors, float]:
    v = asr_gate(exact)
    gamma, beta = scale_affine(exact["bn.weight"], exact["bn.bias"], v)
    assert beta is not None
    if "fused_bn.weight" in exact:
        off = relative(gamma, exact["fused_bn.weight"])
        if off > FUSED_TOLERANCE:
            _log.warning("fused_bn is not bn x gate (off by %.1e): bn and vector are used", off)
    x = torch.linspace(-2, 2, 4 * len(v), dtype=torch.float64).reshape(4, len(v))
    norm = norm_of(exact, "bn", eps)
    before = ((x - norm.mean) * norm.scale + norm.beta) * v
    after = (x - norm.mean) * (gamma / torch.sqrt(norm.var + eps)) + beta
    made = {n.removeprefix("bn."): t for n, t in own.items() if n.startswith("bn.")}
    made["weight"], made["bias"] = gamma.to(own["bn.weight"].dtype), beta.to(own["bn.bias"].dtype)
    return made, relative(before, after)


def _forward(p: Tensors, kind: str, x: Tensor, groups: int, k: int, eps: float) -> Tensor:
    """Return what the block itself makes of x: stride 1, padding k // 2."""
    if kind in SRP.entries:
        options = {}
        if kind == "mobileone":
            options = {"branches": len({n.split(".")[1] for n in p if n.startswith("rbr_conv.")})}
        if kind == "dbb":
            options = {"internal": len(_first(p))}
        shape = Shape(x.shape[1], len(p[_main(kind)]), kernel=k, groups=groups, eps=eps)
        block = SRP.load(kind)(shape, **options).double().eval()
        for name in ("rbr_identity", "rbr_skip"):
            if name in block._modules and f"{name}.weight" not in p:
                setattr(block, name, None)
        block.load_state_dict({n: t for n, t in p.items() if n in block.state_dict()})
        out: Tensor = block(x)
        return out
    kernels = {
        "or1x1": lambda: blocks.or1x1_kernel(p),
        "or_large": lambda: blocks.or_large_kernel(p),
        "orepa-vgg": lambda: blocks.orepa_vgg_kernel(p, groups),
    }
    bn = "rbr_dense.bn" if kind == "orepa-vgg" else "bn"
    y = _norm(F.conv2d(x, kernels[kind](), padding=k // 2, groups=groups), p, bn, eps)
    if kind == "orepa-vgg":
        side = F.conv2d(x, p["rbr_1x1.conv.weight"], groups=groups)
        y = y + _norm(side, p, "rbr_1x1.bn", eps)
        if "rbr_identity.weight" in p:
            y = y + _norm(x, p, "rbr_identity", eps)
    return y


def _norm(x: Tensor, p: Tensors, name: str, eps: float) -> Tensor:
    n = norm_of(p, name, eps)
    return F.batch_norm(x, n.mean, n.var, n.gamma, n.beta, eps=eps)


def _main(kind: str) -> str:
    return {"orepa": "weight_orepa_origin"}.get(kind, SIGNS[kind].own[0])


def _first(p: Mapping[str, Tensor]) -> Tensor:
    name = "dbb_1x1_kxk.idconv1.weight"
    return p[name] if name in p else p["dbb_1x1_kxk.conv1.weight"]


def _groups(own: Mapping[str, Tensor], kind: str) -> int:
    """Return the groups that the shapes tell; 1 where they do not matter."""
    per_group: int
    if kind == "dbb":
        return len(_first(own)) // own["dbb_1x1_kxk.conv2.weight"].shape[1]
    if kind == "orepa":
        return len(own["weight_orepa_gconv_dw"]) // 8 // own["weight_orepa_origin"].shape[1]
    for name in ("rbr_identity.weight", "rbr_skip.weight"):
        if name in own:
            main = "rbr_dense.weight_rbr_origin" if kind == "orepa-vgg" else _main(kind)
            per_group = own[main].shape[1]
            return len(own[name]) // per_group
    return 1


def _fold_pairs(out: Tensors, eps: float, pairs: tuple[str, ...]) -> list[Step]:
    """Fold siblings ``P.conv`` and ``P.bn`` in place."""
    steps = []
    for pair in pairs:
        conv, _, bn = pair.partition(":")
        for key in [k for k in out if k == f"{conv}.weight" or k.endswith(f".{conv}.weight")]:
            prefix = _stem(key, f"{conv}.weight")
            at = _join(prefix, bn)
            names = {t: f"{at}.{t}" for t in _NORM}
            if out[key].ndim != 4 or any(name not in out for name in names.values()):
                continue
            exact = {f"n.{t}": out[name].double() for t, name in names.items()}
            bias_key = _join(prefix, f"{conv}.bias")
            bias = out[bias_key].double() if bias_key in out else None
            kernel = conv_norm(out[key].double(), bias, norm_of(exact, "n", eps))
            dtype = out[key].dtype
            entries = list(out.items())
            out.clear()
            for name, tensor in entries:
                if name == key:
                    out[name], out[bias_key] = kernel.weight.to(dtype), kernel.bias.to(dtype)
                elif name != bias_key and not name.startswith(f"{at}."):
                    out[name] = tensor
            steps.append(Step(at, "bn", "conv+bn", _join(prefix, conv)))
    return steps


def _deployed(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the convolutions in a file that a fold has made before."""
    return [k.removesuffix(".weight") for k in tensors if k.split(".")[-2:-1]
            and k.split(".")[-2] in DEPLOYED and k.endswith(".weight")]  # fmt: skip


def _belongs(key: str, prefix: str, kind: str) -> bool:
    """Whether a key below the prefix of a block is of its branches; SE and the like are not."""
    head = key[len(prefix) + 1 if prefix else 0 :].split(".")[0]
    if kind == "asr":
        return head in ("bn", "vector", "attention_module", "fused_bn")
    return head.startswith(_HEADS[kind])


_HEADS: dict[str, tuple[str, ...]] = {
    "repvgg": ("rbr_",),
    "orepa-vgg": ("rbr_",),
    "acnet": ("square_", "ver_", "hor_", "crop_layer"),
    "dbb": ("dbb_",),
    "mobileone": ("rbr_",),
    "orepa": ("weight_orepa_", "vector", "id_tensor", "bn"),
    "or1x1": ("weight_or1x1_", "vector", "bn"),
    "or_large": ("weight", "bn"),
}


def _below(tensors: Mapping[str, Tensor], prefix: str) -> Tensors:
    start = f"{prefix}." if prefix else ""
    return {k[len(start) :]: t for k, t in tensors.items() if k.startswith(start)}


def _stem(key: str, tail: str) -> str:
    return key[: -len(tail)].rstrip(".")


def _join(prefix: str, name: str) -> str:
    return ".".join(filter(None, (prefix, name))) if name else (f"{prefix}." if prefix else "")
