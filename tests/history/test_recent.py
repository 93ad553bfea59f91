from datetime import timedelta

import pytest
from history_examples import ENVIRONMENT, NOW, OWNER, listing, play, snapshot, some_job

from runner.history import recent
from runner.history.database import Database
from runner.history.firings import Gap, add_firing, record_gap
from runner.history.jobs import remove_job
from runner.history.recording import RunOutcome, begin_run, finish_run
from runner.history.runs import get_run
from runner.model.jobs import Job
from runner.model.runs import Cache, Execution, Status

HOUR = timedelta(hours=1)


def run_at(database: Database, job: Job, hours: float, status: Status = Status.SUCCEEDED, took_s: float = 2.0) -> int:
    """Save a run that began so many hours after NOW, with one execution."""
    at = NOW + hours * HOUR
    number = begin_run(database, job, None, clock=lambda: at, environment=ENVIRONMENT, owner=OWNER)
    done = status is Status.SUCCEEDED
    execution = Execution(
        strategy="sequential", position=1, status=status, wall_s=took_s, startup_s=0.0, user_s=0.1, system_s=0.1,
        max_rss_bytes=1, cache=Cache.WARM, files=1, directories=1, entries=1,
    )  # fmt: skip
    outcome = RunOutcome(
        status=status,
        finished_at=at + timedelta(seconds=took_s),
        wall_s=took_s if done else None,
        executions=[execution] if done else [],
        snapshot=snapshot(listing(b"", [b"a.md"])) if done else None,
    )
    assert finish_run(database, number, outcome)
    return number


@pytest.fixture
def job(database: Database) -> Job:
    return some_job(database)


def test_newest_row_of_each_job(database: Database, job: Job) -> None:
    other, gone, _unused = (some_job(database, name) for name in ("other", "gone", "unused"))
    run_at(database, job, 0)
    failed = run_at(database, job, 1, Status.FAILED)
    good = run_at(database, other, 2)
    run_at(database, gone, 3)
    remove_job(database, gone, NOW)
    assert {job.job_id: (failed, Status.FAILED), other.job_id: (good, Status.SUCCEEDED)} == recent.list_newest(database)


def test_last_rows_of_jobs_are_limited_for_each(database: Database, job: Job) -> None:
    other = some_job(database, "other")
    numbers = [run_at(database, one, hour) for hour in range(5) for one in (job, other)]
    last = recent.list_last_of_jobs(database, [job.job_id, other.job_id], 2)
    assert [numbers[6], numbers[8], numbers[7], numbers[9]] == [run.run for run in last]
    assert [(NOW + 3 * HOUR, 2.0, 0)] == [(run.began_at, run.wall_s, run.added) for run in last[:1]]
    walls = recent.list_last_walls(database, [job.job_id], 2)
    assert [(numbers[6], "sequential", 2.0), (numbers[8], "sequential", 2.0)] == sorted(walls)


def test_statuses_are_counted_since_an_instant(database: Database, job: Job) -> None:
    other = some_job(database, "other")
    run_at(database, job, -2, Status.FAILED)
    for hour, status in enumerate((Status.SUCCEEDED, Status.FAILED, Status.SUCCEEDED)):
        run_at(database, job, hour, status)
    run_at(database, other, 3, Status.FAILED)
    counts = recent.count_statuses(database, [job.job_id], NOW)
    assert {job.job_id: {Status.SUCCEEDED: 2, Status.FAILED: 1}} == counts


def test_failures_since_an_instant(database: Database, job: Job) -> None:
    numbers = [run_at(database, job, hour, Status.FAILED) for hour in range(4)]
    run_at(database, job, 5)
    found = recent.list_since(database, NOW + HOUR, [Status.FAILED], 2)
    assert [numbers[3], numbers[2]] == [run.run_id for run in found]


def test_rows_beside_a_run(database: Database, job: Job) -> None:
    other = some_job(database, "other")
    first, _, second, third = (run_at(database, one, 0) for one in (job, other, job, job))
    beside = [recent.find_neighbours(database, get_run(database, number)) for number in (first, second, third)]
    assert [(None, second), (first, third), (second, None)] == beside


def test_marks_merge_runs_of_one_slot(database: Database, job: Job) -> None:
    first, _, _ = (run_at(database, job, hour) for hour in (0.1, 0.2, 0.4))
    failed = run_at(database, job, 0.5, Status.FAILED)
    late = run_at(database, job, 1.5)
    marks = recent.list_marks(database, [job.job_id], NOW, NOW + 2 * HOUR, HOUR)
    shown = {(mark.slot, mark.status, mark.runs, mark.first_run) for mark in marks}
    assert {(0, "succeeded", 3, first), (0, "failed", 1, failed), (1, "succeeded", 1, late)} == shown
    assert [(NOW + 1.5 * HOUR).timestamp()] == pytest.approx([mark.began_s for mark in marks if mark.slot], abs=1)


def test_marks_include_what_lasted_into_the_range(database: Database, job: Job) -> None:
    long = run_at(database, job, -2, took_s=3 * 3600)
    run_at(database, job, 1.5)
    running = begin_run(database, job, None, clock=lambda: NOW + HOUR, environment=ENVIRONMENT, owner=OWNER)
    marks = recent.list_marks(database, [job.job_id], NOW, NOW + 1.2 * HOUR, HOUR)
    assert [(-2, long), (1, running)] == [(mark.slot, mark.first_run) for mark in marks]
    assert marks[1].ended_s is None
    assert [running] == [run.run_id for run in recent.list_running(database)]


def test_marks_include_a_gap_recorded_after_the_range(database: Database, job: Job) -> None:
    play(database, job, None)
    gap = Gap(first=NOW + HOUR, until=NOW + 9 * HOUR, count=9, reason="no daemon was running", catch_up=[])
    record_gap(database, job, gap, lambda: NOW + 9 * HOUR)
    add_firing(database, job, NOW + 10 * HOUR, lambda: NOW + 10 * HOUR, busy="the previous run is still running")
    marks = recent.list_marks(database, [job.job_id], NOW + 2 * HOUR, NOW + 3 * HOUR, HOUR)
    (mark,) = marks
    assert ("missed", 9) == (mark.status, mark.missed)
    assert pytest.approx((NOW + 9 * HOUR).timestamp(), abs=1) == mark.ended_s
