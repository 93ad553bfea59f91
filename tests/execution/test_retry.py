from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from firings import add_due

from runner.execution.executor import fire
from runner.history.database import Database, locate
from runner.history.firings import add_firing
from runner.history.jobs import add_job, change_job
from runner.history.retries import find_attempts
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
        schedule=Schedule(kind=ScheduleKind.EVERY, expression="1h", timezone="UTC", interval_origin=now),
    )
    return add_job(database, spec, now)


def failed(
    database: Database, job: Job, *, cause: Cause = Cause.SCHEDULE, attempt: int = 1, at: datetime | None = None
) -> Run:
    at = None if cause is Cause.MANUAL else at or datetime.now(UTC)
    due = add_due(database, job, at, cause=cause, attempt=attempt)
    return get_run(database, fire(database, job, due, start_method="fork"))


def due(database: Database, run: Run, after: timedelta = timedelta()) -> timedelta | None:
    """Return the delay of a run's retry, as seen some time after the run."""
    assert run.finished_at is not None
    at = find_attempts(database, [run], run.finished_at + after).again_at.get(run.run_id)
    return None if at is None else at - run.finished_at


def test_the_next_attempt_is_due_after_the_delay_until_the_last_one(database: Database, job: Job) -> None:
    assert timedelta(minutes=10) == due(database, failed(database, job))
    assert timedelta(minutes=10) == due(database, failed(database, job, attempt=2))
    last = failed(database, job, attempt=3)
    assert None is due(database, last)
    assert {job.job_id: 3} == find_attempts(database, [last], datetime.now(UTC)).most


def test_manual_runs_have_no_retry_and_replace_none(database: Database, job: Job) -> None:
    first = failed(database, job)
    assert None is due(database, failed(database, job, cause=Cause.MANUAL))
    assert timedelta(minutes=10) == due(database, first)


def test_a_retry_yields_to_the_next_firing(database: Database, job: Job) -> None:
    first = failed(database, job)
    assert None is add_firing(database, job, datetime.now(UTC), lambda: datetime.now(UTC))
    assert None is due(database, first)


def test_each_catch_up_run_is_retried(database: Database, job: Job) -> None:
    runs = [failed(database, job, cause=Cause.CATCHUP) for _ in range(3)]
    failed(database, job, cause=Cause.MANUAL)
    assert [run.run_id for run in runs] == sorted(find_attempts(database, runs, datetime.now(UTC)).again_at)


def test_an_overdue_retry_waits_until_the_job_fires(database: Database, job: Job) -> None:
    run = failed(database, job)
    assert timedelta(minutes=10) == due(database, run, timedelta(minutes=30))
    assert None is due(database, run, HOUR)


def test_a_firing_a_pause_or_a_removal_drops_the_retry(database: Database, job: Job) -> None:
    run = failed(database, job)
    for spec in (replace(job.spec, retry_delay_s=3600), replace(job.spec, paused=True), replace(job.spec, retries=0)):
        change_job(database, job, spec, datetime.now(UTC))
        assert None is due(database, run), spec
        change_job(database, job, job.spec, datetime.now(UTC))
    assert timedelta(minutes=10) == due(database, run)


def test_a_retry_due_during_a_pause_is_dropped(database: Database, job: Job) -> None:
    run = failed(database, job)
    assert run.finished_at is not None
    paused = change_job(database, job, replace(job.spec, paused=True), datetime.now(UTC))
    assert None is due(database, run)
    for minutes, expected in ((9, timedelta(minutes=10)), (11, None)):
        change_job(database, paused, job.spec, run.finished_at + timedelta(minutes=minutes))
        assert expected == due(database, run, timedelta(minutes=minutes))


def test_fire_times_during_a_pause_do_not_drop_a_retry(database: Database, job: Job) -> None:
    run = failed(database, job)
    assert run.finished_at is not None
    late = replace(job.spec, retry_delay_s=5400)
    paused = change_job(database, job, replace(late, paused=True), datetime.now(UTC))
    change_job(database, paused, late, run.finished_at + timedelta(minutes=70))
    assert timedelta(minutes=90) == due(database, run, timedelta(minutes=70))
