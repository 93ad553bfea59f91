"""Writes postponed while the database is locked or unreachable, kept in order."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import Any

from runner.history.database import Database
from runner.history.recording import record_not_run
from runner.model.errors import HistoryError, reason_of
from runner.model.jobs import Job
from runner.model.runs import Status
from runner.model.subject import log_context
from runner.model.units import format_instant

_log = logging.getLogger(__name__)


class PendingWrites:
    """Writes that must not be lost; used by all threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._writes: deque[tuple[str, Callable[[], object]]] = deque()
        self._lock = threading.Lock()

    def is_empty(self) -> bool:
        """Return whether nothing is pending."""
        return not self._writes

    def record(self, job: Job, **row: Any) -> None:
        """Record a missed or skipped firing, now or as soon as possible; see ``record_not_run``."""
        tries, clock = count(), partial(datetime.now, UTC)
        self.add(job, lambda: record_not_run(self._database, job, **row, again=next(tries) > 0, clock=clock))
        self.write()

    def record_skipped(self, job: Job, at: datetime, message: str) -> None:
        """Record a skipped firing."""
        self.record(job, status=Status.SKIPPED, scheduled_at=at, now=datetime.now(UTC), message=message)
        _log.warning("the firing at %s was skipped: %s", format_instant(at), message)

    def add(self, job: Job, write: Callable[[], object]) -> None:
        """Add a write about a job, which may be executed twice."""
        self._writes.append((job.spec.name, write))

    def write(self) -> None:
        """Write what is pending until the database refuses; one error is logged."""
        with self._lock:
            while self._writes:
                name, write = self._writes[0]
                try:
                    write()
                except (HistoryError, OSError, MemoryError) as error:
                    with log_context(name):
                        _log.error("%s", reason_of(error))
                    return
                self._writes.popleft()
