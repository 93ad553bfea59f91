"""Databases: find one by its address, and read and write in transactions."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import StaticPool

from runner.history.backend import Backend
from runner.history.postgresql import PostgresqlDatabase
from runner.history.sqlite import SqliteFile
from runner.model.errors import DatabaseUnusable, HistoryError

# Malformed URLs and connection strings. Treated as a path they would be shown, with their passwords.
_MISSPELT = re.compile(
    r"\s*(?:(?:postgres(?:ql)?|pgsql|mysql|mariadb|sqlite)(?:\+\w+)?\s*(?::|;|//)"  # a scheme, and no ://
    r"|(?:[\w+]+:/|[\w+]*:?//)/?[^/@\s]+:[^@]*@"  # user:password@ after slashes; a path has one
    r"|[^/\s]+:[^/@]+@"  # user:password@ at the beginning
    r"|(?:host|hostaddr|port|dbname|user|password|passfile|service|sslmode)\s*=)",  # libpq's key = value
    re.IGNORECASE,
)
# The text itself is not shown, because it may contain a password.
_NO_URL = (
    "the database is a misspelt URL or a connection string; write postgresql://USER@HOST/NAME, "
    "or ./ before the path of a file"
)
_IN_MEMORY = "a database in memory would forget everything; give the path of a file"
# How long a statement waits for the transaction of another process.
BUSY_TIMEOUT_S = 15


def locate(text: str) -> Backend:
    """Return the backend of a file's path or a SQLAlchemy URL; raise DatabaseUnusable if the URL is wrong."""
    if text == ":memory:":
        raise DatabaseUnusable(_IN_MEMORY)
    if "://" not in text:
        if _MISSPELT.match(text):
            raise DatabaseUnusable(_NO_URL)
        return SqliteFile.at(text)
    try:
        url = make_url(text)
        backend = url.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise DatabaseUnusable("the database URL can't be read; write a file's path or a SQLAlchemy URL") from None
    if "@" in (url.host or ""):
        # The rest of the password would be shown as the server's name.
        raise DatabaseUnusable("the database URL has an @ too many; write the one in its password as %40")
    if backend == "postgresql":
        if re.search(":.*@", url.database or ""):  # three slashes before a user and a password
            raise DatabaseUnusable(_NO_URL)
        return PostgresqlDatabase(url=url)
    if backend != "sqlite":
        raise DatabaseUnusable(
            f"{backend} databases are not supported; give the path of a SQLite file, or a postgresql:// URL"
        )
    return SqliteFile.at(_sqlite_path(url))


def _sqlite_path(url: URL) -> str:
    if url.host or url.username or url.port:
        raise DatabaseUnusable("a SQLite URL has no host; write sqlite:///PATH, or only the file's path")
    if not url.database or url.database == ":memory:":
        raise DatabaseUnusable(_IN_MEMORY)
    return url.database


class View:
    """One state of a database, which a transaction sees, for answers that need several queries."""

    def __init__(self, location: Backend, connection: Connection) -> None:
        self.location = location
        self._connection = connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield the connection of the view's transaction."""
        yield self._connection


class Database:
    """An open database with the current schema."""

    def __init__(self, location: Backend) -> None:
        self.location = location
        self.engine = location.make_engine(BUSY_TIMEOUT_S)
        self._deadline_s: float | None = None

    @property
    def has_one_connection(self) -> bool:
        """Whether all threads share one connection, as in memory."""
        return isinstance(self.engine.pool, StaticPool)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def set_deadline(self, within_s: float) -> None:
        """Limit the waiting of all further writes to the earliest deadline set; later writes are tried once."""
        deadline_s = time.monotonic() + within_s
        self._deadline_s = deadline_s if self._deadline_s is None else min(self._deadline_s, deadline_s)

    def is_past_deadline(self) -> bool:
        """Return whether the deadline has passed."""
        return self._deadline_s is not None and time.monotonic() >= self._deadline_s

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection within one transaction, which sees one state of the database."""
        with self.translate_errors(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def view(self, *, within_s: float | None = None) -> Iterator[View]:
        """Yield one state of the database; *within_s* limits the time of its queries."""
        with self.read() as connection:
            if within_s is None:
                yield View(self.location, connection)
                return
            with self.location.limit_time(connection, within_s):
                yield View(self.location, connection)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yield a connection within one transaction, which is on the disk at the end or rolled back on an error."""
        self.location.refuse_writing()
        with self.translate_errors(), self.engine.connect() as connection:
            writing = connection.execution_options(runner_writes=True, runner_gives_up=self.is_past_deadline)
            if self._deadline_s is not None:
                waits_s = min(max(0.0, self._deadline_s - time.monotonic()), BUSY_TIMEOUT_S)
                writing = writing.execution_options(runner_waits_s=waits_s)
            with writing.begin():
                yield writing

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Raise HistoryError in place of the driver's errors."""
        try:
            yield
        except MemoryError as error:  # the sqlite3 module raises it for SQLITE_NOMEM
            raise HistoryError(f"the database {self.location} can't be used: there is not enough memory") from error
        except DBAPIError as error:
            raise self.location.explain(error.orig) from error


# The argument of queries: an open database, or one state of it.
Reader = Database | View
