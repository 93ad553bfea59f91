"""What a job owes, by itself: no daemon, no clock."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from runner.daemon.owed import MAX_CATCHUP, fires_after, make_up
from runner.execution.retry import retry_at
from runner.model.jobs import Catchup, Job, JobSpec
from runner.model.runs import Cause, Run, Status
from runner.schedules.fire_times import move_origin_back, next_fire_time
from runner.schedules.parse import parse_schedule

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


def make_job(catchup: Catchup = Catchup.ALL, **when: str) -> Job:
    times = {"every": None, "cron": None, "at": None, **when}
    schedule = parse_schedule(**times, timezone="UTC", jitter=None, now=NOW)
    spec = JobSpec(name="docs", root=b"/", schedule=schedule, catchup=catchup, retries=2)
    return Job(job_id=1, spec=spec, created_at=NOW, armed_at=NOW)


@pytest.mark.parametrize("gap", [1, 99, 100, 101, 102, 150, 30 * 24 * 3600])
def test_all_makes_up_for_the_newest_hundred(gap: int) -> None:
    began = time.monotonic()
    times = make_up(make_job(every="1s"), NOW, NOW + gap * SECOND)
    kept = min(gap, MAX_CATCHUP)
    assert [NOW + (gap - kept + number) * SECOND for number in range(1, kept + 1)] == times
    assert time.monotonic() - began < 5  # not by going through them


def test_the_newest_hundred_of_a_cron_schedule() -> None:
    until = NOW + timedelta(days=200)
    times = make_up(make_job(cron="30 2 * * *"), NOW, until)
    assert [datetime(2027, 6, 10, 2, 30, tzinfo=UTC) - timedelta(days=99 - n) for n in range(100)] == times


@pytest.mark.parametrize(("catchup", "owed"), [(Catchup.NONE, []), (Catchup.ONCE, [3])])
def test_the_others_make_up_for_the_last_one_or_for_none(catchup: Catchup, owed: list[int]) -> None:
    assert [NOW + n * HOUR for n in owed] == make_up(make_job(catchup, every="1h"), NOW, NOW + 3.5 * HOUR)


FIXED, WILD, EVERY, ONCE = {"cron": "0 11 * * *"}, {"cron": "*/5 * * * *"}, {"every": "1h"}, {"at": "2026-11-23T00:00"}


@pytest.mark.parametrize(
    ("when", "set_back", "held"),
    [
        (FIXED, HOUR, True),
        (FIXED, 3 * HOUR - SECOND, True),
        (FIXED, 3 * HOUR, False),
        (WILD, HOUR, False),
        (EVERY, HOUR, False),
        (ONCE, HOUR, True),
        (ONCE, 48 * HOUR, True),
    ],
)
def test_what_has_fired_does_not_fire_again_where_cron_would_not(
    when: dict[str, str], set_back: timedelta, *, held: bool
) -> None:
    accounted = NOW + timedelta(days=3)
    now = accounted - set_back
    assert (accounted if held else now) == fires_after(make_job(Catchup.ALL, **when), accounted, now)


@pytest.mark.parametrize(("accounted", "after"), [(None, NOW), (NOW - HOUR, NOW), (NOW + HOUR, NOW + HOUR)])
def test_a_clock_that_goes_right_leaves_nothing_out(accounted: datetime | None, after: datetime) -> None:
    assert after == fires_after(make_job(every="1h"), accounted, NOW + 5 * HOUR)


@pytest.mark.parametrize("set_back", [0, 1, 59, 60, 61, 100_000])
def test_a_clock_set_back_past_the_registration_keeps_the_phase(set_back: int) -> None:
    schedule, now = make_job(every="1m").spec.schedule, NOW - set_back * SECOND
    assert schedule is not None
    at = next_fire_time(move_origin_back(schedule, now), 1, now)
    assert at is not None
    assert timedelta() < at - now <= timedelta(minutes=1)
    assert timedelta() == (at - NOW) % timedelta(minutes=1)
    assert schedule == move_origin_back(schedule, NOW)


RUN = Run(
    run_id=1, job_id=1, job="docs", root=b"/", cause=Cause.SCHEDULE, status=Status.FAILED,
    scheduled_at=NOW, started_at=NOW, finished_at=NOW,
)  # fmt: skip


@pytest.mark.parametrize(
    ("run", "again"),
    [
        (RUN, True),
        (replace(RUN, status=Status.TIMED_OUT, attempt=2), True),
        (replace(RUN, attempt=3), False),
        (replace(RUN, cause=Cause.MANUAL), False),
        (replace(RUN, cause=Cause.CATCHUP), True),
        (replace(RUN, status=Status.CANCELLED), False),
        (replace(RUN, status=Status.PARTIAL), False),
        (replace(RUN, status=Status.INTERRUPTED), False),
    ],
)
def test_failed_runs_of_a_schedule_are_tried_again(run: Run, *, again: bool) -> None:
    assert again is (retry_at(make_job(every="1h"), run, NOW) is not None)
