"""When schedules fire: tables written by others, cronsim as the oracle, and properties of every schedule."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from runner.model.jobs import Schedule, ScheduleKind
from runner.model.units import format_duration
from runner.schedules.cron import ALIASES, load_cron
from runner.schedules.fire_times import (
    count_by_hour,
    count_fire_times,
    find_gaps,
    fire_times,
    last_fire_time,
    list_fire_times,
    next_fire_time,
)
from runner.schedules.trigger import ScheduleTrigger
from tests.benchmarks.almanac import cron_times, jittered

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=number) for number in (1, 60, 3600, 86_400))
BERLIN = "Europe/Berlin"

# A local date near a change of clocks in each zone, or any date where clocks stand still.
CHANGES = [
    ("Europe/Berlin", "2026-03-29"),
    ("Europe/Berlin", "2026-10-25"),
    ("America/New_York", "2026-03-08"),
    ("America/New_York", "2026-11-01"),
    ("America/Sao_Paulo", "2018-11-04"),  # at midnight
    ("America/Sao_Paulo", "2019-02-17"),
    ("America/Havana", "2026-03-08"),  # at midnight
    ("America/Havana", "2026-11-01"),
    ("Australia/Lord_Howe", "2026-04-05"),  # by half an hour
    ("Australia/Lord_Howe", "2026-10-04"),
    ("Antarctica/Troll", "2026-03-29"),  # by two hours
    ("Antarctica/Troll", "2026-10-25"),
    ("Africa/Casablanca", "2026-02-15"),  # around Ramadan
    ("Africa/Casablanca", "2026-03-22"),
    ("America/Nuuk", "2026-03-28"),  # before midnight
    ("Pacific/Apia", "2011-12-30"),  # a day that never was
    ("Pacific/Apia", "2021-04-04"),
    ("Asia/Pyongyang", "2018-05-04"),  # for good, at 23:30
    ("Asia/Kathmandu", "2026-12-31"),
    ("UTC", "2027-12-31"),
]


def every(seconds: int, *, jitter_s: int = 0, timezone: str = "UTC") -> Schedule:
    return schedule_of(ScheduleKind.EVERY, format_duration(seconds), timezone, jitter_s)


def cron(expression: str, timezone: str = "UTC", *, jitter_s: int = 0) -> Schedule:
    return schedule_of(ScheduleKind.CRON, expression, timezone, jitter_s)


def at(expression: str, *, jitter_s: int = 0) -> Schedule:
    return schedule_of(ScheduleKind.AT, expression, "UTC", jitter_s)


def schedule_of(kind: ScheduleKind, expression: str, timezone: str, jitter_s: int) -> Schedule:
    return Schedule(kind=kind, expression=expression, timezone=timezone, interval_origin=NOW, jitter_s=jitter_s)


def enumerate_times(schedule: Schedule, after: datetime, until: datetime, key: int = 1) -> list[datetime]:
    return list(takewhile(lambda instant: instant <= until, fire_times(schedule, key, after)))


def expected_times(expression: str, zone: str, after: datetime, until: datetime) -> list[datetime]:
    """Compute Debian cron's fire times slowly: cronsim on a plain calendar, zoneinfo for the rest."""
    tz = ZoneInfo(zone)
    first, last = (instant.replace(tzinfo=None) for instant in (after - 2 * DAY, until + 2 * DAY))
    matches = list(takewhile(lambda local: local <= last, CronSim(expression, first)))
    minute, hour, *_ = expression.split()
    if minute.startswith("*") or hour.startswith("*"):
        wanted = set(matches)
        start = after.replace(second=0, microsecond=0)
        minutes = (start + number * MINUTE for number in range((until - start) // MINUTE + 1))
        instants = {instant for instant in minutes if instant.astimezone(tz).replace(tzinfo=None) in wanted}
    else:
        instants = {_resolve(local, tz) for local in matches}
    return sorted(instant for instant in instants if after < instant <= until)


def _resolve(local: datetime, tz: ZoneInfo) -> datetime:
    while (instant := local.replace(tzinfo=tz).astimezone(UTC)).astimezone(tz).replace(tzinfo=None) != local:
        local += MINUTE
    return instant


# Fire times as systemd-analyze calendar 257 gives them for the expression's translation, after NOW, in UTC.
SYSTEMD = {
    "30 6 * * 1-5": "11-23T06:30 11-24T06:30 11-25T06:30 11-26T06:30 11-27T06:30 11-30T06:30",
    "0 0 * * 7": "11-29T00:00 12-06T00:00 12-13T00:00 12-20T00:00 12-27T00:00 2027-01-03T00:00",
    "0 0 * * 0": "11-29T00:00 12-06T00:00 12-13T00:00 12-20T00:00 12-27T00:00 2027-01-03T00:00",
    "0 0 * * sun": "11-29T00:00 12-06T00:00 12-13T00:00 12-20T00:00 12-27T00:00 2027-01-03T00:00",
    "@weekly": "11-29T00:00 12-06T00:00 12-13T00:00 12-20T00:00 12-27T00:00 2027-01-03T00:00",
    "0 */6 * * *": "11-22T12:00 11-22T18:00 11-23T00:00 11-23T06:00 11-23T12:00 11-23T18:00",
    "0 0 29 2 *": "2028-02-29T00:00 2032-02-29T00:00 2036-02-29T00:00 2040-02-29T00:00 2044-02-29T00:00",
    "15 12 1 jan,JUL *": "2027-01-01T12:15 2027-07-01T12:15 2028-01-01T12:15 2028-07-01T12:15 2029-01-01T12:15",
    "0 0 L * *": "11-30T00:00 12-31T00:00 2027-01-31T00:00 2027-02-28T00:00 2027-03-31T00:00 2027-04-30T00:00",
    "0 9 * * 6#2": "12-12T09:00 2027-01-09T09:00 2027-02-13T09:00",
    # The rest by hand, from crontab(5). Both days given: either will do.
    "0 0 13 * 5": "11-27T00:00 12-04T00:00 12-11T00:00 12-13T00:00 12-18T00:00 12-25T00:00 2027-01-01T00:00",
    # A day that starts with a star restricts the other one.
    "0 0 */10 * 5": "12-11T00:00 2027-01-01T00:00 2027-05-21T00:00",
    "@hourly": "11-22T11:00 11-22T12:00 11-22T13:00",
    "@daily": "11-23T00:00 11-24T00:00",
    "@midnight": "11-23T00:00 11-24T00:00",
    "@monthly": "12-01T00:00 2027-01-01T00:00",
    "@yearly": "2027-01-01T00:00 2028-01-01T00:00",
    "@annually": "2027-01-01T00:00 2028-01-01T00:00",
    "*/20 9-10 * * *": "11-22T10:20 11-22T10:40 11-23T09:00 11-23T09:20",
    "0 0 29 2 */7": "2032-02-29T00:00 2060-02-29T00:00 2088-02-29T00:00 2128-02-29T00:00",
}


@pytest.mark.parametrize(("expression", "table"), SYSTEMD.items())
def test_cron_has_vixies_meaning(expression: str, table: str) -> None:
    words = table.split()
    expected = [datetime.fromisoformat(word if word.startswith("2") else f"2026-{word}") for word in words]

    assert list(islice(fire_times(cron(expression), 1, NOW), len(words))) == [it.replace(tzinfo=UTC) for it in expected]


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


def days_of_changes(zone: str, first_year: int) -> list[datetime]:
    """Return the days of ten years on which a zone's offset is another than the day before; without any, ten others."""
    tz = ZoneInfo(zone)
    days = [datetime(first_year, 1, 1, tzinfo=UTC) + number * DAY for number in range(3652)]
    found = [b for a, b in pairwise(days) if a.astimezone(tz).utcoffset() != b.astimezone(tz).utcoffset()]
    return found or days[::365]


@pytest.mark.parametrize("zone", DECADES)
def test_ten_years_of_clock_changes_are_those_of_a_look_every_minute(zone: str) -> None:
    looked_at = 0
    for day in days_of_changes(zone, DECADES[zone]):
        after, until = day - 2 * DAY, day + 2 * DAY
        for line, times in cron_times(LINES, zone, after + MINUTE, until).items():
            assert enumerate_times(cron(line, zone), after, until) == times, (line, day)
            assert count_fire_times(cron(line, zone), 1, after, until) == len(times)
            looked_at += len(times)
    assert looked_at > 500


@pytest.mark.parametrize("line", LINES)
def test_listed_fire_times_are_those_of_the_trigger(line: str) -> None:
    start = datetime(2026, 3, 27, tzinfo=UTC)
    schedule = cron(line, BERLIN, jitter_s=50)
    trigger = ScheduleTrigger(schedule, 3, start)
    shown = [one.at for one in list_fire_times(schedule, 3, start, 50)]
    fires = [trigger.get_next_fire_time(None, start)]
    while len(fires) < len(shown) and (last := fires[-1]) is not None:
        fires.append(trigger.get_next_fire_time(last, last))
    nominal = cron_times([line], BERLIN, start, shown[-1])[line]
    expected = [at for at in (jittered(schedule, 3, one) for one in nominal) if start < at <= shown[-1]]
    assert expected == shown == fires


minutes = st.sampled_from(["*", "*/15", "*/7", "0", "30", "0,30", "59", "5-50/9"])
hours = st.sampled_from(["*", "*/2", "0", "2", "23", "1-3", "2,3", "0,12"])
days = st.sampled_from(["*", "1", "13", "L", "LW", "*/2", "28-31"])
months = st.sampled_from(["*", "*", "3,10", "mar-nov", "2"])
weekdays = st.sampled_from(["*", "*", "0", "7", "sun", "5", "*/2", "mon-fri", "1#2", "5L"])
expressions = st.tuples(minutes, hours, days, months, weekdays).map(" ".join)
few = settings(max_examples=40)
spans = st.timedeltas(min_value=timedelta(), max_value=3 * DAY)


@st.composite
def spans_near_changes(draw: st.DrawFn) -> tuple[str, datetime, datetime]:
    zone, day = draw(st.sampled_from(CHANGES))
    offset = draw(
        st.timedeltas(min_value=-2 * DAY, max_value=2 * DAY) | st.integers(-200, 200).map(lambda n: n * 15 * MINUTE)
    )
    after = datetime.fromisoformat(day).replace(tzinfo=UTC) + offset
    return zone, after, after + draw(spans)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    """Draw a schedule with or without a jitter that keeps its order."""
    zone, _ = draw(st.sampled_from(CHANGES))
    kind = draw(st.sampled_from(ScheduleKind))
    if kind is ScheduleKind.AT:
        moment = NOW + draw(st.timedeltas(min_value=SECOND, max_value=3 * DAY))
        return at(moment.isoformat(), jitter_s=draw(st.integers(0, 86_400)))
    if kind is ScheduleKind.EVERY:
        seconds = draw(st.integers(60, 100_000))
        return every(seconds, jitter_s=draw(st.integers(0, seconds - 1)), timezone=zone)
    expression = draw(expressions)
    gap_s = int(find_gaps(cron(expression, zone), NOW)[0].total_seconds()) if draw(st.booleans()) else 1
    return cron(expression, zone, jitter_s=draw(st.integers(0, min(gap_s, 200_000) - 1)))


def span_from(zone: str, day: str) -> tuple[str, datetime, datetime]:
    after = datetime.fromisoformat(day).replace(tzinfo=UTC)
    return zone, after, after + 2 * DAY


@settings(deadline=None)
@given(expressions, spans_near_changes())
@example("*/20 2 * * 0", span_from("Europe/Berlin", "2026-10-25"))
# CronSim's own walk loses these.
@example("*/30 1 * * 0", span_from("America/Sao_Paulo", "2018-11-03"))
@example("*/10 2 * * *", span_from("Australia/Lord_Howe", "2026-04-04"))
@example("30 2 * * *", span_from("Europe/Berlin", "2026-10-25T01:10"))  # the second time round
def test_cron_near_clock_changes_equals_a_slow_computation(
    expression: str, span: tuple[str, datetime, datetime]
) -> None:
    zone, after, until = span
    expected = expected_times(expression, zone, after, until)

    assert enumerate_times(cron(expression, zone), after, until) == expected
    assert count_fire_times(cron(expression, zone), 1, after, until) == len(expected)
    assert last_fire_time(cron(expression, zone), 1, after, until) == (expected[-1] if expected else None)


@few
@given(schedules(), st.integers(1, 5), spans, spans)
def test_count_and_last_equal_enumerating(schedule: Schedule, key: int, start: timedelta, length: timedelta) -> None:
    after, until = NOW + start, NOW + start + length
    times = enumerate_times(schedule, after, until, key)

    assert count_fire_times(schedule, key, after, until) == len(times)
    assert last_fire_time(schedule, key, after, until) == (times[-1] if times else None)


@few
@given(schedules(), st.integers(1, 5), st.integers(2, 12))
def test_counts_of_adjoining_years_add_up(schedule: Schedule, key: int, years: int) -> None:
    ends = [NOW + number * 365 * DAY for number in range(years)]

    parts = [count_fire_times(schedule, key, after, until) for after, until in pairwise(ends)]

    assert sum(parts) == count_fire_times(schedule, key, ends[0], ends[-1])


@few
@given(schedules(), st.integers(1, 5), spans)
def test_fire_times_rise_and_begin_strictly_after(schedule: Schedule, key: int, start: timedelta) -> None:
    times = [NOW + start, *islice(fire_times(schedule, key, NOW + start), 20)]

    assert all(earlier < later for earlier, later in pairwise(times))
    assert all(instant.tzinfo is UTC for instant in times)


@few
@given(schedules(), st.integers(1, 5), spans, st.data())
def test_the_next_fire_time_does_not_depend_on_the_start(
    schedule: Schedule, key: int, start: timedelta, data: st.DataObject
) -> None:
    times = [NOW + start, *islice(fire_times(schedule, key, NOW + start), 5)]
    earlier, later = data.draw(st.sampled_from(list(pairwise(times))) if len(times) > 1 else st.nothing())
    between = earlier + (later - earlier) * data.draw(st.floats(0, 1, exclude_max=True))
    assume(between < later)

    assert next_fire_time(schedule, key, between) == later
    for elsewhere in ("America/Havana", "Asia/Tokyo"):
        assert next_fire_time(schedule, key, between.astimezone(ZoneInfo(elsewhere))) == later


@pytest.mark.parametrize(
    "schedule",
    [
        every(3600),
        every(7, jitter_s=6),
        every(900, jitter_s=800),
        cron("*/20 1-5 * * *", "Europe/Berlin"),
        at("2026-03-29T02:00:00+01:00"),
    ],
)
def test_counts_by_hour_equal_enumerating(schedule: Schedule) -> None:
    start, hours = datetime(2026, 3, 28, 20, tzinfo=UTC), 30
    counts = [0] * hours
    for fire_time in enumerate_times(schedule, start - timedelta(microseconds=1), start + timedelta(hours=hours)):
        if fire_time < start + timedelta(hours=hours):
            counts[(fire_time - start) // timedelta(hours=1)] += 1
    assert tuple(counts) == count_by_hour(schedule, 1, start, hours)


@few
@given(schedules(), st.integers(1, 5))
def test_jitter_delays_each_fire_time_by_less_than_itself(schedule: Schedule, key: int) -> None:
    plain = replace(schedule, jitter_s=0)
    width = max(timedelta(microseconds=1), timedelta(seconds=schedule.jitter_s))

    for instant in islice(fire_times(schedule, key, NOW), 20):
        assert count_fire_times(plain, key, instant - width, instant) == 1


def test_jitter_depends_on_the_job_alone() -> None:
    schedule = every(3600, jitter_s=600)

    # Computed once; any other process must find the same.
    assert [next_fire_time(schedule, key, NOW) for key in (1, 2)] == [
        datetime(2026, 11, 22, 11, 5, 21, 162793, tzinfo=UTC),
        datetime(2026, 11, 22, 11, 9, 35, 315377, tzinfo=UTC),
    ]


def test_jitter_uses_the_whole_of_its_width_evenly() -> None:
    schedule = every(60, jitter_s=40)

    delays = [
        ((instant - NOW) % (60 * SECOND)).total_seconds() for instant in islice(fire_times(schedule, 7, NOW), 4000)
    ]

    quarters = [sum(10 * number <= delay < 10 * number + 10 for delay in delays) for number in range(4)]
    assert sum(quarters) == 4000
    assert all(850 < count < 1150 for count in quarters)


def test_an_interval_counts_elapsed_time_from_its_origin() -> None:
    origin = datetime(2026, 10, 24, 10, 0, 0, 123, tzinfo=UTC)
    schedule = replace(every(86_400, timezone=BERLIN), interval_origin=origin)

    assert list(islice(fire_times(schedule, 1, origin - 2000 * DAY), 2)) == [origin + DAY, origin + 2 * DAY]
    assert next_fire_time(schedule, 1, origin + DAY) == origin + 2 * DAY


def test_an_instant_fires_once() -> None:
    schedule = at("2026-11-22T12:00:00Z")
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)

    assert list(fire_times(schedule, 1, NOW)) == [noon]
    assert next_fire_time(schedule, 1, noon) is None
    assert count_fire_times(schedule, 1, NOW, noon) == 1
    assert count_fire_times(schedule, 1, noon, noon + DAY) == 0


CENTURY = datetime(2126, 10, 22, 10, tzinfo=UTC)


@pytest.mark.parametrize(("schedule", "step"), [(every(1), SECOND), (cron("* * * * *", BERLIN), MINUTE)])
def test_billions_of_fire_times_are_counted_quickly(schedule: Schedule, step: timedelta) -> None:
    for until in (NOW + 30 * DAY, CENTURY):
        assert count_fire_times(schedule, 1, NOW, until) == (until - NOW) // step
        assert last_fire_time(schedule, 1, NOW, until) == until


def test_the_end_of_the_calendar_ends_the_fire_times() -> None:
    century = 100 * 365 * 86_400
    schedules = [every(century), cron("@yearly"), cron("0 0 29 2 *", BERLIN), every(century, jitter_s=century - 1)]
    late = datetime(9500, 1, 1, tzinfo=UTC)

    for schedule in schedules:
        times = list(fire_times(schedule, 1, late))
        assert times[-1].year > 9600
        assert count_fire_times(schedule, 1, late, datetime.max.replace(tzinfo=UTC)) == len(times)


@pytest.mark.parametrize(
    ("expression", "zone", "shortest", "longest"),
    [
        ("* * * * *", BERLIN, MINUTE, MINUTE),
        ("0 * * * *", BERLIN, HOUR, HOUR),
        ("0 0 * * *", "UTC", DAY, DAY),
        ("30 2 * * *", BERLIN, DAY - HOUR / 2, DAY + HOUR),
        ("0 12 * * *", BERLIN, DAY - HOUR, DAY + HOUR),
        ("0 */3 * * *", BERLIN, 2 * HOUR, 7 * HOUR),
        ("*/5 9-17 * * *", "UTC", 5 * MINUTE, DAY - 9 * HOUR + 5 * MINUTE),
        ("* * 1-30 * *", "UTC", MINUTE, DAY + MINUTE),  # though on most days there is none like it
        ("0 0 * * 1-5", "UTC", DAY, 3 * DAY),
        ("0 0 1 * *", "UTC", 28 * DAY, 31 * DAY),
        ("@yearly", "UTC", 365 * DAY, 366 * DAY),
        ("0 0 29 2 *", "UTC", 4 * 365.25 * DAY, 4 * 365.25 * DAY),
    ],
)
def test_gaps_include_clock_changes(expression: str, zone: str, shortest: timedelta, longest: timedelta) -> None:
    assert find_gaps(cron(expression, zone), NOW) == (shortest, longest)


@settings(max_examples=20, deadline=None)
@given(expressions, st.sampled_from([zone for zone, _ in CHANGES]))
def test_no_gap_exceeds_the_largest_gap(expression: str, zone: str) -> None:
    schedule = cron(expression, zone)
    gap = find_gaps(schedule, NOW)[1]
    near = enumerate_times(schedule, NOW, NOW + 500 * DAY) if gap > DAY / 2 else []
    times = near or list(islice(fire_times(schedule, 1, datetime(2027, 3, 27, tzinfo=UTC)), 2_000))
    assert all(b - a <= gap for a, b in pairwise(times))


def test_every_alias_equals_five_fields() -> None:
    assert all(load_cron(name).minutes == load_cron(fields).minutes for name, fields in ALIASES.items())
