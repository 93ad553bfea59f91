"""What the kernel knows of processes and mounts."""

import ctypes
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

# From <sched.h> and <sys/prctl.h>.
_CLONE_NEWNS, _PR_SET_PDEATHSIG = 0x20000, 1
_TRIAL, _FORK_SERVER = b"runner.measure.trial", b"multiprocessing.forkserver"
_HELPERS = (_FORK_SERVER, b"multiprocessing.resource_tracker")


def children(pid: int) -> list[int]:
    """Find the numbers of a process's children, whichever thread has started them."""
    found = []
    with suppress(OSError):  # it may end between one look and the next
        for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(OSError):
                found += [int(word) for word in tasks.read_text(encoding="ascii").split()]
    return found


def descendants(pid: int) -> list[int]:
    """Find the numbers of all processes that descend from one."""
    below = children(pid)
    return [*below, *(further for child in below for further in descendants(child))]


def command_line(pid: int) -> bytes:
    """Return the command line of a process; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def trials(pid: int) -> list[int]:
    """Find the trial processes of a process: children that lead a session and have begun their work."""
    found = []
    for child in children(pid):
        with suppress(OSError):
            if os.getsid(child) == child and _TRIAL in command_line(child):
                found.append(child)
    return found


def helpers(trial: int) -> list[int]:
    """Find what multiprocessing starts beside the workers: fork server and resource tracker."""
    return [child for child in children(trial) if any(name in command_line(child) for name in _HELPERS)]


def workers(trial: int) -> list[int]:
    """Find the workers of a trial process; those of a fork server are its children."""
    beside = helpers(trial)
    servers = [helper for helper in beside if _FORK_SERVER in command_line(helper)]
    return [child for parent in (trial, *servers) for child in children(parent) if child not in beside]


def system_call(pid: int) -> int | None:
    """Find in which system call a process waits; None if it does not wait."""
    try:
        word = Path(f"/proc/{pid}/syscall").read_text(encoding="ascii").split()[0]
    except (OSError, IndexError):
        return None
    return int(word) if word.isdigit() else None


def state_of(pid: int) -> str:
    """Return the state of a process by its letter; empty if there is none."""
    try:
        return stat_fields(pid)[0]
    except OSError:
        return ""


def stat_fields(pid: int) -> list[str]:
    """Return the fields of a process from its state on; see proc_pid_stat(5)."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def end_with_parent() -> None:
    """End this process in order when its parent dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def own_mounts() -> bool:
    """Create mounts that this process and its children alone see; returns whether that is permitted."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0 or ctypes.CDLL(None).unshare(_CLONE_NEWNS) != 0:
        return False
    with suppress(OSError):
        mount("--make-rprivate", "/")
        return True
    return False


def mount(*arguments: str | Path) -> None:
    """Call mount(8); raise OSError if it fails, such as for a file that is open to be written."""
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(done.stderr)


def unmount(at: Path) -> None:
    """Remove a mount, even if it is in use."""
    subprocess.run(["umount", "--lazy", at], capture_output=True, check=False)
