"""Runs as they are remembered: got, found and listed."""

import json
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, func, or_, select

from runner.history.database import Reader
from runner.history.rows import environment_columns, read_environment, read_owner
from runner.history.tables import differences, environments, executions, jobs, runs
from runner.model.errors import Unknown
from runner.model.jobs import Job
from runner.model.runs import Cache, Cause, Difference, Execution, Owner, Run, Status

# How many of a job's newest rows are looked at for one of a kind.
_MOST_LOOKED_AT = 10_000

EVERY_RUN = (
    select(runs, jobs.c.name, jobs.c.root, *environment_columns())
    .join_from(runs, jobs, runs.c.job_id == jobs.c.id)
    .outerjoin(environments, runs.c.environment_id == environments.c.id)
)


def list_last_attempts(database: Reader, job: Job) -> list[int]:
    """List the runs with which the firings of a job have ended so far, from the last one by its schedule on.

    Returns:
        The numbers of the last attempt of each, newest first; those that were carried out, or are going on.
    """
    last: dict[tuple[str, datetime], int] = {}
    columns = (runs.c.id, runs.c.cause, runs.c.scheduled_at, runs.c.attempt)
    fired = runs.c.job_id == job.job_id, runs.c.cause != Cause.MANUAL.value, runs.c.started_at.is_not(None)
    with database.read() as connection:
        for row in connection.execute(select(*columns).where(*fired).order_by(runs.c.id.desc())):
            last.setdefault((row.cause, row.scheduled_at), row.id)
            if row.cause == Cause.SCHEDULE.value and row.attempt == 1:
                break
    return list(last.values())


def list_unmade(database: Reader, job: Job) -> tuple[list[Run], set[datetime]]:
    """List the missed rows of a job's present schedule for which runs may still be owed.

    Returns:
        The rows, oldest first, and the fire times for which runs have been made.
    """
    missed, made, others = [], set(), 0
    columns = (runs.c.id, runs.c.cause, runs.c.status, runs.c.scheduled_at, runs.c.owed)
    fired = runs.c.job_id == job.job_id, runs.c.cause != Cause.MANUAL.value  # what is run by hand makes up for nothing
    with database.read() as connection:
        for row in connection.execute(select(*columns).where(*fired).order_by(runs.c.id.desc())):
            if row.status == Status.MISSED.value:
                if row.owed and row.scheduled_at >= job.armed_at:
                    missed.append(row.id)
            elif row.cause == Cause.CATCHUP.value:
                made.add(row.scheduled_at)
            elif row.status != Status.SKIPPED.value:
                # One run may have waited while a row was written; before another one what was owed has been made up.
                others += 1
                if others > 1:
                    break
    found = read_runs(database, EVERY_RUN.where(runs.c.id.in_(missed)).order_by(runs.c.id)) if missed else []
    return found, made


def list_lateness(database: Reader, since: datetime, limit: int) -> list[float]:
    """List by how many seconds the last scheduled runs were late, of those that started since an instant.

    Args:
        database: Where they are kept.
        since: The earliest start.
        limit: How many of the newest rows are looked at.
    """
    newest = select(runs.c.started_at, runs.c.lateness_s).order_by(runs.c.id.desc()).limit(limit).subquery()
    query = select(newest.c.lateness_s).where(newest.c.lateness_s.is_not(None), newest.c.started_at >= since)
    with database.read() as connection:
        return list(connection.execute(query).scalars())


def list_owners(database: Reader) -> dict[int, Owner]:
    """List the runs that are recorded as running, each with its owner."""
    with database.read() as connection:
        query = select(runs).where(runs.c.status == Status.RUNNING.value)
        return {row.id: read_owner(row) for row in connection.execute(query)}


def list_runs(
    database: Reader,
    *,
    job: Job | None = None,
    statuses: Sequence[Status] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
) -> list[Run]:
    """List runs, newest first.

    Args:
        database: Where they are kept.
        job: Only this job's.
        statuses: Only these; empty for all.
        since: Only those that started, or should have, at or after this instant.
        until: Only those that started, or should have, before this instant.
        limit: At most so many.
    """
    query = EVERY_RUN.order_by(runs.c.id.desc()).limit(limit)
    if job is not None:
        query = query.where(runs.c.job_id == job.job_id)
    if statuses:
        query = query.where(runs.c.status.in_([status.value for status in statuses]))
    if since is not None:
        query = query.where(
            or_(runs.c.started_at >= since, runs.c.started_at.is_(None) & (runs.c.scheduled_at >= since))
        )
    if until is not None:
        query = query.where(or_(runs.c.started_at < until, runs.c.started_at.is_(None) & (runs.c.scheduled_at < until)))
    return read_runs(database, query)


def list_runs_before(
    database: Reader, job_id: int, run_id: int | None, *, statuses: Sequence[Status], limit: int
) -> list[Run]:
    """List the last runs of a job before one of them (None for all) that ended in some way, newest first."""
    ended = runs.c.status.in_([status.value for status in statuses])
    query = EVERY_RUN.where(runs.c.job_id == job_id, ended).order_by(runs.c.id.desc()).limit(limit)
    return read_runs(database, query if run_id is None else query.where(runs.c.id < run_id))


def get_run(database: Reader, run_id: int) -> Run:
    """Get a run by its number.

    Raises:
        Unknown: If there is none.
    """
    found = find_run(database, EVERY_RUN.where(runs.c.id == run_id)) if 0 < run_id < 2**63 else None
    if found is None:
        # Numbers are given once, in order.
        why = ": it was forgotten" if 0 < run_id < newest_run_id(database) else ""
        raise Unknown(f"there is no run {run_id}{why}; see `runner history`")
    return found


def list_last_runs(database: Reader) -> dict[int, Run]:
    """Give each job's newest run that was carried out or is going on; none of removed jobs."""
    return _list_newest(database, runs.c.started_at.is_not(None))


def list_last_saved(database: Reader) -> dict[int, Run]:
    """Give the newest run of each job that has saved what it found, as far as one is among its last rows."""
    return _list_newest(database, runs.c.files.is_not(None), _is_among_last())


def list_last_succeeded(database: Reader) -> dict[int, Run]:
    """Give the newest run of each job that has succeeded, as far as one is among its last rows."""
    return _list_newest(database, runs.c.status == Status.SUCCEEDED.value, _is_among_last())


def _is_among_last() -> ColumnElement[bool]:
    """Whether a run is among its job's last rows: a job may have failed for years, and nobody waits for all of that."""
    others = runs.alias()
    oldest = (
        select(others.c.id)
        .where(others.c.job_id == jobs.c.id)
        .order_by(others.c.id.desc())
        .limit(1)
        .offset(_MOST_LOOKED_AT - 1)
        .correlate(jobs)
        .scalar_subquery()
    )
    return runs.c.id >= func.coalesce(oldest, 0)


def _list_newest(database: Reader, *conditions: ColumnElement[bool]) -> dict[int, Run]:
    newest = (
        select(runs.c.id)
        .where(runs.c.job_id == jobs.c.id, *conditions)
        .order_by(runs.c.id.desc())
        .limit(1)
        .correlate(jobs)
        .scalar_subquery()
    )
    with database.read() as connection:
        found = connection.execute(select(newest).select_from(jobs).where(jobs.c.removed_at.is_(None))).scalars()
        ids = [run_id for run_id in found if run_id is not None]
    return {run.job_id: run for run in read_runs(database, EVERY_RUN.where(runs.c.id.in_(ids)))}


def newest_run_id(database: Reader) -> int:
    """Give the number of the newest row of all; 0 without any."""
    with database.read() as connection:
        return connection.execute(select(func.max(runs.c.id))).scalar() or 0


def list_runs_after(database: Reader, run_id: int, limit: int) -> list[Run]:
    """List the rows that are newer than one, oldest first, at most so many."""
    return read_runs(database, EVERY_RUN.where(runs.c.id > run_id).order_by(runs.c.id).limit(limit))


def list_runs_numbered(database: Reader, run_ids: Collection[int]) -> list[Run]:
    """List the runs with these numbers, oldest first; those that are forgotten are left out."""
    return read_runs(database, EVERY_RUN.where(runs.c.id.in_(run_ids)).order_by(runs.c.id)) if run_ids else []


def list_first_strategies(database: Reader, job: Job, limit: int) -> list[str]:
    """List the strategies that went first in a job's last runs, newest first."""
    query = (
        select(executions.c.strategy)
        .join(runs, executions.c.run_id == runs.c.id)
        .where(runs.c.job_id == job.job_id, executions.c.position == 1)
        .order_by(runs.c.id.desc())
        .limit(limit)
    )
    with database.read() as connection:
        return list(connection.execute(query).scalars())


def list_differences(database: Reader, run: Run) -> list[Difference]:
    """List the paths on which the strategies of a run disagree, at most a thousand."""
    query = select(differences).where(differences.c.run_id == run.run_id).order_by(differences.c.number)
    with database.read() as connection:
        return [
            Difference(path=row.path, found_by=tuple(json.loads(row.found_by))) for row in connection.execute(query)
        ]


def find_run(database: Reader, query: Select[Any]) -> Run | None:
    """Find the first run that a query made of ``EVERY_RUN`` finds; None if there is none."""
    found = read_runs(database, query.limit(1))
    return found[0] if found else None


def read_runs(database: Reader, query: Select[Any]) -> list[Run]:
    """Give the runs, with their executions, that a query made of ``EVERY_RUN`` finds, in its order."""
    with database.read() as connection:
        rows = connection.execute(query).all()
        by_run = _executions_of(connection, [row.id for row in rows])
    return [_run(row, by_run.get(row.id, ())) for row in rows]


def _executions_of(connection: Connection, run_ids: Sequence[int]) -> dict[int, tuple[Execution, ...]]:
    by_run: dict[int, tuple[Execution, ...]] = {}
    for start in range(0, len(run_ids), 500):
        query = (
            select(executions)
            .where(executions.c.run_id.in_(run_ids[start : start + 500]))
            .order_by(executions.c.run_id, executions.c.position)
        )
        for row in connection.execute(query):
            by_run[row.run_id] = (*by_run.get(row.run_id, ()), _execution(row))
    return by_run


def _execution(row: Row[Any]) -> Execution:
    fields = {name: value for name, value in row._mapping.items() if name != "run_id"}  # noqa: SLF001  its public name
    fields["status"] = Status(row.status)
    fields["cache"] = Cache(row.cache) if row.cache is not None else None
    return Execution(**fields)


def _run(row: Row[Any], of_run: Iterable[Execution]) -> Run:
    environment = None if row.environment_id is None else read_environment(row)
    return Run(
        run_id=row.id,
        job_id=row.job_id,
        job=row.name,
        root=row.root,
        cause=Cause(row.cause),
        status=Status(row.status),
        scheduled_at=row.scheduled_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        wall_s=row.wall_s,
        files=row.files,
        directories=row.directories,
        added=row.added,
        removed=row.removed,
        modified=row.modified,
        problems=row.problems,
        differences=row.differences,
        missed=row.missed,
        owed=row.owed,
        attempt=row.attempt,
        lateness_s=row.lateness_s,
        message=row.message,
        executions=tuple(of_run),
        environment=environment,
    )
