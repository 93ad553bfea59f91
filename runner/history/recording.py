"""Writes of runs: start one, cancel it, save its outcome and findings."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from runner.history.database import Database, Reader
from runner.history.findings import ChangeCounts
from runner.history.retries import add_retry
from runner.history.rows import environment_id, insert_row, owner_columns, selection_id
from runner.history.runs import find_last_of_other_selection
from runner.history.saving import MAX_ROWS, RunTaken, RunWriter
from runner.history.tables import calibrations, differences, executions, firings, jobs, runs
from runner.model.errors import RunnerError, Unknown, UsageError
from runner.model.jobs import Job
from runner.model.runs import Cause, Difference, Environment, Execution, Firing, Owner, Status
from runner.scan.snapshot import Snapshot

# Their number is saved in full.
_MAX_DIFFERENCES = 1_000


class Busy(RunnerError):
    """Another run or a calibration is running in this database."""

    def __init__(self, message: str, job_id: int | None) -> None:
        super().__init__(message, job_id)
        self.job_id = job_id

    def __str__(self) -> str:
        return str(self.args[0])


class Withdrawn(RunnerError):
    """A firing is no longer due: its job was changed, or a later firing has replaced it."""


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
    firing: Firing | None,
    *,
    clock: Callable[[], datetime],
    environment: Environment,
    owner: Owner,
    at_once: int = 1,
) -> int:
    """Record the start of a run; return its number, the same if its owner records a firing twice.

    Args:
        database: The history.
        job: The job.
        firing: What is due; None for a manual run.
        clock: Returns the time; called within the transaction.
        environment: Where it runs.
        owner: The process that executes it.
        at_once: How many runs may run in this database at the same time.

    Raises:
        Busy: If a run of the same job, or *at_once* others, are running.
        Withdrawn: If the firing is no longer due.
    """
    identity = {
        "job_id": job.job_id,
        "cause": (firing.cause if firing else Cause.MANUAL).value,
        "status": Status.RUNNING.value,
        "scheduled_at": firing.due_at if firing else None,
        **owner_columns(owner),
        "attempt": firing.attempt if firing else 1,
    }
    with database.write() as connection:
        if firing is not None and not _claim(connection, firing):
            # A lost server may have committed the start without confirming it.
            same = (column == identity[column.name] for column in runs.c if column.name in identity)
            recorded = connection.execute(select(runs.c.id).where(*same)).scalar()
            if recorded is None:
                raise Withdrawn("the firing is no longer due")
            return int(recorded)
        refuse_beside_another(connection, job_id=job.job_id, at_once=at_once)
        started_at, lateness_s = clock(), None
        if firing is not None and firing.cause is Cause.SCHEDULE and firing.attempt == 1:
            # Negative if the clock was set back in between.
            lateness_s = (started_at - firing.due_at).total_seconds()
        values = {
            **identity,
            "selection_id": selection_id(connection, job.spec.selection),
            "environment_id": environment_id(connection, environment),
            "started_at": started_at,
            "lateness_s": lateness_s if lateness_s is not None and lateness_s >= 0 else None,
        }
        return insert_row(connection, runs, values)


def _claim(connection: Connection, firing: Firing) -> bool:
    return bool(connection.execute(delete(firings).where(firings.c.id == firing.firing_id)).rowcount)


def refuse_beside_another(connection: Connection, *, job_id: int | None, at_once: float) -> None:
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


def finish_run(
    database: Database,
    run_id: int,
    outcome: RunOutcome,
    *,
    by_owner: bool = True,
    on_written: Callable[[], object] = lambda: None,
    max_rows: int = MAX_ROWS,
) -> bool:
    """Save the outcome and the findings of a run, which become visible in one transaction.

    Many changes are written before, in several transactions that nobody sees; see :mod:`runner.history.saving`. What an
    interrupted save has written is deleted first.

    Args:
        database: The history.
        run_id: The run.
        outcome: What is saved.
        by_owner: Whether this process executes the run. Otherwise it takes the run from the one that did.
        on_written: Called after each of those transactions; an error interrupts the save.
        max_rows: How many rows each of them writes.

    Returns:
        False, without any change, if another process has already recorded its end.
    """
    writer = RunWriter(database=database, run_id=run_id, by_owner=by_owner, on_written=on_written, max_rows=max_rows)
    counts, snapshot = ChangeCounts(), outcome.snapshot
    digest = snapshot.digest if snapshot is not None else None  # computed while nothing is locked
    try:
        with writer.write() as (connection, job_id, stored):
            is_clean = stored is not None or not writer.has_written(connection, job_id)
            if is_clean and (snapshot is None or digest == stored):
                _end_run(database, connection, job_id, run_id, outcome, counts)
                return True
        if not is_clean:
            writer.discard(job_id)
        last = writer.save(job_id, snapshot, counts) if snapshot is not None else []
        with writer.write() as (connection, *_):
            if snapshot is not None:
                writer.publish(connection, job_id, last, snapshot)
            _end_run(database, connection, job_id, run_id, outcome, counts)
    except RunTaken:
        return False
    return True


def _end_run(
    database: Database, connection: Connection, job_id: int, run_id: int, outcome: RunOutcome, counts: ChangeCounts
) -> None:
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
    if outcome.status.is_failure:
        add_retry(database, connection, run_id)


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
    connection: Connection,
    job: Job,
    status: Status,
    scheduled_at: datetime,
    *,
    now: datetime,
    message: str,
    missed: int = 0,
) -> int:
    """Record a skipped fire time, or the first of *missed* ones, up to *now*; return the number of the row."""
    values = {
        "job_id": job.job_id,
        "selection_id": selection_id(connection, job.spec.selection),
        "cause": Cause.SCHEDULE.value,
        "status": status.value,
        "scheduled_at": scheduled_at,
        "finished_at": now,
        "missed": missed,
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
