"""Time of attention, folded and not, over the plain backbone.

    OMP_NUM_THREADS=1 python benchmarks/reparam_latency.py [--arch resnet18 r164] [--onnx]

Contestants: the plain backbone, a second copy of it (the noise), SE, ASR(SE) as trained, folded in
the plain and in the bare form. Alternating order, CPU time of the process, medians of ratios taken
round by round. Bar: the plain form over the backbone is within the noise -+ 0.03. With onnxruntime
also SE and the folded network there, over the plain backbone there.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

from qr_cli.attention import cost
from qr_cli.attention.backbones.create import create_backbone
from qr_cli.reparam.exporting import export
from qr_cli.reparam.folding import fold

NETS = {  # arch, classes, side
    "resnet18": ("torchvision:resnet18", 1000, 224),
    "resnet50": ("torchvision:resnet50", 1000, 224),
    "r164": ("qr:resnet164", 100, 32),
    "resnet20": ("qr:resnet20", 10, 32),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", nargs="+", default=["resnet18", "resnet50", "r164"])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--onnx", action="store_true")
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread(s), batch 1, "
          f"{arguments.rounds} rounds; ratios to the plain backbone")  # fmt: skip
    for name in arguments.arch:
        arch, classes, side = NETS[name]
        nets = {m: create_backbone(arch, num_classes=classes, module=m).eval()
                for m in ("none", "se", "asr(se)")}  # fmt: skip
        start = time.process_time()
        result = fold(nets["asr(se)"], torch.zeros(2, 3, side, side))
        seconds = time.process_time() - start
        contestants = {
            "plain backbone": nets["none"],
            "SE": nets["se"],
            "ASR(SE), not folded": nets["asr(se)"],
            "ASR(SE) folded, plain": result.plain,
            "ASR(SE) folded, bare": result.model,
        }
        timing = cost.latency(contestants, (3, side, side), rounds=arguments.rounds)
        noise = timing.noise
        print(f"\n{name} at {side} px; fold took {seconds:.1f} CPU-seconds")
        for label, row in timing.models.items():
            print(f"  {label:24} {row.ratio:6.3f}")
        print(f"  {'second plain copy':24} {noise:6.3f}")
        within = abs(timing.models["ASR(SE) folded, plain"].ratio - 1) <= abs(noise - 1) + 0.03
        print(f"  bar (plain form within the noise -+ 0.03): {'met' if within else 'MISSED'}")
        if arguments.onnx:
            example = torch.zeros(2, 3, side, side)
            in_onnxruntime(
                {"plain": nets["none"], "SE": nets["se"], "ASR(SE) unfolded": nets["asr(se)"],
                 "ASR(SE) folded": result.model}, example, arguments.rounds,
            )  # fmt: skip


def in_onnxruntime(nets: dict, example: torch.Tensor, rounds: int) -> None:
    """Print ratios of exported files in onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        sessions = {}
        for label, net in nets.items():
            path = Path(folder) / "model.onnx"
            export(net, "onnx", path, example)
            sessions[label] = onnxruntime.InferenceSession(str(path), options)
    x = {"x": example[:1].numpy()}
    times: dict[str, list[float]] = {label: [] for label in sessions}
    for turn in range(rounds + 3):
        order = list(sessions.items())
        for label, session in order if turn % 2 else reversed(order):
            start = time.process_time()
            session.run(None, {session.get_inputs()[0].name: x["x"]})
            if turn >= 3:
                times[label].append(time.process_time() - start)
    for label, row in times.items():
        ratio = median(a / b for a, b in zip(row, times["plain"], strict=True))
        print(f"  onnxruntime: {label:16} {ratio:6.3f}")


if __name__ == "__main__":
    main()
