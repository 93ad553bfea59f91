"""The timetable alone: what it does when jobs and clocks change under it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from conftest import until

from runner.daemon import daemon as service
from runner.daemon.daemon import Choices, Daemon
from runner.daemon.scheduler import Timetable
from runner.history.database import Database
from runner.history.jobs import add_job
from runner.model.jobs import Job, JobSpec
from runner.output.records import show_record
from runner.schedules import trigger
from runner.schedules.parse import parse_schedule

NOW = datetime.now(UTC)


def make_job(number: int, *, every: str | None = None, at: datetime | None = None, anchor: datetime = NOW) -> Job:
    """Make a job that fires."""
    moment = at.isoformat() if at is not None else None
    now = anchor if every else datetime.now(UTC) - timedelta(minutes=1)
    schedule = parse_schedule(every=every, cron=None, at=moment, timezone="UTC", jitter=None, now=now)
    spec = JobSpec(name=f"job-{number}", root=b"/", schedule=schedule)
    return Job(job_id=number, spec=spec, created_at=anchor, armed_at=anchor)


@pytest.fixture
def due() -> list[tuple[int, datetime, datetime]]:
    return []


@pytest.fixture
def timetable(due: list[tuple[int, datetime, datetime]]) -> Iterator[Timetable]:
    made = Timetable(lambda *told: due.append(told))
    made.start()
    yield made
    made.stop()


def test_each_fire_time_is_told_once(timetable: Timetable, due: list[tuple[int, datetime, datetime]]) -> None:
    job = make_job(1, every="1s", anchor=datetime.now(UTC))
    timetable.follow([job], lambda job: job.armed_at)
    until(lambda: len(due) >= 3, "three firings")
    assert [(1, *[job.armed_at + timedelta(seconds=n)] * 2) for n in (1, 2, 3)] == due[:3]


def test_fire_times_that_passed_are_told_as_first_and_last(
    timetable: Timetable, due: list[tuple[int, datetime, datetime]]
) -> None:
    anchor = datetime.now(UTC) - timedelta(hours=1, seconds=30)
    timetable.follow([make_job(1, every="1m", anchor=anchor)], lambda job: job.armed_at)
    until(lambda: due, "a firing")
    assert [(1, anchor + timedelta(minutes=1), anchor + timedelta(minutes=60))] == due


def test_a_job_that_has_fired_for_the_last_time_can_be_removed(
    timetable: Timetable, due: list[tuple[int, datetime, datetime]]
) -> None:
    timetable.follow([make_job(1, at=datetime.now(UTC) + timedelta(seconds=0.2))], lambda job: job.armed_at)
    until(lambda: due, "its firing")
    timetable.follow([], lambda job: job.armed_at)
    assert None is timetable.find_job(1)


def test_an_error_in_a_trigger_does_not_pass_unnoticed(timetable: Timetable, monkeypatch: pytest.MonkeyPatch) -> None:
    timetable.follow([make_job(1, every="1s", anchor=datetime.now(UTC))], lambda job: job.armed_at)
    monkeypatch.setattr(trigger, "next_fire_time", lambda *_: 1 // 0)
    # What ends the thread is printed by Python's own hook, which pytest would take for a failure.
    monkeypatch.setattr("threading.excepthook", lambda _told: None)
    until(lambda: not timetable._scheduler._thread.is_alive(), "the end of the scheduler's thread")
    looked_s = timetable.looked_s
    timetable.wake()
    assert looked_s == timetable.looked_s


def test_a_timetable_that_never_started_can_be_stopped() -> None:
    Timetable(lambda *_: None).stop()


def test_a_clock_set_back_by_hours_is_followed(history: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job(1, every="1s", anchor=datetime.now(UTC))
    add_job(history, job.spec, job.armed_at)
    offset_s = service._clock_offset_s()
    monkeypatch.setattr(service, "_clock_offset_s", lambda: offset_s + 3 * 3600)
    daemon = Daemon(history, lambda: Choices(start_method="fork"), show_record)
    told: list[tuple[datetime, int, datetime, datetime]] = []
    monkeypatch.setattr(daemon, "_dispatch", lambda *due: told.append(due))
    # As the clock was three hours ahead, everything up to then has fired.
    ahead = datetime.now(UTC) + timedelta(hours=3)
    daemon._timetable.start()
    daemon._timetable.follow([job], lambda _job: ahead)
    monkeypatch.setattr(service, "_clock_offset_s", lambda: offset_s)
    try:
        daemon._follow_clock()
        action = daemon._inbox.get(timeout=5)
    finally:
        daemon._timetable.stop()
    assert action is not None
    action()
    assert told[0][2] < ahead - timedelta(hours=2)


@pytest.mark.parametrize("anew", [True, False])
def test_a_job_that_goes_on_firing_is_found_at_any_moment(timetable: Timetable, *, anew: bool) -> None:
    jobs = [make_job(number, every="1h") for number in range(1, 4)]
    timetable.follow(jobs, lambda job: job.armed_at)
    later = jobs if anew else [make_job(number, every="2h") for number in range(1, 4)]
    found: list[Job | None] = []

    def after(job: Job) -> datetime:
        found.extend(timetable.find_job(job.job_id) for job in jobs)
        return job.armed_at

    timetable.follow(later, after, anew=anew)
    assert 9 == len(found)
    assert None not in found
