"""Forgetting old runs, so that every question about the others is still answered exactly."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete, exists, func, select

from runner.history.database import Database, Reader
from runner.history.tables import directories, files, jobs, problems, runs
from runner.model.runs import Status

# Runs that count as failures, and can be kept as such.
FAILURES = (Status.FAILED, Status.TIMED_OUT, Status.INTERRUPTED, Status.PARTIAL)
# So many runs go in one transaction: others wait for it, but not long.
_CHUNK = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Retention:
    """Which runs are kept; one that any of these keeps is kept.

    Attributes:
        since: Those that started, or should have, at or after this instant; None for none.
        newest: So many of each job that were carried out or are going on, counted from the last, and what came after
            the oldest of them; None for none.
        failures: Whether those that failed are kept whatever their age.
    """

    since: datetime | None = None
    newest: int | None = None
    failures: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Pruned:
    """What was forgotten.

    Attributes:
        runs: How many runs.
        versions: How many states of files that no remaining run saw.
    """

    runs: int = 0
    versions: int = 0


def count_prunable(database: Reader, retention: Retention, job_id: int | None = None) -> int:
    """Count the runs that :func:`prune` would remove."""
    with database.read() as connection:
        return sum(
            connection.execute(select(func.count()).where(*_prunable(connection, one, retention))).scalar_one()
            for one in _job_ids(connection, job_id)
        )


def prune(
    database: Database, retention: Retention, job_id: int | None = None, *, stop: Callable[[], bool] = bool
) -> Pruned:
    """Remove the runs that are not to be kept, and every state of a file that only they saw.

    What a job needs to go on is kept in any case: its last saved run, its newest row, and what is going on. At any
    moment the remaining runs answer as before.

    Args:
        database: Where they are.
        retention: What is kept.
        job_id: Only this job's; None for all jobs', removed ones included.
        stop: Asked between transactions whether to leave the rest for another time.
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
                versions += _forget_unseen(connection, one)
    return Pruned(runs=removed, versions=versions)


def _job_ids(connection: Connection, job_id: int | None) -> list[int]:
    return [job_id] if job_id is not None else list(connection.execute(select(jobs.c.id)).scalars())


def _prunable(connection: Connection, job_id: int, retention: Retention) -> list[ColumnElement[bool]]:
    own = runs.c.job_id == job_id
    needed = [
        select(func.max(runs.c.id)).where(own),
        select(func.max(runs.c.id)).where(own, runs.c.files.is_not(None)),
    ]
    kept = {connection.execute(query).scalar() for query in needed} - {None}
    conditions = [own, runs.c.status != Status.RUNNING.value, runs.c.id.not_in(kept)]
    if retention.since is not None:
        conditions.append(func.coalesce(runs.c.started_at, runs.c.scheduled_at) < retention.since)
    if retention.newest is not None:
        carried_out = runs.c.started_at.is_not(None)
        newest = (
            select(runs.c.id)
            .where(own, carried_out)
            .order_by(runs.c.id.desc())
            .limit(1)
            .offset(max(0, retention.newest - 1))
        )
        oldest_kept = connection.execute(newest).scalar()
        conditions.append(runs.c.id < (oldest_kept or 0) if retention.newest else own)
    if retention.failures:
        conditions.append(runs.c.status.not_in([status.value for status in FAILURES]))
    return conditions


def _forget_unseen(connection: Connection, job_id: int) -> int:
    """Remove the intervals of a job that neither hold a run any more nor end with one; returns how many of files."""
    counts = []
    for table in (files, problems):
        seen = exists().where(
            runs.c.job_id == job_id,
            runs.c.files.is_not(None),
            runs.c.id >= table.c.first_run_id,
            # The run that no longer saw it so tells that as a change of its own.
            runs.c.id <= table.c.gone_run_id,
        )
        gone = delete(table).where(table.c.job_id == job_id, table.c.gone_run_id.is_not(None), ~seen)
        counts.append(connection.execute(gone).rowcount)
    holds_any = exists().where(files.c.folder_id == directories.c.id)
    connection.execute(delete(directories).where(directories.c.job_id == job_id, ~holds_any))
    return counts[0]
