"""What `runner next` says about the nights on which clocks change."""

from datetime import UTC, datetime, timedelta

import pytest

from runner.schedules.fire_times import FireTime, coming
from runner.schedules.parse import parse_schedule

BERLIN = "Europe/Berlin"
SPRING = datetime(2027, 3, 27, 23, tzinfo=UTC)  # midnight in Berlin, two hours before clocks go forward
AUTUMN = datetime(2027, 10, 30, 22, tzinfo=UTC)  # midnight in Berlin, three hours before clocks go back
ANCHOR = datetime(2027, 1, 1, 10, tzinfo=UTC)


def notes(after: datetime, count: int, *, timezone: str = BERLIN, **options: str) -> list[tuple[str, str]]:
    schedule = parse_schedule(**options, timezone=timezone, now=ANCHOR)
    return [(f"{it.local:%m-%d %H:%M}", it.note) for it in coming(schedule, 1, after, count)]


def test_a_coming_fire_time_has_its_instant_and_its_local_time() -> None:
    (only,) = coming(parse_schedule(cron="@daily", timezone=BERLIN, now=ANCHOR), 1, ANCHOR, 1)

    assert only == FireTime(at=datetime(2027, 1, 1, 23, tzinfo=UTC), local=only.local, note="")
    assert only.local.isoformat() == "2027-01-02T00:00:00+01:00"


def test_a_nightly_job_moves_out_of_the_gap() -> None:
    assert notes(SPRING, 2, cron="30 2 * * *") == [
        ("03-28 03:00", "clocks go forward 1h at 02:00: 02:30 does not exist that day, so it fires at 03:00"),
        ("03-29 02:30", ""),
    ]


def test_a_nightly_job_fires_once_in_the_repeated_hour() -> None:
    assert notes(AUTUMN, 2, cron="30 2 * * *") == [
        ("10-31 02:30", "02:30 comes twice that day: fires the first time only"),
        ("11-01 02:30", ""),
    ]


def test_an_hourly_job_skips_the_gap() -> None:
    assert notes(SPRING, 3, cron="@hourly") == [
        ("03-28 01:00", ""),
        ("03-28 03:00", "clocks go forward 1h at 02:00: 02:00 does not exist that day"),
        ("03-28 04:00", ""),
    ]


def test_an_hourly_job_fires_twice_in_the_repeated_hour() -> None:
    assert notes(AUTUMN, 4, cron="@hourly") == [
        ("10-31 01:00", ""),
        ("10-31 02:00", "02:00 comes twice that day: first"),
        ("10-31 02:00", "02:00 comes twice that day: second"),
        ("10-31 03:00", ""),
    ]


@pytest.mark.parametrize(
    ("expression", "fires", "note"),
    [
        (
            "0,30 2 * * *",
            "03-28 03:00",
            "clocks go forward 1h at 02:00: 02:00 and 02:30 do not exist that day, so it fires at 03:00",
        ),
        (
            "0-45/15 2,3 * * *",
            "03-28 03:00",
            "clocks go forward 1h at 02:00: 02:00 to 02:45 do not exist that day",
        ),
        (
            "*/15 2 * * *",
            "03-29 02:00",
            "clocks go forward 1h at 02:00 on 2027-03-28: 02:00 to 02:45 do not exist that day",
        ),
        ("0 3 * * *", "03-28 03:00", ""),
        ("0 12 * * *", "03-28 12:00", ""),
    ],
)
def test_a_gap_is_told_where_it_swallows_a_fire_time(expression: str, fires: str, note: str) -> None:
    assert notes(SPRING, 1, cron=expression) == [(fires, note)]


def test_a_daily_interval_tells_why_it_moves_by_the_clock() -> None:
    assert notes(SPRING - timedelta(days=1), 3, every="1d") == [
        ("03-27 11:00", ""),
        ("03-28 12:00", "clocks go forward 1h at 02:00"),
        ("03-29 12:00", ""),
    ]
    assert notes(AUTUMN, 1, every="30d") == [("11-27 11:00", "clocks go back 1h at 03:00 on 2027-10-31")]


def test_an_interval_does_not_tell_of_changes_before_it_began() -> None:
    assert notes(ANCHOR - timedelta(days=365), 1, every="1d") == [("01-02 11:00", "")]


def test_an_instant_in_the_repeated_hour_is_told_apart() -> None:
    assert notes(ANCHOR, 1, at="2027-10-31T02:30") == [("10-31 02:30", "02:30 comes twice that day: first")]
    assert notes(ANCHOR, 1, at="2027-10-31T02:30+01:00") == [("10-31 02:30", "02:30 comes twice that day: second")]
    assert notes(ANCHOR, 1, at="2027-07-01T12:00") == [("07-01 12:00", "")]


def test_a_jittered_fire_time_is_told_by_its_nominal_time() -> None:
    ((fires, note),) = notes(SPRING, 1, cron="30 2 * * *", jitter="20m")

    assert "03-28 03:00" <= fires < "03-28 03:20"
    assert note == "clocks go forward 1h at 02:00: 02:30 does not exist that day, so it fires at 03:00"


def test_half_an_hour_and_midnight_are_told_too() -> None:
    lord_howe = datetime(2026, 10, 3, 14, tzinfo=UTC)
    havana = datetime(2027, 3, 14, 2, tzinfo=UTC)

    assert notes(lord_howe, 1, cron="15 2 * * *", timezone="Australia/Lord_Howe") == [
        ("10-04 02:30", "clocks go forward 30m at 02:00: 02:15 does not exist that day, so it fires at 02:30")
    ]
    assert notes(havana, 1, cron="@daily", timezone="America/Havana") == [
        ("03-14 01:00", "clocks go forward 1h at 00:00: 00:00 does not exist that day, so it fires at 01:00")
    ]
