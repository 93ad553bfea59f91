"""A run: begin it, carry out every strategy in a trial of its own, compare, save."""

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from runner.execution.locks import holding, stop_when_lock_lost, wait_for_slot
from runner.execution.order import choose_order
from runner.history.database import Database
from runner.history.recording import Ending, begin_run, finish_run, is_cancel_requested
from runner.history.runs import list_first_strategies
from runner.history.saved import list_saved_mounts
from runner.jobs.caches import cache_file
from runner.measure.environment import (
    DEFAULT_START_METHOD,
    describe_environment,
    describe_process,
    usable_cpus,
)
from runner.measure.observer import RunObserver
from runner.measure.root_check import tell_waiting
from runner.measure.trial import ScanTask
from runner.measure.trials import Outcome, carry_out
from runner.model.errors import HistoryError, RunnerError, ScanError, is_condition, reason_of
from runner.model.jobs import Job
from runner.model.runs import Cache, Cause, Difference, Environment, Execution, Status
from runner.model.subject import note_run
from runner.model.units import format_count
from runner.scan.snapshot import Snapshot, differing_paths
from runner.strategies import load_strategy
from runner.strategies.base import ScanRequest

if TYPE_CHECKING:
    from runner.scan.found import Found

_log = logging.getLogger(__name__)

# How far back it is looked who went first; see choose_order.
_LOOK_BACK = 10

# How often it is looked whether somebody has asked to cancel a run.
_ASKED_S = 0.5
# How often a database that can't be used is tried again, and how long for findings to be saved.
_AGAIN_S = 1.0
_SAVE_S = 60.0

# From best to worst; a run is as good as its worst execution.
_SEVERITY = (
    Status.SUCCEEDED,
    Status.PARTIAL,
    Status.FAILED,
    Status.TIMED_OUT,
    Status.CANCELLED,
    Status.INTERRUPTED,
)


def fire(
    database: Database,
    job: Job,
    *,
    cause: Cause,
    scheduled_at: datetime | None = None,
    start_method: str = DEFAULT_START_METHOD,
    at_once: int = 1,
    attempt: int = 1,
    accept_unmounted: bool = False,
    watching: RunObserver | None = None,
    random: Random | None = None,
) -> int:
    """Carry out one run of a job and save it.

    Args:
        database: Where it is remembered.
        job: The job.
        cause: Why it runs.
        scheduled_at: Its fire time; None for a manual run.
        start_method: How pool workers are started.
        at_once: How many runs may go on in this database.
        attempt: 1, or more for a retry.
        accept_unmounted: Whether directories that are no mount points any more are no problem.
        watching: Who follows it; None for nobody.
        random: Where chance comes from; None for the system's.

    Returns:
        The run's number; how it ended is in the history.

    Raises:
        Busy: If a run of the same job is going on.
        Stopped: If it was stopped while it waited for a run of another job.
        HistoryError: If it could not be saved.
    """
    watching = watching or RunObserver()
    workers = job.spec.workers or usable_cpus()
    prepared: list[tuple[Environment, Sequence[str], tuple[bytes, ...]]] = []

    def begin() -> int:
        # Only trials touch the root, since they can be given up; they tell its file system.
        environment = describe_environment(None, workers=workers, start_method=start_method)
        # Read while it can be waited for: a run that has begun would fail for want of it.
        mounts = () if accept_unmounted else list_saved_mounts(database, job)
        prepared[:] = [(environment, list_first_strategies(database, job, limit=_LOOK_BACK), mounts)]
        return begin_run(
            database,
            job,
            cause=cause,
            scheduled_at=scheduled_at,
            clock=partial(datetime.now, UTC),
            environment=environment,
            owner=describe_process(),
            at_once=at_once,
            attempt=attempt,
        )

    lock = database.location.run_lock()
    beginning = holding(lock, begin)
    run_id = wait_for_slot(database, beginning, watching, what=f"the run of {job.spec.name!r}", job_id=job.job_id)
    note_run(run_id)
    began = time.monotonic()
    watching = replace(watching, stop=_cancellable(database, run_id, stop_when_lock_lost(lock, watching.stop)))
    environment, went_first, mounts = prepared[-1]
    request = ScanRequest(
        root=job.spec.root,
        selection=job.spec.selection,
        workers=workers,
        start_method=start_method,
        cache=os.fsencode(cache_file(database, job)),
        full_every_s=job.spec.full_every_s,
        mounts=mounts,
    )
    try:
        order = choose_order(job.spec.strategies, went_first, random or Random())  # noqa: S311  chance, not secrets
        work = _execute(order, request, job, watching)
        ending = _conclude(work.executed, work.root_error, time.monotonic() - began)
        environment = replace(environment, filesystem=work.filesystem)
        _save(database, run_id, replace(ending, environment=environment), watching)
    except BaseException as error:
        _abandon(database, run_id, error, watching)
        raise
    finally:
        lock.release()
    return run_id


def _cancellable(database: Database, run_id: int, stop: Callable[[], Status | None]) -> Callable[[], Status | None]:
    """Let a run be stopped by whoever watches it, and by a request in the database."""
    next_look_s = 0.0

    def look() -> Status | None:
        nonlocal next_look_s
        status = stop()
        if status is not None or time.monotonic() < next_look_s:
            return status
        next_look_s = time.monotonic() + _ASKED_S
        try:
            return Status.CANCELLED if is_cancel_requested(database, run_id) else None
        except HistoryError as error:  # a database that can't be read now is no reason to stop
            _log.debug("%s", error)
            return None

    return look


def _save(database: Database, run_id: int, ending: Ending, watching: RunObserver) -> None:
    """Save how a run ended, with patience: what was found is kept for a while, that there was a run for ever."""
    give_up_s = time.monotonic() + _SAVE_S
    told = ""
    while True:
        try:
            finish_run(database, run_id, ending)
        except HistoryError as error:
            # Who is interrupted keeps what was found if there is time to.
            if not watching.patient or database.is_late():
                raise
            if str(error) != told:
                told = str(error)
                _log.warning("%s", told)
            if time.monotonic() > give_up_s and ending.snapshot is not None:
                message = f"what it found could not be saved: {error}"
                ending = replace(ending, status=Status.FAILED, snapshot=None, differences=(), message=message)
            time.sleep(_AGAIN_S)
        else:
            return


def _abandon(database: Database, run_id: int, error: BaseException, watching: RunObserver) -> None:
    """End a run that an error stopped: its process may go on, and nobody else would end it."""
    foreseen = isinstance(error, RunnerError) or is_condition(error)
    message = f"stopped by an error: {reason_of(error)}" if foreseen else "runner was stopped by an error"
    status = Status.FAILED if isinstance(error, Exception) else Status.INTERRUPTED
    ending = Ending(status=status, finished_at=datetime.now(UTC), message=message)
    try:
        _save(database, run_id, ending, watching)
    except (HistoryError, OSError, MemoryError) as failure:
        # The error that stopped it says more. Until somebody writes it or this process ends, the run stays as running.
        _log.error("it could not be recorded that the run was stopped by an error: %s", reason_of(failure))
        watching.on_unended(partial(finish_run, database, run_id, ending))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Executed:
    """An execution and what it found."""

    execution: Execution
    snapshot: Snapshot | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Work:
    """What became of a run's executions.

    Attributes:
        executed: In the order of their positions.
        root_error: Why the root can't be scanned at all; None if it could.
        filesystem: Type of the root's file system; empty if no trial lived to tell it.
    """

    executed: Sequence[_Executed]
    root_error: str | None = None
    filesystem: str = ""


def _execute(order: Sequence[str], request: ScanRequest, job: Job, watching: RunObserver) -> _Work:
    executed: list[_Executed] = []
    filesystem = ""
    for position, strategy in enumerate(order, start=1):
        watching.on_strategy(strategy, position)
        following = tell_waiting(watching, [request.root])
        try:
            outcome = carry_out(
                ScanTask(strategy=strategy, request=request),
                timeout_s=job.spec.timeout_s,
                stop=following.stop,
                on_progress=following.on_progress,
            )
        except ScanError as error:
            outcome = Outcome(status=Status.FAILED, message=str(error))
        filesystem = outcome.filesystem or filesystem
        if not outcome.begun and not executed:
            return _Work(executed=[], root_error=outcome.message)
        if outcome.defect is not None:
            _log.error("the %s execution failed by a defect", strategy, extra={"traceback": outcome.defect})
        executed.append(_describe(strategy, position, request, outcome))
        # Beside a process that can't be ended nothing can be measured, and the next one would meet what it has met.
        if outcome.left or outcome.status in {Status.CANCELLED, Status.INTERRUPTED}:
            break
    return _Work(executed=executed, filesystem=filesystem)


def _describe(strategy: str, position: int, request: ScanRequest, outcome: Outcome) -> _Executed:
    parallel = load_strategy(strategy).parallel
    execution = Execution(
        strategy=strategy,
        position=position,
        status=outcome.status,
        workers=request.workers if parallel else 1,
        start_method=request.start_method if parallel else None,
        message=outcome.message,
    )
    figures = outcome.figures
    if figures is None:
        return _Executed(execution=execution, snapshot=None)
    found: Found = outcome.result
    snapshot = Snapshot(found)
    measured = replace(
        execution,
        # What a strategy that is found to be wrong has read anew is right, and is saved.
        status=Status.FAILED if found.defect else Status.PARTIAL if snapshot.problems else Status.SUCCEEDED,
        message=found.defect or "; ".join(found.messages) or None,
        wall_s=figures.wall_s,
        startup_s=figures.startup_s,
        user_s=figures.user_s,
        system_s=figures.system_s,
        max_rss_bytes=figures.max_rss_bytes,
        cache=Cache.COLD if figures.blocks_in else Cache.WARM,
        files=snapshot.files,
        directories=snapshot.directories,
        entries=snapshot.entries,
    )
    return _Executed(execution=measured, snapshot=snapshot)


def _conclude(executed: Sequence[_Executed], root_error: str | None, wall_s: float) -> Ending:
    finished_at = datetime.now(UTC)
    if root_error is not None:
        return Ending(status=Status.FAILED, finished_at=finished_at, wall_s=wall_s, message=root_error)
    worst = max((one.execution for one in executed), key=lambda execution: _SEVERITY.index(execution.status))
    snapshots = {one.execution.strategy: one.snapshot for one in executed if one.snapshot is not None}
    differing = differing_paths(snapshots) if len(snapshots) > 1 else {}
    messages = [
        f"{one.execution.strategy}: {one.execution.message}" for one in executed if one.execution.message is not None
    ]
    if differing:
        messages.append(
            f"the strategies differ on {format_count(len(differing), 'path')}: "
            "the tree changed meanwhile, or there is a defect"
        )
    return Ending(
        status=worst.status,
        finished_at=finished_at,
        wall_s=wall_s,
        executions=[one.execution for one in executed],
        snapshot=list(snapshots.values())[-1] if snapshots else None,
        differences=[Difference(path=path, found_by=found_by) for path, found_by in sorted(differing.items())],
        message="; ".join(messages) or None,
    )
