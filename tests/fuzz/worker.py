"""Read mutated files in a process of its own, so that a crash or a hang is one finding.

    python worker.py FOLDER '[["npz", 0, 2000], ...]'

It says `start READER SEED` before a file is read and `fault READER SEED {...}` where one is a
finding. A file that takes over five seconds of processor time ends the process by SIGPROF.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.mutations import mutated
from fuzz.readers import Reader, reader_of

from qr_cli.errors import QrError

SECONDS = 5  # of processor time
GROWTH = 2 * 2**30  # bytes of address space
EVERY = 50  # files between two collections
LONGEST = 4000  # letters of a message


def main() -> None:
    """Do the jobs."""
    folder, jobs = Path(sys.argv[1]), json.loads(sys.argv[2])
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what readers print is not ours
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    for name, first, end in jobs:
        reader = reader_of(name)
        home = folder / name
        home.mkdir(parents=True, exist_ok=True)
        os.chdir(home)
        targets = reader.make(home)
        wholes = [path.read_bytes() for path in targets]
        for path in targets:
            reader.read(path)  # proof that the start is whole; and everything is imported
        limit(GROWTH)
        for seed in range(first, end):
            which = seed % len(targets)
            path, other = targets[which], wholes[(which + 1) % len(wholes)]
            out.write(f"start {name} {seed}\n")
            path.write_bytes(mutated(wholes[which], other, seed))
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            fault = outcome(reader, path)
            signal.setitimer(signal.ITIMER_PROF, 0)
            path.write_bytes(wholes[which])
            if fault:
                out.write(f"fault {name} {seed} {json.dumps(fault)}\n")
            if seed % EVERY == 0:
                gc.collect()
        limit(None)
    out.write("end\n")


def limit(growth: int | None) -> None:
    """Let the address space of this process grow by so many bytes, or by any."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft = resource.RLIM_INFINITY if growth is None else used + growth
    resource.setrlimit(resource.RLIMIT_AS, (soft, resource.RLIM_INFINITY))


def outcome(reader: Reader, path: Path) -> dict[str, str] | None:
    """Return None for an answer, or a fault as it should be; else what is wrong."""
    try:
        reader.read(path)
    except QrError as error:
        if error.exit_code not in reader.codes:
            return {"kind": "exit code", "what": f"{error.exit_code}: {_trace(error)}"}
        if _of_memory(error):
            return {"kind": "memory", "what": _trace(error)}
        if not error.message or len(error.message) > LONGEST:
            return {"kind": "message", "what": error.message[:200]}
        return None
    except BaseException as error:
        kind = "memory" if _of_memory(error) else type(error).__name__
        return {"kind": kind, "what": _trace(error)}
    return None


def _of_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _trace(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/qr_cli/" in frame.filename][-3:]
    where = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(own))
    cause = error.__cause__ or error.__context__
    return f"{str(error)[:160]} [{where}]" + (f" <- {cause!r:.200}" if cause else "")


if __name__ == "__main__":
    main()
