"""What could not be written into the history yet: kept in order until it can be."""

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
from runner.model.subject import log_context

_log = logging.getLogger(__name__)


class Unwritten:
    """Writes into a history what must not be lost when that can't be written for a while, for any thread.

    Args:
        database: Where the history is.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        # What is still to be written, in order, and the jobs' names.
        self._writes: deque[tuple[str, Callable[[], object]]] = deque()
        self._writing = threading.Lock()

    def is_empty(self) -> bool:
        """Whether all there was has been written."""
        return not self._writes

    def record(self, job: Job, **row: Any) -> None:
        """Write what did not happen, now or as soon as that can be written; see ``record_not_run``."""
        tries, clock = count(), partial(datetime.now, UTC)
        self.keep(job, lambda: record_not_run(self._database, job, **row, again=next(tries) > 0, clock=clock))
        self.write_down()

    def keep(self, job: Job, write: Callable[[], object]) -> None:
        """Keep what has just failed to be written about a job, and may be written twice."""
        self._writes.append((job.spec.name, write))

    def write_down(self) -> None:
        """Write what there is, as far as that is possible now; what keeps it from that is said once."""
        with self._writing:
            while self._writes:
                name, write = self._writes[0]
                try:
                    write()
                except (HistoryError, OSError, MemoryError) as error:
                    with log_context(name):
                        _log.error("%s", reason_of(error))
                    return
                self._writes.popleft()
