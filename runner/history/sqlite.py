"""A history in a SQLite file."""

import errno
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_IMODE
from typing import Any

from sqlalchemy import URL, Column, Connection, Engine, Table, bindparam, create_engine, insert, update
from sqlalchemy.pool import StaticPool

from runner.history.backup import copy_file
from runner.history.filelocks import DaemonLockFile, RunLockFile, UpgradeLockFile
from runner.history.sqlite_errors import explain, refusal
from runner.history.sqlite_transactions import driver_of, prepare_engine
from runner.history.walfile import WAL_LIMIT_BYTES, find_readers, find_writers, is_large, wal_bytes
from runner.model.errors import DatabaseUnusable, HistoryError, NotWritable, reason_of
from runner.model.links import ForeignLink, open_parent
from runner.model.units import format_bytes

_CHUNK = 10_000
_MOST_FAULTS = 20
# So long readers are waited for when room is given back; a longer one does not end soon.
_READERS_WAIT_MS = 1_000
# Who writes for longer keeps others waiting that they notice it.
_WRITES_FOR_S = 1.0
# How long another process may hold the lock under which the schema is created or upgraded.
_UPGRADE_LOCK_TIMEOUT_S = 60.0
# Room for what is appended to a database's name: -journal, .daemon.lock, .before-0001 and the like.
_LONGEST_SUFFIX = 16
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, kw_only=True, slots=True)
class SqliteFile:
    """Where a SQLite database is.

    Attributes:
        path: Its file.
    """

    path: Path

    @classmethod
    def at(cls, text: str) -> "SqliteFile":
        """Return the file that a person means by a path.

        Raises:
            DatabaseUnusable: If the path leads in a circle, or is too long for the files beside it.
        """
        path = os.path.abspath(os.path.expanduser(text))  # noqa: PTH100, PTH111  a link stays as it was named
        for look, name in ((os.lstat, path + "." * _LONGEST_SUFFIX), (os.stat, path)):
            try:
                look(name)
            except OSError as error:
                if error.errno in {errno.ENAMETOOLONG, errno.ELOOP}:
                    short = path if len(path) < _SHOWN_CHARACTERS else f"{path[:_SHOWN_CHARACTERS]}…"
                    message = f"the database path {short!r} can't be used: {reason_of(error)}; choose another"
                    raise DatabaseUnusable(message) from None
            except ValueError:  # a NUL, which check refuses
                pass
        return cls(path=Path(path))

    def __str__(self) -> str:
        return str(self.path)

    def address(self) -> str:
        """Give its path."""
        return str(self.path)

    def serves(self) -> bool:
        """Whether it is a server: a file is there or not."""
        return False

    def check(self) -> None:
        """Refuse a path at which there can be no SQLite database, before anything is created.

        Raises:
            DatabaseUnusable: If it is a folder, or its folder is missing or can't be written to, or it holds other
                data.
        """
        path = self.path
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            pass  # the folder is looked at below
        except (OSError, ValueError) as error:  # a folder above is closed to this user, a name is too long, holds a NUL
            reason = reason_of(error)
            raise refusal(error)(f"the database path {str(path)!r} can't be used: {reason}; choose another") from None
        if path.is_dir():
            raise DatabaseUnusable(
                f"the database path {path} is a folder; give the path of a file, like {path / 'runner.db'}"
            )
        if not path.parent.is_dir():
            raise DatabaseUnusable(
                f"the database's folder {path.parent} does not exist; create it or choose another with --db"
            )
        if path.exists() and not path.is_file():
            raise DatabaseUnusable(f"the database path {path} is not a regular file; choose another with --db")
        self._refuse_planted_links()
        if not path.exists() and not os.access(path.parent, os.W_OK | os.X_OK):
            if os.statvfs(path.parent).f_flag & os.ST_RDONLY:
                raise NotWritable(f"the database's folder {path.parent} is read-only; choose another with --db")
            raise DatabaseUnusable(f"the database's folder {path.parent} can't be written to; choose another with --db")

    def _refuse_planted_links(self) -> None:
        """Refuse links through which SQLite would create or write a file elsewhere."""
        try:
            with open_parent(os.fspath(self.path), follow=True):
                pass
        except ForeignLink as error:
            raise DatabaseUnusable(f"the database path {self.path} can't be used: {reason_of(error)}") from None
        except OSError:
            pass  # what it is that keeps it from being opened is said by who opens it
        real = self.path.resolve()
        for beside in (real.with_name(real.name + suffix) for suffix in ("-wal", "-shm", "-journal")):
            if beside.is_symlink():
                raise DatabaseUnusable(f"{beside} is a symbolic link, which SQLite never creates; remove it")
            if os.path.lexists(beside) and not (beside.is_file() and beside.stat().st_nlink == 1):
                raise DatabaseUnusable(f"{beside} is not a regular file of its own; remove it")

    def exists(self) -> bool:
        """Whether there is a file."""
        return self.path.exists()

    @property
    def read_only(self) -> bool:
        """Whether it is known that nothing can be written."""
        return False

    def refuse_writing(self, but: str = "") -> None:
        """Refuse nothing: it can be written, or that is not known."""

    def permitted(self) -> "SqliteFile":
        """Return the location as this process may use it: to read and write, or only to read."""
        from runner.history.readonly import ReadOnlyFile, find_obstacle  # which builds on this module

        obstacle = find_obstacle(self.path)
        return self if obstacle is None else ReadOnlyFile(path=self.path, reason=obstacle)

    def make_engine(self, busy_timeout_s: float) -> Engine:
        """Make an engine whose writing transactions are alone from their beginning."""
        url = URL.create("sqlite", database=str(self.path))
        options = {"timeout": busy_timeout_s, "check_same_thread": False}
        # As many connections as there are threads: whoever waits for one in vain would lose what it has to write.
        return prepare_engine(create_engine(url, connect_args=options, max_overflow=-1))

    def explain(self, error: BaseException | None) -> HistoryError:
        """Say in one line what a driver's error means for a person."""
        return explain(self.path, error)

    def upgrade_lock(self) -> AbstractContextManager[None]:
        """Keep others from upgrading the schema meanwhile.

        Raises:
            HistoryError: If another process holds the lock for too long.
            DatabaseUnusable: If the lock can't be taken.
        """
        return UpgradeLockFile(self.path.resolve(), within_s=_UPGRADE_LOCK_TIMEOUT_S)

    @contextmanager
    def migrating(self, engine: Engine, revision: str | None, newest: str) -> Iterator[Connection]:
        """Give a transaction for migrations, after a backup beside an existing database.

        Raises:
            DatabaseUnusable: If rows refer to nothing afterwards.
        """
        if revision is None:  # SQLite keeps the mode of a file that is there, also for what it puts beside it
            with suppress(FileExistsError):
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        else:
            backup = self.path.with_name(f"{self.path.name}.before-{newest}")
            backup.unlink(missing_ok=True)  # left by an upgrade that did not finish
            self.copy(engine, backup)
        with engine.connect() as connection:
            # Rebuilding a table drops it, which with foreign keys on would delete what refers to it. Neither setting
            # can change within a transaction.
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
            connection.invalidate()  # its settings are not those of the others

    def insert_many(
        self, connection: Connection, columns: Sequence[Column[Any]], rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """Insert rows through the driver, whose cost for each is a fifth of what it is through SQLAlchemy."""
        statement = insert(_table_of(columns)).values({column: bindparam(column.name) for column in columns})
        sql = str(statement.compile(dialect=connection.dialect))
        for start in range(0, len(rows), _CHUNK):
            connection.exec_driver_sql(sql, list(rows[start : start + _CHUNK]))

    def update_many(
        self,
        connection: Connection,
        keys: Sequence[Column[Any]],
        changed: Sequence[Column[Any]],
        rows: Sequence[tuple[Any, ...]],
    ) -> None:
        """Change columns of the rows that have these keys; each of *rows* gives the keys, then what they get."""
        table = _table_of(keys)
        statement = (
            update(table)
            .where(*(column == bindparam(f"key_{column.name}") for column in keys))
            .values({column: bindparam(f"new_{column.name}") for column in changed})
        )
        sql = str(statement.compile(dialect=connection.dialect))
        for start in range(0, len(rows), _CHUNK):
            chunk = [(*row[len(keys) :], *row[: len(keys)]) for row in rows[start : start + _CHUNK]]
            connection.exec_driver_sql(sql, chunk)

    def size_bytes(self, _connection: Connection) -> int:
        """Tell how much of the disk the database takes, its -wal file included."""
        return self.path.stat().st_size + wal_bytes(self.path.resolve())

    def compact(self, engine: Engine) -> bool:
        """Give the room that was freed back to the file system; others wait meanwhile.

        Returns:
            Whether it was; where others read an older state, SQLite does so at the next write after they have ended.
        """
        with engine.connect() as connection:
            alone = connection.execution_options(runner_alone=True)
            alone.exec_driver_sql("VACUUM")
            alone.exec_driver_sql(f"PRAGMA busy_timeout = {_READERS_WAIT_MS}")
            busy = alone.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]
            connection.invalidate()  # its timeout is not that of the others
            return not busy

    def trim(self, engine: Engine) -> None:
        """Cut the -wal file off where a long-running reader has let it grow; waits neither for readers nor writers."""
        if wal_bytes(self.path.resolve()) <= WAL_LIMIT_BYTES:
            return
        with engine.connect() as connection:
            alone = connection.execution_options(runner_alone=True)
            alone.exec_driver_sql("PRAGMA busy_timeout = 0")
            alone.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.invalidate()  # its timeout is not that of the others

    def find_readers(self, _engine: Engine) -> list[str]:
        """Find who else reads the database at this moment."""
        return find_readers(self.path.resolve())

    def find_blocker(self, _connection: Connection, daemon_pid: int) -> str | None:
        """Find who keeps runs from starting, by a lock of runs or of the database; a line about it, or None."""
        if (blocker := self.run_lock_file().find_blocker()) is not None:
            return blocker
        real = self.path.resolve()
        writers = find_writers(real)
        if writers:
            time.sleep(_WRITES_FOR_S)
        own = f"process {daemon_pid} "
        same = [one for one in find_writers(real) if one in writers and not one.startswith(own)]
        return f"{', '.join(same)} keeps the database locked" if same else None

    def find_reader_warning(self) -> str | None:
        """Find a long-running reader beside which the -wal file has grown; a line about it, or None."""
        real = self.path.resolve()
        if not is_large(real):
            return None
        readers = ", ".join(find_readers(real))
        return (
            f"the file {real.name}-wal has grown to {format_bytes(wal_bytes(real))}, as "
            f"{readers or 'another program'} keeps reading an old state; it shrinks after that has ended"
        )

    def find_wide_modes(self) -> list[str]:
        """Find what others than the owner have access to: the database, what is beside it, its directory."""
        real = self.path.resolve()
        beside = sorted(
            path for path in real.parent.iterdir() if path.name.startswith((f"{real.name}-", f"{real.name}."))
        )
        lines = []
        for path, closed in ((real.parent, 0o700), (real, 0o600), *((path, 0o600) for path in beside)):
            mode = S_IMODE(path.stat().st_mode) if path.exists() else closed
            if mode & 0o077:
                lines.append(f"others have access to {path} (mode {mode:04o}); close it by `chmod {closed:o}`")
        return lines

    def find_damage(self, connection: Connection) -> list[str]:
        """Look for damaged pages and for rows that refer to nothing; one line for each."""
        faults = [
            f"damage: {line}"
            for (line,) in connection.exec_driver_sql(f"PRAGMA integrity_check({_MOST_FAULTS})")
            if line != "ok"
        ]
        for table, row, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(_MOST_FAULTS):
            faults.append(f"row {row} of {table} refers to a row of {parent} that is not there")
        return faults

    def copy(self, engine: Engine, target: Path) -> None:
        """Copy the database in use, consistently, into a file that does not exist yet.

        Raises:
            DatabaseUnusable: If there is something at *target* already, or it can't be written.
        """
        copy_file(engine, target)

    def run_lock(self) -> RunLockFile:
        """Give the lock of a run or a calibration, the same by whatever links the database is reached."""
        return self.run_lock_file()

    def run_lock_file(self) -> RunLockFile:
        """Return that lock, also where the database can only be read."""
        return RunLockFile(self.path.resolve())

    def is_deserted(self) -> bool:
        """Whether it is certain that no process of this machine, in whatever container, carries anything out here."""
        return self.run_lock().is_free()

    def daemon_lock(self, _engine: Engine) -> DaemonLockFile:
        """Give the lock of the daemon, which is the same by whatever links the database is reached."""
        return DaemonLockFile(self.path.resolve())


def _table_of(columns: Sequence[Column[Any]]) -> Table:
    table = columns[0].table
    assert isinstance(table, Table)  # noqa: S101  nothing else is written to
    return table


@dataclass(frozen=True, kw_only=True, slots=True)
class MissingFile(SqliteFile):
    """Stands for a file that is not there: what is asked of it is answered as by an empty one, and nothing is made."""

    def permitted(self) -> "MissingFile":
        """Return itself: a database in memory can be written."""
        return self

    def make_engine(self, _busy_timeout_s: float) -> Engine:
        """Make an engine of an empty history in memory."""
        return prepare_engine(create_engine("sqlite://", poolclass=StaticPool))

    @contextmanager
    def migrating(self, engine: Engine, _revision: str | None, _newest: str) -> Iterator[Connection]:
        """Give a transaction for migrations of the one connection, with which all would be gone."""
        with engine.connect() as connection:
            writing = connection.execution_options(runner_writes=True)
            with writing.begin():
                yield writing
