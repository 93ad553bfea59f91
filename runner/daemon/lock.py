"""One daemon per database, by a lock that is released when its holder dies."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runner.history.daemons import find_daemon
from runner.history.database import Database
from runner.measure.environment import describe_process, is_alive
from runner.model.errors import DaemonError

# How long the daemon that holds the lock may take to tell who it is, and how often it is looked whether it has.
_TELLS_S = 5.0
_LOOK_S = 0.05


@contextmanager
def held_daemon_lock(database: Database) -> Iterator[Callable[[], None]]:
    """Be the daemon of a database.

    Gives what makes sure that this process still is: a server may have been restarted, a lock's file removed. It raises
    what this does.

    Raises:
        DaemonError: If another process is.
        HistoryError: If that can't be told now.
    """
    lock = database.location.daemon_lock(database.engine)

    def hold() -> None:
        with database.translate_errors():
            give_up_s = time.monotonic() + _TELLS_S
            while not lock.hold():
                # Of two that start at once, the other holds the lock a moment before it is on record.
                if who := _who(database):
                    raise DaemonError(f"a daemon is already running for {database.location}{who}; see `runner status`")
                if time.monotonic() > give_up_s:
                    holder = lock.find_holder() or "a process that can't be seen from here"
                    raise DaemonError(
                        f"the daemon's lock of {database.location} is held by {holder}, which is not a daemon that "
                        "the database knows; end that process"
                    )
                time.sleep(_LOOK_S)

    try:
        hold()
        yield hold
    finally:
        lock.release()


def _who(database: Database) -> str:
    daemon = find_daemon(database)
    # One that has stopped or died is the last one, while the present one has not told yet; so is this process itself.
    if daemon is None or daemon.owner == describe_process() or not is_alive(daemon.owner):
        return ""
    return f" (process {daemon.owner.pid} on {daemon.owner.host})"
