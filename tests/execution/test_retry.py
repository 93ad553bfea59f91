from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runner.execution.executor import fire
from runner.execution.retry import find_attempts, list_retries
from runner.history.database import Database, locate
from runner.history.jobs import add_job, change_job
from runner.history.runs import get_run
from runner.history.upgrade import open_database
from runner.model.jobs import Job, JobSpec, Schedule, ScheduleKind
from runner.model.runs import Cause, Run

HOUR = timedelta(hours=1)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(locate(str(tmp_path / "history.db")))
    yield database
    database.close()


@pytest.fixture
def job(database: Database, tmp_path: Path) -> Job:
    """Give a job whose root is not there, that fires every hour and tries twice again after ten minutes."""
    now = datetime.now(UTC)
    spec = JobSpec(
        name="docs",
        root=bytes(tmp_path / "missing"),
        retries=2,
        retry_delay_s=600,
        schedule=Schedule(kind=ScheduleKind.EVERY, expression="1h", timezone="UTC", anchor_at=now),
    )
    return add_job(database, spec, now)


def failed(
    database: Database, job: Job, *, cause: Cause = Cause.SCHEDULE, attempt: int = 1, at: datetime | None = None
) -> Run:
    at = None if cause is Cause.MANUAL else at or datetime.now(UTC)
    return get_run(
        database, fire(database, job, cause=cause, scheduled_at=at, start_method="fork", at_once=1, attempt=attempt)
    )


def due(database: Database, run: Run, after: timedelta = timedelta()) -> timedelta | None:
    """Tell how long after a run its next attempt is due, as it seems some time after it."""
    assert run.finished_at is not None
    at = find_attempts(database, [run], run.finished_at + after).again_at.get(run.run_id)
    return None if at is None else at - run.finished_at


def test_the_next_attempt_is_due_after_the_delay_until_the_last_one(database: Database, job: Job) -> None:
    assert timedelta(minutes=10) == due(database, failed(database, job))
    assert timedelta(minutes=10) == due(database, failed(database, job, attempt=2))
    last = failed(database, job, attempt=3)
    assert None is due(database, last)
    assert {job.job_id: 3} == find_attempts(database, [last], datetime.now(UTC)).most


def test_no_attempt_is_due_of_a_run_by_hand_or_one_that_has_been_followed_by_another(
    database: Database, job: Job
) -> None:
    first = failed(database, job)
    assert None is due(database, failed(database, job, cause=Cause.MANUAL))
    assert timedelta(minutes=10) == due(database, first)  # which what is run by hand does not replace
    second = failed(database, job, attempt=2, at=first.scheduled_at)
    assert [None, timedelta(minutes=10)] == [due(database, first), due(database, second)]
    third = failed(database, job)
    assert [None, timedelta(minutes=10)] == [due(database, second), due(database, third)]


def test_each_run_that_makes_up_for_missed_ones_is_tried_again(database: Database, job: Job) -> None:
    before = failed(database, job)
    runs = [failed(database, job, cause=Cause.CATCHUP) for _ in range(3)]
    failed(database, job, cause=Cause.MANUAL)
    again = failed(database, job, cause=Cause.CATCHUP, attempt=2, at=runs[1].scheduled_at)
    waiting = [before.run_id, runs[0].run_id, runs[2].run_id, again.run_id]
    assert waiting == [run.run_id for run, _ in list_retries(database, job, datetime.now(UTC))]
    assert waiting == sorted(find_attempts(database, [before, *runs, again], datetime.now(UTC)).again_at)


def test_an_attempt_that_is_overdue_waits_for_a_daemon_until_the_job_fires_again(database: Database, job: Job) -> None:
    run = failed(database, job)
    assert timedelta(minutes=10) == due(database, run, timedelta(minutes=30))
    assert None is due(database, run, HOUR)


def test_no_attempt_is_due_where_the_job_fires_before_or_is_paused_or_gone(database: Database, job: Job) -> None:
    run = failed(database, job)
    for spec in (replace(job.spec, retry_delay_s=3600), replace(job.spec, paused=True), replace(job.spec, retries=0)):
        change_job(database, job, spec, datetime.now(UTC))
        assert None is due(database, run), spec
        change_job(database, job, job.spec, datetime.now(UTC))
    assert timedelta(minutes=10) == due(database, run)


def test_what_came_due_while_the_job_was_paused_is_not_made_up_for(database: Database, job: Job) -> None:
    run = failed(database, job)
    assert run.finished_at is not None
    paused = change_job(database, job, replace(job.spec, paused=True), datetime.now(UTC))
    assert None is due(database, run)
    for minutes, expected in ((9, timedelta(minutes=10)), (11, None)):
        change_job(database, paused, job.spec, run.finished_at + timedelta(minutes=minutes))
        assert expected == due(database, run, timedelta(minutes=minutes))


def test_what_did_not_fire_while_the_job_was_paused_forestalls_nothing(database: Database, job: Job) -> None:
    run = failed(database, job)
    assert run.finished_at is not None
    late = replace(job.spec, retry_delay_s=5400)
    paused = change_job(database, job, replace(late, paused=True), datetime.now(UTC))
    change_job(database, paused, late, run.finished_at + timedelta(minutes=70))
    assert timedelta(minutes=90) == due(database, run, timedelta(minutes=70))
