"""The revision of a history: a text that changes with everything that an answer may contain."""

from datetime import datetime
from hashlib import blake2b

from sqlalchemy import func, select

from runner.history import daemons
from runner.history.database import Reader
from runner.history.tables import IS_RUNNING, acknowledgements, calibrations, firings, notifications, runs, state

# One statement, prepared once, as every visible page asks every two seconds.
_PARTS = select(
    *(
        part.scalar_subquery()
        for part in (
            select(state.c.jobs_revision),
            select(func.max(runs.c.id)),
            select(func.min(runs.c.id)),  # of a prune
            select(func.count(runs.c.id)).where(IS_RUNNING),
            select(func.count(runs.c.cancel_requested_at)).where(IS_RUNNING),
            select(func.max(runs.c.cancel_requested_at)).where(IS_RUNNING),
            select(func.max(notifications.c.id)),
            select(func.max(firings.c.id)),
            select(func.count(firings.c.id)),
            select(func.max(calibrations.c.id)),
            select(func.count(calibrations.c.owner_pid)),  # of running ones
            select(func.max(acknowledgements.c.acknowledged_at)),
        )
    )
)


def find_revision(database: Reader, now: datetime) -> str:
    """Return the revision, in time independent of the size of the history."""
    with database.read() as connection:
        parts = tuple(connection.execute(_PARTS).one())
    daemon = daemons.find_daemon(database)
    liveness = daemon and (daemon.started_at, daemons.state_of(daemon, now))
    return blake2b(repr((parts, liveness)).encode(), digest_size=12).hexdigest()
