"""The ``-wal`` file of a SQLite database: its size, and the processes that keep it from shrinking."""

from contextlib import suppress
from pathlib import Path

from runner.history.locks import find_lock_holders

# A checkpoint truncates a larger -wal file to this.
WAL_LIMIT_BYTES = 4 * 1024 * 1024
# Only beside a long-running reader does the file grow beyond this, the writes of one large run.
_LARGE_BYTES = 16 * 1024 * 1024
# The bytes of the -shm file that readers and writers lock: SQLite's walformat, "WAL locks".
_READ_LOCKS = range(123, 128)
_WRITE_LOCK = range(120, 121)


def wal_bytes(path: Path) -> int:
    """Return the size of the -wal file of a database; 0 without one."""
    with suppress(OSError):
        return path.with_name(f"{path.name}-wal").stat().st_size
    return 0


def is_large(path: Path) -> bool:
    """Return whether the -wal file is so large that a reader must keep it from shrinking."""
    return wal_bytes(path) > _LARGE_BYTES


def find_readers(path: Path) -> list[str]:
    """Find the other processes that read a database now, each as ``process 123 (name)``."""
    return find_lock_holders(path.with_name(f"{path.name}-shm"), "POSIX", "READ", _READ_LOCKS)


def find_writers(path: Path) -> list[str]:
    """Find the other process that writes a database now."""
    return find_lock_holders(path.with_name(f"{path.name}-shm"), "POSIX", "WRITE", _WRITE_LOCK)
