"""Time of one attention module, forward and backward, against its equations and timm's SE.

    OMP_NUM_THREADS=1 python benchmarks/attention.py [--rounds 15] [--only "se;spem"]

A map of (128, 256, 16, 16), one fixed upstream gradient, gradients of the map and of every
parameter; one warm-up, then rounds in alternating order; the median of process time. All figures
are ratios within this process. `reference` are the plain eager functions of
`tests/reference/attention.py`. Bar A: at most 1.05 x the reference. Bar B: at most the number given
x `timm:se`. Exit code 1 when a bar fails.
"""

import argparse
import os
import platform
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from reference.attention import REFERENCE  # noqa: E402

from qr_cli.attention.create import create_attention  # noqa: E402
from qr_cli.attention.modules.contract import Ctx  # noqa: E402

SHAPE = (128, 256, 16, 16)
BARS = {
    "se": 0.75,
    "lsas(se)": 0.75,
    "ie": 0.75,
    "ras(ie)": 0.75,
    "eca": 0.80,
    "sem(fc,eca,ie)": 0.80,
    "asr(se)": 0.85,
    "spem": 1.0,
    "srm": 1.2,
    "spa": 1.35,
    "stepnet": 1.15,
    "dia": 1.15,
    "fca": 2.2,
    "cbam": 3.5,
    "sge": 3.4,
    "bam": 4.4,
}
BAR_A = 1.05
BAR_TIMM_CBAM = 0.85


def seconds(call, f, r, leaves):
    """CPU time of one forward and backward."""
    for leaf in leaves:
        leaf.grad = None
    start = time.process_time()
    call(f).backward(r)
    return time.process_time() - start


def contestants(only, shortcut):
    """Name -> (callable on f, tensors whose gradients are taken)."""
    found = {}
    for form in ["timm:se", "timm:cbam", *BARS]:
        if only and form not in only and form != "timm:se":
            continue
        module = create_attention(form, SHAPE[1], seed=0)
        parameters = list(module.parameters())

        def ours(f, module=module):
            return module(f, Ctx(shortcut=shortcut, state={}))

        found[form] = (ours, parameters)
        if form in REFERENCE:
            p = {k: v.clone() for k, v in module.state_dict().items()}
            leaves = [p[name].requires_grad_() for name, _ in module.named_parameters()]

            def plain(f, p=p, form=form):
                return REFERENCE[form](p, f, True, shortcut)

            found[f"{form} reference"] = (plain, leaves)
    return found


def medians(found, rounds, f, r, shortcut):
    """Median time of each contestant, measured in alternating order."""
    times = {name: [] for name in found}
    for turn in range(rounds + 1):
        names = list(found) if turn % 2 else list(found)[::-1]
        for name in names:
            call, leaves = found[name]
            spent = seconds(call, f, r, [f, shortcut, *leaves])
            if turn:
                times[name].append(spent)
    return {name: statistics.median(values) for name, values in times.items()}


def layouts(rounds):
    """Single pass against autograd's path for SE in other layouts and precisions."""
    rows = []
    for dtype in (torch.float32, torch.bfloat16):
        for layout in (torch.contiguous_format, torch.channels_last):
            f, r = (torch.randn(SHAPE).to(dtype).contiguous(memory_format=layout) for _ in range(2))
            f.requires_grad_()
            module = create_attention("se", SHAPE[1], seed=0)
            spent = {"single": [], "autograd": []}
            for turn in range(rounds + 1):
                for path in spent:
                    module.backward = path
                    value = seconds(module, f, r, [f, *module.parameters()])
                    if turn:
                        spent[path].append(value)
            ratio = statistics.median(spent["single"]) / statistics.median(spent["autograd"])
            rows.append((str(layout).split(".")[1], str(dtype).split(".")[1], ratio))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    f = torch.randn(SHAPE, requires_grad=True)
    shortcut = torch.randn(SHAPE, requires_grad=True)
    r = torch.randn(SHAPE)
    only = [part for part in options.only.split(";") if part]
    times = medians(contestants(only, shortcut), options.rounds, f, r, shortcut)
    base = times["timm:se"]
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, 1 thread,", end=" "
    )
    print(f"torch {torch.__version__}; timm:se = {1000 * base:.1f} ms")
    print(
        f"{'module':<16}{'ours/ref':>9}{'A':>6}{'ref/timm:se':>13}{'ours/timm:se':>14}{'bar':>6} B"
    )
    failed = False
    for form, bar in BARS.items():
        if form not in times:
            continue
        against, ratio = times[form] / times[f"{form} reference"], times[form] / base
        plain = times[f"{form} reference"] / base
        a, b = against <= BAR_A, ratio <= bar
        failed |= not (a and b)
        print(
            f"{form:<16}{against:>9.2f}{'pass' if a else 'FAIL':>6}{plain:>13.2f}"
            f"{ratio:>14.2f}{bar:>6.2f} {'pass' if b else 'FAIL'}"
        )
    if "cbam" in times and "timm:cbam" in times:
        ratio = times["cbam"] / times["timm:cbam"]
        failed |= ratio > BAR_TIMM_CBAM
        verdict = "pass" if ratio <= BAR_TIMM_CBAM else "FAIL"
        print(f"cbam / timm:cbam {ratio:.2f}, bar {BAR_TIMM_CBAM} {verdict}")
    if not only:
        for layout, dtype, ratio in layouts(options.rounds):
            print(f"se, {dtype}, {layout}: single pass / autograd {ratio:.2f}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
