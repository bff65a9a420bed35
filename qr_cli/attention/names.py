"""The tables of this room: modules, backbones, blocks, data sources (imports no torch)."""

from qr_cli.registry import Entry, Registry

_M = "qr_cli.attention.modules"
_B = "qr_cli.attention.backbones"
_A = "qr_cli.attention"
_S = "qr_cli.attention.srp"

MODULES = Registry(
    "attention module",
    {
        "se": Entry(f"{_M}.se:SE", "squeeze-and-excitation (Hu et al. 2018)"),
        "eca": Entry(f"{_M}.eca:ECA", "convolution along the channels (Wang et al. 2020)"),
        "ie": Entry(f"{_M}.ie:IE", "affine gate per channel (Liang et al. 2020)"),
        "srm": Entry(f"{_M}.srm:SRM", "style: mean and deviation (Lee et al. 2019)"),
        "spa": Entry(f"{_M}.spa:SPA", "pyramid of average pools (Guo et al. 2020)"),
        "fca": Entry(f"{_M}.fca:FCA", "cosine coefficients (Qin et al. 2021)"),
        "cbam": Entry(f"{_M}.cbam:CBAM", "channel gate, then spatial gate (Woo et al. 2018)"),
        "bam": Entry(f"{_M}.bam:BAM", "gate at the end of a stage (Park et al. 2018)"),
        "sge": Entry(f"{_M}.sge:SGE", "spatial gate per group (Li et al. 2019)"),
        "dia": Entry(f"{_M}.dia:DIA", "LSTM cell along a stage (Huang et al. 2020)"),
        "lsas": Entry(f"{_M}.lsas:LSAS", "sub-attention gates on the logits of a base module"),
        "sem": Entry(f"{_M}.sem:SEM", "switches between excitation operators"),
        "spem": Entry(f"{_M}.spem:SPEM", "self-adaptive mix of max- and min-pooling"),
        "ras": Entry(f"{_M}.ras:RAS", "deeper attention by recurrence"),
        "stepnet": Entry(f"{_M}.stepnet:StepNet", "stepnet (reconstruction from the abstract)"),
        "asr": Entry(f"{_M}.asr:ASR", "attention at a learnable vector; folds away"),
        "share": Entry(f"{_M}.share:Share", "one instance of a module per stage"),
    },
    group="qr_cli.attention_modules",
    listing="qr list modules",
)

BACKBONES = Registry(
    "backbone family",
    {
        "qr": Entry(f"{_B}.cifar:create", "CIFAR ResNets of the authors: resnet20 ... resnet245"),
        "torchvision": Entry(f"{_B}.torchvision:create", "ResNet family of torchvision"),
        "timm": Entry(f"{_B}.timm:create", "networks of timm: ResNet and EfficientNet families"),
    },
    group="qr_cli.backbones",
    listing="qr list archs",
)

SRP = Registry(
    "re-parameterization block",
    {
        "repvgg": Entry(f"{_S}.repvgg:RepVGG", "3x3, 1x1 and identity (Ding et al. 2021)"),
        "acnet": Entry(f"{_S}.acnet:ACNet", "square, vertical, horizontal (Ding et al. 2019)"),
        "dbb": Entry(f"{_S}.dbb:DBB", "diverse branches (Ding et al. 2021)"),
        "mobileone": Entry(f"{_S}.mobileone:MobileOne", "several equal ones (Vasu et al. 2022)"),
        "orepa": Entry(f"{_S}.orepa:OREPA", "merged before the convolution (Hu et al. 2022)"),
    },
    group="qr_cli.srp_blocks",
    listing="qr list srp",
)

SOURCES = Registry(
    "data source",
    {
        "shapes": Entry(f"{_A}.shapes:Shapes", "generated shapes with boxes, no download"),
        "npz": Entry(f"{_A}.packs:Packs", "npz:PATH, one packed file or a folder of two"),
        "folder": Entry(f"{_A}.folders:Folder", "folder:PATH, a folder of class folders"),
        "imagenet": Entry(f"{_A}.folders:ImageNet", "imagenet:PATH, never downloaded"),
        "cifar10": Entry(f"{_A}.downloads:CIFAR10", "CIFAR-10 through torchvision"),
        "cifar100": Entry(f"{_A}.downloads:CIFAR100", "CIFAR-100 through torchvision"),
        "stl10": Entry(f"{_A}.downloads:STL10", "STL-10, stl10(protocol=repo|full96)"),
    },
    group="qr_cli.data_sources",
    listing="qr list data",
)
