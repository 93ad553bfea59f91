"""Locks that other processes respect: waiting for them, and finding their holders (on Linux)."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

_log = logging.getLogger(__name__)

# A lock is tried at first every millisecond, later at this interval; a longer wait is reported.
_FIRST_POLL_S = 0.001
POLL_S = 0.01
_REPORT_AFTER_S = 2.0
_PROCESSES = Path("/proc")


class Lock:
    """A lock that ends with its holder. This one locks nothing, as servers lose the locks of runs at a restart."""

    def hold(self) -> bool:
        """Acquire the lock or check that it is still held; return False if another process has it."""
        return True

    def release(self) -> None:
        """Release the lock."""

    def find_holder(self) -> str:
        """Find the other process that holds the lock, such as ``process 123 (name)``; empty if unknown."""
        return ""


def wait_for_lock(
    acquire: Callable[[], None],
    *,
    within_s: float,
    what: str = "",
    find_holder: Callable[[], str] | None = None,
    give_up: Callable[[], bool] = bool,
) -> None:
    """Wait for a lock; unlike a blocking call, this ends on a signal and at a time limit.

    Args:
        acquire: Acquires the lock without waiting, or raises BlockingIOError, as the function does at its end.
        within_s: The time limit.
        what: What is locked, for the log.
        find_holder: Returns who holds it, for the log; without it the wait is not logged.
        give_up: Called before each wait; true ends the wait.
    """
    start_s = time.monotonic()
    pause_s = _FIRST_POLL_S
    while True:
        try:
            return acquire()
        except BlockingIOError:
            waited_s = time.monotonic() - start_s
            if waited_s >= within_s or give_up():
                raise
        if waited_s >= _REPORT_AFTER_S and find_holder is not None:
            _log.warning("waiting for %s, held by %s", what, find_holder() or "another program")
            find_holder = None
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, POLL_S)


def find_lock_holders(
    path: Path, kind: Literal["FLOCK", "POSIX"], mode: Literal["READ", "WRITE"], starts: range | None = None
) -> list[str]:
    """Find the other processes that hold a lock on a file, each as ``process 123 (name)``.

    The lock may begin at the bytes *starts*, or at any. Processes of another PID namespace are not found.

    Source:
        proc_locks(5), also for the names of kinds and modes.
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
        if starts is None or int(fields[6]) in starts:
            pid = int(fields[4])
            # A lock survives the process that acquired it if another one has inherited the open file.
            pids |= {pid} if pid <= 0 or (_PROCESSES / str(pid)).exists() else set(_find_inheritors(file))
    return [f"process {pid} ({_name(pid)})" for pid in sorted(pids - {os.getpid(), 0, -1})]


def _find_inheritors(file: str) -> Iterator[int]:
    for info in _PROCESSES.glob("[0-9]*/fdinfo/*"):
        with suppress(OSError, ValueError):
            text = info.read_text(encoding="ascii")
            if "lock:" in text and f" {file} " in text:
                yield int(info.parts[2])


def _name(pid: int) -> str:
    with suppress(OSError):
        return (_PROCESSES / f"{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    return "unknown"
