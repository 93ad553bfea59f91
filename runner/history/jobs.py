"""Jobs in the database: add, change, remove, find and list them."""

import json
import os
import shlex
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, select, update

from runner.history.database import Database, Reader
from runner.history.rows import insert_row, read_selection, selection_columns, selection_id
from runner.history.tables import firings, jobs, selections, state
from runner.model.errors import Unknown, UsageError
from runner.model.jobs import Catchup, Event, Job, JobSpec, Notify, Schedule, ScheduleKind
from runner.schedules.fire_times import move_origin_back

_QUERY = select(jobs, *selection_columns()).join_from(jobs, selections, jobs.c.selection_id == selections.c.id)


def add_job(database: Database, spec: JobSpec, now: datetime) -> Job:
    """Add a job.

    Raises:
        UsageError: If its name is taken.
    """
    with database.write() as connection:
        job = _add(connection, spec, now)
        _increment_revision(connection)
    return job


def change_job(database: Database, job: Job, spec: JobSpec, now: datetime) -> Job:
    """Update the options of a job; a changed or resumed schedule starts now.

    Raises:
        UsageError: If its new name is taken, or it has been removed.
    """
    with database.write() as connection:
        changed = _change(connection, job, spec, now)
        _increment_revision(connection)
    return changed


def set_paused(database: Database, job: Job, now: datetime, *, paused: bool) -> None:
    """Pause or resume a job, if it is not so already."""
    if job.spec.paused is not paused:
        change_job(database, job, replace(job.spec, paused=paused), now)


def remove_job(database: Database, job: Job, now: datetime) -> None:
    """Delete a job, but not its history; its name becomes free."""
    with database.write() as connection:
        _remove(connection, job, now)
        _increment_revision(connection)


@dataclass(frozen=True, kw_only=True, slots=True)
class JobChanges:
    """Changes of jobs that are applied together."""

    added: Sequence[JobSpec] = ()
    changed: Sequence[tuple[Job, JobSpec]] = ()
    removed: Sequence[Job] = ()


def update_jobs(database: Database, decide: Callable[[list[Job]], JobChanges], now: datetime) -> list[Job]:
    """Apply changes that depend on the present jobs, in one transaction; return the added jobs.

    Args:
        database: The history.
        decide: Returns the changes for the jobs that are not removed; an error leaves all jobs unchanged.
        now: When new and changed schedules start.

    Raises:
        UsageError: If a name is taken.
    """
    with database.write() as connection:
        changes = decide(_list(connection))
        for job in changes.removed:
            _remove(connection, job, now)
        for job, spec in changes.changed:
            _change(connection, job, spec, now)
        added = [_add(connection, spec, now) for spec in changes.added]
        if changes.removed or changes.changed or added:
            _increment_revision(connection)
    return added


def find_or_add_job_at(
    database: Database, root: bytes, make_spec: Callable[[Collection[str]], JobSpec], now: datetime
) -> tuple[list[Job], bool]:
    """Find the jobs of a root directory, or add one, in one transaction.

    Args:
        database: The history.
        root: The directory.
        make_spec: Returns the options of the new job; its argument is the names in use.
        now: When its schedule starts.

    Returns:
        The jobs, and whether the only one was added.
    """
    known: list[Job] = []

    def decide(jobs: list[Job]) -> JobChanges:
        known[:] = [job for job in jobs if job.spec.root == root]
        return JobChanges() if known else JobChanges(added=[make_spec({job.spec.name for job in jobs})])

    added = update_jobs(database, decide, now)
    return added or known, bool(added)


def list_jobs(database: Reader) -> list[Job]:
    """List the jobs that are not removed, by number."""
    with database.read() as connection:
        return _list(connection)


def list_chosen_jobs(database: Reader, name: str | None, tag: str | None, *, removed: bool = False) -> list[Job]:
    """List the job that a user names, or the jobs with a tag, or all.

    Raises:
        Unknown: If there is no such job or no job with the tag.
        UsageError: If both are given.
    """
    if name is not None and tag is not None:
        raise UsageError("a job and --tag exclude each other; give one of them")
    if name is not None:
        return [get_job(database, name, removed=removed)]
    found = list_jobs(database)
    tagged = [job for job in found if tag is None or tag in job.spec.tags]
    if tag is not None and not tagged:
        known = ", ".join(sorted({one for job in found for one in job.spec.tags}))
        cure = f"choose from {known}" if known else "give one to a job by `runner edit JOB --tag WORD`"
        raise Unknown(f"no job has the tag {tag!r}; {cure}")
    return tagged


def get_job(database: Reader, name_or_number: str, *, removed: bool = False) -> Job:
    """Return a job by its name, its number or its root directory.

    Args:
        database: The history.
        name_or_number: As the user writes it; a name takes precedence.
        removed: Whether to include removed jobs; of several with the name, the last removed is returned.

    Raises:
        Unknown: If there is none.
        UsageError: If several jobs scan the directory.
    """
    job = find_job(database, name_or_number, removed=removed)
    if job is None and name_or_number:
        job = only_job(list_jobs_at(database, absolute_root(os.fsencode(name_or_number))), name_or_number)
    if job is None:
        raise Unknown(f"there is no job {name_or_number!r}; {suggest_job(database, name_or_number)}")
    return job


def suggest_job(database: Reader, name: str) -> str:
    """Return the advice for a name that no job has: the job that is most like it, or the list."""
    similar = get_close_matches(name, [job.spec.name for job in list_jobs(database)], 1)
    return f"did you mean {similar[0]!r}?" if similar else "see `runner jobs`"


def absolute_root(path: bytes) -> bytes:
    """Return the one spelling of a root's path; links in it stay as they were named."""
    # POSIX leaves two slashes at the beginning to the system, and abspath keeps them; here they are one.
    return b"/" + os.path.abspath(path).lstrip(b"/")  # noqa: PTH100


def find_job(database: Reader, name_or_number: str, *, removed: bool = False) -> Job | None:
    """Find a job as :func:`get_job` does."""
    query = _QUERY if removed else _QUERY.where(jobs.c.removed_at.is_(None))
    # The driver cannot bind undecodable arguments and NULs, which no job name contains.
    name = name_or_number.encode("utf-8", "replace").decode().replace("\0", "?")
    with database.read() as connection:
        by_name = query.where(jobs.c.name == name).order_by(jobs.c.removed_at.is_not(None), jobs.c.removed_at.desc())
        row = connection.execute(by_name).first()
        if row is None and name.isascii() and name.isdigit() and len(name) < 19:
            row = connection.execute(query.where(jobs.c.id == int(name))).first()
        return _job(row) if row is not None else None


def get_job_numbered(database: Reader, job_id: int) -> Job:
    """Return a job, which may have been removed, by its number."""
    with database.read() as connection:
        return _job(connection.execute(_QUERY.where(jobs.c.id == job_id)).one())


def list_jobs_at(database: Reader, root: bytes) -> list[Job]:
    """List the jobs of a root directory, by number."""
    with database.read() as connection:
        return _list(connection, jobs.c.root == root)


def only_job(at_root: Sequence[Job], directory: str) -> Job | None:
    """Return the job of a directory from the list of its jobs; a UsageError if there are several."""
    if len(at_root) > 1:
        names = ", ".join(repr(job.spec.name) for job in at_root)
        raise UsageError(f"several jobs scan {directory!r}: {names}; name one of them")
    return at_root[0] if at_root else None


def set_back(database: Database, job_ids: Collection[int], now: datetime) -> None:
    """Move the instants of jobs that are after *now* back to it, because the clock was set back."""
    with database.write() as connection:
        for job in _list(connection):
            schedule = job.spec.schedule
            # An origin after the start of the schedule was chosen by the user.
            if schedule is not None and job.job_id in job_ids and schedule.interval_origin <= job.schedule_start:
                interval_origin = move_origin_back(schedule, now).interval_origin
                connection.execute(update(jobs).where(jobs.c.id == job.job_id).values(interval_origin=interval_origin))
        for column in (jobs.c.schedule_start, jobs.c.recorded_until):
            later = update(jobs).where(jobs.c.id.in_(job_ids), column > now)
            connection.execute(later.values({column: now}))
        _increment_revision(connection)


def jobs_revision(database: Reader) -> int:
    """Return the number that every change of a job increments."""
    with database.read() as connection:
        return int(connection.execute(select(state.c.jobs_revision)).scalar_one())


def list_recorded_until(database: Reader) -> dict[int, datetime]:
    """Return the instant up to which all fire times of a job have rows, by job."""
    query = select(jobs.c.id, jobs.c.recorded_until).where(jobs.c.recorded_until.is_not(None))
    with database.read() as connection:
        return {row[0]: row[1] for row in connection.execute(query)}


def _list(connection: Connection, *conditions: ColumnElement[bool]) -> list[Job]:
    query = _QUERY.where(jobs.c.removed_at.is_(None), *conditions).order_by(jobs.c.id)
    return [_job(row) for row in connection.execute(query)]


def _add(connection: Connection, spec: JobSpec, now: datetime) -> Job:
    _check_name(connection, spec.name)
    job_id = insert_row(connection, jobs, {**_columns(connection, spec), "created_at": now, "schedule_start": now})
    return Job(job_id=job_id, spec=spec, created_at=now, schedule_start=now)


def _change(connection: Connection, job: Job, spec: JobSpec, now: datetime) -> Job:
    restarted = spec.schedule != job.spec.schedule or (job.spec.paused and not spec.paused)
    schedule_start = now if restarted else job.schedule_start
    _check_name(connection, spec.name, job.job_id)
    values = {**_columns(connection, spec), "schedule_start": schedule_start}
    if spec.schedule != job.spec.schedule:
        values["recorded_until"] = None  # it is in the future if the clock was set back
    if spec.root != job.spec.root:
        values["mounts"] = None
    if spec.retry_delay_s != job.spec.retry_delay_s:
        _move_retries(connection, job, timedelta(seconds=spec.retry_delay_s - job.spec.retry_delay_s))
    changed = connection.execute(
        update(jobs).where(jobs.c.id == job.job_id, jobs.c.removed_at.is_(None)).values(values)
    )
    if not changed.rowcount:
        raise UsageError(f"the job {job.spec.name!r} has been removed; see `runner jobs`")
    return replace(job, spec=spec, schedule_start=schedule_start)


def _move_retries(connection: Connection, job: Job, by: timedelta) -> None:
    retries = firings.c.job_id == job.job_id, firings.c.attempt > 1
    for row in connection.execute(select(firings).where(*retries)).all():
        connection.execute(update(firings).where(firings.c.id == row.id).values(not_before=row.not_before + by))


def _remove(connection: Connection, job: Job, now: datetime) -> None:
    present = update(jobs).where(jobs.c.id == job.job_id, jobs.c.removed_at.is_(None))
    connection.execute(present.values(removed_at=now))


def _columns(connection: Connection, spec: JobSpec) -> dict[str, Any]:
    schedule = spec.schedule
    return {
        "name": spec.name,
        "root": spec.root,
        "selection_id": selection_id(connection, spec.selection),
        "strategies": json.dumps(spec.strategies),
        "workers": spec.workers,
        "timeout_s": spec.timeout_s,
        "full_every_s": spec.full_every_s,
        "retries": spec.retries,
        "retry_delay_s": spec.retry_delay_s,
        "notify": json.dumps([[notify.event.value, *notify.command] for notify in spec.notify]),
        "tags": json.dumps(spec.tags),
        "schedule_kind": schedule.kind.value if schedule else None,
        "schedule_expression": schedule.expression if schedule else None,
        "schedule_timezone": schedule.timezone if schedule else None,
        "schedule_jitter_s": schedule.jitter_s if schedule else None,
        "interval_origin": schedule.interval_origin if schedule else None,
        "catchup": spec.catchup.value,
        "paused": spec.paused,
    }


def _job(row: Row[Any]) -> Job:
    schedule = None
    if row.schedule_kind is not None:
        schedule = Schedule(
            kind=ScheduleKind(row.schedule_kind),
            expression=row.schedule_expression,
            timezone=row.schedule_timezone,
            jitter_s=row.schedule_jitter_s,
            interval_origin=row.interval_origin,
        )
    spec = JobSpec(
        name=row.name,
        root=row.root,
        selection=read_selection(row),
        strategies=tuple(json.loads(row.strategies)),
        workers=row.workers,
        timeout_s=row.timeout_s,
        full_every_s=row.full_every_s,
        retries=row.retries,
        retry_delay_s=row.retry_delay_s,
        notify=tuple(Notify(Event(event), tuple(command)) for event, *command in json.loads(row.notify)),
        tags=tuple(json.loads(row.tags)),
        schedule=schedule,
        catchup=Catchup(row.catchup),
        paused=row.paused,
    )
    return Job(
        job_id=row.id,
        spec=spec,
        created_at=row.created_at,
        schedule_start=row.schedule_start,
        removed_at=row.removed_at,
    )


def _check_name(connection: Connection, name: str, own_id: int | None = None) -> None:
    taken = connection.execute(select(jobs.c.id).where(jobs.c.name == name, jobs.c.removed_at.is_(None))).scalar()
    if taken is not None and taken != own_id:
        cure = f"choose another --name, or change that one with `runner edit {shlex.quote(name)}`"
        raise UsageError(f"a job named {name!r} exists already; {cure}")


def _increment_revision(connection: Connection) -> None:
    connection.execute(update(state).values(jobs_revision=state.c.jobs_revision + 1))
