"""Which processes hold locks on a file, as far as the system lists locks; on Linux alone."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

_LOCKS = Path("/proc/locks")
_PROCESSES = Path("/proc")


def find_lock_holders(
    path: Path, kind: Literal["FLOCK", "POSIX"], mode: Literal["READ", "WRITE"], bytes_: range | None = None
) -> list[str]:
    """Find the other processes that hold a lock on a file at this moment, each as ``process 123 (name)``.

    Args:
        path: The file; links are not followed.
        kind: The call that takes such locks, as the kernel names it.
        mode: ``WRITE`` for locks of one process alone, ``READ`` for shared ones.
        bytes_: Where in the file a lock has to begin; None for anywhere.

    Returns:
        Empty where the system does not list locks, or they are those of another PID namespace.

    Source:
        proc_locks(5).
    """
    try:
        found = path.lstat()
        lines = _LOCKS.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    file = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    pids: set[int] = set()
    for line in lines:
        fields = line.split()  # "->" before the kind marks who only waits
        if len(fields) < 8 or [fields[1], fields[3], fields[5]] != [kind, mode, file]:
            continue
        if bytes_ is None or int(fields[6]) in bytes_:
            pid = int(fields[4])
            # A lock outlives the process that took it where another one has inherited the open file.
            pids |= {pid} if pid <= 0 or (_PROCESSES / str(pid)).exists() else set(_find_heirs(file))
    return [f"process {pid} ({_name(pid)})" for pid in sorted(pids - {os.getpid(), 0, -1})]


def _find_heirs(file: str) -> Iterator[int]:
    """Yield the processes that have open what a lock is on, as far as this user may know."""
    for info in _PROCESSES.glob("[0-9]*/fdinfo/*"):
        with suppress(OSError, ValueError):
            text = info.read_text(encoding="ascii")
            if "lock:" in text and f" {file} " in text:
                yield int(info.parts[2])


def _name(pid: int) -> str:
    with suppress(OSError):
        return (_PROCESSES / f"{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    return "unknown"
