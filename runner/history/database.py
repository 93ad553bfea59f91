"""A database: where it is, and how a transaction begins and ends; what depends on its kind is behind one Protocol."""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Column, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from runner.history.postgresql import PostgresqlDatabase
from runner.history.sqlite import SqliteFile
from runner.model.errors import DatabaseUnusable, HistoryError

# Text that is meant for a server, or as a URL, but lacks what makes it one; it would be taken for a path, and shown.
_MISSPELT = re.compile(
    r"\s*(?:(?:postgres(?:ql)?|pgsql|mysql|mariadb|sqlite)(?:\+\w+)?\s*(?::|;|//)"  # a scheme, and no ://
    r"|(?:[\w+]+:/|[\w+]*:?//)/?[^/@\s]+:[^@]*@"  # user:password@ after slashes; a path has one
    r"|[^/\s]+:[^/@]+@"  # user:password@ at the beginning
    r"|(?:host|hostaddr|port|dbname|user|password|passfile|service|sslmode)\s*=)",  # libpq's key = value
    re.IGNORECASE,
)
# It is never shown: what would be a password in it can't be told from the rest.
_NO_URL = (
    "the database is a misspelt URL or a connection string; write postgresql://USER@HOST/NAME, "
    "or ./ before the path of a file"
)
# How long a statement waits for another process's transaction.
BUSY_TIMEOUT_S = 15


class DaemonLock(Protocol):
    """What only one daemon of a database holds."""

    def hold(self) -> bool:
        """Take it, or make sure that it is still held; False if another process has it."""
        ...

    def release(self) -> None:
        """Let go of it."""
        ...

    def find_holder(self) -> str:
        """Find the other process that holds it, such as ``process 123 (name)``; empty if that is not known."""
        ...


class RunLock(Protocol):
    """What each process holds that carries something out, beside others."""

    def hold(self) -> None:
        """Take it, or make sure that it is still held.

        Raises:
            HistoryError: If it can't be taken.
        """
        ...

    def release(self) -> None:
        """Let go of it."""
        ...


class Backend(Protocol):
    """Where a database is, and all that depends on its kind. Its text names it to a person, without secrets."""

    def address(self) -> str:
        """Give what names it from any folder, as ``--db`` takes it, to be kept where everybody can read it.

        Raises:
            DatabaseUnusable: If a secret is part of that.
        """
        ...

    def serves(self) -> bool:
        """Whether it is a server, which may be down while nothing is wrong with its address."""
        ...

    def check(self) -> None:
        """Refuse what can't be a database, before anything is created.

        Raises:
            DatabaseUnusable: If it can't.
        """
        ...

    def exists(self) -> bool:
        """Whether there is anything to be opened; a file may have to be made first."""
        ...

    @property
    def read_only(self) -> bool:
        """Return whether it is known that nothing can be written."""
        ...

    def refuse_writing(self, but: str = "") -> None:
        """Refuse to write where it is known that nothing can be written.

        Raises:
            NotWritable: In that case; *but* is put behind the reason.
        """
        ...

    def permitted(self) -> "Backend":
        """Return the location as this process may use it: to read and write, or only to read."""
        ...

    def make_engine(self, busy_timeout_s: float) -> Engine:
        """Make an engine whose transactions write if their connection has the option ``runner_writes``.

        With ``runner_gives_up`` they wait for another one only until that returns true, and with ``runner_waits_s``
        no longer than that for any other lock.

        One that writes has the database to itself from its beginning, and is on the disk when it is committed; any
        other sees one state of the database throughout.

        Raises:
            DatabaseUnusable: If the driver is missing, or can't read the URL.
        """
        ...

    def explain(self, error: BaseException | None) -> HistoryError:
        """Say in one line what a driver's error means for a person."""
        ...

    def upgrade_lock(self) -> AbstractContextManager[object]:
        """Keep others from upgrading the schema meanwhile."""
        ...

    def migrating(self, engine: Engine, revision: str | None, newest: str) -> AbstractContextManager[Connection]:
        """Give a transaction for migrations, after a backup where there is something to lose."""
        ...

    def insert_many(
        self, connection: Connection, columns: Sequence[Column[Any]], rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """Insert rows of a table's columns in the cheapest way there is."""
        ...

    def update_many(
        self,
        connection: Connection,
        keys: Sequence[Column[Any]],
        changed: Sequence[Column[Any]],
        rows: Sequence[tuple[Any, ...]],
    ) -> None:
        """Change columns of the rows that have these keys; each of *rows* gives the keys, then what they get."""
        ...

    def size_bytes(self, connection: Connection) -> int:
        """Tell how large the database is."""
        ...

    def compact(self, engine: Engine) -> bool:
        """Return freed space to the file system while others wait; False if readers prevent it."""
        ...

    def trim(self, engine: Engine) -> None:
        """Give back what a log of changes takes beyond its bounds, unless others use it now; waits for nobody."""
        ...

    def find_readers(self, engine: Engine) -> list[str]:
        """Find who else reads the database at this moment, as far as that can be told."""
        ...

    def find_blocker(self, connection: Connection, daemon_pid: int) -> str | None:
        """Find who keeps a daemon from starting runs by a lock; a line about it, or None."""
        ...

    def find_reader_warning(self) -> str | None:
        """Find a long-running reader that keeps the database from shrinking; a line about it, or None."""
        ...

    def find_wide_modes(self) -> list[str]:
        """Find what others than its owner have access to; one line for each."""
        ...

    def find_damage(self, connection: Connection) -> list[str]:
        """Look for what the database itself should never have let come about."""
        ...

    def copy(self, engine: Engine, target: Path) -> None:
        """Copy the database into a file that does not exist yet.

        Raises:
            DatabaseUnusable: If it can't be.
        """
        ...

    def run_lock(self) -> RunLock:
        """Give the lock of a run or a calibration, to be taken before that is on record; see :meth:`is_deserted`."""
        ...

    def is_deserted(self) -> bool:
        """Whether it is certain that no process of this machine, in whatever container, carries anything out here."""
        ...

    def daemon_lock(self, engine: Engine) -> DaemonLock:
        """Give the lock of the daemon, not yet taken; it goes when the process that holds it dies."""
        ...


def locate(text: str) -> Backend:
    """Tell where a database is from a file's path or a SQLAlchemy URL.

    Raises:
        DatabaseUnusable: If it is a URL that can't be used.
    """
    if text == ":memory:":
        raise DatabaseUnusable("a database in memory would forget everything; give the path of a file")
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
        # The rest of the password would be taken for the server's name, and shown.
        raise DatabaseUnusable("the database URL has an @ too many; write the one in its password as %40")
    if backend == "postgresql":
        if re.search(":.*@", url.database or ""):  # three slashes before a user and a password
            raise DatabaseUnusable(_NO_URL)
        return PostgresqlDatabase(url=url)
    if backend != "sqlite":
        raise DatabaseUnusable(
            f"{backend} databases are not supported; give the path of a SQLite file, or a postgresql:// URL"
        )
    if not url.database or url.database == ":memory:":
        raise DatabaseUnusable("a database in memory would forget everything; give the path of a file")
    return SqliteFile.at(url.database)


class Reader(Protocol):
    """What queries are asked of: an open database, or one state of it."""

    @property
    def location(self) -> Backend:
        """Where the database is."""
        ...

    def read(self) -> AbstractContextManager[Connection]:
        """Give a connection within a transaction that reads."""
        ...


class View:
    """One state of a database: all that is read through it was true at the same time.

    Args:
        location: Where the database is.
        connection: The transaction that sees the state.
    """

    def __init__(self, location: Backend, connection: Connection) -> None:
        self.location = location
        self._connection = connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Read within the view's transaction."""
        yield self._connection


class Database:
    """An open database whose schema is current.

    Args:
        location: Where it is.
    """

    def __init__(self, location: Backend) -> None:
        self.location = location
        self.engine = location.make_engine(BUSY_TIMEOUT_S)
        self._give_up_s: float | None = None

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def hurry(self, within_s: float) -> None:
        """Let everything that is still to be written wait for others until one deadline, the earliest that is set.

        What comes later than that is still tried, but waits for nobody.
        """
        give_up_s = time.monotonic() + within_s
        self._give_up_s = give_up_s if self._give_up_s is None else min(self._give_up_s, give_up_s)

    def is_late(self) -> bool:
        """Whether the deadline has passed."""
        return self._give_up_s is not None and time.monotonic() >= self._give_up_s

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Read within one transaction, which sees one state of the database throughout."""
        with self.explaining(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def view(self) -> Iterator[View]:
        """Yield one state of the database, so that an answer made of several queries does not mix two."""
        with self.read() as connection:
            yield View(self.location, connection)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Write within one transaction, which is on the disk when this returns and leaves no trace if it raises.

        Raises:
            NotWritable: If the database can only be read.
        """
        self.location.refuse_writing()
        with self.explaining(), self.engine.connect() as connection:
            writing = connection.execution_options(runner_writes=True, runner_gives_up=self.is_late)
            if self._give_up_s is not None:
                waits_s = min(max(0.0, self._give_up_s - time.monotonic()), BUSY_TIMEOUT_S)
                writing = writing.execution_options(runner_waits_s=waits_s)
            with writing.begin():
                yield writing

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Turn a driver's errors into runner's.

        Raises:
            HistoryError: In place of them.
        """
        try:
            yield
        except MemoryError as error:  # SQLite's own want of memory is told as Python's, and is no error of a driver
            raise HistoryError(f"the database {self.location} can't be used: there is not enough memory") from error
        except DBAPIError as error:
            raise self.location.explain(error.orig) from error
