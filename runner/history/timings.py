"""Queries of trends: the timings and file counts of a job, and the acknowledged levels."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, delete, func, insert, select

from runner.history.database import Database, Reader
from runner.history.tables import acknowledgements, executions, runs
from runner.model.runs import Status
from runner.model.timings import Counts, Timing

_FINISHED = (Status.SUCCEEDED.value, Status.PARTIAL.value)


def list_timings(
    database: Reader,
    job_id: int,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    last: int | None = None,
) -> list[Timing]:
    """List the finished executions of a job by run and position.

    Only those of runs that started in [since, until), and only those of the *last* newest saved runs.
    """
    own = (executions.c[name] for name in ("strategy", "position", "workers", "wall_s", "startup_s"))
    cpu_s = executions.c.user_s + executions.c.system_s
    more = (cpu_s, executions.c.max_rss_bytes, executions.c.entries, executions.c.files)
    query = (
        select(runs.c.id, runs.c.started_at, runs.c.environment_id, *own, *more)
        .join_from(runs, executions, executions.c.run_id == runs.c.id)
        .where(runs.c.job_id == job_id, executions.c.status.in_(_FINISHED), executions.c.wall_s.is_not(None))
        .where(*_started_between(since, until))
        .order_by(runs.c.id, executions.c.position)
    )
    if last is not None:
        saved = select(runs.c.id).where(runs.c.job_id == job_id, runs.c.files.is_not(None))
        query = query.where(runs.c.id.in_(saved.order_by(runs.c.id.desc()).limit(last)))
    with database.read() as connection:
        return [Timing._make(row) for row in connection.execute(query).all()]


def list_counts(
    database: Reader,
    job_id: int,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    last: int | None = None,
) -> list[Counts]:
    """List the file counts of the saved runs of a job, by run; bounds as for :func:`list_timings`."""
    query = (
        select(runs.c.id, runs.c.started_at, runs.c.files, runs.c.added, runs.c.removed, runs.c.modified)
        .where(runs.c.job_id == job_id, runs.c.files.is_not(None), *_started_between(since, until))
        .order_by(runs.c.id.desc())
        .limit(last)
    )
    with database.read() as connection:
        return [Counts._make(row) for row in reversed(connection.execute(query).all())]


def find_extent(
    database: Reader, job_id: int, *, since: datetime | None = None, until: datetime | None = None
) -> tuple[int, int | None, int | None]:
    """Return the number of the started runs of a job that are no longer running, and the first and last of them."""
    query = select(func.count(), func.min(runs.c.id), func.max(runs.c.id)).where(
        runs.c.job_id == job_id, runs.c.finished_at.is_not(None), *_started_between(since, until)
    )
    with database.read() as connection:
        count, first, last = connection.execute(query).one()
    return count, first, last


def _started_between(since: datetime | None, until: datetime | None) -> Iterator[ColumnElement[bool]]:
    if since is not None:
        yield runs.c.started_at >= since
    if until is not None:
        yield runs.c.started_at < until


def list_acknowledged(database: Reader, job_id: int, environment_id: int, metric: str) -> dict[str, int]:
    """Return the last run before the acknowledgement of a level, by strategy."""
    query = select(acknowledgements.c.strategy, acknowledgements.c.run_id)
    query = query.filter_by(job_id=job_id, environment_id=environment_id, metric=metric)
    with database.read() as connection:
        return {row[0]: row[1] for row in connection.execute(query)}


def acknowledge(
    database: Database,
    job_id: int,
    environment_id: int,
    metric: str,
    strategies: Sequence[str],
    run_id: int,
    now: datetime,
) -> None:
    """Record the acknowledgement of the levels after a run, in place of earlier acknowledgements."""
    with database.write() as connection:
        for strategy in strategies:
            key = {"job_id": job_id, "environment_id": environment_id, "strategy": strategy, "metric": metric}
            connection.execute(delete(acknowledgements).filter_by(**key))
            connection.execute(insert(acknowledgements).values(**key, run_id=run_id, acknowledged_at=now))
