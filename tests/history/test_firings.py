"""Firings as rows: added, skipped, missed, withdrawn and found, on both databases."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from firings import add_due
from history_examples import ENVIRONMENT, OWNER, opened, some_job
from sqlalchemy import select

from runner.history.database import Database
from runner.history.firings import (
    MAX_CATCHUP,
    Gap,
    add_firing,
    find_next_firing,
    record_gap,
    skip_firing,
    withdraw_waiting,
)
from runner.history.jobs import change_job, list_recorded_until, remove_job, set_back
from runner.history.recording import Busy, RunOutcome, Withdrawn, begin_run, finish_run
from runner.history.retries import shorten_waits
from runner.history.runs import list_runs
from runner.history.tables import firings
from runner.model.jobs import Catchup, Job, Schedule, ScheduleKind
from runner.model.runs import Cause, Firing, Status

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HOUR, TICK = timedelta(hours=1), timedelta(microseconds=1)


@pytest.fixture
def database(place: str) -> Iterator[Database]:
    with opened(place) as database:
        yield database


def make_job(database: Database, name: str = "docs", catchup: Catchup = Catchup.ALL) -> Job:
    schedule = Schedule(kind=ScheduleKind.EVERY, expression="1h", timezone="UTC", interval_origin=NOW)
    job = some_job(database, name)
    spec = replace(job.spec, schedule=schedule, catchup=catchup, retries=2, retry_delay_s=600)
    return change_job(database, job, spec, NOW)


@pytest.fixture
def job(database: Database) -> Job:
    make_job(database, "other")
    return make_job(database)


def waiting(database: Database) -> list[tuple[datetime, Cause, int]]:
    with database.read() as connection:
        found = connection.execute(select(firings).order_by(firings.c.id)).all()
    return [(row.due_at, Cause(row.cause), row.attempt) for row in found]


def begin(database: Database, job: Job, firing: Firing | None, at: datetime = NOW) -> int:
    return begin_run(database, job, firing, clock=lambda: at, environment=ENVIRONMENT, owner=OWNER, at_once=9)


def add(database: Database, job: Job, at: datetime, *, busy: str | None = None) -> str | None:
    return add_firing(database, job, at, lambda: at, busy=busy)


def gap(count: int, *, catch_up: int) -> Gap:
    times = [NOW + number * HOUR for number in range(1, count + 1)]
    return Gap(first=times[0], until=times[-1], count=count, reason="r", catch_up=times[count - catch_up :])


def test_a_fire_time_waits_until_its_run_begins(database: Database, job: Job) -> None:
    assert None is add(database, job, NOW + HOUR)
    assert {job.job_id: NOW + HOUR} == list_recorded_until(database)
    firing = find_next_firing(database, NOW + HOUR, [])
    assert firing is not None
    run_id = begin(database, job, firing, NOW + HOUR + timedelta(seconds=5))
    assert [] == waiting(database)
    (run,) = list_runs(database)
    assert (run_id, NOW + HOUR, 5.0) == (run.run_id, run.scheduled_at, run.lateness_s)
    assert run_id == begin(database, job, firing), "its owner may not have heard of the first time"
    finish_run(database, run_id, RunOutcome(status=Status.SUCCEEDED, finished_at=NOW))
    with pytest.raises(Withdrawn):
        begin(database, job, firing)


def test_a_fire_time_from_before_a_set_back_runs_at_once(database: Database, job: Job) -> None:
    add_firing(database, job, NOW + 5 * HOUR, lambda: NOW + HOUR)
    assert find_next_firing(database, NOW + HOUR, [])


def test_a_fire_time_beside_a_waiting_firing_is_skipped(database: Database, job: Job) -> None:
    add(database, job, NOW + HOUR)
    assert "the previous firing was still waiting for other runs" == add(database, job, NOW + 2 * HOUR)
    assert [(NOW + HOUR, Cause.SCHEDULE, 1)] == waiting(database)
    assert [(Status.SKIPPED, NOW + 2 * HOUR)] == [(run.status, run.scheduled_at) for run in list_runs(database)]


def test_a_fire_time_goes_before_waiting_catch_up_runs(database: Database, job: Job) -> None:
    add_due(database, make_job(database, "third"), NOW, cause=Cause.CATCHUP)
    add_due(database, job, NOW, cause=Cause.CATCHUP)
    assert None is add(database, job, NOW + HOUR, busy="its worker waits with the catch-up run")
    found = find_next_firing(database, NOW + HOUR, [])
    assert found is not None
    assert (job.job_id, Cause.SCHEDULE) == (found.job_id, found.cause)
    begin(database, job, found)
    assert "busy" == add(database, job, NOW + 2 * HOUR, busy="busy"), "its run is running"


def test_a_fire_time_beside_a_run_of_the_job_is_skipped(database: Database, job: Job) -> None:
    assert "busy" == add(database, job, NOW + HOUR, busy="busy")
    begin(database, job, None)
    with pytest.raises(Busy):
        add(database, job, NOW + 2 * HOUR)
    assert [None, NOW + HOUR] == [run.scheduled_at for run in list_runs(database)]
    other = make_job(database, "third")
    assert None is add(database, other, NOW + 2 * HOUR), "runs of other jobs do not matter"


@pytest.mark.parametrize("busy", [None, "its worker waits"])
def test_a_fire_time_replaces_a_waiting_retry(database: Database, job: Job, busy: str | None) -> None:
    other = make_job(database, "third")
    for one in (job, other):
        add_due(database, one, NOW, attempt=2)
    assert None is add(database, job, NOW + HOUR, busy=busy)
    assert [(NOW, Cause.SCHEDULE, 2), (NOW + HOUR, Cause.SCHEDULE, 1)] == waiting(database)


def test_a_failed_run_adds_its_retry(database: Database, job: Job) -> None:
    run_id = begin(database, job, add_due(database, job, NOW + HOUR))
    finish_run(database, run_id, RunOutcome(status=Status.FAILED, finished_at=NOW + HOUR + timedelta(minutes=1)))
    due_at = NOW + HOUR + timedelta(minutes=11)
    assert None is find_next_firing(database, due_at - TICK, [])
    retry = find_next_firing(database, due_at, [])
    assert retry is not None
    assert (NOW + HOUR, 2, run_id, due_at) == (retry.due_at, retry.attempt, retry.retry_of, retry.not_before)
    change_job(database, job, replace(job.spec, retry_delay_s=60), NOW + HOUR)
    assert find_next_firing(database, due_at - timedelta(minutes=9), [])
    shorten_waits(database, NOW)
    assert find_next_firing(database, NOW + timedelta(minutes=1), [])


@pytest.mark.parametrize(
    ("catchup", "expected"), [(Catchup.ALL, [0, 1, 2, 3]), (Catchup.ONCE, [0, 3]), (Catchup.NONE, [0])]
)
def test_a_gap_is_one_row_with_its_catch_up_runs(database: Database, catchup: Catchup, expected: list[int]) -> None:
    job = make_job(database, catchup=catchup)
    add_due(database, job, NOW, cause=Cause.CATCHUP)  # of an earlier gap
    add_due(database, job, NOW, attempt=2)
    wanted = {Catchup.ALL: 3, Catchup.ONCE: 1, Catchup.NONE: 0}[catchup]
    later = replace(gap(3, catch_up=wanted), first=NOW + HOUR)
    record_gap(database, job, later, lambda: NOW + 4 * HOUR)
    (row,) = list_runs(database)
    assert (Status.MISSED, NOW + HOUR, 3, "3 fire times passed while r") == (
        row.status, row.scheduled_at, row.missed, row.message,
    )  # fmt: skip
    assert [(NOW + hours * HOUR, Cause.CATCHUP, 1) for hours in expected] == waiting(database)
    assert {job.job_id: NOW + 3 * HOUR} == list_recorded_until(database)


def test_a_gap_drops_no_catch_up_runs_of_earlier_gaps(database: Database, job: Job) -> None:
    earlier = [NOW - number * HOUR for number in range(MAX_CATCHUP, 0, -1)]
    record_gap(database, job, replace(gap(1, catch_up=0), catch_up=earlier), lambda: NOW)
    record_gap(database, job, gap(2, catch_up=2), lambda: NOW + 2 * HOUR)
    assert [*earlier, NOW + HOUR, NOW + 2 * HOUR] == [at for at, _, _ in waiting(database)]


def test_what_was_not_confirmed_is_written_once(database: Database, job: Job) -> None:
    for again in (False, True):
        add_firing(database, job, NOW + HOUR, lambda: NOW + HOUR, again=again)
    begun = find_next_firing(database, NOW + HOUR, [])
    finish_run(database, begin(database, job, begun), RunOutcome(status=Status.SUCCEEDED, finished_at=NOW))
    add_firing(database, job, NOW + HOUR, lambda: NOW + HOUR, again=True)
    missed = replace(gap(3, catch_up=0), first=NOW + 2 * HOUR)
    for again in (False, True):
        record_gap(database, job, missed, lambda: NOW + 4 * HOUR, again=again)
    assert [] == waiting(database)
    assert [Status.MISSED, Status.SUCCEEDED] == [run.status for run in list_runs(database)]


def test_only_the_first_attempt_for_a_fire_time_is_recorded_as_skipped(database: Database, job: Job) -> None:
    for cause, attempt in ((Cause.SCHEDULE, 1), (Cause.SCHEDULE, 2), (Cause.CATCHUP, 1)):
        firing = add_due(database, job, NOW + HOUR, cause=cause, attempt=attempt)
        assert firing is not None
        assert (attempt == 1 and cause is Cause.SCHEDULE) == skip_firing(database, job, firing, NOW, "paused")
        assert not skip_firing(database, job, firing, NOW, "paused"), "it has gone"
    assert [] == waiting(database)
    assert ["paused"] == [run.message for run in list_runs(database)]


@pytest.mark.parametrize(
    ("recorded", "now", "again"),
    [(1, 2, True), (2, 3, False), (1, 0.5, True)],
    ids=["the last recorded", "a later one is recorded", "the clock was set back"],
)
def test_a_dead_daemons_waiting_firing_is_withdrawn(
    database: Database, job: Job, recorded: float, now: float, *, again: bool
) -> None:
    add(database, job, NOW + HOUR)
    if recorded > 1:
        add(database, job, NOW + recorded * HOUR)
    retry = add_due(database, job, NOW, attempt=2)
    assert retry is not None
    passed = [gap.first for _, gap in withdraw_waiting(database, NOW + now * HOUR, "it waited")]
    assert ([] if again else [NOW + HOUR]) == passed
    assert (list_recorded_until(database)[job.job_id] < NOW + HOUR) == again
    # Recorded in the same transaction, as this daemon may be killed as well.
    assert passed == [run.scheduled_at for run in list_runs(database) if run.status is Status.MISSED]
    expected = [(NOW, Cause.SCHEDULE, 2)] if again else [(NOW + HOUR, Cause.CATCHUP, 1)]
    assert expected == waiting(database), "others stay, except that a missed fire time replaces a retry"


@pytest.mark.parametrize("how", ["removed", "paused", "resumed", "another schedule", "no schedule"])
def test_a_withdrawn_firing_that_does_not_come_again_is_missed(database: Database, job: Job, how: str) -> None:
    add(database, job, NOW + HOUR)
    schedule, later = job.spec.schedule, NOW + timedelta(minutes=90)
    assert schedule is not None
    if how == "removed":
        remove_job(database, job, later)
    elif how.endswith("schedule"):
        other = replace(schedule, expression="25m") if how == "another schedule" else None
        change_job(database, job, replace(job.spec, schedule=other), later)
    else:
        paused = change_job(database, job, replace(job.spec, paused=True), later)
        if how == "resumed":
            change_job(database, paused, job.spec, later)
    withdraw_waiting(database, NOW + 2 * HOUR, "it waited")
    assert [(Status.MISSED, NOW + HOUR, 1)] == [
        (run.status, run.scheduled_at, run.missed) for run in list_runs(database)
    ]
    assert not [one for one in waiting(database) if one[1] is Cause.SCHEDULE]


@pytest.mark.parametrize("now", [3, 6], ids=["before it", "after it"])
def test_a_withdrawn_firing_from_before_a_set_back_hides_no_fire_time(database: Database, job: Job, now: int) -> None:
    add(database, job, NOW + 5 * HOUR)
    set_back(database, [job.job_id], NOW + HOUR)
    assert [] == withdraw_waiting(database, NOW + now * HOUR, "it waited")
    assert {job.job_id: NOW + HOUR} == list_recorded_until(database)


def test_the_oldest_firing_of_a_free_job_is_next(database: Database, job: Job) -> None:
    other = make_job(database, "third")
    add_due(database, job, NOW + 2 * HOUR)
    add_due(database, other, NOW + HOUR)
    for now, without, expected in ((3, [], job), (3, [job.job_id], other), (1, [], other), (0, [], None)):
        found = find_next_firing(database, NOW + now * HOUR, without)
        assert (expected and expected.job_id) == (found and found.job_id), (now, without)
