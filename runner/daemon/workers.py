"""The threads that carry out what is due, one firing of a job at a time."""

import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from runner.model.jobs import Job
from runner.model.runs import Cause, Run

# How often a run that is to end at once is looked for, and how long it may take.
_LOOK_S = 0.1
_AT_ONCE_S = 3.0


@dataclass(slots=True, eq=False)
class Firing:
    """What a job owes: a run, or several to make up for missed ones.

    Attributes:
        job: The job as it was when they became due.
        cause: Why they run.
        times: Their fire times.
        failed: The run of which this is the next attempt; None for a first one.
        postponed: Whether it has met a run by hand, and waited for it.
        taken: Whether a worker has taken it up.
        begun: Whether the first of them has its row in the history.
        overlapped: Fire times that passed before that. They get their rows after it: what is recorded reaches up to
            a job's last fire time, so a row of theirs would hide that this firing never began, if the daemon died.
        following: What makes up for fire times that were missed meanwhile.
    """

    job: Job
    cause: Cause
    times: Sequence[datetime]
    failed: Run | None = None
    postponed: bool = False
    taken: bool = False
    begun: bool = False
    overlapped: list[datetime] = field(default_factory=list)
    following: list["Firing"] = field(default_factory=list)

    @property
    def attempt(self) -> int:
        """1, or more for a retry."""
        return 1 if self.failed is None else self.failed.attempt + 1


class Workers:
    """Carries out firings in the order in which they became due, and never two of one job at once.

    Args:
        carry_out: Carries out a firing's run for one of its fire times; must not raise.
        skip: Records that a fire time of a job passed for a reason; must not raise.
    """

    def __init__(
        self, carry_out: Callable[[Firing, datetime], None], skip: Callable[[Job, datetime, str], None]
    ) -> None:
        self._carry_out = carry_out
        self._skip = skip
        # What is to be run or done; None ends one thread.
        self._waiting: queue.SimpleQueue[Firing | Callable[[], None] | None] = queue.SimpleQueue()
        self._under_way: dict[int, Firing] = {}
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._wanted = 0
        self._stopping = False

    def resize(self, wanted: int) -> None:
        """Let so many runs go on at the same time from now on; what is going on is not ended for it."""
        while self._wanted < wanted:
            # One that is left behind must not keep the process from ending.
            thread = threading.Thread(target=self._work, name="worker", daemon=True)
            thread.start()  # which may fail: then so many as there are go on
            self._threads.append(thread)
            self._wanted += 1
        while self._wanted > wanted:
            self._waiting.put(None)
            self._wanted -= 1

    def close(self) -> None:
        """Begin nothing more."""
        self._stopping = True

    def stop(self, at_once: Callable[[], bool] = bool) -> bool:
        """Begin nothing more, and wait until what is going on has ended.

        Args:
            at_once: Asked several times a second whether that is to end at once, however it stands.

        Returns:
            Whether it has ended; if not, it is left as it is.
        """
        self.close()
        self.resize(0)
        left_at_s = math.inf
        while running := [thread for thread in self._threads if thread.is_alive()]:
            if left_at_s == math.inf and at_once():
                left_at_s = time.monotonic() + _AT_ONCE_S
            if time.monotonic() >= left_at_s:
                return False
            running[0].join(_LOOK_S)
        return True

    def begin_with(self, errand: Callable[[], None]) -> None:
        """Let something be done before what is handed over later; it must not raise."""
        self._waiting.put(errand)

    def hand_over(self, firing: Firing) -> bool:
        """Let a firing be carried out, unless one of its job is already.

        What makes up for missed fire times waits until that one has ended: they have their record, which says so. A
        retry that still waits for a worker is made no more when its job fires, as that is its next attempt.

        Returns:
            Whether that was seen to; if not, it is a retry, which has its record too and can be handed over later.
        """
        with self._lock:
            earlier = self._under_way.setdefault(firing.job.job_id, firing)
            if earlier is firing:
                self._waiting.put(firing)
                return True
            if firing.failed is not None:
                return False
            if firing.cause is Cause.CATCHUP:
                earlier.following.append(firing)
                return True
            if earlier.failed is not None and not earlier.taken:
                firing.following = earlier.following
                self._under_way[firing.job.job_id] = firing
                return True
            if not earlier.begun:
                earlier.overlapped += firing.times
                return True
        for at in firing.times:
            self._skip(firing.job, at, "its last run was still going")
        return True

    def names(self) -> list[str]:
        """Give the names of the jobs that run, or wait for a worker."""
        with self._lock:
            return [firing.job.spec.name for firing in self._under_way.values()]

    def is_under_way(self, job_id: int) -> bool:
        """Whether a firing of a job waits or is carried out; another one comes only by :meth:`hand_over`."""
        with self._lock:
            return job_id in self._under_way

    def unbegun(self) -> dict[int, datetime]:
        """Give for each job of which a firing has yet to begin the last of its fire times that wait for that."""
        with self._lock:
            return {
                job_id: max([*firing.times, *firing.overlapped])
                for job_id, firing in self._under_way.items()
                if not firing.begun
            }

    def note_begun(self, firing: Firing) -> None:
        """Give the fire times that passed while a firing waited for other runs their rows."""
        with self._lock:
            firing.begun = True
            overlapped, firing.overlapped = firing.overlapped, []
        for at in overlapped:
            self._skip(firing.job, at, "the firing before it still waited for other runs")

    def _work(self) -> None:
        while (due := self._waiting.get()) is not None:
            if isinstance(due, Firing):
                self._fire(due.job.job_id)
            elif not self._stopping:
                due()

    def _fire(self, job_id: int) -> None:
        with self._lock:
            firing = self._under_way[job_id]
            firing.taken = True
        for at in firing.times:
            # What never begins for that is recorded as missed by the next daemon.
            if not self._stopping:
                self._carry_out(firing, at)
        if not self._stopping:
            self.note_begun(firing)
        with self._lock:
            del self._under_way[job_id]
            if firing.following:  # at once, or what is handed over meanwhile would be in their way
                following, *others = firing.following
                following.following += others
                self._under_way[job_id] = following
                self._waiting.put(following)
