"""Real processes: quickly forked from one that has imported torch, or from scratch."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import qr_cli

TOY = Path(__file__).with_name("toy.py")
ROOT = Path(qr_cli.__file__).parents[1]
TIME_OR_PLACE = ("seconds", "_per_s", "run", "checkpoint")  # ends of keys


def environment(**changes):
    """Return what a process of ours needs."""
    return dict(os.environ) | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | changes


class Server:
    """Starts toy processes, one group at a time."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, str(TOY), "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        assert self._answer() == "ready"

    def start(self, *arguments, ranks=1, log="log.txt"):
        """Start a group of ranks and return their process ids."""
        self.log = Path(log).absolute()
        self.log.touch()
        several = ranks > 1
        request = {
            "arguments": [str(argument) for argument in arguments],
            "ranks": [rank(n, ranks, port) for port in [free_port()] for n in range(ranks)]
            if several
            else [{}],
            "log": str(self.log),
        }
        print(json.dumps(request), file=self.process.stdin, flush=True)
        self.pids = self._answer()
        return self.pids

    def ended(self, seconds):
        """Wait at most so long; tell whether the group has ended."""
        return bool(select.select([self.process.stdout], [], [], seconds)[0])

    def wait(self, seconds=60):
        """Return the exit codes of the group."""
        if not self.ended(seconds):
            self.send(signal.SIGKILL)
        return self._answer()

    def kill(self):
        """Kill the group where it is and return its exit codes."""
        self.send(signal.SIGKILL)
        return self._answer()

    def send(self, number):
        """Send a signal to every process of the group that is still there."""
        for pid in self.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)

    def _answer(self):
        return json.loads(self.process.stdout.readline())


def rank(number, world, port):
    return {
        "RANK": str(number),
        "LOCAL_RANK": str(number),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo",
    }


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def settings(**values):
    """Return dotted settings as arguments of toy.py."""
    return [
        part
        for name, value in values.items()
        for part in ("--set", f"{name.replace('__', '.')}={value}")
    ]


def lines(folder):
    """Return metrics.jsonl without what depends on time and place; key order counts."""
    text = (folder / "metrics.jsonl").read_text("utf-8")
    records = [json.loads(line) for line in text.splitlines()]
    return [
        [(key, value) for key, value in record.items() if not key.endswith(TIME_OR_PLACE)]
        for record in records
    ]


def newest(folder):
    """Return the folder of the latest checkpoint."""
    return folder / json.loads((folder / "latest.json").read_text())["checkpoint"]


def differences(folder, straight):
    """Return what differs between two finished runs, bit for bit, apart from time and place."""
    import torch

    found = [] if lines(folder) == lines(straight) else ["metrics.jsonl"]
    one, other = newest(folder), newest(straight)
    names = sorted(path.name for path in other.iterdir())
    if names != sorted(path.name for path in one.iterdir()) or one.name != other.name:
        return [*found, "files"]
    for name in (n for n in names if n.endswith(".safetensors")):
        if (one / name).read_bytes() != (other / name).read_bytes():
            found.append(name)
    for name in (n for n in names if n.startswith("optimizer")):
        a, b = (torch.load(path / name, weights_only=True)["state"] for path in (one, other))
        same = all(torch.equal(a[p]["momentum_buffer"], b[p]["momentum_buffer"]) for p in b)
        found += [] if a.keys() == b.keys() and same else [name]
    best = [json.loads((path / "best.json").read_text()) for path in (folder, straight)]
    return found + ([] if best[0] == best[1] else ["best.json"])


def leftovers(folder):
    """Return hidden files and folders of a run."""
    return [str(path.relative_to(folder)) for path in folder.rglob(".*")]
