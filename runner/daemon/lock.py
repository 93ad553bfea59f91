"""One daemon per database, by a lock that the kernel releases when its holder dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from runner.history.daemons import find_daemon
from runner.history.database import Database
from runner.measure.environment import is_alive
from runner.model.errors import DaemonError


@contextmanager
def held_daemon_lock(database: Database) -> Iterator[None]:
    """Be the daemon of a database, by whatever links it is reached.

    The lock is a file of its own beside the database. It is never removed: a daemon that had opened the old file and
    one that made a new one would both hold a lock.

    Raises:
        DaemonError: If another process is.
    """
    path = database.location.path
    assert path is not None  # noqa: S101  SQLite has a file
    path = path.resolve()
    try:
        fd = os.open(path.with_name(path.name + ".daemon.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise DaemonError(f"the daemon's lock beside {path} can't be made: {error.strerror}") from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DaemonError(f"a daemon is already running for {path}{_who(database)}; see `runner status`") from None
        yield
    finally:
        os.close(fd)


def _who(database: Database) -> str:
    daemon = find_daemon(database)
    # One that has stopped or died is the last one, while the present one has not told yet.
    return f" (process {daemon.owner.pid} on {daemon.owner.host})" if daemon and is_alive(daemon.owner) else ""
