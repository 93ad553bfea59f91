"""Writes that must not be lost: postponed, in order, while the database is locked or unreachable."""

import threading
from collections import deque
from collections.abc import Callable
from functools import partial

from runner.daemon.guard import guarded
from runner.model.jobs import Job

# Its argument is whether it was tried before: a lost server may have committed it without confirming.
Write = Callable[[bool], object]


class PendingWrites:
    """A queue of writes; used by all threads.

    Args:
        before_each: Called before each write, which may wait for the database.
    """

    def __init__(self, before_each: Callable[[], object]) -> None:
        self._before_each = before_each
        self._writes: deque[tuple[Job, str, Write]] = deque()
        self._lock = threading.Lock()
        self._tried = False  # whether the oldest write was

    def add(self, job: Job, what: str, write: Write) -> None:
        """Add a write about a job; *what* it records is logged if it is lost by a defect."""
        self._writes.append((job, what, write))

    def write(self) -> None:
        """Write what is pending until the database refuses; one error is logged.

        A write that meets a defect is dropped: it would meet it again, and the others would wait for ever.
        """
        with self._lock:
            while self._writes:
                self._before_each()
                job, what, write = self._writes[0]
                self._tried = not guarded(partial(write, self._tried), job, defect=f"not recorded: {what}")
                if self._tried:
                    return
                self._writes.popleft()
