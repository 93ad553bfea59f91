"""Everything that depends on the kind of the database: one class for SQLite, one for PostgreSQL."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Column, Connection, Engine

from runner.model.errors import HistoryError, NotWritable


class DaemonLock(Protocol):
    """The lock that one daemon of a database holds."""

    def hold(self) -> bool:
        """Acquire the lock or check that it is still held; return False if another process has it."""
        ...

    def release(self) -> None:
        """Release the lock."""
        ...

    def find_holder(self) -> str:
        """Find the other process that holds the lock, such as ``process 123 (name)``; empty if unknown."""
        ...


class RunLock(Protocol):
    """The lock that each process holds, beside others, while it executes runs or a calibration."""

    def hold(self) -> None:
        """Acquire the lock or check that it is still held.

        Raises:
            HistoryError: If it cannot be acquired.
        """
        ...

    def release(self) -> None:
        """Release the lock."""
        ...


class Backend(ABC):
    """The address of a database and all that depends on its kind. ``str()`` names it without secrets."""

    __slots__ = ()

    @abstractmethod
    def address(self) -> str:
        """Return the absolute address, as ``--db`` accepts it, for files that everybody can read.

        Raises:
            DatabaseUnusable: If it contains a secret.
        """

    def serves(self) -> bool:
        """Return whether it is a server, which may be down although its address is right."""
        return False

    @abstractmethod
    def check(self) -> None:
        """Check, before anything is created, that this can be a database.

        Raises:
            DatabaseUnusable: If it cannot.
        """

    def exists(self) -> bool:
        """Return whether there is a database; a missing file is created when it is opened."""
        return True

    @property
    def read_only(self) -> str:
        """The reason why the database is not writable; empty if it is, or if that is unknown."""
        return ""

    def refuse_writing(self, but: str = "") -> None:
        """Raise an error, with *but* behind the reason, if the database is known to be read-only.

        Raises:
            NotWritable: In that case.
        """
        if self.read_only:
            reason = f"{self.read_only}{but}"
            raise NotWritable(
                f"the database {self} is read-only: {reason}; make it writable, or choose another with --db"
            )

    def permitted(self) -> "Backend":
        """Return the backend that this process may use: to read and write, or only to read."""
        return self

    @abstractmethod
    def make_engine(self, busy_timeout_s: float) -> Engine:
        """Create an engine whose transactions write if their connection has the option ``runner_writes``.

        A writing transaction excludes other writers from its beginning and is on the disk after its commit. Any other
        transaction sees one state of the database. A writing transaction waits for another only until the option
        ``runner_gives_up`` returns true, and for any other lock at most ``runner_waits_s``.

        Raises:
            DatabaseUnusable: If the driver is missing or rejects the URL.
        """

    @abstractmethod
    def explain(self, error: BaseException | None) -> HistoryError:
        """Return an error of one line for an error of the driver."""

    def upgrade_lock(self) -> AbstractContextManager[object]:
        """Return the lock for schema upgrades; none where the writing transaction suffices."""
        return nullcontext()

    def migrating(self, engine: Engine, _revision: str | None, _newest: str) -> AbstractContextManager[Connection]:
        """Return a transaction for migrations."""
        return _begin_writing(engine)

    @abstractmethod
    def insert_many(
        self, connection: Connection, columns: Sequence[Column[Any]], rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """Add many rows in the fastest way."""

    @abstractmethod
    def update_many(
        self,
        connection: Connection,
        keys: Sequence[Column[Any]],
        changed: Sequence[Column[Any]],
        rows: Sequence[tuple[Any, ...]],
    ) -> None:
        """Update many rows; each of *rows* contains the values of *keys*, then those of *changed*."""

    @abstractmethod
    def size_bytes(self, connection: Connection) -> int:
        """Return the size of the database."""

    @abstractmethod
    def compact(self, engine: Engine) -> bool:
        """Return freed space to the file system while others wait; return False if readers prevent it."""

    @abstractmethod
    def trim(self, engine: Engine) -> None:
        """Truncate an oversized write-ahead log, without waiting for anybody."""

    @abstractmethod
    def find_readers(self, engine: Engine) -> list[str]:
        """Find the other processes that read the database now."""

    @abstractmethod
    def find_blocker(self, connection: Connection, daemon_pid: int) -> str | None:
        """Find the process whose lock prevents the daemon from starting runs; return one line, or None."""

    def find_reader_warning(self) -> str | None:
        """Find a long-running reader that keeps the database from shrinking; return one line, or None."""
        return None

    def find_wide_modes(self) -> list[str]:
        """List the files that others than their owner can access, one line each."""
        return []

    def find_damage(self, _connection: Connection) -> list[str]:
        """List damage that the database itself should have prevented, one line each."""
        return []

    @abstractmethod
    def copy(self, engine: Engine, target: Path) -> None:
        """Copy the database into a new file.

        Raises:
            DatabaseUnusable: If that is impossible.
        """

    @abstractmethod
    def run_lock(self) -> RunLock:
        """Return the lock of a run or calibration, to be acquired before its row is written."""

    def is_deserted(self) -> bool:
        """Return whether certainly no process of this machine, in any container, holds the run lock."""
        return False

    @abstractmethod
    def daemon_lock(self, engine: Engine) -> DaemonLock:
        """Return the daemon's lock, not yet acquired; it is released when its process dies."""


@contextmanager
def _begin_writing(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        writing = connection.execution_options(runner_writes=True)
        with writing.begin():
            yield writing
