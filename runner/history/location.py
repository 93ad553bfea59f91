"""What the databases of every kind have in common."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Self

from sqlalchemy import Connection, Engine

from runner.history.locks import Lock
from runner.model.errors import NotWritable

# How long compacting waits for readers.
READERS_WAIT_MS = 1_000
# A writer of shorter duration is no blocker.
WRITES_FOR_S = 1.0
Rows = Sequence[tuple[Any, ...]]


class Location:
    """The address of a database and all that depends on its kind; ``str()`` names it without secrets.

    Transactions of its engines write if their connection has the option ``runner_writes``: then they exclude other
    writers from the beginning and are on the disk after the commit. Any other transaction sees one state of the
    database. Writers wait for another writer only until the option ``runner_gives_up`` returns true, and for any other
    lock at most ``runner_waits_s``. Statements that must not be in a transaction have ``runner_alone``.
    """

    # The reason why the database is not writable; empty if it is, or if that is unknown.
    read_only = ""

    def refuse_writing(self, but: str = "") -> None:
        """Raise NotWritable, with *but* behind the reason, if the database is known to be read-only."""
        if self.read_only:
            reason = f"{self.read_only}{but}"
            raise NotWritable(
                f"the database {self} is read-only: {reason}; make it writable, or choose another with --db"
            )

    def serves(self) -> bool:
        """Return whether it is a server, which may be down although its address is right."""
        return False

    def exists(self) -> bool:
        """Return whether there is a database; a missing file is created when it is opened."""
        return True

    def signature(self) -> object:
        """Return a value that changes when the database has to be opened again."""
        return None

    def check(self) -> Self:
        """Check, before anything is created, that this can be a database; return it as this process may use it."""
        return self

    def upgrade_lock(self) -> AbstractContextManager[None]:
        """Return the lock for schema upgrades; none where the writing transaction suffices."""
        return nullcontext()

    @contextmanager
    def migrating(self, engine: Engine, _revision: str | None, _newest: str) -> Iterator[Connection]:
        """Yield a connection in a transaction for migrations."""
        with engine.connect() as connection:
            writing = connection.execution_options(runner_writes=True)
            with writing.begin():
                yield writing

    def trim(self, _engine: Engine) -> None:
        """Truncate an oversized write-ahead log, without waiting for anybody."""

    def find_reader_warning(self) -> str | None:
        """Find a long-running reader that keeps the database from shrinking; return one line, or None."""
        return None

    def find_wide_modes(self) -> list[str]:
        """List the files that others than their owner can access, one line each."""
        return []

    def find_damage(self, _connection: Connection) -> list[str]:
        """List damage that the database itself should have prevented, one line each."""
        return []

    def run_lock(self) -> Lock:
        """Return the lock that each process shares while it executes runs, to be acquired before their rows."""
        return Lock()

    def is_deserted(self) -> bool:
        """Return whether certainly no process of this machine, in any container, holds the run lock."""
        return False
