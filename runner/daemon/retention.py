"""Forgetting old runs once a day, beside the firing."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from runner.history.database import Database
from runner.history.prune import Pruned, Retention, prune
from runner.model.units import format_count

_log = logging.getLogger(__name__)

_EVERY_S = 24 * 60 * 60
# How often it is looked whether the daemon stops.
_LOOK_S = 0.2


def forget_daily(
    database: Database,
    retention: Callable[[datetime], Retention | None],
    guarded: Callable[[Callable[[], None]], None],
    stopping: Callable[[], bool],
) -> None:
    """Forget what is not to be kept, now and once a day, until the daemon stops; the room is used again.

    Args:
        database: Where the runs are.
        retention: Tells what is kept at an instant; None when nothing is to be forgotten.
        guarded: Carries something out that must not end the daemon.
        stopping: Tells whether to stop.
    """

    def forget() -> None:
        kept = retention(datetime.now(UTC))
        pruned = prune(database, kept, stop=stopping) if kept is not None else Pruned()
        if pruned.runs:
            states = format_count(pruned.versions, "state of a file", "states of files")
            _log.info("forgot %s and %s", format_count(pruned.runs, "run"), states)

    next_at = time.monotonic()
    while not stopping():
        if time.monotonic() >= next_at:
            guarded(forget)
            next_at += _EVERY_S
        time.sleep(_LOOK_S)
