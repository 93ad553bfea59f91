"""The ``-wal`` file beside a SQLite database: how large it is, and who keeps it from shrinking."""

import os
from contextlib import suppress
from pathlib import Path

# A -wal file that was larger is cut to this once everything in it is in the database.
WAL_LIMIT_BYTES = 4 * 1024 * 1024
# Without a long-running reader the file seldom grows beyond what one large run writes.
_LARGE_BYTES = 16 * 1024 * 1024
# Bytes of the -shm file that readers lock.
_READ_LOCKS = range(123, 128)
_LOCKS = Path("/proc/locks")


def wal_bytes(path: Path) -> int:
    """Return the size of a database's -wal file; 0 without one."""
    with suppress(OSError):
        return path.with_name(f"{path.name}-wal").stat().st_size
    return 0


def is_large(path: Path) -> bool:
    """Return whether a database's -wal file is so large that somebody must be keeping it."""
    return wal_bytes(path) > _LARGE_BYTES


def find_readers(path: Path) -> list[str]:
    """Find the other processes that read a database at this moment, each as ``process 123 (name)``.

    Returns:
        Empty where the system does not list locks, or they are those of another PID namespace.

    Source:
        proc_locks(5); SQLite's walformat, "WAL locks": the reader's lock is one of bytes 123 to 127.
    """
    try:
        shm = path.with_name(f"{path.name}-shm").stat()
        lines = _LOCKS.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    file = f"{os.major(shm.st_dev):02x}:{os.minor(shm.st_dev):02x}:{shm.st_ino}"
    pids = set()
    for line in lines:
        fields = line.replace(" -> ", " ").split()
        reads = len(fields) >= 8 and fields[1] == "POSIX" and fields[3] == "READ" and fields[5] == file
        if reads and int(fields[6]) in _READ_LOCKS:
            pids.add(int(fields[4]))
    return [f"process {pid} ({_name(pid)})" for pid in sorted(pids - {os.getpid(), 0, -1})]


def _name(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    return "unknown"
