"""What `runner next` says about the nights on which clocks change."""

from datetime import UTC, datetime, timedelta

import pytest

from runner.schedules.fire_times import list_fire_times
from runner.schedules.parse import parse_schedule

BERLIN = "Europe/Berlin"
SPRING = datetime(2027, 3, 27, 23, tzinfo=UTC)  # midnight in Berlin, two hours before clocks go forward
AUTUMN = datetime(2027, 10, 30, 22, tzinfo=UTC)  # midnight in Berlin, three hours before clocks go back
LORD_HOWE = datetime(2026, 10, 3, 14, tzinfo=UTC)
HAVANA = datetime(2027, 3, 14, 2, tzinfo=UTC)
ANCHOR = datetime(2027, 1, 1, 10, tzinfo=UTC)
FORWARD = "clocks go forward 1h at 02:00"


def notes(after: datetime, count: int, kind: str, text: str, *, zone: str = BERLIN, **options: str) -> list[list[str]]:
    schedule = parse_schedule(**{kind: text}, **options, timezone=zone, now=ANCHOR)
    return [[f"{it.local:%m-%d %H:%M}", it.note] for it in list_fire_times(schedule, 1, after, count)]


def test_a_listed_fire_time_has_its_local_time() -> None:
    (only,) = list_fire_times(parse_schedule(cron="@daily", timezone=BERLIN, now=ANCHOR), 1, ANCHOR, 1)

    assert datetime(2027, 1, 1, 23, tzinfo=UTC) == only.at
    assert "2027-01-02T00:00:00+01:00" == only.local.isoformat()


@pytest.mark.parametrize(
    ("after", "kind", "text", "lines"),
    [
        (SPRING, "cron", "30 2 * * *", [
            f"03-28 03:00|{FORWARD}: 02:30 does not exist that day, so it fires at 03:00", "03-29 02:30|"]),
        (AUTUMN, "cron", "30 2 * * *", [
            "10-31 02:30|02:30 comes twice that day: fires the first time only", "11-01 02:30|"]),
        (SPRING, "cron", "@hourly", ["03-28 01:00|", f"03-28 03:00|{FORWARD}: 02:00 does not exist that day",
            "03-28 04:00|"]),
        (AUTUMN, "cron", "@hourly", ["10-31 01:00|", "10-31 02:00|02:00 comes twice that day: first",
            "10-31 02:00|02:00 comes twice that day: second", "10-31 03:00|"]),
        (SPRING, "cron", "0,30 2 * * *", [
            f"03-28 03:00|{FORWARD}: 02:00 and 02:30 do not exist that day, so it fires at 03:00"]),
        (SPRING, "cron", "0-45/15 2,3 * * *", [f"03-28 03:00|{FORWARD}: 02:00 to 02:45 do not exist that day"]),
        (SPRING, "cron", "*/15 2 * * *", [
            f"03-29 02:00|{FORWARD} on 2027-03-28: 02:00 to 02:45 do not exist that day"]),
        (SPRING, "cron", "0 3 * * *", ["03-28 03:00|"]),
        (SPRING, "cron", "0 12 * * *", ["03-28 12:00|"]),
        (SPRING - timedelta(days=1), "every", "1d", ["03-27 11:00|", f"03-28 12:00|{FORWARD}", "03-29 12:00|"]),
        (AUTUMN, "every", "30d", ["11-27 11:00|clocks go back 1h at 03:00 on 2027-10-31"]),
        (ANCHOR - timedelta(days=365), "every", "1d", ["01-02 11:00|"]),  # not of the year before its origin
        (ANCHOR, "at", "2027-10-31T02:30", ["10-31 02:30|02:30 comes twice that day: first"]),
        (ANCHOR, "at", "2027-10-31T02:30+01:00", ["10-31 02:30|02:30 comes twice that day: second"]),
        (ANCHOR, "at", "2027-07-01T12:00", ["07-01 12:00|"]),
    ],
)  # fmt: skip
def test_clock_changes_are_noted(after: datetime, kind: str, text: str, lines: list[str]) -> None:
    assert [line.split("|") for line in lines] == notes(after, len(lines), kind, text)


def test_a_note_names_the_time_before_jitter() -> None:
    ((fires, note),) = notes(SPRING, 1, "cron", "30 2 * * *", jitter="20m")

    assert "03-28 03:00" <= fires < "03-28 03:20"
    assert f"{FORWARD}: 02:30 does not exist that day, so it fires at 03:00" == note


@pytest.mark.parametrize(
    ("after", "text", "zone", "fires", "note"),
    [
        (LORD_HOWE, "15 2 * * *", "Australia/Lord_Howe", "10-04 02:30",
            "clocks go forward 30m at 02:00: 02:15 does not exist that day, so it fires at 02:30"),
        (HAVANA, "@daily", "America/Havana", "03-14 01:00",
            "clocks go forward 1h at 00:00: 00:00 does not exist that day, so it fires at 01:00"),
    ],
)  # fmt: skip
def test_half_hour_and_midnight_changes_are_noted(after: datetime, text: str, zone: str, fires: str, note: str) -> None:
    assert [[fires, note]] == notes(after, 1, "cron", text, zone=zone)
