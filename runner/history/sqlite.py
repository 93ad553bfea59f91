"""A history in a SQLite file."""

import errno
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from stat import S_IMODE
from typing import Self

from sqlalchemy import URL, Connection, Engine, Table, bindparam, create_engine, update
from sqlalchemy.pool import StaticPool

from runner.history.backup import copy_file
from runner.history.errors import explain_sqlite, refusal
from runner.history.filelocks import DaemonLockFile, RunLockFile, upgrade_lock
from runner.history.location import READERS_WAIT_MS, WRITES_FOR_S, Location, Rows
from runner.history.readonly import find_obstacle, make_reading_engine
from runner.history.sqlite_transactions import driver_of, prepare_engine
from runner.history.walfile import WAL_LIMIT_BYTES, beside, find_readers, find_writers, wal_bytes
from runner.model.errors import DatabaseUnusable, HistoryError, NotWritable, reason_of
from runner.model.links import ForeignLink, open_parent
from runner.model.units import format_bytes

_CHUNK = 10_000
_ROWS_A_STATEMENT = 100  # SQLite may be limited to 999 parameters
_MOST_FAULTS = 20
# The steps of SQLite's virtual machine between two looks at the clock, about a millisecond.
_STEPS = 20_000
# Only beside a long-running reader does the -wal file grow beyond this, the writes of one large run.
_LARGE_WAL_BYTES = 16 * 1024 * 1024
_UPGRADE_LOCK_TIMEOUT_S = 60.0
# Of the names beside a database: -journal, .daemon.lock, .before-0001.
_LONGEST_SUFFIX = 16
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, kw_only=True)
class SqliteFile(Location):
    """A SQLite file."""

    path: Path
    read_only: str = ""

    @classmethod
    def at(cls, text: str) -> "SqliteFile":
        """Return the file at a path as the user writes it.

        Raises:
            DatabaseUnusable: If the path is a circular link, or too long for the files beside it.
        """
        path = os.path.abspath(os.path.expanduser(text))  # noqa: PTH100, PTH111  pathlib would resolve links
        for look, name in ((os.lstat, path + "." * _LONGEST_SUFFIX), (os.stat, path)):
            try:
                look(name)
            except OSError as error:
                if error.errno in {errno.ENAMETOOLONG, errno.ELOOP}:
                    raise _refuse(path, error) from None
            except ValueError:  # a NUL, which check refuses
                pass
        return cls(path=Path(path))

    def __str__(self) -> str:
        return str(self.path)

    def address(self) -> str:
        """Return the path."""
        return str(self.path)

    def exists(self) -> bool:
        """Return whether the file exists."""
        return self.path.exists()

    def signature(self) -> object:
        """Return what tells a file from another in its place, and the states of one that may be read as a copy."""
        try:
            here = self.path.stat()
        except OSError:
            return None
        state = (here.st_size, here.st_mtime_ns, wal_bytes(self.path.resolve())) if self.read_only else ()
        return here.st_dev, here.st_ino, *state

    def check(self) -> Self:
        """Check, before anything is created, that a SQLite database can be here; return it, perhaps as read-only.

        Raises:
            DatabaseUnusable: If it is not a regular file, or its directory is missing or not writable.
        """
        path, directory = self.path, self.path.parent
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            pass
        except (OSError, ValueError) as error:  # not permitted, or a NUL
            raise _refuse(str(path), error) from None
        if path.is_dir():
            raise DatabaseUnusable(
                f"the database path {path} is a directory; give the path of a file, like {path / 'runner.db'}"
            )
        if not directory.is_dir():
            raise DatabaseUnusable(
                f"the database's directory {directory} does not exist; create it or choose another with --db"
            )
        if path.exists() and not path.is_file():
            raise DatabaseUnusable(f"the database path {path} is not a regular file; choose another with --db")
        self._refuse_planted_links()
        if not path.exists() and not os.access(directory, os.W_OK | os.X_OK):
            if os.statvfs(directory).f_flag & os.ST_RDONLY:
                raise NotWritable(f"the database's directory {directory} is read-only; choose another with --db")
            raise DatabaseUnusable(
                f"the database's directory {directory} can't be written to; choose another with --db"
            )
        return replace(self, read_only=find_obstacle(path))

    def _refuse_planted_links(self) -> None:
        """Raise DatabaseUnusable for links through which SQLite would create or write a file elsewhere."""
        try:
            with open_parent(os.fspath(self.path), follow=True):
                pass
        except ForeignLink as error:
            raise DatabaseUnusable(f"the database path {self} can't be used: {reason_of(error)}") from None
        except OSError:
            pass  # reported when it is opened
        for file in (beside(self.path.resolve(), suffix) for suffix in ("-wal", "-shm", "-journal")):
            if file.is_symlink():
                raise DatabaseUnusable(f"{file} is a symbolic link, which SQLite never creates; remove it")
            if os.path.lexists(file) and not (file.is_file() and file.stat().st_nlink == 1):
                raise DatabaseUnusable(f"{file} is not a regular file of its own; remove it")

    def make_engine(self, busy_timeout_s: float) -> Engine:
        """Create an engine for the file."""
        if self.read_only:
            try:
                return make_reading_engine(self.path, busy_timeout_s)
            except sqlite3.Error as error:
                raise self.explain(error) from error
        url = URL.create("sqlite", database=str(self.path))
        options = {"timeout": busy_timeout_s, "check_same_thread": False}
        # One connection per thread: a thread that waits for one in vain would lose its pending writes.
        return prepare_engine(create_engine(url, connect_args=options, max_overflow=-1))

    def explain(self, error: BaseException | None) -> HistoryError:
        """Return an error of one line for an error of SQLite."""
        return explain_sqlite(self.path, error)

    @contextmanager
    def limit_time(self, connection: Connection, within_s: float) -> Iterator[None]:
        """Limit the time of the queries of a transaction, which then only reads."""
        driver, deadline_s = driver_of(connection), time.monotonic() + within_s
        driver.execute("PRAGMA query_only = ON")
        driver.set_progress_handler(lambda: time.monotonic() > deadline_s, _STEPS)
        try:
            yield
        finally:
            driver.set_progress_handler(None, 0)
            driver.execute("PRAGMA query_only = OFF")

    def upgrade_lock(self) -> AbstractContextManager[None]:
        """Return the lock for schema upgrades."""
        return upgrade_lock(self.path.resolve(), _UPGRADE_LOCK_TIMEOUT_S)

    @contextmanager
    def migrating(self, engine: Engine, revision: str | None, newest: str) -> Iterator[Connection]:
        """Yield a transaction for migrations, after a backup beside an existing database."""
        if revision is not None:
            backup = beside(self.path, f".before-{newest}")
            backup.unlink(missing_ok=True)  # of an upgrade that failed
            copy_file(engine, backup)
        elif engine.url.database:  # SQLite copies the mode of an existing file to the files beside it
            with suppress(FileExistsError):
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        with engine.connect() as connection:
            # Rebuilding a table drops it, which with foreign keys on would delete the rows that refer to it. Neither
            # setting can change within a transaction.
            driver = driver_of(connection)
            driver.execute("PRAGMA journal_mode = WAL")
            driver.execute("PRAGMA foreign_keys = OFF")
            writing = connection.execution_options(runner_writes=True)
            with writing.begin():
                yield writing
                broken = writing.exec_driver_sql("PRAGMA foreign_key_check").first()
                if broken is not None:
                    raise DatabaseUnusable(
                        f"the database {self} has rows that refer to nothing (table {broken[0]}); see `runner db check`"
                    )
            driver.execute("PRAGMA foreign_keys = ON")

    def insert_many(self, connection: Connection, table: Table, names: Sequence[str], rows: Rows) -> None:
        """Add rows with these columns, through the driver, several by each statement, which takes half the time."""
        place = f"({', '.join('?' * len(names))})"
        sql = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES {place}"  # noqa: S608  own names
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            several = [tuple(chain(*some)) for some in zip(*[iter(chunk)] * _ROWS_A_STATEMENT, strict=False)]
            if several:
                connection.exec_driver_sql(sql + f", {place}" * (_ROWS_A_STATEMENT - 1), several)
            if rest := list(chunk[len(several) * _ROWS_A_STATEMENT :]):
                connection.exec_driver_sql(sql, rest)

    def update_many(self, connection: Connection, table: Table, changed: str, keys: Sequence[str], rows: Rows) -> None:
        """Update one column of many rows; each of *rows* contains the new value, then the values of *keys*."""
        same = (table.c[name] == bindparam(f"key_{name}") for name in keys)
        sql = str(update(table).values({changed: bindparam("new")}).where(*same).compile(dialect=connection.dialect))
        for start in range(0, len(rows), _CHUNK):
            connection.exec_driver_sql(sql, list(rows[start : start + _CHUNK]))

    def size_bytes(self, _connection: Connection) -> int:
        """Return the size of the database and its -wal file."""
        return self.path.stat().st_size + wal_bytes(self.path.resolve())

    def compact(self, engine: Engine) -> str | None:
        """Return freed space to the file system while others wait; return the readers that prevent it, or None.

        SQLite then does it at the next write after they have ended.
        """
        if self._checkpoint(engine, READERS_WAIT_MS, "VACUUM"):
            return None
        return ", ".join(find_readers(self.path.resolve())) or "another program"

    def trim(self, engine: Engine) -> None:
        """Truncate a -wal file that has grown beside a long-running reader, without waiting for anybody."""
        if wal_bytes(self.path.resolve()) > WAL_LIMIT_BYTES:
            self._checkpoint(engine, 0)

    def _checkpoint(self, engine: Engine, busy_timeout_ms: int, *before: str) -> bool:
        with engine.connect() as connection:
            alone = connection.execution_options(runner_alone=True)
            for statement in (*before, f"PRAGMA busy_timeout = {busy_timeout_ms}"):
                alone.exec_driver_sql(statement)
            busy = alone.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]
            connection.invalidate()  # its timeout differs
            return not busy

    def find_blocker(self, _connection: Connection, daemon_pid: int) -> str | None:
        """Find the process whose run lock or write lock prevents runs from starting; return one line, or None."""
        real = self.path.resolve()
        if (blocker := RunLockFile(real).find_blocker()) is not None:
            return blocker
        writers = find_writers(real)
        if writers:
            time.sleep(WRITES_FOR_S)
        own = f"process {daemon_pid} "
        same = [one for one in find_writers(real) if one in writers and not one.startswith(own)]
        return f"{', '.join(same)} keeps the database locked" if same else None

    def find_reader_warning(self) -> str | None:
        """Find a long-running reader beside which the -wal file has grown; return one line, or None."""
        real = self.path.resolve()
        if wal_bytes(real) <= _LARGE_WAL_BYTES:
            return None
        readers = ", ".join(find_readers(real)) or "another program"
        return (
            f"the file {real.name}-wal has grown to {format_bytes(wal_bytes(real))}, as {readers} keeps reading "
            "an old state; it shrinks after that has ended"
        )

    def find_wide_modes(self) -> list[str]:
        """List what others than the owner can access: the database, the files beside it, its directory."""
        real = self.path.resolve()
        prefixes = (f"{real.name}-", f"{real.name}.")
        files = sorted(path for path in real.parent.iterdir() if path.name.startswith(prefixes))
        lines = []
        for path, closed in ((real.parent, 0o700), (real, 0o600), *((path, 0o600) for path in files)):
            mode = S_IMODE(path.stat().st_mode) if path.exists() else closed
            if mode & 0o077:
                lines.append(f"others have access to {path} (mode {mode:04o}); close it by `chmod {closed:o}`")
        return lines

    def find_damage(self, connection: Connection) -> list[str]:
        """List damaged pages and dangling foreign keys, one line each."""
        lines = connection.exec_driver_sql(f"PRAGMA integrity_check({_MOST_FAULTS})").scalars()
        dangling = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(_MOST_FAULTS)
        return [f"damage: {line}" for line in lines if line != "ok"] + [
            f"row {row} of {table} refers to a row of {parent} that is not there" for table, row, parent, _ in dangling
        ]

    def run_lock(self) -> RunLockFile:
        """Return the run lock, the same through all links to the database."""
        self.refuse_writing()
        return RunLockFile(self.path.resolve())

    def is_deserted(self) -> bool:
        """Return whether certainly no process holds the run lock."""
        return self.run_lock().is_free()

    def daemon_lock(self, _engine: Engine) -> DaemonLockFile:
        """Return the daemon's lock, not yet acquired, the same through all links to the database."""
        self.refuse_writing()
        return DaemonLockFile(self.path.resolve())


@dataclass(frozen=True, kw_only=True)
class MissingFile(SqliteFile):
    """A file that does not exist: queries are answered from an empty database in memory, and no file is created."""

    def make_engine(self, _busy_timeout_s: float) -> Engine:
        """Create an engine with one connection to a database in memory."""
        return prepare_engine(
            create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        )


def _refuse(path: str, error: Exception) -> HistoryError:
    short = path if len(path) < _SHOWN_CHARACTERS else f"{path[:_SHOWN_CHARACTERS]}…"
    return refusal(error)(f"the database path {short!r} can't be used: {reason_of(error)}; choose another")
