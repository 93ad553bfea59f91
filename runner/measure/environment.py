"""What a timing depends on besides the tree, and who this process is."""

import errno
import os
import platform
import socket
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from runner.model.processes import process_stat
from runner.model.runs import Environment, Owner
from runner.scan.filesystems import find_filesystem

# fork is the cheapest by far and safe here, since a trial has one thread when it makes its pool; macOS's own
# libraries do not survive it.
DEFAULT_START_METHOD = "spawn" if sys.platform == "darwin" else "fork"

# Those that can be compared with one another here.
START_METHODS = ("spawn", "forkserver") if sys.platform == "darwin" else ("fork", "forkserver", "spawn")

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Containers have the boot of their machine, but processes with numbers of their own.
_NUMBERS = Path("/proc/self/ns/pid")


def usable_cpus() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe_environment(root: bytes | None, *, workers: int, start_method: str) -> Environment:
    """Describe where a run takes place.

    Args:
        root: The folder whose file system is named, which takes as long as that takes to answer; None for none yet.
        workers: Processes that a parallel strategy may use.
        start_method: How it starts them.
    """
    return Environment(
        host=socket.gethostname(),
        system=f"{platform.system()} {platform.release()}",
        machine=platform.machine(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        cpus=usable_cpus(),
        start_method=start_method,
        workers=workers,
        filesystem=find_filesystem(root) if root is not None else "",
        runner_version=_version(),
    )


def _version() -> str:
    try:
        return version("runner")
    except PackageNotFoundError:  # it hides why, which is mostly that no more files can be opened
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE)) from None


def describe_process() -> Owner:
    """Describe this process so that it can't be mistaken for a later one with the same number."""
    started_s = _started_s(os.getpid())
    assert started_s is not None  # noqa: S101  it runs
    return Owner(host=socket.gethostname(), boot=_boot(), pid=os.getpid(), started_s=started_s)


def is_alive(owner: Owner) -> bool:
    """Whether a recorded process still runs; one that can't be looked for from here is taken to."""
    return _runs(owner) is not False


def is_out_of_sight(owner: Owner) -> bool:
    """Whether a process is, or was, on this machine, but among those of another container, or those hidden from here.

    Its number says nothing: the container may go on, or be gone for good and another one have its name; what is hidden
    may be it, or a later process with its number. What tells then is a lock; see ``Backend.is_deserted``.
    """
    return _runs(owner) is None


def _runs(owner: Owner) -> bool | None:
    """Tell whether a process runs, as one of another machine is taken to; None if it is out of sight.

    A machine may be given another name while it runs: what tells it first is its boot.
    """
    if owner.boot == _boot():
        try:
            return _started_s(owner.pid) == owner.started_s
        except PermissionError:  # some process has its number, and no more is shown of it
            return None
    boot, _, numbers = _boot().partition(" ")
    if numbers and owner.boot.startswith(f"{boot} "):
        return None
    return owner.host != socket.gethostname()


def _started_s(pid: int) -> float | None:
    """Tell when a process started; None if there is none, or only what is left of one that has ended.

    Raises:
        PermissionError: If there is one that is hidden from this user; see hidepid in proc(5).

    By Linux's own count of seconds since the boot: psutil counts from the boot's time of day, which moves whenever the
    clock is set, so that every process would seem to be another one. Source: proc_pid_stat(5), fields 3 and 22.
    """
    if platform.system() == "Linux":
        stat = process_stat(pid)
        if stat is not None:
            return None if stat[0] in {b"Z", b"X"} else int(stat[19]) / os.sysconf("SC_CLK_TCK")
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        raise PermissionError(f"process {pid} is hidden")
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None


def _boot() -> str:
    """Tell which processes' numbers are meant: by the kernel's names of the boot and of them, or by the boot's time."""
    try:
        return f"{_BOOT_ID.read_text(encoding='ascii').strip()} {_NUMBERS.readlink()}"
    except FileNotFoundError:
        import psutil

        return f"{psutil.boot_time():.0f}"
