"""Database mechanics: where it is, how it is opened and how a transaction begins."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError

from runner.model.errors import DatabaseUnusable, HistoryError

# How long a statement waits for another process's transaction.
BUSY_TIMEOUT_S = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class Location:
    """Where a database is.

    Attributes:
        url: Its SQLAlchemy URL.
        path: Its file; None for a server.
    """

    url: URL
    path: Path | None

    def __str__(self) -> str:
        return str(self.path) if self.path is not None else self.url.render_as_string(hide_password=True)


def locate(text: str) -> Location:
    """Tell where a database is from a file's path or a SQLAlchemy URL.

    Raises:
        DatabaseUnusable: If it is a URL that can't be used.
    """
    if text == ":memory:":
        raise DatabaseUnusable("a database in memory would forget everything; give the path of a file")
    if "://" not in text:
        path = Path(os.path.abspath(os.path.expanduser(text)))  # noqa: PTH100, PTH111  a link stays as it was named
        return Location(url=URL.create("sqlite", database=str(path)), path=path)
    try:
        url = make_url(text)
        backend = url.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise DatabaseUnusable("the database URL can't be read; write a file's path or a SQLAlchemy URL") from None
    if backend != "sqlite":
        raise DatabaseUnusable(f"a {backend} database is not supported; give the path of a SQLite file")
    if not url.database or url.database == ":memory:":
        raise DatabaseUnusable("a database in memory would forget everything; give the path of a file")
    return locate(url.database)


class Database:
    """An open database whose schema is current.

    Args:
        location: Where it is.
    """

    def __init__(self, location: Location) -> None:
        self.location = location
        self.engine = _make_engine(location)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Read within one transaction, which sees one state of the database throughout."""
        with self._translated(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Write within one transaction, which is on the disk when this returns and leaves no trace if it raises."""
        with self._translated(), self.engine.connect() as connection:
            writing = connection.execution_options(runner_writes=True)
            with writing.begin():
                yield writing

    @contextmanager
    def alone(self) -> Iterator[Connection]:
        """Give a connection outside any transaction, for statements that can't be within one."""
        with self._translated(), self.engine.connect() as connection:
            yield connection.execution_options(runner_alone=True)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DatabaseError as error:
            raise explain(error.orig, self.location) from error


def explain(error: BaseException | None, location: Location) -> HistoryError:  # noqa: PLR0911  a table
    """Say in one line what a database's error means for a person."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if code is not None else None
    where = f"the database {location}"
    match primary:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return HistoryError(f"{where} is locked by another program; try again when that has finished")
        case sqlite3.SQLITE_FULL:
            return HistoryError(f"{where} can't grow: the disk is full; free some space and try again")
        case sqlite3.SQLITE_READONLY:
            return DatabaseUnusable(f"{where} can't be written; change its permissions or choose another with --db")
        case sqlite3.SQLITE_NOTADB:
            return DatabaseUnusable(f"{where} is not a SQLite database; choose another file with --db")
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return DatabaseUnusable(
                f"{where} can't be opened; check its path and permissions, or choose another with --db"
            )
        case sqlite3.SQLITE_CORRUPT:
            return HistoryError(f"{where} is damaged; restore a backup, and see `runner db check`")
        case _:
            return HistoryError(f"{where} can't be used: {error}")


def check_path(path: Path) -> None:
    """Refuse a path at which there can be no SQLite database, before anything is created.

    Raises:
        DatabaseUnusable: If it is a folder, or its folder is missing or can't be written to, or it holds other data.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass  # the folder is looked at below
    except (OSError, ValueError) as error:  # a folder above is closed to this user, a name is too long, holds a NUL
        reason = error.strerror if isinstance(error, OSError) else error
        raise DatabaseUnusable(f"the database path {str(path)!r} can't be used: {reason}; choose another") from None
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
    if not path.exists() and not os.access(path.parent, os.W_OK | os.X_OK):
        raise DatabaseUnusable(f"the database's folder {path.parent} can't be written to; choose another with --db")


@contextmanager
def held_upgrade_lock(location: Location) -> Iterator[None]:
    """Keep others from upgrading the same database meanwhile.

    The lock is on the folder, so that no file is left behind and the database itself is never opened beside SQLite,
    which would drop SQLite's own locks.

    Raises:
        DatabaseUnusable: If the folder can't be opened, or its file system knows no locks.
    """
    assert location.path is not None  # noqa: S101  SQLite has a file
    fd = -1
    try:
        fd = os.open(location.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(fd, fcntl.LOCK_EX)
    except OSError as error:
        if fd >= 0:
            os.close(fd)
        raise DatabaseUnusable(
            f"the database's folder {location.path.parent} can't be locked: {error.strerror}; choose another with --db"
        ) from None
    try:
        yield
    finally:
        os.close(fd)


def _make_engine(location: Location) -> Engine:
    engine = create_engine(location.url, connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False})
    event.listen(engine, "connect", _prepare_connection)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare_connection(connection: sqlite3.Connection, _record: Any) -> None:
    # The driver would begin transactions by its own rules, and none at all for reading.
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        for pragma in ("foreign_keys = ON", "synchronous = FULL", "temp_store = MEMORY"):
            cursor.execute(f"PRAGMA {pragma}")
    finally:
        cursor.close()


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get("runner_alone", False):
        return
    writes = connection.get_execution_options().get("runner_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
