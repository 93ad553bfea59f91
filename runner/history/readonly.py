"""A SQLite file that this process may only read: it is answered from, and nothing is written anywhere beside it.

SQLite reads a database in WAL mode through a ``-shm`` file, which it may not make here. So, in this order: the file is
read in place where the ``-wal`` and ``-shm`` of another process are there to be used; as immutable where nobody at all
can write to its file system; else a private copy is read.
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
from typing import NoReturn
from urllib.parse import quote

from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import StaticPool

from runner.history.sqlite import SqliteFile
from runner.history.sqlite_transactions import prepare_engine
from runner.model.errors import HistoryError, NotWritable
from runner.scan.filesystems import is_unchangeable

_COPIES = 5
# In a process of its own: to close a file here would drop the locks that SQLite holds on it in this process.
_COPY = "import shutil, sys; shutil.copyfile(sys.argv[1], sys.argv[2])"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadOnlyFile(SqliteFile):
    """Where a SQLite database is that can only be read.

    Attributes:
        reason: Why it can't be written.
    """

    reason: str

    @property
    def read_only(self) -> bool:
        """Return whether it is known that nothing can be written."""
        return True

    def refuse_writing(self, but: str = "") -> NoReturn:
        """Refuse to write.

        Args:
            but: What had to be written.

        Raises:
            NotWritable: Always.
        """
        raise NotWritable(
            f"the database {self} is read-only: {self.reason}{but}; make it writable, or choose another with --db"
        )

    def make_engine(self, busy_timeout_s: float) -> Engine:
        """Create an engine that only reads.

        Raises:
            HistoryError: If it can't be read.
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

    def run_lock(self) -> NoReturn:
        """Refuse: only what writes takes it."""
        self.refuse_writing()

    def daemon_lock(self, _engine: Engine) -> NoReturn:
        """Refuse: only what writes takes it."""
        self.refuse_writing()

    def _copied(self, real: Path) -> Engine:
        folder = Path(tempfile.mkdtemp(prefix="runner-"))
        copy = folder / "copy.db"
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
            connection.execute("PRAGMA journal_mode = DELETE")  # takes in what is in the -wal file
            connection.execute("PRAGMA query_only = ON")
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # what is open can be read until it is closed
        return prepare_engine(create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool))

    def _copy_file(self, source: Path, target: Path) -> None:
        copying = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _COPY, source, target], check=False, capture_output=True, cwd="/"
        )
        if copying.returncode:
            reason = (copying.stderr.decode("utf-8", "replace").strip().splitlines() or ["it was ended"])[-1]
            raise HistoryError(f"the database {self} is read-only, and can't be copied to be read: {reason}")


def find_obstacle(path: Path) -> str | None:
    """Find out why a database that can be read can't be written; None if it can, or can't be read either."""
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
    """Return whether SQLite can read it without making a file: it would be another one's obstacle."""
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
