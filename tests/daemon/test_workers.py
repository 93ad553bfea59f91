"""The workers alone: what becomes of a firing while another one of its job is under way."""

import threading
from datetime import UTC, datetime, timedelta

from runner.daemon.workers import Firing, Workers
from runner.model.jobs import Job, JobSpec
from runner.model.runs import Cause

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
