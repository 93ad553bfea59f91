"""The scheduler without a daemon, while jobs and clocks change."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from conftest import until

from runner.daemon import clock
from runner.daemon.daemon import Daemon
from runner.daemon.scheduler import JobScheduler
from runner.daemon.settings import DaemonSettings
from runner.history.database import Database
from runner.history.jobs import add_job
from runner.model.jobs import Job, JobSpec
from runner.output.formats import event_text
from runner.schedules import trigger
from runner.schedules.parse import parse_schedule

NOW = datetime.now(UTC)


def make_job(number: int, *, every: str | None = None, at: datetime | None = None, anchor: datetime = NOW) -> Job:
    """Create a job with a schedule."""
    moment = at.isoformat() if at is not None else None
    now = anchor if every else datetime.now(UTC) - timedelta(minutes=1)
    schedule = parse_schedule(every=every, cron=None, at=moment, timezone="UTC", jitter=None, now=now)
    spec = JobSpec(name=f"job-{number}", root=b"/", schedule=schedule)
    return Job(job_id=number, spec=spec, created_at=anchor, schedule_start=anchor)


@pytest.fixture
def due() -> list[tuple[int, datetime, datetime]]:
    return []


@pytest.fixture
def scheduler(due: list[tuple[int, datetime, datetime]]) -> Iterator[JobScheduler]:
    made = JobScheduler(lambda job, *times: due.append((job.job_id, *times)))
    made.start()
    yield made
    made.stop()


def test_each_fire_time_is_reported_once(scheduler: JobScheduler, due: list[tuple[int, datetime, datetime]]) -> None:
    job = make_job(1, every="1s", anchor=datetime.now(UTC))
    scheduler.sync([job], lambda job: job.schedule_start)
    until(lambda: len(due) >= 3, "three firings")
    assert [(1, *[job.schedule_start + timedelta(seconds=n)] * 2) for n in (1, 2, 3)] == due[:3]


def test_passed_fire_times_are_reported_as_first_and_last(
    scheduler: JobScheduler, due: list[tuple[int, datetime, datetime]]
) -> None:
    anchor = datetime.now(UTC) - timedelta(hours=1, seconds=30)
    scheduler.sync([make_job(1, every="1m", anchor=anchor)], lambda job: job.schedule_start)
    until(lambda: due, "a firing")
    assert [(1, anchor + timedelta(minutes=1), anchor + timedelta(minutes=60))] == due


def test_a_job_without_further_fire_times_can_be_removed(
    scheduler: JobScheduler, due: list[tuple[int, datetime, datetime]]
) -> None:
    scheduler.sync([make_job(1, at=datetime.now(UTC) + timedelta(seconds=0.2))], lambda job: job.schedule_start)
    until(lambda: due, "its firing")
    scheduler.sync([], lambda job: job.schedule_start)
    assert None is scheduler.find_job(1)


def test_an_error_in_a_trigger_stops_the_checks(scheduler: JobScheduler, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler.sync([make_job(1, every="1s", anchor=datetime.now(UTC))], lambda job: job.schedule_start)
    monkeypatch.setattr(trigger, "next_fire_time", lambda *_: 1 // 0)
    # What ends the thread is printed by Python's own hook, which pytest would take for a failure.
    monkeypatch.setattr("threading.excepthook", lambda _error: None)
    until(lambda: not scheduler._scheduler._thread.is_alive(), "the end of the scheduler's thread")
    last_check_s = scheduler.last_check_s
    scheduler.wakeup()
    assert last_check_s == scheduler.last_check_s


def test_a_scheduler_that_never_started_stops() -> None:
    JobScheduler(lambda *_: None).stop()


def test_a_clock_set_back_by_hours_is_followed(history: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job(1, every="1s", anchor=datetime.now(UTC))
    add_job(history, job.spec, job.schedule_start)
    offset_s = clock._clock_offset_s()
    monkeypatch.setattr(clock, "_clock_offset_s", lambda: offset_s + 3 * 3600)
    daemon = Daemon(history, lambda: DaemonSettings(start_method="fork"), event_text)
    due: list[tuple[datetime, int, datetime, datetime]] = []
    monkeypatch.setattr(daemon._dispatcher, "record_due", lambda *arguments: due.append(arguments))
    # As the clock was three hours ahead, everything up to then has fired.
    ahead = datetime.now(UTC) + timedelta(hours=3)
    daemon._scheduler.start()
    daemon._scheduler.sync([job], lambda _job: ahead)
    monkeypatch.setattr(clock, "_clock_offset_s", lambda: offset_s)
    try:
        daemon._clock.check()
        action = daemon._inbox.get(timeout=5)
    finally:
        daemon._scheduler.stop()
    assert action is not None
    action()
    assert due[0][2] < ahead - timedelta(hours=2)


@pytest.mark.parametrize("restart", [True, False])
def test_an_unchanged_job_is_found_at_any_moment(scheduler: JobScheduler, *, restart: bool) -> None:
    jobs = [make_job(number, every="1h") for number in range(1, 4)]
    scheduler.sync(jobs, lambda job: job.schedule_start)
    changed = jobs if restart else [make_job(number, every="2h") for number in range(1, 4)]
    found: list[Job | None] = []

    def after(job: Job) -> datetime:
        found.extend(scheduler.find_job(job.job_id) for job in jobs)
        return job.schedule_start

    scheduler.sync(changed, after, restart=restart)
    assert 9 == len(found)
    assert None not in found
