"""The workers alone: what becomes of a firing while another one of its job is under way."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from runner.daemon.workers import Firing, Workers
from runner.model.jobs import Job, JobSpec
from runner.model.runs import Cause, Run, Status

NOW = datetime(2026, 6, 1, tzinfo=UTC)
JOB = Job(job_id=1, spec=JobSpec(name="docs", root=b"/"), created_at=NOW, armed_at=NOW)
HOUR = timedelta(hours=1)


def test_what_makes_up_for_missed_fire_times_follows_the_run_that_is_going_on() -> None:
    began, may_end, ended = threading.Event(), threading.Event(), threading.Event()
    carried_out: list[tuple[Cause, datetime]] = []
    skipped: list[datetime] = []

    def carry_out(firing: Firing, at: datetime) -> None:
        carried_out.append((firing.cause, at))
        workers.note_begun(firing)
        if firing.cause is Cause.SCHEDULE:
            began.set()
            assert may_end.wait(20)
        elif len(carried_out) == 3:
            ended.set()

    workers = Workers(carry_out, lambda _job, at, _message: skipped.append(at))
    workers.resize(1)
    try:
        workers.hand_over(Firing(JOB, Cause.SCHEDULE, [NOW]))
        assert began.wait(20)
        workers.hand_over(Firing(JOB, Cause.CATCHUP, [NOW + HOUR, NOW + 2 * HOUR]))
        workers.hand_over(Firing(JOB, Cause.SCHEDULE, [NOW + 3 * HOUR]))
        may_end.set()
        assert ended.wait(20)
    finally:
        may_end.set()
        workers.stop()
    assert [
        (Cause.SCHEDULE, NOW),
        (Cause.CATCHUP, NOW + HOUR),
        (Cause.CATCHUP, NOW + 2 * HOUR),
    ] == carried_out
    assert [NOW + 3 * HOUR] == skipped


FAILED = Run(
    run_id=1, job_id=1, job="docs", root=b"/", cause=Cause.SCHEDULE, status=Status.FAILED,
    scheduled_at=NOW, started_at=NOW, finished_at=NOW,
)  # fmt: skip


class Watched:
    """A lock that tells when somebody lets go of it."""

    def __init__(self, let_go: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._let_go = let_go
        self._telling = False

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        if not self._telling:
            self._telling = True
            self._let_go()
            self._telling = False


def test_a_retry_is_neither_skipped_nor_comes_between_a_run_and_what_follows_it() -> None:
    """Whenever it is handed over: it has its record, which promises it."""
    order: list[tuple[Cause, int]] = []
    skipped: list[datetime] = []
    taken: list[bool] = []
    ended = threading.Event()

    def carry_out(firing: Firing, _at: datetime) -> None:
        order.append((firing.cause, firing.attempt))
        if firing.failed is not None:
            ended.set()

    def try_again() -> None:
        if threading.current_thread().name == "worker" and not any(taken):
            taken.append(workers.hand_over(Firing(JOB, Cause.SCHEDULE, [NOW], FAILED)))

    workers = Workers(carry_out, lambda _job, at, _message: skipped.append(at))
    workers.hand_over(Firing(JOB, Cause.SCHEDULE, [NOW]))
    workers.hand_over(Firing(JOB, Cause.CATCHUP, [NOW + HOUR]))
    workers.hand_over(Firing(JOB, Cause.CATCHUP, [NOW + 2 * HOUR]))
    workers._lock = Watched(try_again)  # type: ignore[assignment]
    try:
        workers.resize(1)
        assert ended.wait(20)
    finally:
        workers.stop()
    assert [(Cause.SCHEDULE, 1), (Cause.CATCHUP, 1), (Cause.CATCHUP, 1), (Cause.SCHEDULE, 2)] == order
    assert [] == skipped
    assert [False, True] == [taken[0], taken[-1]]
