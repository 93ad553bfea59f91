"""What the kernel knows of processes and mounts."""

import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

# From <sched.h> and <sys/mount.h>.
_CLONE_NEWNS, _MS_REC, _MS_PRIVATE, _MNT_DETACH = 0x20000, 0x4000, 0x40000, 2
_MS_RDONLY, _MS_REMOUNT, _MS_BIND = 1, 0x20, 0x1000
# From <sys/prctl.h>.
_PR_SET_PDEATHSIG = 1
_TRIAL, _FORK_SERVER, _TRACKER = (
    b"runner.measure.trial",
    b"multiprocessing.forkserver",
    b"multiprocessing.resource_tracker",
)


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
    return [child for child in children(trial) if {*_named(child)} & {_FORK_SERVER, _TRACKER}]


def workers(trial: int) -> list[int]:
    """Find the workers of a trial process; those of a fork server are its children."""
    found = []
    for child in children(trial):
        match _named(child):
            case [name] if name == _FORK_SERVER:
                found += children(child)
            case []:
                found.append(child)
    return found


def _named(pid: int) -> list[bytes]:
    line = command_line(pid)
    return [name for name in (_FORK_SERVER, _TRACKER) if name in line]


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
    _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def own_mounts() -> bool:
    """Create mounts that this process and its children alone see; returns whether that is permitted."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return False
    return bool(
        _libc().unshare(_CLONE_NEWNS) == 0 and _libc().mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None) == 0
    )


def mount_memory(at: Path, options: str) -> None:
    """Attach a file system in memory."""
    at.mkdir(exist_ok=True)
    _mount(b"tmpfs", at, b"tmpfs", 0, options.encode())


def mount_again(what: Path, at: Path, *, read_only: bool = False) -> None:
    """Attach a directory at a second place."""
    _mount(bytes(what), at, None, _MS_BIND, None)
    if read_only:
        _mount(None, at, None, _MS_BIND | _MS_REMOUNT | _MS_RDONLY, None)


def remount(at: Path, *, read_only: bool) -> None:
    """Make a mounted file system read-only, or writable again.

    Raises:
        OSError: If a file is open to be written.
    """
    _mount(None, at, None, _MS_REMOUNT | (_MS_RDONLY if read_only else 0), None)


def unmount(at: Path) -> None:
    """Remove a mount, even if it is in use."""
    _libc().umount2(bytes(at), _MNT_DETACH)


def _mount(source: bytes | None, at: Path, kind: bytes | None, flags: int, data: bytes | None) -> None:
    if _libc().mount(source, bytes(at), kind, flags, data) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(at))


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)
