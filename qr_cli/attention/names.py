"""The three tables of this room: attention modules, backbones, data sources (imports no torch)."""

from qr_cli.registry import Entry, Registry

_M = "qr_cli.attention.modules"
_B = "qr_cli.attention.backbones"

MODULES = Registry(
    "attention module",
    {
        "se": Entry(f"{_M}.se:SE", "squeeze-and-excitation (Hu et al. 2018)"),
        "lsas": Entry(f"{_M}.lsas:LSAS", "sub-attention gates on the logits of a base module"),
    },
    group="qr_cli.attention_modules",
    listing="qr list modules",
)

BACKBONES = Registry(
    "backbone family",
    {
        "qr": Entry(f"{_B}.cifar:create", "CIFAR ResNets of the authors: resnet20 ... resnet245"),
        "torchvision": Entry(f"{_B}.torchvision:create", "ResNet family of torchvision"),
    },
    group="qr_cli.backbones",
    listing="qr list archs",
)

SOURCES = Registry(
    "data source",
    {
        "shapes": Entry("qr_cli.attention.shapes:read", "generated shapes with boxes, no download"),
        "npz": Entry("qr_cli.attention.packs:read", "one packed file or a folder of two"),
        "folder": Entry("qr_cli.attention.folders:read", "a folder of class folders"),
        "cifar10": Entry("qr_cli.attention.downloads:read", "CIFAR-10 through torchvision"),
    },
    group="qr_cli.data_sources",
    listing="qr list data",
)
