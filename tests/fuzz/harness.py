"""Start workers, watch them, and say what they found."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

QUIET = 120  # seconds without a word: a reader that waits for something
MOST = 400  # findings after which a search has seen enough
WORKER = Path(__file__).with_name("worker.py")
Job = tuple[str, int, int]  # reader, first seed, end


class Finding(NamedTuple):
    """What went wrong with one mutation of a reader's file."""

    reader: str
    seed: int
    kind: str
    what: str


def fuzz(
    jobs: list[Job], folder: Path, tell: Callable[[str], None] = lambda text: None
) -> list[Finding]:
    """Return what the mutated files of the jobs bring to light; `tell` hears it at once.

    A worker that dies is a finding of the file it was reading; another goes on behind it.
    """
    found: list[Finding] = []
    while jobs and len(found) < MOST:
        log = folder / "worker.log"
        with log.open("wb") as talk:
            command = [sys.executable, str(WORKER), str(folder), json.dumps(jobs)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=talk)
        last, finished = _watch(process, found, tell)
        if finished:
            break
        if last is None:
            raise RuntimeError(f"the worker did not start:\n{log.read_text('utf-8', 'replace')}")
        name, seed = last
        found.append(Finding(name, seed, _ending(process.returncode), ""))
        tell(f"{name} {seed} {found[-1].kind}")
        place = [job[0] for job in jobs].index(name)
        jobs = [(name, seed + 1, jobs[place][2]), *jobs[place + 1 :]]
    return found


def _watch(process, found: list[Finding], tell) -> tuple[tuple[str, int] | None, bool]:
    """Read what a worker says until it ends; return the last file and whether it did them all."""
    last, finished, rest = None, False, b""
    descriptor = process.stdout.fileno()
    while True:
        if not select.select([descriptor], [], [], QUIET)[0]:
            process.kill()
        chunk = os.read(descriptor, 1 << 16)
        if not chunk:
            break
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            word, *more = line.decode().split(" ", 3)
            finished = finished or word == "end"
            if word == "start":
                if last is None or more[0] != last[0]:
                    tell(f"{more[0]} from {more[1]}")
                last = more[0], int(more[1])
            elif word == "fault":
                fault = json.loads(more[2])
                found.append(Finding(more[0], int(more[1]), fault["kind"], fault["what"]))
                tell(f"{more[0]} {more[1]} {fault['kind']}: {fault['what']}")
                if len(found) >= MOST:
                    process.kill()
    process.wait()
    process.stdout.close()
    return last, finished


def _ending(code: int) -> str:
    names = {-signal.SIGPROF: "hang", -signal.SIGKILL: "waits"}
    return names.get(code) or (signal.Signals(-code).name if code < 0 else f"exit {code}")


def main() -> None:
    """Search by hand: `python tests/fuzz/harness.py FIRST END [READER ..]`."""
    import tempfile
    import time
    from collections import Counter

    sys.path.insert(0, str(Path(__file__).parents[1]))
    from fuzz.readers import NAMES

    first, end = int(sys.argv[1]), int(sys.argv[2])
    jobs = [(name, first, end) for name in sys.argv[3:] or NAMES]
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = fuzz(jobs, Path(folder), lambda text: print(text[:400], flush=True))
    spent = time.monotonic() - begun
    print(f"{len(jobs)} readers x {end - first} files in {spent:.0f} s: {len(found)} findings")
    print(dict(Counter(finding.reader for finding in found)))


if __name__ == "__main__":
    main()
