"""The environment of a run, and the identity of processes."""

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

# The cheapest first. fork is safe here, since a trial process has one thread when it creates its pool; macOS's own
# libraries do not survive it.
START_METHODS = ("spawn", "forkserver") if sys.platform == "darwin" else ("fork", "forkserver", "spawn")
DEFAULT_START_METHOD = START_METHODS[0]

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# A container has the boot of its machine, but its own process numbers.
_NUMBERS = Path("/proc/self/ns/pid")


def usable_cpus() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe_environment(root: bytes | None, *, workers: int, start_method: str) -> Environment:
    """Describe the environment of a run; with the file system of a root, this waits for its answer."""
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
    except PackageNotFoundError:  # hides the reason, usually a lack of descriptors
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE)) from None


def describe_process() -> Owner:
    """Describe this process uniquely, even if its number is reused."""
    started_s = _started_s(os.getpid())
    assert started_s is not None  # noqa: S101  it runs
    return Owner(host=socket.gethostname(), boot=_boot(), pid=os.getpid(), started_s=started_s)


def is_alive(owner: Owner) -> bool:
    """Return whether a recorded process still runs, or can't be seen from here."""
    return _runs(owner) is not False


def is_out_of_sight(owner: Owner) -> bool:
    """Return whether a process of this machine belongs to another container or is hidden from this user.

    Its number proves nothing: it may be that of a later process. Only a lock shows whether it runs; see
    ``Backend.is_deserted``.
    """
    return _runs(owner) is None


def _runs(owner: Owner) -> bool | None:
    """Return whether a process runs, True for another machine; None if it is out of sight."""
    if owner.boot == _boot():  # compared first, since a running machine may be renamed
        try:
            return _started_s(owner.pid) == owner.started_s
        except PermissionError:  # some process has its number; nothing else is shown
            return None
    boot, _, numbers = _boot().partition(" ")
    if numbers and owner.boot.startswith(f"{boot} "):
        return None
    return owner.host != socket.gethostname()


def _started_s(pid: int) -> float | None:
    """Return when a process started; None if there is none, or only a zombie; PermissionError if it is hidden.

    On Linux in seconds since the boot: psutil adds the boot's time of day, which changes whenever the clock is set, so
    that every process would seem to be another one.
    """
    if platform.system() == "Linux":
        stat = process_stat(pid)
        if stat is not None:  # fields 3 and 22 of proc_pid_stat(5)
            return None if stat[0] in {b"Z", b"X"} else int(stat[19]) / os.sysconf("SC_CLK_TCK")
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        raise PermissionError(f"process {pid} is hidden")  # see hidepid in proc(5)
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None


def _boot() -> str:
    """Return the kernel's identifiers of the boot and of the process numbers, or the boot's time."""
    try:
        return f"{_BOOT_ID.read_text(encoding='ascii').strip()} {_NUMBERS.readlink()}"
    except FileNotFoundError:
        import psutil

        return f"{psutil.boot_time():.0f}"
