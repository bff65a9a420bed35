"""One table of command lines, which all tests of faults go through."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Command:
    """A command line that works, and what is known of it.

    Attributes:
        words: as typed after `qr`; "IN/" is the folder of inputs.
        again: what repeats it after a kill: "" where nothing need be said.
        stdin: an input it reads from stdin.
        writes: whether it leaves files.
        missing: the packages of an extra it needs, hidden one by one, and that extra.
    """

    words: str
    again: Literal["--resume", "--overwrite", ""] = ""
    stdin: str = ""
    writes: bool = True
    missing: dict[str, str] | None = None


TRAIN = "--device cpu --out runs --name r --epochs 2"
TRAININGS = {
    "attention": Command(
        f"train attention --arch resnet8 --data shapes(test=20,train=96) --batch-size 16 {TRAIN}",
        "--resume",
    ),
    "handoff": Command(
        "train handoff --data IN/dialogues.jsonl --embed-dim 12 --hidden 8 --val-split 0.25 "
        f"--batch-size 4 {TRAIN}",
        "--resume",
    ),
    "geo": Command(
        "train geo --families triangle-sum,hypotenuse --samples 96 --batch-size 8 --warmup 2 "
        f"--mix 0,1,0 --eval-samples 4 --eval-batch-size 4 {TRAIN}",
        "--resume",
    ),
    "sur-adapter": Command(
        "train sur-adapter --data IN/surd --cache IN/cache --steps 6 --diffusion-steps 4 --ffn 16 "
        "--resolution 64 --validate-every 3 --warmup-steps 1 --batch-size 4 --device cpu "
        "--out runs --name r",
        "--resume",
        missing={"diffusers": "generate", "transformers": "generate"},
    ),
}
COMMANDS = {
    **{f"train {name}": command for name, command in TRAININGS.items()},
    "fuse npz": Command(
        "fuse --hsi IN/pair/hsi.npz --msi IN/pair/msi.npz --out f.npz --psf official",
        "--overwrite",
        missing={"scipy": "fuse"},
    ),
    "fuse tif": Command(
        "fuse --hsi IN/pair/hsi.npz --msi IN/pair/msi.npz --out f.tif --uncertainty u.tif",
        "--overwrite",
        missing={"rasterio": "fuse"},
    ),
    "fuse envi": Command(
        "fuse --hsi IN/pair/hsi.npz --msi IN/pair/msi.npz --out f.hdr --no-report", "--overwrite"
    ),
    "fuse mat": Command(
        "fuse --hsi IN/pair/hsi.npz --msi IN/pair/msi.npz --out f.mat --no-report --no-quicklook",
        "--overwrite",
    ),
    "generate": Command(
        "generate --prompts IN/prompts.jsonl --steps 2 --compare --grid --device cpu",
        "--resume",
        missing={"diffusers": "generate", "transformers": "generate"},
    ),
    "solve-geo html": Command(
        "solve-geo IN/problems.jsonl --solver rules --render html --out pages",
        "--overwrite",
        missing={"sympy": "geo"},
    ),
    "solve-geo png": Command("solve-geo IN/problems.jsonl --render png --out pages", "--overwrite"),
    "solve-geo stream": Command("solve-geo - --json", stdin="problems.jsonl", writes=False),
    "handoff stream": Command("handoff -", stdin="dialogues.jsonl", writes=False),
    "handoff trace": Command(
        "handoff IN/dialogues.jsonl --trace traces --trace-format html,png", "--overwrite"
    ),
    "handoff onnx": Command(
        "handoff --checkpoint IN/runs/handoff/r --export step.onnx",
        "--overwrite",
        missing={"onnx": "onnx", "onnxruntime": "onnx"},
    ),
    "reparam": Command(
        "reparam IN/runs/attention/asr --out deployed --verify --repeats 1 --export torch.export",
        "--overwrite",
    ),
    "reparam onnx": Command(
        "reparam IN/runs/attention/asr --out deployed --repeats 0 --export onnx",
        "--overwrite",
        missing={"onnx": "onnx", "onnxscript": "onnx", "onnxruntime": "onnx"},
    ),
    "eval attention": Command(
        "eval attention IN/runs/attention/asr --device cpu --stripes --out report", "--overwrite"
    ),
    "eval fuse": Command(
        "eval fuse --cube IN/cube.npz --ratio 4 --srf rgb --methods bicubic,glp",
        writes=False,
        missing={"scipy": "fuse"},
    ),
    "eval generate": Command(
        "eval generate --suite IN/suite.jsonl --steps 2 --device cpu --out report",
        "--overwrite",
        missing={"diffusers": "generate"},
    ),
    "eval geo": Command("eval geo IN/made/problems.jsonl --solver rules", writes=False),
    "eval handoff": Command(
        "eval handoff IN/runs/handoff/r --data IN/dialogues.jsonl --out report", "--overwrite"
    ),
    "data geo make": Command("data geo make --n 6 --out made", "--overwrite"),
    "data geo convert": Command("data geo convert IN/calculation_train.pk --out u", "--overwrite"),
    "data mhch convert": Command("data mhch convert IN/chat.pkl --out c.jsonl", "--overwrite"),
    "data mhch stats": Command("data mhch stats IN/dialogues.jsonl", writes=False),
    "data hsi simulate": Command(
        "data hsi simulate --cube IN/cube.npz --ratio 4 --srf rgb --format tif --out pair",
        "--overwrite",
        missing={"rasterio": "fuse", "scipy": "fuse"},
    ),
    "data hsi srf": Command(
        "data hsi srf --sensor rgb --wavelengths IN/wavelengths.txt --out srf.csv", "--overwrite"
    ),
    "data hsi convert": Command("data hsi convert IN/cube.npz c.mat", "--overwrite"),
    "data surd clean": Command("data surd clean IN/surd --out clean", "--overwrite"),
    "data convert": Command(
        "data convert sur-adapter IN/runs/generate/r --out sur --eta 0.5", "--overwrite"
    ),
    "data tiny-sd build": Command(
        "data tiny-sd build --steps 1 --warmup 0 --batch-size 4 --out tiny", "--overwrite"
    ),
    "list modules": Command("list modules", writes=False),
}
