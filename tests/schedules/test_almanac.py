"""Fire times over ten years of changes of clocks are those that a naive look at the clock every minute finds."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest

from runner.model.jobs import Schedule, ScheduleKind
from runner.schedules.fire_times import coming, count_fire_times, fire_times
from runner.schedules.trigger import ScheduleTrigger
from tests.benchmarks.almanac import cron_times, jittered

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
LINES = ("30 2 * * *", "0 0 * * *", "*/15 1-2 * * *", "59 23,0 * * *", "0,30 * * * 0", "5 0-3 13 * sun", "@daily")
DECADES = {
    "Europe/Berlin": 2020,
    "America/New_York": 2020,
    "America/Sao_Paulo": 2010,
    "Africa/Cairo": 2007,
    "Africa/Casablanca": 2017,
    "Australia/Lord_Howe": 2020,
    "Antarctica/Troll": 2020,
    "Asia/Tehran": 2013,
    "Asia/Kathmandu": 2020,
    "Pacific/Apia": 2008,
}


def changes(zone: str, first_year: int) -> list[datetime]:
    """Give the days of ten years on which a zone's offset is another than the day before; without any, ten others."""
    tz = ZoneInfo(zone)
    days = [datetime(first_year, 1, 1, tzinfo=UTC) + number * DAY for number in range(3652)]
    found = [b for a, b in pairwise(days) if a.astimezone(tz).utcoffset() != b.astimezone(tz).utcoffset()]
    return found or days[::365]


@pytest.mark.parametrize("zone", DECADES)
def test_ten_years_of_changes_are_gone_through_as_debians_cron_does(zone: str) -> None:
    looked_at = 0
    for day in changes(zone, DECADES[zone]):
        after, until = day - 2 * DAY, day + 2 * DAY
        expected = cron_times(LINES, zone, after + MINUTE, until)
        for line, times in expected.items():
            schedule = Schedule(kind=ScheduleKind.CRON, expression=line, timezone=zone, anchor_at=after)
            assert [*times, True] == [
                *islice(fire_times(schedule, 1, after), len(times)),
                next(islice(fire_times(schedule, 1, after), len(times), None)) > until,
            ], (line, day)
            assert len(times) == count_fire_times(schedule, 1, after, until)
            looked_at += len(times)
    assert looked_at > 500


def test_jitter_never_adds_up() -> None:
    anchor = datetime(2026, 11, 22, 10, 0, 0, 123, tzinfo=UTC)
    interval = 17 * MINUTE
    schedule = Schedule(kind=ScheduleKind.EVERY, expression="17m", timezone="UTC", anchor_at=anchor, jitter_s=59)
    trigger = ScheduleTrigger(schedule, 7, anchor)
    at = trigger.get_next_fire_time(None, anchor)
    delays = []
    for number in range(1, 100_001):
        assert at is not None
        delays.append(at - anchor - number * interval)
        at = trigger.get_next_fire_time(at, at)
    assert timedelta() <= min(delays)
    assert max(delays) < timedelta(seconds=59)
    assert abs(sum(delays[:50_000], timedelta()) - sum(delays[50_000:], timedelta())) < 50_000 * timedelta(seconds=1)


def test_what_is_shown_is_what_a_trigger_fires_at() -> None:
    start = datetime(2026, 3, 27, tzinfo=UTC)
    for line in LINES:
        schedule = Schedule(
            kind=ScheduleKind.CRON, expression=line, timezone="Europe/Berlin", anchor_at=start, jitter_s=50
        )
        trigger = ScheduleTrigger(schedule, 3, start)
        shown = [one.at for one in coming(schedule, 3, start, 50)]
        fires: list[datetime] = []
        at = trigger.get_next_fire_time(None, start)
        while at is not None and len(fires) < len(shown):
            fires.append(at)
            at = trigger.get_next_fire_time(at, at)
        nominal = cron_times([line], "Europe/Berlin", start, shown[-1])[line]
        expected = [at for at in (jittered(schedule, 3, one) for one in nominal) if start < at <= shown[-1]]
        assert expected == shown == fires
