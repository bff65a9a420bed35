"""Runs command lines of qr, each in a process forked from one that has imported everything.

    python server.py full|bare       one JSON request per line, one JSON answer each

A forked process starts in milliseconds and is an ordinary process otherwise: it runs
`qr_cli.cli.app.run`, can be killed, refused, starved and interrupted. Faults are made in the child,
as close to the kernel as it goes:

    watch      list every step that changes the working folder (Python's audit events)
    kill       SIGKILL at the nth such step, or after so many seconds on a processor
    interrupt  SIGINT at the nth such step, or after so many seconds on a processor
    powerless  lose root's powers, so that the kernel heeds permissions
    memory     a limit of so many MiB beyond what the process has now
    missing    packages that cannot be imported
"""

import ctypes
import importlib
import json
import os
import pkgutil
import resource
import signal
import sys
import time
from pathlib import Path

BARE = ("torch", "torchvision", "accelerate", "numpy", "qr_cli.cli.app", "qr_cli.engine.train")
EXTRAS = (
    *("scipy.io", "scipy.ndimage", "scipy.optimize", "scipy.sparse.linalg", "h5py", "rasterio"),
    *("spectral", "sklearn.linear_model", "jieba", "sympy", "timm", "onnx", "onnxscript"),
    *("onnxruntime", "transformers", "diffusers", "matplotlib.backends.backend_agg"),
    *("transformers.models.clip.modeling_clip", "transformers.models.clip.tokenization_clip"),
    *("diffusers.models.unets.unet_2d_condition", "torch.onnx", "torch.utils.flop_counter"),
)
HANGS = 300  # seconds after which a command is taken to hang
CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.link", "os.symlink")


def preload(kind):
    """Import what children would import, each for itself."""
    import qr_cli

    names = list(BARE)
    if kind == "full":
        own = pkgutil.walk_packages(qr_cli.__path__, "qr_cli.")
        names += [*EXTRAS, *(found.name for found in own if "__main__" not in found.name)]
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    import torch

    torch.set_num_threads(1)
    torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1)  # imports torch's compiler


class Steps:
    """Sees every step of this process that changes what is under a folder, before it is taken."""

    def __init__(self, folder, act):
        self.folder, self.act, self.count = f"{os.path.realpath(folder)}/", act, 0
        sys.addaudithook(self)

    def __call__(self, event, arguments):
        if event != "open" and event not in CHANGES:
            return
        target = arguments[1] if event == "os.rename" else arguments[0]
        if not isinstance(target, str | bytes | os.PathLike):
            return
        path = os.path.abspath(os.fsdecode(target))
        if not path.startswith(self.folder) or (event == "open" and not _writes(*arguments[1:3])):
            return
        self.count += 1
        self.act(self.count, event, path.removeprefix(self.folder))


def _writes(mode, flags):
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def prepare(request):
    """Make the fault of a request; runs in the child."""
    fault = request.get("fault") or {}
    kind = fault.get("kind")
    if kind == "watch":
        log = open(request["out"] + ".steps", "w", encoding="utf-8")  # noqa: SIM115
        Steps(".", lambda n, event, path: print(json.dumps([event, path]), file=log, flush=True))
    elif kind in ("kill", "interrupt") and "at" in fault:
        number = signal.SIGKILL if kind == "kill" else signal.SIGINT

        def strike(count, event, path):
            if count == fault["at"]:
                os.kill(os.getpid(), number)

        Steps(".", strike)
    elif kind == "powerless":
        header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        assert ctypes.CDLL(None).capset(header, none) == 0
    elif kind == "memory":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + (fault["spare"] << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    elif kind == "missing":
        for name in list(sys.modules):
            if name.partition(".")[0] in fault["packages"]:
                del sys.modules[name]
        for name in fault["packages"]:
            sys.modules[name] = None


def child(request):
    """Be a process of its own: other folder, other channels, no way back."""
    os.environ.update(request.get("env", {}))
    os.chdir(request["cwd"])
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(file, number)
    os.dup2(os.open(request.get("stdin") or os.devnull, os.O_RDONLY), 0)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # the server has read from its own
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["qr", *request["words"]]
    code = 1
    try:
        from qr_cli.cli.app import run

        prepare(request)
        code = run(request["words"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def watched(pid, fault):
    """Wait for a child, and strike it once it has had its seconds on a processor."""
    due, number = fault.get("after"), signal.SIGKILL if fault.get("kind") == "kill" else 2
    began = time.monotonic()
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        if due is not None and _used(pid) >= due:
            os.kill(pid, number)
            due = None
        if time.monotonic() - began > HANGS:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.002 if due is not None else 0.02)


def _used(pid):
    """Return how many seconds a process has been on a processor."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def serve():
    """Answer requests until stdin is closed."""
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        pid = os.fork()
        if not pid:
            child(request)
        status = watched(pid, request.get("fault") or {})
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        answer = {"code": os.waitstatus_to_exitcode(status), "seconds": seconds}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    preload(sys.argv[1])
    serve()
