"""Runs as they are remembered: begun, finished with all they found in one transaction, listed."""

import json
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, func, insert, or_, select, update

from runner.history.database import Database
from runner.history.findings import Tally, record_findings
from runner.history.jobs import get_or_insert, insert_row, selection_id
from runner.history.tables import calibrations, differences, environments, executions, jobs, runs
from runner.model.errors import RunnerError, UsageError
from runner.model.jobs import Job
from runner.model.runs import Cache, Cause, Difference, Environment, Execution, Owner, Run, Status
from runner.scan.snapshot import Snapshot

# More differing paths than a person will read; their number is kept in full.
_MAX_DIFFERENCES = 1_000
# How many of a job's newest rows are looked at for one of a kind.
_MOST_LOOKED_AT = 10_000

# How it is said that a run is over.
_ENDED = {
    Status.SUCCEEDED: "has succeeded",
    Status.PARTIAL: "has finished in part",
    Status.FAILED: "has failed",
    Status.TIMED_OUT: "has timed out",
    Status.CANCELLED: "was cancelled",
    Status.INTERRUPTED: "was interrupted",
    Status.MISSED: "was missed",
    Status.SKIPPED: "was skipped",
}

_QUERY = (
    select(runs, jobs.c.name, jobs.c.root, *(column.label(f"in_{column.name}") for column in environments.c))
    .join_from(runs, jobs, runs.c.job_id == jobs.c.id)
    .outerjoin(environments, runs.c.environment_id == environments.c.id)
)


class Busy(RunnerError):
    """Another run, or a calibration, is going on in this database."""

    def __init__(self, message: str, job_id: int | None) -> None:
        super().__init__(message, job_id)
        self.job_id = job_id

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How a run ended.

    Attributes:
        status: How.
        finished_at: When.
        wall_s: Seconds from its start to the end of its last execution.
        executions: In the order of their positions.
        snapshot: What is saved as found; None if nothing can be said about the tree.
        differences: Paths on which the strategies disagree.
        message: What there is to say, in one line.
    """

    status: Status
    finished_at: datetime
    wall_s: float | None = None
    executions: Sequence[Execution] = ()
    snapshot: Snapshot | None = None
    differences: Sequence[Difference] = ()
    message: str | None = None


def begin_run(
    database: Database,
    job: Job,
    *,
    cause: Cause,
    scheduled_at: datetime | None,
    started_at: datetime,
    environment: Environment,
    owner: Owner,
    at_once: int = 1,
    attempt: int = 1,
) -> int:
    """Begin a run; returns its number.

    Args:
        database: Where it is kept.
        job: The job.
        cause: Why it runs.
        scheduled_at: Its fire time; None for a manual run.
        started_at: Now.
        environment: Where it takes place.
        owner: Who carries it out.
        at_once: How many runs may go on in this database: a measurement beside another is no measurement.
        attempt: Which attempt it is.

    Raises:
        Busy: If a run of the same job is going on, or as many of others as may.
    """
    fired = cause is Cause.SCHEDULE and attempt == 1 and scheduled_at is not None
    with database.write() as connection:
        refuse_beside_another(connection, job_id=job.job_id, at_once=at_once)
        values = {
            "job_id": job.job_id,
            "selection_id": selection_id(connection, job.spec.selection),
            "environment_id": get_or_insert(connection, environments, asdict(environment)),
            "cause": cause.value,
            "status": Status.RUNNING.value,
            "scheduled_at": scheduled_at,
            "started_at": started_at,
            "owner_host": owner.host,
            "owner_boot": owner.boot,
            "owner_pid": owner.pid,
            "owner_started_s": owner.started_s,
            "attempt": attempt,
            "lateness_s": (started_at - scheduled_at).total_seconds() if fired and scheduled_at is not None else None,
        }
        _account(connection, job, scheduled_at)
        return insert_row(connection, runs, values)


def _account(connection: Connection, job: Job, until: datetime | None) -> None:
    """Note up to when the fire times of a job have a record."""
    if until is not None:
        earlier = or_(jobs.c.accounted_at.is_(None), jobs.c.accounted_at < until)
        connection.execute(update(jobs).where(jobs.c.id == job.job_id, earlier).values(accounted_at=until))


def refuse_beside_another(connection: Connection, *, job_id: int | None, at_once: int) -> None:
    """Make sure that something may begin now: a measurement beside another is no measurement.

    Args:
        connection: A transaction that writes.
        job_id: The job that is to run; None for a calibration.
        at_once: How many may go on in this database.

    Raises:
        Busy: If a run of the same job is going on, or as many of others, or calibrations, as may.
    """
    going_on = connection.execute(_QUERY.where(runs.c.status == Status.RUNNING.value)).all()
    calibrating = connection.execute(select(calibrations).where(calibrations.c.owner_pid.is_not(None))).all()
    same_job = [row for row in going_on if row.job_id == job_id]
    if not same_job and len(going_on) + len(calibrating) < at_once:
        return
    for going in (*same_job, *going_on):
        what = f"run {going.id} of the job {going.name!r}"
        raise Busy(f"{what} is going on; wait until it has finished", going.job_id)
    root = os.fsdecode(calibrating[0].root)
    raise Busy(f"a calibration of {root!r} is going on; wait until it has finished", None)


def finish_run(database: Database, run_id: int, ending: Ending) -> bool:
    """Save how a run ended and all that it found, in one transaction.

    Returns:
        Whether it was still running; if not, somebody else has recorded its end and nothing is changed.
    """
    with database.write() as connection:
        job_id = connection.execute(
            select(runs.c.job_id).where(runs.c.id == run_id, runs.c.status == Status.RUNNING.value)
        ).scalar()
        if job_id is None:
            return False
        tally = Tally()
        snapshot = ending.snapshot
        if snapshot is not None:
            tally = record_findings(database.location, connection, job_id, run_id, snapshot)
        if ending.executions:
            connection.execute(insert(executions), [_execution_columns(run_id, one) for one in ending.executions])
        if ending.differences:
            rows = [
                {"run_id": run_id, "number": number, "path": one.path, "found_by": json.dumps(one.found_by)}
                for number, one in enumerate(ending.differences[:_MAX_DIFFERENCES], start=1)
            ]
            connection.execute(insert(differences), rows)
        message = ending.message
        if snapshot is not None and (earlier := _last_of_other_selection(connection, job_id, run_id)) is not None:
            told = f"it looked for something else than run {earlier}, so that not every change is one of the tree"
            message = f"{message}; {told}" if message else told
        connection.execute(
            update(runs)
            .where(runs.c.id == run_id)
            .values(
                status=ending.status.value,
                finished_at=ending.finished_at,
                wall_s=ending.wall_s,
                message=message,
                files=snapshot.files if snapshot else None,
                directories=snapshot.directories if snapshot else None,
                problems=len(snapshot.problems) if snapshot else 0,
                differences=len(ending.differences),
                added=tally.added if snapshot else None,
                removed=tally.removed if snapshot else None,
                modified=tally.modified if snapshot else None,
            )
        )
    return True


def _last_of_other_selection(connection: Connection, job_id: int, run_id: int) -> int | None:
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


def record_not_run(
    database: Database,
    job: Job,
    *,
    status: Status,
    scheduled_at: datetime,
    now: datetime,
    message: str,
    missed: int = 0,
    owed: int = 0,
) -> int:
    """Record a firing that did not happen; returns its number."""
    with database.write() as connection:
        values = {
            "job_id": job.job_id,
            "selection_id": selection_id(connection, job.spec.selection),
            "cause": Cause.SCHEDULE.value,
            "status": status.value,
            "scheduled_at": scheduled_at,
            "finished_at": now,
            "missed": missed,
            "owed": owed,
            "message": message,
        }
        # A missed row stands for every fire time from its first to when it is written.
        _account(connection, job, now if status is Status.MISSED else scheduled_at)
        return insert_row(connection, runs, values)


def request_cancel(database: Database, run_id: int, now: datetime) -> None:
    """Ask whoever carries out a run to end it, wherever that process is.

    Raises:
        UsageError: If there is no such run, or it is not going on.
    """
    with database.write() as connection:
        query = select(runs.c.status).where(runs.c.id == run_id)
        status = connection.execute(query).scalar() if 0 < run_id < 2**63 else None
        if status is None:
            raise UsageError(f"there is no run {run_id}; see `runner history`")
        if status != Status.RUNNING.value:
            raise UsageError(f"run {run_id} is not going on: it {_ENDED[Status(status)]}; see `runner status`")
        asked = update(runs).where(runs.c.id == run_id, runs.c.cancel_requested_at.is_(None))
        connection.execute(asked.values(cancel_requested_at=now))


def is_cancel_requested(database: Database, run_id: int) -> bool:
    """Whether somebody has asked to end a run."""
    with database.read() as connection:
        asked = connection.execute(select(runs.c.cancel_requested_at).where(runs.c.id == run_id)).scalar()
    return asked is not None


def find_newest(database: Database, job: Job) -> Run | None:
    """Find the newest row of a job, whether it was carried out or not; None if there is none."""
    found = _runs(database, _QUERY.where(runs.c.job_id == job.job_id).order_by(runs.c.id.desc()).limit(1))
    return found[0] if found else None


def list_unmade(database: Database, job: Job) -> tuple[list[Run], set[datetime]]:
    """List the missed rows of a job's present schedule for which runs may still be owed.

    Returns:
        The rows, oldest first, and the fire times for which runs have been made.
    """
    missed, made, others = [], set(), 0
    columns = (runs.c.id, runs.c.cause, runs.c.status, runs.c.scheduled_at, runs.c.owed)
    with database.read() as connection:
        for row in connection.execute(select(*columns).where(runs.c.job_id == job.job_id).order_by(runs.c.id.desc())):
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
    found = _runs(database, _QUERY.where(runs.c.id.in_(missed)).order_by(runs.c.id)) if missed else []
    return found, made


def list_lateness(database: Database, since: datetime, limit: int) -> list[float]:
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


def list_owners(database: Database) -> dict[int, Owner]:
    """List the runs that are recorded as running, each with its owner."""
    with database.read() as connection:
        query = select(runs).where(runs.c.status == Status.RUNNING.value)
        return {row.id: _owner(row) for row in connection.execute(query)}


def list_runs(
    database: Database,
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
    query = _QUERY.order_by(runs.c.id.desc()).limit(limit)
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
    return _runs(database, query)


def list_runs_before(
    database: Database, job_id: int, run_id: int | None, *, statuses: Sequence[Status], limit: int
) -> list[Run]:
    """List the last runs of a job before one of them (None for all) that ended in some way, newest first."""
    ended = runs.c.status.in_([status.value for status in statuses])
    query = _QUERY.where(runs.c.job_id == job_id, ended).order_by(runs.c.id.desc()).limit(limit)
    return _runs(database, query if run_id is None else query.where(runs.c.id < run_id))


def get_run(database: Database, run_id: int) -> Run:
    """Get a run by its number.

    Raises:
        UsageError: If there is none.
    """
    found = _runs(database, _QUERY.where(runs.c.id == run_id)) if 0 < run_id < 2**63 else []
    if not found:
        raise UsageError(f"there is no run {run_id}; see `runner history`")
    return found[0]


def find_last_saved(database: Database, job: Job, at: datetime) -> Run | None:
    """Find the newest run of a job that had saved what it found by an instant; None if there was none."""
    query = _QUERY.where(runs.c.job_id == job.job_id, runs.c.files.is_not(None), runs.c.finished_at <= at)
    found = _runs(database, query.order_by(runs.c.id.desc()).limit(1))
    return found[0] if found else None


def find_first_saved(database: Database, job: Job) -> Run | None:
    """Find the oldest run of a job that has saved what it found; None if there is none."""
    query = _QUERY.where(runs.c.job_id == job.job_id, runs.c.files.is_not(None))
    found = _runs(database, query.order_by(runs.c.id).limit(1))
    return found[0] if found else None


def find_saved_before(database: Database, job: Job, run: Run) -> Run | None:
    """Find the newest run of a job before another one that has saved what it found; None if there is none."""
    query = _QUERY.where(runs.c.job_id == job.job_id, runs.c.files.is_not(None), runs.c.id < run.run_id)
    found = _runs(database, query.order_by(runs.c.id.desc()).limit(1))
    return found[0] if found else None


def shows_changes(database: Database, run: Run) -> bool:
    """Whether what changed in a saved run changed in the tree: an earlier one was saved, and looked for the same."""
    with database.read() as connection:
        saved = select(runs.c.id).where(runs.c.job_id == run.job_id, runs.c.files.is_not(None), runs.c.id < run.run_id)
        if run.files is None or connection.execute(saved.limit(1)).first() is None:
            return False
        return _last_of_other_selection(connection, run.job_id, run.run_id) is None


def list_selections_between(database: Database, job: Job, before: Run, after: Run) -> set[int]:
    """Give the numbers of the selections with which two runs of a job, and those between them, were made."""
    query = select(runs.c.selection_id).where(
        runs.c.job_id == job.job_id,
        runs.c.files.is_not(None),
        runs.c.id.between(before.run_id, after.run_id),
    )
    with database.read() as connection:
        return set(connection.execute(query.distinct()).scalars())


def list_last_runs(database: Database) -> dict[int, Run]:
    """Give each job's newest run that was carried out or is going on."""
    newest = (
        select(runs.c.id)
        .where(runs.c.job_id == jobs.c.id, runs.c.started_at.is_not(None))
        .order_by(runs.c.id.desc())
        .limit(1)
        .correlate(jobs)
        .scalar_subquery()
    )
    with database.read() as connection:
        ids = [found for found in connection.execute(select(newest).select_from(jobs)).scalars() if found is not None]
    return {run.job_id: run for run in _runs(database, _QUERY.where(runs.c.id.in_(ids)))}


def list_last_saved(database: Database) -> dict[int, Run]:
    """Give the newest run of each job that has saved what it found, as far as one is among its last rows."""
    return _list_newest(database, runs.c.files.is_not(None))


def list_last_succeeded(database: Database) -> dict[int, Run]:
    """Give the newest run of each job that has succeeded, as far as one is among its last rows."""
    return _list_newest(database, runs.c.status == Status.SUCCEEDED.value)


def _list_newest(database: Database, condition: ColumnElement[bool]) -> dict[int, Run]:
    others = runs.alias()
    # A job may have failed for years; who asks is not to wait until all of that is read.
    oldest = (
        select(others.c.id)
        .where(others.c.job_id == jobs.c.id)
        .order_by(others.c.id.desc())
        .limit(1)
        .offset(_MOST_LOOKED_AT - 1)
        .correlate(jobs)
        .scalar_subquery()
    )
    newest = (
        select(runs.c.id)
        .where(runs.c.job_id == jobs.c.id, runs.c.id >= func.coalesce(oldest, 0), condition)
        .order_by(runs.c.id.desc())
        .limit(1)
        .correlate(jobs)
        .scalar_subquery()
    )
    with database.read() as connection:
        found = connection.execute(select(newest).select_from(jobs).where(jobs.c.removed_at.is_(None))).scalars()
        ids = [run_id for run_id in found if run_id is not None]
    return {run.job_id: run for run in _runs(database, _QUERY.where(runs.c.id.in_(ids)))}


def newest_run_id(database: Database) -> int:
    """Give the number of the newest row of all; 0 without any."""
    with database.read() as connection:
        return connection.execute(select(func.max(runs.c.id))).scalar() or 0


def list_runs_after(database: Database, run_id: int, limit: int) -> list[Run]:
    """List the rows that are newer than one, oldest first, at most so many."""
    return _runs(database, _QUERY.where(runs.c.id > run_id).order_by(runs.c.id).limit(limit))


def list_runs_numbered(database: Database, run_ids: Collection[int]) -> list[Run]:
    """List the runs with these numbers, oldest first; those that are forgotten are left out."""
    return _runs(database, _QUERY.where(runs.c.id.in_(run_ids)).order_by(runs.c.id)) if run_ids else []


def list_first_strategies(database: Database, job: Job, limit: int) -> list[str]:
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


def list_differences(database: Database, run: Run) -> list[Difference]:
    """List the paths on which the strategies of a run disagree, at most a thousand."""
    query = select(differences).where(differences.c.run_id == run.run_id).order_by(differences.c.number)
    with database.read() as connection:
        return [
            Difference(path=row.path, found_by=tuple(json.loads(row.found_by))) for row in connection.execute(query)
        ]


def _runs(database: Database, query: Select[Any]) -> list[Run]:
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


def _execution_columns(run_id: int, execution: Execution) -> dict[str, Any]:
    return {**asdict(execution), "run_id": run_id}


def _execution(row: Row[Any]) -> Execution:
    fields = {name: value for name, value in row._mapping.items() if name != "run_id"}  # noqa: SLF001  its public name
    fields["status"] = Status(row.status)
    fields["cache"] = Cache(row.cache) if row.cache is not None else None
    return Execution(**fields)


def read_environment(row: Row[Any]) -> Environment:
    """Make an environment of a row that has its columns, each with ``in_`` before its name."""
    names = (column.name for column in environments.c if column.name != "id")
    return Environment(**{name: row._mapping[f"in_{name}"] for name in names})  # noqa: SLF001  its public name


def _owner(row: Row[Any]) -> Owner:
    return Owner(host=row.owner_host, boot=row.owner_boot, pid=row.owner_pid, started_s=row.owner_started_s)


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
