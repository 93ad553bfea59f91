"""Locks on a PostgreSQL server."""

from contextlib import suppress

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

# Advisory locks belong to a database, so the second number separates the histories of its schemas.
DAEMON_CLASS, WRITES_CLASS = (int.from_bytes(name, "big") for name in (b"rund", b"runw"))
_DAEMON_LOCK, WRITES_LOCK = (f"({class_}, hashtext(current_schema()))" for class_ in (DAEMON_CLASS, WRITES_CLASS))


def find_holders(connection: Connection, class_: int, since_s: float = 0.0) -> str:
    """Find the other sessions that hold a lock, such as ``process 123 (name)``; empty if there is none.

    Args:
        connection: A connection to the server.
        class_: The first number of the lock.
        since_s: The minimum duration of their transactions.
    """
    rows = connection.exec_driver_sql(
        "SELECT DISTINCT pid, coalesce(nullif(application_name, ''), 'unknown') "
        "FROM pg_locks JOIN pg_stat_activity USING (pid) "
        "WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid() AND datname = current_database() "
        "AND classid = %s::oid AND objid::bigint = hashtext(current_schema())::bigint & 4294967295 "
        "AND coalesce(xact_start < clock_timestamp() - make_interval(secs => %s), true) ORDER BY pid",
        (class_, since_s),
    )
    return ", ".join(f"process {pid} ({name})" for pid, name in rows)


class NoLock:
    """A run lock that locks nothing."""

    def hold(self) -> None:
        """Return at once."""

    def release(self) -> None:
        """Return at once."""


class SessionLock:
    """The daemon's lock: an advisory lock on its own connection, released when that ends."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    def hold(self) -> bool:
        """Acquire the lock or check that it is still held, because a restarted server has lost it.

        Returns:
            False if another process has it.
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
        connection.detach()  # in the pool it would keep the lock
        if connection.exec_driver_sql(f"SELECT pg_try_advisory_lock{_DAEMON_LOCK}").scalar_one():
            return True
        self.release()
        return False

    def release(self) -> None:
        """Release the lock."""
        if self._connection is not None:
            with suppress(DBAPIError):  # it is lost, and so is the lock
                self._connection.close()
            self._connection = None

    def find_holder(self) -> str:
        """Find the other session that holds the lock, such as ``process 123 (name)``; empty if there is none."""
        with self._engine.connect() as connection, connection.begin():
            return find_holders(connection, DAEMON_CLASS)
