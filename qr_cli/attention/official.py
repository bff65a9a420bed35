"""Weights of the methods' official repositories, renamed to ours.

The official networks name the backbone as ours do (``conv1 bn1 layerS.i.conv1 ... fc``); only the
attention differs. A family is recognised by its keys. In the table P is ``layerS.i.``; what is not
named is kept.

| family | sign | official -> ours |
| --- | --- | --- |
| dia | ``layerS.lstm`` | ``layerS.lstm.w_ih.0.seq.{0,2}`` -> ``shared.S.ih.{fc1,fc2}`` |
| | | ``w_hh`` -> ``hh``; ``layerS.ModuleList.i.`` -> ``layerS.i.`` |
| asr | ``P.bn3.vector`` | ``P.bn3.bn`` -> ``P.bn3``; vector, attention -> psi, inner |
| sem | ``P.switch_fc`` | -> decision; ``fc1 fc2`` -> ops.0, ``conv`` -> ops.1, ``w1 b1`` -> ops.2 |
| ras | ``P.bn4`` | ``w b`` -> op, ``bn4`` -> bns.0 |
| spem | ``P.p, P.w2`` | ``w2 b2`` -> w_rew b_rew, ``w1 b1`` -> w_exc b_exc, ``p`` (0 max, 1 min) |
| lsas | ``P.fc1, P.w`` | ``fc1 fc2`` -> base; ``w, w2 ...`` stacked to w (n, C), b likewise |
| se | ``P.fc1`` | ``fc1 fc2`` |
| none | none of these | |

ImageNet networks of se and lsas have ``P.se.fc.{0,2}`` and ``P.se.{w,b}`` instead. Vectors of shape
(1, C, 1, 1) become (C). Single modules (`load_official`) cover CBAM, BAM, SRM, ECA, SPA and FCA.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from qr_cli.errors import WeightsError

Tensors = dict[str, Tensor]

FUSED_TOLERANCE = 1e-5  # relative, of a folded batch norm against the one it was folded from

_BLOCK = re.compile(r"(layer\d+\.\d+\.)(.+)")
_BACKBONE = re.compile(r"(conv|bn)[123]\.|downsample\.\d\.")
# a name ending in a point stands for everything below it
_NAMES: dict[str, dict[str, str]] = {
    "none": {},
    "se": {
        "fc1.": "attn.fc1.",
        "fc2.": "attn.fc2.",
        "se.fc.0.": "attn.fc1.",
        "se.fc.2.": "attn.fc2.",
    },
    "lsas": {
        "fc1.": "attn.base.fc1.",
        "fc2.": "attn.base.fc2.",
        "se.fc.0.": "attn.base.fc1.",
        "se.fc.2.": "attn.base.fc2.",
    },
    "sem": {
        "switch_fc.": "attn.decision.",
        "fc1.": "attn.ops.0.fc1.",
        "fc2.": "attn.ops.0.fc2.",
        "conv.": "attn.ops.1.conv.",
        "w1": "attn.ops.2.w",
        "b1": "attn.ops.2.b",
    },
    "spem": {
        "w2": "attn.w_rew",
        "b2": "attn.b_rew",
        "w1": "attn.w_exc",
        "b1": "attn.b_exc",
        "p": "attn.p",
    },
    "ras": {"w": "attn.op.w", "b": "attn.op.b", "bn4.": "attn.bns.0."},
}
_ALONE = {
    "ChannelGate.mlp.1.": "fc1.",
    "ChannelGate.mlp.3.": "fc2.",
    "SpatialGate.spatial.conv.": "conv.",
    "SpatialGate.spatial.bn.": "bn.",
    "fc.0.": "fc1.",
    "fc.2.": "fc2.",
    "channel_att.gate_c.gate_c_fc_0.": "channel.fc1.",
    "channel_att.gate_c.gate_c_bn_1.": "channel.bn.",
    "channel_att.gate_c.gate_c_fc_final.": "channel.fc2.",
    "spatial_att.gate_s.gate_s_conv_reduce0.": "spatial.reduce.",
    "spatial_att.gate_s.gate_s_bn_reduce0.": "spatial.bn0.",
    "spatial_att.gate_s.gate_s_conv_di_0.": "spatial.conv1.",
    "spatial_att.gate_s.gate_s_bn_di_0.": "spatial.bn1.",
    "spatial_att.gate_s.gate_s_conv_di_1.": "spatial.conv2.",
    "spatial_att.gate_s.gate_s_bn_di_1.": "spatial.bn2.",
    "spatial_att.gate_s.gate_s_conv_final.": "spatial.out.",
}
_BUFFERS_NOT_LOADED = ("dct_layer.weight",)  # FCA's basis is computed, not stored

_log = logging.getLogger(__name__)


def translate(state: Mapping[str, Tensor]) -> tuple[Tensors, str]:
    """Return the weights of an official network under our names, and the family.

    Raises:
        WeightsError: the keys are those of no known family.
    """
    family = recognize(state)
    if family == "dia":
        return _dia(state), family
    if family == "asr":
        return _asr(state), family
    renamed: Tensors = {}
    for key, tensor in state.items():
        block = _BLOCK.fullmatch(key)
        if block is None:
            renamed[key] = tensor
            continue
        prefix, tail = block.groups()
        ours = _renamed(tail, _NAMES[family])
        renamed[prefix + ours] = tensor if ours == tail else _vector(tensor)
    return (_stack_orders(renamed) if family == "lsas" else renamed), family


def recognize(state: Mapping[str, Tensor]) -> str:
    """Return the family of an official state dict; raises WeightsError when there is none."""
    blocks = {match.group(2) for key in state if (match := _BLOCK.fullmatch(key))}
    heads = {tail.partition(".")[0] for tail in blocks}
    if any(re.match(r"layer\d+\.lstm\.", key) for key in state):
        return "dia"
    for family, belongs in _SIGNS:
        if blocks and belongs(blocks, heads):
            return family
    raise WeightsError(
        f"these weights are of no known official family; keys: {', '.join(list(state)[:5])}",
        hint="signs looked for: layerS.lstm (dia), and in layerS.i: bn3.vector (asr), switch_fc "
        "(sem), bn4 (ras), p and w2 (spem), fc1 and w or se.w (lsas), fc1 or se.fc.0 (se)",
    )


def load_official(module: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Load the official weights of a single attention module into ours, in place.

    Raises:
        WeightsError: keys or sizes do not fit the module.
    """
    own = module.state_dict()
    renamed = {
        _renamed(key, _ALONE): tensor
        for key, tensor in state.items()
        if key not in _BUFFERS_NOT_LOADED
    }
    missing = sorted(set(own) - set(renamed))
    unexpected = sorted(set(renamed) - set(own))
    sizes = [k for k in own if k in renamed and own[k].numel() != renamed[k].numel()]
    if missing or unexpected or sizes:
        raise WeightsError(
            f"these weights do not fit {type(module).__name__}: missing {missing}, "
            f"unexpected {unexpected}, of another size {sizes}",
            hint="check channels and options such as bias=false",
        )
    module.load_state_dict({key: renamed[key].reshape(own[key].shape) for key in own})
    return module


_SIGNS: tuple[tuple[str, Callable[[set[str], set[str]], bool]], ...] = (
    ("asr", lambda tails, heads: any(t.startswith(("bn3.vector", "bn3.fused_bn.")) for t in tails)),
    ("sem", lambda tails, heads: "switch_fc" in heads),
    ("ras", lambda tails, heads: "bn4" in heads),
    ("spem", lambda tails, heads: {"p", "w2"} <= heads),
    ("lsas", lambda tails, heads: {"fc1", "w"} <= heads or "se.w" in tails),
    ("se", lambda tails, heads: "fc1" in heads or "se.fc.0.weight" in tails),
    ("none", lambda tails, heads: all(_BACKBONE.match(t) for t in tails)),
)


def _renamed(name: str, names: Mapping[str, str]) -> str:
    for official, ours in names.items():
        if official.endswith(".") and name.startswith(official):
            return ours + name.removeprefix(official)
        if name == official:
            return ours
    return name


def _vector(tensor: Tensor) -> Tensor:
    """(1, C, 1, 1) or (1, C) -> (C); a matrix stays as it is."""
    single = tensor.ndim in (2, 4) and tensor.shape[0] == 1 and set(tensor.shape[2:]) <= {1}
    return tensor.reshape(-1) if single else tensor


def _stack_orders(state: Tensors) -> Tensors:
    """Stack ``w, w2, ...`` of each block, each (1, C, 1, 1), to ``attn.w`` (n, C); b likewise."""
    order = re.compile(r"(layer\d+\.\d+\.)(?:se\.)?([wb])(\d*)")
    stacked: dict[str, list[tuple[int, Tensor]]] = {}
    kept: Tensors = {}
    for key, tensor in state.items():
        match = order.fullmatch(key)
        if match is None:
            kept[key] = tensor
            continue
        prefix, letter, number = match.groups()
        rows = stacked.setdefault(f"{prefix}attn.{letter}", [])
        rows.append((int(number or 1), tensor.reshape(-1)))
    for key, rows in stacked.items():
        kept[key] = torch.stack([row for _, row in sorted(rows, key=lambda row: row[0])])
    return kept


def _dia(state: Mapping[str, Tensor]) -> Tensors:
    lstm = re.compile(r"layer(\d+)\.lstm\.w_(ih|hh)\.0\.seq\.([02])\.(weight|bias)")
    renamed: Tensors = {}
    for key, tensor in state.items():
        match = lstm.fullmatch(key)
        if match:
            stage, way, layer, kind = match.groups()
            key = f"shared.{stage}.{way}.{'fc1' if layer == '0' else 'fc2'}.{kind}"
        else:
            key = re.sub(r"^(layer\d+)\.ModuleList\.", r"\1.", key)
        renamed[key] = tensor
    return renamed


def _asr(state: Mapping[str, Tensor]) -> Tensors:
    """Rename ASR's batch norms; with an SE that stays the module is the chain ``asr(se)+se``."""
    chain = any(re.match(r"layer\d+\.\d+\.attention_module\.", key) for key in state)
    asr, stays = ("attn.0.", "attn.1.") if chain else ("attn.", "")
    renamed: Tensors = {}
    for key, tensor in state.items():
        block = _BLOCK.fullmatch(key)
        prefix, tail = block.groups() if block else ("", key)
        if tail == "bn3.vector":
            renamed[f"{prefix}{asr}psi"] = tensor.reshape(tensor.shape[0], -1)
        elif tail.startswith("bn3.fused_bn."):
            plain = tail.removeprefix("bn3.fused_bn.")
            if f"{prefix}bn3.vector" in state:
                _compare_fused(state, prefix, plain)
            else:
                renamed[f"{prefix}bn3.{plain}"] = tensor
        else:
            tail = re.sub(r"^bn3\.bn\.", "bn3.", tail)
            tail = re.sub(r"^bn3\.attention_module\.", f"{asr}inner.0.", tail)
            tail = re.sub(r"^attention_module\.", stays, tail)
            renamed[prefix + tail] = tensor
    return renamed


def _compare_fused(state: Mapping[str, Tensor], prefix: str, name: str) -> None:
    """Warn when a stored folded batch norm is not the product of batch norm and gate."""
    if name not in ("weight", "bias"):
        return
    inner = f"{prefix}bn3.attention_module."
    hidden = torch.relu(
        state[f"{prefix}bn3.vector"].flatten(1) @ state[f"{inner}fc1.weight"].T
        + state[f"{inner}fc1.bias"]
    )
    gate = torch.sigmoid(hidden @ state[f"{inner}fc2.weight"].T + state[f"{inner}fc2.bias"])
    expected = state[f"{prefix}bn3.bn.{name}"] * gate.prod(0)
    error = (state[f"{prefix}bn3.fused_bn.{name}"] - expected).abs().max()
    if error > FUSED_TOLERANCE * expected.abs().max():
        _log.warning(
            "%sbn3.fused_bn.%s is not bn x gate (off by %.1e): bn and vector are used",
            prefix,
            name,
            float(error),
        )
