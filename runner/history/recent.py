"""Queries of overviews: the last runs of many jobs, their outcomes, and all runs of a time range in short."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Select, bindparam, case, extract, func, select

from runner.history.database import Reader
from runner.history.runs import EVERY_RUN, has_status, read_runs
from runner.history.tables import IS_RUNNING, UNSUCCESSFUL, executions, jobs, runs
from runner.model.runs import Run, Status

# Rows are numbered in the order of time, except for long runs, gaps and a clock that was set back: these are looked for
# among so many rows beside a time range.
_BESIDE = 5_000
_BEGAN_AT = func.coalesce(runs.c.started_at, runs.c.scheduled_at)
_EPOCH_S = extract("epoch", _BEGAN_AT)


class LastRun(NamedTuple):
    """What a strip of the last runs of a job shows of one."""

    run: int
    job: int
    status: str
    began_at: datetime  # its start, or its fire time if it did not start
    wall_s: float | None
    environment: int | None
    added: int | None  # None unless a snapshot was saved, as the following
    removed: int | None
    modified: int | None


class Mark(NamedTuple):
    """The runs of one job and status that began within one slot of a time range."""

    job: int
    slot: int
    status: str
    runs: int
    first_run: int
    missed: int  # fire times, of missed rows
    began_s: float  # since 1970
    ended_s: float | None  # the latest; None if one of them has not ended


def list_newest(database: Reader) -> dict[int, tuple[int, Status]]:
    """Return the number and the status of the newest row of each job, by job; without removed jobs."""
    newest = select(func.max(runs.c.id)).where(runs.c.job_id == jobs.c.id).correlate(jobs).scalar_subquery()
    numbers = select(newest.label("id")).where(jobs.c.removed_at.is_(None)).subquery()
    query = select(runs.c.job_id, runs.c.id, runs.c.status).join(numbers, runs.c.id == numbers.c.id)
    with database.read() as connection:
        return {job_id: (run_id, Status(status)) for job_id, run_id, status in connection.execute(query)}


def list_last_of_jobs(database: Reader, job_ids: Sequence[int], limit: int) -> list[LastRun]:
    """List the last *limit* rows of each job, by job and number."""
    own = (runs.c[name] for name in ("wall_s", "environment_id", "added", "removed", "modified"))
    query = _of_last(select(runs.c.id, runs.c.job_id, runs.c.status, _BEGAN_AT, *own), job_ids, limit)
    query = query.order_by(runs.c.job_id, runs.c.id)
    with database.read() as connection:
        return [LastRun._make(row) for row in connection.execute(query).all()]


def count_last(database: Reader, job_ids: Sequence[int], limit: int) -> dict[int, tuple[int, int]]:
    """Count the last *limit* rows of each job, and return the number of the first of them too, by job."""
    query = _of_last(select(runs.c.job_id, func.count(), func.min(runs.c.id)), job_ids, limit)
    with database.read() as connection:
        return {job: (count, first) for job, count, first in connection.execute(query.group_by(runs.c.job_id))}


def list_last_walls(database: Reader, job_ids: Sequence[int], limit: int) -> list[tuple[int, str, float]]:
    """List the run, the strategy and the wall time of the finished executions in :func:`list_last_of_jobs`."""
    columns = (executions.c.run_id, executions.c.strategy, executions.c.wall_s)
    query = _of_last(select(*columns).join_from(runs, executions, executions.c.run_id == runs.c.id), job_ids, limit)
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(query.where(executions.c.wall_s > 0)).all()]


def count_statuses(database: Reader, job_ids: Sequence[int], since: datetime) -> dict[int, Counter[Status]]:
    """Count the rows of each job since the first that was recorded after an instant, by job and status."""
    recent = runs.c.id >= _first_since(database, since)
    # All are counted in an index alone. The few that did not succeed are read, of any job: else SQLite reads all.
    every = select(runs.c.job_id, func.count()).where(recent, runs.c.job_id.in_(job_ids)).group_by(runs.c.job_id)
    unsuccessful = select(runs.c.job_id, runs.c.status, func.count()).where(recent, UNSUCCESSFUL)
    with database.read() as connection:
        counts = {job: Counter({Status.SUCCEEDED: count}) for job, count in connection.execute(every)}
        for job, status, count in connection.execute(unsuccessful.group_by(runs.c.job_id, runs.c.status)):
            if job in counts:
                counts[job][Status(status)] = count
                counts[job][Status.SUCCEEDED] -= count
    return counts


def list_since(database: Reader, since: datetime, statuses: Sequence[Status], limit: int) -> list[Run]:
    """List the newest runs with some statuses that began since an instant, newest first."""
    first = _first_since(database, since)
    wanted = runs.c.id >= first, has_status(statuses), since <= _BEGAN_AT
    return read_runs(database, EVERY_RUN.where(*wanted).order_by(runs.c.id.desc()).limit(limit))


def list_running(database: Reader) -> list[Run]:
    """List the running runs, oldest first."""
    running = read_runs(database, EVERY_RUN.where(IS_RUNNING))
    return sorted(running, key=lambda run: run.run_id)  # sorted by the database, all rows would be read


def find_neighbours(database: Reader, run: Run) -> tuple[int | None, int | None]:
    """Find the rows of the same job before and after a run."""
    own = runs.c.job_id == run.job_id
    with database.read() as connection:
        before = connection.execute(select(func.max(runs.c.id)).where(own, runs.c.id < run.run_id)).scalar()
        after = connection.execute(select(func.min(runs.c.id)).where(own, runs.c.id > run.run_id)).scalar()
    return before, after


def list_marks(
    database: Reader, job_ids: Sequence[int], since: datetime, until: datetime, slot: timedelta
) -> list[Mark]:
    """List what began or lasted in [since, until), by job and slot; runs of one status in one slot are one mark."""
    low = max(0, _first_since(database, since) - _BESIDE)
    high = _first_since(database, until) + _BESIDE
    ended_at = func.coalesce(runs.c.finished_at, runs.c.started_at)
    is_running = runs.c.status == Status.RUNNING.value
    number = func.floor((_EPOCH_S - int(since.timestamp())) / slot.total_seconds())
    query = (
        select(
            *(runs.c.job_id, number, runs.c.status, func.count(), func.min(runs.c.id), func.sum(runs.c.missed)),
            *(func.min(_EPOCH_S), func.max(extract("epoch", ended_at)), func.max(case((is_running, 1), else_=0))),
        )
        .where(runs.c.job_id.in_(job_ids), runs.c.id.between(low, high))
        .where(until > _BEGAN_AT, is_running | (ended_at >= since))
        .group_by(runs.c.job_id, number, runs.c.status)
        .order_by(runs.c.job_id, number)
    )
    with database.read() as connection:
        return [
            Mark(job, int(place), status, count, first, int(missed), float(began), None if goes_on else float(ended))
            for job, place, status, count, first, missed, began, ended, goes_on in connection.execute(query)
        ]


def _of_last(query: Select[Any], job_ids: Sequence[int], limit: int) -> Select[Any]:
    """Limit a query of runs to the last rows of each of some jobs."""
    others = runs.alias()
    last = select(others.c.id).where(others.c.job_id == jobs.c.id).order_by(others.c.id.desc()).limit(limit)
    first = select(func.min(last.correlate(jobs).subquery().c.id)).scalar_subquery()
    return query.join(jobs, runs.c.job_id == jobs.c.id).where(jobs.c.id.in_(job_ids), runs.c.id >= first)


def _first_since(database: Reader, since: datetime) -> int:
    """Return the number of the first row that was recorded since an instant, or the next number, by bisection."""
    recorded_at = func.coalesce(runs.c.started_at, runs.c.finished_at)
    next_row = select(runs.c.id, recorded_at).where(runs.c.id >= bindparam("least")).order_by(runs.c.id).limit(1)
    with database.read() as connection:
        low, high = 0, 1 + (connection.execute(select(func.max(runs.c.id))).scalar() or 0)
        while low < high:
            middle = (low + high) // 2
            row = connection.execute(next_row, {"least": middle}).first()
            if row is None or row[1] >= since:
                high = middle
            else:
                low = row[0] + 1
    return low
