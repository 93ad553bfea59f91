"""The daemon: one loop that follows the jobs table and hands due jobs to the worker, until it is told to stop."""

import logging
import queue
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import FrameType

from runner.daemon.lock import held_daemon_lock
from runner.daemon.scheduler import Timetable
from runner.history.daemons import accounted_until, record_daemon, record_heartbeat
from runner.history.database import Database
from runner.history.jobs import jobs_revision, list_jobs
from runner.history.runs import Busy, get_run, record_not_run
from runner.measure.environment import describe_process
from runner.model.errors import HistoryError
from runner.model.jobs import Catchup, Job
from runner.model.runs import Cause, Status
from runner.model.units import format_instant, format_seconds
from runner.runs.firing import Stopped, Watching, fire, recover
from runner.schedules.firing import count_fire_times, last_fire_time, next_fire_time

_log = logging.getLogger(__name__)

# How often the jobs table's revision is read, and how often a sign of life is written.
_FOLLOW_S = 1.0
_HEARTBEAT_S = 10.0
# How long a run may go on after the daemon was told to stop.
_GRACE_S = 5.0
# The most runs that --catchup all makes up for.
_MAX_CATCHUP = 100


@dataclass(frozen=True, slots=True)
class _Firing:
    """A run that is due."""

    job: Job
    cause: Cause
    scheduled_at: datetime


class Daemon:
    """The scheduler of one database, in the foreground.

    Args:
        database: Where its jobs and their history are.
        start_method: How pool workers are started.
        at_once: How many runs may go on at the same time.
    """

    def __init__(self, database: Database, *, start_method: str, at_once: int) -> None:
        self._database = database
        self._start_method = start_method
        self._at_once = at_once
        self._timetable = Timetable(lambda job_id, at: self._inbox.put((job_id, at)))
        # What is due, from the scheduler's thread; None only wakes the loop.
        self._inbox: queue.SimpleQueue[tuple[int, datetime] | None] = queue.SimpleQueue()
        # What is to be run, for the workers; None ends one.
        self._outbox: queue.SimpleQueue[_Firing | None] = queue.SimpleQueue()
        self._under_way: set[int] = set()
        self._lock = threading.Lock()
        self._stopping_since: float | None = None
        self._stopping_by = ""
        self._at_once_now = False
        self._revision = -1

    def run(self) -> None:
        """Fire what is due until SIGTERM or SIGINT.

        Raises:
            DaemonError: If the database has a daemon already.
        """
        with held_daemon_lock(self._database):
            handlers = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
            workers = [threading.Thread(target=self._work, name=f"worker-{i}") for i in range(self._at_once)]
            try:
                self._begin()
                for worker in workers:
                    worker.start()
                self._timetable.start()
                self._loop()
                _log.info("%s: stopping; a second signal ends a running run at once", self._stopping_by)
            finally:
                self._timetable_stop()
                for _ in workers:
                    self._outbox.put(None)
                for worker in workers:
                    if worker.ident is not None:
                        worker.join()
                self._guarded(lambda: record_heartbeat(self._database, datetime.now(UTC), stopped=True))
                for number, handler in handlers.items():
                    signal.signal(number, handler)
            _log.info("stopped")

    def _begin(self) -> None:
        for run_id in recover(self._database):
            _log.warning("run %d was interrupted: its process is gone", run_id)
        now = datetime.now(UTC)
        record_daemon(self._database, describe_process(), now)
        self._revision = jobs_revision(self._database)
        jobs = list_jobs(self._database)
        accounted = accounted_until(self._database)
        for job in jobs:
            self._catch_up(job, max(job.armed_at, accounted.get(job.job_id, job.armed_at)), now)
        self._timetable.follow(jobs, lambda _job: now)
        _log.info("started: %d jobs in %s", len(jobs), self._database.location)

    def _catch_up(self, job: Job, since: datetime, now: datetime) -> None:
        """Record the fire times that passed while no daemon ran as one row, and make up for them as the job says."""
        schedule = job.spec.schedule
        if schedule is None or job.spec.paused:
            return
        missed = count_fire_times(schedule, job.job_id, since, now)
        first = next_fire_time(schedule, job.job_id, since)
        if not missed or first is None:
            return
        message = f"{missed} fire times passed while no daemon ran" if missed > 1 else "no daemon ran"
        record_not_run(
            self._database, job, status=Status.MISSED, scheduled_at=first, now=now, message=message, missed=missed
        )
        _log.warning("%s: %s", job.spec.name, message)
        if job.spec.catchup is Catchup.NONE:
            return
        made_up: list[datetime] = []
        if job.spec.catchup is Catchup.ONCE or missed > _MAX_CATCHUP:
            last = last_fire_time(schedule, job.job_id, since, now)
            made_up = [last] if last is not None else []
        else:
            at: datetime | None = first
            while at is not None and at <= now:
                made_up.append(at)
                at = next_fire_time(schedule, job.job_id, at)
        for at in made_up:
            self._outbox.put(_Firing(job, Cause.CATCHUP, at))
        self._under_way.add(job.job_id)

    def _loop(self) -> None:
        next_follow = next_heartbeat = time.monotonic()
        while self._stopping_since is None:
            now = time.monotonic()
            if now >= next_heartbeat:
                self._guarded(lambda: record_heartbeat(self._database, datetime.now(UTC)))
                self._timetable.wake()
                next_heartbeat = now + _HEARTBEAT_S
            if now >= next_follow:
                self._guarded(self._follow)
                next_follow = now + _FOLLOW_S
            try:
                due = self._inbox.get(timeout=max(0.0, next_follow - time.monotonic()))
            except queue.Empty:
                continue
            if due is not None:
                job_id, at = due
                self._guarded(lambda job_id=job_id, at=at: self._dispatch(job_id, at))  # type: ignore[misc]

    def _follow(self) -> None:
        revision = jobs_revision(self._database)
        if revision != self._revision:
            accounted = accounted_until(self._database)
            self._timetable.follow(
                list_jobs(self._database), lambda job: max(job.armed_at, accounted.get(job.job_id, job.armed_at))
            )
            self._revision = revision

    def _dispatch(self, job_id: int, at: datetime) -> None:
        """Hand a due job to the workers, or record why it can't run."""
        job = self._timetable.find_job(job_id)
        if job is None:  # removed or paused since it became due
            return
        with self._lock:
            overlaps = job_id in self._under_way
            self._under_way.add(job_id)
        if overlaps:
            self._skip(job, at, "its last run was still going")
        else:
            self._outbox.put(_Firing(job, Cause.SCHEDULE, at))

    def _skip(self, job: Job, at: datetime, message: str) -> None:
        record_not_run(
            self._database, job, status=Status.SKIPPED, scheduled_at=at, now=datetime.now(UTC), message=message
        )
        _log.warning("%s: the firing at %s was skipped: %s", job.spec.name, format_instant(at), message)

    def _work(self) -> None:
        """Carry out what is due, one run after another, on a thread of its own."""
        while True:
            firing = self._outbox.get()
            if firing is None:
                return
            if self._stopping_since is None:
                self._guarded(lambda firing=firing: self._carry_out(firing))  # type: ignore[misc]
            with self._lock:
                self._under_way.discard(firing.job.job_id)

    def _carry_out(self, firing: _Firing) -> None:
        job = firing.job
        try:
            run_id = fire(
                self._database,
                job,
                cause=firing.cause,
                scheduled_at=firing.scheduled_at,
                start_method=self._start_method,
                at_once=self._at_once,
                watching=Watching(stop=self._should_stop),
            )
        except Busy as busy:  # a person is running it by hand
            self._skip(job, firing.scheduled_at, str(busy))
            return
        except Stopped:  # its fire time will be recorded as missed by the next daemon
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

    def _should_stop(self) -> Status | None:
        since = self._stopping_since
        if since is None or (not self._at_once_now and time.monotonic() - since < _GRACE_S):
            return None
        return Status.INTERRUPTED

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._stopping_since is None:
            # Nothing else is done here: a handler that logs may interrupt a line that is being logged.
            self._stopping_since = time.monotonic()
            self._stopping_by = signal.Signals(number).name
        else:
            self._at_once_now = True
        self._inbox.put(None)

    def _timetable_stop(self) -> None:
        from apscheduler.schedulers import SchedulerNotRunningError

        try:
            self._timetable.stop()
        except SchedulerNotRunningError:
            _log.debug("stopped before the scheduler had started")

    def _guarded(self, action: Callable[[], None]) -> None:
        """Do something that must not end the daemon when the database can't be used for a while."""
        try:
            action()
        except HistoryError as error:
            _log.error("%s", error)
        except Exception:  # noqa: BLE001  the thread must go on
            _log.exception("a defect in runner; the daemon goes on")
