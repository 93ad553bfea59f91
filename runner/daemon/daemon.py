"""The daemon: one loop that follows the jobs table and hands due jobs to the workers, until it is told to stop."""

import logging
import math
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from runner.daemon.later import Later
from runner.daemon.lock import held_daemon_lock
from runner.daemon.owed import MAX_CATCHUP, fires_after, is_ahead, make_up, still_owed
from runner.daemon.retention import forget_daily
from runner.daemon.scheduler import Timetable
from runner.daemon.signals import hear
from runner.daemon.unwritten import Unwritten
from runner.daemon.workers import Firing, Workers
from runner.execution.executor import fire
from runner.execution.locks import Stopped
from runner.execution.recovery import recover
from runner.execution.retry import list_retries
from runner.history.daemons import find_daemon, record_daemon, record_heartbeat
from runner.history.database import Database
from runner.history.jobs import jobs_revision, list_jobs, list_recorded_until, set_back
from runner.history.maintenance import trim
from runner.history.prune import Retention
from runner.history.recording import Busy
from runner.history.runs import get_run, list_unmade
from runner.measure.environment import describe_process
from runner.measure.observer import RunObserver
from runner.model.errors import DaemonError, HistoryError, RunnerError, UsageError, is_condition, reason_of
from runner.model.jobs import Catchup, Job
from runner.model.runs import Cause, Run, Status
from runner.model.subject import log_context
from runner.model.units import TICK, format_count, format_instant, format_seconds
from runner.operations.metrics_writer import MetricsWriter
from runner.operations.notifications import Describe, Notifier
from runner.operations.service_notifier import ServiceNotifier
from runner.schedules.fire_times import LATE, count_fire_times, next_fire_time

_log = logging.getLogger(__name__)

# How often the clock and the jobs table's revision are looked at, and how often a sign of life is written.
_FOLLOW_S = 1.0
_HEARTBEAT_S = 10.0
# How long what is to be done may keep it from looking.
_ACT_S = 5.0
# How soon what could not be handed over is tried again.
_AGAIN_S = 0.5
# A scheduler that has not looked what is due for so many rounds never will again.
_MOST_STALLED = 30
# How long a run may go on after the daemon was told to stop.
_GRACE_S = 5.0
# How long whatever is still to be written may wait for others then, all together; after a second signal, how long.
_END_S = 15.0
_END_NOW_S = 1.0
# How long all of it may take, whatever it waits for, which service managers know; after a second signal, how long.
_GONE_S = 45.0
_GONE_NOW_S = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Choices:
    """What a person chooses for a daemon, in the settings.

    Attributes:
        start_method: How pool workers are started.
        at_once: How many runs may go on at the same time.
        retention: Tells which runs are kept at an instant; None when nothing is ever forgotten.
    """

    start_method: str
    at_once: int = 1
    retention: Callable[[datetime], Retention] | None = None


class Daemon:
    """The scheduler of one database, in the foreground.

    All decisions are made on the thread that calls :meth:`run`; others leave it what is to be done in the inbox.

    Args:
        database: Where its jobs and their history are.
        load: Loads what was chosen for it, now and whenever it is told to by SIGHUP.
        describe: Gives a run as the commands that are told of it know it.
        supervisor: Whom it tells how it is; None for nobody.
        metrics: Writes what there is to measure; None for nobody.
    """

    def __init__(
        self,
        database: Database,
        load: Callable[[], Choices],
        describe: Describe,
        supervisor: ServiceNotifier | None = None,
        metrics: MetricsWriter | None = None,
    ) -> None:
        self._database = database
        self._metrics = metrics
        self._load = load
        self._notifier = Notifier(database, describe, self._should_stop)
        self._choices = load()
        self._supervisor = supervisor or ServiceNotifier()
        # What is to be done next; None only wakes the loop.
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._unwritten = Unwritten(database)
        self._timetable = Timetable(lambda *due: self._inbox.put(partial(self._dispatch, datetime.now(UTC), *due)))
        self._workers = Workers(
            lambda firing, at: self._guarded(partial(self._carry_out, firing, at), firing.job),
            lambda job, *skipped: self._guarded(partial(self._skip, job, *skipped), job),
        )
        self._later = Later()
        # The jobs of which a run has ended, and whether all who want to know of it were told, until that is followed.
        self._ended: deque[tuple[Job, bool]] = deque()
        self._stopping_since: float | None = None
        self._stopping_by = ""
        self._at_once_now = False
        self._owner = describe_process()
        self._is_recorded = False
        self._revision = -1
        # By how much the clock was ahead of one that nobody sets, at most since it was followed back: steps add up.
        self._most_ahead_s = _clock_offset_s()
        # What the clock showed when it was set back, until that is followed.
        self._set_back_to: datetime | None = None

    def run(self) -> None:
        """Fire what is due until SIGTERM or SIGINT, which like SIGHUP are this process's from then on.

        Raises:
            DaemonError: If the database has a daemon already, or gets another one while its server is restarted
                or its lock's file removed.
        """
        with held_daemon_lock(self._database) as hold:
            hear((signal.SIGTERM, signal.SIGINT, signal.SIGHUP), self._on_signal)
            retention = threading.Thread(
                target=forget_daily,
                args=(self._database, self._retention, self._guarded, self._is_stopping),
                name="retention",
            )
            try:
                if self._metrics is not None:
                    self._metrics.start()
                self._begin()
                self._workers.resize(self._choices.at_once)
                retention.start()
                self._timetable.start()
                self._supervisor.ready()
                self._loop(hold)
                _log.info("%s: stopping; a second signal ends a running run at once", self._stopping_by)
            finally:
                # However it ends: a worker that was not told would go on for ever, and the process with it.
                self._stop_by("an error")
                self._supervisor.stopping()
                self._timetable.stop()
                if not self._workers.stop(lambda: self._at_once_now):
                    _log.error("a run could not be ended and is left; the next daemon records it as interrupted")
                if retention.ident is not None:
                    retention.join()
                self._guarded(self._unwritten.write_down)
                if self._metrics is not None:
                    self._metrics.stop()
                if self._is_recorded:  # what kept it from that is said once
                    self._guarded(
                        lambda: record_heartbeat(self._database, self._owner, datetime.now(UTC), stopped=True)
                    )
            _log.info("stopped")

    def _begin(self) -> None:
        # The daemon before this one is gone even if it ran on another machine: its lock was free.
        before = find_daemon(self._database)
        for run_id in recover(self._database, gone=before.owner if before is not None else None):
            with log_context(get_run(self._database, run_id).job, run_id):
                _log.warning("interrupted: its process is gone")
        now = datetime.now(UTC)
        record_daemon(self._database, self._owner, now)  # only now: who that was is needed until they are
        self._is_recorded = True
        self._revision = jobs_revision(self._database)
        jobs, accounted = self._list_jobs(now)
        for job in jobs:
            # A failure that the daemon before this one recorded, but died or was stopped before it could tell it.
            if job.spec.notify:
                self._workers.begin_with(partial(self._guarded, partial(self._notify_pending, job)))
            if job.spec.schedule is not None and not job.spec.paused:
                with log_context(job.spec.name):
                    try:
                        self._take_up(job, max(job.armed_at, accounted.get(job.job_id, job.armed_at)), now)
                    except UsageError as error:  # its zone is not known on this machine; the others fire
                        _log.error("can't be fired: %s", error)
        self._timetable.follow(jobs, lambda job: max(now, fires_after(job, accounted.get(job.job_id), now)))
        _log.info("started: %s in %s", format_count(len(jobs), "job"), self._database.location)

    def _notify_pending(self, job: Job) -> None:
        with log_context(job.spec.name):
            self._notifier.notify_pending(job)

    def _take_up(self, job: Job, since: datetime, now: datetime) -> None:
        """Take over what the daemon before this one has left of a job."""
        missed, made = list_unmade(self._database, job)
        each = job.spec.catchup is Catchup.ALL
        owed = [at for row in (missed if each else missed[-1:]) for at in still_owed(job, row, made)]
        fresh = self._record_missed(job, since, now, "no daemon ran")
        owed = owed + fresh if each else fresh or owed
        if owed:
            self._workers.hand_over(Firing(job, Cause.CATCHUP, owed[-MAX_CATCHUP:]))
        self._retry_later(job, now)

    def _record_missed(self, job: Job, since: datetime, until: datetime, why: str) -> list[datetime]:
        """Record the fire times with since < time <= until as one missed row; returns those to be made up for."""
        assert job.spec.schedule is not None  # noqa: S101  only jobs that fire come here
        missed = count_fire_times(job.spec.schedule, job.job_id, since, until)
        first = next_fire_time(job.spec.schedule, job.job_id, since)
        if not missed or first is None:
            return []
        owed = make_up(job, since, until)
        message = f"{format_count(missed, 'fire time')} passed while {why}"
        # The row stands for all fire times up to when it says it was written.
        self._unwritten.record(
            job,
            status=Status.MISSED,
            scheduled_at=first,
            now=until,
            message=message,
            missed=missed,
            owed=len(owed),
        )
        _log.warning("%s", message)
        return owed

    def _loop(self, hold: Callable[[], None]) -> None:
        next_follow = next_heartbeat = time.monotonic()
        stalled, looked_s = 0, 0.0
        while self._stopping_since is None:
            now = time.monotonic()
            if now >= next_follow:
                next_follow = now + _FOLLOW_S
                stalled, looked_s = (
                    (stalled + 1 if self._timetable.looked_s == looked_s else 0),
                    self._timetable.looked_s,
                )
                if stalled >= _MOST_STALLED:
                    raise RuntimeError("the scheduler has ceased to look what is due")
                # A sign of life is one of the scheduler, without which this process is none.
                if not stalled:
                    self._supervisor.alive()
                    self._supervisor.status(self._doing())
                    if self._metrics is not None:
                        self._metrics.note_alive()
                if now >= next_heartbeat and not stalled:
                    next_heartbeat = now + _HEARTBEAT_S
                    self._guarded(lambda: record_heartbeat(self._database, self._owner, datetime.now(UTC)))
                    self._guarded(lambda: trim(self._database))
                self._guarded(hold)
                self._guarded(self._follow_clock)
                self._guarded(self._follow)
                self._guarded(self._unwritten.write_down)
                self._guarded(self._follow_ended)
            for firing in self._later.list_due():
                self._guarded(partial(self._hand_over_later, firing), firing.job)
            # All that is there is done, as a look at a database that is locked may have taken long; but more than can
            # be done must not keep it from looking, or it would pass for dead.
            enough_s = max(time.monotonic(), next_follow) + _ACT_S
            with suppress(queue.Empty):
                while not self._is_stopping() and time.monotonic() < enough_s:
                    until_s = min(next_follow, self._later.next_s()) - time.monotonic()
                    action = self._inbox.get(timeout=max(0.0, until_s))
                    if action is not None:
                        self._guarded(action)

    def _list_jobs(self, now: datetime) -> tuple[list[Job], dict[int, datetime]]:
        """Give the jobs, and up to when the fire times of each have a record."""
        jobs, accounted = list_jobs(self._database), list_recorded_until(self._database)
        ahead = {job.job_id for job in jobs if is_ahead(job, accounted.get(job.job_id), now)}
        if ahead:
            # Or what passes unfired until the clock has caught up would have no record.
            set_back(self._database, ahead, now)
            return self._list_jobs(now)
        return jobs, accounted

    def _follow(self) -> None:
        revision = jobs_revision(self._database)
        if revision != self._revision:
            now = datetime.now(UTC)
            jobs, accounted = self._list_jobs(now)
            for job in jobs:
                if job != self._timetable.find_job(job.job_id):
                    self._retry_later(job, now)
            self._timetable.follow(jobs, lambda job: fires_after(job, accounted.get(job.job_id), now))
            self._revision = revision

    def _follow_clock(self) -> None:
        """Look at the clock, by which the scheduler fires but does not wait: it may have been set, or have slept."""
        try:
            ahead_s = _clock_offset_s()
            if ahead_s < self._most_ahead_s - LATE.total_seconds():
                self._follow_back(self._most_ahead_s - ahead_s)
                self._most_ahead_s = ahead_s  # only now: what could not be done is tried again
            self._most_ahead_s, self._set_back_to = max(ahead_s, self._most_ahead_s), None
        finally:
            self._timetable.wake()

    def _follow_back(self, by_s: float) -> None:
        """Let jobs fire by a clock that was set back, from then on even if it can be followed only later."""
        now = datetime.now(UTC)
        if self._set_back_to is None:
            _log.warning("the clock was set back by %s; jobs fire by it from now on", format_seconds(by_s))
        since = self._set_back_to = min(now, self._set_back_to or now)
        self._unwritten.write_down()  # or what stands there would not count as recorded
        jobs, accounted = self._list_jobs(since)
        for job_id, at in self._workers.unbegun().items():  # which get their records
            accounted[job_id] = max(at, accounted.get(job_id, at))
        # What has fired already would else come next when the clock has caught up with it.
        self._timetable.follow(
            jobs, lambda job: max(since, fires_after(job, accounted.get(job.job_id), since)), anew=True
        )

    def _dispatch(self, now: datetime, job_id: int, first: datetime, last: datetime) -> None:
        """Hand a job that was due by now to the workers, or record why it can't run."""
        job = self._timetable.find_job(job_id)
        if job is None:  # removed or paused since it became due
            return
        if first == last and now - last <= LATE:
            self._workers.hand_over(Firing(job, Cause.SCHEDULE, [last]))
            return
        with log_context(job.spec.name):
            if owed := self._record_missed(job, first - TICK, last, "the machine or the daemon was held up"):
                self._workers.hand_over(Firing(job, Cause.CATCHUP, owed))

    def _follow_ended(self) -> None:
        """Follow what has come of runs that have ended, as soon as that can be seen."""
        while self._ended and self._unwritten.is_empty():  # or how one of them has ended may not be on record yet
            ended, all_told = self._ended[0]
            job = self._timetable.find_job(ended.job_id)
            if job is not None:
                self._retry_later(job, datetime.now(UTC))
                if not all_told and job.spec.notify:
                    self._workers.begin_with(partial(self._guarded, partial(self._notify_pending, job)))
            self._ended.popleft()

    def _retry_later(self, job: Job, now: datetime) -> None:
        """Let the failed runs of a job be tried again that are to be, each when it is to be by now."""
        for failed, again_at in list_retries(self._database, job, now):
            if failed.scheduled_at is not None:
                # More would be left of the delay if the clock was set back since.
                delay_s = min(float(job.spec.retry_delay_s), (again_at - now).total_seconds())
                self._later.put(Firing(job, failed.cause, [failed.scheduled_at], failed), delay_s)

    def _hand_over_later(self, firing: Firing) -> None:
        """Hand over what is due by now, unless that has passed by; what keeps it from that does so for a while."""
        self._later.put(firing, _AGAIN_S)
        if self._workers.is_under_way(firing.job.job_id):  # the failed run may still be wound up, or the job be fired
            return
        if not self._is_wanted(firing) or self._workers.hand_over(firing):
            self._later.remove(firing)

    def _is_wanted(self, firing: Firing) -> bool:
        """Whether what was to be handed over later still is: a job may have fired since one of its runs has failed."""
        if firing.failed is None:
            return True
        job = self._timetable.find_job(firing.job.job_id)
        return job is not None and any(
            failed.run_id == firing.failed.run_id for failed, _ in list_retries(self._database, job, datetime.now(UTC))
        )

    def _skip(self, job: Job, at: datetime, message: str) -> None:
        self._unwritten.record(job, status=Status.SKIPPED, scheduled_at=at, now=datetime.now(UTC), message=message)
        _log.warning("the firing at %s was skipped: %s", format_instant(at), message)

    def _carry_out(self, firing: Firing, at: datetime) -> None:
        """Carry out one run, on a worker's thread."""
        job = self._timetable.find_job(firing.job.job_id)
        if job is None:
            if firing.cause is Cause.SCHEDULE and firing.attempt == 1:
                self._skip(firing.job, at, "the job was paused or removed while it waited for other runs")
            return
        choices = self._choices
        try:
            run_id = fire(
                self._database,
                job,
                cause=firing.cause,
                scheduled_at=at,
                start_method=choices.start_method,
                at_once=choices.at_once,
                attempt=firing.attempt,
                watching=RunObserver(
                    stop=self._should_stop,
                    give_up=self._is_stopping,
                    on_strategy=lambda _strategy, _position: self._workers.note_begun(firing),
                    on_wait=lambda reason: _log.info("%s", reason),
                    on_unended=partial(self._unwritten.keep, job),
                    patient=True,
                ),
            )
            all_told = self._tell(job, get_run(self._database, run_id))
        except Busy as busy:  # a person is running it by hand
            self._merge(busy, job, firing, at)
        except Stopped:
            pass
        except BaseException:
            self._note_ended(job, all_told=False)
            raise
        else:
            self._note_ended(job, all_told=all_told)

    def _merge(self, busy: Busy, job: Job, firing: Firing, at: datetime) -> None:
        """Go out of the way of a run by hand."""
        if firing.cause is Cause.SCHEDULE and firing.attempt == 1:
            self._skip(job, at, str(busy))
        else:  # what failed or was missed has its record already, which promises this run
            if not firing.postponed:
                what = f"attempt {firing.attempt}" if firing.attempt > 1 else "what makes up for missed fire times"
                _log.info("%s waits until a run by hand has finished", what)
            again = Firing(job, firing.cause, [at], firing.failed, postponed=True)
            self._inbox.put(partial(self._later.put, again, _AGAIN_S))

    def _tell(self, job: Job, run: Run) -> bool:
        """Tell of a run that has ended; returns whether who wants to know of it could be found."""
        _log.log(
            logging.ERROR if run.status.is_failure else logging.INFO,
            "%s in %s%s",
            run.status.value,
            format_seconds(run.wall_s),
            f": {run.message}" if run.message else "",
        )
        if self._metrics is not None:
            self._metrics.wake()
        return self._notifier.tell(job, run.run_id)

    def _note_ended(self, job: Job, *, all_told: bool) -> None:
        self._ended.append((job, all_told))
        self._inbox.put(self._follow_ended)

    def _reload(self) -> None:
        """Read the settings again."""
        self._supervisor.reloading()
        try:
            self._choices = self._load()
        except RunnerError as error:
            _log.error("the settings stay as they were: %s", error)
        else:
            self._workers.resize(self._choices.at_once)
            _log.info("SIGHUP: the settings were read again")
        finally:
            self._supervisor.ready()

    def _retention(self, now: datetime) -> Retention | None:
        retention = self._choices.retention
        return retention(now) if retention is not None else None

    def _doing(self) -> str:
        names = self._workers.names()
        due = f"{format_count(len(names), 'run')} due: {', '.join(names[:5])}"
        return due if names else "waiting for the next fire time"

    def _is_stopping(self) -> bool:
        return self._stopping_since is not None

    def _should_stop(self) -> Status | None:
        since = self._stopping_since
        if since is None or (not self._at_once_now and time.monotonic() - since < _GRACE_S):
            return None
        return Status.INTERRUPTED

    def _on_signal(self, number: int) -> float:
        """Follow a signal, on a thread that waits for nobody; gives the seconds after which this process is ended."""
        if number == signal.SIGHUP:
            self._inbox.put(self._reload)
            return math.inf
        is_second = self._is_stopping()
        if is_second:
            self._at_once_now = True
            self._database.set_deadline(_END_NOW_S)
        # Nothing is logged here: nobody may read it.
        self._stop_by(signal.Signals(number).name)
        self._inbox.put(None)
        return _GONE_NOW_S if is_second else _GONE_S

    def _stop_by(self, reason: str) -> None:
        if self._stopping_since is None:
            self._workers.close()
            self._stopping_by = reason
            self._stopping_since = time.monotonic()
            self._database.set_deadline(_END_S)

    def _guarded(self, action: Callable[[], None], job: Job | None = None) -> None:
        """Do something, for a job, that must not end the daemon when the database can't be used for a while."""
        with log_context(job.spec.name) if job is not None else nullcontext():
            try:
                action()
            except HistoryError as error:
                _log.error("%s", error)
            except DaemonError:  # another one has taken its place
                raise
            except Exception as error:  # noqa: BLE001  the thread must go on
                if is_condition(error):
                    _log.error("%s; the daemon goes on", reason_of(error))
                else:
                    _log.exception("a defect in runner; the daemon goes on")


def _clock_offset_s() -> float:
    """Tell by how much the clock is ahead of one that nobody sets."""
    return time.time() - time.monotonic()
