"""The revision of a history: a text that changes with everything that an answer may contain."""

from datetime import datetime
from hashlib import blake2b

from sqlalchemy import func, select

from runner.history import daemons
from runner.history.database import Reader
from runner.history.tables import acknowledgements, calibrations, firings, notifications, runs, state
from runner.model.runs import Status


def find_revision(database: Reader, now: datetime) -> str:
    """Return the revision, in time independent of the size of the history."""
    with database.read() as connection:
        queries = (
            select(state.c.jobs_revision),
            select(func.max(runs.c.id)),
            select(func.min(runs.c.id)),  # of a prune
            select(runs.c.id, runs.c.cancel_requested_at).where(runs.c.status == Status.RUNNING.value),
            select(func.max(notifications.c.id)),
            select(func.max(firings.c.id), func.count(firings.c.id)),
            select(func.max(calibrations.c.id)),
            select(calibrations.c.id).where(calibrations.c.owner_pid.is_not(None)),
            select(func.max(acknowledgements.c.acknowledged_at)),
        )
        parts = [list(map(tuple, connection.execute(query))) for query in queries]
    daemon = daemons.find_daemon(database)
    liveness = daemon and (daemon.started_at, daemons.state_of(daemon, now))
    return blake2b(repr((parts, liveness)).encode(), digest_size=12).hexdigest()
