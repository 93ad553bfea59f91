"""The files beside a SQLite database: the size of its ``-wal`` file, and who reads or writes."""

from contextlib import suppress
from pathlib import Path

from runner.history.locks import find_lock_holders

# A checkpoint truncates a larger -wal file to this.
WAL_LIMIT_BYTES = 4 * 1024 * 1024
# The bytes of the -shm file that readers and writers lock: SQLite's walformat, "WAL locks".
_READ_LOCKS = range(123, 128)
_WRITE_LOCK = range(120, 121)


def beside(path: Path, suffix: str) -> Path:
    """Return the path of a file beside a database."""
    return path.with_name(path.name + suffix)


def wal_bytes(path: Path) -> int:
    """Return the size of the -wal file of a database; 0 without one."""
    with suppress(OSError):
        return beside(path, "-wal").stat().st_size
    return 0


def find_readers(path: Path) -> list[str]:
    """Find the other processes that read a database now, each as ``process 123 (name)``."""
    return find_lock_holders(beside(path, "-shm"), "POSIX", "READ", _READ_LOCKS)


def find_writers(path: Path) -> list[str]:
    """Find the other process that writes a database now."""
    return find_lock_holders(beside(path, "-shm"), "POSIX", "WRITE", _WRITE_LOCK)
