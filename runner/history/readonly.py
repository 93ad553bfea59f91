"""SQLite files that this process may only read, without writing anything beside them.

SQLite reads a database in WAL mode through a ``-shm`` file, which it cannot create here. In this order, the file is
read in place if the ``-wal`` and ``-shm`` of another process exist; as immutable if nobody can write to its file
system; or else as a private copy.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import StaticPool

from runner.history.sqlite import SqliteFile
from runner.history.sqlite_transactions import prepare_engine
from runner.model.errors import HistoryError
from runner.scan.filesystems import is_unchangeable

_COPIES = 5
# In its own process: closing a file here would drop the locks that SQLite holds on it in this process.
_COPY = "import shutil, sys; shutil.copyfile(sys.argv[1], sys.argv[2])"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadOnlyFile(SqliteFile):
    """A SQLite file that is not writable.

    Attributes:
        reason: Why it is not writable.
    """

    reason: str

    @property
    def read_only(self) -> str:
        """The reason why it is not writable."""
        return self.reason

    def make_engine(self, busy_timeout_s: float) -> Engine:
        """Create an engine that only reads.

        Raises:
            HistoryError: If it cannot be read.
        """
        real = self.path.resolve()
        try:
            if _can_be_read_in_place(real):
                return _make_engine(real, "mode=ro", busy_timeout_s)
            if not _size(_beside(real, "-wal")) and is_unchangeable(os.fsencode(real)):
                return _make_engine(real, "mode=ro&immutable=1", busy_timeout_s)
            return self._copied(real)
        except sqlite3.Error as error:
            raise self.explain(error) from error

    def _copied(self, real: Path) -> Engine:
        directory = Path(tempfile.mkdtemp(prefix="runner-"))
        copy = directory / "copy.db"
        try:
            for _ in range(_COPIES):
                before = _signature(real)
                for name in ("", "-wal"):
                    source, target = _beside(real, name), _beside(copy, name)
                    target.unlink(missing_ok=True)
                    if source.exists():
                        self._copy_file(source, target)
                if before == _signature(real):
                    break
            else:
                raise HistoryError(
                    f"the database {self} is read-only, and changes while it is copied to be read; try again"
                )
            connection = sqlite3.connect(copy, check_same_thread=False)
            connection.execute("PRAGMA journal_mode = DELETE")  # merges the -wal file
            connection.execute("PRAGMA query_only = ON")
        finally:
            shutil.rmtree(directory, ignore_errors=True)  # the open file remains readable
        return prepare_engine(create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool))

    def _copy_file(self, source: Path, target: Path) -> None:
        copying = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _COPY, source, target], check=False, capture_output=True, cwd="/"
        )
        if copying.returncode:
            reason = (copying.stderr.decode("utf-8", "replace").strip().splitlines() or ["it was ended"])[-1]
            raise HistoryError(f"the database {self} is read-only, and can't be copied to be read: {reason}")


def find_obstacle(path: Path) -> str | None:
    """Find the reason why a readable database is not writable; None if it is writable, or not readable."""
    real = path.resolve()
    if not _may(real, os.R_OK) or not real.is_file():
        return None
    with suppress(OSError):
        if os.statvfs(real).f_flag & os.ST_RDONLY:
            return "its file system is mounted so"
    beside = [_beside(real, name) for name in ("-wal", "-shm")]
    for file in (real, *beside):
        if (file == real or file.exists()) and not _may(file, os.W_OK):
            return f"{file.name} can't be written by this user"
    if not all(file.exists() for file in beside) and not _may(real.parent, os.W_OK | os.X_OK):
        return f"its folder {real.parent} can't be written by this user"
    return None


def _may(path: Path, how: int) -> bool:
    return os.access(path, how, effective_ids=os.access in os.supports_effective_ids)


def _beside(path: Path, name: str) -> Path:
    return path.with_name(path.name + name)


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _signature(path: Path) -> list[tuple[int, int, int] | None]:
    found: list[tuple[int, int, int] | None] = []
    for file in (path, _beside(path, "-wal")):
        try:
            stat = file.stat()
            found.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
        except FileNotFoundError:
            found.append(None)
    return found


def _can_be_read_in_place(path: Path) -> bool:
    """Return whether SQLite can read it without creating a file, which would obstruct other users."""
    if not all(_beside(path, name).exists() for name in ("-wal", "-shm")):
        return False
    with suppress(sqlite3.OperationalError), closing(_connect(path, "mode=ro", 1.0)) as connection:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return True
    return False


def _connect(path: Path, how: str, busy_timeout_s: float) -> sqlite3.Connection:
    uri = f"file:{quote(os.fsencode(path))}?{how}"
    return sqlite3.connect(uri, uri=True, timeout=busy_timeout_s, check_same_thread=False)


def _make_engine(path: Path, how: str, busy_timeout_s: float) -> Engine:
    return prepare_engine(
        create_engine("sqlite://", creator=lambda: _connect(path, how, busy_timeout_s), poolclass=StaticPool)
    )
