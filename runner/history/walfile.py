"""The ``-wal`` file beside a SQLite database: how large it is, and who keeps it from shrinking."""

from contextlib import suppress
from pathlib import Path

from runner.history.lockholders import find_lock_holders

# A -wal file that was larger is cut to this once everything in it is in the database.
WAL_LIMIT_BYTES = 4 * 1024 * 1024
# Without a long-running reader the file seldom grows beyond what one large run writes.
_LARGE_BYTES = 16 * 1024 * 1024
# Bytes of the -shm file that readers lock, and writers.
_READ_LOCKS = range(123, 128)
_WRITE_LOCK = range(120, 121)


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

    Source:
        SQLite's walformat, "WAL locks": the reader's lock is one of bytes 123 to 127.
    """
    return find_lock_holders(path.with_name(f"{path.name}-shm"), "POSIX", "READ", _READ_LOCKS)


def find_writers(path: Path) -> list[str]:
    """Find the other process that writes a database at this moment.

    Source:
        SQLite's walformat, "WAL locks": the writer's lock is byte 120.
    """
    return find_lock_holders(path.with_name(f"{path.name}-shm"), "POSIX", "WRITE", _WRITE_LOCK)
