"""The daily deletion of old runs."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from runner.daemon.guard import guarded
from runner.history.database import Database
from runner.history.prune import Pruned, Retention, prune
from runner.model.units import format_count

_log = logging.getLogger(__name__)

_INTERVAL_S = 24 * 60 * 60
_POLL_S = 0.2


def prune_daily(
    database: Database,
    retention: Callable[[], Callable[[datetime], Retention | None] | None],
    is_stopping: Callable[[], bool],
) -> None:
    """Delete the runs that the retention does not keep, now and once a day, until the daemon stops."""

    def delete() -> None:
        retention_at = retention()
        kept = retention_at(datetime.now(UTC)) if retention_at is not None else None
        pruned = prune(database, kept, stop=is_stopping) if kept is not None else Pruned()
        if pruned.runs:
            states = format_count(pruned.versions, "state of a file", "states of files")
            _log.info("deleted %s and %s", format_count(pruned.runs, "run"), states)

    next_s = time.monotonic()
    while not is_stopping():
        if time.monotonic() >= next_s:
            guarded(delete)
            next_s += _INTERVAL_S
        time.sleep(_POLL_S)
