"""One run: start it, run every strategy in a trial process of its own, compare, save."""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from random import Random

from runner.execution.locks import holding, stop_when_lock_lost, wait_for_slot
from runner.execution.order import choose_order
from runner.history.database import Database
from runner.history.recording import RunOutcome, begin_run, finish_run, is_cancel_requested, list_saved_mounts
from runner.history.runs import list_first_strategies
from runner.jobs.caches import cache_file
from runner.measure.environment import DEFAULT_START_METHOD, describe_environment, describe_process, usable_cpus
from runner.measure.observer import RunObserver
from runner.measure.root_check import report_waiting
from runner.measure.trial import ScanTask, TrialResult
from runner.measure.trials import carry_out
from runner.model.errors import HistoryError, RunnerError, ScanError, is_condition, reason_of
from runner.model.jobs import Job
from runner.model.runs import Cache, Difference, Environment, Execution, Firing, Status
from runner.model.subject import note_run
from runner.model.units import format_count
from runner.scan.compare import differing_paths
from runner.scan.snapshot import Snapshot
from runner.strategies import load_strategy
from runner.strategies.base import Cluster, ScanRequest

_log = logging.getLogger(__name__)

# How many earlier runs choose_order considers.
_ORDER_RUNS = 10
_CANCEL_POLL_S = 0.5
# How often to retry while the database can't be written, and for how long to keep a snapshot.
_RETRY_INTERVAL_S = 1.0
_SAVE_S = 60.0

# From best to worst; a run has the status of its worst execution.
_SEVERITY = (
    Status.SUCCEEDED,
    Status.PARTIAL,
    Status.FAILED,
    Status.TIMED_OUT,
    Status.CANCELLED,
    Status.INTERRUPTED,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _StartedRun:
    """A run with its row, and what was read from the history before it."""

    run_id: int
    environment: Environment
    first_strategies: Sequence[str]
    mounts: tuple[bytes, ...]


def fire(
    database: Database,
    job: Job,
    firing: Firing | None = None,
    *,
    start_method: str = DEFAULT_START_METHOD,
    cluster: Cluster | None = None,
    at_once: int = 1,
    accept_unmounted: bool = False,
    observer: RunObserver | None = None,
    random: Random | None = None,
) -> int:
    """Execute one run of a job and save it; return its number.

    Args:
        database: The history.
        job: The job.
        firing: What is due; None for a manual run.
        start_method: How pool workers are started.
        cluster: Where the strategy dask finds its workers; None for this machine.
        at_once: How many runs of this database may be concurrent.
        accept_unmounted: Whether directories that no longer are mount points cause no problem.
        observer: Receives progress and may stop the run.
        random: The source of chance; None for the system's.

    Raises:
        Busy: If a run of the same job is running.
        Withdrawn: If the firing is no longer due.
        Stopped: If it was stopped while it waited for a run of another job.
        HistoryError: If it could not be saved.
    """
    observer = observer or RunObserver()
    workers = job.spec.workers or usable_cpus()
    start = partial(_start, database, job, firing, workers, start_method, at_once)
    lock = database.location.run_lock()
    what = f"the run of {job.spec.name!r}"
    run = wait_for_slot(database, holding(lock, start), observer, what=what, job_id=job.job_id)
    note_run(run.run_id)
    stop = _stop_when_cancelled(database, run.run_id, stop_when_lock_lost(lock, observer.stop))
    observer = replace(observer, stop=stop)
    request = ScanRequest(
        root=job.spec.root,
        selection=job.spec.selection,
        workers=workers,
        start_method=start_method,
        cache=os.fsencode(cache_file(database, job)),
        full_every_s=job.spec.full_every_s,
        mounts=() if accept_unmounted else run.mounts,
        cluster=cluster,
    )
    try:
        order = choose_order(job.spec.strategies, run.first_strategies, random or Random())  # noqa: S311  no secret
        outcome = _execute(order, request, run.environment, job.spec.timeout_s, observer)
        _save(database, run.run_id, outcome, observer)
    except BaseException as error:
        _save_error(database, run.run_id, error, observer)
        raise
    finally:
        lock.release()
    return run.run_id


def _start(
    database: Database, job: Job, firing: Firing | None, workers: int, start_method: str, at_once: int
) -> _StartedRun:
    # The root is not touched here: its file system may hang, and only trial processes can be given up.
    environment = describe_environment(None, workers=workers, start_method=start_method)
    # Read before the run starts, as a started run would fail if the database is locked.
    mounts = list_saved_mounts(database, job)
    first_strategies = list_first_strategies(database, job, limit=_ORDER_RUNS)
    run_id = begin_run(
        database,
        job,
        firing,
        clock=partial(datetime.now, UTC),
        environment=environment,
        owner=describe_process(),
        at_once=at_once,
    )
    return _StartedRun(run_id=run_id, environment=environment, first_strategies=first_strategies, mounts=mounts)


def _stop_when_cancelled(
    database: Database, run_id: int, stop: Callable[[], Status | None]
) -> Callable[[], Status | None]:
    """Return *stop*, extended by a look for cancel requests in the database."""
    next_poll_s = 0.0

    def poll() -> Status | None:
        nonlocal next_poll_s
        status = stop()
        if status is not None or time.monotonic() < next_poll_s:
            return status
        next_poll_s = time.monotonic() + _CANCEL_POLL_S
        try:
            return Status.CANCELLED if is_cancel_requested(database, run_id) else None
        except HistoryError as error:  # an unreadable database is no reason to stop
            _log.debug("%s", error)
            return None

    return poll


class _StoppedSave(RunnerError):
    """A run was stopped while it was saved."""


def _save(database: Database, run_id: int, outcome: RunOutcome, observer: RunObserver) -> None:
    """Save a run's outcome; the daemon retries for a while with its snapshot, and then without it until it is saved."""
    deadline_s = 0.0
    logged = ""

    def on_written() -> None:
        if outcome.snapshot is not None and (status := observer.stop()) is not None:
            raise _StoppedSave(status)

    while True:
        try:
            finish_run(database, run_id, outcome, on_written=on_written)
        except _StoppedSave as stopped:
            message = "it was stopped while its findings were saved"
            outcome = replace(outcome, status=stopped.args[0], snapshot=None, differences=(), message=message)
        except HistoryError as error:
            if not observer.patient or database.is_past_deadline():
                raise
            deadline_s = deadline_s or time.monotonic() + _SAVE_S  # a save may take longer
            if str(error) != logged:
                logged = str(error)
                _log.warning("%s", logged)
            if time.monotonic() > deadline_s and outcome.snapshot is not None:
                message = f"what it found could not be saved: {error}"
                outcome = replace(outcome, status=Status.FAILED, snapshot=None, differences=(), message=message)
            time.sleep(_RETRY_INTERVAL_S)
        else:
            return


def _save_error(database: Database, run_id: int, error: BaseException, observer: RunObserver) -> None:
    """Record that an error stopped a run: if this process continues, recovery would not."""
    is_expected = isinstance(error, RunnerError) or is_condition(error)
    message = f"stopped by an error: {reason_of(error)}" if is_expected else "runner was stopped by an error"
    status = Status.FAILED if isinstance(error, Exception) else Status.INTERRUPTED
    outcome = RunOutcome(status=status, finished_at=datetime.now(UTC), message=message)
    try:
        _save(database, run_id, outcome, observer)
    except (HistoryError, OSError, MemoryError) as failure:
        # Not raised: the first error says more.
        _log.error("it could not be recorded that the run was stopped by an error: %s", reason_of(failure))
        observer.on_unended(partial(finish_run, database, run_id, outcome))


def _execute(
    order: Sequence[str], request: ScanRequest, environment: Environment, timeout_s: int | None, observer: RunObserver
) -> RunOutcome:
    """Run the strategies in this order."""
    started_s = time.monotonic()
    executions: list[Execution] = []
    snapshots: dict[str, Snapshot] = {}
    filesystem = ""
    for position, strategy in enumerate(order, start=1):
        observer.on_strategy(strategy, position)
        result = _run_trial(strategy, request, timeout_s, observer)
        if not result.begun and not executions:
            return RunOutcome(
                status=Status.FAILED,
                finished_at=datetime.now(UTC),
                wall_s=time.monotonic() - started_s,
                message=result.message,
                environment=replace(environment, filesystem=filesystem),
            )
        filesystem = result.filesystem or filesystem
        if result.defect is not None:
            _log.error("the %s execution failed by a defect", strategy, extra={"traceback": result.defect})
        execution, snapshot = _describe(strategy, position, request, result)
        executions.append(execution)
        if snapshot is not None:
            snapshots[strategy] = snapshot
        # Beside a process that can't be ended nothing can be measured, and the next trial would hang as well.
        if result.left or result.status in {Status.CANCELLED, Status.INTERRUPTED}:
            break
    outcome = _conclude(executions, snapshots, time.monotonic() - started_s)
    return replace(outcome, environment=replace(environment, filesystem=filesystem))


def _run_trial(strategy: str, request: ScanRequest, timeout_s: int | None, observer: RunObserver) -> TrialResult:
    observer = report_waiting(observer, [request.root])
    task = ScanTask(strategy=strategy, request=request)
    try:
        return carry_out(task, timeout_s=timeout_s, stop=observer.stop, on_progress=observer.on_progress)
    except ScanError as error:
        return TrialResult(status=Status.FAILED, message=str(error))


def _describe(
    strategy: str, position: int, request: ScanRequest, result: TrialResult
) -> tuple[Execution, Snapshot | None]:
    parallel = load_strategy(strategy).parallel
    execution = Execution(
        strategy=strategy,
        position=position,
        status=result.status,
        workers=result.workers or (request.workers if parallel else 1),
        start_method=request.start_method if parallel and strategy != "dask" else None,
        message=result.message,
    )
    if result.message is not None:
        return execution, None
    snapshot: Snapshot = result.value
    execution = replace(
        execution,
        # After a defect of incremental's cache the tree was read again: the snapshot is right, and is saved.
        status=Status.FAILED if snapshot.defect else Status.PARTIAL if snapshot.problems else Status.SUCCEEDED,
        message=snapshot.defect or "; ".join(filter(None, (*snapshot.messages, result.detail))) or None,
        wall_s=result.wall_s,
        startup_s=result.startup_s,
        user_s=result.user_s,
        system_s=result.system_s,
        max_rss_bytes=result.max_rss_bytes,
        cache=Cache.COLD if result.blocks_in else Cache.WARM,
        files=snapshot.files,
        directories=snapshot.directories,
        entries=snapshot.entries,
    )
    return execution, snapshot


def _is_plain(snapshot: Snapshot | None) -> bool:
    """Return whether the message of an execution can only be about its figures."""
    return snapshot is not None and not snapshot.messages and not snapshot.defect


def _conclude(executions: Sequence[Execution], snapshots: Mapping[str, Snapshot], wall_s: float) -> RunOutcome:
    """Compare the executions; the last snapshot is saved."""
    differing = differing_paths(snapshots) if len(snapshots) > 1 else {}
    messages = [
        f"{execution.strategy}: {execution.message}"
        for execution in executions
        if execution.message and not _is_plain(snapshots.get(execution.strategy))
    ]
    if differing:
        messages.append(
            f"the strategies differ on {format_count(len(differing), 'path')}: "
            "the tree changed meanwhile, or there is a defect"
        )
    return RunOutcome(
        status=max((execution.status for execution in executions), key=_SEVERITY.index),
        finished_at=datetime.now(UTC),
        wall_s=wall_s,
        executions=executions,
        snapshot=list(snapshots.values())[-1] if snapshots else None,
        differences=[Difference(path=path, found_by=found_by) for path, found_by in sorted(differing.items())],
        message="; ".join(messages) or None,
    )
