"""The daemon's lock on a PostgreSQL server, and what stands for the lock of runs there."""

from contextlib import suppress

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

# Advisory locks belong to a database; histories in several of its schemas do not disturb each other.
_DAEMON_LOCK = "({}, hashtext(current_schema()))".format(int.from_bytes(b"rund", "big"))


class NoLock:
    """Stands for a lock."""

    def hold(self) -> None:
        """Do nothing."""

    def release(self) -> None:
        """Do nothing."""


class SessionLock:
    """An advisory lock on a connection of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    def hold(self) -> bool:
        """Take it, or make sure that it is still held: a server that was restarted has forgotten it.

        Returns:
            Whether it is; if not, another process has it.
        """
        if self._connection is not None:
            try:
                self._connection.exec_driver_sql("SELECT 1")
            except DBAPIError:
                self.release()
            else:
                return True
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT", runner_alone=True)
        self._connection = connection
        connection.detach()  # back in the pool, it would hold the lock for nobody
        if connection.exec_driver_sql(f"SELECT pg_try_advisory_lock{_DAEMON_LOCK}").scalar_one():
            return True
        self.release()
        return False

    def release(self) -> None:
        """Let go of it."""
        if self._connection is not None:
            with suppress(DBAPIError):  # it is gone, and the lock with it
                self._connection.close()
            self._connection = None
