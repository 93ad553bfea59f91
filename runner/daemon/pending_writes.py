"""Writes that must not be lost: postponed, in order, while the database is locked or unreachable."""

import logging
import threading
from collections import deque
from collections.abc import Callable

from runner.model.errors import HistoryError, reason_of
from runner.model.jobs import Job
from runner.model.subject import log_context

_log = logging.getLogger(__name__)

# Its argument is whether it was tried before: a lost server may have committed it without confirming.
Write = Callable[[bool], object]


class PendingWrites:
    """A queue of writes; used by all threads."""

    def __init__(self) -> None:
        self._writes: deque[tuple[Job, Write]] = deque()
        self._lock = threading.Lock()
        self._tried = False  # whether the oldest write was

    def add(self, job: Job, write: Write) -> None:
        """Add a write about a job."""
        self._writes.append((job, write))

    def write(self) -> None:
        """Write what is pending until the database refuses; one error is logged."""
        with self._lock:
            while self._writes:
                job, write = self._writes[0]
                with log_context(job.spec.name):
                    try:
                        write(self._tried)
                    except (HistoryError, OSError, MemoryError) as error:
                        self._tried = True
                        _log.error("%s", reason_of(error))
                        return
                self._tried = False
                self._writes.popleft()
