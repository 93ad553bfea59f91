"""SQLite files that this process may only read, without writing anything beside them.

SQLite reads a database in WAL mode through a ``-shm`` file, which it cannot create here. In this order, the file is
read in place if the ``-wal`` and ``-shm`` of another process exist; as immutable if nobody can write to its file
system; or else as a private copy.
"""

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import StaticPool

from runner.history.sqlite_transactions import prepare_engine
from runner.history.walfile import beside, wal_bytes
from runner.model.errors import HistoryError
from runner.scan.filesystems import is_unchangeable

_COPIES = 5
# In its own process: closing a file here would drop the locks that SQLite holds on it in this process.
_COPY = "import shutil, sys; shutil.copyfile(sys.argv[1], sys.argv[2])"


def find_obstacle(path: Path) -> str:
    """Find the reason why a readable database is not writable; empty if it is writable, or not readable."""
    real = path.resolve()
    if not _may(real, os.R_OK) or not real.is_file():
        return ""
    with suppress(OSError):
        if os.statvfs(real).f_flag & os.ST_RDONLY:
            return "its file system is mounted so"
    others = [file for file in (beside(real, "-wal"), beside(real, "-shm")) if file.exists()]
    for file in (real, *others):
        if not _may(file, os.W_OK):
            return f"{file.name} can't be written by this user"
    if len(others) < 2 and not _may(real.parent, os.W_OK | os.X_OK):
        return f"its directory {real.parent} can't be written by this user"
    return ""


def _may(path: Path, how: int) -> bool:
    return os.access(path, how, effective_ids=os.access in os.supports_effective_ids)


def make_reading_engine(path: Path, busy_timeout_s: float) -> Engine:
    """Create an engine that only reads the database at a path.

    Raises:
        sqlite3.Error: If it cannot be read.
        HistoryError: If it cannot be copied.
    """
    real = path.resolve()
    if _can_be_read_in_place(real):
        return _make_engine(lambda: _connect(real, "mode=ro", busy_timeout_s))
    if not wal_bytes(real) and is_unchangeable(os.fsencode(real)):
        return _make_engine(lambda: _connect(real, "mode=ro&immutable=1", busy_timeout_s))
    with tempfile.TemporaryDirectory(prefix="runner-", ignore_cleanup_errors=True) as directory:
        copy = Path(directory, "copy.db")
        _copy(path, copy)
        connection = sqlite3.connect(copy, check_same_thread=False)  # the open file remains readable
        connection.execute("PRAGMA journal_mode = DELETE")  # merges the -wal file
        connection.execute("PRAGMA query_only = ON")
    return _make_engine(lambda: connection)


def _make_engine(connect: Callable[[], sqlite3.Connection]) -> Engine:
    return prepare_engine(create_engine("sqlite://", creator=connect, poolclass=StaticPool))


def _connect(path: Path, how: str, busy_timeout_s: float) -> sqlite3.Connection:
    uri = f"file:{quote(os.fsencode(path))}?{how}"
    return sqlite3.connect(uri, uri=True, timeout=busy_timeout_s, check_same_thread=False)


def _can_be_read_in_place(path: Path) -> bool:
    """Return whether SQLite can read it without creating a file, which would obstruct other users."""
    if not all(beside(path, suffix).exists() for suffix in ("-wal", "-shm")):
        return False
    with suppress(sqlite3.OperationalError), closing(_connect(path, "mode=ro", 1.0)) as connection:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return True
    return False


def _copy(path: Path, target: Path) -> None:
    files = {beside(path.resolve(), suffix): beside(target, suffix) for suffix in ("", "-wal")}
    for _ in range(_COPIES):
        before = [_signature(source) for source in files]
        for source, copy in files.items():
            copy.unlink(missing_ok=True)
            if source.exists():
                _copy_file(path, source, copy)
        if before == [_signature(source) for source in files]:
            return
    raise HistoryError(f"the database {path} is read-only, and changes while it is copied to be read; try again")


def _copy_file(path: Path, source: Path, target: Path) -> None:
    command: list[str | Path] = [sys.executable, "-I", "-S", "-c", _COPY, source, target]
    copying = subprocess.run(command, check=False, capture_output=True, cwd="/")
    if copying.returncode:
        reason = (copying.stderr.decode("utf-8", "replace").strip().splitlines() or ["it was ended"])[-1]
        raise HistoryError(f"the database {path} is read-only, and can't be copied to be read: {reason}")


def _signature(file: Path) -> tuple[int, int, int] | None:
    with suppress(FileNotFoundError):
        stat = file.stat()
        return stat.st_ino, stat.st_size, stat.st_mtime_ns
    return None
