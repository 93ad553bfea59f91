"""Catch-up and retries of a job, without a daemon and a clock."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from runner.daemon.catch_up import catch_up_times
from runner.daemon.clock import fires_after
from runner.history.firings import MAX_CATCHUP
from runner.history.retries import retry_at
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
    return Job(job_id=1, spec=spec, created_at=NOW, schedule_start=NOW)


@pytest.mark.parametrize("gap", [1, 99, 100, 101, 102, 150, 30 * 24 * 3600])
def test_catchup_all_returns_the_newest_hundred(gap: int) -> None:
    began = time.monotonic()
    times = catch_up_times(make_job(every="1s"), NOW, NOW + gap * SECOND)
    kept = min(gap, MAX_CATCHUP)
    assert [NOW + (gap - kept + number) * SECOND for number in range(1, kept + 1)] == times
    assert time.monotonic() - began < 5  # by arithmetic


def test_the_newest_hundred_of_a_cron_schedule() -> None:
    until = NOW + timedelta(days=200)
    times = catch_up_times(make_job(cron="30 2 * * *"), NOW, until)
    assert [datetime(2027, 6, 10, 2, 30, tzinfo=UTC) - timedelta(days=99 - n) for n in range(100)] == times


@pytest.mark.parametrize(("catchup", "hours"), [(Catchup.NONE, []), (Catchup.ONCE, [3])])
def test_catchup_once_returns_the_last_and_none_returns_none(catchup: Catchup, hours: list[int]) -> None:
    assert [NOW + n * HOUR for n in hours] == catch_up_times(make_job(catchup, every="1h"), NOW, NOW + 3.5 * HOUR)


FIXED, WILD, EVERY, ONCE = {"cron": "0 11 * * *"}, {"cron": "*/5 * * * *"}, {"every": "1h"}, {"at": "2026-11-23T00:00"}


@pytest.mark.parametrize(
    ("when", "set_back", "kept"),
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
def test_a_clock_set_back_repeats_what_cron_would_repeat(
    when: dict[str, str], set_back: timedelta, *, kept: bool
) -> None:
    recorded = NOW + timedelta(days=3)
    now = recorded - set_back
    assert (recorded if kept else now) == fires_after(make_job(Catchup.ALL, **when), recorded, now)


@pytest.mark.parametrize(("recorded", "after"), [(None, NOW), (NOW - HOUR, NOW), (NOW + HOUR, NOW + HOUR)])
def test_a_correct_clock_leaves_no_fire_time_out(recorded: datetime | None, after: datetime) -> None:
    assert after == fires_after(make_job(every="1h"), recorded, NOW + 5 * HOUR)


@pytest.mark.parametrize("set_back", [0, 1, 59, 60, 61, 100_000])
def test_a_clock_set_back_past_registration_keeps_the_phase(set_back: int) -> None:
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
    ("run", "retried"),
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
def test_failed_scheduled_runs_have_a_retry(run: Run, *, retried: bool) -> None:
    assert retried is (retry_at(make_job(every="1h"), run, NOW) is not None)
