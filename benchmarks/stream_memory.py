"""How much memory a stream of many items takes: resident set over the items answered.

    python benchmarks/stream_memory.py exec --n 1000000
    python benchmarks/stream_memory.py solve-geo --n 20000
    python benchmarks/stream_memory.py generate --n 2000

Items are written to the stdin of `qr data geo exec -`, `qr solve-geo - --solver rules` or
`qr generate - --steps 1` while answers are read, as fast as they come. Flat is: the last row is as
the one after a tenth. `qr handoff -` has `handoff_speed.py memory`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from qr_cli.geo.synth.files import record, samples

COMMANDS = {
    "exec": ["data", "geo", "exec", "-", "--json"],
    "solve-geo": ["solve-geo", "-", "--solver", "rules", "--json"],
    "generate": ["generate", "-", "--steps", "1", "--device", "cpu", "--json", "--out", "pictures"],
}


def items(command: str, n: int) -> Iterator[dict]:
    """Yield what is asked."""
    if command == "generate":
        yield from ({"id": str(i), "prompt": "two like the sky"} for i in range(n))
        return
    if command == "exec":
        told = {"program": "g_minus C_3 N_0 g_half V_0", "choices": [50, 60, 65, 90]}
        yield from ({"id": str(i), "numbers": [i % 179 + 1], **told} for i in range(n))
        return
    yield from (
        record(sample, "train")
        for sample in samples(n, seed=1, split="train", families=(), elements="extra")
    )


def main() -> None:
    """Print a row per tenth of the stream."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--n", type=int, default=1000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "qr_cli", *COMMANDS[asked.command]],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, cwd=folder,
        )  # fmt: skip

        def feed() -> None:
            for item in items(asked.command, asked.n):
                print(json.dumps(item), file=process.stdin)
            process.stdin.close()

        threading.Thread(target=feed, daemon=True).start()
        first = None
        for count, _ in enumerate(process.stdout, start=1):
            if count % max(1, asked.n // 10) == 0:
                held = _resident(process.pid)
                first = first or held
                print(f"{count:7d} items  {held:7.1f} MiB  {held / first:.3f} of the first tenth")
        process.wait()


def _resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 2**20


if __name__ == "__main__":
    main()
