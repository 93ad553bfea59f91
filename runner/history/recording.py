"""Runs as they are recorded: begun, asked to end, ended with all they found in one transaction, or not carried out."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, or_, select, update

from runner.history.database import Database, Reader
from runner.history.findings import Tally, record_findings
from runner.history.rows import environment_id, insert_row, owner_columns, selection_id
from runner.history.saved import find_last_of_other_selection, record_mounts
from runner.history.tables import calibrations, differences, executions, jobs, runs
from runner.model.errors import RunnerError, Unknown, UsageError
from runner.model.jobs import Job
from runner.model.runs import Cause, Difference, Environment, Execution, Owner, Status
from runner.scan.snapshot import Snapshot
from runner.schedules.fire_times import fires_once

# More differing paths than a person will read; their number is kept in full.
_MAX_DIFFERENCES = 1_000
# A row that is written again is among so many of the newest.
_LATELY = 1_000


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
        environment: Where it took place, now that all of it is known; None to leave it as it was at the beginning.
    """

    status: Status
    finished_at: datetime
    wall_s: float | None = None
    executions: Sequence[Execution] = ()
    snapshot: Snapshot | None = None
    differences: Sequence[Difference] = ()
    message: str | None = None
    environment: Environment | None = None


def begin_run(
    database: Database,
    job: Job,
    *,
    cause: Cause,
    scheduled_at: datetime | None,
    clock: Callable[[], datetime],
    environment: Environment,
    owner: Owner,
    at_once: int = 1,
    attempt: int = 1,
) -> int:
    """Begin a run; returns its number, which is the same for a firing that its owner begins again: see _find_recorded.

    Args:
        database: Where it is kept.
        job: The job.
        cause: Why it runs.
        scheduled_at: Its fire time; None for a manual run.
        clock: Gives the time, once nobody else can begin or end a run.
        environment: Where it takes place.
        owner: Who carries it out.
        at_once: How many runs may go on in this database: a measurement beside another is no measurement.
        attempt: Which attempt it is.

    Raises:
        Busy: If a run of the same job is going on, or as many of others as may.
    """
    fired = cause is Cause.SCHEDULE and attempt == 1
    identity = {
        "job_id": job.job_id,
        "cause": cause.value,
        "status": Status.RUNNING.value,
        "scheduled_at": scheduled_at,
        **owner_columns(owner),
        "attempt": attempt,
    }
    with database.write() as connection:
        if scheduled_at is not None and (begun := _find_recorded(connection, identity)) is not None:
            return begun
        refuse_beside_another(connection, job_id=job.job_id, at_once=at_once)
        started_at = clock()
        late_s = (started_at - scheduled_at).total_seconds() if fired and scheduled_at is not None else None
        values = {
            **identity,
            "selection_id": selection_id(connection, job.spec.selection),
            "environment_id": environment_id(connection, environment),
            "started_at": started_at,
            # By a clock that was set back since, it can't be told.
            "lateness_s": late_s if late_s is not None and late_s >= 0 else None,
        }
        if fired and scheduled_at is not None:
            _account(connection, job, scheduled_at, started_at)
        return insert_row(connection, runs, values)


def _find_recorded(connection: Connection, identity: Mapping[str, Any]) -> int | None:
    """Find what somebody has written and writes again; None if it is not there.

    A server that goes away may have written what it could no longer confirm, and its writer would else be in its own
    way, or be there twice.
    """
    same = (column == identity[column.name] for column in runs.c if column.name in identity)
    lately = select(func.max(runs.c.id) - _LATELY).scalar_subquery()
    return connection.execute(select(runs.c.id).where(*same, runs.c.id > lately)).scalar()


def _account(connection: Connection, job: Job, until: datetime, now: datetime) -> None:
    """Note up to when the fire times of a job have a record.

    What was due before the clock was set back, and is recorded only now, says nothing of what comes by again, unless
    that does not fire again.
    """
    if fires_once(job.spec.schedule, until - now):
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
    running = (
        select(runs.c.id, runs.c.job_id, jobs.c.name)
        .join(jobs, runs.c.job_id == jobs.c.id)
        .where(runs.c.status == Status.RUNNING.value)
    )
    going_on = connection.execute(running).all()
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
            record_mounts(connection, job_id, snapshot.mounts)
        if ending.executions:
            connection.execute(insert(executions), [{**asdict(one), "run_id": run_id} for one in ending.executions])
        if ending.differences:
            rows = [
                {"run_id": run_id, "number": number, "path": one.path, "found_by": json.dumps(one.found_by)}
                for number, one in enumerate(ending.differences[:_MAX_DIFFERENCES], start=1)
            ]
            connection.execute(insert(differences), rows)
        where = {}
        if ending.environment is not None:
            where = {"environment_id": environment_id(connection, ending.environment)}
        message = ending.message
        if snapshot is not None and (earlier := find_last_of_other_selection(connection, job_id, run_id)) is not None:
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
                **where,
            )
        )
    return True


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
    again: bool = False,
    clock: Callable[[], datetime] | None = None,
) -> int:
    """Record a firing that did not happen; returns its number.

    Args:
        database: Where it is kept.
        job: The job.
        status: missed or skipped.
        scheduled_at: Its fire time; of missed ones the first.
        now: When this is so; a missed row stands for every fire time up to then.
        message: Why, in one line.
        missed: How many fire times a missed row stands for.
        owed: How many of them are to be made up for.
        again: Whether it could not be confirmed before that this has been written.
        clock: Gives the time at which it is written; None if that is *now*.
    """
    identity = {
        "job_id": job.job_id,
        "status": status.value,
        "scheduled_at": scheduled_at,
        "finished_at": now,
        "missed": missed,
    }
    with database.write() as connection:
        if again and (recorded := _find_recorded(connection, identity)) is not None:
            return recorded
        values = {
            **identity,
            "selection_id": selection_id(connection, job.spec.selection),
            "cause": Cause.SCHEDULE.value,
            "owed": owed,
            "message": message,
        }
        written_at = clock() if clock is not None else now
        _account(connection, job, now if status is Status.MISSED else scheduled_at, written_at)
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
            raise Unknown(f"there is no run {run_id}; see `runner history`")
        if status != Status.RUNNING.value:
            raise UsageError(f"run {run_id} is not going on: it {Status(status).said}; see `runner status`")
        asked = update(runs).where(runs.c.id == run_id, runs.c.cancel_requested_at.is_(None))
        connection.execute(asked.values(cancel_requested_at=now))


def is_cancel_requested(database: Reader, run_id: int) -> bool:
    """Whether somebody has asked to end a run."""
    with database.read() as connection:
        asked = connection.execute(select(runs.c.cancel_requested_at).where(runs.c.id == run_id)).scalar()
    return asked is not None
