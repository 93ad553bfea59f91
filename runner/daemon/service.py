"""The daemon: one loop that follows the jobs table and hands due jobs to the worker, until it is told to stop."""

import logging
import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import takewhile
from types import FrameType

from runner.daemon.lock import held_daemon_lock
from runner.daemon.retention import forget_daily
from runner.daemon.scheduler import Timetable
from runner.history.daemons import accounted_until, find_daemon, record_daemon, record_heartbeat
from runner.history.database import Database
from runner.history.jobs import jobs_revision, list_jobs
from runner.history.prune import Retention
from runner.history.runs import Busy, get_run, record_not_run
from runner.measure.environment import describe_process
from runner.model.errors import DaemonError, HistoryError
from runner.model.jobs import Catchup, Job
from runner.model.runs import Cause, Owner, Status
from runner.model.units import format_instant, format_seconds
from runner.runs.firing import Stopped, Watching, fire, recover
from runner.schedules.firing import count_fire_times, fire_times, last_fire_time, next_fire_time

_log = logging.getLogger(__name__)

# How often the jobs table's revision is read, and how often a sign of life is written.
_FOLLOW_S = 1.0
_HEARTBEAT_S = 10.0
# How long a run may go on after the daemon was told to stop.
_GRACE_S = 5.0
# A firing that comes later than this is treated as missed, and so is a clock set back by more followed.
_LATE_S = 60.0
# Fire times are whole microseconds.
_TICK = timedelta(microseconds=1)
# The most runs that --catchup all makes up for.
_MAX_CATCHUP = 100


@dataclass(slots=True, eq=False)
class _Firing:
    """What a job owes: a run, or several to make up for missed ones.

    Attributes:
        job: The job as it was when they became due.
        cause: Why they run.
        times: Their fire times.
        begun: Whether the first of them has its row in the history.
        overlapped: Fire times that passed before that. They get their rows after it: what is recorded reaches up to
            a job's last fire time, so a row of theirs would hide that this firing never began, if the daemon died.
    """

    job: Job
    cause: Cause
    times: Sequence[datetime]
    begun: bool = False
    overlapped: list[datetime] = field(default_factory=list)


class Daemon:
    """The scheduler of one database, in the foreground.

    Args:
        database: Where its jobs and their history are.
        start_method: How pool workers are started.
        at_once: How many runs may go on at the same time.
        retention: Tells which runs are kept at an instant; None when nothing is ever forgotten.
    """

    def __init__(
        self,
        database: Database,
        *,
        start_method: str,
        at_once: int,
        retention: Callable[[datetime], Retention] | None = None,
    ) -> None:
        self._database = database
        self._start_method = start_method
        self._at_once = at_once
        self._retention = retention
        # What is due, from the scheduler's thread; None only wakes the loop.
        self._inbox: queue.SimpleQueue[tuple[int, datetime, datetime] | None] = queue.SimpleQueue()
        # What is to be run, for the workers; None ends one.
        self._outbox: queue.SimpleQueue[_Firing | None] = queue.SimpleQueue()
        self._timetable = Timetable(lambda job_id, first, last: self._inbox.put((job_id, first, last)))
        self._under_way: dict[int, _Firing] = {}
        self._lock = threading.Lock()
        self._stopping_since: float | None = None
        self._stopping_by = ""
        self._at_once_now = False
        self._owner = describe_process()
        self._revision = -1
        self._clock_offset_s = _clock_offset_s()

    def run(self) -> None:
        """Fire what is due until SIGTERM or SIGINT, which are this process's from then on.

        Raises:
            DaemonError: If the database has a daemon already, or gets another one while its server is restarted.
        """
        with held_daemon_lock(self._database) as hold:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._on_signal)
            before = find_daemon(self._database)
            record_daemon(self._database, self._owner, datetime.now(UTC))
            workers = [threading.Thread(target=self._work, name=f"worker-{i}") for i in range(self._at_once)]
            if (retention := self._retention) is not None:
                forgetting = partial(forget_daily, self._database, retention, self._guarded, self._is_stopping)
                workers.append(threading.Thread(target=forgetting, name="retention"))
            try:
                self._begin(before.owner if before is not None else None)
                for worker in workers:
                    worker.start()
                self._timetable.start()
                self._loop(hold)
                _log.info("%s: stopping; a second signal ends a running run at once", self._stopping_by)
            finally:
                # However it ends: a worker that was not told would go on for ever, and the process with it.
                self._stop_by("an error")
                self._timetable.stop()
                for _ in workers:
                    self._outbox.put(None)
                for worker in workers:
                    if worker.ident is not None:
                        worker.join()
                self._guarded(lambda: record_heartbeat(self._database, self._owner, datetime.now(UTC), stopped=True))
            _log.info("stopped")

    def _begin(self, before: Owner | None) -> None:
        # The daemon before this one is gone even if it ran on another machine: its lock was free.
        for run_id in recover(self._database, gone=before):
            _log.warning("run %d was interrupted: its process is gone", run_id)
        now = datetime.now(UTC)
        self._revision = jobs_revision(self._database)
        jobs = list_jobs(self._database)
        accounted = accounted_until(self._database)
        for job in jobs:
            if not job.spec.paused:
                since = max(job.armed_at, accounted.get(job.job_id, job.armed_at))
                self._catch_up(job, since, now, "no daemon ran")
        self._timetable.follow(jobs, lambda _job: now)
        _log.info("started: %d jobs in %s", len(jobs), self._database.location)

    def _catch_up(self, job: Job, since: datetime, until: datetime, why: str) -> None:
        """Record the fire times with since < time <= until as one missed row, and make up for them as the job says."""
        schedule = job.spec.schedule
        if schedule is None:
            return
        missed = count_fire_times(schedule, job.job_id, since, until)
        first = next_fire_time(schedule, job.job_id, since)
        if not missed or first is None:
            return
        message = f"{missed} fire times passed while {why}" if missed > 1 else why
        # The row stands for all fire times up to when it says it was written.
        record_not_run(
            self._database, job, status=Status.MISSED, scheduled_at=first, now=until, message=message, missed=missed
        )
        _log.warning("%s: %s", job.spec.name, message)
        if job.spec.catchup is Catchup.NONE:
            return
        if job.spec.catchup is Catchup.ALL and missed <= _MAX_CATCHUP:
            times = list(takewhile(lambda at: at <= until, fire_times(schedule, job.job_id, since)))
        else:
            last = last_fire_time(schedule, job.job_id, since, until)
            times = [last] if last is not None else []
        self._hand_over(_Firing(job, Cause.CATCHUP, times))

    def _loop(self, hold: Callable[[], None]) -> None:
        next_follow = next_heartbeat = time.monotonic()
        while self._stopping_since is None:
            now = time.monotonic()
            if now >= next_heartbeat:
                self._guarded(lambda: record_heartbeat(self._database, self._owner, datetime.now(UTC)))
                self._guarded(self._follow_clock)
                next_heartbeat = now + _HEARTBEAT_S
            if now >= next_follow:
                self._guarded(hold)
                self._guarded(self._follow)
                next_follow = now + _FOLLOW_S
            if not self._timetable.is_alive():
                raise RuntimeError("the scheduler's thread has ended")
            try:
                due = self._inbox.get(timeout=max(0.0, next_follow - time.monotonic()))
            except queue.Empty:
                continue
            if due is not None:
                job_id, first, last = due
                self._guarded(lambda job_id=job_id, first=first, last=last: self._dispatch(job_id, first, last))  # type: ignore[misc]

    def _follow(self) -> None:
        revision = jobs_revision(self._database)
        if revision != self._revision:
            accounted = accounted_until(self._database)
            self._timetable.follow(
                list_jobs(self._database), lambda job: max(job.armed_at, accounted.get(job.job_id, job.armed_at))
            )
            self._revision = revision

    def _follow_clock(self) -> None:
        """Look at the clock, by which the scheduler fires but does not wait: it may have been set, or have slept."""
        offset_s, before_s = _clock_offset_s(), self._clock_offset_s
        self._clock_offset_s = offset_s
        if offset_s < before_s - _LATE_S:
            # What has fired already would else come next when the clock has caught up with it.
            _log.warning(
                "the clock was set back by %s; jobs fire by it from now on", format_seconds(before_s - offset_s)
            )
            now = datetime.now(UTC)
            self._timetable.follow([], lambda _job: now)
            self._timetable.follow(list_jobs(self._database), lambda _job: now)
        self._timetable.wake()

    def _dispatch(self, job_id: int, first: datetime, last: datetime) -> None:
        """Hand a due job to the workers, or record why it can't run."""
        job = self._timetable.find_job(job_id)
        if job is None:  # removed or paused since it became due
            return
        if first < last or datetime.now(UTC) - last > timedelta(seconds=_LATE_S):
            self._catch_up(job, first - _TICK, last, "the machine or the daemon was held up")
        else:
            self._hand_over(_Firing(job, Cause.SCHEDULE, [last]))

    def _hand_over(self, firing: _Firing) -> None:
        """Give a firing to the workers, unless they have one of its job already."""
        with self._lock:
            earlier = self._under_way.setdefault(firing.job.job_id, firing)
            if earlier is firing:
                self._outbox.put(firing)
                return
            if not earlier.begun:
                earlier.overlapped += firing.times
                return
        for at in firing.times:
            self._skip(firing.job, at, "its last run was still going")

    def _skip(self, job: Job, at: datetime, message: str) -> None:
        record_not_run(
            self._database, job, status=Status.SKIPPED, scheduled_at=at, now=datetime.now(UTC), message=message
        )
        _log.warning("%s: the firing at %s was skipped: %s", job.spec.name, format_instant(at), message)

    def _work(self) -> None:
        """Carry out what is due, one run after another, on a thread of its own."""
        while (firing := self._outbox.get()) is not None:
            for at in firing.times:
                # What never begins for that is recorded as missed by the next daemon.
                if self._stopping_since is None:
                    self._guarded(lambda firing=firing, at=at: self._carry_out(firing, at))  # type: ignore[misc]
            if self._stopping_since is None:
                self._note_begun(firing)
            with self._lock:
                del self._under_way[firing.job.job_id]

    def _note_begun(self, firing: _Firing) -> None:
        """Give the fire times that passed while a firing waited for other runs their rows."""
        with self._lock:
            firing.begun = True
            overlapped, firing.overlapped = firing.overlapped, []
        for at in overlapped:
            self._guarded(lambda at=at: self._skip(firing.job, at, "the firing before it still waited for other runs"))  # type: ignore[misc]

    def _carry_out(self, firing: _Firing, at: datetime) -> None:
        job = self._timetable.find_job(firing.job.job_id)
        if job is None:  # removed or paused while it waited
            return
        try:
            run_id = fire(
                self._database,
                job,
                cause=firing.cause,
                scheduled_at=at,
                start_method=self._start_method,
                at_once=self._at_once,
                watching=Watching(
                    stop=self._should_stop, on_strategy=lambda _strategy, _position: self._note_begun(firing)
                ),
            )
        except Busy as busy:  # a person is running it by hand
            self._skip(job, at, str(busy))
            return
        except Stopped:
            return
        run = get_run(self._database, run_id)
        _log.info(
            "%s: run %d %s in %s%s",
            job.spec.name,
            run_id,
            run.status.value,
            format_seconds(run.wall_s),
            f": {run.message}" if run.message else "",
        )

    def _is_stopping(self) -> bool:
        return self._stopping_since is not None

    def _should_stop(self) -> Status | None:
        since = self._stopping_since
        if since is None or (not self._at_once_now and time.monotonic() - since < _GRACE_S):
            return None
        return Status.INTERRUPTED

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._stopping_since is not None:
            self._at_once_now = True
        # Nothing else is done here: a handler that logs may interrupt a line that is being logged.
        self._stop_by(signal.Signals(number).name)
        self._inbox.put(None)

    def _stop_by(self, reason: str) -> None:
        if self._stopping_since is None:
            self._stopping_by = reason
            self._stopping_since = time.monotonic()

    def _guarded(self, action: Callable[[], None]) -> None:
        """Do something that must not end the daemon when the database can't be used for a while."""
        try:
            action()
        except HistoryError as error:
            _log.error("%s", error)
        except DaemonError:  # another one has taken its place
            raise
        except Exception:  # noqa: BLE001  the thread must go on
            _log.exception("a defect in runner; the daemon goes on")


def _clock_offset_s() -> float:
    """Tell by how much the clock is ahead of one that nobody sets."""
    return time.time() - time.monotonic()
