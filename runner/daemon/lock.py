"""One daemon per database, by a lock that is released when its holder dies."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runner.history.daemons import find_daemon
from runner.history.database import Database
from runner.measure.environment import describe_process, is_alive
from runner.model.errors import DaemonError

# How long to wait until the daemon that holds the lock has recorded itself.
_RECORD_TIMEOUT_S = 5.0
_POLL_S = 0.05


@contextmanager
def daemon_lock(database: Database) -> Iterator[Callable[[], None]]:
    """Acquire the lock of a database's daemon.

    Yields a check that the lock is still held: a server may be restarted, or the lock's file removed. It raises the
    same errors.

    Raises:
        DaemonError: If another process holds the lock.
        HistoryError: If the database can't be used.
    """
    lock = database.location.daemon_lock(database.engine)

    def hold() -> None:
        with database.translate_errors():
            deadline_s = time.monotonic() + _RECORD_TIMEOUT_S
            while not lock.hold():
                # Of two daemons that start at once, one holds the lock a moment before it is recorded.
                if other := _describe_other_daemon(database):
                    raise DaemonError(
                        f"a daemon is already running for {database.location}{other}; see `runner status`"
                    )
                if time.monotonic() > deadline_s:
                    holder = lock.find_holder() or "a process that can't be seen from here"
                    raise DaemonError(
                        f"the daemon's lock of {database.location} is held by {holder}, which is not a daemon that "
                        "the database knows; end that process"
                    )
                time.sleep(_POLL_S)

    try:
        hold()
        yield hold
    finally:
        lock.release()


def _describe_other_daemon(database: Database) -> str:
    """Return the recorded daemon in words; empty if it is this process, has stopped or is dead."""
    daemon = find_daemon(database)
    if daemon is None or daemon.owner == describe_process() or not is_alive(daemon.owner):
        return ""
    return f" (process {daemon.owner.pid} on {daemon.owner.host})"
