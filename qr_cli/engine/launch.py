"""Several processes on this machine: start this very command again, once per rank.

On GPUs and CPUs alike torch's elastic launcher starts the ranks; a child knows itself by ``RANK``.
It hands Ctrl-C and SIGTERM on to them, and waits 30 seconds for what they save.
(`accelerate launch --cpu` quietly runs one process.) The parent imports no torch: it becomes this
module, which exits with the exit code of the rank that failed.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

KILLED = 6  # the run failed: a rank that was killed has no exit code of its own


def is_child() -> bool:
    """Tell whether a launcher started this process."""
    return "RANK" in os.environ


def prepare_environment(*, deterministic: bool) -> None:
    """Set what must stand in the environment before torch is imported."""
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def relaunch(arguments: list[str], *, processes: int) -> NoReturn:
    """Replace this process by a launcher that runs ``qr ARGUMENTS`` in `processes` ranks."""
    environment = dict(os.environ)
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    command = [sys.executable, "-m", __name__, str(processes), *arguments]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, command, environment)


def main(processes: int, arguments: list[str]) -> int:
    """Run the ranks and return the exit code of the first that failed, `KILLED`, or 0."""
    import logging

    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable(logging.ERROR)  # the ranks speak for themselves
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        run_id=f"qr-{os.getpid()}",
        nproc_per_node=processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.1,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "qr_cli", *arguments)
    except ChildFailedError as error:
        codes = [failure.exitcode for failure in error.failures.values()]
        return next((code for code in codes if code > 0), KILLED)
    except (KeyboardInterrupt, SignalException):  # handed on to the ranks, which have saved
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
