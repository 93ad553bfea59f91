"""Jobs as they are remembered: registered, changed, found again, removed."""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from runner.history.database import Database, Reader
from runner.history.rows import insert_row, read_selection, selection_columns, selection_id
from runner.history.tables import jobs, selections, state
from runner.model.errors import Unknown, UsageError
from runner.model.jobs import Catchup, Event, Job, JobSpec, Notify, Schedule, ScheduleKind
from runner.schedules.fire_times import move_origin_back

_QUERY = select(jobs, *selection_columns()).join_from(jobs, selections, jobs.c.selection_id == selections.c.id)


def add_job(database: Database, spec: JobSpec, now: datetime) -> Job:
    """Register a job.

    Raises:
        UsageError: If its name is taken.
    """
    with database.write() as connection:
        job = _add(connection, spec, now)
        _note_change(connection)
    return job


def change_job(database: Database, job: Job, spec: JobSpec, now: datetime) -> Job:
    """Change what was chosen for a job; a changed or resumed schedule counts from now.

    Raises:
        UsageError: If its new name is taken, or it has been removed meanwhile.
    """
    with database.write() as connection:
        changed = _change(connection, job, spec, now)
        _note_change(connection)
    return changed


def remove_job(database: Database, job: Job, now: datetime) -> None:
    """Remove a job; its history stays, and its name is free again."""
    with database.write() as connection:
        _remove(connection, job, now)
        _note_change(connection)


@dataclass(frozen=True, kw_only=True, slots=True)
class Revision:
    """What is to become of the jobs, all at once.

    Attributes:
        added: New ones.
        changed: Present ones, each with what is now chosen for it.
        removed: Present ones that go.
    """

    added: Sequence[JobSpec] = ()
    changed: Sequence[tuple[Job, JobSpec]] = ()
    removed: Sequence[Job] = ()


def revise_jobs(database: Database, decide: Callable[[list[Job]], Revision], now: datetime) -> list[Job]:
    """Let somebody decide over all jobs while nobody else can change them, and do what is decided, or nothing.

    Args:
        database: Where they are kept.
        decide: Is given the jobs that are not removed; whatever it raises leaves all of them as they were.
        now: From when new and changed schedules count.

    Returns:
        The jobs that were added.

    Raises:
        UsageError: If a name is taken.
    """
    with database.write() as connection:
        revision = decide(_list(connection))
        for job in revision.removed:
            _remove(connection, job, now)
        for job, spec in revision.changed:
            _change(connection, job, spec, now)
        added = [_add(connection, spec, now) for spec in revision.added]
        if revision.removed or revision.changed or added:
            _note_change(connection)
    return added


def find_or_add_job_at(
    database: Database, root: bytes, make_spec: Callable[[Collection[str]], JobSpec], now: datetime
) -> tuple[list[Job], bool]:
    """Find the jobs that scan a directory, or add one, in one transaction: of several processes one adds it.

    Args:
        database: Where they are kept.
        root: The directory.
        make_spec: Makes the job from the names that are taken.
        now: From when it counts.

    Returns:
        The jobs, and whether the only one of them was added.
    """
    known: list[Job] = []

    def decide(jobs: list[Job]) -> Revision:
        known[:] = [job for job in jobs if job.spec.root == root]
        return Revision() if known else Revision(added=[make_spec({job.spec.name for job in jobs})])

    added = revise_jobs(database, decide, now)
    return added or known, bool(added)


def list_jobs(database: Reader) -> list[Job]:
    """List the jobs that are not removed, in the order of their numbers."""
    with database.read() as connection:
        return _list(connection)


def get_job(database: Reader, name_or_number: str, *, removed: bool = False) -> Job:
    """Get a job by its name or number.

    Args:
        database: Where it is kept.
        name_or_number: As a person writes it; a name goes before a number.
        removed: Whether a removed job will do; of several by one name, the last removed.

    Raises:
        Unknown: If there is none.
    """
    job = find_job(database, name_or_number, removed=removed)
    if job is None:
        raise Unknown(f"there is no job {name_or_number!r}; see `runner jobs`")
    return job


def find_job(database: Reader, name_or_number: str, *, removed: bool = False) -> Job | None:
    """Find a job as :func:`get_job` does; None if there is none."""
    query = _QUERY if removed else _QUERY.where(jobs.c.removed_at.is_(None))
    # A name that came from an undecodable argument can't be any job's, and could not be bound; nor one with a NUL.
    name = name_or_number.encode("utf-8", "replace").decode().replace("\0", "?")
    with database.read() as connection:
        by_name = query.where(jobs.c.name == name).order_by(jobs.c.removed_at.is_not(None), jobs.c.removed_at.desc())
        row = connection.execute(by_name).first()
        if row is None and name.isascii() and name.isdigit() and len(name) < 19:
            row = connection.execute(query.where(jobs.c.id == int(name))).first()
        return _job(row) if row is not None else None


def find_jobs_at(database: Reader, root: bytes) -> list[Job]:
    """Find the jobs that scan a folder, in the order of their numbers."""
    with database.read() as connection:
        query = _QUERY.where(jobs.c.root == root, jobs.c.removed_at.is_(None)).order_by(jobs.c.id)
        return [_job(row) for row in connection.execute(query)]


def set_back(database: Database, job_ids: Collection[int], now: datetime) -> None:
    """Let the fire times of jobs count from now where they counted from later: the clock was set back."""
    with database.write() as connection:
        for job in _list(connection):
            schedule = job.spec.schedule
            # An anchor that was to come anyway is what somebody has chosen.
            if schedule is not None and job.job_id in job_ids and schedule.anchor_at <= job.armed_at:
                anchor_at = move_origin_back(schedule, now).anchor_at
                connection.execute(update(jobs).where(jobs.c.id == job.job_id).values(schedule_anchor_at=anchor_at))
        for column in (jobs.c.armed_at, jobs.c.accounted_at):
            later = update(jobs).where(jobs.c.id.in_(job_ids), column > now)
            connection.execute(later.values({column: now}))
        _note_change(connection)


def jobs_revision(database: Reader) -> int:
    """Give the number that every change to a job raises."""
    with database.read() as connection:
        return int(connection.execute(select(state.c.jobs_revision)).scalar_one())


def accounted_until(database: Reader) -> dict[int, datetime]:
    """Give for each job that ever fired the instant up to which its fire times have a record, carried out or not."""
    query = select(jobs.c.id, jobs.c.accounted_at).where(jobs.c.accounted_at.is_not(None))
    with database.read() as connection:
        return {row[0]: row[1] for row in connection.execute(query)}


def _list(connection: Connection) -> list[Job]:
    return [_job(row) for row in connection.execute(_QUERY.where(jobs.c.removed_at.is_(None)).order_by(jobs.c.id))]


def _add(connection: Connection, spec: JobSpec, now: datetime) -> Job:
    _refuse_taken_name(connection, spec.name, but=None)
    job_id = insert_row(connection, jobs, {**_columns(connection, spec), "created_at": now, "armed_at": now})
    return Job(job_id=job_id, spec=spec, created_at=now, armed_at=now)


def _change(connection: Connection, job: Job, spec: JobSpec, now: datetime) -> Job:
    rearmed = spec.schedule != job.spec.schedule or (job.spec.paused and not spec.paused)
    armed_at = now if rearmed else job.armed_at
    _refuse_taken_name(connection, spec.name, but=job.job_id)
    values = {**_columns(connection, spec), "armed_at": armed_at}
    if spec.schedule != job.spec.schedule:
        values["accounted_at"] = None  # by a clock that was set back since, it may lie ahead
    if spec.root != job.spec.root:
        values["mounts"] = None
    changed = connection.execute(
        update(jobs).where(jobs.c.id == job.job_id, jobs.c.removed_at.is_(None)).values(values)
    )
    if not changed.rowcount:
        raise UsageError(f"the job {job.spec.name!r} has been removed; see `runner jobs`")
    return replace(job, spec=spec, armed_at=armed_at)


def _remove(connection: Connection, job: Job, now: datetime) -> None:
    still_there = update(jobs).where(jobs.c.id == job.job_id, jobs.c.removed_at.is_(None))
    connection.execute(still_there.values(removed_at=now))


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
        "schedule_kind": schedule.kind.value if schedule else None,
        "schedule_expression": schedule.expression if schedule else None,
        "schedule_timezone": schedule.timezone if schedule else None,
        "schedule_jitter_s": schedule.jitter_s if schedule else None,
        "schedule_anchor_at": schedule.anchor_at if schedule else None,
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
            anchor_at=row.schedule_anchor_at,
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
        schedule=schedule,
        catchup=Catchup(row.catchup),
        paused=row.paused,
    )
    return Job(job_id=row.id, spec=spec, created_at=row.created_at, armed_at=row.armed_at, removed_at=row.removed_at)


def _refuse_taken_name(connection: Connection, name: str, *, but: int | None) -> None:
    taken = connection.execute(select(jobs.c.id).where(jobs.c.name == name, jobs.c.removed_at.is_(None))).scalar()
    if taken is not None and taken != but:
        raise UsageError(
            f"a job named {name!r} exists already; choose another --name, or change that one with `runner edit {name}`"
        )


def _note_change(connection: Connection) -> None:
    connection.execute(update(state).values(jobs_revision=state.c.jobs_revision + 1))
