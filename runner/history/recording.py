"""Writes of runs: start one, cancel it, save its outcome and findings in one transaction, record missed firings."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, or_, select, update

from runner.history.database import Database, Reader
from runner.history.findings import ChangeCounts, record_findings
from runner.history.rows import environment_id, insert_row, owner_columns, selection_id
from runner.history.runs import find_last_of_other_selection
from runner.history.tables import calibrations, differences, executions, jobs, runs
from runner.model.errors import RunnerError, Unknown, UsageError
from runner.model.jobs import Job
from runner.model.runs import Cause, Difference, Environment, Execution, Owner, Status
from runner.scan.snapshot import Snapshot
from runner.schedules.fire_times import fires_only_once

# Their number is saved in full.
_MAX_DIFFERENCES = 1_000
# A row that is written a second time is among this many of the newest.
_RECENT_ROWS = 1_000


class Busy(RunnerError):
    """Another run or a calibration is running in this database."""

    def __init__(self, message: str, job_id: int | None) -> None:
        super().__init__(message, job_id)
        self.job_id = job_id

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOutcome:
    """What is saved of a run when it ends.

    Attributes:
        status: Its final status.
        finished_at: When it ended.
        wall_s: Seconds from its start to the end of its last execution.
        executions: In the order of their positions.
        snapshot: What was found; None if the state of the tree is unknown.
        differences: Paths on which the strategies differ.
        message: A message of one line.
        environment: The complete environment; None to keep the one from the start.
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
    """Record the start of a run; return its number, the same if its owner records a firing twice.

    Args:
        database: The history.
        job: The job.
        cause: Why it runs.
        scheduled_at: Its fire time; None for a manual run.
        clock: Returns the time; called within the transaction.
        environment: Where it runs.
        owner: The process that executes it.
        at_once: How many runs may run in this database at the same time.
        attempt: The number of the attempt.

    Raises:
        Busy: If a run of the same job, or *at_once* others, are running.
    """
    identity = {
        "job_id": job.job_id,
        "cause": cause.value,
        "status": Status.RUNNING.value,
        "scheduled_at": scheduled_at,
        **owner_columns(owner),
        "attempt": attempt,
    }
    with database.write() as connection:
        if scheduled_at is not None and (recorded := _find_recorded(connection, identity)) is not None:
            return recorded
        refuse_beside_another(connection, job_id=job.job_id, at_once=at_once)
        started_at, lateness_s = clock(), None
        if cause is Cause.SCHEDULE and attempt == 1 and scheduled_at is not None:
            _advance_recorded_until(connection, job, scheduled_at, started_at)
            lateness_s = (started_at - scheduled_at).total_seconds()
        values = {
            **identity,
            "selection_id": selection_id(connection, job.spec.selection),
            "environment_id": environment_id(connection, environment),
            "started_at": started_at,
            # Negative if the clock was set back in between.
            "lateness_s": lateness_s if lateness_s is not None and lateness_s >= 0 else None,
        }
        return insert_row(connection, runs, values)


def _find_recorded(connection: Connection, identity: Mapping[str, Any]) -> int | None:
    """Find a row that is written a second time, because a lost server may have committed it without confirming."""
    same = (column == identity[column.name] for column in runs.c if column.name in identity)
    oldest = select(func.max(runs.c.id) - _RECENT_ROWS).scalar_subquery()
    return connection.execute(select(runs.c.id).where(*same, runs.c.id > oldest)).scalar()


def _advance_recorded_until(connection: Connection, job: Job, until: datetime, now: datetime) -> None:
    """Record that all fire times of a job up to an instant have rows.

    A firing from before the clock was set back does not count for the fire times that come again, unless the schedule
    fires only once then.
    """
    if fires_only_once(job.spec.schedule, until - now):
        earlier = or_(jobs.c.accounted_at.is_(None), jobs.c.accounted_at < until)
        connection.execute(update(jobs).where(jobs.c.id == job.job_id, earlier).values(accounted_at=until))


def refuse_beside_another(connection: Connection, *, job_id: int | None, at_once: int) -> None:
    """Check that a run or a calibration may start now: concurrent measurements distort each other.

    Args:
        connection: A writing transaction.
        job_id: The job that is to run; None for a calibration.
        at_once: How many may run in this database at the same time.

    Raises:
        Busy: If a run of the same job, or *at_once* others, are running.
    """
    query = (
        select(runs.c.id, runs.c.job_id, jobs.c.name)
        .join(jobs, runs.c.job_id == jobs.c.id)
        .where(runs.c.status == Status.RUNNING.value)
    )
    running = connection.execute(query).all()
    calibrating = connection.execute(select(calibrations).where(calibrations.c.owner_pid.is_not(None))).all()
    same_job = [row for row in running if row.job_id == job_id]
    if not same_job and len(running) + len(calibrating) < at_once:
        return
    for other in (*same_job, *running):
        raise Busy(f"run {other.id} of the job {other.name!r} is running; wait until it has finished", other.job_id)
    root = os.fsdecode(calibrating[0].root)
    raise Busy(f"a calibration of {root!r} is running; wait until it has finished", None)


def finish_run(database: Database, run_id: int, outcome: RunOutcome) -> bool:
    """Save the outcome and the findings of a run in one transaction.

    Returns:
        False, without any change, if another process has already recorded its end.
    """
    with database.write() as connection:
        running = select(runs.c.job_id).where(runs.c.id == run_id, runs.c.status == Status.RUNNING.value)
        job_id = connection.execute(running).scalar()
        if job_id is None:
            return False
        values: dict[str, Any] = {
            "status": outcome.status.value,
            "finished_at": outcome.finished_at,
            "wall_s": outcome.wall_s,
            "message": outcome.message,
            "differences": len(outcome.differences),
        }
        if outcome.environment is not None:
            values["environment_id"] = environment_id(connection, outcome.environment)
        if outcome.snapshot is not None:
            counts = record_findings(database.location, connection, job_id, run_id, outcome.snapshot)
            values |= _snapshot_values(outcome.snapshot, counts)
            _record_mounts(connection, job_id, outcome.snapshot.mounts)
            values["message"] = _add_selection_note(connection, job_id, run_id, outcome.message)
        if outcome.executions:
            connection.execute(insert(executions), [{**asdict(one), "run_id": run_id} for one in outcome.executions])
        if outcome.differences:
            rows = [
                {"run_id": run_id, "number": number, "path": one.path, "found_by": json.dumps(one.found_by)}
                for number, one in enumerate(outcome.differences[:_MAX_DIFFERENCES], start=1)
            ]
            connection.execute(insert(differences), rows)
        connection.execute(update(runs).where(runs.c.id == run_id).values(values))
    return True


def _snapshot_values(snapshot: Snapshot, counts: ChangeCounts) -> dict[str, Any]:
    return {
        "files": snapshot.files,
        "directories": snapshot.directories,
        "problems": len(snapshot.problems),
        **asdict(counts),
    }


def _add_selection_note(connection: Connection, job_id: int, run_id: int, message: str | None) -> str | None:
    earlier = find_last_of_other_selection(connection, job_id, run_id)
    if earlier is None:
        return message
    note = f"it looked for something else than run {earlier}, so that not every change is one of the tree"
    return f"{message}; {note}" if message else note


def list_saved_mounts(database: Reader, job: Job) -> tuple[bytes, ...]:
    """List the mount points of the last saved run of a job, relative to its root."""
    with database.read() as connection:
        joined = connection.execute(select(jobs.c.mounts).where(jobs.c.id == job.job_id)).scalar()
    return () if joined is None else tuple(joined.split(b"\0"))


def _record_mounts(connection: Connection, job_id: int, mounts: tuple[bytes, ...]) -> None:
    joined = b"\0".join(mounts) if mounts else None  # the path of the root itself is empty
    changed = update(jobs).where(jobs.c.id == job_id, jobs.c.mounts.is_distinct_from(joined))
    connection.execute(changed.values(mounts=joined))


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
    """Record a firing without a run; return its number.

    Args:
        database: The history.
        job: The job.
        status: missed or skipped.
        scheduled_at: Its fire time; of several missed ones the first.
        now: When this was determined; a missed row covers every fire time up to then.
        message: The reason, in one line.
        missed: The number of fire times that a missed row covers.
        owed: How many of them need catch-up runs.
        again: Whether an earlier attempt to write the row was not confirmed.
        clock: Returns the time of writing; None for *now*.
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
        until = now if status is Status.MISSED else scheduled_at
        _advance_recorded_until(connection, job, until, clock() if clock is not None else now)
        values = {
            **identity,
            "selection_id": selection_id(connection, job.spec.selection),
            "cause": Cause.SCHEDULE.value,
            "owed": owed,
            "message": message,
        }
        return insert_row(connection, runs, values)


def request_cancel(database: Database, run_id: int, now: datetime) -> None:
    """Record a request to cancel a run, for the process that executes it.

    Raises:
        UsageError: If there is no such run, or it is not running.
    """
    with database.write() as connection:
        query = select(runs.c.status).where(runs.c.id == run_id)
        status = connection.execute(query).scalar() if 0 < run_id < 2**63 else None
        if status is None:
            raise Unknown(f"there is no run {run_id}; see `runner history`")
        if status != Status.RUNNING.value:
            raise UsageError(f"run {run_id} is not running: it {Status(status).said}; see `runner status`")
        first_request = update(runs).where(runs.c.id == run_id, runs.c.cancel_requested_at.is_(None))
        connection.execute(first_request.values(cancel_requested_at=now))


def is_cancel_requested(database: Reader, run_id: int) -> bool:
    """Return whether a run is to be cancelled."""
    with database.read() as connection:
        requested_at = connection.execute(select(runs.c.cancel_requested_at).where(runs.c.id == run_id)).scalar()
    return requested_at is not None
