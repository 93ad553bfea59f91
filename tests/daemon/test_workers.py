"""The workers without a daemon: firings of a job while another one of it is active."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from runner.daemon.shutdown import Shutdown
from runner.daemon.workers import Firing, Workers
from runner.history.database import Database
from runner.model.jobs import Job, JobSpec
from runner.model.runs import Cause, Run, Status

NOW = datetime(2026, 6, 1, tzinfo=UTC)
JOB = Job(job_id=1, spec=JobSpec(name="docs", root=b"/"), created_at=NOW, armed_at=NOW)
HOUR = timedelta(hours=1)


def test_catch_up_runs_follow_the_running_run(history: Database) -> None:
    started, may_end, ended = threading.Event(), threading.Event(), threading.Event()
    runs: list[tuple[Cause, datetime]] = []
    skipped: list[datetime] = []

    def run(firing: Firing, at: datetime, on_start: Callable[[], None]) -> None:
        runs.append((firing.cause, at))
        on_start()
        if firing.cause is Cause.SCHEDULE:
            started.set()
            assert may_end.wait(20)
        elif len(runs) == 3:
            ended.set()

    workers = Workers(run, lambda _job, at, _message: skipped.append(at), Shutdown(history))
    workers.resize(1)
    try:
        workers.submit(Firing(JOB, Cause.SCHEDULE, [NOW]))
        assert started.wait(20)
        workers.submit(Firing(JOB, Cause.CATCHUP, [NOW + HOUR, NOW + 2 * HOUR]))
        workers.submit(Firing(JOB, Cause.SCHEDULE, [NOW + 3 * HOUR]))
        may_end.set()
        assert ended.wait(20)
    finally:
        may_end.set()
        workers.stop()
    assert [
        (Cause.SCHEDULE, NOW),
        (Cause.CATCHUP, NOW + HOUR),
        (Cause.CATCHUP, NOW + 2 * HOUR),
    ] == runs
    assert [NOW + 3 * HOUR] == skipped


FAILED = Run(
    run_id=1, job_id=1, job="docs", root=b"/", cause=Cause.SCHEDULE, status=Status.FAILED,
    scheduled_at=NOW, started_at=NOW, finished_at=NOW,
)  # fmt: skip


class ObservedLock:
    """A lock that calls a function after each release."""

    def __init__(self, on_release: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._on_release = on_release
        self._in_callback = False

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        if not self._in_callback:
            self._in_callback = True
            self._on_release()
            self._in_callback = False


def test_a_retry_never_runs_before_pending_catch_up_runs(history: Database) -> None:
    order: list[tuple[Cause, int]] = []
    skipped: list[datetime] = []
    accepted: list[bool] = []
    ended = threading.Event()

    def run(firing: Firing, _at: datetime, _on_start: Callable[[], None]) -> None:
        order.append((firing.cause, firing.attempt))
        if firing.failed is not None:
            ended.set()

    def submit_retry() -> None:
        if threading.current_thread().name == "worker" and not any(accepted):
            accepted.append(workers.submit(Firing(JOB, Cause.SCHEDULE, [NOW], FAILED)))

    workers = Workers(run, lambda _job, at, _message: skipped.append(at), Shutdown(history))
    workers.submit(Firing(JOB, Cause.SCHEDULE, [NOW]))
    workers.submit(Firing(JOB, Cause.CATCHUP, [NOW + HOUR]))
    workers.submit(Firing(JOB, Cause.CATCHUP, [NOW + 2 * HOUR]))
    workers._lock = ObservedLock(submit_retry)  # type: ignore[assignment]
    try:
        workers.resize(1)
        assert ended.wait(20)
    finally:
        workers.stop()
    assert [(Cause.SCHEDULE, 1), (Cause.CATCHUP, 1), (Cause.CATCHUP, 1), (Cause.SCHEDULE, 2)] == order
    assert [] == skipped
    assert [False, True] == [accepted[0], accepted[-1]]
