"""Schedules under APScheduler's own Job."""

from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.job import Job
from apscheduler.schedulers.background import BackgroundScheduler

from runner.model.jobs import Schedule
from runner.schedules.fire_times import count_fire_times, next_fire_time
from runner.schedules.parse import parse_schedule
from runner.schedules.trigger import ScheduleTrigger

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)


def schedule_of(**options: str) -> Schedule:
    return parse_schedule(**options, timezone="Europe/Berlin", now=NOW)


def job_of(schedule: Schedule) -> Job:
    trigger = ScheduleTrigger(schedule, 1, NOW)
    return Job(
        BackgroundScheduler(timezone=UTC),
        func=print,
        args=(),
        kwargs={},
        trigger=trigger,
        next_run_time=trigger.get_next_fire_time(None, NOW),
    )


@pytest.mark.parametrize(
    ("options", "after", "previous", "now", "expected"),
    [
        ({"every": "1h"}, 90, None, 30 * 1440, 120),  # the first follows the given instant
        ({"every": "1h"}, 0, 60, 97, 120),  # a late call does not shift the phase
        ({"every": "1h"}, 0, 60, -1440, 120),  # a clock put back repeats no fire time
        ({"at": "2026-11-22T12:00Z"}, 0, None, 0, 120),
        ({"at": "2026-11-22T12:00Z"}, 0, 120, 1440, None),
    ],
)
def test_the_next_fire_time_follows_the_previous_one(
    options: dict[str, str], after: int, previous: int | None, now: int, expected: int | None
) -> None:
    trigger = ScheduleTrigger(schedule_of(**options), 1, NOW + after * MINUTE)

    found = trigger.get_next_fire_time(None if previous is None else NOW + previous * MINUTE, NOW + now * MINUTE)

    assert found == (None if expected is None else NOW + expected * MINUTE)


@pytest.mark.parametrize(
    ("options", "due"),
    [
        ({"every": "1s"}, 30 * DAY),
        ({"every": "7m"}, 30 * DAY - 3 * MINUTE),
        ({"cron": "* * * * *"}, 30 * DAY),
        ({"cron": "@weekly"}, timedelta(days=27, hours=13)),  # 20 December, midnight in Berlin
        ({"every": "1h", "jitter": "30m"}, None),
    ],
)
def test_after_a_month_only_the_last_fire_time_is_due(options: dict[str, str], due: timedelta | None) -> None:
    schedule = schedule_of(**options)
    job = job_of(schedule)
    now = NOW + 30 * DAY

    run_times = job._get_run_times(now)

    assert len(run_times) == 2
    assert run_times[0] == job.next_run_time
    assert count_fire_times(schedule, 1, run_times[-1], now) == 0
    assert count_fire_times(schedule, 1, run_times[-1] - timedelta(microseconds=1), now) == 1
    following = job.trigger.get_next_fire_time(run_times[-1], now)
    assert following == next_fire_time(schedule, 1, now)
    if due is not None:
        assert run_times[-1] == NOW + due


@pytest.mark.parametrize("late", [timedelta(), 5 * SECOND])
def test_a_job_on_time_or_a_little_late_has_one_run_time(late: timedelta) -> None:
    job = job_of(schedule_of(every="1m"))

    assert job._get_run_times(NOW + MINUTE + late) == [NOW + MINUTE]
    assert job._get_run_times(NOW + MINUTE - SECOND) == []


def test_a_trigger_describes_itself() -> None:
    assert "cron @hourly (Europe/Berlin)" == str(ScheduleTrigger(schedule_of(cron="@hourly"), 7, NOW))
