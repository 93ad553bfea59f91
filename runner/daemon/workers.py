"""The worker threads: they run what is due, one firing of a job at a time."""

import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from runner.daemon.guard import guarded
from runner.daemon.shutdown import Shutdown
from runner.model.jobs import Job
from runner.model.runs import Cause, Run

# How often to check for an immediate stop, and how long it may take.
_POLL_S = 0.1
_IMMEDIATE_STOP_S = 3.0


@dataclass(slots=True, eq=False)
class Firing:
    """A due run of a job, or several catch-up runs.

    Attributes:
        job: The job at the time of submission.
        cause: Why it runs.
        times: The fire times.
        failed: For a retry, the run of the previous attempt.
        postponed: Whether it was postponed because of a manual run.
        claimed: Whether a worker has claimed it.
        running: Whether its first run is recorded.
        skipped: Fire times that passed before that, recorded as skipped once it is running. Earlier, their records
            would hide that this firing never started, if the daemon died: a job has a record up to its last fire time.
        catch_up: Catch-up firings to run next.
    """

    job: Job
    cause: Cause
    times: Sequence[datetime]
    failed: Run | None = None
    postponed: bool = False
    claimed: bool = False
    running: bool = False
    skipped: list[datetime] = field(default_factory=list)
    catch_up: list["Firing"] = field(default_factory=list)

    @property
    def attempt(self) -> int:
        """The number of the attempt, from 1."""
        return 1 if self.failed is None else self.failed.attempt + 1


class Workers:
    """Runs firings in the order of submission, and never two of one job at once.

    Args:
        run: Runs a firing for one of its fire times and calls its last argument once the run is recorded.
        record_skipped: Records a fire time of a job as skipped, with the reason.
        shutdown: After its request nothing starts; what never starts is recorded as missed by the next daemon.
    """

    def __init__(
        self,
        run: Callable[[Firing, datetime, Callable[[], None]], None],
        record_skipped: Callable[[Job, datetime, str], None],
        shutdown: Shutdown,
    ) -> None:
        self._run = run
        self._record_skipped = record_skipped
        self._shutdown = shutdown
        # Firings and other actions; None ends a thread.
        self._queue: queue.SimpleQueue[Firing | Callable[[], None] | None] = queue.SimpleQueue()
        self._active: dict[int, Firing] = {}
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._size = 0

    def resize(self, size: int) -> None:
        """Set the number of concurrent runs; running runs are not ended."""
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
        """Wait until the running runs have ended; return whether they have, as an immediate stop is limited."""
        self.resize(0)
        deadline_s = math.inf
        while running := [thread for thread in self._threads if thread.is_alive()]:
            if deadline_s == math.inf and self._shutdown.immediate:
                deadline_s = time.monotonic() + _IMMEDIATE_STOP_S
            if time.monotonic() >= deadline_s:
                return False
            running[0].join(_POLL_S)
        return True

    def submit_action(self, action: Callable[[], None], job: Job) -> None:
        """Submit another action for a job, executed before firings that are submitted later."""
        self._queue.put(partial(guarded, action, job))

    def submit(self, firing: Firing) -> bool:
        """Submit a firing; if another one of its job is active, queue catch-up runs and skip other fire times.

        A retry that no worker has claimed is replaced by the job's next firing, which counts as the next attempt.

        Returns:
            False for a retry whose job is active: submit it again later.
        """
        with self._lock:
            active = self._active.setdefault(firing.job.job_id, firing)
            if active is firing:
                self._queue.put(firing)
                return True
            if firing.failed is not None:
                return False
            if firing.cause is Cause.CATCHUP:
                active.catch_up.append(firing)
                return True
            if active.failed is not None and not active.claimed:
                firing.catch_up = active.catch_up
                self._active[firing.job.job_id] = firing
                return True
            if not active.running:
                active.skipped += firing.times
                return True
        self._skip(firing.job, firing.times, "the previous run was still running")
        return True

    def active_jobs(self) -> list[str]:
        """Return the names of the jobs that run or wait for a worker."""
        with self._lock:
            return [firing.job.spec.name for firing in self._active.values()]

    def is_active(self, job_id: int) -> bool:
        """Return whether a firing of a job runs or waits for a worker; :meth:`submit` alone changes False to True."""
        with self._lock:
            return job_id in self._active

    def last_pending_times(self) -> dict[int, datetime]:
        """Return, by job number, the last fire time of each firing that has no recorded run yet."""
        with self._lock:
            return {
                job_id: max([*firing.times, *firing.skipped])
                for job_id, firing in self._active.items()
                if not firing.running
            }

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            if isinstance(item, Firing):
                self._run_job(item.job.job_id)
            elif not self._shutdown.is_requested():
                item()

    def _run_job(self, job_id: int) -> None:
        with self._lock:
            firing = self._active[job_id]  # a retry may have been replaced
            firing.claimed = True
        set_running = partial(self._set_running, firing)
        for at in firing.times:
            if not self._shutdown.is_requested():
                guarded(partial(self._run, firing, at, set_running), firing.job)
        if not self._shutdown.is_requested():
            set_running()
        with self._lock:
            del self._active[job_id]
            if firing.catch_up:  # under the same lock, or another firing could come first
                following, *others = firing.catch_up
                following.catch_up += others
                self._active[job_id] = following
                self._queue.put(following)

    def _set_running(self, firing: Firing) -> None:
        with self._lock:
            firing.running = True
            skipped, firing.skipped = firing.skipped, []
        self._skip(firing.job, skipped, "the previous firing was still waiting for other runs")

    def _skip(self, job: Job, times: Sequence[datetime], reason: str) -> None:
        for at in times:
            guarded(partial(self._record_skipped, job, at, reason), job)
