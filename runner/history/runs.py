"""Queries for runs: get, find and list them, the saved ones among them, and which selections they used."""

import json
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, func, or_, select

from runner.history.database import Reader
from runner.history.rows import environment_columns, read_environment, read_owner
from runner.history.tables import UNSUCCESSFUL, differences, environments, executions, files, jobs, runs
from runner.model.contents import SavedState
from runner.model.errors import Unknown
from runner.model.jobs import Job
from runner.model.runs import Cache, Cause, Difference, Execution, Owner, Run, Status

# A search for the newest run of a kind ends after this many rows of a job, which may have failed for years.
_MAX_ROWS = 10_000

EVERY_RUN = (
    select(runs, jobs.c.name, jobs.c.root, *environment_columns())
    .join_from(runs, jobs, runs.c.job_id == jobs.c.id)
    .outerjoin(environments, runs.c.environment_id == environments.c.id)
)
_NEWEST_FIRST = runs.c.id.desc()


def get_run(database: Reader, run_id: int) -> Run:
    """Return a run by its number.

    Raises:
        Unknown: If there is none.
    """
    run = _find_run(database, EVERY_RUN.where(runs.c.id == run_id)) if 0 < run_id < 2**63 else None
    if run is None:
        why = ": it was deleted" if 0 < run_id < newest_run_id(database) else ""
        raise Unknown(f"there is no run {run_id}{why}; see `runner history`")
    return run


def get_last_started(database: Reader, job: Job | None = None) -> Run:
    """Return the newest run that has started, of a job or of all.

    Raises:
        Unknown: If there is none.
    """
    query = EVERY_RUN.where(runs.c.started_at.is_not(None), *([runs.c.job_id == job.job_id] if job is not None else []))
    run = _find_run(database, query.order_by(_NEWEST_FIRST))
    if run is None:
        of_job, which = (f" of {job.spec.name!r}", job.word) if job is not None else ("", "DIR")
        raise Unknown(f"no run{of_job} has started yet; start one with `runner run {which}`")
    return run


def list_runs(
    database: Reader,
    *,
    job: Job | None = None,
    job_ids: Collection[int] | None = None,
    statuses: Sequence[Status] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    before: int | None = None,
    limit: int | None = None,
) -> list[Run]:
    """List runs, newest first.

    Args:
        database: The history.
        job: Only the runs of this job.
        job_ids: Only those of these jobs; None for all.
        statuses: Only these; empty for all.
        since: Only runs that started, or were due without starting, at or after this instant.
        until: The same before this instant.
        before: Only runs with a lower number.
        limit: The maximum number.
    """
    query = EVERY_RUN.order_by(_NEWEST_FIRST).limit(limit)
    started_at, scheduled_at = runs.c.started_at, runs.c.scheduled_at
    if job is not None:
        query = query.where(runs.c.job_id == job.job_id)
    if job_ids is not None:
        query = query.where(runs.c.job_id.in_(job_ids))
    if before is not None:
        query = query.where(runs.c.id < before)
    if statuses:
        query = query.where(has_status(statuses))
    if since is not None:
        query = query.where(or_(started_at >= since, started_at.is_(None) & (scheduled_at >= since)))
    if until is not None:
        query = query.where(or_(started_at < until, started_at.is_(None) & (scheduled_at < until)))
    return read_runs(database, query)


def list_runs_before(
    database: Reader, job_id: int, run_id: int | None, *, statuses: Sequence[Status], limit: int, after: int = 0
) -> list[Run]:
    """List the last runs of a job with some statuses before a run (None for all) and after another, newest first."""
    query = EVERY_RUN.where(runs.c.job_id == job_id, runs.c.id > after, has_status(statuses))
    query = query.order_by(_NEWEST_FIRST).limit(limit)
    return read_runs(database, query if run_id is None else query.where(runs.c.id < run_id))


def list_runs_after(database: Reader, run_id: int, limit: int) -> list[Run]:
    """List at most *limit* rows that are newer than a run, oldest first."""
    return read_runs(database, EVERY_RUN.where(runs.c.id > run_id).order_by(runs.c.id).limit(limit))


def list_runs_numbered(database: Reader, run_ids: Collection[int]) -> list[Run]:
    """List the runs with these numbers, without pruned ones, oldest first."""
    return read_runs(database, EVERY_RUN.where(runs.c.id.in_(run_ids)).order_by(runs.c.id)) if run_ids else []


def newest_run_id(database: Reader) -> int:
    """Return the number of the newest row; 0 if there is none."""
    with database.read() as connection:
        return connection.execute(select(func.max(runs.c.id))).scalar() or 0


def list_last_runs(database: Reader) -> dict[int, Run]:
    """Return the newest run of each job that was started, by job; without removed jobs."""
    return _list_newest(database, runs.c.started_at.is_not(None))


def list_last_saved(database: Reader) -> dict[int, Run]:
    """Return the newest saved run of each job, by job, as far as it is among its last rows."""
    return _list_newest(database, runs.c.files.is_not(None), _is_among_last())


def list_last_succeeded(database: Reader) -> dict[int, Run]:
    """Return the newest succeeded run of each job, by job, as far as it is among its last rows."""
    return _list_newest(database, runs.c.status == Status.SUCCEEDED.value, _is_among_last())


def list_lateness(database: Reader, since: datetime, limit: int) -> list[float]:
    """List how many seconds late the scheduled runs started since an instant, of the newest *limit* rows."""
    newest = select(runs.c.started_at, runs.c.lateness_s).order_by(_NEWEST_FIRST).limit(limit).subquery()
    query = select(newest.c.lateness_s).where(newest.c.lateness_s.is_not(None), newest.c.started_at >= since)
    with database.read() as connection:
        return list(connection.execute(query).scalars())


def list_owners(database: Reader) -> dict[int, Owner | None]:
    """Return the owners of the running runs, by run; None for a run that is taken from its owner and not ended yet."""
    with database.read() as connection:
        query = select(runs).where(runs.c.status == Status.RUNNING.value)
        return {row.id: None if row.owner_pid is None else read_owner(row) for row in connection.execute(query)}


def list_first_strategies(database: Reader, job: Job, limit: int) -> list[str]:
    """List the strategies at position 1 in the last runs of a job, newest first."""
    query = (
        select(executions.c.strategy)
        .join(runs, executions.c.run_id == runs.c.id)
        .where(runs.c.job_id == job.job_id, executions.c.position == 1)
        .order_by(_NEWEST_FIRST)
        .limit(limit)
    )
    with database.read() as connection:
        return list(connection.execute(query).scalars())


def list_differences(database: Reader, run: Run) -> list[Difference]:
    """List the paths on which the strategies of a run differ, at most a thousand."""
    query = select(differences).where(differences.c.run_id == run.run_id).order_by(differences.c.number)
    with database.read() as connection:
        rows = connection.execute(query).all()
    return [Difference(path=row.path, found_by=tuple(json.loads(row.found_by))) for row in rows]


def find_last_saved(database: Reader, job: Job, at: datetime) -> Run | None:
    """Find the newest run of a job that was saved at an instant."""
    return _find_run(database, _saved(job).where(runs.c.finished_at <= at).order_by(_NEWEST_FIRST))


def find_first_saved(database: Reader, job: Job) -> Run | None:
    """Find the oldest saved run of a job."""
    return _find_run(database, _saved(job).order_by(runs.c.id))


def find_saved_before(database: Reader, job: Job, run: Run) -> Run | None:
    """Find the newest saved run of a job before another run."""
    return _find_run(database, _saved(job).where(runs.c.id < run.run_id).order_by(_NEWEST_FIRST))


def find_saved_after(database: Reader, job: Job, run: Run) -> Run | None:
    """Find the oldest saved run of a job after another run."""
    return _find_run(database, _saved(job).where(runs.c.id > run.run_id).order_by(runs.c.id))


def list_states(database: Reader, job: Job, most: int) -> list[SavedState]:
    """List the states of a tree, oldest first; beyond *most*, one stands for a group of consecutive ones."""
    changes = [func.coalesce(column, 0) for column in (runs.c.added, runs.c.removed, runs.c.modified)]
    query = (
        select(runs.c.id, runs.c.finished_at, (changes[0] + changes[1] + changes[2]).label("changes"))
        .where(runs.c.job_id == job.job_id, runs.c.files.is_not(None))
        .order_by(_NEWEST_FIRST)
        .limit(_MAX_ROWS)
    )
    with database.read() as connection:
        rows = connection.execute(query).all()
    size = -(-len(rows) // most) or 1
    groups = [rows[start : start + size] for start in range(0, len(rows), size)]
    return [
        SavedState(
            run_id=group[0].id,
            finished_at=group[0].finished_at,
            changes=sum(row.changes for row in group),
            runs=len(group),
        )
        for group in reversed(groups)
    ]


def has_earlier_files(database: Reader, run: Run) -> bool:
    """Return whether a run of the same job before this one, possibly pruned, found a file."""
    query = select(files.c.job_id).where(files.c.job_id == run.job_id, files.c.first_run_id < run.run_id).limit(1)
    with database.read() as connection:
        return connection.execute(query).first() is not None


def is_comparable(database: Reader, run: Run) -> bool:
    """Return whether the changes of a run are changes of the tree: an earlier saved run had the same selection."""
    with database.read() as connection:
        saved = select(runs.c.id).where(runs.c.job_id == run.job_id, runs.c.files.is_not(None), runs.c.id < run.run_id)
        if run.files is None or connection.execute(saved.limit(1)).first() is None:
            return False
        return find_last_of_other_selection(connection, run.job_id, run.run_id) is None


def list_selections_between(database: Reader, job: Job, before: Run, after: Run) -> set[int]:
    """Return the numbers of the selections of the saved runs of a job from one run to another, both included."""
    between = runs.c.id.between(before.run_id, after.run_id)
    query = select(runs.c.selection_id).where(runs.c.job_id == job.job_id, runs.c.files.is_not(None), between)
    with database.read() as connection:
        return set(connection.execute(query.distinct()).scalars())


def find_last_of_other_selection(connection: Connection, job_id: int, run_id: int) -> int | None:
    """Find the last saved run before a run if it had another selection (patterns, excludes ...)."""
    last = (
        select(runs.c.id, runs.c.selection_id)
        .where(runs.c.job_id == job_id, runs.c.id < run_id, runs.c.files.is_not(None))
        .order_by(_NEWEST_FIRST)
        .limit(1)
    )
    row = connection.execute(last).first()
    own = connection.execute(select(runs.c.selection_id).where(runs.c.id == run_id)).scalar()
    return row.id if row is not None and row.selection_id != own else None


def has_status(statuses: Sequence[Status]) -> ColumnElement[bool]:
    """Return the condition that a run has one of some statuses, so that the index of unsuccessful runs is used."""
    condition = runs.c.status.in_([status.value for status in statuses])
    return condition if Status.SUCCEEDED in statuses else condition & UNSUCCESSFUL


def _saved(job: Job) -> Select[Any]:
    return EVERY_RUN.where(runs.c.job_id == job.job_id, runs.c.files.is_not(None))


def _is_among_last() -> ColumnElement[bool]:
    others = runs.alias()
    oldest = select(others.c.id).where(others.c.job_id == jobs.c.id).order_by(others.c.id.desc()).limit(1)
    oldest = oldest.offset(_MAX_ROWS - 1).correlate(jobs)
    return runs.c.id >= func.coalesce(oldest.scalar_subquery(), 0)


def _list_newest(database: Reader, *conditions: ColumnElement[bool]) -> dict[int, Run]:
    newest = select(runs.c.id).where(runs.c.job_id == jobs.c.id, *conditions).order_by(_NEWEST_FIRST).limit(1)
    newest_id = newest.correlate(jobs).scalar_subquery()
    with database.read() as connection:
        rows = connection.execute(select(newest_id).select_from(jobs).where(jobs.c.removed_at.is_(None))).scalars()
        run_ids = [run_id for run_id in rows if run_id is not None]
    return {run.job_id: run for run in read_runs(database, EVERY_RUN.where(runs.c.id.in_(run_ids)))}


def _find_run(database: Reader, query: Select[Any]) -> Run | None:
    found = read_runs(database, query.limit(1))
    return found[0] if found else None


def read_runs(database: Reader, query: Select[Any]) -> list[Run]:
    """Return the runs of a query based on ``EVERY_RUN``, with their executions, in its order."""
    with database.read() as connection:
        rows = connection.execute(query).all()
        by_run = _read_executions(connection, [row.id for row in rows])
    return [_run(row, by_run.get(row.id, ())) for row in rows]


def _read_executions(connection: Connection, run_ids: Sequence[int]) -> dict[int, list[Execution]]:
    by_run: dict[int, list[Execution]] = {}
    for start in range(0, len(run_ids), 500):
        query = select(executions).where(executions.c.run_id.in_(run_ids[start : start + 500]))
        for row in connection.execute(query.order_by(executions.c.run_id, executions.c.position)):
            by_run.setdefault(row.run_id, []).append(_execution(row))
    return by_run


def _execution(row: Row[Any]) -> Execution:
    fields = dict(row._mapping)  # noqa: SLF001  its public name
    del fields["run_id"]
    fields["status"] = Status(row.status)
    fields["cache"] = Cache(row.cache) if row.cache is not None else None
    return Execution(**fields)


def _run(row: Row[Any], of_run: Iterable[Execution]) -> Run:
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
        attempt=row.attempt,
        lateness_s=row.lateness_s,
        message=row.message,
        executions=tuple(of_run),
        environment=None if row.environment_id is None else read_environment(row),
    )
