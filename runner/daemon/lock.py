"""One daemon per database, by a lock that is released when its holder dies."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runner.history.daemons import find_daemon
from runner.history.database import Database
from runner.measure.environment import is_alive
from runner.model.errors import DaemonError


@contextmanager
def held_daemon_lock(database: Database) -> Iterator[Callable[[], None]]:
    """Be the daemon of a database.

    Gives what makes sure that this process still is: a server may have been restarted. It raises what this does.

    Raises:
        DaemonError: If another process is.
        HistoryError: If that can't be told now.
    """
    lock = database.location.daemon_lock(database.engine)

    def hold() -> None:
        with database.explaining():
            if not lock.hold():
                raise DaemonError(
                    f"a daemon is already running for {database.location}{_who(database)}; see `runner status`"
                )

    try:
        hold()
        yield hold
    finally:
        lock.release()


def _who(database: Database) -> str:
    daemon = find_daemon(database)
    # One that has stopped or died is the last one, while the present one has not told yet.
    return f" (process {daemon.owner.pid} on {daemon.owner.host})" if daemon and is_alive(daemon.owner) else ""
