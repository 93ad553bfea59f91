"""Pruning of old runs, after which the answers for all other runs are the same as before."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete, exists, func, select

from runner.history.database import Database, Reader
from runner.history.tables import directories, files, firings, jobs, problems, runs
from runner.model.runs import Status

FAILURES = (Status.FAILED, Status.TIMED_OUT, Status.INTERRUPTED, Status.PARTIAL)
# How many runs are deleted per transaction, for which other writers wait.
_CHUNK = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Retention:
    """The runs to be kept: those for which any condition holds."""

    since: datetime | None = None  # started, or due without starting, at or after this instant
    newest: int | None = None  # this number of started runs of each job, and the rows after the oldest of them
    failures: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Pruned:
    """The numbers of deleted runs, and of deleted states of files that no other run saw."""

    runs: int = 0
    versions: int = 0


def count_prunable(database: Reader, retention: Retention, job_id: int | None = None) -> int:
    """Return the number of runs that :func:`prune` would delete."""
    with database.read() as connection:
        return sum(
            connection.execute(select(func.count()).where(*_prunable(connection, one, retention))).scalar_one()
            for one in _job_ids(connection, job_id)
        )


def prune(
    database: Database, retention: Retention, job_id: int | None = None, *, stop: Callable[[], bool] = bool
) -> Pruned:
    """Delete the runs that are not to be kept, and the states of files that only they saw.

    The last saved run, the newest row, the running run and one whose retry waits are always kept. After each
    transaction the answers for the remaining runs are the same as before. Without *job_id* all jobs are pruned,
    including removed ones. *stop* is called between transactions; true ends the pruning early.
    """
    with database.read() as connection:
        job_ids = _job_ids(connection, job_id)
    removed = versions = 0
    for one in job_ids:
        with database.read() as connection:
            prunable = _prunable(connection, one, retention)
            old = list(connection.execute(select(runs.c.id).where(*prunable)).scalars())
        for start in range(0, len(old), _CHUNK):
            if stop():
                break
            with database.write() as connection:
                chunk = old[start : start + _CHUNK]
                removed += connection.execute(delete(runs).where(runs.c.id.in_(chunk))).rowcount
        if old:
            with database.write() as connection:
                versions += _delete_unseen(connection, one)
    return Pruned(runs=removed, versions=versions)


def _job_ids(connection: Connection, job_id: int | None) -> list[int]:
    return [job_id] if job_id is not None else list(connection.execute(select(jobs.c.id)).scalars())


def _prunable(connection: Connection, job_id: int, retention: Retention) -> list[ColumnElement[bool]]:
    own = runs.c.job_id == job_id
    newest_row = select(func.max(runs.c.id)).where(own)
    needed = (newest_row, newest_row.where(runs.c.files.is_not(None)))
    kept = {connection.execute(query).scalar() for query in needed} - {None}
    retried = select(firings.c.retry_of).where(firings.c.job_id == job_id, firings.c.retry_of.is_not(None))
    kept |= set(connection.execute(retried).scalars())
    conditions = [own, runs.c.status != Status.RUNNING.value, runs.c.id.not_in(kept)]
    if retention.since is not None:
        conditions.append(func.coalesce(runs.c.started_at, runs.c.scheduled_at) < retention.since)
    if retention.newest is not None:
        newest = select(runs.c.id).where(own, runs.c.started_at.is_not(None)).order_by(runs.c.id.desc())
        oldest_kept = connection.execute(newest.limit(1).offset(max(0, retention.newest - 1))).scalar()
        conditions.append(runs.c.id < (oldest_kept or 0) if retention.newest else own)
    if retention.failures:
        conditions.append(runs.c.status.not_in([status.value for status in FAILURES]))
    return conditions


def _delete_unseen(connection: Connection, job_id: int) -> int:
    """Delete the intervals of a job that neither contain nor end with a run; return the number of those of files."""
    counts = []
    for table in (files, problems):
        seen = exists().where(
            runs.c.job_id == job_id,
            runs.c.files.is_not(None),
            runs.c.id >= table.c.first_run_id,
            # The run that ends an interval reports it as a change.
            runs.c.id <= table.c.gone_run_id,
        )
        gone = delete(table).where(table.c.job_id == job_id, table.c.gone_run_id.is_not(None), ~seen)
        counts.append(connection.execute(gone).rowcount)
    has_files = exists().where(files.c.folder_id == directories.c.id)
    # A run that is being saved may know a directory without files, and add some.
    is_running = exists().where(runs.c.job_id == job_id, runs.c.status == Status.RUNNING.value)
    connection.execute(delete(directories).where(directories.c.job_id == job_id, ~has_files, ~is_running))
    return counts[0]
