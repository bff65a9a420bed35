"""Attention with identity start leaves trained networks as they are: real weights, real images."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from qr_cli.attention.backbones.create import create_backbone
from qr_cli.attention.data import read
from qr_cli.attention.insert import iter_attention
from qr_cli.errors import UsageError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
GROUP = ("lsas", "sem(fc,eca,ie)", "spem", "ras", "stepnet", "asr(se)")
MEAN, STD = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data"),
]


def network(arch: str, weights: str, **settings):
    path = str(SHARED / "models" / f"{weights}.safetensors")
    return create_backbone(arch, weights=path, **settings).eval()


def cifar(module: str = "none", **settings):
    return network(
        "resnet20(shortcut=pad)", "resnet20_cifar10jpeg_ft2ep", num_classes=10, module=module,
        stages="all", **settings,
    )  # fmt: skip


@pytest.fixture(scope="module")
def images():
    """The first 200 small test images, normalised, and their labels."""
    found = read(f"npz:{SHARED / 'cifar10' / 'small_test_jpeg.npz'}", splits=("test",)).test
    return (found.images[:200].float() / 255 - MEAN) / STD, found.labels[:200]


@pytest.fixture(scope="module")
def photographs() -> torch.Tensor:
    """Three photographs, 224 pixels of their middle, normalised by halves."""
    files = sorted((SHARED / "imagenet1k_sample" / "dev").glob("*.jpg"))[::70]
    views = []
    for file in files:
        with Image.open(io.BytesIO(file.read_bytes())) as image:
            pixels = np.array(image.convert("RGB"))
        top, left = ((side - 224) // 2 for side in pixels.shape[:2])
        views.append(torch.from_numpy(pixels[top : top + 224, left : left + 224].copy()))
    return torch.stack(views).permute(0, 3, 1, 2) / 127.5 - 1


@pytest.mark.parametrize("module", GROUP)
@torch.no_grad()
def test_a_trained_resnet_keeps_its_logits(images, module):
    attended = cifar(module)
    assert len(list(iter_attention(attended))) == 9
    assert torch.equal(attended(images[0]), cifar()(images[0]))


@pytest.fixture(scope="module")
def efficientnet():
    """Build EfficientNet-Lite0 with its ImageNet weights."""
    pytest.importorskip("timm")
    name = ("timm:tf_efficientnet_lite0", "efficientnet_lite0_in1k_timm")
    return lambda module: network(*name, num_classes=1000, module=module, stages="all")


@pytest.fixture(scope="module")
@torch.no_grad()
def untouched(efficientnet, photographs) -> torch.Tensor:
    """Its logits without attention."""
    return efficientnet("none")(photographs)


@pytest.mark.parametrize("module", [name for name in GROUP if name != "stepnet"])
@torch.no_grad()
def test_a_trained_efficientnet_keeps_its_logits(efficientnet, untouched, photographs, module):
    attended = efficientnet(module)
    assert len(list(iter_attention(attended))) == 16
    assert torch.equal(attended(photographs), untouched)


def test_stepnet_is_refused_where_the_shortcut_is_out_of_reach(efficientnet):
    with pytest.raises(UsageError, match="stepnet needs the block's shortcut"):
        efficientnet("stepnet")


@torch.no_grad()
def test_without_identity_start_the_accuracy_collapses(images):
    pixels, labels = images
    naive, kept = cifar("spem", identity_start="no"), cifar("spem")
    top1 = [(net(pixels).argmax(1) == labels).float().mean() for net in (naive, kept)]
    assert top1[0] < 0.3 < 0.8 < top1[1]
