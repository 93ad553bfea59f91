"""The worker threads: they run firings and notifications in the order of submission."""

import math
import queue
import threading
import time
from collections.abc import Callable

from runner.daemon.guard import guarded
from runner.daemon.shutdown import Shutdown
from runner.model.jobs import Job
from runner.model.units import format_count

# How often to check for an immediate stop, and how long it may take.
_POLL_S = 0.1
_IMMEDIATE_STOP_S = 3.0


class Workers:
    """A pool of threads, whose size may change.

    Args:
        shutdown: After its request nothing starts.
        on_idle: Called on a worker thread after each action.
    """

    def __init__(self, shutdown: Shutdown, on_idle: Callable[[], None]) -> None:
        self._shutdown = shutdown
        self._on_idle = on_idle
        # None ends a thread.
        self._queue: queue.SimpleQueue[tuple[Job, Callable[[], None], bool] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._size = 0
        self._unfinished = 0
        self._active: dict[int, Job] = {}

    def resize(self, size: int) -> None:
        """Set the number of threads; running actions are not ended."""
        while self._size < size:
            # A daemon thread: one that hangs must not keep the process from ending.
            thread = threading.Thread(target=self._work, name="worker", daemon=True)
            thread.start()  # if this fails, the threads so far continue
            self._threads.append(thread)
            self._size += 1
        while self._size > size:
            self._queue.put(None)
            self._size -= 1

    def stop(self) -> bool:
        """Wait until the running actions have ended; return whether they have, as an immediate stop is limited."""
        self.resize(0)
        deadline_s = math.inf
        while running := [thread for thread in self._threads if thread.is_alive()]:
            if deadline_s == math.inf and self._shutdown.immediate:
                deadline_s = time.monotonic() + _IMMEDIATE_STOP_S
            if time.monotonic() >= deadline_s:
                return False
            running[0].join(_POLL_S)
        return True

    def submit(self, job: Job, action: Callable[[], None], *, runs: bool = False) -> None:
        """Submit an action for a job, which is active until its end if the action *runs* it."""
        with self._lock:
            self._unfinished += 1
            if runs:
                self._active[job.job_id] = job
        self._queue.put((job, action, runs))

    def has_idle(self) -> bool:
        """Return whether a thread has nothing to do."""
        with self._lock:
            return self._unfinished < self._size

    def active_jobs(self) -> dict[int, Job]:
        """Return the active jobs by number."""
        with self._lock:
            return dict(self._active)

    def describe(self) -> str:
        """Return a line on the active jobs."""
        names = [job.spec.name for job in self.active_jobs().values()]
        running = f"{format_count(len(names), 'run')} running: {', '.join(names[:5])}"
        return running if names else "waiting for the next fire time"

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            job, action, runs = item
            if not self._shutdown.is_requested():
                guarded(action, job)
            with self._lock:
                self._unfinished -= 1
                if runs:
                    del self._active[job.job_id]
            self._on_idle()
