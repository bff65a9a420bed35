"""Small networks for the tests of this room."""

import torch
from torch import nn

from qr_cli.attention.backbones.create import create_backbone
from qr_cli.attention.shapes import CLASSES


def drawn(net: nn.Module, seed: int = 0) -> nn.Module:
    """Give every batch norm statistics and an affine map that are not trivial; evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for part in net.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None:
            part.running_mean.normal_(0, 0.5, generator=generator)
            part.running_var.uniform_(0.2, 2, generator=generator)
            if part.weight is not None:
                part.weight.data.normal_(1, 0.4, generator=generator)
                part.bias.data.normal_(0, 0.3, generator=generator)
    return net.eval()


def small(module: str = "asr(se)", **options) -> nn.Module:
    """Return a CIFAR ResNet of depth 8."""
    return drawn(create_backbone("resnet8", num_classes=10, module=module, **options))


def distance(a: nn.Module, b: nn.Module, x: torch.Tensor) -> float:
    """Return max|a - b| / max|a|."""
    with torch.no_grad():
        y, z = a(x), b(x)
    return float((y - z).abs().max() / y.abs().max())


class Gate(nn.Module):
    """A third party's constant gate: it follows no contract but has `constant_gate`."""

    def __init__(self, channels: int, sign: int = 1) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.linspace(-1, 1, channels))
        self.sign = sign

    def constant_gate(self) -> torch.Tensor:
        return self.sign * torch.sigmoid(self.raw)

    def forward(self, f: torch.Tensor) -> torch.Tensor:
        return f * self.constant_gate().reshape(-1, *[1] * (f.ndim - 2))


def checkpoint(folder, *, module: str = "asr(se)", srp: str | None = None, data=None, **more):
    """Write a checkpoint folder of a small network, as training does, and return the network."""
    import json

    from safetensors.torch import save_file

    net = small(module, srp=srp, **more)
    card = {
        "task": "attention", "arch": "qr:resnet8", "module": module, "stages": "auto",
        "blocks": None, "place": "auto", "identity_start": False, "srp": srp, "num_classes": 10,
        "classes": list(CLASSES), "input_size": [3, 32, 32],
        "mean": [0.5] * 3, "std": [0.25] * 3, "seed": 0,
        "evaluation": {"data": data, "test_data": None, "val": None, "data_root": None,
                       "image_size": None, "skip_bad": False, "batch_size": 100,
                       "precision": "fp32", "channels_last": False},
    }  # fmt: skip
    folder.mkdir(parents=True)
    save_file(net.state_dict(), folder / "model.safetensors")
    (folder / "model.json").write_text(json.dumps(card))
    return net
