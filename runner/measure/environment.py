"""What a timing depends on besides the tree, and who this process is."""

import os
import platform
import socket
import sys
from importlib.metadata import version
from pathlib import Path

from runner.model.runs import Environment, Owner
from runner.scan.filesystems import find_filesystem

# fork is the cheapest by far and safe here, since a trial has one thread when it makes its pool; macOS's own
# libraries do not survive it.
DEFAULT_START_METHOD = "spawn" if sys.platform == "darwin" else "fork"

# Those that can be compared with one another here.
START_METHODS = ("spawn", "forkserver") if sys.platform == "darwin" else ("fork", "forkserver", "spawn")

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def usable_cpus() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe_environment(root: bytes, *, workers: int, start_method: str) -> Environment:
    """Describe where a run takes place."""
    return Environment(
        host=socket.gethostname(),
        system=f"{platform.system()} {platform.release()}",
        machine=platform.machine(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        cpus=usable_cpus(),
        start_method=start_method,
        workers=workers,
        filesystem=find_filesystem(root),
        runner_version=version("runner"),
    )


def describe_process() -> Owner:
    """Describe this process so that it can't be mistaken for a later one with the same number."""
    import psutil

    return Owner(
        host=socket.gethostname(),
        boot=_boot(),
        pid=os.getpid(),
        started_s=psutil.Process().create_time(),
    )


def is_alive(owner: Owner) -> bool:
    """Whether a recorded process still runs; one on another machine is taken to."""
    import psutil

    if owner.host != socket.gethostname():
        return True
    if owner.boot != _boot():
        return False
    try:
        process = psutil.Process(owner.pid)
        # Clock adjustments move the time of start as it is computed, by less than a process number takes to come back.
        return abs(process.create_time() - owner.started_s) < 2 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _boot() -> str:
    """Identify this boot of the machine: by the kernel's own identifier, elsewhere by the time of the boot."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        import psutil

        return f"{psutil.boot_time():.0f}"
