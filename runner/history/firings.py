"""Firings: what is due and has not begun. One that is skipped or missed moves to ``runs`` in one transaction."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, or_, select, update

from runner.history.database import Database, Reader, View
from runner.history.jobs import get_job_numbered
from runner.history.recording import record_not_run, refuse_beside_another
from runner.history.tables import firings, jobs, runs
from runner.model.errors import UsageError
from runner.model.jobs import Catchup, Job
from runner.model.runs import Cause, Firing, Status
from runner.model.units import TICK, format_count
from runner.schedules.fire_times import fires_only_once, next_fire_time

# The most catch-up runs of --catchup all for one gap, for its newest fire times.
MAX_CATCHUP = 100
# A row that is written a second time is among this many of the newest.
_RECENT_ROWS = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """Consecutive fire times without a run.

    Attributes:
        first: The first of them.
        until: No fire time up to here is left out.
        count: Their number.
        reason: Why they were missed.
        catch_up: Those to catch up, oldest first.
    """

    first: datetime
    until: datetime
    count: int
    reason: str
    catch_up: Sequence[datetime]

    @property
    def message(self) -> str:
        """The message of its row."""
        return f"{format_count(self.count, 'fire time')} passed while {self.reason}"


def add_firing(
    database: Database,
    job: Job,
    due_at: datetime,
    clock: Callable[[], datetime],
    *,
    busy: str | None = None,
    again: bool = False,
) -> str | None:
    """Add the firing of a fire time, or record it as skipped; a waiting retry of the job is dropped.

    Args:
        database: The history.
        job: The job.
        due_at: The fire time.
        clock: Returns the time; called within the transaction.
        busy: Why the job can't run now; None if it can.
        again: Whether an earlier attempt to write was not confirmed.

    Returns:
        Why it was skipped; None if it was not.

    Raises:
        Busy: If a run of the job is running and *busy* is None.
    """
    with database.write() as connection:
        now = clock()
        if again and _is_recorded(connection, job, due_at, until=due_at, now=now):
            return None
        waiting = _list(connection, firings.c.job_id == job.job_id)
        if busy is None:
            refuse_beside_another(connection, job_id=job.job_id, at_once=inf)
        if waiting and not _is_running(connection, job):
            # A worker that waits with the retry finds it withdrawn; catch-up runs begin later.
            is_first = any(firing.attempt == 1 and firing.cause is Cause.SCHEDULE for firing in waiting)
            busy = "the previous firing was still waiting for other runs" if is_first else None
        _advance_recorded_until(connection, job, due_at, now)
        _drop_retries(connection, job)
        if busy is None:
            _insert(connection, job, [due_at], Cause.SCHEDULE, min(due_at, now))  # the clock may have been set back
        else:
            record_not_run(connection, job, Status.SKIPPED, due_at, now=now, message=busy)
        return busy


def record_gap(database: Database, job: Job, gap: Gap, clock: Callable[[], datetime], *, again: bool = False) -> None:
    """Record missed fire times and add their catch-up runs; a waiting retry of the job is dropped."""
    with database.write() as connection:
        now = clock()
        if again and _is_recorded(connection, job, gap.first, until=gap.until, now=now, missed=gap.count):
            return
        _record_gap(connection, job, gap, now)


def skip_firing(database: Database, job: Job, firing: Firing, now: datetime, reason: str) -> bool:
    """Delete a firing; return whether it was recorded as skipped, as the first attempt for a fire time is."""
    with database.write() as connection:
        if not _delete(connection, firing) or firing.cause is not Cause.SCHEDULE or firing.attempt > 1:
            return False
        record_not_run(connection, job, Status.SKIPPED, firing.due_at, now=now, message=reason)
        return True


def withdraw_waiting(database: Database, now: datetime, reason: str) -> list[tuple[Job, Gap]]:
    """Delete the firings by schedule that a dead daemon left; return those that were recorded as missed for a reason.

    Other fire times count as not recorded again, and are found again by the job's schedule.
    """
    passed = []
    with database.write() as connection:
        for firing in _list(connection, firings.c.cause == Cause.SCHEDULE.value, firings.c.attempt == 1):
            _delete(connection, firing)
            job, at = get_job_numbered(View(database.location, connection), firing.job_id), firing.due_at
            recorded_until = connection.execute(select(jobs.c.recorded_until).where(jobs.c.id == job.job_id)).scalar()
            if _comes_again(job, at, recorded_until, now):
                again = min(now, at - TICK)
                later = update(jobs).where(jobs.c.id == job.job_id, jobs.c.recorded_until > again)
                connection.execute(later.values(recorded_until=again))
            else:
                catch_up = [] if job.spec.catchup is Catchup.NONE else [at]
                gap = Gap(first=at, until=at, count=1, reason=reason, catch_up=catch_up)
                _record_gap(connection, job, gap, now)
                passed.append((job, gap))
    return passed


def _comes_again(job: Job, at: datetime, recorded_until: datetime | None, now: datetime) -> bool:
    """Return whether a new daemon finds a fire time by the job's schedule: no later one is recorded, or it is ahead."""
    schedule = job.spec.schedule
    if job.removed_at is not None or job.spec.paused or schedule is None or at <= job.schedule_start:
        return False
    if at <= now and recorded_until is not None and recorded_until > at:
        return False
    try:
        return next_fire_time(schedule, job.job_id, at - TICK) == at
    except UsageError:  # its time zone is not known on this machine
        return False


def find_next_firing(database: Reader, now: datetime, without_jobs: Collection[int]) -> Firing | None:
    """Find the oldest firing that may begin, leaving out those of some jobs; catch-up runs come last."""
    due = firings.c.not_before <= now, firings.c.job_id.not_in(without_jobs)
    order = firings.c.cause == Cause.CATCHUP.value, firings.c.id
    with database.read() as connection:
        row = connection.execute(select(firings).where(*due).order_by(*order).limit(1)).first()
        return _firing(row) if row is not None else None


def _record_gap(connection: Connection, job: Job, gap: Gap, now: datetime) -> None:
    _advance_recorded_until(connection, job, gap.until, now)
    _drop_retries(connection, job)
    message = gap.message
    record_not_run(connection, job, Status.MISSED, gap.first, now=gap.until, message=message, missed=gap.count)
    _insert(connection, job, gap.catch_up, Cause.CATCHUP, now)


def _is_running(connection: Connection, job: Job) -> bool:
    running = runs.c.job_id == job.job_id, runs.c.status == Status.RUNNING.value
    return connection.execute(select(runs.c.id).where(*running)).first() is not None


def _is_recorded(
    connection: Connection, job: Job, at: datetime, *, until: datetime, now: datetime, missed: int = 0
) -> bool:
    """Return whether a fire time has a row already: a lost server may have committed it without confirming."""
    recorded_until = connection.execute(select(jobs.c.recorded_until).where(jobs.c.id == job.job_id)).scalar()
    if recorded_until is not None and recorded_until < until <= now:
        return False  # its row is from before the clock was set back
    recent = select(runs.c.id).where(runs.c.job_id == job.job_id).order_by(runs.c.id.desc()).limit(_RECENT_ROWS)
    same = runs.c.scheduled_at == at, runs.c.cause == Cause.SCHEDULE.value, runs.c.missed == missed
    row = connection.execute(select(runs.c.id).where(runs.c.id.in_(recent), *same)).first()
    return row is not None or bool(_list(connection, firings.c.job_id == job.job_id, firings.c.due_at == at))


def _advance_recorded_until(connection: Connection, job: Job, until: datetime, now: datetime) -> None:
    """Record that all fire times of a job up to an instant have rows.

    A firing from before the clock was set back does not count for the fire times that come again, unless the schedule
    fires only once then.
    """
    if fires_only_once(job.spec.schedule, until - now):
        earlier = or_(jobs.c.recorded_until.is_(None), jobs.c.recorded_until < until)
        connection.execute(update(jobs).where(jobs.c.id == job.job_id, earlier).values(recorded_until=until))


def _insert(connection: Connection, job: Job, times: Sequence[datetime], cause: Cause, not_before: datetime) -> None:
    same = {"job_id": job.job_id, "cause": cause.value, "attempt": 1, "not_before": not_before}
    if times:
        # After the clock was set back, a fire time may still be waiting from the first time.
        key = firings.c.job_id == job.job_id, firings.c.cause == cause.value, firings.c.attempt == 1
        connection.execute(delete(firings).where(*key, firings.c.due_at.in_(times)))
        connection.execute(insert(firings), [{**same, "due_at": at} for at in times])


def _drop_retries(connection: Connection, job: Job) -> None:
    connection.execute(delete(firings).where(firings.c.job_id == job.job_id, firings.c.attempt > 1))


def _delete(connection: Connection, firing: Firing) -> bool:
    return bool(connection.execute(delete(firings).where(firings.c.id == firing.firing_id)).rowcount)


def _list(connection: Connection, *conditions: Any) -> list[Firing]:
    return [_firing(row) for row in connection.execute(select(firings).where(*conditions).order_by(firings.c.id))]


def _firing(row: Row[Any]) -> Firing:
    return Firing(
        firing_id=row.id,
        job_id=row.job_id,
        due_at=row.due_at,
        cause=Cause(row.cause),
        attempt=row.attempt,
        not_before=row.not_before,
        retry_of=row.retry_of,
    )
