"""Runs that have saved what they found: which came first, last or before another, and what they looked for."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, select, update

from runner.history.database import Reader
from runner.history.runs import EVERY_RUN, find_run
from runner.history.tables import files, jobs, runs
from runner.model.jobs import Job
from runner.model.runs import Run


def find_last_saved(database: Reader, job: Job, at: datetime) -> Run | None:
    """Find the newest run of a job that had saved what it found by an instant; None if there was none."""
    return find_run(database, _saved(job).where(runs.c.finished_at <= at).order_by(runs.c.id.desc()))


def find_first_saved(database: Reader, job: Job) -> Run | None:
    """Find the oldest run of a job that has saved what it found; None if there is none."""
    return find_run(database, _saved(job).order_by(runs.c.id))


def saw_before(database: Reader, run: Run) -> bool:
    """Whether a file is known to have been found by a run of the same job before this one, which may be forgotten."""
    query = select(files.c.job_id).where(files.c.job_id == run.job_id, files.c.first_run_id < run.run_id).limit(1)
    with database.read() as connection:
        return connection.execute(query).first() is not None


def find_saved_before(database: Reader, job: Job, run: Run) -> Run | None:
    """Find the newest run of a job before another one that has saved what it found; None if there is none."""
    return find_run(database, _saved(job).where(runs.c.id < run.run_id).order_by(runs.c.id.desc()))


def list_saved_mounts(database: Reader, job: Job) -> tuple[bytes, ...]:
    """List the mount points that the last saved run of a job had, relative to its root."""
    with database.read() as connection:
        joined = connection.execute(select(jobs.c.mounts).where(jobs.c.id == job.job_id)).scalar()
    return () if joined is None else tuple(joined.split(b"\0"))


def record_mounts(connection: Connection, job_id: int, mounts: tuple[bytes, ...]) -> None:
    """Record the mount points of a run that is saved."""
    joined = b"\0".join(mounts) if mounts else None  # the root's own path is empty
    changed = update(jobs).where(jobs.c.id == job_id, jobs.c.mounts.is_distinct_from(joined))
    connection.execute(changed.values(mounts=joined))


def _saved(job: Job) -> Select[Any]:
    return EVERY_RUN.where(runs.c.job_id == job.job_id, runs.c.files.is_not(None))


def shows_changes(database: Reader, run: Run) -> bool:
    """Whether what changed in a saved run changed in the tree: an earlier one was saved, and looked for the same."""
    with database.read() as connection:
        saved = select(runs.c.id).where(runs.c.job_id == run.job_id, runs.c.files.is_not(None), runs.c.id < run.run_id)
        if run.files is None or connection.execute(saved.limit(1)).first() is None:
            return False
        return find_last_of_other_selection(connection, run.job_id, run.run_id) is None


def list_selections_between(database: Reader, job: Job, before: Run, after: Run) -> set[int]:
    """Give the numbers of the selections with which two runs of a job, and those between them, were made."""
    query = select(runs.c.selection_id).where(
        runs.c.job_id == job.job_id,
        runs.c.files.is_not(None),
        runs.c.id.between(before.run_id, after.run_id),
    )
    with database.read() as connection:
        return set(connection.execute(query.distinct()).scalars())


def find_last_of_other_selection(connection: Connection, job_id: int, run_id: int) -> int | None:
    """Find the last saved run before this one if it was made with other patterns, excludes or the like."""
    last = (
        select(runs.c.id, runs.c.selection_id)
        .where(runs.c.job_id == job_id, runs.c.id < run_id, runs.c.files.is_not(None))
        .order_by(runs.c.id.desc())
        .limit(1)
    )
    row = connection.execute(last).first()
    own = connection.execute(select(runs.c.selection_id).where(runs.c.id == run_id)).scalar()
    return row.id if row is not None and row.selection_id != own else None
