"""Waiting for locks of other processes, and finding those processes (on Linux)."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

# A lock is tried at first every millisecond, later at this interval; a longer wait is reported.
_FIRST_POLL_S = 0.001
_POLL_S = 0.05
_REPORT_AFTER_S = 2.0
_PROCESSES = Path("/proc")


def wait_for_lock(
    acquire: Callable[[], None],
    *,
    within_s: float,
    on_wait: Callable[[], None] = lambda: None,
    give_up: Callable[[], bool] = bool,
) -> None:
    """Wait for a lock; unlike a blocking call, this ends on a signal and at a time limit.

    Args:
        acquire: Acquires the lock without waiting, or raises BlockingIOError.
        within_s: The time limit.
        on_wait: Called once after two seconds.
        give_up: Called before each wait; true ends the wait.

    Raises:
        BlockingIOError: If another process held it all the time.
    """
    start_s = time.monotonic()
    reported, pause_s = False, _FIRST_POLL_S
    while True:
        try:
            return acquire()
        except BlockingIOError:
            waited_s = time.monotonic() - start_s
            if waited_s >= within_s or give_up():
                raise
        if waited_s >= _REPORT_AFTER_S and not reported:
            on_wait()
            reported = True
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _POLL_S)


def find_lock_holders(
    path: Path, kind: Literal["FLOCK", "POSIX"], mode: Literal["READ", "WRITE"], bytes_: range | None = None
) -> list[str]:
    """Find the other processes that hold a lock on a file, each as ``process 123 (name)``.

    Args:
        path: The file; links are not followed.
        kind: The type of lock, by its name in the kernel.
        mode: ``WRITE`` for exclusive locks, ``READ`` for shared ones.
        bytes_: The bytes at which a lock may begin; None for any.

    Returns:
        Empty if the system does not list locks, or the processes are in another PID namespace.

    Source:
        proc_locks(5).
    """
    try:
        stat = path.lstat()
        lines = (_PROCESSES / "locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    file = f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}:{stat.st_ino}"
    pids: set[int] = set()
    for line in lines:
        fields = line.split()  # "->" before the kind marks a process that only waits
        if len(fields) < 8 or [fields[1], fields[3], fields[5]] != [kind, mode, file]:
            continue
        if bytes_ is None or int(fields[6]) in bytes_:
            pid = int(fields[4])
            # A lock survives the process that acquired it if another one has inherited the open file.
            pids |= {pid} if pid <= 0 or (_PROCESSES / str(pid)).exists() else set(_find_inheritors(file))
    return [f"process {pid} ({_name(pid)})" for pid in sorted(pids - {os.getpid(), 0, -1})]


def _find_inheritors(file: str) -> Iterator[int]:
    """Yield the processes that have a locked file open, as far as this user can see."""
    for info in _PROCESSES.glob("[0-9]*/fdinfo/*"):
        with suppress(OSError, ValueError):
            text = info.read_text(encoding="ascii")
            if "lock:" in text and f" {file} " in text:
                yield int(info.parts[2])


def _name(pid: int) -> str:
    with suppress(OSError):
        return (_PROCESSES / f"{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    return "unknown"
